//! What starts with the machine: the links that `systemctl enable`, `disable`, `mask` and their
//! kin make and read.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    answers::{script, wrong},
    unit::{self, UnitError},
};
use crate::sandbox::systemctl::Answer;

const UNITS: &str = "/etc/systemd/system";

fn wants_link(wanted_by: &str, name: &str) -> PathBuf {
    Path::new(UNITS)
        .join(format!("{wanted_by}.wants"))
        .join(name)
}

pub fn is_enabled(name: &str, quiet: bool) -> Answer {
    let (code, word) = match unit::load(Path::new("/"), name) {
        Ok(unit) => {
            let on = unit
                .wanted_by
                .iter()
                .any(|target| fs::symlink_metadata(wants_link(target, &unit.name)).is_ok());
            if on {
                (0, "enabled")
            } else if unit.wanted_by.is_empty() {
                (0, "static")
            } else {
                (1, "disabled")
            }
        }
        Err(UnitError::Masked { .. }) => (1, "masked"),
        Err(error) if script(name).is_none() => {
            return wrong(
                1,
                format!(
                    "Failed to get unit file state for {}: {error}\n",
                    unit::full_name(name)
                ),
            );
        }
        Err(_) => (0, "enabled"),
    };
    Answer {
        code,
        out: if quiet {
            String::new()
        } else {
            format!("{word}\n")
        },
        error: String::new(),
    }
}

/// `systemctl enable`: links for `WantedBy=` and `Alias=`.
pub fn enable(name: &str) -> Answer {
    let unit = match unit::load(Path::new("/"), name) {
        Ok(unit) => unit,
        Err(_) if script(name).is_some() => return Answer::default(),
        Err(error) => return wrong(1, format!("Failed to enable unit: {error}\n")),
    };
    let links = unit
        .wanted_by
        .iter()
        .map(|target| wants_link(target, &unit.name))
        .chain(
            unit.aliases
                .iter()
                .map(|alias| Path::new(UNITS).join(alias)),
        );
    let mut answer = Answer::default();
    for link in links {
        if let Some(folder) = link.parent() {
            let _ = fs::create_dir_all(folder);
        }
        match symlink(&unit.path, &link) {
            Ok(()) => {
                let _ = writeln!(
                    answer.error,
                    "Created symlink {} → {}.",
                    link.display(),
                    unit.path.display()
                );
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return wrong(
                    1,
                    format!(
                        "Failed to enable unit: linking {}: {error}\n",
                        link.display()
                    ),
                );
            }
        }
    }
    answer
}

pub fn disable(name: &str) -> Answer {
    let unit = match unit::load(Path::new("/"), name) {
        Ok(unit) => unit,
        Err(error) => return wrong(1, format!("Failed to disable unit: {error}\n")),
    };
    let mut answer = Answer::default();
    for link in unit
        .wanted_by
        .iter()
        .map(|target| wants_link(target, &unit.name))
        .chain(
            unit.aliases
                .iter()
                .map(|alias| Path::new(UNITS).join(alias)),
        )
    {
        if fs::remove_file(&link).is_ok() {
            let _ = writeln!(answer.error, "Removed \"{}\".", link.display());
        }
    }
    answer
}

pub fn mask(name: &str, on: bool) -> Answer {
    let link = Path::new(UNITS).join(unit::full_name(name));
    let masked = fs::read_link(&link).is_ok_and(|target| target == Path::new("/dev/null"));
    let done = match (on, masked) {
        (true, false) => symlink("/dev/null", &link),
        (false, true) => fs::remove_file(&link),
        _ => Ok(()),
    };
    match done {
        Ok(()) => Answer::default(),
        Err(error) => wrong(
            1,
            format!("Failed to mask unit: {}: {error}\n", link.display()),
        ),
    }
}
