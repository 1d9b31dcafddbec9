//! How a run ended, judged from what is known of it: the worst word wins, and every word that is
//! not MET has its reason. The engine asks before it writes `ended`; a report of a run that was
//! never ended asks as well.

use std::time::Duration;

use super::{RunState, Status, StepState};
use crate::event::RunResult;
use crate::kind::{Mode, Reason};
use crate::units::{beside, duration};

/// The result and the reason for each way in which it is not MET, the worst first.
///
/// FAILED: a precheck refused; a critical step failed, is doomed or did not end; health did not come.
/// ABORTED: a person (or a question's timeout) said no to a critical step.
/// MISSED: an objective, or a dataset's own limit, was not kept.
/// MET WITH EXCEPTIONS: a step that is not critical did not succeed, a critical one was skipped,
/// an objective stands that nothing in the plan measured, or one was measured by a time of which nobody knows the zone.
pub fn judge(state: &RunState) -> (RunResult, Vec<String>) {
    judge_steps(state, true)
}

/// The same while steps of `finally` are still to end: a message that they send cannot wait for itself.
pub fn judge_so_far(state: &RunState) -> (RunResult, Vec<String>) {
    judge_steps(state, false)
}

fn judge_steps(state: &RunState, at_the_end: bool) -> (RunResult, Vec<String>) {
    let counts = |step: &&StepState| at_the_end || !step.bound.finally || step.status.ended();
    let mut reasons: Vec<(RunResult, String)> = Vec::new();
    for (step, failure) in &state.refused {
        let place = step
            .as_ref()
            .map_or("the run".into(), |id| format!("`{id}`"));
        let what = format!(
            "{place} was refused before the start: {}",
            first_line(&failure.message)
        );
        reasons.push((RunResult::Failed, what));
    }
    let declined = state
        .steps
        .iter()
        .any(|step| was_declined(step) && step.bound.critical);
    for step in state.steps.iter().filter(counts) {
        reasons.extend(of_step(state, step, declined));
    }
    // A refused run was not begun, and a preview changes nothing: neither has figures.
    if state.header.mode != Mode::Preview && state.refused.is_empty() {
        of_health(state, &mut reasons);
        of_time(state, &mut reasons);
        of_data(state, &mut reasons);
    }
    if at_the_end {
        of_egress(state, &mut reasons);
    }
    // Stable: within one word the order of the plan stays.
    reasons.sort_by_key(|(result, _)| std::cmp::Reverse(*result));
    let result = reasons
        .first()
        .map_or(RunResult::Met, |(result, _)| *result);
    (result, reasons.into_iter().map(|(_, text)| text).collect())
}

fn was_declined(step: &StepState) -> bool {
    matches!(&step.status, Status::Failed(failure) if failure.reason == Reason::Declined)
}

fn of_step(state: &RunState, step: &StepState, declined: bool) -> Option<(RunResult, String)> {
    let id = &step.bound.id;
    let critical = step.bound.critical;
    let by_weight = |text: String| {
        Some(match critical {
            true => (RunResult::Failed, text),
            false => (
                RunResult::MetWithExceptions,
                format!("{text} (not critical)"),
            ),
        })
    };
    match &step.status {
        Status::Done | Status::LeftOut(_) => None,
        Status::Skipped => critical.then(|| {
            let (by, because) = step.skipped.clone().unwrap_or_default();
            let text = format!("`{id}` was skipped by {by}: {because}");
            (RunResult::MetWithExceptions, text)
        }),
        Status::Failed(failure) if failure.reason == Reason::Declined && critical => {
            Some((RunResult::Aborted, declination(step, &failure.message)))
        }
        Status::Failed(failure) => {
            by_weight(format!("`{id}` failed: {}", first_line(&failure.message)))
        }
        Status::Doomed(cause) => match state.step(cause) {
            // Said already: these steps are the consequence of the no.
            Some(root) if was_declined(root) && root.bound.critical => None,
            _ => by_weight(format!("`{id}` could not run, because of `{cause}`")),
        },
        // Said already: nothing begins after a refusal.
        Status::Waiting if !state.refused.is_empty() => None,
        Status::Waiting | Status::Running | Status::Blocked(_) => {
            let stopper = state.stopping.as_ref().and_then(|id| state.step(id));
            match stopper {
                Some(root) if declined && was_declined(root) => None,
                Some(root) if step.status == Status::Waiting => by_weight(format!(
                    "`{id}` was not begun, because `{}` stopped the run",
                    root.bound.id
                )),
                _ => by_weight(format!("`{id}` did not end: it is {}", step.status.word())),
            }
        }
    }
}

