//! The doors of a world: the arguments of `unshare` that make it, of `nsenter` that enter it, and
//! what `/proc` says of the processes behind them.

use std::{ffi::OsString, fs, path::Path};

/// Whether this process lives in a user namespace of its own: its root is somebody else outside
/// (user_namespaces(7): the initial one maps everything to itself).
pub fn in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| {
        let fields: Vec<_> = map.split_whitespace().collect();
        fields != ["0", "0", "4294967295"]
    })
}

/// `unshare` with the namespaces of a world, as root or as an ordinary user; the program and its
/// arguments follow.
pub fn unshare_world(as_root: bool) -> Vec<OsString> {
    let mut words = vec!["unshare"];
    if !as_root {
        words.extend(["--user", "--map-root-user", "--map-auto"]);
    }
    words.extend([
        "--net",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--mount-proc",
        "--kill-child=KILL",
        "--",
    ]);
    words.into_iter().map(OsString::from).collect()
}

/// `unshare` with the namespaces of one machine inside a world. It mounts its own `/proc`.
pub fn unshare_machine() -> Vec<OsString> {
    [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child=KILL",
        "--",
    ]
    .map(OsString::from)
    .to_vec()
}

/// `nsenter` into the namespaces of `pid`; the command follows. `user`: the world of an ordinary
/// user, whose user namespace must be entered too.
pub fn nsenter(pid: u32, user: bool) -> Vec<OsString> {
    let mut words: Vec<OsString> =
        vec!["nsenter".into(), "--target".into(), pid.to_string().into()];
    if user {
        words.extend(["--user", "--preserve-credentials"].map(OsString::from));
    }
    words.extend(["--net", "--mount", "--pid", "--ipc", "--uts", "--"].map(OsString::from));
    words
}

/// `nsenter` into a machine, from the world it lives in, with an environment as its login shell would
/// have it; the command follows.
pub fn nsenter_machine(pid: u32) -> Vec<OsString> {
    let mut words = nsenter(pid, false);
    words.extend(
        [
            "env",
            "-i",
            "--chdir=/root",
            "HOME=/root",
            "USER=root",
            "LANG=C.UTF-8",
        ]
        .map(OsString::from),
    );
    words.push(format!("PATH={}", super::places::PATH).into());
    words
}

/// Processes whose parent is `pid`, in the order of their ids.
pub fn children(pid: u32) -> Vec<u32> {
    // Each thread has its own list of those it started (proc_pid_task_tid_children(5)).
    let lists: Option<Vec<String>> = fs::read_dir(format!("/proc/{pid}/task"))
        .map(|threads| {
            threads
                .flatten()
                .map(|thread| fs::read_to_string(thread.path().join("children")).ok())
                .collect()
        })
        .unwrap_or_default();
    if let Some(lists) = lists {
        let mut found: Vec<u32> = lists
            .iter()
            .flat_map(|list| list.split_whitespace())
            .filter_map(|id| id.parse().ok())
            .collect();
        found.sort_unstable();
        return found;
    }
    // A kernel without CONFIG_PROC_CHILDREN.
    let mut found: Vec<u32> = all()
        .into_iter()
        .filter(|id| Status::of(*id).is_some_and(|status| status.parent == pid))
        .collect();
    found.sort_unstable();
    found
}

/// All process ids that this `/proc` shows.
pub fn all() -> Vec<u32> {
    fs::read_dir("/proc")
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|entry| {
                    entry
                        .file_name()
                        .to_str()
                        .and_then(|name| name.parse().ok())
                })
                .collect()
        })
        .unwrap_or_default()
}

const PF_EXITING: u64 = 0x4;

/// A few fields of `/proc/PID/stat`, see proc_pid_stat(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// One letter: `R`, `S`, `Z` ...
    pub letter: char,
    pub parent: u32,
    pub group: u32,
    pub session: u32,
    /// It has begun to end (`PF_EXITING` of the kernel's `include/linux/sched.h`): it runs no more of its program.
    pub exiting: bool,
    /// Clock ticks after boot; with the process id it names a process for as long as this boot lasts.
    pub started: u64,
}

impl Status {
    /// `None`: there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn read(text: &str) -> Option<Self> {
        // The name in parentheses may hold spaces and parentheses itself.
        let rest = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Self {
            letter: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            exiting: fields.get(6)?.parse::<u64>().ok()? & PF_EXITING != 0,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    pub fn is_dead(&self) -> bool {
        matches!(self.letter, 'Z' | 'X')
    }
}

/// The processes of the PID namespace whose PID 1 is `pid`, as counted here, itself among them.
pub fn in_namespace_of(pid: u32) -> Vec<u32> {
    // The mark of the namespace survives the end of a process until it is collected (proc_pid_ns(5)).
    let mark = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(own) = mark(pid) else {
        return Vec::new();
    };
    let mut found = all();
    found.retain(|other| mark(*other).as_ref() == Some(&own));
    found
}

/// The name of a process.
pub fn name_of(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

/// The PID namespace of this process, in the words of pid_namespaces(7); empty if `/proc` does not say.
pub fn pid_namespace() -> String {
    fs::read_link("/proc/self/ns/pid")
        .map(|link| link.display().to_string())
        .unwrap_or_default()
}

/// This boot of the kernel, a UUID.
pub fn boot_id() -> std::io::Result<String> {
    fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id")).map(|id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse_the_status() {
        let line = "7 (a) (b c) S 1 7 6 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let status = Status::read(line).unwrap();
        assert_eq!(
            (
                status.letter,
                status.parent,
                status.group,
                status.session,
                status.started
            ),
            ('S', 1, 7, 6, 4711)
        );
    }

    #[test]
    fn this_process_is_a_child_of_its_parent() {
        let parent = Status::of(std::process::id()).unwrap().parent;
        assert!(children(parent).contains(&std::process::id()));
    }
}
