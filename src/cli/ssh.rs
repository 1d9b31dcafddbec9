//! `dr-plan ssh`: onto a host of a run, with the very keys and pins that the run uses.

use std::ffi::OsString;

use clap::Args;

use super::enter::enter_world_of;
use super::failure::{BUG, CliError, Outcome, USAGE};
use super::here::state_folder;
use super::resume::read_back;
use super::{Common, runtime, services};
use crate::journal::RunFolder;
use crate::problem::nearest;

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
        let folder = RunFolder::find(&state_folder(common.state.clone())?, &self.run)?;
        let (state, texts) = read_back(&folder, common)?;
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
