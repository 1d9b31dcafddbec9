//! The jobs of one restore by one step of one run, for every kind of data: whose they are, how they are counted, what every script of
//! theirs is told.

use std::sync::Arc;
use std::time::Duration;

use super::{JobReport, Progress, follow, mark};
use crate::ids::{RunId, StepId};
use crate::kind::Failure;
use crate::transport::{JobId, JobState, Script, Transport};

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
        for part in parts {
            if let JobState::Running { .. } = self.transport.look(&self.id(part)).await? {
                return Ok(Some(part));
            }
        }
        Ok(None)
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
