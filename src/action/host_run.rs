//! `host.run`: a person's own script on a host. How it is known to be done is part of it, since a status of 0 is no proof:
//! `unless` is asked before and after, `verify` after, and `repeatable` says that once more does no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::host_job::{carry, look, running};
use super::{Action, Bind, Context, Verb, Verified, host_named};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Output, Reason, Undo};
use crate::problem::Problem;
use crate::secret::SecretRef;
use crate::transport::{JobState, Script};
use crate::yaml::Node;

/// Arguments of `host.run`; in a plan they are written as keys of the step: `host`, `run`, `as`, `unless`, ...
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRun {
    /// Where.
    host: String,
    /// The script, for `sh -eu`.
    run: String,
    /// The user on the host; the login user if nothing is said.
    r#as: Option<String>,
    /// A script that ends with 0 when the work is done already.
    unless: Option<String>,
    /// Running it again does no harm, and its status is its proof.
    #[serde(default)]
    repeatable: bool,
    /// `NAME` becomes `$DR_NAME`.
    #[serde(default)]
    env: BTreeMap<String, serde_json::Value>,
    /// `NAME` becomes `$DR_SECRET_NAME`, unexported, over standard input.
    #[serde(default)]
    secrets: BTreeMap<String, SecretRef>,
    #[serde(skip)]
    deadline: Option<Duration>,
}

/// The host ends a script that nobody gave a time.
const DEADLINE: Duration = Duration::from_secs(3600);

impl Verb for HostRun {
    const NAME: &'static str = "host.run";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::NeedsHuman;
    const SUMMARY: &'static str = "Runs a script on a host, as a job that outlives this process.";
    const TIMEOUT: Duration = DEADLINE;
    const OWN_SCRIPT: bool = true;
    const TAKES: Duration = Duration::from_secs(10);

    fn sample(&self) -> Output {
        Output::new()
    }

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(problem) = host_named(&self.host, args, "host", bind) {
            problems.push(problem);
        }
        for name in self.env.keys().chain(self.secrets.keys()) {
            if !name.starts_with(|c: char| c.is_ascii_uppercase())
                || !name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            {
                let words = format!(
                    "`{name}` cannot be a variable of a script: use capitals, digits and `_`"
                );
                problems.push(Problem::error("bad-variable", args.place_of("env"), words));
            }
        }
        self.deadline = bind.timeout;
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

impl HostRun {
    async fn script(&self, cx: &Context, text: &str) -> Result<Script, Failure> {
        let mut script = Script::new(text).run_as(self.r#as.as_deref());
        for (name, value) in &self.env {
            let text = value
                .as_str()
                .map(str::to_string)
                .unwrap_or_else(|| value.to_string());
            script = script.value(name, text);
        }
        for (name, reference) in &self.secrets {
            script = script.secret(name, cx.services.secrets.fetch(reference).await?);
        }
        Ok(script)
    }

    /// Asks `unless`; `None` without one.
    async fn settled(&self, cx: &Context) -> Result<Option<bool>, Failure> {
        let Some(unless) = &self.unless else {
            return Ok(None);
        };
        let script = self.script(cx, unless).await?;
        let answer = cx
            .host(&self.host)?
            .leashed(&script, Duration::from_secs(60))
            .await?;
        Ok(Some(answer.ok()))
    }
}

#[async_trait]
impl Action for HostRun {
    fn title(&self) -> String {
        let lines = self
            .run
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        let lines: Vec<&str> = lines.collect();
        match lines.as_slice() {
            [one] if one.len() <= 60 => format!("script on {}: {}", self.host, one.trim()),
            many => format!("script on {} ({} lines)", self.host, many.len()),
        }
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        for reference in self.secrets.values() {
            cx.services.secrets.fetch(reference).await?;
        }
        Ok(vec![Finding::cannot_be_checked(
            "what a script does is known only when it runs",
        )])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let job = look(cx, &self.host, None).await?;
        if let Some(JobState::Running { since }) = job {
            return Ok(running(&self.host, &cx.job(None), since));
        }
        match self.settled(cx).await? {
            Some(true) => return Ok(Observation::Done),
            Some(false) => return Ok(Observation::Absent),
            None => {}
        }
        Ok(match job {
            Some(JobState::Exited { status: 0, .. }) => Observation::Done,
            Some(JobState::Died { why }) if self.repeatable => Observation::Partial {
                what: format!("its job died: {why}"),
            },
            Some(JobState::Died { why }) => Observation::CannotTell {
                why: format!(
                    "its job on {} died half way ({why}) and the script is not repeatable",
                    self.host
                ),
                hint: Some(format!(
                    "look: dr-plan ssh {} {}",
                    cx.run.short(),
                    self.host
                )),
            },
            _ => Observation::Absent,
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let host = cx.host(&self.host)?;
        let script = self.script(cx, &self.run).await?;
        carry(cx, &host, None, &script, self.deadline.unwrap_or(DEADLINE)).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        match self.settled(cx).await? {
            Some(true) => return Ok(Verified::seen("`unless`", "says that it is done")),
            Some(false) => {
                let words = "the script ended with status 0, but `unless` says that it is not done";
                return Err(Failure::new(Reason::Verify, words));
            }
            None => {}
        }
        match look(cx, &self.host, None).await? {
            Some(JobState::Exited { status: 0, .. }) => Ok(Verified::seen(
                format!("job on {}", self.host),
                "ended with status 0",
            )),
            other => Err(Failure::new(
                Reason::Verify,
                format!("the job on {} is {other:?}", self.host),
            )),
        }
    }

    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }

    async fn undo(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        Err(Failure::new(
            Reason::Refused,
            format!(
                "nobody but a person knows how to take back: {}",
                self.title()
            ),
        ))
    }
}
