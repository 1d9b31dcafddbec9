//! What all steps share that run a script on a host as a detached job: look for it, attach to it, wait for it.

use std::sync::Arc;
use std::time::Duration;

use super::Context;
use crate::kind::{Failure, Observation, Reason};
use crate::transport::{JobId, JobState, Script, Transport, run_job};

/// What the last attempt's job says of a step. `Ok(None)`: no attempt was begun, or its job never started.
pub(super) async fn look(
    cx: &Context,
    host: &str,
    part: Option<&str>,
) -> Result<Option<JobState>, Failure> {
    if cx.attempt == 0 {
        return Ok(None);
    }
    let state = cx.host(host)?.look(&cx.job(part)).await?;
    Ok((state != JobState::Absent).then_some(state))
}

/// The observation for a job that runs.
pub(super) fn running(host: &str, job: &JobId, since: u64) -> Observation {
    Observation::Running {
        what: format!(
            "job {job} on {host}, for {}",
            crate::units::age(Duration::from_secs(since))
        ),
    }
}

/// Starts the job or attaches to it, passes its log on, and makes a failure of any status but 0.
pub(super) async fn carry(
    cx: &Context,
    host: &Arc<dyn Transport>,
    part: Option<&str>,
    script: &Script,
    deadline: Duration,
) -> Result<(), Failure> {
    let job = cx.job(part);
    let mut last: Vec<String> = Vec::new();
    let mut heard = |text: &str| {
        for line in text.lines() {
            if let Some(progress) = line.strip_prefix("DR-PROGRESS ") {
                show_progress(cx, progress);
                continue;
            }
            last.push(line.to_string());
            if last.len() > 5 {
                last.remove(0);
            }
            cx.log(line);
        }
    };
    let state = run_job(&**host, &job, script, deadline, &mut heard).await?;
    // The last line is the one that matters, and a summary shows only the first of ours.
    let said = match last.as_slice() {
        [] => String::new(),
        [one] => format!(": {one}"),
        [before @ .., one] => format!(": {one}\nbefore that it said:\n{}", before.join("\n")),
    };
    let place = host.host();
    match state {
        JobState::Exited { status: 0, .. } => Ok(()),
        JobState::Exited { deadline: true, .. } => {
            let words = format!(
                "{place} ended the job {job} after {}{said}",
                crate::units::duration(deadline)
            );
            Err(Failure::new(Reason::Timeout, words))
        }
        JobState::Exited { status, .. } => {
            let words = format!("the job {job} on {place} ended with status {status}{said}");
            Err(Failure::new(Reason::ExitCode, words).hint(format!(
                "dr-plan logs {} {}",
                cx.run.short(),
                cx.step
            )))
        }
        JobState::Died { why } => Err(Failure::new(
            Reason::Unknown,
            format!("the job {job} on {place} died half way ({why}){said}"),
        )),
        JobState::Absent | JobState::Running { .. } => Err(Failure::new(
            Reason::Unknown,
            format!("the job {job} on {place} cannot be found any more{said}"),
        )),
    }
}

/// `phase done total unit`; the total may be `-`.
fn show_progress(cx: &Context, text: &str) {
    let mut words = text.split_whitespace();
    let phase = words.next().unwrap_or("work");
    let done = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let total = words.next().and_then(|n| n.parse().ok());
    cx.progress(phase, done, total, words.next().unwrap_or("bytes"));
}
