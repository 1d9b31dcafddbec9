//! A copy of a dataset that can be asked, and what is asked of every kind: one value held against an expectation, and the time of the
//! newest record.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

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
    /// The value has no time zone and was read as UTC.
    pub assumed_utc: bool,
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
    pub async fn newest(&self, question: &Question, instant: Timestamp) -> Result<Newest, Failure> {
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
        let (at, assumed_utc) = time(&seen).ok_or_else(|| {
            wrong(format!("`{seen}`, which is no time")).hint(
                "ask for a `timestamptz`, for instance `select max(created_at) from orders`, or for a text such as 2026-11-21T03:00:00Z",
            )
        })?;
        let age = instant.duration_since(at);
        Ok(Newest {
            at,
            age: Duration::try_from(age).unwrap_or(Duration::ZERO),
            assumed_utc,
        })
    }
}

/// A time as psql writes it in a session of UTC and ISO, as RFC 3339, or in seconds since 1970 (a fraction allowed; milliseconds
/// are told by their size).
fn time(text: &str) -> Option<(Timestamp, bool)> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some((at, false));
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
        return Some((at, false));
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let at = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some((at, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_psql_writes_them_and_as_applications_keep_them() {
        let at = |text| time(text).map(|(at, assumed)| (at.to_string(), assumed));
        assert_eq!(
            at("2026-11-21 03:04:05.678+00"),
            Some(("2026-11-21T03:04:05.678Z".into(), false))
        );
        assert_eq!(
            at("2026-11-21 03:04:05"),
            Some(("2026-11-21T03:04:05Z".into(), true))
        );
        assert_eq!(
            at("1795230245"),
            Some(("2026-11-21T03:04:05Z".into(), false))
        );
        assert_eq!(
            at("1795230245000"),
            Some(("2026-11-21T03:04:05Z".into(), false))
        );
        assert_eq!(at("infinity"), None);
        assert_eq!(at("12"), None);
        assert_eq!(at("NaN"), None);
    }
}
