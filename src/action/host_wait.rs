//! `host.wait`: waits until something holds on a host: a port listens, a path is there, a service is active, the first boot
//! has ended. It asks the host itself, so it needs no way through a firewall.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Bind, Context, Look, Verb, Verified, host_named};
use crate::kind::{Effect, Failure, Reason, Undo};
use crate::problem::Problem;
use crate::transport::{Script, TransportError};
use crate::yaml::Node;

/// Arguments of `host.wait`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostWait {
    /// Where.
    host: String,
    /// What is waited for.
    r#for: Awaited,
    /// `true`: until it does not hold any more.
    #[serde(default)]
    gone: bool,
}

/// Something that holds on a host, or not.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Awaited {
    /// A TCP port on which something listens, on any of the host's addresses.
    Port(u16),
    /// An absolute path that is there.
    Path(String),
    /// A unit that is active.
    Service(String),
    /// The host has started: `boot`, all units that start with it; `cloud-init`, its first boot is over.
    System(Started),
}

/// How far a start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum Started {
    #[serde(rename = "boot")]
    Boot,
    #[serde(rename = "cloud-init")]
    CloudInit,
}

/// Says `yes` or `no` and a few words. Sockets that listen are in state 0A (proc(5), /proc/net/tcp).
const LOOK: &str = r#"
case $DR_WHAT in
  port)
    hex=$(printf '%04X' "$DR_VALUE")
    if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v end=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == end { found = 1 } END { exit !found }'
    then echo "yes something listens"; else echo "no nothing listens"; fi ;;
  path)
    if [ -e "$DR_VALUE" ] || [ -L "$DR_VALUE" ]; then echo "yes it is there"; else echo "no it is not there"; fi ;;
  service)
    state=$(systemctl is-active "$DR_VALUE" 2>/dev/null) || true
    if [ "$state" = active ]; then echo "yes active"; else echo "no ${state:-unknown}"; fi ;;
  boot)
    state=$(systemctl is-system-running 2>/dev/null) || true
    case $state in running | degraded) echo "yes $state" ;; *) echo "no ${state:-unknown}" ;; esac ;;
  cloud-init)
    if ! command -v cloud-init >/dev/null; then echo "yes it has no cloud-init"
    elif [ -e /var/lib/cloud/instance/boot-finished ]; then
      state=$(cloud-init status 2>/dev/null | sed -n 's/^status: //p') || true
      case $state in done | disabled | degraded*) echo "yes $state" ;; error*) echo "failed $state" ;; *) echo "no $state" ;; esac
    else echo "no its first boot is still at work"; fi ;;
esac
"#;

impl Verb for HostWait {
    const NAME: &'static str = "host.wait";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str =
        "Waits until a port, a path, a service or the start of a host is as wanted.";
    const TIMEOUT: Duration = Duration::from_secs(600);

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(host_named(&self.host, args, "host", bind).err());
        let wrong = match &self.r#for {
            Awaited::Port(0) => Some("0 is no port".to_string()),
            Awaited::Path(path) if !path.starts_with('/') => {
                Some(format!("`{path}` is not an absolute path"))
            }
            Awaited::Service(unit) if !super::host_service::is_unit(unit) => {
                Some(format!("`{unit}` is not the name of a unit"))
            }
            Awaited::System(_) if self.gone => Some("a start cannot be gone again".to_string()),
            _ => None,
        };
        if let Some(words) = wrong {
            problems.push(Problem::error("bad-wait", args.place_of("for"), words));
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

impl HostWait {
    fn asked(&self) -> (&'static str, String) {
        match &self.r#for {
            Awaited::Port(port) => ("port", port.to_string()),
            Awaited::Path(path) => ("path", path.clone()),
            Awaited::Service(unit) => ("service", unit.clone()),
            Awaited::System(Started::Boot) => ("boot", String::new()),
            Awaited::System(Started::CloudInit) => ("cloud-init", String::new()),
        }
    }
}

#[async_trait]
impl Look for HostWait {
    fn title(&self) -> String {
        let (what, value) = self.asked();
        let what = match what {
            "boot" => "the start".to_string(),
            "cloud-init" => "the first boot".to_string(),
            what => format!("{what} {value}"),
        };
        let until = if self.gone { ", until it is gone" } else { "" };
        format!("{what} of {}{until}", self.host)
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let (what, value) = self.asked();
        let script = Script::new(LOOK)
            .ours()
            .value("WHAT", what)
            .value("VALUE", value);
        let host = cx.host(&self.host)?;
        let answer = match host.leashed(&script, Duration::from_secs(60)).await {
            Ok(answer) => answer,
            Err(error) => {
                // Whoever waits for a start waits for the way in as well.
                if matches!(
                    error,
                    TransportError::Lost { .. } | TransportError::Timeout { .. }
                ) {
                    host.disconnect().await;
                }
                return Err(error.into());
            }
        };
        let title = Look::title(self);
        let said = answer.stdout.trim();
        match said.split_once(' ') {
            Some(("failed", saw)) => Err(Failure::new(
                Reason::ExitCode,
                format!("{title}: it ended as `{saw}`"),
            )
            .hint(format!("dr-plan ssh {} {}", cx.run.short(), self.host))),
            Some((holds, saw)) if answer.ok() => match (holds == "yes") != self.gone {
                true => Ok(Verified::seen(title, saw)),
                false => Err(Failure::new(Reason::Verify, format!("{title}: {saw}"))),
            },
            _ => Err(Failure::new(
                Reason::Other,
                format!("{title}: {}", answer.said()),
            )),
        }
    }
}
