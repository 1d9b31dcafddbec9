//! One thing that happened. Everything that is known of a run is the sum of its events; the first
//! one, the header, carries the bound steps, so that a journal explains itself years later.

mod back;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{RunId, StepId};
use crate::kind::{Effect, Evidence, Failure, Finding, Mode, Observation, Open, Output, Resource};
pub use crate::kind::{OnFailure, Was};
pub use back::Back;

/// An event in its envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counted from 1 without gaps.
    pub seq: u64,
    /// Wall time, for people.
    pub at: Timestamp,
    /// Monotonic milliseconds since this process took the run up; starts at 0 again with each `resumed`.
    pub ms: u64,
    /// What happened.
    pub what: What,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The first event of a run.
    Header(Box<Header>),
    /// A process took the run up again.
    Resumed {
        /// Who typed it.
        by: String,
        /// The version of dr-plan that goes on.
        version: String,
    },
    /// A finding of a precheck.
    Prechecked {
        /// The step, or none for what concerns the whole run.
        step: Option<StepId>,
        /// What was found.
        finding: Finding,
    },
    /// A precheck refused: the run does not start.
    Refused {
        /// The step.
        step: Option<StepId>,
        /// Why.
        failure: Failure,
    },
    /// How the world stood before a step.
    Observed {
        /// The step.
        step: StepId,
        /// What was seen.
        observation: Observation,
    },
    /// The step is about to act. On disk before the first side effect.
    Intent {
        /// The step.
        step: StepId,
        /// Counted from 1; a resumed attempt keeps its number while its job goes on.
        attempt: u32,
        /// What it acts on, without secrets.
        on: String,
    },
    /// A value that must outlive the process: an old record set, the pin of a host key, a choice.
    Note {
        /// The step.
        step: StepId,
        /// Its name within the step; a later note of that name replaces it.
        key: String,
        /// The value, never a secret.
        value: serde_json::Value,
    },
    /// Something was made at a provider.
    Made {
        /// The step.
        step: StepId,
        /// What.
        resource: Resource,
    },
    /// Something made by this run is proven gone.
    Gone {
        /// The step that took it away.
        step: StepId,
        /// What.
        resource: Resource,
        /// How that was proved, for instance "GET answers 404".
        proof: String,
    },
    /// How far a step is.
    Progress {
        /// The step.
        step: StepId,
        /// What is being done (`fetch`, `restore`).
        phase: String,
        /// So much is done.
        done: u64,
        /// Of so much, if that is known.
        total: Option<u64>,
        /// `bytes`, `tables`, ...
        unit: String,
    },
    /// A line that a step or its program said.
    Log {
        /// The step.
        step: StepId,
        /// The line, masked.
        line: String,
    },
    /// An attempt failed and another will be made.
    Retry {
        /// The step.
        step: StepId,
        /// The attempt that failed.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// The next attempt begins after so long.
        after: Duration,
    },
    /// The step's verify agreed with the world.
    Done {
        /// The step.
        step: StepId,
        /// The wanted state held before anything was done.
        already: bool,
        /// What later steps may refer to.
        output: Output,
        /// What was looked at.
        evidence: Vec<Evidence>,
        /// What it leaves for people to see to.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        open: Vec<Open>,
    },
    /// The step failed for this run.
    Failed {
        /// The step.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// A person must look before the step may go on: something foreign is there, or nobody can tell.
    Blocked {
        /// The step.
        step: StepId,
        /// What was seen.
        observation: Observation,
    },
    /// The step will not run because another one did not end well.
    Doomed {
        /// The step.
        step: StepId,
        /// The step that is to blame.
        cause: StepId,
    },
    /// A person's word about a step.
    Marked {
        /// The step.
        step: StepId,
        /// What they say.
        mark: Mark,
        /// Who.
        by: String,
        /// Why.
        because: String,
    },
    /// A question to a person.
    Asked {
        /// The step that waits.
        step: StepId,
        /// What is asked.
        ask: Ask,
    },
    /// The answer.
    Answered {
        /// The step that waited.
        step: StepId,
        /// The question's name within the step.
        name: String,
        /// Yes or no.
        yes: bool,
        /// Who.
        by: String,
        /// Why, if they said.
        because: Option<String>,
        /// `terminal`, `command`, `--approve`, `timeout`.
        how: String,
    },
    /// The newest record that came back, read from the data itself.
    Newest {
        /// The step that measured.
        step: StepId,
        /// The dataset.
        dataset: String,
        /// The newest record's own time.
        at: Timestamp,
        /// The backup's own claim, to be compared.
        backup_taken: Option<Timestamp>,
        /// The limit that the plan sets, if any.
        limit: Option<Duration>,
        /// The questions whose answers had no time zone, neither of their own nor from the plan, and were taken as UTC.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        taken_as_utc: Vec<String>,
    },
    /// Health turned green or red.
    Health {
        /// All checks passed.
        green: bool,
        /// What was seen, one for each check.
        evidence: Vec<Evidence>,
    },
    /// The unbroken green series reached its length.
    Healthy {
        /// The first green of that series: the RTO clock stops there.
        since: Timestamp,
    },
    /// The time for health ran out.
    Unhealthy {
        /// What was missing.
        why: String,
    },
    /// The process stops without a result; `resume` goes on.
    Stopped {
        /// Why.
        why: String,
        /// What to type next.
        hint: Option<String>,
    },
    /// The last event of a run that came to an end.
    Ended {
        /// How.
        result: RunResult,
        /// Each reason why it is not MET.
        because: Vec<String>,
    },
    /// After its end: it is taken back, lets go of what it kept, or is handed over.
    Back(Back),
}

