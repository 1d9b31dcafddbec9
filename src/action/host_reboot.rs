//! `host.reboot`: a host starts anew. Every start has an id of its own (random(4), `boot_id`): the id of before is noted, and
//! another one proves that it has happened, also to a process that did not see it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Bind, Context, Verb, Verified, host_named};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Undo};
use crate::problem::Problem;
use crate::transport::{JobState, Script, Transport, TransportError};
use crate::yaml::Node;

/// Arguments of `host.reboot`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostReboot {
    /// Where.
    host: String,
    #[serde(skip)]
    patience: Option<Duration>,
}

impl Verb for HostReboot {
    const NAME: &'static str = "host.reboot";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::ForwardOnly;
    const ADOPTS: &'static [&'static str] = &["boot"];
    const SUMMARY: &'static str = "Restarts a host, proved by another boot that is up.";
    const TIMEOUT: Duration = Duration::from_secs(900);
    const TAKES: Duration = Duration::from_secs(45);

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        host_named(&self.host, args, "host", bind).map_err(|problem| vec![problem])?;
        self.patience = bind.timeout;
        Ok(Box::new(self))
    }
}

/// Which boot it is, and how far it has come (systemctl(1), is-system-running).
const LOOK: &str = r#"
read -r boot </proc/sys/kernel/random/boot_id
state=$(systemctl is-system-running 2>/dev/null) || true
echo "$boot ${state:-unknown}"
"#;

/// Only if it is still the boot that was noted: whoever says it twice must not restart the host twice. The wait lets the answer
/// get out; a job has a session of its own and is not ended by the end of the connection.
const REBOOT: &str = r#"
read -r boot </proc/sys/kernel/random/boot_id
[ "$boot" = "$DR_BOOT" ] || { echo "it has started anew already"; exit 0; }
sync
sleep 0.2
systemctl reboot || shutdown -r now
# The end comes from outside.
sleep 600
"#;

/// A boot as the host tells it.
struct Boot {
    id: String,
    state: String,
}

impl HostReboot {
    async fn boot(&self, host: &dyn Transport) -> Result<Boot, Failure> {
        let answer = match host
            .leashed(&Script::new(LOOK).ours(), Duration::from_secs(15))
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                // A connection to the boot of before would be waited for until its own deadline.
                host.disconnect().await;
                // Logins are refused while a host goes down and while it comes up (pam_nologin(8)).
                let passes = matches!(
                    error,
                    TransportError::Denied { .. } | TransportError::Timeout { .. }
                );
                let failure = Failure::from(error);
                return Err(match passes {
                    true => Failure {
                        reason: Reason::Unreachable,
                        ..failure
                    },
                    false => failure,
                });
            }
        };
        match answer.stdout.trim().split_once(' ') {
            Some((id, state)) if answer.ok() => Ok(Boot {
                id: id.to_string(),
                state: state.to_string(),
            }),
            _ => Err(Failure::new(
                Reason::Other,
                format!("asking {} for its boot: {}", self.host, answer.said()),
            )),
        }
    }

    fn is_up(boot: &Boot) -> bool {
        matches!(boot.state.as_str(), "running" | "degraded")
    }

    /// The host that runs on has said that it will not go down.
    async fn refused(&self, cx: &Context) -> Result<(), Failure> {
        let Ok(host) = cx.host(&self.host) else {
            return Ok(());
        };
        match host.look(&cx.job(None)).await {
            Ok(JobState::Exited { status, .. }) if status != 0 => {
                let log = host.read_log(&cx.job(None), 0).await.unwrap_or_default();
                let words = format!(
                    "{} does not restart: status {status}: {}",
                    self.host,
                    log.text.trim()
                );
                Err(Failure::new(Reason::ExitCode, words))
            }
            _ => Ok(()),
        }
    }

    /// Waits for another boot that is up, as long as there is time.
    async fn come_back(&self, cx: &Context, before: &str) -> Result<(), Failure> {
        let until = Instant::now() + self.patience.unwrap_or(Self::TIMEOUT);
        let mut wait = Duration::from_millis(200);
        let mut said = String::new();
        loop {
            let host = cx.host(&self.host)?;
            let failure = match self.boot(&*host).await {
                Ok(boot) if boot.id != before && Self::is_up(&boot) => return Ok(()),
                Ok(boot) if boot.id != before => {
                    let words = format!("{} has started and is {}", self.host, boot.state);
                    Failure::new(Reason::Timeout, words)
                }
                Ok(_) => {
                    self.refused(cx).await?;
                    Failure::new(
                        Reason::Timeout,
                        format!("{} has not gone down yet", self.host),
                    )
                }
                Err(failure) if failure.reason == Reason::Unreachable => failure,
                Err(failure) => return Err(failure),
            };
            if Instant::now() + wait > until {
                return Err(failure);
            }
            if failure.message != said {
                cx.log(failure.message.clone());
                said = failure.message;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 3 / 2).min(Duration::from_secs(3));
        }
    }
}

#[async_trait]
impl Action for HostReboot {
    fn title(&self) -> String {
        format!("reboot of {}", self.host)
    }

    async fn precheck(&self, _cx: &Context) -> Result<Vec<Finding>, Failure> {
        Ok(vec![Finding::cannot_be_checked(format!(
            "whether {} comes up again is known when it has",
            self.host
        ))])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let Some(before) = cx.noted_text("boot") else {
            return Ok(Observation::Absent);
        };
        let boot = self.boot(&*cx.host(&self.host)?).await?;
        Ok(if boot.id == before {
            Observation::Partial {
                what: format!("{} was to be restarted and runs on", self.host),
            }
        } else if Self::is_up(&boot) {
            Observation::Done
        } else {
            Observation::Partial {
                what: format!("{} has started anew and is {}", self.host, boot.state),
            }
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let host = cx.host(&self.host)?;
        let before = match cx.noted_text("boot") {
            Some(before) => before,
            None => {
                let boot = self.boot(&*host).await?;
                cx.note("boot", boot.id.clone()).await?;
                boot.id
            }
        };
        let script = Script::new(REBOOT).value("BOOT", &before);
        match host
            .start(&cx.job(None), &script, Duration::from_secs(900))
            .await
        {
            Ok(()) => {}
            // The answer may have been lost because it worked; the next look tells.
            Err(TransportError::Lost { .. } | TransportError::Timeout { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.come_back(cx, &before).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let before = cx.noted_text("boot").unwrap_or_default();
        let boot = self.boot(&*cx.host(&self.host)?).await?;
        if before.is_empty() || boot.id == before || !Self::is_up(&boot) {
            let words = format!(
                "{} is {} in the boot {}, and was in {before} before",
                self.host, boot.state, boot.id
            );
            return Err(Failure::new(Reason::Verify, words));
        }
        let short = |id: &str| id.chars().take(8).collect::<String>();
        Ok(Verified::seen(
            format!("{} has started anew", self.host),
            format!(
                "{}: boot {} after {}",
                boot.state,
                short(&boot.id),
                short(&before)
            ),
        ))
    }

    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }

    async fn undo(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        Ok(vec![Evidence::new(
            "a reboot",
            "leaves nothing to take back",
        )])
    }
}
