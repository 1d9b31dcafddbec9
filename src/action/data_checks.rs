//! The `verify:` list of a restore: questions to the data itself, asked of the staged copy before the swap and once
//! more of the live one after it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Bind, decode_args};
use crate::dataset::postgres::{Expectation, Psql};
use crate::kind::{Evidence, Failure, Reason};
use crate::problem::{Problem, nearest};
use crate::units::Span;
use crate::yaml::Node;

/// A query may run so long.
const PATIENCE: Duration = Duration::from_secs(600);

/// One entry.
#[derive(Debug)]
pub(super) enum DataCheck {
    Sql {
        query: String,
        expect: Expectation,
    },
    Newest {
        query: String,
        within: Option<Duration>,
        or_fail: bool,
    },
    Rows {
        table: String,
        expect: Expectation,
    },
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
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Or {
    Fail,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RowsArgs {
    /// `table` or `schema.table`.
    table: String,
    /// Such as `>= 1`.
    expect: String,
}

/// Reads the list.
pub(super) fn read(bind: &Bind) -> Result<Vec<DataCheck>, Vec<Problem>> {
    let (mut checks, mut problems) = (Vec::new(), Vec::new());
    for (kind, with) in bind.verify {
        match one(kind, with, bind) {
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

fn one(kind: &str, with: &Node, bind: &Bind) -> Result<DataCheck, Vec<Problem>> {
    let expectation = |text: &str| {
        Expectation::parse(text).map_err(|error| {
            vec![Problem::error(
                "bad-expectation",
                with.place_of("expect"),
                error.to_string(),
            )]
        })
    };
    match kind {
        "sql" => {
            let args: SqlArgs = decode_args(with)?;
            Ok(DataCheck::Sql {
                expect: expectation(&args.expect)?,
                query: args.query,
            })
        }
        "newest" => {
            let args: NewestArgs = decode_args(with)?;
            let within = match args.within.as_deref() {
                None => None,
                Some("rpo") if bind.rpo.is_some() => bind.rpo,
                Some("rpo") => {
                    let words = "the plan promises no `rpo`";
                    return Err(vec![
                        Problem::error("no-rpo", with.place_of("within"), words)
                            .help("objectives: { rpo: 15m }"),
                    ]);
                }
                Some(text) => match Span::parse(text) {
                    Ok(span) => Some(span.0),
                    Err(error) => {
                        return Err(vec![Problem::error(
                            "bad-duration",
                            with.place_of("within"),
                            error.to_string(),
                        )]);
                    }
                },
            };
            Ok(DataCheck::Newest {
                query: args.query,
                within,
                or_fail: args.or.is_some(),
            })
        }
        "rows" => {
            let args: RowsArgs = decode_args(with)?;
            let parts: Vec<&str> = args.table.split('.').collect();
            if parts.len() > 2
                || parts
                    .iter()
                    .any(|part| part.is_empty() || part.contains('"'))
            {
                let words = format!("`{}` is neither `table` nor `schema.table`", args.table);
                return Err(vec![Problem::error(
                    "bad-table",
                    with.place_of("table"),
                    words,
                )]);
            }
            let table = parts
                .iter()
                .map(|part| format!("\"{part}\""))
                .collect::<Vec<_>>()
                .join(".");
            Ok(DataCheck::Rows {
                table,
                expect: expectation(&args.expect)?,
            })
        }
        other => {
            let problem = Problem::error(
                "not-a-data-check",
                &with.place,
                format!("`{other}` cannot verify a dataset"),
            );
            Err(vec![match nearest(other, ["sql", "newest", "rows"]) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help("use `sql`, `newest` or `rows`; a `check.*` kind can be a step of its own after this one"),
            }])
        }
    }
}

/// The newest record that was seen, and the plan's limit for it.
pub(super) struct Newest {
    pub(super) at: jiff::Timestamp,
    pub(super) limit: Option<Duration>,
}

/// Asks the list of one database. An answer that is wrong fails with `Verify`.
pub(super) async fn ask(
    checks: &[DataCheck],
    psql: &Psql,
    database: &str,
    lost_at: jiff::Timestamp,
) -> Result<(Vec<Evidence>, Option<Newest>), Failure> {
    let mut evidence = Vec::new();
    let mut oldest: Option<Newest> = None;
    let inventory = psql.inventory(database, PATIENCE).await?;
    evidence.extend(
        inventory
            .judge(database)?
            .into_iter()
            .map(|finding| Evidence::new(database, finding.what)),
    );
    for check in checks {
        match check {
            DataCheck::Sql { query, expect } => {
                evidence.push(psql.expect(database, query, expect, PATIENCE).await?)
            }
            DataCheck::Rows { table, expect } => {
                evidence.push(
                    psql.expect(
                        database,
                        &format!("select count(*) from {table}"),
                        expect,
                        PATIENCE,
                    )
                    .await?,
                );
            }
            DataCheck::Newest {
                query,
                within,
                or_fail,
            } => {
                let newest = psql.newest(database, query, lost_at, PATIENCE).await?;
                let words = format!(
                    "{} ({})",
                    newest.at,
                    crate::units::beside(newest.at, lost_at)
                );
                if *or_fail && within.is_some_and(|limit| newest.age > limit) {
                    let limit = within.unwrap_or_default();
                    let words = format!(
                        "the newest record is of {words}, allowed are {}",
                        crate::units::duration(limit)
                    );
                    return Err(Failure::new(Reason::Verify, words));
                }
                evidence.push(Evidence::new(query.trim(), words));
                // Several questions: the dataset is as old as its oldest part.
                if oldest.as_ref().is_none_or(|known| newest.at < known.at) {
                    oldest = Some(Newest {
                        at: newest.at,
                        limit: *within,
                    });
                }
            }
        }
    }
    Ok((evidence, oldest))
}
