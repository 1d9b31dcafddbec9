//! `host.run`: a person's own script on a host, written in the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::own_script::{DEADLINE, OwnScript, Variables};
use super::{Action, Bind, Context, Verb, Verified};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Undo};
use crate::problem::Problem;
use crate::secret::SecretRef;
use crate::transport::Script;
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
}

impl Verb for HostRun {
    const NAME: &'static str = "host.run";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::NeedsHuman;
    const SUMMARY: &'static str = "Runs a script on a host, as a job that outlives this process.";
    const TIMEOUT: Duration = DEADLINE;
    const OWN_SCRIPT: bool = true;
    const SCRIPTS: &'static [&'static str] = &["run", "unless"];
    const TAKES: Duration = Duration::from_secs(10);

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let given = Variables {
            env: self.env,
            secrets: self.secrets,
        };
        let done = (self.unless, self.repeatable);
        let script = OwnScript::bind(self.host, self.r#as, done, given, args, bind)?;
        Ok(Box::new(Written {
            script,
            text: self.run,
        }))
    }
}

/// A script whose text stands in the plan.
struct Written {
    script: OwnScript,
    text: String,
}

#[async_trait]
impl Action for Written {
    fn title(&self) -> String {
        let lines = self
            .text
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        let lines: Vec<&str> = lines.collect();
        let host = &self.script.host;
        match lines.as_slice() {
            [one] if one.len() <= 60 => format!("script on {host}: {}", one.trim()),
            many => format!("script on {host} ({} lines)", many.len()),
        }
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        self.script.precheck(cx).await
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        self.script.observe(cx).await
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        self.script.apply(cx, Script::new(&self.text)).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        self.script.verify(cx).await
    }

    fn host(&self) -> Option<&str> {
        Some(&self.script.host)
    }

    async fn undo(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        OwnScript::undo(&self.title())
    }
}
