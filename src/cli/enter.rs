//! An estate that lives in a sandbox world: the same command goes on inside it.

use super::failure::{BUG, CliError, USAGE};
use super::here::{cache_home, state_home};
use crate::inventory::Inventory;
use crate::sandbox::world::{Folders, World};

/// Replaces this process by the same command inside the estate's world, if it has one and we are outside.
pub fn enter_world_of(inventory: &Inventory) -> Result<(), CliError> {
    match &inventory.sandbox {
        Some(name) => enter_world(name),
        None => Ok(()),
    }
}

/// The same for a world by name.
pub fn enter_world(name: &str) -> Result<(), CliError> {
    if World::current().as_deref() == Some(name) {
        return Ok(());
    }
    let folders = Folders::below(&state_home()?, &cache_home()?);
    let world = World::get(name, &folders).map_err(|error| {
        CliError::new(USAGE, crate::kind::chain(&error)).hint(format!(
            "dr-plan sandbox up {name} --estate shop brings it up with the shop of the examples"
        ))
    })?;
    let here = std::env::current_dir()
        .map_err(|error| CliError::new(USAGE, format!("the working folder: {error}")))?;
    let mut words = vec![
        std::env::current_exe()
            .map_err(|error| CliError::new(BUG, format!("finding this program: {error}")))?
            .into_os_string(),
    ];
    words.extend(std::env::args_os().skip(1));
    let argv = world.enter(&here, &words);
    use std::os::unix::process::CommandExt;
    // On success this call does not come back: signals and the exit status are then the inner process's own.
    let error = std::process::Command::new(&argv[0]).args(&argv[1..]).exec();
    Err(CliError::new(
        BUG,
        format!("entering the sandbox world `{name}`: {error}"),
    ))
}
