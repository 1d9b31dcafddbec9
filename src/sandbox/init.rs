//! PID 1 of a machine: puts its root together, sets up its end of the cable, runs the first boot,
//! starts sshd and what is enabled, reaps, answers `systemctl`, and goes down on SIGTERM.

use std::{
    fs,
    io::Write as _,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    rc::Rc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixDatagram, UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use super::{
    first_boot, host_root, network, packages, places,
    supervisor::{self, Services, reaper::Reaper},
    systemctl::{Answer, Question},
};

/// Exit status of the init of a machine that wants to be started again.
pub const REBOOT: u8 = 77;

/// What the world tells a machine at each boot, on its standard input: never in an argument,
/// because `user_data` may hold a host key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Boot {
    pub name: String,
    pub region: usize,
    pub address: Ipv4Addr,
    /// The mounted tmpfs of this machine, as the world sees it.
    pub disk: PathBuf,
    pub boot_id: String,
    pub user_data: String,
    pub authorized_keys: Vec<String>,
    /// Not a machine: lay this package down, write it as a tar to standard output, end.
    #[serde(default)]
    pub build: Option<String>,
}

/// `sandbox-host-init`: the whole life of a machine. Speaks one word per line on standard output:
/// `hello` (namespaces are there), `up` (the network answers), or `error: why`; and reads the
/// [`Boot`] line, then `linked` when the world has plugged the cable.
pub fn main() -> ExitCode {
    say("hello");
    match boot() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("init: {why}");
            say(&format!("error: {why}"));
            ExitCode::from(1)
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn boot() -> Result<ExitCode, String> {
    let mut lines = std::io::stdin().lines();
    let mut next = || lines.next().and_then(Result::ok).ok_or("the world hung up");
    let boot: Boot = serde_json::from_str(&next()?)
        .map_err(|error| format!("reading the boot order: {error}"))?;
    rustix::system::sethostname(boot.name.as_bytes())
        .map_err(|error| format!("setting the host name: {error}"))?;
    host_root::enter(&boot.disk, &boot.boot_id).map_err(|error| chain(&error))?;
    if let Some(package) = &boot.build {
        return packages::build(package).map(|()| ExitCode::SUCCESS);
    }
    if next()? != "linked" {
        return Err("the cable was not plugged".to_owned());
    }
    network::configure_inside(boot.region, boot.address).map_err(|error| chain(&error))?;
    // Bound before the world hears `up`: who gets in by SSH finds the init answering.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("starting the runtime: {error}"))?;
    let local = tokio::task::LocalSet::new();
    let code = local.block_on(&runtime, live(boot));
    Ok(ExitCode::from(code))
}

/// An error with everything below it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text.push_str(": ");
        text.push_str(&error.to_string());
        below = error.source();
    }
    text
}

/// From the first process to the last; the exit status.
async fn live(boot: Boot) -> u8 {
    let reaper = Reaper::default();
    let services = Services::new(reaper.clone());
    let down = Rc::new(Down::default());
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(stream) => stream,
        Err(error) => {
            say(&format!("error: listening for SIGTERM: {error}"));
            return 1;
        }
    };
    let children = reaper.clone();
    match signal(SignalKind::child()) {
        Ok(mut dead) => tokio::task::spawn_local(async move {
            while dead.recv().await.is_some() {
                children.reap();
            }
        }),
        Err(error) => {
            say(&format!("error: listening for SIGCHLD: {error}"));
            return 1;
        }
    };
    if let Err(error) = listen(&services, &down) {
        say(&format!(
            "error: listening on {}: {error}",
            places::INIT_SOCKET
        ));
        return 1;
    }
    tokio::task::spawn_local(system_log());
    say("up");
    let starting = tokio::task::spawn_local(start_everything(boot, services.clone(), reaper));
    tokio::select! {
        _ = terminate.recv() => {}
        () = down.asked.notified() => {}
    }
    starting.abort();
    services.stop_all().await;
    // Sessions get the chance to close their connections; then the kernel ends every other process
    // of the namespace with its PID 1.
    supervisor::end_everybody(Duration::from_secs(2)).await;
    if down.reboot.get() { REBOOT } else { 0 }
}

/// Somebody inside asked the machine to go down.
#[derive(Default)]
struct Down {
    asked: Notify,
    reboot: std::cell::Cell<bool>,
}

