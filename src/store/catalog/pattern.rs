//! Path patterns: `postgres/shop-{time:%Y%m%dT%H%M%SZ}.dump.gpg`. `{time}` alone stands for the usual ways to write a time,
//! `*` for any characters but `/`.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `{` without `}`, or another name than `time`.
    #[error("`{0}`: only `{{time}}` and `{{time:FORMAT}}` may stand in braces")]
    Braces(String),
    /// Two times.
    #[error("`{0}`: `{{time}}` may stand only once")]
    Twice(String),
    /// The format cannot be read back into a time.
    #[error("`{pattern}`: `{format}` does not read as a time: {why}")]
    Format {
        /// The pattern.
        pattern: String,
        /// What stands after `time:`.
        format: String,
        /// What jiff says.
        why: String,
    },
    /// Absolute, empty or ending in `/`.
    #[error("`{0}`: write a path of a file, relative to the store's root")]
    Path(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Any,
    Time(Vec<String>),
}

/// A checked pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

/// What `{time}` alone reads: the forms met in the field. A `Z` at the end is UTC, `%z` an offset, anything else is in the given zone.
const USUAL: [&str; 14] = [
    "%Y%m%dT%H%M%SZ",
    "%Y%m%dT%H%M%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S%:z",
    "%Y-%m-%dT%H-%M-%SZ",
    "%Y-%m-%dT%H-%M-%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y%m%d_%H%M%S",
    "%Y%m%d-%H%M%S",
    "%Y%m%d%H%M%S",
    "%Y-%m-%d_%H-%M-%S",
    "%Y-%m-%d-%H%M%S",
    "%Y-%m-%d",
    "%Y%m%d",
];

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.starts_with('/') || text.ends_with('/') {
            return Err(PatternError::Path(text.to_string()));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            match next {
                '{' => {
                    let Some(end) = rest.find('}') else {
                        return Err(PatternError::Braces(text.to_string()));
                    };
                    let formats = match &rest[1..end] {
                        "time" => USUAL.iter().map(ToString::to_string).collect(),
                        other => match other.strip_prefix("time:") {
                            Some(format) => vec![format.to_string()],
                            None => return Err(PatternError::Braces(text.to_string())),
                        },
                    };
                    if parts.iter().any(|part| matches!(part, Part::Time(_))) {
                        return Err(PatternError::Twice(text.to_string()));
                    }
                    if formats.len() == 1 {
                        reads_back(&formats[0]).map_err(|why| PatternError::Format {
                            pattern: text.to_string(),
                            format: formats[0].clone(),
                            why,
                        })?;
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Time(formats));
                    rest = &rest[end + 1..];
                }
                '}' => return Err(PatternError::Braces(text.to_string())),
                '*' => {
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    if parts.last() != Some(&Part::Any) {
                        parts.push(Part::Any);
                    }
                    rest = &rest[1..];
                }
                other => {
                    literal.push(other);
                    rest = &rest[other.len_utf8()..];
                }
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self {
            text: text.to_string(),
            parts,
        })
    }

    /// The constant beginning: what to list.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// `None`: another name. `Some(None)`: it fits and the pattern has no time. A local time that a change of clocks makes
    /// ambiguous counts as the earlier one: a backup must not look younger than it is.
    pub fn matches(&self, path: &str, zone: &TimeZone) -> Option<Option<Timestamp>> {
        fit(&self.parts, path, &mut |formats, text| {
            formats
                .iter()
                .find_map(|format| read_time(format, text, zone))
        })
    }

    /// It would fit if its time could be read.
    pub fn matches_but_for_time(&self, path: &str) -> bool {
        fit(&self.parts, path, &mut |_, text| {
            text.bytes()
                .any(|b| b.is_ascii_digit())
                .then_some(Timestamp::UNIX_EPOCH)
        })
        .is_some()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Longer texts are no time; this bounds the search in a long name.
const LONGEST_TIME: usize = 64;

type ReadTime<'a> = dyn FnMut(&[String], &str) -> Option<Timestamp> + 'a;

fn fit(parts: &[Part], text: &str, read: &mut ReadTime<'_>) -> Option<Option<Timestamp>> {
    let Some((part, rest)) = parts.split_first() else {
        return text.is_empty().then_some(None);
    };
    let ends = |limit: usize| {
        text.char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .take_while(move |at| *at <= limit)
    };
    match part {
        Part::Text(literal) => fit(rest, text.strip_prefix(literal.as_str())?, read),
        Part::Any => {
            let limit = text.find('/').unwrap_or(text.len());
            ends(limit).find_map(|end| fit(rest, &text[end..], read))
        }
        Part::Time(formats) => {
            for end in ends(LONGEST_TIME.min(text.len())).filter(|end| *end > 0) {
                // The rest first: it is the cheaper question.
                if fit(rest, &text[end..], read).is_some()
                    && let Some(time) = read(formats, &text[..end])
                {
                    return Some(Some(time));
                }
            }
            None
        }
    }
}

fn read_time(format: &str, text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let parsed = strtime::parse(format, text).ok()?;
    if let Ok(time) = parsed.to_timestamp() {
        return Some(time);
    }
    let civil = match parsed.to_datetime() {
        Ok(civil) => civil,
        Err(_) => parsed.to_date().ok()?.at(0, 0, 0, 0),
    };
    let zone = if format.ends_with('Z') && !format.ends_with("%Z") {
        &TimeZone::UTC
    } else {
        zone
    };
    let zoned = zone.to_ambiguous_zoned(civil).earlier().ok()?;
    Some(zoned.timestamp())
}

/// Writes a known time in a format and reads it again.
fn reads_back(format: &str) -> Result<(), String> {
    let known: Timestamp = "2026-11-21T03:04:05Z".parse().map_err(|_| String::new())?;
    let zoned = known.to_zoned(TimeZone::UTC);
    let text = strtime::format(format, &zoned).map_err(|error| error.to_string())?;
    let back =
        read_time(format, &text, &TimeZone::UTC).ok_or("it names no whole date".to_string())?;
    if back.to_zoned(TimeZone::UTC).date() == zoned.date() {
        Ok(())
    } else {
        Err("it reads back as another date".to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(pattern: &str, path: &str, zone: &TimeZone) -> Option<String> {
        Pattern::parse(pattern)
            .unwrap()
            .matches(path, zone)?
            .map(|time| time.to_string())
    }

    #[test]
    fn times_of_the_field_are_read_in_their_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::fixed(jiff::tz::offset(1)));
        let utc = TimeZone::UTC;
        let cases = [
            (
                "a-{time}.gz",
                "a-20261121T030405Z.gz",
                &berlin,
                "2026-11-21T03:04:05Z",
            ),
            (
                "a_{time}.sql.gz.gpg",
                "a_20261121_030405.sql.gz.gpg",
                &berlin,
                "2026-11-21T02:04:05Z",
            ),
            (
                "b-{time}.tar.gz",
                "b-2026-11-21T03-04-05.tar.gz",
                &utc,
                "2026-11-21T03:04:05Z",
            ),
            (
                "b-{time}.sql",
                "b-2026-11-21T03:04:05+02:00.sql",
                &utc,
                "2026-11-21T01:04:05Z",
            ),
            (
                "d/{time:%Y%m%d}.sql",
                "d/20261121.sql",
                &berlin,
                "2026-11-20T23:00:00Z",
            ),
            (
                "d/{time:%s}.rdb",
                "d/1795230245.rdb",
                &berlin,
                "2026-11-21T03:04:05Z",
            ),
            (
                "{time:%Y/%m/%d}/shop-*.dump",
                "2026/11/21/shop-x1.dump",
                &utc,
                "2026-11-21T00:00:00Z",
            ),
        ];
        for (pattern, path, zone, expected) in cases {
            assert_eq!(
                time(pattern, path, zone).as_deref(),
                Some(expected),
                "{pattern} {path}"
            );
        }
        for (pattern, path) in [
            ("a-{time}.gz", "a-20261121T030405Z.gz.sha256"),
            ("a-{time}.gz", "b-20261121T030405Z.gz"),
            ("a-{time}.gz", "a-20261321T030405Z.gz"),
            ("{time}/shop-*.dump", "20261121/x/shop-a.dump"),
        ] {
            assert_eq!(time(pattern, path, &utc), None, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_that_can_never_work_is_refused() {
        for bad in [
            "",
            "/a-{time}",
            "a/{time}/",
            "a-{date}",
            "a-{time",
            "a}",
            "{time}{time}",
            "a-{time:%H%M}",
            "a-{time:%Q}",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        let fixed = Pattern::parse("latest.dump").unwrap();
        assert_eq!(fixed.matches("latest.dump", &TimeZone::UTC), Some(None));
    }
}
