//! `dr-plan validate`: everything that can be known of a plan without asking anybody.

use std::path::PathBuf;

use clap::Args;

use super::failure::{OK, Outcome};
use super::run::inputs;
use super::sources::Reader;
use super::{Common, print, problems, say};
use crate::ids::RunId;
use crate::kind::Mode;
use crate::program::Program;

/// Read plans and say everything that is wrong with them; touches nothing
#[derive(Debug, Args)]
pub struct Validate {
    /// The plans
    #[arg(required = true)]
    plans: Vec<PathBuf>,
    /// An input of the plan
    #[arg(long, value_name = "NAME=VALUE")]
    input: Vec<String>,
}

impl Validate {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let given = inputs(&self.input)?;
        for plan in &self.plans {
            let texts = Reader::of_person().plan(plan, common)?;
            let warnings = texts.warnings;
            let program = Program::bind(texts.sources, Mode::Failover, RunId::generate(), &given)?;
            let warnings: Vec<_> = warnings
                .into_iter()
                .chain(program.warnings.clone())
                .collect();
            if common.json {
                print(&format!("{:#}\n", problems::json(&warnings)));
                continue;
            }
            if !warnings.is_empty() {
                say(&problems::render(&warnings, true));
            }
            if !common.quiet {
                say(&format!(
                    "{}: {} steps, no problems\n",
                    plan.display(),
                    program.steps().len()
                ));
            }
        }
        Ok(OK)
    }
}
