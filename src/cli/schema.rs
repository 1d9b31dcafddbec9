//! `dr-plan schema`: the JSON Schema of a file, made from the types that read it.

use clap::Args;

use super::failure::{OK, Outcome};
use super::{Common, print};
use crate::action::KINDS;

/// Print the JSON Schema of one of the three files, for editors
#[derive(Debug, Args)]
pub struct SchemaOf {
    /// Which file
    #[arg(value_enum)]
    which: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// plans/*.yaml
    Plan,
    /// inventories/*.yaml
    Inventory,
    /// providers/*.yaml
    Provider,
    /// The arguments of every action kind
    Kinds,
}

impl SchemaOf {
    /// Carries it out.
    pub fn run(self, _common: &Common) -> Outcome {
        let schema = match self.which {
            Which::Plan => crate::plan::schema(),
            Which::Inventory => crate::inventory::schema(),
            Which::Provider => crate::account::schema(),
            Which::Kinds => KINDS
                .iter()
                .map(|kind| (kind.name.to_string(), (kind.schema)()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        };
        print(&format!("{schema:#}\n"));
        Ok(OK)
    }
}