impl What {
    /// Whether nobody may go on before it is on disk.
    pub fn durable(&self) -> bool {
        !matches!(
            self,
            What::Observed { .. }
                | What::Progress { .. }
                | What::Log { .. }
                | What::Prechecked { .. }
        )
    }

    /// The step it is about.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            What::Header(_)
            | What::Resumed { .. }
            | What::Health { .. }
            | What::Healthy { .. }
            | What::Unhealthy { .. }
            | What::Stopped { .. }
            | What::Ended { .. } => None,
            What::Back(back) => back.step(),
            What::Prechecked { step, .. } | What::Refused { step, .. } => step.as_ref(),
            What::Observed { step, .. }
            | What::Intent { step, .. }
            | What::Note { step, .. }
            | What::Made { step, .. }
            | What::Gone { step, .. }
            | What::Progress { step, .. }
            | What::Log { step, .. }
            | What::Retry { step, .. }
            | What::Done { step, .. }
            | What::Failed { step, .. }
            | What::Blocked { step, .. }
            | What::Doomed { step, .. }
            | What::Marked { step, .. }
            | What::Asked { step, .. }
            | What::Answered { step, .. }
            | What::Newest { step, .. } => Some(step),
        }
    }
}

/// What a run is made of. Written once, before anything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The format of the journal; a reader refuses a newer one.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The plan's name.
    pub plan: String,
    /// The plan's description.
    pub description: String,
    /// What the run is for.
    pub mode: Mode,
    /// The inventory's name.
    pub estate: String,
    /// `user@machine` of whoever started it.
    pub by: String,
    /// The version of dr-plan.
    pub version: String,
    /// When the service was lost.
    pub lost_at: Timestamp,
    /// Nobody said when: `lost_at` is the start of the run.
    pub lost_at_is_default: bool,
    /// The objectives.
    pub objectives: Objectives,
    /// How health is judged.
    pub health: Option<HealthRule>,
    /// The run's own copies, with their hashes.
    pub files: Vec<FileHash>,
    /// Inputs, as text.
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// All steps in file order; those of `finally` last.
    pub steps: Vec<BoundStep>,
    /// Steps approved beforehand with `--approve` (sandbox only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved: Vec<StepId>,
    /// The older run whose estate this one goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopts: Option<RunId>,
    /// The rules of a drill; only drills have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<Drill>,
    /// Where the plan was read from, for the commands that are shown.
    pub plan_path: String,
    /// Where the inventory was read from: the plan's own, or `--inventory`.
    pub inventory_path: String,
    /// Where the provider files were read from: the inventory's own, or those of `--providers`.
    pub provider_paths: Vec<String>,
}

