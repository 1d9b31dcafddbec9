//! `server.create`: one server for a role, from an image.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::new_server::{Needs, NewServer, Places};
use super::{Action, Bind, Verb};
use crate::kind::{Effect, Output, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `server.create`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerCreate {
    /// What it is for; later steps call it by this name.
    role: String,
    /// `provider/region` or `provider/region/type`; a list is a ladder: the next one on no capacity or quota.
    place: Places,
    /// The cheapest type that fits, where the place names none.
    size: Option<Needs>,
    /// An image, or an alias of the provider file.
    image: String,
    /// Packages that the first boot installs.
    #[serde(default)]
    packages: Vec<String>,
}

impl Verb for ServerCreate {
    const NAME: &'static str = "server.create";
    const EFFECT: Effect = Effect::Create;
    const UNDO: Undo = Undo::DeleteOwn;
    const ADOPTS: &'static [&'static str] =
        &["rung", "bootstrap_pins", "server", "host", "rotated"];
    const SUMMARY: &'static str = "Creates a server and waits until it can be used.";
    const TIMEOUT: Duration = Duration::from_secs(900);
    const TAKES: Duration = Duration::from_secs(90);

    fn sample(&self) -> Output {
        self.place.sample(&self.role)
    }

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let from = (&self.place, self.image.as_str());
        let server = NewServer::bind(&self.role, from, self.size, (args, bind))?;
        Ok(Box::new(server.packages(self.packages)))
    }
}
