//! The words in which actions speak: effects, modes, what was observed, what failed and why.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an action may do to the world. It is judged together with its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Looks only.
    Read,
    /// Sends a message to people.
    Tell,
    /// Makes something that was not there.
    Create,
    /// Changes something.
    Write,
    /// Moves users from one place to another.
    Traffic,
    /// Takes something away.
    Destroy,
}

impl Effect {
    /// Whether doing it twice, or in the wrong place, could hurt.
    pub fn changes(self) -> bool {
        !matches!(self, Effect::Read)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::Read => "read",
            Effect::Tell => "tell",
            Effect::Create => "create",
            Effect::Write => "write",
            Effect::Traffic => "traffic",
            Effect::Destroy => "destroy",
        })
    }
}

/// What a run of the plan is for; it decides what may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Only reads.
    Preview,
    /// A rehearsal in throw-away servers.
    Drill,
    /// The real thing.
    Failover,
    /// A copy under new names.
    Clone,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Preview => "preview",
            Mode::Drill => "drill",
            Mode::Failover => "failover",
            Mode::Clone => "clone",
        })
    }
}

/// What an action gives to later steps: named values.
pub type Output = serde_json::Map<String, serde_json::Value>;

/// How the world stands, seen from one step, before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "saw", rename_all = "snake_case")]
pub enum Observation {
    /// Nothing of what the step wants is there.
    Absent,
    /// An earlier attempt of this run left something unfinished.
    Partial {
        /// What is there.
        what: String,
    },
    /// Our own job is at work on it now.
    Running {
        /// Which job, for people.
        what: String,
    },
    /// The wanted state holds already.
    Done,
    /// Something is there that this run did not make.
    Foreign {
        /// What is there and how it was recognised.
        what: String,
        /// What to type next.
        hint: Option<String>,
    },
    /// It could not be looked at, and the step has an answer to that: somebody's word, or leaving it.
    Unseen {
        /// Why.
        why: String,
    },
    /// The question could not be answered.
    CannotTell {
        /// Why.
        why: String,
        /// What to type next.
        hint: Option<String>,
    },
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observation::Absent => f.write_str("absent"),
            Observation::Partial { what } => write!(f, "partly there: {what}"),
            Observation::Running { what } => write!(f, "running: {what}"),
            Observation::Done => f.write_str("done already"),
            Observation::Foreign { what, .. } => write!(f, "foreign: {what}"),
            Observation::Unseen { why } => write!(f, "not seen: {why}"),
            Observation::CannotTell { why, .. } => write!(f, "cannot tell: {why}"),
        }
    }
}

/// Why something failed, in a word that `retry: {on: [...]}` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No answer from the other side.
    Unreachable,
    /// Told to slow down.
    RateLimited,
    /// The place has no room for what was asked.
    NoCapacity,
    /// An account limit stands in the way.
    Quota,
    /// Something else is at work on it.
    Busy,
    /// The time ran out.
    Timeout,
    /// A program ended with a status other than 0.
    ExitCode,
    /// A look at the world contradicted what should be there.
    Verify,
    /// A backup or file is damaged, cut, or not what it says.
    Damaged,
    /// Credentials were refused.
    Denied,
    /// A guard refused before anything was touched.
    Refused,
    /// It was asked for and it is not there.
    NotFound,
    /// The answer was lost: it may or may not have happened.
    Unknown,
    /// A person said no, or nobody answered in time.
    Declined,
    /// Anything else.
    Other,
}

impl Reason {
    /// Worth trying again without being told to: it passes by itself and nothing was done.
    pub fn passes(self) -> bool {
        matches!(
            self,
            Reason::Unreachable | Reason::RateLimited | Reason::Busy
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_value(self).ok();
        f.write_str(text.as_ref().and_then(|v| v.as_str()).unwrap_or("other"))
    }
}

/// A failure as it is kept: a typed reason, what happened where, and the way on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind of failure.
    pub reason: Reason,
    /// What happened, to what, and why. One or a few lines.
    pub message: String,
    /// What to type or look at next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When the other side asked us to come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            hint: None,
            retry_after: None,
        }
    }

    /// Adds the way on.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts words before the message: where it happened.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// An error with all its causes in one line, which most libraries' `Display` leaves out.
    pub fn from_error(reason: Reason, doing: &str, error: &dyn std::error::Error) -> Self {
        Self::new(reason, format!("{doing}: {}", chain(error)))
    }
}

/// An error and its causes, `a: b: c`, without a cause that only repeats the one before.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

/// What `undo` of a step can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Deletes what the step made.
    DeleteOwn,
    /// Puts back the value that was noted before the change.
    RestorePrevious,
    /// Nothing needs to be taken back.
    ForwardOnly,
    /// A person must do it.
    NeedsHuman,
}

/// What a step that went well leaves for people to see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// In words, with what to do about it.
    pub what: String,
    /// It settles by itself at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// One thing that was looked at to call a step done, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was looked at.
    pub what: String,
    /// What was seen.
    pub saw: String,
}

impl Evidence {
    /// A finding in words.
    pub fn new(what: impl Into<String>, saw: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            saw: saw.to_string(),
        }
    }
}

/// How sure a precheck is of what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surety {
    /// It was looked at.
    Verified,
    /// It follows from something that was looked at.
    Assumed,
    /// It cannot be known before the run.
    CannotBeChecked,
}

/// One line of a precheck or a preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How sure.
    pub surety: Surety,
    /// What was found or will happen.
    pub what: String,
    /// Not wrong enough to refuse, but a person should see it before the start.
    pub warning: bool,
}

impl Finding {
    /// Looked at, and so it is.
    pub fn verified(what: impl Into<String>) -> Self {
        Self {
            surety: Surety::Verified,
            what: what.into(),
            warning: false,
        }
    }

    /// Taken for granted.
    pub fn assumed(what: impl Into<String>) -> Self {
        Self {
            surety: Surety::Assumed,
            what: what.into(),
            warning: false,
        }
    }

    /// Not knowable now.
    pub fn cannot_be_checked(what: impl Into<String>) -> Self {
        Self {
            surety: Surety::CannotBeChecked,
            what: what.into(),
            warning: false,
        }
    }

    /// It should be known now, and it could not be looked at: a person should know.
    pub fn unseen(what: impl Into<String>) -> Self {
        Self {
            surety: Surety::CannotBeChecked,
            what: what.into(),
            warning: true,
        }
    }

    /// Looked at, and a person should know.
    pub fn warning(what: impl Into<String>) -> Self {
        Self {
            surety: Surety::Verified,
            what: what.into(),
            warning: true,
        }
    }
}

/// How a needed step must have ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Was {
    /// Done, left out, or skipped by a person.
    #[default]
    Succeeded,
    /// Failed.
    Failed,
    /// Skipped by a person.
    Skipped,
    /// Ended in any way.
    Finished,
}

/// What a step's failure does to the others.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = ["continue", "undo"]))]
pub enum OnFailure {
    /// What needs this step cannot run; all else goes on.
    #[default]
    Contain,
    /// Nothing new starts anywhere.
    Stop,
}

/// A thing at a provider that this run made and must be able to account for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// `server`, `ssh_key`, ...
    pub kind: String,
    /// The account's name (a provider file).
    pub account: String,
    /// The provider's id.
    pub id: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} `{}` ({} {})",
            self.kind, self.name, self.account, self.id
        )
    }
}