/// What holds for a whole drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// What it makes is labelled to be taken away from then on, whatever became of this process.
    pub expires: Timestamp,
    /// What its servers may reach besides stores, resolvers and each other: `host:port`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Left standing at the end, for looking around, until it expires.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// What the plan promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Objectives {
    /// From the loss to health.
    pub rto: Option<Duration>,
    /// From the newest record that came back to the loss.
    pub rpo: Option<Duration>,
}

/// The RTO clock stops at the first green of an unbroken series of `hold`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRule {
    /// How long it must stay green.
    pub hold: Duration,
    /// Within how long after the last step before it.
    pub within: Duration,
    /// The checks, in words.
    pub checks: Vec<String>,
}

/// A file of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// Path within the run's folder.
    pub path: String,
    /// SHA-256, hex.
    pub sha256: String,
}

/// A step as it was bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundStep {
    /// Its name.
    pub id: StepId,
    /// The action kind.
    pub kind: String,
    /// What it may do.
    pub effect: Effect,
    /// What must have ended before, and how.
    pub needs: Vec<BoundNeed>,
    /// Its failure fails the run.
    pub critical: bool,
    /// What its failure does to the others.
    pub on_failure: OnFailure,
    /// Runs when all else has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finally: bool,
    /// Left out of this run, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Only looked at, for it is aimed at something that this run did not make; and what that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// One line for people: what it does to what.
    pub title: String,
    /// Who may answer for it or call it needless, by name; empty: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<String>,
    /// The time budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Duration>,
    /// A heading for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Who looks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Words for the tired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Where the longer text stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook_url: Option<String>,
}

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundNeed {
    /// On whom.
    pub step: StepId,
    /// On what end.
    #[serde(default)]
    pub was: Was,
}

/// What a person says of a step with `mark`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It is done; verify is asked all the same.
    Done,
    /// It is not needed.
    Skip,
}

/// How a log line begins that says what a check waits for.
pub const NOT_YET: &str = "not yet: ";

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Its name within the step: `approve`, `attest`, `older-backup-20261120T030000Z`.
    pub name: String,
    /// The kind, which decides what may answer it.
    pub kind: AskKind,
    /// The question.
    pub question: String,
    /// What a person should know before answering.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Nobody answered by then: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Who may answer, by name; empty: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

impl Ask {
    /// Whether this person may answer. A name is a word given, not a proof: it keeps people from answering for others
    /// without noticing. `ada@machine` is `ada`; capitals make no difference.
    pub fn may_be_answered_by(&self, person: &str) -> bool {
        is_one_of(person, &self.by)
    }
}

/// Whether a person is among these names; nobody named means everybody.
pub fn is_one_of(person: &str, names: &[String]) -> bool {
    let user = person.split_once('@').map_or(person, |(user, _)| user);
    names.is_empty()
        || names.iter().any(|name| {
            let name = name.to_lowercase();
            name == person.to_lowercase() || name == user.to_lowercase()
        })
}

/// Kinds of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskKind {
    /// May it go on?
    Approval,
    /// A person states a fact that cannot be looked at.
    Attestation,
    /// Shall the next older backup be used?
    OlderBackup,
}

/// How a run ended; the worst one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunResult {
    /// Everything came back within its objectives.
    Met,
    /// It came back; something that was not critical failed, or a person skipped something.
    MetWithExceptions,
    /// It came back, later or older than promised.
    Missed,
    /// A person said no.
    Aborted,
    /// It did not come back.
    Failed,
}

impl std::fmt::Display for RunResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RunResult::Met => "MET",
            RunResult::MetWithExceptions => "MET WITH EXCEPTIONS",
            RunResult::Missed => "MISSED",
            RunResult::Aborted => "ABORTED",
            RunResult::Failed => "FAILED",
        })
    }
}
