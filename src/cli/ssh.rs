//! `dr-plan ssh`: onto a host of a run, with the very keys and pins that the run uses.

use std::ffi::OsString;

use clap::Args;

use super::enter::enter_world_of;
use super::failure::{BUG, CliError, Outcome, USAGE};
use super::here::state_folder;
use super::resume::read_back;
use super::{Common, runtime, services};
use crate::action::HostFacts;
use crate::event::What;
use crate::ids::StepId;
use crate::journal::RunFolder;
use crate::problem::nearest;
use crate::state::RunState;

/// Log in to a host of a run, under its pinned host key
#[derive(Debug, Args)]
pub struct Ssh {
    /// The run: its id, its beginning or end, or `last`
    run: String,
    /// The host: of the inventory, or the role of a server that the run made
    host: String,
    /// A command instead of a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Ssh {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let runs = state_folder(common.state.clone())?;
        let folder = RunFolder::find(&runs, &self.run)?;
        let (state, texts) = read_back(&folder, common)?;
        if let Some(gone) = gone(&state, &self.host, &folder) {
            let error = CliError::new(USAGE, gone);
            return Err(
                error.hint(match standing_elsewhere(&runs, &state, &self.host) {
                    Some(run) => format!(
                        "dr-plan ssh {run} {} is the one that an older run made",
                        self.host
                    ),
                    None => format!(
                        "dr-plan report {} tells what was there",
                        state.header.run.short()
                    ),
                }),
            );
        }
        enter_world_of(&texts.sources.inventory)?;
        let inventory = &texts.sources.inventory;
        let hosts = services::hosts_of(inventory, folder.path(), Some(&state))?;
        let Some(facts) = hosts.facts(&self.host) else {
            let names = hosts.names();
            let error = CliError::new(USAGE, format!("the run knows no host `{}`", self.host));
            return Err(
                match nearest(&self.host, names.iter().map(String::as_str)) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint(format!("it knows: {}", names.join(", "))),
                },
            );
        };
        let transport = services::ssh_of(inventory, folder.path(), &facts)?;
        let argv = runtime()?
            .block_on(transport.login())
            .map_err(|error| CliError::from(crate::kind::Failure::from(error)))?;
        use std::os::unix::process::CommandExt;
        let error = std::process::Command::new(&argv[0])
            .args(&argv[1..])
            .args(&self.command)
            .exec();
        Err(CliError::new(BUG, format!("starting ssh: {error}")))
    }
}

/// The step that made a host of this name, and what of it the ledger calls gone: nothing, if it stands.
fn maker(state: &RunState, host: &str) -> Option<(StepId, bool)> {
    let mut made = state.steps.iter().filter(|step| {
        let facts = step.notes.get("host").cloned();
        facts
            .and_then(|facts| serde_json::from_value::<HostFacts>(facts).ok())
            .is_some_and(|facts| facts.name == host)
    });
    let step = made.next_back()?.bound.id.clone();
    let mut servers = state
        .resources
        .iter()
        .filter(|(maker, resource, _)| *maker == step && resource.kind == "server")
        .peekable();
    let gone = servers.peek().is_some() && servers.all(|(.., gone)| gone.is_some());
    Some((step, gone))
}

/// Why nobody answers there, if the ledger has a proof that the server is deleted: a connection would only time out.
fn gone(state: &RunState, host: &str, folder: &RunFolder) -> Option<String> {
    let (step, _) = maker(state, host).filter(|(_, gone)| *gone)?;
    let reading = folder.read().ok()?;
    let at = reading
        .events
        .iter()
        .rev()
        .find_map(|event| match &event.what {
            What::Gone { step: of, .. } if *of == step => Some(event.at),
            _ => None,
        })?;
    let run = state.header.run.short();
    let by = match (&state.header.drill, &state.back.begun) {
        (Some(_), _) => format!("by the drill {run}"),
        (None, Some((_, who))) => format!("when {who} took run {run} back"),
        (None, None) => format!("by run {run}"),
    };
    Some(format!(
        "the server `{host}` was deleted {by}, at {}",
        at.strftime("%Y-%m-%d %H:%M:%S UTC")
    ))
}

/// The newest other run of the estate whose server of this name stands, as far as this machine knows.
fn standing_elsewhere(runs: &std::path::Path, state: &RunState, host: &str) -> Option<String> {
    let entries = RunFolder::list(runs).ok()?;
    entries
        .iter()
        .filter(|entry| *entry.folder.run() != state.header.run)
        .find_map(|entry| {
            let events = entry.folder.read().ok()?.events;
            let other = RunState::replay(&events).ok()?;
            let stands = other.header.estate == state.header.estate
                && maker(&other, host).is_some_and(|(_, gone)| !gone);
            stands.then(|| other.header.run.short().to_string())
        })
}
