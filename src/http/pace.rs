//! Asking again until an answer or a deadline. What was asked for goes on at the service by itself, so a wait that
//! ends is never a reason to do it again.

use std::time::{Duration, Instant};

/// The pauses between questions: the first short, since a small cloud answers at once, each half as long again, up to
/// a length at which dozens of waits together stay below every provider's quota.
#[derive(Debug, Clone)]
pub struct Pace {
    next: Duration,
    longest: Duration,
    end: Instant,
}

impl Pace {
    /// 100 ms growing to 2 s, until `within` has passed.
    pub fn new(within: Duration) -> Self {
        Self {
            next: Duration::from_millis(100),
            longest: Duration::from_secs(2),
            end: Instant::now() + within,
        }
    }

    /// Pauses. `false`: the time is up and nothing was waited for.
    pub async fn pause(&mut self) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.next.min(left)).await;
        self.next = (self.next * 3 / 2).min(self.longest);
        true
    }

    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}
