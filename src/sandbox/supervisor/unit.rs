//! Unit files as far as a machine of the sandbox carries them out (systemd.unit(5),
//! systemd.service(5), systemd.exec(5)). A key that is not carried out is kept by name, so that
//! `systemctl status` can say so.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::unit_text;

/// Where units are looked for, first one wins.
pub const FOLDERS: &[&str] = &[
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    #[default]
    Simple,
    Exec,
    Forking,
    Oneshot,
    Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    #[default]
    No,
    OnFailure,
    Always,
}

/// Which processes a stop kills (systemd.kill(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KillMode {
    #[default]
    ControlGroup,
    Mixed,
    Process,
    None,
}

/// One `Exec...=` line, split into words, before `$VARIABLES` are put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    pub words: Vec<String>,
    /// Prefix `-`: a failure is recorded and ignored.
    pub may_fail: bool,
    /// Prefix `+` or `!`: runs as root whatever `User=` says.
    pub as_root: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Unit {
    /// Full name: `nginx.service`, `postgresql@15-main.service`.
    pub name: String,
    pub path: PathBuf,
    pub description: String,
    pub kind: Kind,
    pub start: Vec<Exec>,
    pub start_pre: Vec<Exec>,
    pub start_post: Vec<Exec>,
    pub reload: Vec<Exec>,
    pub stop: Vec<Exec>,
    pub stop_post: Vec<Exec>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub working_directory: Option<String>,
    /// `Environment=`, in order.
    pub environment: Vec<(String, String)>,
    /// `EnvironmentFile=` with whether it may be missing.
    pub environment_files: Vec<(PathBuf, bool)>,
    /// Folders below `/run`, `/var/lib`, `/var/log`, `/var/cache`, with their modes.
    pub folders: Vec<(PathBuf, u32)>,
    pub umask: Option<u32>,
    pub pid_file: Option<PathBuf>,
    pub remain_after_exit: bool,
    pub restart: Restart,
    pub restart_delay: Duration,
    pub start_timeout: Option<Duration>,
    pub stop_timeout: Duration,
    pub kill_mode: KillMode,
    pub kill_signal: Option<String>,
    /// `StandardOutput=append:/file` or `file:/file`.
    pub output: Option<PathBuf>,
    pub part_of: Vec<String>,
    pub needs: Vec<String>,
    pub wanted_by: Vec<String>,
    pub aliases: Vec<String>,
    /// `ConditionPathExists=` (with `!`: must not exist); the bool says that it is an `Assert`.
    pub conditions: Vec<(String, bool)>,
    /// Keys that were read and are not carried out.
    pub not_applied: Vec<String>,
    /// Lines that make no sense, and values that were not understood.
    pub problems: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    #[error("Unit {name} not found.")]
    NotFound { name: String },
    #[error("Unit {name} is masked.")]
    Masked { name: String },
    #[error("reading {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// `nginx` is `nginx.service`; other suffixes stay.
pub fn full_name(name: &str) -> String {
    const SUFFIXES: &[&str] = &[
        ".service", ".target", ".socket", ".timer", ".mount", ".path",
    ];
    if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

/// `(prefix, instance)`: `postgresql@15-main.service` is `("postgresql", Some("15-main"))`.
pub fn parts(name: &str) -> (&str, Option<&str>) {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    match stem.split_once('@') {
        Some((prefix, instance)) if !instance.is_empty() => (prefix, Some(instance)),
        _ => (stem, None),
    }
}

/// The unit of that name below `root` (`/` on a machine), aliases followed, drop-ins applied.
pub fn load(root: &Path, name: &str) -> Result<Unit, UnitError> {
    let asked = full_name(name);
    let (found, path) = find(root, &asked)?;
    let (prefix, instance) = parts(&found);
    let mut texts = vec![read(&path)?];
    let mut folders = vec![format!("{found}.d")];
    if instance.is_some() {
        folders.insert(0, format!("{prefix}@.service.d"));
    }
    for folder in folders {
        for base in FOLDERS.iter().rev() {
            let Ok(entries) = fs::read_dir(root.join(base.trim_start_matches('/')).join(&folder))
            else {
                continue;
            };
            let mut files: Vec<PathBuf> = entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|file| file.extension().is_some_and(|ext| ext == "conf"))
                .collect();
            files.sort();
            for file in files {
                texts.push(read(&file)?);
            }
        }
    }
    let mut unit = Unit {
        name: found.clone(),
        path,
        stop_timeout: Duration::from_secs(90),
        start_timeout: Some(Duration::from_secs(90)),
        restart_delay: Duration::from_millis(100),
        ..Unit::default()
    };
    for text in texts {
        unit_text::parse(&mut unit, &text);
    }
    if unit.kind == Kind::Simple && unit.start.is_empty() {
        unit.kind = Kind::Oneshot;
    }
    Ok(unit)
}

fn read(path: &Path) -> Result<String, UnitError> {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|source| UnitError::Read {
            path: path.to_owned(),
            source,
        })
}

/// The real name and the file. A link to another unit's file is an alias, one to /dev/null a mask.
fn find(root: &Path, name: &str) -> Result<(String, PathBuf), UnitError> {
    let (prefix, instance) = parts(name);
    let mut candidates = vec![name.to_owned()];
    if instance.is_some() {
        candidates.push(format!("{prefix}@.service"));
    }
    for candidate in candidates {
        for folder in FOLDERS {
            let file = root.join(folder.trim_start_matches('/')).join(&candidate);
            let Ok(about) = fs::symlink_metadata(&file) else {
                continue;
            };
            if about.is_symlink() {
                let target = fs::read_link(&file).unwrap_or_default();
                if target == Path::new("/dev/null") {
                    return Err(UnitError::Masked {
                        name: name.to_owned(),
                    });
                }
                let real = target
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                if real != candidate && real.ends_with(".service") && instance.is_none() {
                    return find(root, &real);
                }
            }
            if file.is_file() {
                return Ok((name.to_owned(), file));
            }
        }
    }
    Err(UnitError::NotFound {
        name: name.to_owned(),
    })
}
