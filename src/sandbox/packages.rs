//! What "installing" means where `/usr` has the programs already: for packages with services the
//! state that their postinst scripts would leave (accounts, folders, configuration, a fresh
//! PostgreSQL cluster), for others nothing; and an error for what the machine does not have.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{accounts::account, base, init::chain, places, systemctl};

/// Packages that configure themselves below `/etc`, with their folder there: a fresh machine has
/// none of these.
const CONFIGURED: &[(&str, &str)] = &[
    ("postgresql", "postgresql"),
    ("redis", "redis"),
    ("nginx", "nginx"),
    ("cron", "cron.d"),
    ("mysql", "mysql"),
    ("mariadb", "mysql"),
    ("pdns", "powerdns"),
    ("unbound", "unbound"),
    ("bind9", "bind"),
    ("apache2", "apache2"),
    ("haproxy", "haproxy"),
    ("avahi", "avahi"),
];

/// Folders below `/etc` that stay out of the base.
pub fn configuration_folders() -> impl Iterator<Item = &'static str> {
    CONFIGURED
        .iter()
        .map(|(_, folder)| *folder)
        .chain(["ssh/sshd_config.d"])
}

/// A package that leaves something behind.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    PostgreSql { version: String },
    Redis,
    Nginx,
    Cron,
}

/// Errors of laying down a package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error(
        "unable to locate package {0}: this machine does not have it, and a sandbox installs nothing that is not in /usr"
    )]
    NotThere(String),
    #[error(
        "package {0} is on this machine, but the sandbox does not know what its installation leaves behind"
    )]
    NotKnown(String),
    #[error("{what}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("`{command}` failed: {why}")]
    Command { command: String, why: String },
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> PackageError {
    move |source| PackageError::Io {
        what: what.into(),
        source,
    }
}

/// dpkg's database without what a fresh machine does not have (dpkg(1), FILES). Which files a package has is left open: without
/// a list dpkg warns of every single package, and real ones are megabytes for each world.
pub fn lay_status(folder: &Path) -> io::Result<()> {
    let kept = stanzas(&fs::read_to_string("/var/lib/dpkg/status").unwrap_or_default());
    let kept = kept.iter().filter(|(name, _)| !is_service(name));
    let mut status = String::new();
    for (name, text) in kept {
        status.push_str(text);
        status.push_str("\n\n");
        lay_list(folder, name, text)?;
    }
    fs::write(folder.join("info/format"), "1\n")?;
    fs::write(folder.join("status"), status)?;
    fs::write(folder.join("available"), "")
}

/// An empty list of files.
fn lay_list(folder: &Path, name: &str, stanza: &str) -> io::Result<()> {
    // One name may stand for several architectures then.
    let architecture = stanza
        .lines()
        .find_map(|line| line.strip_prefix("Architecture: "))
        .filter(|_| stanza.contains("\nMulti-Arch: same"));
    let list = match architecture {
        Some(architecture) => format!("{name}:{architecture}.list"),
        None => format!("{name}.list"),
    };
    fs::write(folder.join("info").join(list), "")
}

fn is_service(package: &str) -> bool {
    let client = package.contains("client")
        || package.ends_with("-tools")
        || package.ends_with("-common")
        || package.starts_with("lib");
    !client
        && CONFIGURED
            .iter()
            .any(|(prefix, _)| package.starts_with(prefix))
}

/// Installed packages of a dpkg status file: name and stanza.
fn stanzas(status: &str) -> BTreeMap<String, String> {
    status
        .split("\n\n")
        .filter(|text| text.contains("\nStatus: install ok installed"))
        .filter_map(|text| {
            Some((
                text.lines()
                    .find_map(|line| line.strip_prefix("Package: "))?
                    .to_owned(),
                text.trim().to_owned(),
            ))
        })
        .collect()
}

/// In the world, once: copies of what the machine's packages configured, for machines to take.
pub fn prepare(folder: &Path) -> Result<(), PackageError> {
    fs::create_dir_all(folder).map_err(doing("making the folder of packages"))?;
    for part in ["nginx", "redis"] {
        base::copy_tree(
            &Path::new("/etc").join(part),
            &folder.join("etc").join(part),
            &|_| false,
        )
        .map_err(|error| PackageError::Command {
            command: format!("copy /etc/{part}"),
            why: chain(&error),
        })?;
    }
    let _ = fs::copy("/var/lib/dpkg/status", folder.join("status"));
    Ok(())
}

