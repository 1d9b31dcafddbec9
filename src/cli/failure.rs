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

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Problems(_) => PROBLEMS,
            Self::Plain { code, .. } => *code,
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
        Self::new(code, chain(&error)).hint("`dr-plan runs` lists them")
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
