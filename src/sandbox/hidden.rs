//! The commands that the sandbox starts itself with. They are not for people: none is in the
//! help, and each needs a world around it.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode},
};

use super::{cloud_status, first_boot, init, systemctl, world_init};

/// Runs a hidden command. `arguments` are those of the process, its name first; `None`: it is an
/// ordinary invocation.
pub fn run_hidden(arguments: &[OsString]) -> Option<ExitCode> {
    let name = Path::new(arguments.first()?).file_name()?.to_str()?;
    let text = |from: usize| -> Vec<String> {
        arguments
            .iter()
            .skip(from)
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    };
    if systemctl::WORDS.contains(&name) {
        return Some(match name {
            "systemctl" => systemctl::main(&text(1)),
            "cloud-init" => cloud_status::main(&text(1)),
            power => systemctl::power(power, &text(1)),
        });
    }
    Some(match arguments.get(1).and_then(|word| word.to_str())? {
        "sandbox-world-init" => world_init::main(),
        "sandbox-world-daemon" => world_init::daemon(),
        "sandbox-world-exec" => world_exec(&arguments[2..]),
        "sandbox-host-init" => init::main(),
        super::shop::COMMAND => super::shop::main(),
        "sandbox-first-boot" => first_boot::main(&text(2)),
        _ => return None,
    })
}

/// `sandbox-world-exec FOLDER -- COMMAND...`: becomes the command, in the folder if it is there.
fn world_exec(arguments: &[OsString]) -> ExitCode {
    let [folder, dashes, program, rest @ ..] = arguments else {
        eprintln!("sandbox-world-exec: it takes FOLDER -- COMMAND");
        return ExitCode::from(2);
    };
    if dashes != OsStr::new("--") {
        eprintln!("sandbox-world-exec: it takes FOLDER -- COMMAND");
        return ExitCode::from(2);
    }
    if std::env::set_current_dir(folder).is_err() {
        let _ = std::env::set_current_dir("/");
    }
    // Whoever ends the `nsenter` before us means the command, which it cannot reach.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let error = Command::new(program).args(rest).exec();
    eprintln!("{}: {error}", Path::new(program).display());
    ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    })
}
