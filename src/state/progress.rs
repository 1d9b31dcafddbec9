//! How far a phase of a step is, and how long it will take if it goes on as it did.

use std::time::Duration;

use jiff::Timestamp;

use super::between;

/// A shorter time says nothing about a rate.
const TOO_SHORT: Duration = Duration::from_secs(3);

/// How far a step is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// What it is at.
    pub phase: String,
    /// So much is done, in units.
    pub done: u64,
    /// So much there is to do, if that is known.
    pub total: Option<u64>,
    /// `bytes`, or what else is counted.
    pub unit: String,
    /// When the phase was heard of first.
    began: Timestamp,
    /// How much was done by then: a fetch goes on where an earlier one ended.
    begun_with: u64,
    /// When it was heard of last.
    at: Timestamp,
}

impl Progress {
    /// What is told now, after what was told last.
    pub(super) fn after(
        last: Option<Self>,
        at: Timestamp,
        phase: &str,
        done: u64,
        total: Option<u64>,
        unit: &str,
    ) -> Self {
        // Less than before: it was begun anew.
        let same =
            last.filter(|last| last.phase == phase && last.unit == unit && last.done <= done);
        let (began, begun_with) = same.map_or((at, done), |last| (last.began, last.begun_with));
        Self {
            phase: phase.to_string(),
            done,
            total,
            unit: unit.to_string(),
            began,
            begun_with,
            at,
        }
    }

    /// The time left, at the rate since the phase began. `None`: the end is not known, there is nothing left, or it is too early to tell.
    pub fn left(&self) -> Option<Duration> {
        let rest = self
            .total?
            .checked_sub(self.done)
            .filter(|rest| *rest > 0)?;
        let so_far = between(self.began, self.at);
        let gained = self.done - self.begun_with;
        if so_far < TOO_SHORT || gained == 0 {
            return None;
        }
        let seconds = so_far.as_secs_f64() * rest as f64 / gained as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of (second, done) of one phase with a total, in a row.
    fn told(phase: &str, total: Option<u64>, all: &[(i64, u64)]) -> Progress {
        let mut last = None;
        for (second, done) in all {
            let at = Timestamp::from_second(*second).unwrap();
            last = Some(Progress::after(last, at, phase, *done, total, "bytes"));
        }
        last.unwrap()
    }

    fn seconds(progress: &Progress) -> Option<u64> {
        progress.left().map(|left| left.as_secs())
    }

    #[test]
    fn the_time_left_follows_from_the_rate_since_the_phase_began() {
        let half = told("restore", Some(200), &[(100, 0), (110, 100)]);
        assert_eq!(seconds(&half), Some(10));
        // What an earlier attempt had fetched was not fetched in this time.
        let resumed = told("fetch", Some(200), &[(100, 100), (110, 120)]);
        assert_eq!(seconds(&resumed), Some(40));
        // A pause makes it longer.
        let slow = told("restore", Some(200), &[(100, 0), (110, 100), (130, 100)]);
        assert_eq!(seconds(&slow), Some(30));
    }

    #[test]
    fn nothing_is_said_that_is_not_known() {
        for (why, told) in [
            ("no total", told("restore", None, &[(100, 0), (110, 100)])),
            (
                "too early",
                told("restore", Some(200), &[(100, 0), (102, 100)]),
            ),
            (
                "nothing came",
                told("restore", Some(200), &[(100, 5), (110, 5)]),
            ),
            (
                "all is done",
                told("restore", Some(200), &[(100, 0), (110, 200)]),
            ),
            (
                "more than all",
                told("restore", Some(200), &[(100, 0), (110, 300)]),
            ),
            (
                "begun anew",
                told("restore", Some(200), &[(100, 50), (110, 100), (111, 10)]),
            ),
        ] {
            assert_eq!(told.left(), None, "{why}");
        }
    }

    #[test]
    fn another_phase_begins_to_count_anew() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let fetched = told("fetch", Some(100), &[(100, 0), (110, 90)]);
        let next = Progress::after(Some(fetched), at(111), "restore", 90, Some(100), "bytes");
        assert_eq!(next.left(), None);
        let next = Progress::after(Some(next), at(116), "restore", 95, Some(100), "bytes");
        assert_eq!(seconds(&next), Some(5));
    }
}
