//! How long to wait before the next try: doubling, bounded, with a little scatter so that many steps
//! that failed together do not come back together.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A series of waits.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    most: Duration,
    seed: u64,
}

impl Backoff {
    /// From `first`, doubling, never above `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        // Any differing number will do; the keys of a new hasher differ from one to the next.
        let seed = RandomState::new().build_hasher().finish() | 1;
        Self {
            next: first,
            most,
            seed,
        }
    }

    /// The next wait, between 75 % and 100 % of the series' value.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next.min(self.most);
        self.next = wait.saturating_mul(2).min(self.most);
        // xorshift64: scatter needs no quality.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        wait - wait.mul_f64((self.seed % 256) as f64 / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_scatter_by_a_quarter() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for most in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.wait().as_millis();
            assert!(wait * 4 >= most * 3 && wait <= most, "{wait} of {most}");
        }
    }

    #[test]
    fn no_first_wait_is_too_long_to_be_doubled() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::from_secs(1));
        for _ in 0..3 {
            assert!(backoff.wait() <= Duration::from_secs(1));
        }
        assert!(Backoff::new(Duration::MAX, Duration::MAX).wait() > Duration::from_secs(1));
    }

    #[test]
    fn series_that_begin_together_do_not_stay_together() {
        let first: std::collections::BTreeSet<Duration> = (0..32)
            .map(|_| Backoff::new(Duration::from_secs(1), Duration::from_secs(60)).wait())
            .collect();
        assert!(first.len() > 8, "{first:?}");
    }
}
