//! The filesystem of one machine, put together by its init in a mount namespace of its own and
//! entered with pivot_root(2): the root is an overlay of the base and the machine's disk, `/usr`
//! comes from the machine that holds the world, everything volatile is fresh at each boot.

use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};

use super::{enter, places};

/// Folders on a machine's disk: the writable layers of its overlays, and its own `/usr/local`.
pub const DISK_FOLDERS: &[&str] = &["upper", "work", "usr-upper", "usr-work", "usr-local"];

#[derive(Debug, thiserror::Error)]
#[error("{what} {target}")]
pub struct RootError {
    what: &'static str,
    target: String,
    #[source]
    source: io::Error,
}

fn at(what: &'static str, target: impl AsRef<Path>) -> impl FnOnce(io::Error) -> RootError {
    move |source| RootError {
        what,
        target: target.as_ref().display().to_string(),
        source,
    }
}

/// As [`at`], for rustix.
fn on(what: &'static str, target: impl AsRef<Path>) -> impl FnOnce(rustix::io::Errno) -> RootError {
    move |errno| at(what, target)(errno.into())
}

/// Makes the folders of a fresh disk. `disk` is the mounted tmpfs, outside the machine.
pub fn lay_disk(disk: &Path) -> io::Result<()> {
    for folder in DISK_FOLDERS {
        fs::create_dir_all(disk.join(folder))?;
        fs::set_permissions(disk.join(folder), fs::Permissions::from_mode(0o755))?;
    }
    for folder in [
        "bin", "sbin", "lib", "share", "etc", "include", "src", "games",
    ] {
        fs::create_dir_all(disk.join("usr-local").join(folder))?;
    }
    // The machine's own words for its init come first in every PATH.
    for word in super::systemctl::WORDS {
        symlink(places::INSIDE_BINARY, disk.join("usr-local/bin").join(word))?;
    }
    Ok(())
}

/// Puts the root together over `disk` and makes it this process's root. The caller must be alone
/// in a new mount and PID namespace. `boot_id` is what this boot of the machine is called: the
/// kernel has one for all of them.
pub fn enter(disk: &Path, boot_id: &str) -> Result<(), RootError> {
    // Nothing that is mounted from here on may show outside.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(on("making private", "/"))?;
    let root = Path::new(places::NEW_ROOT);
    overlay(Path::new(places::BASE), disk, "upper", "work", root)?;
    usr(disk, root)?;
    devices(root)?;
    mount(
        "proc",
        root.join("proc"),
        "proc",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        None,
    )
    .map_err(on("mounting", "/proc"))?;
    // Only looked at; a container that hides parts of /sys does not let a new one be mounted.
    let sys = root.join("sys");
    let read_only =
        MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if mount("sysfs", &sys, "sysfs", read_only, None).is_err() {
        let _ = mount_bind_recursive("/sys", &sys);
    }
    volatile(root, boot_id)?;
    std::env::set_current_dir(root).map_err(at("entering", root))?;
    // pivot_root(2), NOTES: with "." twice the old root lies over the new one and is let go.
    rustix::process::pivot_root(".", ".").map_err(on("pivoting to", root))?;
    unmount(".", UnmountFlags::DETACH).map_err(on("letting go of", "the old root"))?;
    std::env::set_current_dir("/").map_err(at("entering", "/"))
}

fn overlay(
    lower: &Path,
    disk: &Path,
    upper: &str,
    work: &str,
    target: &Path,
) -> Result<(), RootError> {
    // A file keeps its number for all its life, as on a real disk: without `xino` a folder may have another one after a boot.
    let mut options = format!(
        "lowerdir={},upperdir={},workdir={},xino=on",
        lower.display(),
        disk.join(upper).display(),
        disk.join(work).display()
    );
    if enter::in_user_namespace() {
        options.push_str(",userxattr");
    }
    let options =
        CString::new(options).expect("paths come from constants and host names, without NUL");
    mount(
        "overlay",
        target,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )
    .map_err(on("mounting an overlay on", target))
}

