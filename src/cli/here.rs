//! Where and who: the state folder, the person, the machine. Only `cli` reads the environment.

use std::path::PathBuf;

use super::failure::{CliError, USAGE};

/// The folder that runs are kept in: `--state`, `$DR_PLAN_STATE`, or the XDG state folder.
pub fn state_folder(given: Option<PathBuf>) -> Result<PathBuf, CliError> {
    if let Some(given) = given {
        let wrong = |why: &dyn std::fmt::Display| {
            CliError::new(USAGE, format!("--state {}: {why}", given.display()))
        };
        if given.exists() && !given.is_dir() {
            return Err(wrong(&"this is not a folder"));
        }
        return std::path::absolute(&given).map_err(|error| wrong(&error));
    }
    Ok(state_home()?.join("dr-plan"))
}

/// Whether a name that somebody gave is none, or would not stand in one line of a report.
pub fn nameless(by: &str) -> bool {
    by.trim().is_empty() || by.chars().any(char::is_control)
}

/// What is said of it.
pub const NAMELESS: &str = "--as is no name: the report will say who it was, in one line";

/// The XDG state folder.
pub fn state_home() -> Result<PathBuf, CliError> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            CliError::new(
                USAGE,
                "neither $HOME nor $XDG_STATE_HOME says where runs are kept",
            )
            .hint("--state FOLDER")
        })
}

/// The XDG cache folder.
pub fn cache_home() -> Result<PathBuf, CliError> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .ok_or_else(|| {
            CliError::new(
                USAGE,
                "neither $HOME nor $XDG_CACHE_HOME says where a cache may be",
            )
        })
}

/// `user@machine`, for journals and locks.
pub fn person() -> String {
    let name = |var: &str| std::env::var(var).ok().filter(|name| !name.is_empty());
    let user = name("USER")
        .or_else(|| name("LOGNAME"))
        .unwrap_or_else(user_name);
    let machine = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    format!("{user}@{machine}")
}

/// The name of the user id (passwd(5)), for an environment that does not say.
fn user_name() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let names = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let own = names.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_string())
    });
    own.unwrap_or_else(|| format!("uid{id}"))
}
