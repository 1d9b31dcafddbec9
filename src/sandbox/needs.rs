//! What the machine lacks for a sandbox, each with the way to get it: a person reads one list
//! instead of meeting the gaps one after the other.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::names;

/// What the machine is wanted for; each holds what those before it hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum For {
    /// Machines and their cables.
    Machines,
    /// Also a cloud, names and a store.
    Services,
    /// Also the demonstration estate: what its servers run and its backups are made with.
    Estate,
}

/// One thing that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What is missing, as a lowercase fragment.
    pub lack: String,
    pub remedy: Remedy,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Install a package of Debian.
    Package(String),
    /// Anything else, in words; a command where there is one.
    Words(String),
}

/// All that is missing; shown one per line.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Needs(pub Vec<Need>);

impl Needs {
    /// What to type, one line each: one for all packages, then one for each other need.
    pub fn remedies(&self) -> Vec<String> {
        let mut packages: Vec<&str> = Vec::new();
        let mut others = Vec::new();
        for need in &self.0 {
            match &need.remedy {
                Remedy::Package(name) if !packages.contains(&name.as_str()) => packages.push(name),
                Remedy::Package(_) => {}
                Remedy::Words(words) => others.push(words.clone()),
            }
        }
        let sudo = if rustix::process::geteuid().is_root() {
            ""
        } else {
            "sudo "
        };
        let install = (!packages.is_empty())
            .then(|| format!("{sudo}apt-get install -y {}", packages.join(" ")));
        install.into_iter().chain(others).collect()
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "this machine cannot hold such a sandbox yet:")?;
        for need in &self.0 {
            write!(out, "\n  - {}", need.lack)?;
        }
        Ok(())
    }
}

/// Programs by what they are for, and the Debian package of each.
const PROGRAMS: &[(For, &str, &str)] = &[
    (For::Machines, "unshare", "util-linux"),
    (For::Machines, "nsenter", "util-linux"),
    (For::Machines, "setsid", "util-linux"),
    (For::Machines, "setpriv", "util-linux"),
    (For::Machines, "ip", "iproute2"),
    (For::Machines, "sshd", "openssh-server"),
    (For::Machines, "ssh-keygen", "openssh-client"),
    (For::Machines, "ssh", "openssh-client"),
    (For::Machines, "tar", "tar"),
    (For::Machines, "cp", "coreutils"),
    (For::Machines, "bash", "bash"),
    (For::Machines, "useradd", "passwd"),
    (For::Services, "pdns_server", "pdns-server"),
    (For::Services, "sqlite3", "sqlite3"),
    (For::Services, "unbound", "unbound"),
    (For::Services, "dpkg-deb", "dpkg"),
    (For::Services, "gpg", "gpg"),
    (For::Services, "gpg-agent", "gpg-agent"),
    (For::Estate, "nginx", "nginx"),
    (For::Estate, "redis-server", "redis-server"),
    (For::Estate, "cron", "cron"),
    (For::Estate, "openssl", "openssl"),
    (For::Estate, "curl", "curl"),
    (For::Estate, "nft", "nftables"),
];

/// Files that no folder of programs has.
const FILES: &[(For, &str, &str)] = &[
    (For::Services, names::SCHEMA, "pdns-backend-sqlite3"),
    (
        For::Estate,
        "/usr/lib/postgresql/15/bin/postgres",
        "postgresql-15",
    ),
];