/// Root can write to `/usr` of the machine; in a user namespace files of unmapped owners cannot be
/// copied up, so there it is read-only.
fn usr(disk: &Path, root: &Path) -> Result<(), RootError> {
    let target = root.join("usr");
    if enter::in_user_namespace() {
        mount_bind_recursive("/usr", &target).map_err(on("binding", &target))?;
        read_only(&target)?;
    } else {
        overlay(Path::new("/usr"), disk, "usr-upper", "usr-work", &target)?;
    }
    let local = target.join("local");
    mount_bind(disk.join("usr-local"), &local).map_err(on("binding", &local))?;
    // Scripts that name these by their full path get ours as well.
    for word in super::systemctl::WORDS {
        for folder in ["usr/bin", "usr/sbin"] {
            let file = root.join(folder).join(word);
            // Links lead to a file that is covered itself.
            if fs::symlink_metadata(&file).is_ok_and(|about| about.is_file()) {
                mount_bind(places::WORLD_BINARY, &file).map_err(on("binding", &file))?;
            }
        }
    }
    Ok(())
}

/// A remount must keep the flags that an outer user namespace has locked (mount_namespaces(7)).
fn read_only(target: &Path) -> Result<(), RootError> {
    use rustix::fs::StatVfsMountFlags as Has;
    let has = rustix::fs::statvfs(target)
        .map_err(on("looking at", target))?
        .f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (locked, flag) in [
        (Has::NOSUID, MountFlags::NOSUID),
        (Has::NODEV, MountFlags::NODEV),
        (Has::NOEXEC, MountFlags::NOEXEC),
    ] {
        if has.contains(locked) {
            flags |= flag;
        }
    }
    mount_remount(target, flags, c"").map_err(on("making read-only", target))
}

fn tmpfs(target: &Path, options: &str) -> Result<(), RootError> {
    let options = CString::new(options).expect("options are written here, without NUL");
    mount(
        "tmpfs",
        target,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        options.as_c_str(),
    )
    .map_err(on("mounting a tmpfs on", target))
}

fn devices(root: &Path) -> Result<(), RootError> {
    let dev = root.join("dev");
    mount(
        "tmpfs",
        &dev,
        "tmpfs",
        MountFlags::NOSUID,
        c"mode=755,size=1m",
    )
    .map_err(on("mounting a tmpfs on", &dev))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let file = dev.join(name);
        fs::write(&file, "").map_err(at("making", &file))?;
        mount_bind(Path::new("/dev").join(name), &file).map_err(on("binding", &file))?;
    }
    for folder in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(folder)).map_err(at("making", dev.join(folder)))?;
    }
    mount(
        "devpts",
        dev.join("pts"),
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"newinstance,ptmxmode=0666,mode=620",
    )
    .map_err(on("mounting", "/dev/pts"))?;
    tmpfs(&dev.join("shm"), "mode=1777,size=256m")?;
    for (link, to) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(to, dev.join(link)).map_err(at("linking", dev.join(link)))?;
    }
    Ok(())
}

/// `/run` and what the sandbox brings along on it.
fn volatile(root: &Path, boot_id: &str) -> Result<(), RootError> {
    let run = root.join("run");
    tmpfs(&run, "mode=755,size=64m")?;
    for (folder, mode) in [
        ("lock", 0o1777),
        ("systemd/system", 0o755),
        ("systemd/notify", 0o755),
        ("user", 0o755),
        ("sandbox/packages", 0o755),
        ("sandbox/cache", 0o755),
    ] {
        let path = run.join(folder);
        fs::create_dir_all(&path).map_err(at("making", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(at("setting the mode of", &path))?;
    }
    let binary = run.join("sandbox/dr-plan");
    fs::write(&binary, "").map_err(at("making", &binary))?;
    for (from, to) in [
        (places::WORLD_BINARY, &binary),
        (places::PACKAGES, &run.join("sandbox/packages")),
        (places::CACHE, &run.join("sandbox/cache")),
    ] {
        mount_bind(from, to).map_err(on("binding", to))?;
        read_only(to)?;
    }
    let id = run.join("sandbox/boot_id");
    fs::write(&id, format!("{boot_id}\n")).map_err(at("writing", &id))?;
    fs::set_permissions(&id, fs::Permissions::from_mode(0o444))
        .map_err(at("setting the mode of", &id))?;
    let kernel_says = root.join("proc/sys/kernel/random/boot_id");
    mount_bind(&id, &kernel_says).map_err(on("binding", &kernel_says))?;
    read_only(&kernel_says)
}
