//! The base: the lower directory under every machine's root. A private copy of the machine's
//! `/etc` without its identity and without what packages configured, an empty `/var` with sane
//! modes, an empty `/root`. `/usr` is not in it: it is mounted over each machine.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use super::{network, packages};

/// What went wrong with which file.
#[derive(Debug, thiserror::Error)]
#[error("laying the base: {what} {}", path.display())]
pub struct BaseError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BaseError + 'a {
    move |source| BaseError {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Folders of a fresh Debian system, with their modes. Those below an overlay's lower directory
/// show through with exactly these.
const FOLDERS: &[(&str, u32)] = &[
    ("usr", 0o755),
    ("boot", 0o755),
    ("dev", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/backups", 0o755),
    ("var/cache", 0o755),
    ("var/cache/apt/archives/partial", 0o755),
    ("var/lib", 0o755),
    ("var/lib/dpkg/info", 0o755),
    ("var/lib/dpkg/updates", 0o755),
    ("var/lib/misc", 0o755),
    ("var/lib/apt/lists/partial", 0o755),
    ("var/lib/cloud", 0o755),
    ("var/local", 0o2775),
    ("var/log", 0o755),
    ("var/log/apt", 0o755),
    ("var/mail", 0o2775),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/spool/cron", 0o755),
    ("var/tmp", 0o1777),
];

/// What of `/etc` is the machine's own identity, secret, or a package's configuration (the
/// latter comes when the package is asked for).
const LEFT_OUT: &[&str] = &[
    "hostname",
    "hosts",
    "resolv.conf",
    "machine-id",
    "fstab",
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    "passwd",
    "passwd-",
    "group",
    "group-",
    "subuid",
    "subuid-",
    "subgid",
    "subgid-",
    "mtab",
    "motd",
    "adjtime",
    ".pwd.lock",
    "ssl/private",
    "sudoers.d",
    "cloud",
    "ld.so.cache~",
    // Where this machine gets its packages from, by which proxy and with which password, is its own business.
    "apt/sources.list",
    "apt/sources.list.d",
    "apt/apt.conf",
    "apt/apt.conf.d",
    "apt/auth.conf",
    "apt/auth.conf.d",
    "apt/preferences",
    "apt/preferences.d",
    "NetworkManager",
    "docker",
    "letsencrypt",
    "krb5.keytab",
    "systemd/system",
    "systemd/network",
    "rc0.d",
    "rc1.d",
    "rc2.d",
    "rc3.d",
    "rc4.d",
    "rc5.d",
    "rc6.d",
    "rcS.d",
];

/// Makes the base in `base`, which must not exist yet, from the `/etc` of the machine. Files
/// that may not be read are left out; `/etc/shadow` is synthesised, nobody has a password.
pub fn lay(base: &Path) -> Result<(), BaseError> {
    for (folder, mode) in FOLDERS {
        let path = base.join(folder);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .map_err(at("making", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))
            .map_err(at("setting the mode of", &path))?;
    }
    for link in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(link)) {
            let path = base.join(link);
            std::os::unix::fs::symlink(target, &path).map_err(at("linking", &path))?;
        }
    }
    for (link, target) in [
        ("var/run", "/run"),
        ("var/lock", "/run/lock"),
        ("var/spool/mail", "../mail"),
    ] {
        let path = base.join(link);
        std::os::unix::fs::symlink(target, &path).map_err(at("linking", &path))?;
    }
    let left_out: Vec<PathBuf> = LEFT_OUT
        .iter()
        .copied()
        .chain(packages::configuration_folders())
        .map(PathBuf::from)
        .collect();
    copy_tree(Path::new("/etc"), &base.join("etc"), &|inside: &Path| {
        left_out.iter().any(|out| out == inside)
            || inside.parent() == Some(Path::new("ssh"))
                && inside
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("ssh_host_"))
    })?;
    identity(&base.join("etc"))?;
    packages::lay_status(&base.join("var/lib/dpkg"))
        .map_err(at("writing", &base.join("var/lib/dpkg/status")))
}

