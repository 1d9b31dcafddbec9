//! The jobs of one restore by one step of one run, for every kind of data: whose they are, how they are counted, what every script of
//! theirs is told.

use std::sync::Arc;
use std::time::Duration;

use super::{JobReport, Progress, follow, mark};
use crate::ids::{RunId, StepId};
use crate::kind::Failure;
use crate::transport::{JobId, JobState, Script, Transport};

/// The first of these parts of a restore that is at work.
pub(super) async fn first_running(
    transport: &dyn Transport,
    parts: &[&'static str],
    id: impl Fn(&str) -> JobId,
) -> Result<Option<&'static str>, Failure> {
    let jobs: Vec<JobId> = parts.iter().map(|part| id(part)).collect();
    let states = transport.look_all(&jobs).await?;
    let mut both = parts.iter().zip(states);
    let running = both.find(|(_, state)| matches!(state, JobState::Running { .. }));
    Ok(running.map(|(part, _)| *part))
}

/// One restore.
#[derive(Clone)]
pub(super) struct Jobs {
    transport: Arc<dyn Transport>,
    run: RunId,
    step: StepId,
    attempt: u32,
    backup: String,
}

impl Jobs {
    /// `backup` is the label of the chosen backup (`store:path`), `attempt` counts the step's tries from 1.
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        run: RunId,
        step: StepId,
        attempt: u32,
        backup: &str,
    ) -> Self {
        Self {
            transport,
            run,
            step,
            attempt,
            backup: backup.to_string(),
        }
    }

    pub(super) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// What this step writes on what it makes.
    pub(super) fn mark(&self) -> String {
        mark::of_backup(&self.run, &self.step, &self.backup)
    }

    /// How every mark of this step begins.
    pub(super) fn ours(&self) -> String {
        format!("{} ", mark::of_step(&self.run, &self.step))
    }

    fn id(&self, part: &str) -> JobId {
        JobId {
            run: self.run.to_string(),
            step: format!("{}.{part}", self.step),
            attempt: self.attempt,
        }
    }

    /// The first of these parts that is at work.
    pub(super) async fn running(
        &self,
        parts: &[&'static str],
    ) -> Result<Option<&'static str>, Failure> {
        first_running(&*self.transport, parts, |part| self.id(part)).await
    }

    /// Tells a script whose it is. `replace`: what somebody else made may be set aside.
    pub(super) fn told(&self, script: Script, replace: bool) -> Script {
        script
            .value("OURS", mark::of_step(&self.run, &self.step))
            .value("MARK", self.mark())
            .value("RUN", self.run.as_str())
            .value("SHORT", self.run.short())
            .value("STEP", self.step.to_string())
            .value("REPLACE", if replace { "1" } else { "0" })
    }

    /// Carries a part out, or attaches to it.
    pub(super) async fn carry(
        &self,
        part: &str,
        script: &Script,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure> {
        follow(&*self.transport, &self.id(part), script, deadline, progress).await
    }
}