fn declination(step: &StepState, message: &str) -> String {
    match step.answers.last() {
        Some(answer) if !answer.yes && answer.how == "timeout" => {
            format!(
                "nobody answered `{}` within {}",
                step.bound.id,
                duration(answer.after)
            )
        }
        Some(answer) if !answer.yes => {
            let because = answer
                .because
                .as_ref()
                .map_or(String::new(), |b| format!(": {b}"));
            format!("{} said no to `{}`{because}", answer.by, step.bound.id)
        }
        _ => format!("`{}` was declined: {}", step.bound.id, first_line(message)),
    }
}

fn of_health(state: &RunState, reasons: &mut Vec<(RunResult, String)>) {
    if let Some(why) = &state.unhealthy {
        reasons.push((RunResult::Failed, format!("health did not come: {why}")));
        return;
    }
    // Where something worse happened before, health was never asked for, and that is no reason of its own.
    let worst = reasons.iter().map(|(result, _)| *result).max();
    if state.header.health.is_some()
        && state.healthy_since.is_none()
        && worst.is_none_or(|worst| worst < RunResult::Aborted)
    {
        reasons.push((RunResult::Failed, "health was not proved".into()));
    }
}

fn of_time(state: &RunState, reasons: &mut Vec<(RunResult, String)>) {
    let Some(objective) = state.header.objectives.rto else {
        return;
    };
    match state.rto() {
        Some(measured) if measured > objective => reasons.push((
            RunResult::Missed,
            format!(
                "RTO: {} from the loss to health, the objective is {}",
                duration(measured),
                duration(objective)
            ),
        )),
        None if state.header.health.is_none() => reasons.push((
            RunResult::MetWithExceptions,
            "RTO was not measured: the plan has no `health`".into(),
        )),
        _ => {}
    }
}

fn of_data(state: &RunState, reasons: &mut Vec<(RunResult, String)>) {
    let objective = state.header.objectives.rpo;
    for newest in &state.newest {
        if newest.at > state.header.lost_at {
            let what = format!(
                "RPO: the newest record of `{}` is of {}: the loss was later than was said, or a clock is wrong",
                newest.dataset,
                beside(newest.at, state.header.lost_at)
            );
            reasons.push((RunResult::MetWithExceptions, what));
        }
        for query in state.taken_as_utc(&newest.dataset) {
            let what = format!(
                "RPO: `{}` gave a time of `{}` without a zone, and it was taken as UTC: write `zone:` beside the query",
                first_line(query),
                newest.dataset
            );
            reasons.push((RunResult::MetWithExceptions, what));
        }
        let lost = super::between(newest.at, state.header.lost_at);
        let limit = [newest.limit, objective].into_iter().flatten().min();
        if let Some(limit) = limit.filter(|limit| lost > *limit) {
            reasons.push((RunResult::Missed, data_loss(&newest.dataset, lost, limit)));
        }
    }
    if objective.is_some() && state.newest.is_empty() {
        reasons.push((
            RunResult::MetWithExceptions,
            "RPO was not measured: no step with `newest` ended".into(),
        ));
    }
}

/// A drill promised to keep to itself. Where nobody can say that it did, it has not shown what it was for.
fn of_egress(state: &RunState, reasons: &mut Vec<(RunResult, String)>) {
    for step in &state.steps {
        if !step.notes.contains_key("egress") {
            continue;
        }
        let host = step
            .notes
            .get("host")
            .and_then(|host| host["name"].as_str());
        let host = host.unwrap_or(step.bound.id.as_str());
        let closed = step.notes.get("dropped").map(|found| &found["closed"]);
        let what = match closed.map(|closed| closed == true) {
            Some(true) => continue,
            Some(false) => format!(
                "the rules of `{host}` were gone or changed at the end: nobody knows what left it"
            ),
            None if is_deleted(state, step) => continue,
            None => format!("`{host}` could not be asked at the end whether it was still closed"),
        };
        reasons.push((RunResult::Failed, what));
    }
}

/// Whether the server that the step made was deleted within the run.
pub fn is_deleted(state: &RunState, step: &StepState) -> bool {
    let id = step.notes.get("server").and_then(|id| id.as_str());
    let mut gone = state.resources.iter().filter(|(.., gone)| gone.is_some());
    gone.any(|(_, resource, _)| Some(resource.id.as_str()) == id)
}

fn data_loss(dataset: &str, lost: Duration, limit: Duration) -> String {
    format!(
        "RPO: `{dataset}` lost {} of data, the limit is {}",
        duration(lost),
        duration(limit)
    )
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}
