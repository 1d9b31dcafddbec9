//! How a service comes to life: its folders, environment and user, the commands of its start, and
//! the moment from which it counts as started (systemd.service(5), Type=).

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{net::UnixDatagram, time::timeout};

use super::{
    LOGS, Services, describe,
    processes::{is_alive, members},
    reaper::Exit,
    unit::{Exec, Kind, Unit},
    unit_text::with_variables,
};
use crate::sandbox::{
    accounts::{account, group_id},
    places,
};

impl Services {
    /// Runs the whole start; the main process, where one stays.
    pub(super) async fn run_start(
        &self,
        unit: &Unit,
        invocation: &str,
    ) -> Result<Option<u32>, String> {
        for (path, mode) in &unit.folders {
            make_folder(unit, path, *mode)
                .map_err(|error| format!("making {}: {error}", path.display()))?;
        }
        for exec in &unit.start_pre {
            self.run(unit, exec, invocation, None, None).await?;
        }
        let main = match unit.kind {
            Kind::Oneshot => {
                for exec in &unit.start {
                    self.run(unit, exec, invocation, None, None).await?;
                }
                None
            }
            Kind::Simple | Kind::Exec => {
                Some(self.spawn(unit, first(unit)?, invocation, None, None)?)
            }
            Kind::Notify => Some(self.start_notify(unit, invocation).await?),
            Kind::Forking => {
                let exec = first(unit)?;
                let pid = self.spawn(unit, exec, invocation, None, None)?;
                let exit = self.reaper.watch(pid).await.unwrap_or(Exit::Unknown);
                if !exit.is_success() && !exec.may_fail {
                    return Err(format!("{} in `{}`", describe(exit), exec.words.join(" ")));
                }
                Some(self.forked_main(unit, invocation, exit).await?)
            }
        };
        for exec in &unit.start_post {
            self.run(unit, exec, invocation, main, None).await?;
        }
        Ok(main)
    }