/// Names of clusters that can be prepared: one for each PostgreSQL on the machine.
pub fn clusters() -> Vec<String> {
    versions()
        .into_iter()
        .map(|version| format!("postgresql-{version}"))
        .collect()
}

/// Versions of PostgreSQL in Debian's place, newest first.
fn versions() -> Vec<String> {
    let mut versions: Vec<String> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .filter(|entry| entry.path().join("bin/postgres").exists())
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .unwrap_or_default();
    versions.sort_by_key(|version| std::cmp::Reverse(version.parse::<u32>().unwrap_or(0)));
    versions
}

/// File name of a prepared cluster in the cache: anything that would make another cluster makes
/// another name.
pub fn cache_name(package: &str) -> String {
    use sha2::Digest as _;
    let version = package.trim_start_matches("postgresql-");
    let about = Command::new(format!("/usr/lib/postgresql/{version}/bin/postgres"))
        .arg("--version")
        .output()
        .map(|output| output.stdout)
        .unwrap_or_default();
    let ids = account("postgres")
        .map(|(user, group, _)| format!("{user}:{group}"))
        .unwrap_or_default();
    let digest = sha2::Sha256::digest([about, ids.into_bytes(), b"layout 1".to_vec()].concat());
    format!(
        "{package}-{:02x}{:02x}{:02x}{:02x}.tar",
        digest[0], digest[1], digest[2], digest[3]
    )
}

/// Inside a throw-away machine: makes the cluster as its package would and writes it as a tar to
/// standard output. The write-ahead log is left out: it is made anew for each copy.
pub fn build(package: &str) -> Result<(), String> {
    let version = package.trim_start_matches("postgresql-");
    create_cluster(version).map_err(|error| chain(&error))?;
    let status = Command::new("tar")
        .args([
            "--create",
            "--numeric-owner",
            "--directory=/",
            "--exclude=pg_wal/0*",
            "etc/postgresql",
            "var/lib/postgresql",
            "var/log/postgresql",
        ])
        .env("PATH", places::PATH)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("starting tar: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("tar: {status}"))
    }
}

/// Inside a machine: lays down each package, starts and enables its services. All are tried; the
/// errors come back together.
pub fn install(names: &[String], log: &mut dyn io::Write) -> Vec<PackageError> {
    let machine = stanzas(
        &fs::read_to_string(Path::new(places::INSIDE_PACKAGES).join("status")).unwrap_or_default(),
    );
    let mut errors = Vec::new();
    for name in names {
        let _ = writeln!(log, "Setting up {name} ...");
        let done = match known(name) {
            Some(known) => lay_down(&known).and_then(|()| note_installed(name, &known, &machine)),
            None if machine.contains_key(name) && is_service(name) => {
                Err(PackageError::NotKnown(name.clone()))
            }
            None if machine.contains_key(name) => Ok(()),
            None => Err(PackageError::NotThere(name.clone())),
        };
        if let Err(error) = done {
            let _ = writeln!(log, "E: {}", chain(&error));
            errors.push(error);
        }
    }
    errors
}

/// Which package that is, if it has a service and its programs are here.
fn known(name: &str) -> Option<Known> {
    match name {
        "postgresql" => versions()
            .into_iter()
            .next()
            .map(|version| Known::PostgreSql { version }),
        "redis" | "redis-server" => Path::new("/usr/bin/redis-server")
            .exists()
            .then_some(Known::Redis),
        "nginx" | "nginx-light" | "nginx-core" | "nginx-full" | "nginx-extras" => {
            Path::new("/usr/sbin/nginx")
                .exists()
                .then_some(Known::Nginx)
        }
        "cron" => Path::new("/usr/sbin/cron").exists().then_some(Known::Cron),
        other => {
            let version = other.strip_prefix("postgresql-")?;
            versions()
                .contains(&version.to_owned())
                .then(|| Known::PostgreSql {
                    version: version.to_owned(),
                })
        }
    }
}

