//! What a command ends with: the only place that knows exit codes, and that puts the next command to type under an error.

use crate::event::RunResult;
use crate::journal::folder::FolderError;
use crate::journal::{JournalError, LockError, RecordError};
use crate::kind::{Failure, chain};
use crate::problem::Problem;

/// 0: MET, or the command did what it was asked for.
pub const OK: u8 = 0;
/// 1: a bug.
pub const BUG: u8 = 1;
/// 2: the command line makes no sense.
pub const USAGE: u8 = 2;
/// 3: the plan, the inventory or a provider file has problems.
pub const PROBLEMS: u8 = 3;
/// 4: FAILED or ABORTED.
pub const FAILED: u8 = 4;
/// 5: stopped or waiting, no result yet; can be resumed.
pub const STOPPED: u8 = 5;
/// 6: the journal or a lock.
pub const JOURNAL: u8 = 6;
/// 7: MISSED.
pub const MISSED: u8 = 7;
/// 8: MET WITH EXCEPTIONS.
pub const EXCEPTIONS: u8 = 8;

/// Where there is no run yet.
pub const HOW_TO_BEGIN: &str =
    "`dr-plan run --dry-run PLAN` shows what a run would do, `dr-plan run PLAN` begins one";

/// Under the help of the commands that carry plans out.
pub const RUN_CODES: &str = "\
Exit codes:
  0  MET
  8  MET WITH EXCEPTIONS
  7  MISSED: it works again, later or with older data than was promised
  4  FAILED, or ABORTED: a person said no, to a step or to the start
  5  stopped or waiting, no result yet: `dr-plan status` says for what
  3  the plan, the inventory or a provider file has problems
  2  the command line makes no sense, or nobody is there to say yes
  6  the journal, or another run holds the lock
  1  a bug";

/// Under the help of `undo`.
pub const UNDO_CODES: &str = "\
Exit codes:
  0  taken back
  8  taken back but for what people must do
  4  something could not be taken back, or a person said no to the start
  5  stopped or half done: the same command goes on
  2  the command line makes no sense, or nobody is there to say yes
  6  the journal, or another run holds the lock
  1  a bug";

/// Under the help of `check`.
pub const CHECK_CODES: &str = "\
Exit codes, that of the worst plan:
  0  ready
  8  ready, and something should be looked at (a backup too old, a lifetime too long, a prediction above the RTO)
  4  a recovery would not go through
  3  a text has problems, or names what is not there: the plan could not be tried";

/// The exit code of a result.
pub fn code_of(result: RunResult) -> u8 {
    match result {
        RunResult::Met => OK,
        RunResult::MetWithExceptions => EXCEPTIONS,
        RunResult::Missed => MISSED,
        RunResult::Failed | RunResult::Aborted => FAILED,
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub enum CliError {
    /// Texts with problems.
    Problems(Vec<Problem>),
    /// Everything else.
    Plain {
        /// What happened, where and why.
        message: String,
        /// What to type next.
        hint: Option<String>,
        /// The exit code.
        code: u8,
    },
}

impl CliError {
    /// An error with an exit code.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self::Plain {
            message: message.into(),
            hint: None,
            code,
        }
    }

    /// Adds the way on.
    #[must_use]
    pub fn hint(self, words: impl Into<String>) -> Self {
        match self {
            Self::Plain { message, code, .. } => Self::Plain {
                message,
                code,
                hint: Some(words.into()),
            },
            problems => problems,
        }
    }

    /// The same once more, for another that it befell as well.
    pub fn again(&self) -> Self {
        match self {
            Self::Problems(found) => Self::Problems(found.clone()),
            Self::Plain {
                message,
                hint,
                code,
            } => Self::Plain {
                message: message.clone(),
                hint: hint.clone(),
                code: *code,
            },
        }
    }

    /// What to type next, if it is known; several ways stand in a line each.
    pub fn way_on(&self) -> Option<&str> {
        match self {
            Self::Problems(_) => None,
            Self::Plain { hint, .. } => hint.as_deref(),
        }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Problems(_) => PROBLEMS,
            Self::Plain { code, .. } => *code,
        }
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Problems(found) => f.write_str(&super::problems::count(found)),
            Self::Plain { message, .. } => f.write_str(message),
        }
    }
}

impl From<Vec<Problem>> for CliError {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Problems(problems)
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self::Plain {
            message: failure.message,
            hint: failure.hint,
            code: FAILED,
        }
    }
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        let hint = match &error {
            JournalError::Busy { .. } => {
                "somebody is at work on that run: `dr-plan status RUN --follow` watches it"
            }
            JournalError::Bad {
                what: RecordError::Newer { .. },
                ..
            } => {
                "a later version of dr-plan wrote it: use that version for all that is to be done with it"
            }
            JournalError::Empty { .. } => "nothing was begun: begin anew with `dr-plan run ...`",
            JournalError::Bad { .. } | JournalError::Contradiction { .. } => {
                "somebody or something changed the past, and nothing is built on that: `dr-plan report RUN` tells what stands before that line, also what was made; go on by hand, or with a new run"
            }
            JournalError::TakenOver(_) => "`dr-plan status` shows who goes on with it",
            _ => {
                "nothing was done after what could not be written or read; mend the disk, then `dr-plan resume`"
            }
        };
        Self::new(JOURNAL, chain(&error)).hint(hint)
    }
}

impl From<FolderError> for CliError {
    fn from(error: FolderError) -> Self {
        if let FolderError::Journal(error) = error {
            return error.into();
        }
        let code = if matches!(
            error,
            FolderError::NoSuchRun { .. } | FolderError::Several { .. }
        ) {
            USAGE
        } else {
            JOURNAL
        };
        let hint = match &error {
            FolderError::NoSuchRun { name, .. } if name == "last" => HOW_TO_BEGIN,
            _ => "`dr-plan runs` lists them",
        };
        Self::new(code, chain(&error)).hint(hint)
    }
}

impl From<LockError> for CliError {
    fn from(error: LockError) -> Self {
        let hint = match &error {
            LockError::Held {
                owner: Some(owner), ..
            } => Some(format!(
                "watch it: dr-plan status {0} --follow\nif that process is gone for good: dr-plan resume {0} --take-over {1}",
                owner.run.short(),
                owner.run
            )),
            LockError::File { .. } => Some(
                "nothing was begun: runs are kept in the state folder (--state, $DR_PLAN_STATE), which must be there for writing".into(),
            ),
            _ => None,
        };
        let error = Self::new(JOURNAL, chain(&error));
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// A result without a run: what a command says when it is done.
pub type Outcome = Result<u8, CliError>;
