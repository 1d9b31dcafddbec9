//! The first process of a world: started from outside, and heard until it says that the world is ready.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Record, WorldError, file};
use crate::sandbox::{
    enter::{self, Status},
    world_init::WorldOrder,
};

/// Starts the first process and waits until it says that the world is ready.
pub(super) fn start(
    order: &WorldOrder,
    folder: &Path,
    user: bool,
    program: &Path,
) -> Result<Record, WorldError> {
    let log_path = folder.join("world.log");
    let log = fs::File::create(&log_path).map_err(file("making", &log_path))?;
    let words = enter::unshare_world(!user);
    // A session of its own: neither a closed terminal nor Ctrl-C reaches it.
    let mut child = Command::new("setsid")
        .args(&words)
        .arg(program)
        .arg("sandbox-world-init")
        .env("PATH", with_system_folders())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|source| WorldError::Program {
            program: "setsid",
            source,
        })?;
    match greet(&mut child, order) {
        Ok(record) => {
            // Reaps it when the caller lives longer than the world; otherwise init does.
            std::thread::spawn(move || child.wait());
            Ok(Record { user, ..record })
        }
        Err(why) => {
            for pid in enter::children(child.id()) {
                if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            let _ = child.kill();
            let _ = child.wait();
            let said = fs::read_to_string(&log_path).unwrap_or_default();
            let said = said.trim().lines().last().unwrap_or_default().to_owned();
            let why = if said.is_empty() || said.ends_with(&why) {
                why
            } else {
                format!("{why}: {said}")
            };
            Err(WorldError::Start { why, log: log_path })
        }
    }
}

/// The folders of system programs are not in every PATH, and `ip` and `sshd` lie there.
fn with_system_folders() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

fn greet(child: &mut Child, order: &WorldOrder) -> Result<Record, String> {
    let line = serde_json::to_string(order).map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().ok_or("it has no input")?;
    stdin
        .write_all(format!("{line}\n").as_bytes())
        .map_err(|error| format!("telling it what to be: {error}"))?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("it has no output")?).lines();
    match lines.next() {
        Some(Ok(line)) if line == "ready" => {}
        Some(Ok(line)) => return Err(line.trim_start_matches("error: ").to_owned()),
        Some(Err(error)) => return Err(format!("listening: {error}")),
        None => return Err("its first process ended".to_owned()),
    }
    // The children that mapped the user ids have ended by now: what is left is the init.
    let pid = enter::children(child.id())
        .first()
        .copied()
        .ok_or("its first process is not there")?;
    let started = Status::of(pid)
        .ok_or("its first process is not there")?
        .started;
    let boot_id = enter::boot_id().map_err(|error| format!("reading the boot id: {error}"))?;
    Ok(Record {
        pid,
        started,
        boot_id,
        counted_in: enter::pid_namespace(),
        user: false,
    })
}
