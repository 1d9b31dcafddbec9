//! Every call an API has seen, so that a test can ask what a client really did: how often it
//! created, whether it looked before it retried, and what it let slip into a body.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// One call. Bodies are kept whole: a search for canaries must see what the provider saw. The
/// bearer token itself is never kept.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Counted from 1, in the order of arrival.
    pub number: u64,
    /// Arrival, RFC 3339 in UTC.
    pub at: Timestamp,
    pub method: String,
    /// Decoded by nobody: exactly as sent, without the query.
    pub path: String,
    /// As sent, without the `?`; empty for none.
    pub query: String,
    /// Parsed when it is JSON, else a string; `null` for an empty one.
    pub body: Value,
    /// The answer that left, or would have: `null` while the call runs, and for ever when a fault
    /// hung or cut it before its effect. An answer that a fault put in the place of the real one
    /// stands here as the client saw it.
    pub status: Option<u16>,
    /// The rules that met this call, as `number: kind`.
    pub faults: Vec<String>,
    /// Whether the answer was sent; `false` while running and after a hang or a reset.
    pub answered: bool,
    /// From arrival to the answer, in milliseconds.
    pub milliseconds: Option<u64>,
    #[serde(skip)]
    arrived: Instant,
}

/// The book of calls. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Vec<Call>>>);

impl Ledger {
    /// Writes a call down on its arrival and returns its number.
    pub fn arrival(&self, method: &str, path: &str, query: &str, body: &[u8]) -> u64 {
        let mut calls = self.lock();
        let number = calls.len() as u64 + 1;
        calls.push(Call {
            number,
            at: Timestamp::now(),
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            body: if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_slice(body)
                    .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())
            },
            status: None,
            faults: Vec::new(),
            answered: false,
            milliseconds: None,
            arrived: Instant::now(),
        });
        number
    }

    /// Notes which faults meet the call.
    pub fn met(&self, number: u64, faults: Vec<String>) {
        self.change(number, |call| call.faults = faults);
    }

    /// Notes how the call ended; `answered` is false when the client never hears of it.
    pub fn ended(&self, number: u64, status: u16, answered: bool) {
        self.change(number, |call| {
            call.status = Some(status);
            call.answered = answered;
            call.milliseconds =
                Some(u64::try_from(call.arrived.elapsed().as_millis()).unwrap_or(u64::MAX));
        });
    }

    /// All calls so far, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// The calls of one method whose path matches (`*` stands for anything).
    pub fn find(&self, method: &str, path: &str) -> Vec<Call> {
        self.lock()
            .iter()
            .filter(|call| call.method == method && super::faults::matches(path, &call.path))
            .cloned()
            .collect()
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Call)) {
        let index = usize::try_from(number)
            .unwrap_or(usize::MAX)
            .wrapping_sub(1);
        if let Some(call) = self.lock().get_mut(index) {
            change(call);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
