//! The report as data: what its JSON holds. All durations in it are seconds.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::event::{AskKind, RunResult};
use crate::ids::{RunId, StepId};
use crate::kind::{Effect, Evidence, Failure, Mode, Observation, Surety};

/// A duration that is written as a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Milliseconds are as fine as the journal knows them.
        serializer.serialize_f64((self.0.as_secs_f64() * 1000.0).round() / 1000.0)
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::units::duration(self.0))
    }
}

/// Something that people still have to see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StillOpen {
    /// The step that left it.
    pub step: StepId,
    /// What it is.
    pub what: String,
    /// It settles by itself at that time.
    pub until: Option<Timestamp>,
}

/// Everything that is to be said of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The format of this document.
    pub format: u32,
    /// How it ended; none while it has not.
    pub result: Option<RunResult>,
    /// Each reason why it is not MET.
    pub because: Vec<String>,
    /// What people still have to see to.
    pub still_open: Vec<StillOpen>,
    /// The run.
    pub run: RunId,
    /// The plan's name.
    pub plan: String,
    /// What the plan says of itself.
    pub description: String,
    /// The estate's name.
    pub estate: String,
    /// What it was for.
    pub mode: Mode,
    /// Who started it.
    pub by: String,
    /// The version that started it.
    pub version: String,
    /// Inputs.
    pub inputs: Map<String, Value>,
    /// When the service was lost.
    pub lost_at: Timestamp,
    /// Nobody said when; it is the run's start.
    pub lost_at_is_default: bool,
    /// When the run began.
    pub started: Timestamp,
    /// Its last event.
    pub last: Timestamp,
    /// From the first event to the last.
    pub took: Seconds,
    /// How often it was taken up again.
    pub resumes: u32,
    /// From the loss to health.
    pub rto: Recovery,
    /// From the newest record to the loss.
    pub rpo: DataLoss,
    /// What people were asked.
    pub people: People,
    /// The last word of health and what was seen.
    pub health: Option<Health>,
    /// Why the process stopped without a result.
    pub stopped: Option<String>,
    /// What to type next.
    pub next: Vec<String>,
    /// Every step, in file order.
    pub steps: Vec<StepReport>,
    /// Where the minutes went: the chain of steps in which each waited for the one before.
    pub critical_path: Vec<Link>,
    /// What was made at providers.
    pub resources: Vec<Made>,
    /// What the checks before the start said.
    pub findings: Vec<Warned>,
    /// What the checks before the start refused.
    pub refused: Vec<Refusal>,
    /// What a drill has besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drill: Option<super::drill::DrillReport>,
    /// What came after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<super::back::BackReport>,
    /// What is wrong with the journal, if something is: all the rest is what stands before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// The run in time.
    pub timeline: Vec<Moment>,
    /// The end of the journal's chain: whoever knows it can tell whether the journal was changed.
    pub journal: Option<JournalHead>,
}

/// The RTO.
#[derive(Debug, Clone, Serialize)]
pub struct Recovery {
    /// None when health was not reached, or is not asked for by the plan.
    pub measured: Option<Seconds>,
    /// The objective.
    pub objective: Option<Seconds>,
    /// None when one of the two is missing.
    pub met: Option<bool>,
    /// From the loss to the run's last event.
    pub since_the_loss: Seconds,
    /// The first green of the series that held.
    pub healthy_since: Option<Timestamp>,
}

/// The RPO.
#[derive(Debug, Clone, Serialize)]
pub struct DataLoss {
    /// The loss of the dataset that lost most.
    pub measured: Option<Seconds>,
    /// The objective.
    pub objective: Option<Seconds>,
    /// None when nothing was measured or promised.
    pub met: Option<bool>,
    /// Each dataset.
    pub datasets: Vec<DatasetLoss>,
}

/// The data loss of one dataset.
#[derive(Debug, Clone, Serialize)]
pub struct DatasetLoss {
    /// Its name.
    pub dataset: String,
    /// The newest record that came back.
    pub newest: Timestamp,
    /// From there to the loss.
    pub lost: Seconds,
    /// The newest record is later than the loss, by so much: a clock is wrong, or the loss was later.
    pub after_the_loss: Option<Seconds>,
    /// What the backup says of its own time.
    pub backup_taken: Option<Timestamp>,
    /// By so much the backup claims to be newer than its newest record.
    pub backup_claims_newer_by: Option<Seconds>,
    /// The limit for this dataset.
    pub limit: Option<Seconds>,
    /// Within its limit, or the objective when it has none.
    pub met: Option<bool>,
    /// The step that measured.
    pub measured_by: StepId,
    /// The questions whose answers had no time zone and were taken as UTC: the loss may be wrong by hours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken_as_utc: Vec<String>,
}

