//! The memory of a run. Here stand the ports (where records are kept, who may change an estate) and
//! one embedded implementation of each, on files. A shared engine can take their place later; the
//! ledger and everything above it know only the ports.

mod file;
pub mod folder;
pub mod format;
pub mod inbox;
pub mod ledger;
pub mod lock;
mod mask;
pub mod output;
pub mod read;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::Event;
use crate::ids::RunId;
use crate::state::StateError;

pub use file::FileJournal;
pub use folder::{Found, RunFolder};
pub use format::{FORMAT, Hash, Head, RecordError};
pub use inbox::{Inbox, InboxWatch, Letter, Message, Word};
pub use ledger::{Ledger, Parts};
pub use lock::{Estates, FileEstates, Held, LockError, Owner};
pub use output::CapturedOutput;
pub use read::{Follower, Reading, Records, read_all, read_sound};

/// The port: one run's records, open for appending by one process.
pub trait Journal: Send {
    /// Appends events whose numbers follow on [`Journal::head`]; all of them or none. They need not
    /// survive a loss of power before [`Journal::sync`]. After an error nothing more is appended.
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError>;

    /// Returns when everything appended is on disk.
    fn sync(&mut self) -> Result<(), JournalError>;

    /// The end of the chain.
    fn head(&self) -> Head;
}

/// Why the memory of a run cannot be used. It can be cloned: one full disk fails all who wait.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was being done: `writing`, `syncing`.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// A record that is not as it was written.
    #[error("{}, line {line}: {what}", path.display())]
    Bad {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        what: RecordError,
    },
    /// A record could not be written as text.
    #[error("record {seq}: {what}")]
    Encode {
        /// Its number.
        seq: u64,
        /// Why.
        what: RecordError,
    },
    /// The writer took records back while they were read.
    #[error("{} became shorter while it was read", path.display())]
    CutBack {
        /// The journal.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("another process is at work on the run {run}")]
    Busy {
        /// The run.
        run: RunId,
    },
    /// An event that cannot happen; it was not kept, and the journal is sound.
    #[error("an event was refused")]
    Impossible(#[source] StateError),
    /// The journal's events contradict each other.
    #[error("{} holds events that cannot follow each other", path.display())]
    Contradiction {
        /// The journal.
        path: PathBuf,
        /// Which.
        source: StateError,
    },
    /// There is no whole header: the run never began.
    #[error("{} holds no header: the run never began", path.display())]
    Empty {
        /// The journal.
        path: PathBuf,
    },
    /// Another run took the estate over.
    #[error("the estate was taken over")]
    TakenOver(#[source] Arc<LockError>),
    /// The ledger was closed before.
    #[error("the ledger is closed")]
    Closed,
}

impl JournalError {
    pub(crate) fn io(doing: &'static str, path: &Path, error: std::io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_path_buf(),
            source: Arc::new(error),
        }
    }
}

/// A directory entry is on disk only when its directory is.
fn sync_directory(path: &Path) -> Result<(), JournalError> {
    std::fs::File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|e| JournalError::io("syncing", path, e))
}
