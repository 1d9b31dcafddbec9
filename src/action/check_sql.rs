//! `check.sql`: a question to a database on a host, and what the answer must be.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Asked, Bind, Context, Look, Verb, Verified, host_named};
use crate::dataset::Expectation;
use crate::dataset::postgres::{Psql, Site};
use crate::kind::{Effect, Failure, Reason, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `check.sql`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckSql {
    /// The host that runs PostgreSQL.
    host: String,
    /// The database.
    database: String,
    /// A query with one value.
    query: String,
    /// Such as `>= 1000`, `= 'ready'`, `!= 0`, `between 1 and 9`.
    expect: String,
}

/// Any psql can ask: the version only chooses among several that are installed.
const VERSION: u32 = 15;

/// A query that is asked on a host through its local socket.
pub(super) struct SqlQuestion<'a> {
    pub(super) host: &'a str,
    pub(super) database: &'a str,
    pub(super) query: &'a str,
}

impl SqlQuestion<'_> {
    /// The first value of the first row, as text.
    pub(super) async fn ask(&self, cx: &Context) -> Result<String, Failure> {
        let psql = Psql::new(cx.host(self.host)?, Site::default(), VERSION);
        let value = psql
            .value(self.database, self.query, Duration::from_secs(60))
            .await?;
        Ok(value.unwrap_or_default())
    }
}

impl Verb for CheckSql {
    const NAME: &'static str = "check.sql";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Asks a database one value and compares it.";
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn sample(&self) -> crate::kind::Output {
        [("value".to_string(), serde_json::Value::from("1"))]
            .into_iter()
            .collect()
    }

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(problem) = host_named(&self.host, args, "host", bind) {
            problems.push(problem);
        }
        if let Err(why) = Expectation::parse(&self.expect) {
            problems.push(Problem::error(
                "bad-expectation",
                args.place_of("expect"),
                why.to_string(),
            ));
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

#[async_trait]
impl Look for CheckSql {
    fn title(&self) -> String {
        format!(
            "`{}` in {} on {}",
            self.query.trim(),
            self.database,
            self.host
        )
    }

    fn asked(&self) -> Asked {
        Asked::Host(self.host.clone())
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let question = SqlQuestion {
            host: &self.host,
            database: &self.database,
            query: &self.query,
        };
        let value = question.ask(cx).await?;
        let expect = Expectation::parse(&self.expect)
            .map_err(|why| Failure::new(Reason::Other, why.to_string()))?;
        if expect.met_by(Some(&value)) {
            Ok(Verified::seen(Look::title(self), &value).answered("value", value, cx))
        } else {
            let words = format!("{}: {value}, expected {}", Look::title(self), self.expect);
            Err(Failure::new(Reason::Verify, words))
        }
    }
}