fn lay_down(known: &Known) -> Result<(), PackageError> {
    match known {
        Known::PostgreSql { version } => {
            if !Path::new("/etc/postgresql")
                .join(version)
                .join("main/postgresql.conf")
                .exists()
            {
                match fs::read_dir(places::INSIDE_CACHE).ok().and_then(|entries| {
                    entries
                        .flatten()
                        .map(|entry| entry.path())
                        .find(|path| path.ends_with(cache_name(&format!("postgresql-{version}"))))
                }) {
                    Some(tar) => {
                        accounts_of_postgresql()?;
                        run(Command::new("tar")
                            .args([
                                "--extract",
                                "--numeric-owner",
                                "--same-owner",
                                "--preserve-permissions",
                                "--directory=/",
                                "--file",
                            ])
                            .arg(&tar))?;
                        super::cluster_identity::renew(version)?;
                    }
                    None => create_cluster(version)?,
                }
            }
            enable_and_start("postgresql")
        }
        Known::Redis => {
            let (user, group) = own_account("redis", "/var/lib/redis")?;
            for (folder, mode) in [
                ("/etc/redis", 0o2770),
                ("/var/lib/redis", 0o750),
                ("/var/log/redis", 0o2750),
            ] {
                owned_folder(Path::new(folder), mode, user, group)?;
            }
            let to = Path::new("/etc/redis/redis.conf");
            if !to.exists() {
                // The machine's file where it may be read (0640 redis), else what it says.
                let from = Path::new(places::INSIDE_PACKAGES).join("etc/redis/redis.conf");
                let text = fs::read(&from).unwrap_or_else(|_| REDIS.as_bytes().to_vec());
                fs::write(to, text).map_err(doing("writing /etc/redis/redis.conf"))?;
                chown(to, Some(user), Some(group))
                    .map_err(doing("giving away /etc/redis/redis.conf"))?;
                fs::set_permissions(to, fs::Permissions::from_mode(0o640))
                    .map_err(doing("setting the mode of /etc/redis/redis.conf"))?;
            }
            enable_and_start("redis-server")
        }
        Known::Nginx => {
            let (user, _) = own_account("www-data", "/var/www")?;
            if !Path::new("/etc/nginx/nginx.conf").exists() {
                run(Command::new("cp")
                    .arg("-a")
                    .arg(Path::new(places::INSIDE_PACKAGES).join("etc/nginx"))
                    .arg("/etc/"))?;
            }
            for folder in [
                "/etc/nginx/conf.d",
                "/etc/nginx/sites-available",
                "/etc/nginx/sites-enabled",
                "/etc/nginx/modules-enabled",
                "/var/www/html",
                "/var/lib/nginx",
            ] {
                fs::create_dir_all(folder).map_err(doing(format!("making {folder}")))?;
            }
            let group = super::accounts::group_id("adm").unwrap_or(0);
            owned_folder(Path::new("/var/log/nginx"), 0o755, user, group)?;
            let page = Path::new("/var/www/html/index.nginx-debian.html");
            if !page.exists() {
                fs::write(page, "<!DOCTYPE html>\n<title>Welcome to nginx!</title>\n<h1>Welcome to nginx!</h1>\n").map_err(doing("writing the first page"))?;
            }
            enable_and_start("nginx")
        }
        Known::Cron => {
            let group = super::accounts::group_id("crontab").unwrap_or(0);
            owned_folder(Path::new("/var/spool/cron/crontabs"), 0o1730, 0, group)?;
            owned_folder(Path::new("/etc/cron.d"), 0o755, 0, 0)?;
            enable_and_start("cron")
        }
    }
}

/// What Debian's redis.conf amounts to.
const REDIS: &str = "bind 127.0.0.1 -::1\nprotected-mode yes\nport 6379\ndaemonize yes\npidfile /run/redis/redis-server.pid\nloglevel notice\n\
    logfile /var/log/redis/redis-server.log\ndatabases 16\nsave 3600 1 300 100 60 10000\ndbfilename dump.rdb\ndir /var/lib/redis\nappendonly no\n";

fn accounts_of_postgresql() -> Result<(u32, u32), PackageError> {
    let owner = own_account("postgres", "/var/lib/postgresql")?;
    owned_folder(Path::new("/var/run/postgresql"), 0o2775, owner.0, owner.1)?;
    Ok(owner)
}

