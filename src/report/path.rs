//! Where the minutes went. Not what could have been the longest way, but what was: from the step that
//! ended last, back to the one it really waited for, and so on to the start.

use super::model::{Link, Seconds};
use crate::state::{RunState, StepState, between};

/// The chain that decided how long the run took, in the order of time. Steps of `finally` are not
/// part of it: health does not wait for them.
pub(super) fn critical_path(state: &RunState) -> Vec<Link> {
    let mut chain: Vec<&StepState> = Vec::new();
    let mut at = state
        .steps
        .iter()
        .filter(|step| !step.bound.finally && step.started.is_some())
        .max_by_key(|step| step.ended);
    while let Some(step) = at {
        if chain.len() > state.steps.len() {
            break;
        }
        chain.push(step);
        at = step
            .bound
            .needs
            .iter()
            .filter_map(|need| state.step(&need.step))
            .filter(|need| need.started.is_some())
            .max_by_key(|need| need.ended);
    }
    chain.reverse();
    let mut before = state.started;
    chain
        .into_iter()
        .filter_map(|step| {
            let (start, end) = (step.started?, step.ended.unwrap_or(state.last));
            let link = Link {
                step: step.bound.id.clone(),
                took: Seconds(between(start, end)),
                waited: Seconds(step.waited),
                idle_before: Seconds(between(before, start)),
            };
            before = end;
            Some(link)
        })
        .collect()
}
