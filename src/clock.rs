//! Time is handed in, so that a test can stand still and a replay can tell the old time again.

use std::sync::Mutex;
use std::time::{Duration, Instant};

pub use jiff::Timestamp;

/// Wall time is for people and for ages; durations come from the monotonic clock, which no one can set back.
pub trait Clock: Send + Sync {
    /// The wall clock, UTC.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point of this process.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts counting now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that moves when it is told to.
#[derive(Debug)]
pub struct FixedClock {
    start: Timestamp,
    passed: Mutex<Duration>,
}

impl FixedClock {
    /// Stands at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self {
            start,
            passed: Mutex::new(Duration::ZERO),
        }
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        *self.passed.lock().expect("no holder panics") += by;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.start + *self.passed.lock().expect("no holder panics")
    }

    fn monotonic(&self) -> Duration {
        *self.passed.lock().expect("no holder panics")
    }
}
