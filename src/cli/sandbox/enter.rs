//! `dr-plan sandbox exec` and `shell`: this process becomes a command in a world, so input, output, signals and exit
//! code are the command's own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use super::{failure, folders, talk};
use crate::cli::Common;
use crate::cli::failure::{CliError, FAILED, Outcome};
use crate::sandbox::places::WORLD_BINARY;
use crate::sandbox::world::World;

/// Becomes the command.
pub fn exec(name: &str, words: &[OsString]) -> Outcome {
    become_command(command(name, words)?, &words[0].to_string_lossy())
}

/// Becomes a shell whose prompt names the world.
pub fn shell(name: &str, common: &Common) -> Outcome {
    let shell = std::env::var_os("SHELL").filter(|shell| Path::new(shell).is_file());
    let shell = shell.unwrap_or_else(|| "/bin/sh".into());
    let is_bash = Path::new(&shell)
        .file_name()
        .is_some_and(|file| file == "bash");
    let words = if is_bash {
        // The person's own settings first: they set the prompt that is added to. A here-document would be the
        // shell's input, so the settings come as a descriptor that an outer shell has opened.
        let settings = r#"exec "$0" --rcfile <(printf '%s\n' '[ -f ~/.bashrc ] && . ~/.bashrc' 'PS1="(sandbox $DR_PLAN_SANDBOX) ${PS1:-\\w \\$ }"') -i"#;
        vec![shell.clone(), "-c".into(), settings.into(), shell.clone()]
    } else {
        vec![shell.clone(), "-i".into()]
    };
    let mut command = command(name, &words)?;
    command
        .env("DR_PLAN_SANDBOX", name)
        .env("PS1", format!("(sandbox {name}) $ "));
    talk(
        common,
        &format!("in the sandbox `{name}`; `exit` leaves it, and leaves it running\n"),
    );
    become_command(command, &shell.to_string_lossy())
}

fn command(name: &str, words: &[OsString]) -> Result<Command, CliError> {
    let mut command = if World::current().as_deref() == Some(name) {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    } else {
        let world = World::get(name, &folders()?).map_err(|error| failure(name, &error))?;
        world.command(words)
    };
    // `dr-plan` can be typed inside, also where it is not installed.
    let own = Path::new(WORLD_BINARY).parent().unwrap_or(Path::new("/"));
    let mut path =
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    path.push(":/usr/sbin:/sbin:");
    path.push(own);
    command.env("PATH", path);
    Ok(command)
}

fn become_command(mut command: Command, shown: &str) -> Outcome {
    let error = command.exec();
    Err(CliError::new(
        FAILED,
        format!("starting `{shown}` in the world: {error}"),
    ))
}