/// What people were asked and how long it took.
#[derive(Debug, Clone, Serialize)]
pub struct People {
    /// Time in which at least one question was open.
    pub waited: Seconds,
    /// Every question.
    pub asked: Vec<Approval>,
}

/// A question and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Approval {
    /// The step that waited.
    pub step: StepId,
    /// Its kind.
    pub kind: AskKind,
    /// What was asked.
    pub question: String,
    /// Yes or no; none while it is open.
    pub yes: Option<bool>,
    /// Who answered.
    pub by: Option<String>,
    /// Why.
    pub because: Option<String>,
    /// Through which door.
    pub how: Option<String>,
    /// How long it waited.
    pub waited: Seconds,
}

/// Health.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// All checks passed when last asked.
    pub green: bool,
    /// Since.
    pub at: Timestamp,
    /// What was seen.
    pub evidence: Vec<Evidence>,
}

/// Where a step stands, as one word, and what goes with it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    /// Not begun.
    Waiting,
    /// At work, or in doubt after a crash.
    Running,
    /// A person must look.
    Blocked {
        /// What was seen.
        observation: Observation,
    },
    /// Verified.
    Done {
        /// It held before anything was done.
        already: bool,
        /// It was only looked at.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        probed: bool,
    },
    /// Failed.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Another step is to blame.
    Doomed {
        /// Which.
        cause: StepId,
    },
    /// Not part of this run.
    LeftOut {
        /// Why.
        why: String,
    },
    /// A person skipped it.
    Skipped {
        /// Who.
        by: String,
        /// Why.
        because: String,
    },
}

/// One step.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Its name.
    pub id: StepId,
    /// The action kind.
    pub kind: String,
    /// What it does to what.
    pub title: String,
    /// What it may do.
    pub effect: Effect,
    /// The plan's heading for it.
    pub phase: Option<String>,
    /// Who looks after it.
    pub owner: Option<String>,
    /// Its failure fails the run.
    pub critical: bool,
    /// It runs when all else has ended.
    pub finally: bool,
    /// How it ended.
    #[serde(flatten)]
    pub status: Status,
    /// When it was taken up.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// From the one to the other.
    pub took: Option<Seconds>,
    /// The plan's time budget.
    pub expect: Option<Seconds>,
    /// Time in which it waited for people.
    pub waited: Seconds,
    /// Attempts begun.
    pub attempts: u32,
    /// Attempts that failed and were made again.
    pub retries: Vec<Retried>,
    /// What its verify looked at.
    pub evidence: Vec<Evidence>,
    /// What it gave to later steps.
    pub output: Map<String, Value>,
}

/// An attempt that failed and was made again.
#[derive(Debug, Clone, Serialize)]
pub struct Retried {
    /// Its number.
    pub attempt: u32,
    /// Why.
    pub failure: Failure,
}

/// A link of the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The step.
    pub step: StepId,
    /// How long it took.
    pub took: Seconds,
    /// Of that, how long it waited for people.
    pub waited: Seconds,
    /// Between the end of the link before it (or the run's start) and its own start.
    pub idle_before: Seconds,
}

/// Something that was made at a provider.
#[derive(Debug, Clone, Serialize)]
pub struct Made {
    /// By which step.
    pub step: StepId,
    /// `server`, ...
    pub kind: String,
    /// The account.
    pub account: String,
    /// The provider's id.
    pub id: String,
    /// Its name there.
    pub name: String,
    /// How it was proved that it is gone; none while it is there.
    pub gone: Option<String>,
}

/// A line of the checks before the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warned {
    /// The step, or none for the whole run.
    pub step: Option<StepId>,
    /// How sure.
    pub surety: Surety,
    /// What was found.
    pub what: String,
    /// A person should have seen it.
    pub warning: bool,
}

/// A refusal before the start.
#[derive(Debug, Clone, Serialize)]
pub struct Refusal {
    /// The step, or none for the whole run.
    pub step: Option<StepId>,
    /// Why.
    pub failure: Failure,
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub what: String,
}

/// The end of the journal's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalHead {
    /// The number of the last record.
    pub records: u64,
    /// Its SHA-256, hex.
    pub sha256: String,
}
