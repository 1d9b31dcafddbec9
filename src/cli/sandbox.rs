//! `dr-plan sandbox`: a whole estate on this machine, brought up, looked at, broken and taken down.

mod break_mend;
mod enter;
mod status;
mod up;

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::failure::{CliError, FAILED, OK, Outcome, USAGE};
use super::here::{cache_home, state_home};
use super::{Common, print, say};
use crate::kind::chain;
use crate::sandbox::control::{Answer, Ask, ControlError, WorldStatus};
use crate::sandbox::enter::name_of as process_name;
use crate::sandbox::world::{Folders, World, WorldError};

/// The world that is meant when none is named.
const DEFAULT: &str = "demo";

/// A whole estate on this machine, to try things and to rehearse
///
/// A world has regions with servers, a cloud's API that makes them appear and vanish, a name server
/// with a caching resolver, and an S3-compatible store. It lives in namespaces of its own: nothing
/// of it is seen outside, and everything goes with `down`.
#[derive(Debug, Args)]
pub struct Sandbox {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(Down),
    Status(status::StatusOf),
    Exec(Exec),
    Shell(Shell),
    Break(break_mend::Break),
    Mend(break_mend::Mend),
}

/// Take a world down; nothing of it stays
#[derive(Debug, Args)]
struct Down {
    /// The world
    #[arg(default_value = DEFAULT)]
    name: String,
    /// All worlds
    #[arg(long, conflicts_with = "name")]
    all: bool,
}

/// Run a command in a world; input, output and exit code are its own
#[derive(Debug, Args)]
struct Exec {
    /// The world
    #[arg(long = "world", value_name = "NAME", default_value = DEFAULT)]
    name: String,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    words: Vec<OsString>,
}

/// Open a shell in a world
#[derive(Debug, Args)]
struct Shell {
    /// The world
    #[arg(default_value = DEFAULT)]
    name: String,
}

impl Sandbox {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        match self.command {
            Command::Up(command) => command.run(common),
            Command::Down(command) => command.run(common),
            Command::Status(command) => command.run(common),
            Command::Exec(command) => enter::exec(&command.name, &command.words),
            Command::Shell(command) => enter::shell(&command.name, common),
            Command::Break(command) => command.run(common),
            Command::Mend(command) => command.run(common),
        }
    }
}

impl Down {
    fn run(self, common: &Common) -> Outcome {
        let folders = folders()?;
        let names = match self.all {
            true => World::list(&folders),
            false => vec![self.name],
        };
        let mut down = Vec::new();
        let mut failed = None;
        for name in &names {
            // One that does not go keeps no other up.
            match take_down(name, &folders, common) {
                Ok(()) => down.push(name),
                Err(error) => {
                    if let Some(before) = failed.replace(error) {
                        super::show(&before, common.json);
                    }
                }
            }
        }
        if common.json {
            print(&format!("{}\n", serde_json::json!({ "down": down })));
        }
        failed.map_or(Ok(OK), Err)
    }
}

fn take_down(name: &str, folders: &Folders, common: &Common) -> Result<(), CliError> {
    let found = World::find(name, folders).map_err(|error| failure(name, &error))?;
    let Some(world) = found else {
        talk(common, &format!("world `{name}` is not running\n"));
        return Ok(());
    };
    let left = world.down().map_err(|error| failure(name, &error))?;
    talk(common, &format!("world `{name}` is down\n"));
    for parent in left.iter().map(|one| one.parent).collect::<BTreeSet<_>>() {
        let of = left.iter().filter(|one| one.parent == parent);
        let of: Vec<String> = of
            .map(|one| format!("{} ({})", one.pid, one.name))
            .collect();
        let parent = match process_name(parent) {
            Some(name) => format!("process {parent} ({name})"),
            None => format!("process {parent}"),
        };
        talk(
            common,
            &format!(
                "its processes have ended, and {} stay in the table of processes until {parent} collects them; a container does with an init as its PID 1 (docker run --init)\n",
                of.join(", ")
            ),
        );
    }
    Ok(())
}

fn folders() -> Result<Folders, CliError> {
    Ok(Folders::below(&state_home()?, &cache_home()?))
}

/// Talk that `--quiet` and `--json` leave out.
fn talk(common: &Common, text: &str) {
    if !common.quiet && !common.json {
        say(text);
    }
}

/// What went wrong with a world, and the way on.
fn failure(name: &str, error: &WorldError) -> CliError {
    match error {
        WorldError::Needs(needs) => {
            CliError::new(FAILED, needs.to_string()).hint(needs.remedies().join("\n"))
        }
        WorldError::Absent(_) => {
            CliError::new(USAGE, chain(error)).hint(format!("dr-plan sandbox up {name}"))
        }
        WorldError::BadName(_) | WorldError::BadRegions { .. } | WorldError::Inside { .. } => {
            CliError::new(USAGE, chain(error))
        }
        WorldError::Control(ControlError::Refused(why)) => {
            CliError::new(FAILED, format!("world `{name}`: {why}"))
        }
        WorldError::Control(_) => {
            CliError::new(FAILED, format!("world `{name}`: {}", chain(error))).hint(format!(
                "it does not answer; dr-plan sandbox down {name} takes away what is left of it"
            ))
        }
        WorldError::Stubborn { .. } => {
            CliError::new(FAILED, format!("world `{name}`: {}", chain(error)))
                .hint("state D waits for the kernel or a disk: the same command again, later")
        }
        other => CliError::new(FAILED, chain(other)),
    }
}

fn ask(name: &str, question: &Ask) -> Result<Answer, CliError> {
    World::ask_named(name, &folders()?, question).map_err(|error| failure(name, &error))
}

fn status_of(name: &str) -> Result<WorldStatus, CliError> {
    match ask(name, &Ask::Status)? {
        Answer::Status { status } => Ok(*status),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(answer: &Answer) -> CliError {
    CliError::new(
        super::failure::BUG,
        format!("the world answered something else than it was asked: {answer:?}"),
    )
}
