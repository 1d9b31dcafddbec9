//! The `verify:` list of a restore: questions to the data itself, asked of the staged copy before the swap and once
//! more of the live one after it.

use std::time::Duration;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Bind, decode_args};
use crate::dataset::{DataCopy, Expectation, Question, ZoneFrom, redis};
use crate::inventory::{DatasetKind, zone};
use crate::kind::{Evidence, Failure, Reason};
use crate::problem::{Problem, nearest};
use crate::units::Span;
use crate::yaml::Node;

/// One entry: what is asked, and what the answer must be.
#[derive(Debug)]
pub(super) struct DataCheck {
    pub(super) question: Question,
    test: Test,
}

#[derive(Debug)]
enum Test {
    /// Holds the answer against this.
    Expect(Expectation),
    /// The answer is the time of the newest record.
    Newest(Time),
}

/// What is said of the time of the newest record.
#[derive(Debug)]
struct Time {
    /// So much older than the loss it may be.
    within: Option<Duration>,
    /// Older fails the step.
    or_fail: bool,
    /// In which zone a value without one is meant.
    zone: Option<TimeZone>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SqlArgs {
    /// A query with one value.
    query: String,
    /// Such as `>= 1000`.
    expect: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewestArgs {
    /// A query with one time: the newest record's own.
    query: String,
    /// `rpo` or a duration: how much older than the loss it may be.
    within: Option<String>,
    /// `fail`: too old fails the step. Without it the result is MISSED, and the recovery goes on.
    or: Option<Or>,
    /// In which zone a time without one is meant: an IANA name such as `Europe/Berlin`, or `UTC`.
    zone: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Or {
    Fail,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RedisArgs {
    /// A command that only reads, with one value.
    query: String,
    /// The number of the database.
    #[serde(default)]
    database: u32,
    /// Such as `>= 1000`.
    expect: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewestKeyArgs {
    /// A command that only reads, with one time: RFC 3339, or seconds since 1970.
    query: String,
    /// The number of the database.
    #[serde(default)]
    database: u32,
    /// As for a database.
    within: Option<String>,
    /// As for a database.
    or: Option<Or>,
    /// As for a database.
    zone: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewestFileArgs {
    /// As for a database.
    within: Option<String>,
    /// As for a database.
    or: Option<Or>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FileArgs {
    /// A path below the folder; of a configuration one of its files.
    path: String,
    /// What the file must hold; without it the file must be there.
    sha256: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CountArgs {
    /// Such as `>= 1`.
    expect: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RowsArgs {
    /// `table` or `schema.table`.
    table: String,
    /// Such as `>= 1`.
    expect: String,
}

/// Reads the list for a kind of data.
pub(super) fn read(bind: &Bind, kind: &DatasetKind) -> Result<Vec<DataCheck>, Vec<Problem>> {
    let (mut checks, mut problems) = (Vec::new(), Vec::new());
    for (word, with) in bind.verify {
        match one(word, with, bind, kind) {
            Ok(check) => checks.push(check),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(checks)
    } else {
        Err(problems)
    }
}

/// The entries that a kind of data understands.
fn words(kind: &DatasetKind) -> &'static [&'static str] {
    match kind {
        DatasetKind::Postgres(_) => &["sql", "newest", "rows"],
        DatasetKind::Redis(_) => &["redis", "newest", "keys"],
        DatasetKind::Files(_) => &["files", "bytes", "newest", "file"],
        DatasetKind::Config(_) => &["file"],
    }
}

fn one(
    word: &str,
    with: &Node,
    bind: &Bind,
    kind: &DatasetKind,
) -> Result<DataCheck, Vec<Problem>> {
    let check = |question: Question, expect: &str| {
        let expectation = Expectation::parse(expect).map_err(|error| {
            vec![Problem::error(
                "bad-expectation",
                with.place_of("expect"),
                error.to_string(),
            )]
        })?;
        Ok(DataCheck {
            question,
            test: Test::Expect(expectation),
        })
    };
    let newest =
        |question: Question, within: Option<&str>, or: Option<Or>, written: Option<&str>| {
            let within = limit(within, with, bind);
            let zone = written.map(|name| zone(name, with.place_of("zone")));
            let zone = zone.transpose().map_err(|problem| vec![problem]);
            let (within, zone) = both(within, zone)?;
            Ok(DataCheck {
                question,
                test: Test::Newest(Time {
                    within,
                    or_fail: or.is_some(),
                    zone,
                }),
            })
        };
    match (kind, word) {
        (DatasetKind::Postgres(_), "sql") => {
            let args: SqlArgs = decode_args(with)?;
            check(Question::new(args.query), &args.expect)
        }
        (DatasetKind::Postgres(_), "newest") => {
            let args: NewestArgs = decode_args(with)?;
            let question = Question::new(args.query);
            let (within, zone) = (args.within.as_deref(), args.zone.as_deref());
            newest(question, within, args.or, zone)
        }
        (DatasetKind::Postgres(_), "rows") => {
            let args: RowsArgs = decode_args(with)?;
            let table = table(&args.table, with)?;
            check(
                Question::new(format!("select count(*) from {table}")),
                &args.expect,
            )
        }
        (DatasetKind::Redis(_), "redis") => {
            let args: RedisArgs = decode_args(with)?;
            check(reading(args.query, args.database, with)?, &args.expect)
        }
        (DatasetKind::Redis(_), "newest") => {
            let args: NewestKeyArgs = decode_args(with)?;
            let question = reading(args.query, args.database, with)?;
            let (within, zone) = (args.within.as_deref(), args.zone.as_deref());
            newest(question, within, args.or, zone)
        }
        (DatasetKind::Redis(_), "keys") => {
            let args: CountArgs = decode_args(with)?;
            check(Question::all_keys(), &args.expect)
        }
        (DatasetKind::Files(_), "files" | "bytes") => {
            let args: CountArgs = decode_args(with)?;
            check(Question::new(word), &args.expect)
        }
        (DatasetKind::Files(_), "newest") => {
            let args: NewestFileArgs = decode_args(with)?;
            let question = Question::new("newest");
            newest(question, args.within.as_deref(), args.or, None)
        }
        (DatasetKind::Files(_) | DatasetKind::Config(_), "file") => {
            let args: FileArgs = decode_args(with)?;
            let inside = |path: &str| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
            let wrong = match kind {
                DatasetKind::Config(config) if config.files.contains(&args.path) => None,
                DatasetKind::Config(_) => Some("is none of the dataset's files"),
                _ if inside(&args.path) && !args.path.chars().any(char::is_control) => None,
                _ => Some("is no path below the folder"),
            };
            if let Some(wrong) = wrong {
                let words = format!("`{}` {wrong}", args.path);
                let problem = Problem::error("bad-path", with.place_of("path"), words);
                return Err(vec![problem]);
            }
            match args.sha256 {
                None => check(Question::new(format!("present {}", args.path)), "= 'yes'"),
                Some(sha256)
                    if sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()) =>
                {
                    let sha256 = format!("= '{}'", sha256.to_ascii_lowercase());
                    check(Question::new(format!("sha256 {}", args.path)), &sha256)
                }
                Some(_) => Err(vec![Problem::error(
                    "bad-hash",
                    with.place_of("sha256"),
                    "a SHA-256 is 64 hexadecimal digits",
                )]),
            }
        }
        (kind, other) => {
            let known = words(kind);
            let problem = Problem::error(
                "not-a-data-check",
                &with.place,
                format!("`{other}` cannot verify a `{}` dataset", kind.word()),
            );
            Err(vec![match nearest(other, known.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help(format!(
                    "use `{}`; a `check.*` kind can be a step of its own after this one",
                    known.join("`, `")
                )),
            }])
        }
    }
}

/// Both of them, or every problem of the two.
fn both<A, B>(
    one: Result<A, Vec<Problem>>,
    other: Result<B, Vec<Problem>>,
) -> Result<(A, B), Vec<Problem>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => {
            let problems = one.err().into_iter().chain(other.err());
            Err(problems.flatten().collect())
        }
    }
}

/// How much older than the loss the newest record may be.
fn limit(within: Option<&str>, with: &Node, bind: &Bind) -> Result<Option<Duration>, Vec<Problem>> {
    match within {
        None => Ok(None),
        Some("rpo") if bind.rpo.is_some() => Ok(bind.rpo),
        Some("rpo") => Err(vec![
            Problem::error(
                "no-rpo",
                with.place_of("within"),
                "the plan promises no `rpo`",
            )
            .help("objectives: { rpo: 15m }"),
        ]),
        Some(text) => match Span::parse(text) {
            Ok(span) => Ok(Some(span.0)),
            Err(error) => Err(vec![Problem::error(
                "bad-duration",
                with.place_of("within"),
                error.to_string(),
            )]),
        },
    }
}

/// A table's name as SQL wants it.
fn table(name: &str, with: &Node) -> Result<String, Vec<Problem>> {
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() > 2
        || parts
            .iter()
            .any(|part| part.is_empty() || part.contains('"'))
    {
        let words = format!("`{name}` is neither `table` nor `schema.table`");
        return Err(vec![Problem::error(
            "bad-table",
            with.place_of("table"),
            words,
        )]);
    }
    let parts: Vec<String> = parts.iter().map(|part| format!("\"{part}\"")).collect();
    Ok(parts.join("."))
}

/// A Redis command that only reads.
fn reading(query: String, database: u32, with: &Node) -> Result<Question, Vec<Problem>> {
    check_reading(&query, with).map_err(|problem| vec![problem])?;
    Ok(Question {
        words: query,
        database,
    })
}

/// A check must not be able to change what it looks at.
pub(super) fn check_reading(query: &str, with: &Node) -> Result<(), Problem> {
    if redis::is_reading(query) {
        return Ok(());
    }
    let words = format!("`{}` is none of the commands that only read", query.trim());
    let problem = Problem::error("not-reading", with.place_of("query"), words);
    Err(problem.help(format!(
        "one line that begins with: {}",
        redis::READING.join(", ")
    )))
}

/// The newest record that was seen, and the plan's limit for it.
pub(super) struct Newest {
    pub(super) at: jiff::Timestamp,
    pub(super) limit: Option<Duration>,
    /// The questions whose answers had no zone and were taken as UTC.
    pub(super) taken_as_utc: Vec<String>,
}

/// Asks the list of one copy. An answer that is wrong fails with `Verify`.
pub(super) async fn ask(
    checks: &[DataCheck],
    copy: &dyn DataCopy,
    lost_at: jiff::Timestamp,
) -> Result<(Vec<Evidence>, Option<Newest>), Failure> {
    let mut oldest: Option<(jiff::Timestamp, Option<Duration>)> = None;
    let mut taken_as_utc = Vec::new();
    let name = copy.name();
    let mut evidence: Vec<Evidence> = copy
        .inspect()
        .await?
        .into_iter()
        .map(|finding| Evidence::new(&name, finding.what))
        .collect();
    for check in checks {
        match &check.test {
            Test::Expect(expect) => evidence.push(copy.expect(&check.question, expect).await?),
            Test::Newest(wanted) => {
                let zone = wanted.zone.as_ref();
                let newest = copy.newest(&check.question, zone, lost_at).await?;
                let asked = check.question.words.trim();
                let words = format!(
                    "{} ({}){}",
                    newest.at,
                    crate::units::beside(newest.at, lost_at),
                    of_its_zone(newest.zone, zone)
                );
                if newest.zone == ZoneFrom::Nobody {
                    taken_as_utc.push(asked.to_string());
                }
                if let Some(limit) = wanted.within.filter(|limit| newest.age > *limit)
                    && wanted.or_fail
                {
                    let words = format!(
                        "the newest record is of {words}, allowed are {}",
                        crate::units::duration(limit)
                    );
                    return Err(Failure::new(Reason::Verify, words));
                }
                evidence.push(Evidence::new(asked, words));
                // Several questions: the dataset is as old as its oldest part.
                if oldest.is_none_or(|(known, _)| newest.at < known) {
                    oldest = Some((newest.at, wanted.within));
                }
            }
        }
    }
    let newest = oldest.map(|(at, limit)| Newest {
        at,
        limit,
        taken_as_utc,
    });
    Ok((evidence, newest))
}

/// What is to be said of a time whose value has no zone.
fn of_its_zone(from: ZoneFrom, zone: Option<&TimeZone>) -> String {
    match from {
        ZoneFrom::TheValue => String::new(),
        ZoneFrom::ThePlan => {
            let name = zone.and_then(TimeZone::iana_name).unwrap_or("UTC");
            format!(", a time without a zone, read in {name}")
        }
        ZoneFrom::Nobody => {
            ", a time WITHOUT A ZONE that was taken as UTC: write `zone:` beside the query, such as `zone: Europe/Berlin`"
                .to_string()
        }
    }
}

#[cfg(test)]
mod tests;
