//! The gate before users are moved: the new address must first prove, to the real host name, that it serves what was
//! restored.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::check_http::{ask, check_url, point, same, trust_in_vain};
use super::check_sql::SqlQuestion;
use super::{Asked, Bind, Context, host_named};
use crate::kind::{Evidence, Failure, Reason};
use crate::problem::Problem;
use crate::yaml::Node;

/// So long servers that were powered on again may take until they serve.
const COMES_BACK: Duration = Duration::from_secs(120);

/// The gate, or the word `none`. Untagged does no harm here: the shape is checked, with places, before it is decoded.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Gate {
    /// A real question to the new address.
    Ask(Box<Question>),
    /// `none`, with `because`.
    None(NoGate),
}

/// The word `none`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NoGate {
    None,
}

/// Asked of the new address with the real host name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// A page that reads from the restored data; its host name is the users' one.
    url: String,
    /// The new address.
    at: String,
    /// For https: a PEM file with the certificate authorities to trust instead of the machine's; relative to the plan.
    trust: Option<PathBuf>,
    /// A JSON pointer into the answer.
    json: String,
    /// What must stand there.
    equals: Equals,
}

/// Where the truth for the gate comes from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Equals {
    /// A query with one value: a row that was written before the loss.
    sql: String,
    /// The host that holds the restored database.
    host: String,
    /// The database.
    database: String,
}

impl Gate {
    /// The address that is asked.
    pub(super) fn at(&self) -> Option<&str> {
        match self {
            Gate::Ask(question) => Some(&question.at),
            Gate::None(_) => None,
        }
    }

    /// Whom it asks.
    pub(super) fn asks(&self) -> Vec<Asked> {
        match self {
            Gate::Ask(question) => vec![
                Asked::Host(question.equals.host.clone()),
                Asked::Address(question.at.clone()),
            ],
            Gate::None(_) => Vec::new(),
        }
    }

    /// The files that it reads.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self {
            Gate::Ask(question) => question.trust.iter().cloned().collect(),
            Gate::None(_) => Vec::new(),
        }
    }

    /// What is wrong with it, seen before the run. `args` are those of the step.
    pub(super) fn check(
        &mut self,
        because: Option<&str>,
        args: &Node,
        bind: &Bind,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        match self {
            Gate::Ask(question) => {
                let gate = args.get("gate").unwrap_or(args);
                problems.extend(trust_in_vain(&question.url, question.trust.as_ref(), gate));
                question.trust = question.trust.take().map(|trust| bind.folder.join(trust));
                if let Err(why) = check_url(&question.url) {
                    problems.push(Problem::error("bad-url", gate.place_of("url"), why));
                }
                if question.at.parse::<std::net::IpAddr>().is_err() {
                    let words = format!("`{}` is not an IP address", question.at);
                    problems.push(Problem::error("bad-address", gate.place_of("at"), words));
                }
                let equals = gate.get("equals").unwrap_or(gate);
                let host = host_named(&question.equals.host, equals, "host", bind);
                problems.extend(host.err());
            }
            Gate::None(_) if because.is_none() => problems.push(
                Problem::error(
                    "no-gate",
                    args.place_of("gate"),
                    "users would be moved to an address that nobody has asked anything",
                )
                .help("write a gate, or `because:` with the reason why none is possible"),
            ),
            Gate::None(_) => {}
        }
        problems
    }

    /// Asks the question and compares; `none` passes with its reason.
    pub(super) async fn pass(
        &self,
        because: Option<&str>,
        cx: &Context,
    ) -> Result<Evidence, Failure> {
        // Its answer decides, also where the step is only looked at.
        let cx = &Context {
            probe: false,
            ..cx.clone()
        };
        let question = match self {
            Gate::Ask(question) => question,
            Gate::None(_) => {
                return Ok(Evidence::new(
                    "gate",
                    format!("none: {}", because.unwrap_or_default()),
                ));
            }
        };
        let truth = SqlQuestion {
            host: &question.equals.host,
            database: &question.equals.database,
            query: &question.equals.sql,
        }
        .ask(cx)
        .await
        .map_err(|failure| failure.at("gate"))?;
        if truth.trim().is_empty() {
            return Err(Failure::new(
                Reason::Verify,
                format!(
                    "gate: `{}` gives nothing on `{}`: the restored data is empty",
                    question.equals.sql, question.equals.host
                ),
            ));
        }
        let page = ask(
            cx,
            &uncached(&question.url)?,
            Some(&question.at),
            question.trust.as_deref(),
        )
        .await
        .map_err(|failure| failure.at("gate"))?;
        if page.status != 200 {
            let words = format!(
                "gate: {} at {} answered {}",
                question.url, question.at, page.status
            );
            return Err(Failure::new(Reason::Verify, words));
        }
        let shown =
            point(&question.url, &page, &question.json).map_err(|failure| failure.at("gate"))?;
        let truth = Value::String(truth.trim().to_string());
        if !same(&shown, &truth) {
            let words = format!(
                "gate: {} at {} shows {} {shown}, but the restored data says {truth}",
                question.url, question.at, question.json
            );
            return Err(Failure::new(Reason::Verify, words).hint("nothing was moved"));
        }
        Ok(Evidence::new(
            format!("gate: {} at {}", question.url, question.at),
            format!("{} = {shown}", question.json),
        ))
    }

    /// Waits until the page of the gate comes from `at`, with something where the answer stands: for users who go back there.
    /// What it says is not judged, since the old data are other data.
    pub(super) async fn stands(&self, at: IpAddr, cx: &Context) -> Result<Evidence, Failure> {
        let Gate::Ask(question) = self else {
            return Ok(Evidence::new(at.to_string(), "nobody asked it: no gate"));
        };
        let begun = Instant::now();
        let mut told = String::new();
        loop {
            let url = uncached(&question.url)?;
            let trust = question.trust.as_deref();
            let why = match ask(cx, &url, Some(&at.to_string()), trust).await {
                Ok(page) if page.status == 200 => match point(&question.url, &page, &question.json)
                {
                    Ok(shown) => {
                        let what = format!("{} at {at}", question.url);
                        return Ok(Evidence::new(what, format!("{} = {shown}", question.json)));
                    }
                    Err(failure) => failure.message,
                },
                Ok(page) => format!("{} answered {}", question.url, page.status),
                Err(failure) => failure.message,
            };
            if begun.elapsed() > COMES_BACK {
                let words = format!("{at} does not serve: {why}; users stay where they are");
                return Err(Failure::new(Reason::Verify, words)
                    .hint("`--ungated` moves them back all the same"));
            }
            if why != told {
                cx.log(format!("{at} does not serve yet: {why}"));
                told = why;
            }
            let phase = format!("waiting until {at} serves again");
            let seconds = begun.elapsed().as_secs();
            cx.progress(&phase, seconds, Some(COMES_BACK.as_secs()), "s");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// The address with a question of its own at its end, so that no cache on the way has an answer to it: a page that was
/// kept while the shop worked proves nothing about now.
fn uncached(text: &str) -> Result<String, Failure> {
    let mut url = check_url(text).map_err(|why| Failure::new(Reason::Other, why))?;
    url.query_pairs_mut()
        .append_pair("dr-plan-gate", &ulid::Ulid::generate().to_string());
    Ok(url.into())
}