/// The files that make the copy a machine of its own.
fn identity(etc: &Path) -> Result<(), BaseError> {
    for folder in [
        "systemd/system/multi-user.target.wants",
        "ssl/private",
        "sudoers.d",
        "apt/sources.list.d",
        "apt/apt.conf.d",
        "apt/auth.conf.d",
        "apt/preferences.d",
        "apt/keyrings",
    ] {
        let path = etc.join(folder);
        fs::create_dir_all(&path).map_err(at("making", &path))?;
    }
    let passwd = read("/etc/passwd")?;
    // Accounts of people stay on their own machine; 65534 is `nobody`.
    let of_system = |line: &&str| {
        line.split(':')
            .nth(2)
            .and_then(|id| id.parse::<u32>().ok())
            .is_some_and(|id| !(1000..65_000).contains(&id))
    };
    let accounts: Vec<&str> = passwd.lines().filter(of_system).collect();
    let groups = read("/etc/group")?;
    let groups: Vec<String> = groups
        .lines()
        .filter(of_system)
        .map(|line| without_people(line, &accounts))
        .collect();
    let days = 20_000; // some day in the past, as `passwd` would write it
    let shadow: String = accounts
        .iter()
        .map(|line| format!("{}:*:{days}:0:99999:7:::\n", name_of(line)))
        .collect();
    let gshadow: String = groups
        .iter()
        .map(|line| format!("{}:*::\n", name_of(line)))
        .collect();
    let own_accounts: String = accounts
        .iter()
        .map(|line| {
            if name_of(line) == "root" {
                "root:x:0:0:root:/root:/bin/bash\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    write(etc, "passwd", 0o644, &own_accounts)?;
    write(etc, "group", 0o644, &(groups.join("\n") + "\n"))?;
    write(etc, "shadow", 0o640, &shadow)?;
    write(etc, "gshadow", 0o640, &gshadow)?;
    for empty in ["subuid", "subgid", "motd", "fstab"] {
        write(etc, empty, 0o644, "")?;
    }
    // Empty, as in a cloud image: the first boot writes one.
    write(etc, "machine-id", 0o444, "")?;
    write(
        etc,
        "resolv.conf",
        0o644,
        &format!(
            "nameserver {}\noptions timeout:2 attempts:2\n",
            network::RESOLVER
        ),
    )?;
    let mtab = etc.join("mtab");
    std::os::unix::fs::symlink("../proc/self/mounts", &mtab).map_err(at("linking", &mtab))?;
    login_server(etc)?;
    quicken_logins(etc)
}

/// The configuration of sshd as a cloud image has it, whatever this machine allows itself; and the
/// link by which it starts. One thing is other than there: Debian 12's exchange of keys against quantum computers costs
/// the client a tenth of a second of a processor for each connection, and nobody records what stays within this machine.
fn login_server(etc: &Path) -> Result<(), BaseError> {
    let folder = etc.join("ssh/sshd_config.d");
    fs::create_dir_all(&folder).map_err(at("making", &folder))?;
    write(
        etc,
        "ssh/sshd_config",
        0o644,
        "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         KexAlgorithms -sntrup761*\nUsePAM yes\nX11Forwarding no\nPrintMotd no\nUseDNS no\nAcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
    )?;
    for link in [
        "systemd/system/multi-user.target.wants/ssh.service",
        "systemd/system/sshd.service",
    ] {
        let path = etc.join(link);
        std::os::unix::fs::symlink("/lib/systemd/system/ssh.service", &path)
            .map_err(at("linking", &path))?;
    }
    Ok(())
}

/// systemd's user database and login sessions are not there to be asked: a login would only wait
/// for them. And nobody reads the message of the day, for which Debian starts five programs at each login.
fn quicken_logins(etc: &Path) -> Result<(), BaseError> {
    let nsswitch = etc.join("nsswitch.conf");
    if let Ok(text) = fs::read_to_string(&nsswitch) {
        let kept: String = text
            .lines()
            .map(|line| {
                let words: Vec<_> = line
                    .split_whitespace()
                    .filter(|word| *word != "systemd" && *word != "mymachines")
                    .collect();
                if line.starts_with('#') {
                    format!("{line}\n")
                } else {
                    format!("{}\n", words.join(" "))
                }
            })
            .collect();
        fs::write(&nsswitch, kept).map_err(at("writing", &nsswitch))?;
    }
    for (service, module) in [
        ("pam.d/common-session", "pam_systemd"),
        ("pam.d/sshd", "pam_motd"),
    ] {
        let path = etc.join(service);
        if let Ok(text) = fs::read_to_string(&path) {
            let kept: String = text
                .lines()
                .filter(|line| !line.contains(module))
                .map(|line| format!("{line}\n"))
                .collect();
            fs::write(&path, kept).map_err(at("writing", &path))?;
        }
    }
    Ok(())
}

fn name_of(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// A line of group(5) without members who have no account here.
fn without_people(line: &str, accounts: &[&str]) -> String {
    let mut fields: Vec<&str> = line.splitn(4, ':').collect();
    let kept: Vec<&str> = fields
        .get(3)
        .map(|members| {
            members
                .split(',')
                .filter(|member| accounts.iter().any(|account| name_of(account) == *member))
                .collect()
        })
        .unwrap_or_default();
    let kept = kept.join(",");
    if let Some(members) = fields.get_mut(3) {
        *members = &kept;
    }
    fields.join(":")
}

fn read(path: &str) -> Result<String, BaseError> {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(at("reading", Path::new(path)))
}

fn write(folder: &Path, name: &str, mode: u32, text: &str) -> Result<(), BaseError> {
    let path = folder.join(name);
    let _ = fs::remove_file(&path);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(at("writing", &path))
}

/// Copies a tree with modes and owners. In a user namespace owners that are not mapped read as
/// the overflow id; those become root, as everything a cloud image ships is root's. What may not
/// be read, and what is neither file, folder nor link, is left out.
pub fn copy_tree(
    from: &Path,
    to: &Path,
    left_out: &dyn Fn(&Path) -> bool,
) -> Result<(), BaseError> {
    let owners = Owners::of_namespace();
    let mut folders = vec![PathBuf::new()];
    let mut modes = BTreeMap::new();
    while let Some(inside) = folders.pop() {
        let target = to.join(&inside);
        let source = from.join(&inside);
        let Ok(entries) = fs::read_dir(&source) else {
            continue;
        };
        fs::create_dir_all(&target).map_err(at("making", &target))?;
        if let Ok(about) = fs::metadata(&source) {
            owners
                .give(&target, &about)
                .map_err(at("giving away", &target))?;
            modes.insert(target, about.permissions());
        }
        for entry in entries.flatten() {
            let inside = inside.join(entry.file_name());
            if left_out(&inside) {
                continue;
            }
            let target = to.join(&inside);
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if about.is_dir() {
                folders.push(inside);
            } else if about.is_symlink() {
                if let Ok(link) = fs::read_link(entry.path()) {
                    std::os::unix::fs::symlink(link, &target).map_err(at("linking", &target))?;
                }
            } else if about.is_file() {
                match fs::copy(entry.path(), &target) {
                    Ok(_) => {
                        owners
                            .give(&target, &about)
                            .map_err(at("giving away", &target))?;
                        fs::set_permissions(&target, about.permissions())
                            .map_err(at("setting the mode of", &target))?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                        let _ = fs::remove_file(&target);
                    }
                    Err(error) => return Err(at("copying to", &target)(error)),
                }
            }
        }
    }
    // Folders last: one without write permission would refuse its own files.
    for (folder, mode) in modes {
        fs::set_permissions(&folder, mode).map_err(at("setting the mode of", &folder))?;
    }
    Ok(())
}

/// Whether ids are what they seem (see user_namespaces(7)).
struct Owners {
    mapped: bool,
}

impl Owners {
    fn of_namespace() -> Self {
        Self {
            mapped: super::enter::in_user_namespace(),
        }
    }

    fn give(&self, path: &Path, about: &fs::Metadata) -> io::Result<()> {
        if self.mapped {
            return Ok(());
        }
        std::os::unix::fs::lchown(path, Some(about.uid()), Some(about.gid()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_leave_their_groups() {
        let accounts = ["root:x:0:0:::", "postgres:x:101:104:::"];
        assert_eq!(
            without_people("ssl-cert:x:110:postgres,ann", &accounts),
            "ssl-cert:x:110:postgres"
        );
        assert_eq!(without_people("sudo:x:27:ann", &accounts), "sudo:x:27:");
    }

    #[test]
    fn the_base_has_no_identity_and_sane_modes() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        lay(&base).unwrap();
        assert_eq!(fs::read_to_string(base.join("etc/machine-id")).unwrap(), "");
        assert_eq!(
            fs::metadata(base.join("tmp")).unwrap().permissions().mode() & 0o7777,
            0o1777
        );
        assert_eq!(
            fs::metadata(base.join("root"))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777,
            0o700
        );
        let keys = fs::read_dir(base.join("etc/ssh")).unwrap().flatten();
        assert!(
            !keys
                .into_iter()
                .any(|key| key.file_name().to_string_lossy().starts_with("ssh_host_"))
        );
        let shadow = fs::read_to_string(base.join("etc/shadow")).unwrap();
        assert!(
            shadow.starts_with("root:*:") && shadow.lines().all(|line| line.contains(":*:")),
            "{shadow}"
        );
        assert!(!base.join("etc/postgresql").exists());
        assert!(base.join("usr").read_dir().unwrap().next().is_none());
    }
}
