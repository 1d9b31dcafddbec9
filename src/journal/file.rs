//! The journal on a file: one write for all that is waiting, one `fdatasync`. What could not be
//! kept whole is cut off again, so that the file ends with a record that somebody was told of.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::format::{Head, encode};
use super::read::{Reading, read_all};
use super::{Journal, JournalError, sync_directory};
use crate::ids::RunId;

/// An open journal; the process holds the file's lock (`flock(2)`) until it is dropped.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    file: File,
    head: Head,
    /// Whole records end here.
    length: u64,
    /// Up to here they are on disk.
    synced: u64,
    dead: Option<JournalError>,
}

impl FileJournal {
    /// Makes an empty journal, 0600; it must not exist. File and directory are on disk afterwards.
    pub fn create(path: &Path, run: &RunId) -> Result<Self, JournalError> {
        let file = super::folder::private_file()
            .read(true)
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(|e| JournalError::io("creating", path, e))?;
        lock(&file, path, run)?;
        file.sync_all()
            .map_err(|e| JournalError::io("syncing", path, e))?;
        sync_directory(path.parent().unwrap_or(Path::new("/")))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            head: Head::START,
            length: 0,
            synced: 0,
            dead: None,
        })
    }

    /// Opens a journal to go on with it: reads all of it and cuts a torn last line off. The reading
    /// comes back, so that the caller can replay it (and say what was cut).
    pub fn open(path: &Path, run: &RunId) -> Result<(Self, Reading), JournalError> {
        let file = super::folder::private_file()
            .read(true)
            .append(true)
            .open(path)
            .map_err(|e| JournalError::io("opening", path, e))?;
        // The lock comes first: another process may be about to write what would look torn.
        lock(&file, path, run)?;
        let reading = read_all(path)?;
        if !reading.torn.is_empty() {
            file.set_len(reading.good)
                .map_err(|e| JournalError::io("cutting a torn record off", path, e))?;
        }
        // Whole records may stand there that were written but not synced before the crash; whoever
        // builds on them must be sure of them.
        file.sync_all()
            .map_err(|e| JournalError::io("syncing", path, e))?;
        let journal = Self {
            path: path.to_path_buf(),
            file,
            head: reading.head,
            length: reading.good,
            synced: reading.good,
            dead: None,
        };
        Ok((journal, reading))
    }

    /// Nothing is written after this. What lies behind `keep` was never acknowledged.
    fn die(&mut self, keep: u64, error: JournalError) -> JournalError {
        // Best effort: on a disk that fails, this may fail too; then reading finds the torn line.
        let _ = self.file.set_len(keep);
        self.dead = Some(error.clone());
        error
    }
}

fn lock(file: &File, path: &Path, run: &RunId) -> Result<(), JournalError> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Busy { run: run.clone() }),
        Err(error) => Err(JournalError::io("locking", path, error.into())),
    }
}

/// Whether a living process has the journal open for writing.
pub(super) fn is_written(path: &Path) -> Result<bool, JournalError> {
    let file = File::open(path).map_err(|e| JournalError::io("opening", path, e))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(JournalError::io("locking", path, error.into())),
    }
}

impl Journal for FileJournal {
    fn append(&mut self, events: &[crate::event::Event]) -> Result<(), JournalError> {
        if let Some(error) = &self.dead {
            return Err(error.clone());
        }
        let mut bytes = Vec::new();
        let mut head = self.head;
        for event in events {
            head = encode(event, head, &mut bytes).map_err(|what| JournalError::Encode {
                seq: event.seq,
                what,
            })?;
        }
        if let Err(error) = self.file.write_all(&bytes) {
            let error = JournalError::io("writing", &self.path, error);
            return Err(self.die(self.length, error));
        }
        self.head = head;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if let Some(error) = &self.dead {
            return Err(error.clone());
        }
        // After a failed sync the kernel may have dropped the pages and forgotten it: never try again.
        if let Err(error) = self.file.sync_data() {
            let error = JournalError::io("syncing", &self.path, error);
            return Err(self.die(self.synced, error));
        }
        self.synced = self.length;
        Ok(())
    }

    fn head(&self) -> Head {
        self.head
    }
}
