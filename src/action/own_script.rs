//! What all kinds share that run a script which a person wrote on a host: what it is given, how it is known to be done, and
//! its job. A status of 0 alone is no proof: `unless` is asked before and after, `verify` after, and `repeatable` says that
//! once more does no harm.

use std::collections::BTreeMap;
use std::time::Duration;

use super::host_job::{carry, look, running};
use super::{Bind, Context, Verified, host_named};
use crate::kind::{Evidence, Failure, Finding, Observation, Reason};
use crate::problem::Problem;
use crate::secret::SecretRef;
use crate::transport::{JobState, Script};
use crate::yaml::Node;

/// What a script is given: `NAME` becomes `$DR_NAME`, a secret `$DR_SECRET_NAME`.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) env: BTreeMap<String, serde_json::Value>,
    pub(super) secrets: BTreeMap<String, SecretRef>,
}

impl Variables {
    /// Names that can be no variables. Files of secrets lie beside the plan.
    pub(super) fn bind(&mut self, args: &Node, bind: &Bind) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (part, name) in self
            .env
            .keys()
            .map(|name| ("env", name))
            .chain(self.secrets.keys().map(|name| ("secrets", name)))
        {
            let first = name.starts_with(|c: char| c.is_ascii_uppercase());
            let right = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            if !first || !name.chars().all(right) {
                let words = format!(
                    "`{name}` cannot be a variable of a script: use capitals, digits and `_`"
                );
                problems.push(Problem::error("bad-variable", args.place_of(part), words));
            }
        }
        self.secrets = std::mem::take(&mut self.secrets)
            .into_iter()
            .map(|(name, secret)| (name, secret.beside(bind.folder)))
            .collect();
        problems
    }

    /// Every secret can be had.
    pub(super) async fn precheck(&self, cx: &Context) -> Result<(), Failure> {
        for reference in self.secrets.values() {
            cx.services.secrets.fetch(reference).await?;
        }
        Ok(())
    }

    /// The script with all of them.
    pub(super) async fn give(&self, cx: &Context, mut script: Script) -> Result<Script, Failure> {
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
}

/// The host ends a script that nobody gave a time.
pub(super) const DEADLINE: Duration = Duration::from_secs(3600);

/// A script of a person, but for its text.
#[derive(Debug)]
pub(super) struct OwnScript {
    pub(super) host: String,
    pub(super) run_as: Option<String>,
    pub(super) unless: Option<String>,
    pub(super) repeatable: bool,
    pub(super) given: Variables,
    deadline: Duration,
}

impl OwnScript {
    /// Finds the host; a script that nothing proves is a problem.
    pub(super) fn bind(
        host: String,
        run_as: Option<String>,
        (unless, repeatable): (Option<String>, bool),
        mut given: Variables,
        args: &Node,
        bind: &Bind,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(host_named(&host, args, "host", bind).err());
        problems.extend(given.bind(args, bind));
        if unless.is_none() && !repeatable && bind.verify.is_empty() {
            let words = "nothing says how this script is known to be done";
            problems.push(Problem::error("not-verified", &args.place, words).help(
                "add `unless:` (a script that ends with 0 if there is nothing to do), the step's `verify:` (what to look at), \
                 or `repeatable: true` (it may run any number of times)",
            ));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            host,
            run_as,
            unless,
            repeatable,
            given,
            deadline: bind.timeout.unwrap_or(DEADLINE),
        })
    }

    async fn whole(&self, cx: &Context, script: Script) -> Result<Script, Failure> {
        let script = script.run_as(self.run_as.as_deref());
        self.given.give(cx, script).await
    }

    /// Asks `unless`; `None` without one.
    async fn settled(&self, cx: &Context) -> Result<Option<bool>, Failure> {
        let Some(unless) = &self.unless else {
            return Ok(None);
        };
        let script = self.whole(cx, Script::new(unless)).await?;
        let answer = cx
            .host(&self.host)?
            .leashed(&script, Duration::from_secs(60))
            .await?;
        Ok(Some(answer.ok()))
    }

    pub(super) async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        self.given.precheck(cx).await?;
        Ok(vec![Finding::cannot_be_checked(
            "what a script does is known only when it runs",
        )])
    }

    pub(super) async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
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

    pub(super) async fn apply(&self, cx: &Context, script: Script) -> Result<(), Failure> {
        let host = cx.host(&self.host)?;
        let script = self.whole(cx, script).await?;
        carry(cx, &host, None, &script, self.deadline).await
    }

    pub(super) async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
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

    /// What a person's script did is a person's to take back.
    pub(super) fn undo(title: &str) -> Result<Vec<Evidence>, Failure> {
        Err(Failure::new(
            Reason::Refused,
            format!("nobody but a person knows how to take back: {title}"),
        ))
    }
}
