//! Messages to the process that is at work on a run, from other processes of the same person:
//! `approve`, `mark`. One JSON file each, put there whole by a rename. A message is taken away only
//! after what it says is in the journal, so a crash between the two repeats it and loses nothing.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::JournalError;
use super::folder::replace;
use crate::event::Mark;
use crate::ids::StepId;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who sends it.
    pub by: String,
    /// When it was sent.
    pub at: Timestamp,
    /// About which step.
    pub step: StepId,
    /// What they say.
    pub word: Word,
}

/// What a person can say to a run at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Word {
    /// The answer to the step's open question.
    Answer {
        /// The question's name; none for whichever is open.
        name: Option<String>,
        /// Yes or no.
        yes: bool,
        /// Why.
        because: Option<String>,
    },
    /// A mark.
    Mark {
        /// What they say of the step.
        mark: Mark,
        /// Why.
        because: String,
    },
}

/// A message as it lies in the box.
#[derive(Debug)]
pub struct Letter {
    /// What it says, or why it cannot be read.
    pub message: Result<Message, String>,
    path: PathBuf,
}

impl Letter {
    /// Takes it out of the box: what it says is in the journal now.
    pub fn settled(self) -> Result<(), JournalError> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(JournalError::io("removing", &self.path, error))
            }
            _ => Ok(()),
        }
    }

    /// Its name in the box, which tells two letters apart.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|n| n.to_str()).unwrap_or("")
    }
}

/// The box of one run.
#[derive(Debug, Clone)]
pub struct Inbox {
    path: PathBuf,
}

impl Inbox {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves a message; it is whole and on disk afterwards. Its name comes back: as long as it lies
    /// there, nobody has taken it.
    pub fn post(&self, message: &Message) -> Result<PathBuf, JournalError> {
        let name = format!("{}.json", ulid::Ulid::generate().to_string().to_lowercase());
        let path = self.path.join(name);
        let bytes = serde_json::to_vec(message)
            .map_err(|e| JournalError::io("writing", &path, e.into()))?;
        replace(&path, &bytes)?;
        Ok(path)
    }

    /// What lies in the box, the oldest first. Nothing is taken out.
    pub fn letters(&self) -> Result<Vec<Letter>, JournalError> {
        let io = |e| JournalError::io("reading", &self.path, e);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            if name.ends_with(".json") && !name.starts_with('.') {
                paths.push(path);
            }
        }
        paths.sort();
        let mut letters = Vec::new();
        for path in paths {
            let message = match std::fs::read(&path) {
                Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| e.to_string()),
                // Settled by somebody in between.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => Err(error.to_string()),
            };
            letters.push(Letter { message, path });
        }
        Ok(letters)
    }

    /// Watches the box, looking every `period`.
    pub fn watch(&self, period: Duration) -> InboxWatch {
        InboxWatch {
            inbox: self.clone(),
            period,
            given: HashSet::new(),
        }
    }
}

/// Gives each letter out once, as long as this process lives; one whose moment has not come is put back.
#[derive(Debug)]
pub struct InboxWatch {
    inbox: Inbox,
    period: Duration,
    given: HashSet<String>,
}

impl InboxWatch {
    /// Letters that were not given out before, or were put back; waits until there are some, and at least one period.
    pub async fn next(&mut self) -> Result<Vec<Letter>, JournalError> {
        loop {
            tokio::time::sleep(self.period).await;
            let mut letters = self.inbox.letters()?;
            letters.retain(|letter| self.given.insert(letter.name().to_string()));
            if !letters.is_empty() {
                return Ok(letters);
            }
        }
    }

    /// The letter could not be carried out yet: it comes again.
    pub fn put_back(&mut self, letter: &Letter) {
        self.given.remove(letter.name());
    }
}