    /// The process that a forking service left: from its PID file, else the oldest one left.
    async fn forked_main(&self, unit: &Unit, invocation: &str, exit: Exit) -> Result<u32, String> {
        let Some(file) = &unit.pid_file else {
            return members(invocation, None)
                .into_iter()
                .min()
                .ok_or_else(|| "it left no process".to_owned());
        };
        // A daemon may write the file a moment after its parent has gone (systemd waits too).
        let deadline = Instant::now()
            + if exit.is_success() {
                Duration::from_secs(10)
            } else {
                Duration::ZERO
            };
        loop {
            let pid = fs::read_to_string(file)
                .ok()
                .and_then(|text| text.lines().next()?.trim().parse().ok());
            if let Some(pid) = pid.filter(|pid| is_alive(*pid)) {
                return Ok(pid);
            }
            if Instant::now() >= deadline {
                return Err(format!(
                    "{}; no live process in {}",
                    describe(exit),
                    file.display()
                ));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Type=notify: active when the service says `READY=1` (sd_notify(3)), not earlier.
    async fn start_notify(&self, unit: &Unit, invocation: &str) -> Result<u32, String> {
        let path = format!("/run/systemd/notify/{}-{}", unit.name, &invocation[..8]);
        let socket =
            UnixDatagram::bind(&path).map_err(|error| format!("making {path}: {error}"))?;
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o777));
        let exec = first(unit)?;
        let pid = self.spawn(unit, exec, invocation, None, Some(&path))?;
        let mut dead = self.reaper.watch(pid);
        let mut main = pid;
        let mut message = [0u8; 4096];
        let outcome = loop {
            tokio::select! {
                exit = &mut dead => break Err(format!("{} in `{}`", describe(exit.unwrap_or(Exit::Unknown)), exec.words.join(" "))),
                got = socket.recv(&mut message) => {
                    let length = got.map_err(|error| format!("reading {path}: {error}"))?;
                    let text = String::from_utf8_lossy(&message[..length]);
                    if let Some(told) = text.lines().find_map(|line| line.strip_prefix("MAINPID=")?.trim().parse().ok()) {
                        main = told;
                    }
                    if text.lines().any(|line| line == "READY=1") {
                        break Ok(main);
                    }
                }
            }
        };
        // Later messages (STOPPING=1, STATUS=...) are read and forgotten, so that nobody blocks.
        let known = self.clone();
        let (name, turn) = (unit.name.clone(), invocation.to_owned());
        tokio::task::spawn_local(async move {
            let mut message = [0u8; 4096];
            while known
                .known
                .borrow()
                .get(&name)
                .is_some_and(|service| service.invocation == turn)
            {
                let heard = timeout(Duration::from_secs(5), socket.recv(&mut message)).await;
                if matches!(heard, Ok(Err(_))) {
                    break;
                }
            }
            let _ = fs::remove_file(&path);
        });
        outcome
    }

    pub(super) async fn run(
        &self,
        unit: &Unit,
        exec: &Exec,
        invocation: &str,
        main: Option<u32>,
        notify: Option<&str>,
    ) -> Result<(), String> {
        let exit = match self.spawn(unit, exec, invocation, main, notify) {
            Ok(pid) => self.reaper.watch(pid).await.unwrap_or(Exit::Unknown),
            Err(_) if exec.may_fail => return Ok(()),
            Err(why) => return Err(why),
        };
        if exit.is_success() || exec.may_fail {
            return Ok(());
        }
        Err(format!("{} in `{}`", describe(exit), exec.words.join(" ")))
    }

    /// Starts one command of a unit as the unit's user. The caller asks the reaper for its end.
    fn spawn(
        &self,
        unit: &Unit,
        exec: &Exec,
        invocation: &str,
        main: Option<u32>,
        notify: Option<&str>,
    ) -> Result<u32, String> {
        let mut environment = environment_of(unit)?;
        environment.insert("INVOCATION_ID".to_owned(), invocation.to_owned());
        if let Some(pid) = main {
            environment.insert("MAINPID".to_owned(), pid.to_string());
        }
        if let Some(socket) = notify {
            environment.insert("NOTIFY_SOCKET".to_owned(), socket.to_owned());
        }
        let words = with_variables(exec, &|name| environment.get(name).cloned());
        let (program, arguments) = words.split_first().ok_or("an Exec line is empty")?;
        let mut command = as_user(unit, exec);
        if command.get_program() == "setpriv" {
            command.arg(program);
        } else {
            command = Command::new(program);
        }
        let (out, error) =
            output(unit).map_err(|error| format!("opening the log of {}: {error}", unit.name))?;
        command
            .args(arguments)
            .env_clear()
            .envs(&environment)
            .current_dir(working_directory(unit))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(error)
            .process_group(0);
        let before = unit
            .umask
            .map(|bits| rustix::process::umask(rustix::fs::Mode::from_raw_mode(bits)));
        let spawned = command.spawn();
        if let Some(before) = before {
            rustix::process::umask(before);
        }
        spawned
            .map(|child| child.id())
            .map_err(|error| format!("starting `{program}`: {error}"))
    }
}

fn first(unit: &Unit) -> Result<&Exec, String> {
    unit.start
        .first()
        .ok_or_else(|| "it has no ExecStart=".to_owned())
}

/// `setpriv` in front where the unit asks for another user: it takes the groups along.
fn as_user(unit: &Unit, exec: &Exec) -> Command {
    let mut command = Command::new("setpriv");
    match (&unit.user, &unit.group) {
        (Some(user), group) if !exec.as_root => {
            command.arg(format!("--reuid={user}")).arg("--init-groups");
            match group {
                Some(group) => command.arg(format!("--regid={group}")),
                None => command.arg(format!("--regid={}", primary_group(user))),
            };
        }
        (None, Some(group)) if !exec.as_root => {
            command
                .arg(format!("--regid={group}"))
                .arg("--clear-groups");
        }
        _ => return Command::new(""),
    }
    command.arg("--");
    command
}

fn primary_group(user: &str) -> String {
    account(user).map_or_else(|| user.to_owned(), |(_, group, _)| group.to_string())
}

fn make_folder(unit: &Unit, path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let owner = unit.user.as_deref().and_then(account);
    let group = unit
        .group
        .as_deref()
        .and_then(group_id)
        .or(owner.as_ref().map(|(_, group, _)| *group));
    std::os::unix::fs::chown(path, owner.map(|(user, ..)| user), group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn working_directory(unit: &Unit) -> PathBuf {
    let Some(folder) = unit.working_directory.as_deref() else {
        return PathBuf::from("/");
    };
    let optional = folder.trim_start_matches('-');
    let path = if optional == "~" {
        unit.user
            .as_deref()
            .and_then(account)
            .map_or_else(|| PathBuf::from("/root"), |(.., home)| home)
    } else {
        PathBuf::from(optional)
    };
    if optional.len() < folder.len() && !path.is_dir() {
        PathBuf::from("/")
    } else {
        path
    }
}

/// Environment of a service: systemd's own few, `Environment=`, then the files, later ones win.
fn environment_of(unit: &Unit) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::from([
        ("PATH".to_owned(), places::PATH.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ]);
    if let Some((_, _, home)) = unit.user.as_deref().and_then(account) {
        all.insert("HOME".to_owned(), home.display().to_string());
        all.insert("USER".to_owned(), unit.user.clone().unwrap_or_default());
        all.insert("LOGNAME".to_owned(), unit.user.clone().unwrap_or_default());
    }
    all.extend(unit.environment.iter().cloned());
    for (file, optional) in &unit.environment_files {
        match fs::read_to_string(file) {
            Ok(text) => all.extend(environment_lines(&text)),
            Err(_) if *optional => {}
            Err(error) => return Err(format!("reading {}: {error}", file.display())),
        }
    }
    Ok(all)
}

/// `NAME=value` lines with optional quotes (systemd.exec(5), EnvironmentFile=).
fn environment_lines(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(name, value)| {
            let value = value.trim();
            let quoted = value.len() > 1
                && (value.starts_with('"') && value.ends_with('"')
                    || value.starts_with('\'') && value.ends_with('\''));
            (
                name.trim().to_owned(),
                if quoted {
                    value[1..value.len() - 1].to_owned()
                } else {
                    value.to_owned()
                },
            )
        })
        .collect()
}

fn output(unit: &Unit) -> io::Result<(fs::File, fs::File)> {
    let path = match &unit.output {
        Some(path) => path.clone(),
        None => {
            fs::create_dir_all(LOGS)?;
            Path::new(LOGS).join(format!("{}.log", unit.name))
        }
    };
    let file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    Ok((file.try_clone()?, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_files_may_be_quoted_and_commented() {
        let lines = environment_lines("# a\nA=1\nB=\"two words\"\nC='x'\nexport D=4\n\nnonsense\n");
        let lines: Vec<_> = lines
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            lines,
            [("A", "1"), ("B", "two words"), ("C", "x"), ("D", "4")]
        );
    }
}
