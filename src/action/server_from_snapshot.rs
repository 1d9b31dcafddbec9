//! `server.from_snapshot`: one server for a role, from a snapshot. What ran on the machine that was copied starts on the
//! copy as well, at once; that is the wish, and a danger when the first one still runs.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::new_server::{Needs, NewServer, Places};
use super::server_named::Named;
use super::snapshot_choice::{Choice, UNKNOWN};
use super::{Action, Bind, Verb};
use crate::kind::{Effect, Output, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `server.from_snapshot`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerFromSnapshot {
    /// What it is for; later steps call it by this name.
    role: String,
    /// `provider/region` or `provider/region/type`, of the snapshot's account; a list is a ladder.
    place: Places,
    /// The cheapest type that fits, where the place names none. Its disk is never smaller than the snapshot's.
    size: Option<Needs>,
    /// The snapshot's id, such as the `image` of a `server.snapshot` step.
    snapshot: Option<String>,
    /// A host of the inventory: its newest snapshot, whoever made it. It need not exist any more.
    of: Option<String>,
}

impl Verb for ServerFromSnapshot {
    const NAME: &'static str = "server.from_snapshot";
    const EFFECT: Effect = Effect::Create;
    const UNDO: Undo = Undo::DeleteOwn;
    const ADOPTS: &'static [&'static str] =
        &["rung", "bootstrap_pins", "server", "host", "rotated"];
    const SUMMARY: &'static str =
        "Creates a server from a snapshot and waits until it can be used.";
    const TIMEOUT: Duration = Duration::from_secs(1800);
    const TAKES: Duration = Duration::from_secs(180);

    fn sample(&self) -> Output {
        let mut sample = self.place.sample(&self.role);
        sample.insert("image".into(), UNKNOWN.into());
        sample.insert("taken".into(), "2026-01-01T00:00:00Z".into());
        sample
    }

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        let choice = match (&self.snapshot, &self.of) {
            (Some(id), None) => Some(Choice::Id(id.clone())),
            (None, Some(host)) => match Named::bind(host, args, "of", bind) {
                Ok(named) => Some(Choice::NewestOf {
                    account: named.account,
                    server: named.name,
                }),
                Err(problem) => {
                    problems.push(problem);
                    None
                }
            },
            _ => {
                let words = "a server comes from one snapshot: `snapshot` or `of`, and not both";
                problems.push(
                    Problem::error("which-snapshot", &args.place, words)
                        .help("`of: HOST` takes the newest snapshot of that host"),
                );
                None
            }
        };
        match NewServer::bind(&self.role, (&self.place, ""), self.size, (args, bind)) {
            Err(more) => problems.extend(more),
            Ok(server) => {
                let home = match &choice {
                    Some(Choice::NewestOf { account, .. }) => Some(account.clone()),
                    _ => server.accounts().next().map(str::to_string),
                };
                if let Some(home) = home
                    && let Some(other) = server.accounts().find(|account| *account != home)
                {
                    let words =
                        format!("a snapshot of `{home}` cannot become a server at `{other}`");
                    let place = args.place_of("place");
                    problems.push(Problem::error("other-account", place, words));
                }
                if let (Some(choice), true) = (choice, problems.is_empty()) {
                    return Ok(Box::new(server.snapshot(choice)));
                }
            }
        }
        Err(problems)
    }
}
