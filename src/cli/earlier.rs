//! What earlier runs of the same estate mean for a new one: a run that is not finished wants `resume`, and one that moved
//! the users has made the estate another than the inventory says. A second failover by mistake would put an old backup
//! in the place of what customers have written since.

use std::path::Path;

use super::failure::{CliError, USAGE};
use crate::clock::Timestamp;
use crate::event::RunResult;
use crate::journal::RunFolder;
use crate::kind::{Effect, Mode};
use crate::state::{RunState, Status};

/// Refuses if the newest run that did something to the estate stands in the way. `since`: what happened before it happened
/// in another world.
pub fn check(state: &Path, estate: &str, since: Option<Timestamp>) -> Result<(), CliError> {
    for found in RunFolder::list(state)? {
        let Ok(Some((at, header))) = &found.header else {
            continue;
        };
        // A rehearsal is no failover, and leaves the estate as it is.
        if header.mode != Mode::Failover {
            continue;
        }
        if header.estate != estate || since.is_some_and(|since| *at < since) {
            continue;
        }
        // What stands before a damage counts: a byte that changed must not open the way for a second failover.
        let (reading, _) = found.folder.read_sound()?;
        let Ok(run) = RunState::replay(&reading.events) else {
            continue;
        };
        match in_the_way(&run) {
            Some(error) => return Err(error),
            // It did nothing, or what it did is taken back: the one before it counts.
            None if !did_something(&run) => continue,
            None => return Ok(()),
        }
    }
    Ok(())
}

fn made(run: &RunState) -> Vec<String> {
    let there = run.resources.iter().filter(|(_, _, gone)| gone.is_none());
    there
        .map(|(_, resource, _)| format!("{} `{}`", resource.kind, resource.name))
        .collect()
}

/// The last step that moved users, if one did.
fn moved(run: &RunState) -> Option<Timestamp> {
    let steps = run.steps.iter();
    steps
        .filter(|step| step.bound.effect == Effect::Traffic && step.status == Status::Done)
        .filter_map(|step| step.ended)
        .max()
}

fn did_something(run: &RunState) -> bool {
    !made(run).is_empty() || moved(run).is_some()
}

fn in_the_way(run: &RunState) -> Option<CliError> {
    let short = run.header.run.short();
    let made = made(run);
    let over = matches!(
        run.result,
        Some((
            RunResult::Met | RunResult::MetWithExceptions | RunResult::Missed,
            _
        ))
    );
    if over {
        let moved = moved(run)?;
        let words = format!(
            "run {short} has moved the users of `{}` on {}: what they have written since is where it moved them, and in no backup that this run would restore",
            run.header.estate,
            moved.strftime("%Y-%m-%d %H:%M:%S UTC")
        );
        return Some(CliError::new(USAGE, words).hint(format!(
            "what it came to: dr-plan report {short}\nto take it back: dr-plan undo {short}\nif that estate is lost in its turn, write down in the inventory where it stands now, and type the same with --anew"
        )));
    }
    if made.is_empty() && moved(run).is_none() {
        return None;
    }
    let words = format!(
        "run {short} of `{}` is not finished, and has made {}",
        run.header.estate,
        if made.is_empty() {
            "changes".into()
        } else {
            made.join(", ")
        }
    );
    Some(CliError::new(USAGE, words).hint(format!(
        "to go on with it: dr-plan resume {short}\nto begin anew with what it made: the same command with --adopt {short}\nto begin beside it: the same command with --anew"
    )))
}
