//! A copy of a dataset that can be asked, and what is asked of every kind: one value held against an expectation, and the time of the
//! newest record.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Expectation;
use crate::kind::{Evidence, Failure, Finding, Reason};

/// A question with one value for an answer, in the words of the dataset's kind: SQL, a Redis command, a word about a tree of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub words: String,
    /// The number of a Redis database; 0 elsewhere.
    pub database: u32,
}

impl Question {
    /// A question without a database's number.
    pub fn new(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            database: 0,
        }
    }
}

/// A staged or live copy.
#[async_trait]
pub trait DataCopy: Send + Sync {
    /// What people call it.
    fn name(&self) -> String;

    /// Is it whole in itself? Nothing in it, or something broken, is a failure of [`Reason::Verify`].
    async fn inspect(&self) -> Result<Vec<Finding>, Failure>;

    /// The one value that answers; `None` when there is none (NULL).
    async fn value(&self, question: &Question) -> Result<Option<String>, Failure>;
}

/// The newest record of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its time.
    pub at: Timestamp,
    /// How long before the given instant; zero when it is not before it.
    pub age: Duration,
    /// Who says in which zone it is meant.
    pub zone: ZoneFrom,
}

/// Who says in which zone a time is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZoneFrom {
    /// The value itself, or it needs none: it is counted in seconds.
    TheValue,
    /// The value has none, and the plan names one.
    ThePlan,
    /// Nobody: it was taken as UTC, and may be wrong by hours.
    Nobody,
}

impl dyn DataCopy + '_ {
    /// Holds an answer against an expectation. Not met is a failure of [`Reason::Verify`].
    pub async fn expect(
        &self,
        question: &Question,
        expectation: &Expectation,
    ) -> Result<Evidence, Failure> {
        let seen = self.value(question).await?;
        let words = seen.clone().unwrap_or_else(|| "NULL".to_string());
        let asked = question.words.trim();
        if expectation.met_by(seen.as_deref()) {
            return Ok(Evidence::new(asked, format!("{words} ({expectation})")));
        }
        Err(Failure::new(
            Reason::Verify,
            format!(
                "{}: `{asked}` gave {words}, expected {expectation}",
                self.name()
            ),
        ))
    }

    /// The time of the newest record, and how long before `instant` (when the service was lost) it is: the RPO, from the data itself.
    /// A value without a zone of its own is meant in `zone`; where that is not given, it is taken as UTC.
    pub async fn newest(
        &self,
        question: &Question,
        zone: Option<&TimeZone>,
        instant: Timestamp,
    ) -> Result<Newest, Failure> {
        let asked = question.words.trim();
        let wrong = |why: String| {
            Failure::new(
                Reason::Verify,
                format!("{}: `{asked}` gave {why}", self.name()),
            )
        };
        let seen = self
            .value(question)
            .await?
            .ok_or_else(|| wrong("NULL: there is no record".into()))?;
        let (at, zone) = time(&seen, zone).ok_or_else(|| {
            wrong(format!("`{seen}`, which is no time")).hint(
                "ask for a `timestamptz`, for instance `select max(created_at) from orders`, or for a text such as 2026-11-21T03:00:00Z",
            )
        })?;
        let age = instant.duration_since(at);
        Ok(Newest {
            at,
            age: Duration::try_from(age).unwrap_or(Duration::ZERO),
            zone,
        })
    }
}

