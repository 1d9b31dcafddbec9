//! `host.service`: a service of the host is started, stopped, restarted or reloaded, and looked at again.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::host_job::{carry, look, running};
use super::{Action, Bind, Context, Verb, Verified, host_named};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Undo};
use crate::problem::Problem;
use crate::transport::{JobState, Script};
use crate::yaml::Node;

/// Arguments of `host.service`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostService {
    /// Where.
    host: String,
    /// The unit, with or without `.service`.
    service: String,
    /// How it must be; `started` if nothing is said.
    #[serde(default)]
    state: Wanted,
    /// Whether it starts with the host; left alone if nothing is said.
    enabled: Option<bool>,
}

/// A state to reach (`started`, `stopped`) or a thing to do once in a run (`restarted`, `reloaded`).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    #[default]
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

impl Wanted {
    fn verb(self) -> &'static str {
        match self {
            Wanted::Started => "start",
            Wanted::Stopped => "stop",
            Wanted::Restarted => "restart",
            Wanted::Reloaded => "reload",
        }
    }

    /// Must be done once by this run; being active before proves nothing.
    fn once(self) -> bool {
        matches!(self, Wanted::Restarted | Wanted::Reloaded)
    }
}

/// `is-active` and `is-enabled` in one look, as words.
const LOOK: &str = r#"
a=$(systemctl is-active "$DR_UNIT" 2>/dev/null) || true
e=$(systemctl is-enabled "$DR_UNIT" 2>/dev/null) || true
echo "${a:-unknown} ${e:-unknown}"
"#;

const ACT: &str = r#"
systemctl daemon-reload
case "$DR_ENABLED" in
  yes) systemctl enable "$DR_UNIT" ;;
  no) systemctl disable "$DR_UNIT" ;;
esac
systemctl "$DR_VERB" "$DR_UNIT" || {
  code=$?
  systemctl status "$DR_UNIT" --no-pager --lines=10 || true
  exit "$code"
}
"#;

impl Verb for HostService {
    const NAME: &'static str = "host.service";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::NeedsHuman;
    const SUMMARY: &'static str =
        "Starts, stops, restarts or reloads a service and looks at it again.";
    const TIMEOUT: Duration = Duration::from_secs(300);

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(problem) = host_named(&self.host, args, "host", bind) {
            problems.push(problem);
        }
        if !is_unit(&self.service) {
            let words = format!("`{}` is not the name of a unit", self.service);
            problems.push(Problem::error("bad-unit", args.place_of("service"), words));
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

/// Whether a text can be the name of a unit (systemd.unit(5)), and nothing else to `systemctl`.
pub(super) fn is_unit(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':');
    !name.is_empty() && !name.starts_with(['-', '.']) && name.chars().all(plain)
}

impl HostService {
    /// Active and enabled, in systemd's words.
    async fn state(&self, cx: &Context) -> Result<(String, String), Failure> {
        let script = Script::new(LOOK).ours().value("UNIT", &self.service);
        let answer = cx
            .host(&self.host)?
            .leashed(&script, Duration::from_secs(60))
            .await?;
        match answer.stdout.trim().split_once(' ') {
            Some((active, enabled)) if answer.ok() => Ok((active.to_string(), enabled.to_string())),
            _ => Err(Failure::new(
                Reason::ExitCode,
                format!(
                    "looking at {} on {}: {}",
                    self.service,
                    self.host,
                    answer.said()
                ),
            )),
        }
    }

    fn as_wanted(&self, active: &str, enabled: &str) -> bool {
        let running = active == "active";
        let enabled_right = self
            .enabled
            .is_none_or(|wanted| wanted == (enabled == "enabled"));
        running != (self.state == Wanted::Stopped) && enabled_right
    }
}

#[async_trait]
impl Action for HostService {
    fn title(&self) -> String {
        format!("{} {} on {}", self.state.verb(), self.service, self.host)
    }

    async fn precheck(&self, _cx: &Context) -> Result<Vec<Finding>, Failure> {
        Ok(vec![Finding::cannot_be_checked(format!(
            "{} on {} is known when the host is ready",
            self.service, self.host
        ))])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let job = look(cx, &self.host, None).await?;
        if let Some(JobState::Running { since }) = job {
            return Ok(running(&self.host, &cx.job(None), since));
        }
        let (active, enabled) = self.state(cx).await?;
        let acted = matches!(job, Some(JobState::Exited { status: 0, .. }));
        let right = self.as_wanted(&active, &enabled);
        Ok(if right && (acted || !self.state.once()) {
            Observation::Done
        } else {
            Observation::Absent
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let host = cx.host(&self.host)?;
        let enabled = match self.enabled {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let script = Script::new(ACT)
            .value("UNIT", &self.service)
            .value("VERB", self.state.verb())
            .value("ENABLED", enabled);
        carry(cx, &host, None, &script, Self::TIMEOUT).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        // A service that falls over at once is active for a moment: two looks in a row must agree.
        let first = self.state(cx).await?;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let (active, enabled) = self.state(cx).await?;
        if !self.as_wanted(&first.0, &first.1) || !self.as_wanted(&active, &enabled) {
            let words = format!(
                "{} on {} is {active} and {enabled}",
                self.service, self.host
            );
            return Err(Failure::new(Reason::Verify, words).hint(format!(
                "dr-plan ssh {} {}",
                cx.run.short(),
                self.host
            )));
        }
        Ok(Verified::seen(
            format!("{} on {}", self.service, self.host),
            format!("{active}, {enabled}"),
        ))
    }

    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }

    async fn undo(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        Err(Failure::new(
            Reason::Refused,
            format!("how {} was before is not known", self.service),
        ))
    }
}
