//! The first record of a run, of a preview, and of what `check` tries: the plan as it was bound and all that it was made of.

use std::path::PathBuf;

use super::failure::{CliError, PROBLEMS};
use super::here::person;
use super::preview;
use super::sources::{Named, absolute, inside};
use crate::clock::Timestamp;
use crate::event::Header;
use crate::ids::{RunId, StepId};
use crate::kind::Mode;
use crate::program::Program;

/// What a program does not know of its run.
pub struct Beginning<'a> {
    /// The run.
    pub run: RunId,
    /// As the person gave it.
    pub lost_at: Option<Timestamp>,
    /// By this machine's clock.
    pub now: Timestamp,
    /// Steps approved beforehand.
    pub approved: Vec<StepId>,
    /// The run whose estate it goes on with.
    pub adopts: Option<RunId>,
    /// The plan's file, absolute.
    pub plan: PathBuf,
    /// The other files that it is made of.
    pub named: &'a Named,
    /// The contents of all of them.
    pub files: &'a [(String, Vec<u8>)],
}

/// The header of a failover.
pub fn of(program: &Program, beginning: Beginning<'_>) -> Header {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    Header {
        format: crate::journal::FORMAT,
        run: beginning.run,
        plan: program.plan().name.clone(),
        description: program.plan().description.clone().unwrap_or_default(),
        mode: Mode::Failover,
        estate: program.inventory().name.clone(),
        by: person(),
        version: env!("CARGO_PKG_VERSION").into(),
        lost_at: beginning.lost_at.unwrap_or(beginning.now),
        lost_at_is_default: beginning.lost_at.is_none(),
        objectives: program.objectives(),
        health: program.health_rule(),
        files: preview::hashes(beginning.files),
        inputs: program.inputs().clone(),
        steps: program.steps().to_vec(),
        approved: beginning.approved,
        adopts: beginning.adopts,
        drill: None,
        plan_path: text(&beginning.plan),
        inventory_path: text(&beginning.named.inventory),
        provider_paths: beginning.named.providers.iter().map(text).collect(),
    }
}

/// Adds the local files that the steps read to those of the run.
pub fn add_files_of(program: &Program, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), CliError> {
    for path in &program.files {
        let path = absolute(path)?;
        let bytes = std::fs::read(&path).map_err(|error| {
            CliError::new(PROBLEMS, format!("reading {}: {error}", path.display()))
        })?;
        let name = inside(&path);
        if !files.iter().any(|(known, _)| *known == name) {
            files.push((name, bytes));
        }
    }
    Ok(())
}
