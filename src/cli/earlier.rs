//! What earlier runs of the same estate mean for a new one: a run that is not finished wants `resume`, and one that moved
//! the users has made the estate another than the inventory says. A second failover by mistake would put an old backup
//! in the place of what customers have written since.

use std::collections::BTreeMap;

use super::bound::Bound;
use super::failure::{CliError, USAGE};
use crate::clock::Timestamp;
use crate::event::RunResult;
use crate::ids::{RunId, StepId};
use crate::journal::{JournalError, RunFolder};
use crate::kind::{Effect, Mode, Resource};
use crate::sandbox::world::World;
use crate::state::{Return, RunState, Status};

/// Refuses if the newest run that did something to the plan's estate stands in the way. In the sandbox only what happened since
/// its world is up counts.
pub fn check(bound: &Bound) -> Result<(), CliError> {
    let inventory = bound.program.inventory();
    let (state, estate) = (&bound.state, &inventory.name);
    let since = inventory.sandbox.as_ref().and(World::since());
    let mut newer = BTreeMap::new();
    for found in RunFolder::list(state)? {
        let Ok(Some((at, header))) = &found.header else {
            continue;
        };
        // A rehearsal is no failover, and leaves the estate as it is.
        if header.mode != Mode::Failover {
            continue;
        }
        if header.estate != *estate || since.is_some_and(|since| *at < since) {
            continue;
        }
        // What stands before a damage counts: a byte that changed must not open the way for a second failover.
        let run = match found.folder.sound_sum() {
            Ok((run, ..)) => run,
            Err(JournalError::Empty { .. } | JournalError::Contradiction { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let left = Left::of(&run, &newer);
        match in_the_way(&run, &left) {
            Some(error) => return Err(error),
            // It did nothing, or what it did is taken back: the one before it counts.
            None if left.nothing() => {
                newer.insert(run.header.run.clone(), run);
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

/// What of a run's deeds stands. What is taken back is left out, also where the run that went on with it took it back.
struct Left {
    made: Vec<String>,
    /// When the last step that moved users did.
    moved: Option<Timestamp>,
}

impl Left {
    fn of(run: &RunState, newer: &BTreeMap<RunId, RunState>) -> Self {
        let there = run.resources.iter().filter(|(step, resource, gone)| {
            gone.is_none() && !is_gone(run, resource, newer) && !is_undone(run, step, newer)
        });
        let traffic = run.steps.iter().filter(|step| {
            step.bound.effect == Effect::Traffic
                && step.status == Status::Done
                && !is_undone(run, &step.bound.id, newer)
        });
        Self {
            made: there
                .map(|(_, resource, _)| format!("{} `{}`", resource.kind, resource.name))
                .collect(),
            moved: traffic.filter_map(|step| step.ended).max(),
        }
    }

    fn nothing(&self) -> bool {
        self.made.is_empty() && self.moved.is_none()
    }
}

/// The run that went on with what this one made.
fn heir<'a>(run: &RunState, newer: &'a BTreeMap<RunId, RunState>) -> Option<&'a RunState> {
    run.back.handed_over.as_ref().and_then(|to| newer.get(to))
}

fn is_undone(run: &RunState, step: &StepId, newer: &BTreeMap<RunId, RunState>) -> bool {
    matches!(run.back.steps.get(step), Some(Return::Undone(_)))
        || heir(run, newer).is_some_and(|heir| is_undone(heir, step, newer))
}

fn is_gone(run: &RunState, resource: &Resource, newer: &BTreeMap<RunId, RunState>) -> bool {
    let known = |heir: &RunState| {
        let mut all = heir.resources.iter();
        all.any(|(_, known, gone)| {
            gone.is_some() && (&known.account, &known.id) == (&resource.account, &resource.id)
        })
    };
    heir(run, newer).is_some_and(|heir| known(heir) || is_gone(heir, resource, newer))
}

fn in_the_way(run: &RunState, left: &Left) -> Option<CliError> {
    if left.nothing() {
        return None;
    }
    let short = run.header.run.short();
    let over = matches!(
        run.result,
        Some((
            RunResult::Met | RunResult::MetWithExceptions | RunResult::Missed,
            _
        ))
    );
    if let (true, Some(moved)) = (over, left.moved) {
        let words = format!(
            "run {short} has moved the users of `{}` on {}: what they have written since is where it moved them, and in no backup that this run would restore",
            run.header.estate,
            moved.strftime("%Y-%m-%d %H:%M:%S UTC")
        );
        return Some(CliError::new(USAGE, words).hint(format!(
            "what it came to: dr-plan report {short}\nto take it back: dr-plan undo {short}\nif that estate is lost in its turn, write down in the inventory where it stands now, and type the same with --anew"
        )));
    }
    let half = run.back.begun.is_some();
    if over && !half {
        return None;
    }
    let (stand, on) = match half {
        true => (
            "taken back only in part",
            "to take back the rest of it: dr-plan undo",
        ),
        false => ("not finished", "to go on with it: dr-plan resume"),
    };
    let words = format!(
        "run {short} of `{}` is {stand}, and has made {}",
        run.header.estate,
        match left.made.is_empty() {
            true => "changes".into(),
            false => left.made.join(", "),
        }
    );
    Some(CliError::new(USAGE, words).hint(format!(
        "{on} {short}\nto begin anew with what it made: the same command with --adopt {short}\nto begin beside it: the same command with --anew"
    )))
}