/// A time as psql writes it in a session of UTC and ISO, as RFC 3339, or in seconds since 1970 (a fraction allowed; milliseconds
/// are told by their size). What has no zone is meant in `zone`, or taken as UTC.
fn time(text: &str, zone: Option<&TimeZone>) -> Option<(Timestamp, ZoneFrom)> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some((at, ZoneFrom::TheValue));
    }
    // `2026-11-21T03:04:05[Europe/Berlin]`: read as a time without a zone, its zone would be lost.
    if text.ends_with(']') {
        let zoned: jiff::Zoned = text.parse().ok()?;
        return Some((zoned.timestamp(), ZoneFrom::TheValue));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        // Less is a small number and no time; from 1e11 on they are milliseconds (as seconds that would be the year 5138).
        let seconds = if seconds >= 1e11 {
            seconds / 1e3
        } else {
            seconds
        };
        if !(1e8..1e11).contains(&seconds) {
            return None;
        }
        let at = Timestamp::from_nanosecond((seconds * 1e9) as i128).ok()?;
        return Some((at, ZoneFrom::TheValue));
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let (zone, from) = match zone {
        Some(zone) => (zone, ZoneFrom::ThePlan),
        None => (&TimeZone::UTC, ZoneFrom::Nobody),
    };
    // When clocks are changed a local time comes twice, or never: the earlier instant never makes the loss smaller than it is.
    let at = zone.to_ambiguous_zoned(civil).earlier().ok()?.timestamp();
    Some((at, from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, zone: Option<&TimeZone>) -> Option<(String, ZoneFrom)> {
        time(text, zone).map(|(at, from)| (at.to_string(), from))
    }

    /// Central Europe's rules, wherever the test runs.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    #[test]
    fn times_are_read_as_psql_writes_them_and_as_applications_keep_them() {
        let is = |at: &str, from| Some((at.to_string(), from));
        for (text, wanted) in [
            (
                "2026-11-21 03:04:05.678+00",
                is("2026-11-21T03:04:05.678Z", ZoneFrom::TheValue),
            ),
            (
                "2026-11-21 03:04:05",
                is("2026-11-21T03:04:05Z", ZoneFrom::Nobody),
            ),
            ("2026-11-21", is("2026-11-21T00:00:00Z", ZoneFrom::Nobody)),
            ("1795230245", is("2026-11-21T03:04:05Z", ZoneFrom::TheValue)),
            (
                "1795230245000",
                is("2026-11-21T03:04:05Z", ZoneFrom::TheValue),
            ),
            ("infinity", None),
            ("12", None),
            ("NaN", None),
            ("2026-11-21 03:04:05[Nowhere/Atall]", None),
        ] {
            assert_eq!(read(text, None), wanted, "{text}");
        }
    }

    #[test]
    fn a_zone_is_for_times_that_have_none_of_their_own() {
        let berlin = berlin();
        let is = |at: &str, from| Some((at.to_string(), from));
        for (text, wanted) in [
            (
                "2026-11-21 03:04:05",
                is("2026-11-21T02:04:05Z", ZoneFrom::ThePlan),
            ),
            (
                "2026-07-01 03:04:05",
                is("2026-07-01T01:04:05Z", ZoneFrom::ThePlan),
            ),
            (
                "2026-11-21 03:04:05+00",
                is("2026-11-21T03:04:05Z", ZoneFrom::TheValue),
            ),
            (
                "2026-11-21T03:04:05-05:00",
                is("2026-11-21T08:04:05Z", ZoneFrom::TheValue),
            ),
            (
                "2026-11-21T03:04:05[UTC]",
                is("2026-11-21T03:04:05Z", ZoneFrom::TheValue),
            ),
            ("1795230245", is("2026-11-21T03:04:05Z", ZoneFrom::TheValue)),
        ] {
            assert_eq!(read(text, Some(&berlin)), wanted, "{text}");
        }
        assert_eq!(
            read("2026-11-21 03:04:05", Some(&TimeZone::UTC)),
            is("2026-11-21T03:04:05Z", ZoneFrom::ThePlan)
        );
    }

    #[test]
    fn a_local_time_that_comes_twice_or_never_is_the_earlier_one() {
        let berlin = berlin();
        for (text, earlier) in [
            // At 3:00 clocks went back to 2:00: half past two was at 0:30 and at 1:30 UTC.
            ("2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
            // At 2:00 they went on to 3:00: half past two would be 0:30 by the new time, 1:30 by the old.
            ("2026-03-29 02:30:00", "2026-03-29T00:30:00Z"),
        ] {
            assert_eq!(
                read(text, Some(&berlin)),
                Some((earlier.to_string(), ZoneFrom::ThePlan)),
                "{text}"
            );
        }
    }
}
