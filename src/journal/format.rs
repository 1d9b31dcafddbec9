//! How a record looks on disk: one JSON object a line, and each line holds the hash of the one
//! before. The hash is taken over the very bytes that were written, so that no rule of "the same
//! JSON, written another way" is needed, and a person can check a line with `sed` and `sha256sum`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::{Event, What};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A SHA-256, as 64 hexadecimal digits. The first record follows on [`Hash::ZERO`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first record names as the one before.
    pub const ZERO: Hash = Hash([0; 32]);

    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The end of a chain: what the next record builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record; 0 before the first.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first record.
    pub const START: Head = Head {
        seq: 0,
        hash: Hash::ZERO,
    };
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A later version wrote it.
    #[error("format {found}, and this version reads up to {FORMAT}: use the dr-plan that wrote it")]
    Newer {
        /// The format found.
        found: u64,
    },
    /// Not a record at all.
    #[error("it is no record: {0}")]
    Shape(String),
    /// The bytes are not those that were written.
    #[error("its bytes do not give its hash: it was changed after it was written")]
    Hash,
    /// It does not follow on the one before.
    #[error("it does not follow on the record before it: a record was removed, added or moved")]
    Chain,
    /// It could not be put into JSON.
    #[error("it cannot be written as JSON: {0}")]
    Encode(String),
}

#[derive(Serialize)]
struct Out<'a> {
    seq: u64,
    at: Timestamp,
    ms: u64,
    what: &'a What,
    prev: String,
}

#[derive(Deserialize)]
struct In {
    seq: u64,
    at: Timestamp,
    ms: u64,
    what: What,
    prev: String,
}

const HASH_KEY: &[u8] = b",\"hash\":\"";
/// The key, 64 digits, quote, brace.
const TAIL: usize = HASH_KEY.len() + 64 + 2;

/// Appends the event's line, with its line break, and gives the new head.
pub fn encode(event: &Event, head: Head, into: &mut Vec<u8>) -> Result<Head, RecordError> {
    let start = into.len();
    let out = Out {
        seq: event.seq,
        at: event.at,
        ms: event.ms,
        what: &event.what,
        prev: head.hash.to_string(),
    };
    if let Err(error) = serde_json::to_writer(&mut *into, &out) {
        into.truncate(start);
        return Err(RecordError::Encode(error.to_string()));
    }
    let hash = Hash::of(&into[start..]);
    into.pop();
    into.extend_from_slice(HASH_KEY);
    into.extend_from_slice(hash.to_string().as_bytes());
    into.extend_from_slice(b"\"}\n");
    Ok(Head {
        seq: event.seq,
        hash,
    })
}

/// Reads a line (without its line break) that must follow on `head`.
pub fn decode(line: &[u8], head: Head) -> Result<(Event, Head), RecordError> {
    if head.seq == 0 {
        refuse_newer(line)?;
    }
    let shape = |text: &str| RecordError::Shape(text.to_string());
    let cut = line
        .len()
        .checked_sub(TAIL)
        .ok_or_else(|| shape("it is too short"))?;
    let (body, tail) = line.split_at(cut);
    let claimed = tail
        .strip_prefix(HASH_KEY)
        .and_then(|rest| rest.strip_suffix(b"\"}"))
        .ok_or_else(|| shape("it does not end with its hash"))?;
    let mut whole = body.to_vec();
    whole.push(b'}');
    let hash = Hash::of(&whole);
    if hash.to_string().as_bytes() != claimed {
        return Err(RecordError::Hash);
    }
    let record: In =
        serde_json::from_slice(&whole).map_err(|error| RecordError::Shape(error.to_string()))?;
    if record.seq != head.seq + 1 || record.prev != head.hash.to_string() {
        return Err(RecordError::Chain);
    }
    let event = Event {
        seq: record.seq,
        at: record.at,
        ms: record.ms,
        what: record.what,
    };
    let seq = event.seq;
    Ok((event, Head { seq, hash }))
}

/// The header is looked at before anything else of it is understood: a later version may have
/// changed everything but the place of its number.
fn refuse_newer(line: &[u8]) -> Result<(), RecordError> {
    let value: serde_json::Value =
        serde_json::from_slice(line).map_err(|error| RecordError::Shape(error.to_string()))?;
    match value.pointer("/what/format").and_then(|v| v.as_u64()) {
        Some(found) if found > u64::from(FORMAT) => Err(RecordError::Newer { found }),
        _ => Ok(()),
    }
}