/// Looks at the machine; `Ok` means that a world can be tried. Changes nothing.
pub fn check(wanted: For) -> Result<(), Needs> {
    let mut needs = Vec::new();
    for (_, program, package) in PROGRAMS.iter().filter(|(is_for, ..)| *is_for <= wanted) {
        if find_program(program).is_none() {
            needs.push(Need {
                lack: format!("the program `{program}` is not there"),
                remedy: Remedy::Package((*package).to_owned()),
            });
        }
    }
    for (_, file, package) in FILES.iter().filter(|(is_for, ..)| *is_for <= wanted) {
        if !Path::new(file).exists() {
            needs.push(Need {
                lack: format!("{file} is not there"),
                remedy: Remedy::Package((*package).to_owned()),
            });
        }
    }
    // A module that is not loaded yet is loaded by the first mount of root, and only of root.
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !rustix::process::geteuid().is_root()
        && !known.is_empty()
        && !known.lines().any(|line| line.ends_with("\toverlay"))
    {
        needs.push(other(
            "the kernel does not know overlayfs",
            "as root: modprobe overlay",
        ));
    }
    if rustix::process::geteuid().is_root() {
        if needs.is_empty()
            && !try_unshare(&["--mount", "--net", "--pid", "--fork", "--uts", "--ipc"])
        {
            needs.push(other(
                "root may not make namespaces here (a container without CAP_SYS_ADMIN?)",
                "run on the machine itself, or start the container with --privileged",
            ));
        }
    } else {
        user_needs(&mut needs);
    }
    if needs.is_empty() {
        Ok(())
    } else {
        Err(Needs(needs))
    }
}

fn other(lack: impl Into<String>, words: impl Into<String>) -> Need {
    Need {
        lack: lack.into(),
        remedy: Remedy::Words(words.into()),
    }
}

fn user_needs(needs: &mut Vec<Need>) {
    for program in ["newuidmap", "newgidmap"] {
        if find_program(program).is_none() {
            needs.push(Need {
                lack: format!("the program `{program}` is not there (an ordinary user needs it to map user ids)"),
                remedy: Remedy::Package("uidmap".to_owned()),
            });
        }
    }
    let user = user_name();
    for file in ["/etc/subuid", "/etc/subgid"] {
        if !has_range(Path::new(file), &user) {
            needs.push(Need {
                lack: format!("{file} gives `{user}` no range of 65536 ids (PostgreSQL runs as `postgres`, not as you)"),
                remedy: Remedy::Words(format!("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}; or run as root")),
            });
        }
    }
    for (file, remedy) in [
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "as root: sysctl kernel.unprivileged_userns_clone=1; or run as root",
        ),
        (
            "/proc/sys/user/max_user_namespaces",
            "as root: sysctl user.max_user_namespaces=10000; or run as root",
        ),
    ] {
        if std::fs::read_to_string(file).is_ok_and(|value| value.trim() == "0") {
            needs.push(Need {
                lack: format!("{file} is 0: user namespaces are switched off"),
                remedy: Remedy::Words(remedy.to_owned()),
            });
        }
    }
    if needs.is_empty()
        && !try_unshare(&[
            "--user",
            "--map-root-user",
            "--map-auto",
            "--mount",
            "--net",
            "--pid",
            "--fork",
        ])
    {
        let apparmor =
            std::fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
                .is_ok_and(|value| value.trim() == "1");
        needs.push(Need {
            lack: "ordinary users may not make user namespaces with mounts here".to_owned(),
            remedy: Remedy::Words(
                if apparmor {
                    "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0; or run as root"
                } else {
                    "run as root"
                }
                .to_owned(),
            ),
        });
    }
}

fn try_unshare(flags: &[&str]) -> bool {
    Command::new("unshare")
        .args(flags)
        .args(["--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The user's name, for the lines of `/etc/subuid`; the number where it has none.
fn user_name() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    std::fs::read_to_string("/etc/passwd")
        .ok()
        .and_then(|text| {
            text.lines()
                .map(|line| line.split(':').collect::<Vec<_>>())
                .find(|fields| fields.get(2) == Some(&uid.as_str()))
                .map(|fields| fields[0].to_owned())
        })
        .unwrap_or(uid)
}

/// Whether a file in the form of subuid(5) gives the user at least 65536 ids in one range.
fn has_range(file: &Path, user: &str) -> bool {
    let uid = rustix::process::geteuid().as_raw().to_string();
    std::fs::read_to_string(file).is_ok_and(|text| {
        text.lines().any(|line| {
            let fields: Vec<_> = line.trim().split(':').collect();
            fields.len() == 3
                && (fields[0] == user || fields[0] == uid)
                && fields[2].parse::<u64>().is_ok_and(|count| count >= 65_536)
        })
    })
}

/// Where a program is, looked for in PATH and in the folders of system programs, which an
/// ordinary user's PATH leaves out.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
