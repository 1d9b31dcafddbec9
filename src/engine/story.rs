//! What a message to people says of the run so far.

use crate::state::{RunState, Status, judge_so_far};
use crate::units::duration;

/// The run in a few lines: its result once nothing but `finally` is left, and the figures that are known.
pub(super) fn story(state: &RunState) -> String {
    let head = format!(
        "{} of {} ({})",
        state.header.plan,
        state.header.estate,
        state.header.run.short()
    );
    let mut lines = Vec::new();
    if state.ordinary_ended() && !health_is_open(state) {
        let (result, because) = judge_so_far(state);
        lines.push(format!("{head}: {result}"));
        lines.extend(because);
    } else {
        lines.push(format!("{head}: running"));
    }
    if let Some(rto) = state.rto() {
        lines.push(format!("healthy {} after the loss", duration(rto)));
    }
    if let Some((rpo, newest)) = state.rpo() {
        lines.push(format!(
            "the newest record of {} is {} older than the loss",
            newest.dataset,
            duration(rpo)
        ));
    }
    lines.join("\n")
}

/// Health is wanted, nothing has been said about it yet, and nothing critical that it needs is lost.
pub(super) fn health_is_open(state: &RunState) -> bool {
    state.header.health.is_some()
        && state.healthy_since.is_none()
        && state.unhealthy.is_none()
        && !state.steps.iter().any(|step| {
            step.bound.critical
                && !step.bound.finally
                && matches!(step.status, Status::Failed(_) | Status::Doomed(_))
        })
}
