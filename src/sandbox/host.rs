//! One machine seen from the world: its disk, its cable and its init process; started, stopped
//! and taken apart. All calls here block; [`super::hosts`] keeps many of them.

use std::{
    ffi::CString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, Signal, kill_process},
};

use super::{
    enter, host_root,
    init::{self, Boot, chain},
    network, places,
};

/// How long a machine that was asked to shut down may take before the plug is pulled; a cloud's
/// own grace is of this kind (Hetzner: `shutdown` may never finish, `poweroff` does).
pub const GRACE: Duration = Duration::from_secs(30);

/// A running init, and the news of its end.
pub struct Running {
    pub init_pid: u32,
    cable: String,
    ended: Arc<(Mutex<Option<i32>>, Condvar)>,
}

/// Makes the disk: a tmpfs of that many bytes, so that full is full. It begins as a copy of `image`, if there is one.
pub fn make_disk(name: &str, bytes: u64, image: Option<&str>) -> Result<PathBuf, String> {
    let disk = disk_of(name);
    mount_disk(&disk, bytes)?;
    host_root::lay_disk(&disk).map_err(|error| format!("laying the disk: {error}"))?;
    if let Some(image) = image {
        copy_disk(&image_of(image), &disk)?;
    }
    Ok(disk)
}

/// Copies a machine's disk as it is now.
pub fn make_image(name: &str, image: &str, bytes: u64) -> Result<(), String> {
    let folder = image_of(image);
    mount_disk(&folder, bytes)?;
    copy_disk(&disk_of(name), &folder).inspect_err(|_| {
        let _ = drop_image(image);
    })
}

/// Takes the copy away; one that was never made is gone already.
pub fn drop_image(image: &str) -> Result<(), String> {
    let folder = image_of(image);
    if !folder.exists() {
        return Ok(());
    }
    unmount(&folder, UnmountFlags::DETACH)
        .map_err(|error| format!("unmounting {}: {error}", folder.display()))?;
    fs::remove_dir(&folder).map_err(|error| format!("removing {}: {error}", folder.display()))
}

fn image_of(image: &str) -> PathBuf {
    Path::new(places::IMAGES).join(image)
}

/// Owners, modes, links, times and extended attributes (an overlay keeps its own there). A file that goes while it is
/// copied was not on the disk a moment later: cp(1) says so and goes on, and that is no failure.
fn copy_disk(from: &Path, to: &Path) -> Result<(), String> {
    for folder in host_root::DISK_FOLDERS {
        // The working folders of an overlay belong to its mount.
        if folder.ends_with("work") {
            continue;
        }
        let said = Command::new("cp")
            .args(["-a", "--remove-destination"])
            .arg(from.join(folder).join("."))
            .arg(to.join(folder))
            .env("LC_ALL", "C")
            .output()
            .map_err(|error| format!("starting cp: {error}"))?;
        let text = String::from_utf8_lossy(&said.stderr);
        let wrong = text
            .lines()
            .find(|line| !line.ends_with("No such file or directory"));
        if let (false, Some(line)) = (said.status.success(), wrong) {
            return Err(format!("copying {}: {line}", from.display()));
        }
    }
    Ok(())
}

fn mount_disk(disk: &Path, bytes: u64) -> Result<(), String> {
    fs::create_dir_all(disk).map_err(|error| format!("making {}: {error}", disk.display()))?;
    let options = CString::new(format!("mode=755,size={bytes}")).expect("a number has no NUL");
    mount(
        "tmpfs",
        disk,
        "tmpfs",
        MountFlags::NODEV,
        options.as_c_str(),
    )
    .map_err(|error| format!("mounting a disk of {bytes} bytes: {error}"))?;
    for folder in host_root::DISK_FOLDERS {
        fs::create_dir_all(disk.join(folder))
            .map_err(|error| format!("laying the disk: {error}"))?;
    }
    Ok(())
}

/// Takes the disk away with all that is on it.
pub fn drop_disk(name: &str) -> Result<(), String> {
    let disk = disk_of(name);
    unmount(&disk, UnmountFlags::DETACH)
        .map_err(|error| format!("unmounting {}: {error}", disk.display()))?;
    let folder = Path::new(places::MACHINES).join(name);
    fs::remove_dir_all(&folder).map_err(|error| format!("removing {}: {error}", folder.display()))
}

pub fn disk_of(name: &str) -> PathBuf {
    Path::new(places::MACHINES).join(name).join("disk")
}

/// The log of a machine's init, in the world.
pub fn log_of(name: &str) -> PathBuf {
    Path::new(places::MACHINES).join(name).join("init.log")
}

