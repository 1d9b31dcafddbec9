//! Accounts and groups as `/etc` lists them (passwd(5), group(5)): a machine's own, not those of
//! the machine that holds the world.

use std::{fs, path::PathBuf};

/// Fields of passwd(5): user id, group id, home folder.
pub fn account(user: &str) -> Option<(u32, u32, PathBuf)> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() > 5 && (fields[0] == user || fields[2] == user)).then(|| {
            Some((
                fields[2].parse().ok()?,
                fields[3].parse().ok()?,
                PathBuf::from(fields[5]),
            ))
        })?
    })
}

pub fn group_id(name: &str) -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() > 2 && (fields[0] == name || fields[2] == name))
            .then(|| fields[2].parse().ok())?
    })
}
