//! `check.command`: a person's own script on a host, which must end with a status and may have to say something. It is asked
//! again until it agrees, so it must only look.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::own_script::Variables;
use super::{Action, Bind, Context, Look, Verb, Verified, host_named};
use crate::dataset::Expectation;
use crate::kind::{Effect, Failure, Finding, Output, Reason, Undo};
use crate::problem::Problem;
use crate::secret::SecretRef;
use crate::transport::Script;
use crate::yaml::Node;

/// Arguments of `check.command`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckCommand {
    /// Where.
    host: String,
    /// The script, for `sh -eu`. It is asked any number of times and must change nothing.
    command: String,
    /// The status that it must end with; 0 if nothing is said.
    #[serde(default)]
    status: u8,
    /// What its output must be, without the line break at its end: `= 'ready'`, `>= 1000`, `between 1 and 9`.
    expect: Option<String>,
    /// A text that its output must contain.
    contains: Option<String>,
    /// The user on the host; the login user if nothing is said.
    r#as: Option<String>,
    /// `NAME` becomes `$DR_NAME`.
    #[serde(default)]
    env: BTreeMap<String, serde_json::Value>,
    /// `NAME` becomes `$DR_SECRET_NAME`, unexported, over standard input.
    #[serde(default)]
    secrets: BTreeMap<String, SecretRef>,
}

impl Verb for CheckCommand {
    const NAME: &'static str = "check.command";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str =
        "Asks a script on a host and looks at its status and what it says.";
    const TIMEOUT: Duration = Duration::from_secs(60);
    const OWN_SCRIPT: bool = true;
    const SCRIPTS: &'static [&'static str] = &["command"];

    fn sample(&self) -> Output {
        [("value".to_string(), serde_json::Value::from("1"))]
            .into_iter()
            .collect()
    }

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut given = Variables {
            env: self.env,
            secrets: self.secrets,
        };
        let mut problems = given.bind(args, bind);
        problems.extend(host_named(&self.host, args, "host", bind).err());
        if self.command.trim().is_empty() {
            let words = "an empty command says nothing";
            problems.push(Problem::error(
                "no-command",
                args.place_of("command"),
                words,
            ));
        }
        let expect = match self.expect.as_deref().map(Expectation::parse).transpose() {
            Ok(expect) => expect,
            Err(why) => {
                let place = args.place_of("expect");
                problems.push(Problem::error("bad-expectation", place, why.to_string()));
                None
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Box::new(Asked {
            host: self.host,
            text: self.command,
            status: i32::from(self.status),
            expect,
            contains: self.contains,
            run_as: self.r#as,
            given,
            patience: bind.timeout.unwrap_or(Self::TIMEOUT).min(Self::TIMEOUT),
        }))
    }
}

/// The bound check.
struct Asked {
    host: String,
    text: String,
    status: i32,
    expect: Option<Expectation>,
    contains: Option<String>,
    run_as: Option<String>,
    given: Variables,
    /// For one question.
    patience: Duration,
}

/// So much of an output is shown.
const SHOWN: usize = 200;

#[async_trait]
impl Look for Asked {
    fn title(&self) -> String {
        let mut lines = self.text.lines().filter(|line| !line.trim().is_empty());
        match (lines.next(), lines.next()) {
            (Some(one), None) if one.len() <= 60 => format!("`{}` on {}", one.trim(), self.host),
            _ => format!("a command on {}", self.host),
        }
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        self.given.precheck(cx).await?;
        Ok(Vec::new())
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let script = Script::new(&self.text).run_as(self.run_as.as_deref());
        let script = self.given.give(cx, script).await?;
        let answer = cx.host(&self.host)?.leashed(&script, self.patience).await?;
        let title = Look::title(self);
        let fail = |why: String| Err(Failure::new(Reason::Verify, format!("{title}: {why}")));
        if answer.status != self.status {
            let said = match answer.said() {
                said if said.is_empty() => String::new(),
                said => format!(": {said}"),
            };
            let wanted = match self.status {
                0 => String::new(),
                other => format!(", expected {other}"),
            };
            return fail(format!("status {}{wanted}{said}", answer.status));
        }
        if answer.truncated {
            return fail("it says more than a megabyte".into());
        }
        let value = answer.stdout.trim_end_matches('\n');
        let shown = match value.char_indices().nth(SHOWN) {
            Some((at, _)) => format!("{}...", &value[..at]),
            None => value.to_string(),
        };
        if let Some(expect) = &self.expect
            && !expect.met_by(Some(value))
        {
            return fail(format!("it says `{shown}`, expected {expect}"));
        }
        if let Some(wanted) = &self.contains
            && !value.contains(wanted.as_str())
        {
            return fail(format!(
                "it says `{shown}`, which does not contain `{wanted}`"
            ));
        }
        let saw = match shown.is_empty() {
            true => format!("status {}", answer.status),
            false => shown,
        };
        Ok(Verified::seen(title, saw).answered("value", value, cx))
    }
}