/// A cluster made from nothing, as the postinst of PostgreSQL does: seconds, where a copy takes
/// a tenth of one.
fn create_cluster(version: &str) -> Result<(), PackageError> {
    let (user, group) = accounts_of_postgresql()?;
    owned_folder(Path::new("/var/lib/postgresql"), 0o755, user, group)?;
    owned_folder(Path::new("/var/log/postgresql"), 0o1775, 0, group)?;
    owned_folder(Path::new("/etc/postgresql"), 0o755, user, group)?;
    run(Command::new("pg_createcluster").args([
        "--locale=C.UTF-8",
        "--encoding=UTF8",
        version,
        "main",
        "--",
        "--no-sync",
    ]))
}

/// An account of the system, made where the machine has none; user and group id.
fn own_account(name: &str, home: &str) -> Result<(u32, u32), PackageError> {
    if account(name).is_none() {
        run(Command::new("useradd").args([
            "--system",
            "--user-group",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            "--home-dir",
            home,
            name,
        ]))?;
    }
    account(name)
        .map(|(user, group, _)| (user, group))
        .ok_or_else(|| PackageError::Command {
            command: format!("useradd {name}"),
            why: "the account is not there afterwards".to_owned(),
        })
}

fn owned_folder(path: &Path, mode: u32, user: u32, group: u32) -> Result<(), PackageError> {
    let place = path.display().to_string();
    fs::create_dir_all(path).map_err(doing(format!("making {place}")))?;
    chown(path, Some(user), Some(group)).map_err(doing(format!("giving away {place}")))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(doing(format!("setting the mode of {place}")))
}

fn enable_and_start(name: &str) -> Result<(), PackageError> {
    for verb in ["enable", "start"] {
        let question = systemctl::Question {
            verb: verb.to_owned(),
            units: vec![name.to_owned()],
            ..Default::default()
        };
        let answer =
            systemctl::ask(&question).map_err(doing(format!("asking init to {verb} {name}")))?;
        if answer.code != 0 {
            return Err(PackageError::Command {
                command: format!("systemctl {verb} {name}"),
                why: answer.error.trim().to_owned(),
            });
        }
    }
    Ok(())
}

/// Adds the package's stanza to the machine's list, so that `dpkg -s` tells what is so.
fn note_installed(
    name: &str,
    known: &Known,
    machine: &BTreeMap<String, String>,
) -> Result<(), PackageError> {
    let path = Path::new("/var/lib/dpkg/status");
    let here = stanzas(&fs::read_to_string(path).unwrap_or_default());
    let mut more = std::collections::BTreeSet::from([name.to_owned()]);
    if let Known::PostgreSql { version } = known {
        more.insert(format!("postgresql-{version}"));
    }
    let mut text = String::new();
    for package in more.iter().filter(|package| !here.contains_key(*package)) {
        if let Some(stanza) = machine.get(package) {
            text.push_str(&format!("{stanza}\n\n"));
            lay_list(Path::new("/var/lib/dpkg"), package, stanza)
                .map_err(doing("noting the files of the package"))?;
        }
    }
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(doing("noting the package"))
}

/// Runs a command to its end; an error holds what it said.
pub(super) fn run(command: &mut Command) -> Result<(), PackageError> {
    let shown = PathBuf::from(command.get_program()).display().to_string();
    let output = command
        .env_clear()
        .env("PATH", places::PATH)
        .env("LANG", "C.UTF-8")
        .env("HOME", "/root")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(doing(format!("starting `{shown}`")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(PackageError::Command {
        command: shown,
        why: format!(
            "{}: {}",
            output.status,
            said.trim()
                .lines()
                .rev()
                .take(5)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .join("; ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_stay_and_servers_go_from_the_list() {
        for service in ["postgresql", "postgresql-15", "redis-server", "nginx-light"] {
            assert!(is_service(service), "{service}");
        }
        for other in [
            "postgresql-client-15",
            "postgresql-common",
            "redis-tools",
            "curl",
            "libnginx-mod-http-echo",
        ] {
            assert!(!is_service(other), "{other}");
        }
    }

    #[test]
    fn only_installed_packages_count() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: deinstall ok config-files\n\n";
        assert_eq!(stanzas(status).keys().collect::<Vec<_>>(), ["a"]);
    }
}
