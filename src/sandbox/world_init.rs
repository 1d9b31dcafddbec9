//! The first processes of a world. PID 1 lays the ground (its own `/run`, the base, the bridges)
//! and then only reaps; its one child, the daemon, keeps the machines and answers the control
//! socket. When either dies, everything in the world goes.

use std::{
    fs,
    io::{BufRead as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change},
    process::{WaitOptions, wait},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    base,
    control::{self, Daemon},
    enter,
    hosts::Hosts,
    init::chain,
    network, packages, places, secrets,
    secrets::WorldSecrets,
    surroundings::{Addresses, Services},
};

/// What a world is told, as one JSON line on standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorldOrder {
    pub name: String,
    pub regions: usize,
    /// Cloud, names and store too; else machines and cables only.
    #[serde(default)]
    pub services: bool,
    /// Folder outside the world for packages that are slow to lay down.
    pub cache: PathBuf,
}

/// `sandbox-world-init`: PID 1 of a world.
pub fn main() -> ExitCode {
    let mut line = String::new();
    let order = match std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<WorldOrder>(&line).map_err(|error| error.to_string()))
    {
        Ok(order) => order,
        Err(why) => return refuse(&format!("reading the order: {why}")),
    };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Err(why) = lay_ground(&order) {
        return refuse(&why);
    }
    let daemon = Command::new(places::WORLD_BINARY)
        .arg("sandbox-world-daemon")
        .env_clear()
        .env("PATH", places::PATH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .spawn();
    let mut daemon = match daemon {
        Ok(daemon) => daemon,
        Err(error) => return refuse(&format!("starting the daemon: {error}")),
    };
    // A daemon that died already is seen below.
    let _ = daemon
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all(line.as_bytes()));
    let main = daemon.id();
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if u32::try_from(pid.as_raw_nonzero().get()) == Ok(main) => {
                eprintln!("the world's daemon ended ({status:?}): the world goes");
                return ExitCode::from(1);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return refuse(&format!("waiting for children: {error}")),
        }
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("world: {why}");
    println!("error: {}", why.replace('\n', "; "));
    ExitCode::from(1)
}

fn lay_ground(order: &WorldOrder) -> Result<(), String> {
    let doing = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| format!("{what}: {error}")
    };
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|error| format!("making mounts private: {error}"))?;
    let resolver = fs::canonicalize("/etc/resolv.conf").ok();
    fs::create_dir_all(&order.cache).map_err(doing("making the cache folder"))?;
    let cache = fs::File::open(&order.cache).map_err(doing("opening the cache folder"))?;
    // Before /run is covered: this binary may lie there. A magic link of /proc is mounted as what
    // it leads to, whatever lies over its path.
    mount(
        "tmpfs",
        "/run",
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755",
    )
    .map_err(|error| format!("mounting /run: {error}"))?;
    for folder in [
        places::WORLD,
        places::MACHINES,
        places::IMAGES,
        places::NEW_ROOT,
        places::CACHE,
        "/run/dr-plan/bin",
        "/run/lock",
    ] {
        fs::create_dir_all(folder).map_err(doing("making folders"))?;
    }
    for folder in [places::MACHINES, places::IMAGES] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .map_err(doing("making folders"))?;
    }
    fs::write(places::WORLD_BINARY, "").map_err(doing("making a place for this program"))?;
    mount_bind("/proc/self/exe", places::WORLD_BINARY)
        .map_err(|error| format!("binding this program: {error}"))?;
    let cache_link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&cache));
    mount_bind(&cache_link, places::CACHE)
        .map_err(|error| format!("binding the cache: {error}"))?;
    resolve_inside(resolver.as_deref());
    base::lay(Path::new(places::BASE)).map_err(|error| chain(&error))?;
    own_ssh_settings()?;
    packages::prepare(Path::new(places::PACKAGES)).map_err(|error| chain(&error))?;
    network::lay(order.regions).map_err(|error| chain(&error))?;
    fs::write(
        "/run/dr-plan/world.json",
        serde_json::to_string(order).map_err(|error| error.to_string())?,
    )
    .map_err(doing("writing world.json"))
}

/// OpenSSH refuses settings that neither root nor the caller owns, and in a user namespace the machine's
/// root is nobody: there its settings are those of the base, which the world has copied.
fn own_ssh_settings() -> Result<(), String> {
    let copy = Path::new(places::BASE).join("etc/ssh");
    if !enter::in_user_namespace() || !copy.is_dir() {
        return Ok(());
    }
    mount_bind(&copy, "/etc/ssh").map_err(|error| format!("binding /etc/ssh: {error}"))
}

/// Programs in the world ask the world's resolver. Without it they ask in vain, which no name of
/// the outside should hide.
fn resolve_inside(file: Option<&Path>) {
    let own = Path::new("/run/dr-plan/resolv.conf");
    let written = fs::write(own, format!("nameserver {}\n", network::RESOLVER));
    let Some(file) = file.filter(|_| written.is_ok()) else {
        return;
    };
    if file.starts_with("/run") {
        let placed = file
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::copy(own, file));
        if let Err(error) = placed {
            eprintln!("world: writing {}: {error}", file.display());
        }
    } else if let Err(error) = mount_bind(own, file) {
        eprintln!("world: binding {}: {error}", file.display());
    }
}

/// `sandbox-world-daemon`: keeps the machines, answers the control socket, lives as long as the
/// world.
pub fn daemon() -> ExitCode {
    let mut line = String::new();
    let order = match std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<WorldOrder>(&line).map_err(|error| error.to_string()))
    {
        Ok(order) => order,
        Err(why) => return refuse(&format!("reading the order: {why}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("starting the runtime: {error}")),
    };
    match runtime.block_on(live(order)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => refuse(&why),
    }
}

async fn live(order: WorldOrder) -> Result<(), String> {
    let hosts = Hosts::new(order.regions);
    let preparing: Arc<Hosts> = hosts.clone();
    std::thread::spawn(move || preparing.prepare_packages());
    let services = match order.services {
        true => Some(Mutex::new(start_services(&order, &hosts).await?)),
        false => None,
    };
    // Last: who can ask finds everything there.
    let listener = tokio::net::UnixListener::bind(places::WORLD_SOCKET)
        .map_err(|error| format!("listening on {}: {error}", places::WORLD_SOCKET))?;
    fs::set_permissions(places::WORLD_SOCKET, fs::Permissions::from_mode(0o600))
        .map_err(|error| format!("listening on {}: {error}", places::WORLD_SOCKET))?;
    println!("ready");
    let daemon = Daemon {
        world: order.name,
        hosts,
        services,
        estate: Mutex::default(),
    };
    control::serve(listener, Arc::new(daemon)).await;
    Ok(())
}

async fn start_services(order: &WorldOrder, hosts: &Arc<Hosts>) -> Result<Services, String> {
    let made = tokio::task::spawn_blocking(|| WorldSecrets::generate(Path::new(secrets::FOLDER)));
    let secrets = made
        .await
        .map_err(|error| error.to_string())?
        .map_err(|error| chain(&error))?;
    Services::start(
        Path::new(places::SERVICES),
        Addresses::of_world(),
        order.regions,
        &secrets,
        hosts.clone(),
    )
    .await
    .map_err(|error| chain(&error))
}
