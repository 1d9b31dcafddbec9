//! Reads a journal back: to resume, to report, and to follow a run from another process. A line
//! without its line break was never acknowledged to anybody and is a crash mark; any other bad line
//! means that somebody or something changed the past, and nothing is built on that.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::JournalError;
use super::format::{Head, decode};
use crate::event::Event;

/// A whole journal.
#[derive(Debug)]
pub struct Reading {
    /// Its events, in order.
    pub events: Vec<Event>,
    /// The end of the chain.
    pub head: Head,
    /// So many bytes are good; what follows is torn.
    pub good: u64,
    /// The torn last line; empty when there is none. Whoever opens the journal to write cuts it off.
    pub torn: Vec<u8>,
}

/// Reads everything. Errors: the file cannot be read; a bad record, with its line number.
pub fn read_all(path: &Path) -> Result<Reading, JournalError> {
    match read_sound(path)? {
        (reading, None) => Ok(reading),
        (_, Some(bad)) => Err(bad),
    }
}

/// Reads up to the first bad record, for those who only want to know what happened: what was made at a provider must not
/// be forgotten because of one byte. Nothing may be built on it.
pub fn read_sound(path: &Path) -> Result<(Reading, Option<JournalError>), JournalError> {
    let mut records = Records::open(path)?;
    let mut events = Vec::new();
    let bad = loop {
        match records.next_event() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => break None,
            Err(bad @ JournalError::Bad { .. }) => break Some(bad),
            Err(other) => return Err(other),
        }
    };
    let reading = Reading {
        events,
        head: records.head,
        good: records.good,
        torn: records.rest,
    };
    Ok((reading, bad))
}

/// Reads a journal record by record, and goes on where it stood when more has been written.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    file: BufReader<File>,
    /// The end of the chain as far as it was read.
    pub head: Head,
    /// Bytes read that belong to whole records.
    pub good: u64,
    line: u64,
    rest: Vec<u8>,
}

impl Records {
    /// Begins at the first record.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|e| JournalError::io("opening", path, e))?;
        Ok(Self {
            path: path.to_path_buf(),
            file: BufReader::with_capacity(1 << 16, file),
            head: Head::START,
            good: 0,
            line: 0,
            rest: Vec::new(),
        })
    }

    /// The next whole record; none at the present end of the file, where a torn line may stand.
    pub fn next_event(&mut self) -> Result<Option<Event>, JournalError> {
        self.file
            .read_until(b'\n', &mut self.rest)
            .map_err(|e| JournalError::io("reading", &self.path, e))?;
        let Some(line) = self.rest.strip_suffix(b"\n") else {
            return Ok(None);
        };
        let (event, head) = decode(line, self.head).map_err(|what| JournalError::Bad {
            path: self.path.clone(),
            line: self.line + 1,
            what,
        })?;
        self.head = head;
        self.good += self.rest.len() as u64;
        self.line += 1;
        self.rest.clear();
        Ok(Some(event))
    }

    /// Puts back a half line, so that a later look reads it from its beginning.
    fn rewind(&mut self) -> Result<(), JournalError> {
        let io = |e| JournalError::io("reading", &self.path, e);
        let length = self.file.get_ref().metadata().map_err(io)?.len();
        if length < self.good {
            return Err(JournalError::CutBack {
                path: self.path.clone(),
            });
        }
        if !self.rest.is_empty() {
            self.rest.clear();
            self.file.seek(SeekFrom::Start(self.good)).map_err(io)?;
        }
        Ok(())
    }
}

/// Follows a journal that another process writes.
#[derive(Debug)]
pub struct Follower {
    records: Records,
    from: u64,
}

impl Follower {
    /// Events with a number of at least `from` are given; those before are read and checked all the same.
    pub fn open(path: &Path, from: u64) -> Result<Self, JournalError> {
        Ok(Self {
            records: Records::open(path)?,
            from,
        })
    }

    /// What is there now. Errors as in reading, and `CutBack` when the writer took back a record
    /// that it could not keep: then everything must be read again.
    pub fn poll(&mut self) -> Result<Vec<Event>, JournalError> {
        self.records.rewind()?;
        let mut events = Vec::new();
        while let Some(event) = self.records.next_event()? {
            if event.seq >= self.from {
                events.push(event);
            }
        }
        Ok(events)
    }

    /// Waits until there is something, looking every `period`.
    pub async fn next(&mut self, period: Duration) -> Result<Vec<Event>, JournalError> {
        loop {
            let events = self.poll()?;
            if !events.is_empty() {
                return Ok(events);
            }
            tokio::time::sleep(period).await;
        }
    }

    /// The end of the chain as far as it was read.
    pub fn head(&self) -> Head {
        self.records.head
    }
}

/// Only the first event, for lists of many runs. None when the run never got so far.
pub fn read_first(path: &Path) -> Result<Option<Event>, JournalError> {
    Records::open(path)?.next_event()
}