/// First boot as cloud-init orders it: identity, users and keys before sshd, packages and
/// commands after it, so a machine that answers is not always one that is ready.
async fn start_everything(boot: Boot, services: Services, reaper: Reaper) {
    let first = first_boot::Order {
        name: boot.name,
        address: boot.address,
        user_data: boot.user_data,
        authorized_keys: boot.authorized_keys,
    };
    stage("init", &first, &reaper).await;
    if let Err(error) = services.start("ssh.service").await {
        eprintln!("init: ssh.service: {error}");
    }
    for name in enabled(Path::new("/etc/systemd/system/multi-user.target.wants")) {
        let services = services.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = services.start(&name).await {
                eprintln!("init: {name}: {error}");
            }
        });
    }
    stage("final", &first, &reaper).await;
}

/// Units that a start of the machine starts.
fn enabled(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|entries| {
            entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    names.retain(|name| name.ends_with(".service"));
    names.sort();
    names
}

/// One stage of the first boot in a process of its own, because it asks this one for services.
async fn stage(name: &str, order: &first_boot::Order, reaper: &Reaper) {
    let spawned = Command::new(places::INSIDE_BINARY)
        .args(["sandbox-first-boot", name])
        .env_clear()
        .env("PATH", places::PATH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn();
    match spawned {
        Ok(mut child) => {
            let dead = reaper.watch(child.id());
            if let (Some(mut stdin), Ok(text)) = (child.stdin.take(), serde_json::to_string(order))
            {
                // At most 32 KiB of user data: it fits into the pipe.
                let _ = stdin.write_all(text.as_bytes());
            }
            let _ = dead.await;
        }
        Err(error) => eprintln!("init: starting the first boot: {error}"),
    }
}

fn listen(services: &Services, down: &Rc<Down>) -> std::io::Result<()> {
    let listener = UnixListener::bind(places::INIT_SOCKET)?;
    fs::set_permissions(places::INIT_SOCKET, fs::Permissions::from_mode(0o666))?;
    let (services, down) = (services.clone(), down.clone());
    tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::task::spawn_local(converse(stream, services.clone(), down.clone()));
                }
                Err(error) => eprintln!("init: accepting: {error}"),
            }
        }
    });
    Ok(())
}

/// One question, one answer.
async fn converse(stream: UnixStream, services: Services, down: Rc<Down>) {
    let is_root = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    if BufReader::new(read).read_line(&mut line).await.is_err() || line.is_empty() {
        return;
    }
    let answer = match serde_json::from_str::<Question>(&line) {
        Ok(question) if matches!(question.verb.as_str(), "reboot" | "poweroff" | "halt") => {
            if is_root {
                down.reboot.set(question.verb == "reboot");
                down.asked.notify_one();
                Answer::default()
            } else {
                Answer {
                    code: 1,
                    error: "interactive authentication required.\n".to_owned(),
                    ..Answer::default()
                }
            }
        }
        Ok(question) => supervisor::answers::answer(&services, &question, is_root).await,
        Err(error) => Answer {
            code: 1,
            error: format!("{error}\n"),
            ..Answer::default()
        },
    };
    if let Ok(mut text) = serde_json::to_string(&answer) {
        text.push('\n');
        let _ = write.write_all(text.as_bytes()).await;
    }
}

/// What programs say to syslog(3): `auth.log` for sshd and its like, `syslog` for the rest.
async fn system_log() {
    let Ok(socket) = UnixDatagram::bind("/dev/log") else {
        return;
    };
    let _ = fs::set_permissions("/dev/log", fs::Permissions::from_mode(0o666));
    let mut message = vec![0u8; 16 * 1024];
    while let Ok(length) = socket.recv(&mut message).await {
        let text = String::from_utf8_lossy(&message[..length]);
        let text = text.trim_end_matches(['\0', '\n']);
        // `<priority>`; the facility is priority / 8, 4 and 10 are for logins (RFC 3164, 4.1.1).
        let (priority, text) = text
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .and_then(|(number, text)| Some((number.parse::<u32>().ok()?, text)))
            .unwrap_or((13, text));
        let file = if matches!(priority / 8, 4 | 10) {
            "/var/log/auth.log"
        } else {
            "/var/log/syslog"
        };
        let written = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .and_then(|mut log| writeln!(log, "{text}"));
        // A full disk loses log lines, as it does elsewhere.
        drop(written);
    }
}