/// Starts a machine; returns when its network is configured. `cable` is the name of the world's
/// end. `on_end` is called once, with the exit status, when its last process is gone.
pub fn start(
    boot: &Boot,
    mac: &str,
    cable: &str,
    on_end: impl FnOnce(i32) + Send + 'static,
) -> Result<Running, String> {
    let log = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(log_of(&boot.name))
        .map_err(|error| format!("opening its log: {error}"))?;
    let (child, mut stdin) = spawn(Stdio::from(log))?;
    let mut child = Kept(Some(child));
    let stdout = child
        .0
        .as_mut()
        .and_then(|child| child.stdout.take())
        .ok_or("its init has no output")?;
    let mut words = BufReader::new(stdout).lines();
    let mut expect = |word: &str| match words.next() {
        Some(Ok(line)) if line == word => Ok(()),
        Some(Ok(line)) => Err(line.trim_start_matches("error: ").to_owned()),
        Some(Err(error)) => Err(format!("listening to its init: {error}")),
        None => Err(format!(
            "its init ended (see {})",
            log_of(&boot.name).display()
        )),
    };
    expect("hello")?;
    let unshare = child.0.as_ref().map_or(0, Child::id);
    let init_pid = enter::children(unshare)
        .first()
        .copied()
        .ok_or("its init is not there")?;
    let order =
        serde_json::to_string(boot).map_err(|error| format!("writing the boot order: {error}"))?;
    stdin
        .write_all(format!("{order}\n").as_bytes())
        .map_err(|error| format!("telling its init: {error}"))?;
    network::plug(cable, boot.region, mac, init_pid).map_err(|error| chain(&error))?;
    stdin
        .write_all(b"linked\n")
        .map_err(|error| format!("telling its init: {error}"))?;
    expect("up")?;

    let ended = Arc::new((Mutex::new(None), Condvar::new()));
    let told = ended.clone();
    let mut child = child.0.take().ok_or("its init is gone")?;
    std::thread::spawn(move || {
        let code = child
            .wait()
            .ok()
            .and_then(|status| status.code())
            .unwrap_or(-1);
        *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
        told.1.notify_all();
        on_end(code);
    });
    Ok(Running {
        init_pid,
        cable: cable.to_owned(),
        ended,
    })
}

/// A child that dies with the attempt that needed it.
struct Kept(Option<Child>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            for init in enter::children(child.id()) {
                send(init, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(log: Stdio) -> Result<(Child, ChildStdin), String> {
    let words = enter::unshare_machine();
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .arg(places::WORLD_BINARY)
        .arg("sandbox-host-init")
        .env_clear()
        .env("PATH", places::PATH)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("starting unshare: {error}"))?;
    let stdin = child.stdin.take().ok_or("unshare has no input")?;
    Ok((child, stdin))
}

impl Running {
    /// Ends every process of the machine and takes its cable away. `graceful`: SIGTERM and a
    /// bounded wait first.
    pub fn stop(&self, graceful: bool) -> Result<(), String> {
        if graceful {
            send(self.init_pid, Signal::TERM);
            self.wait(GRACE);
        }
        if self.exit().is_none() {
            // The kernel ends everything in the PID namespace before init itself is gone.
            send(self.init_pid, Signal::KILL);
            if !self.wait(Duration::from_secs(10)) {
                return Err(format!("its init {} does not die", self.init_pid));
            }
        }
        network::unplug(&self.cable).map_err(|error| chain(&error))
    }

    /// Exit status of the init once nothing of the machine is left.
    pub fn exit(&self) -> Option<i32> {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        while ended.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            ended = self
                .ended
                .1
                .wait_timeout(ended, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }

    pub fn set_link(&self, up: bool) -> Result<(), String> {
        network::set_up(&self.cable, up).map_err(|error| chain(&error))
    }
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Lays a package down in a throw-away machine and keeps the result as `cache/name`, whole or
/// not at all.
pub fn prepare_package(package: &str, cache: &Path, name: &str) -> Result<(), String> {
    // Not a host name, so no machine can have it.
    let scratch = format!("_build-{package}");
    let disk = make_disk(&scratch, 2 << 30, None)?;
    let unfinished = cache.join(format!(".{name}.{}", std::process::id()));
    let built = build(package, &scratch, disk, &unfinished);
    drop_disk(&scratch)?;
    let done = built.and_then(|()| {
        fs::rename(&unfinished, cache.join(name))
            .map_err(|error| format!("keeping {name}: {error}"))
    });
    if done.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    done
}

fn build(package: &str, scratch: &str, disk: PathBuf, to: &Path) -> Result<(), String> {
    let log =
        fs::File::create(log_of(scratch)).map_err(|error| format!("opening its log: {error}"))?;
    let mut out =
        fs::File::create(to).map_err(|error| format!("making {}: {error}", to.display()))?;
    let (mut child, mut stdin) = spawn(Stdio::from(log))?;
    let boot = Boot {
        name: scratch.to_owned(),
        region: 0,
        address: std::net::Ipv4Addr::LOCALHOST,
        disk,
        boot_id: init_id(),
        user_data: String::new(),
        authorized_keys: Vec::new(),
        build: Some(package.to_owned()),
    };
    let order = serde_json::to_string(&boot).map_err(|error| error.to_string())?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("its init has no output")?);
    let mut hello = String::new();
    let told = stdout
        .read_line(&mut hello)
        .and_then(|_| stdin.write_all(format!("{order}\n").as_bytes()));
    let copied = told.and_then(|()| std::io::copy(&mut stdout, &mut out));
    let status = child.wait().map_err(|error| format!("waiting: {error}"))?;
    copied.map_err(|error| format!("copying the result: {error}"))?;
    if status.success() {
        return out
            .sync_all()
            .map_err(|error| format!("writing {}: {error}", to.display()));
    }
    let said = fs::read_to_string(log_of(scratch)).unwrap_or_default();
    Err(format!("{status}: {}", said.trim()))
}

/// A fresh UUID, for the boot id of a machine.
pub fn init_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/uuid")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Whether an exit status asks for another start.
pub fn wants_reboot(code: i32) -> bool {
    code == i32::from(init::REBOOT)
}
