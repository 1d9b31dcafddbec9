//! `ip.assign`: moves users by moving the address that they come by. Who had it before is noted before it is lost, and
//! an address that somebody else has moved meanwhile is left alone.
//!
//! The provider sends the packets; the machine takes them only if it has the address on an interface. What it answers
//! there is asked by `verify:`, with a check of the address itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::gate::Gate;
use super::host_server::{HostServer, server_account};
use super::{Action, Asked, Bind, Context, Move, MovedTo, Target, Verb, Verified};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Output, Reason, Undo};
use crate::problem::Problem;
use crate::provider::Provider;
use crate::provider::address::{Address, Moved};
use crate::yaml::Node;

/// Arguments of `ip.assign`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IpAssign {
    /// The provider file of the account that has the address.
    account: String,
    /// The address: a floating IP of that account.
    address: String,
    /// The host that gets it: one of the inventory, or the `host` of a step that makes a server.
    host: String,
    /// What the host's own address must answer right before the move.
    gate: Gate,
    /// Why there is no gate.
    because: Option<String>,
    #[serde(skip)]
    bound: Option<(IpAddr, HostServer)>,
}

impl Verb for IpAssign {
    const NAME: &'static str = "ip.assign";
    const EFFECT: Effect = Effect::Traffic;
    const UNDO: Undo = Undo::RestorePrevious;
    const SUMMARY: &'static str = "Moves a floating IP to a server, compared before it is moved.";
    const TIMEOUT: Duration = Duration::from_secs(600);

    fn sample(&self) -> Output {
        let address = serde_json::Value::from(self.address.as_str());
        [("address".to_string(), address)].into_iter().collect()
    }

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(server_account(&self.account, args, bind).err());
        let ip = self.address.parse::<IpAddr>();
        if ip.is_err() {
            let words = format!("`{}` is not an IP address", self.address);
            problems.push(Problem::error(
                "bad-address",
                args.place_of("address"),
                words,
            ));
        }
        problems.extend(self.gate.check(self.because.as_deref(), args, bind));
        if self.gate.at() == Some(&self.address) {
            let place = args.get("gate").unwrap_or(args).place_of("at");
            let words = "before the move this address leads to the old server: ask the host's own";
            problems.push(Problem::error("gate-elsewhere", place, words));
        }
        match HostServer::bind(&self.host, &self.account, (args, "host"), bind) {
            Ok(host) => self.bound = ip.ok().map(|ip| (ip, host)),
            Err(problem) => problems.push(problem),
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

impl IpAssign {
    fn bound(&self) -> &(IpAddr, HostServer) {
        self.bound.as_ref().expect("bind filled it in")
    }

    async fn look(&self, cx: &Context) -> Result<(Arc<dyn Provider>, Address), Failure> {
        let provider = cx.services.standing(&self.account)?;
        let found = provider.addresses()?.by_ip(self.bound().0).await?;
        let address = found.ok_or_else(|| {
            let words = format!("{} has no floating IP {}", self.account, self.address);
            Failure::new(Reason::NotFound, words)
                .hint("only floating IPs move; a primary IP stays at its location")
        })?;
        Ok((provider, address))
    }

    /// Who had it when this run looked first: a server's id, or nobody.
    fn noted_old(cx: &Context) -> Option<Option<String>> {
        cx.noted("old")
            .map(|value| value.as_str().map(str::to_string))
    }

    async fn note_old(cx: &Context, address: &Address) -> Result<Option<String>, Failure> {
        if let Some(old) = Self::noted_old(cx) {
            return Ok(old);
        }
        cx.note("old", serde_json::Value::from(address.server.clone()))
            .await?;
        Ok(address.server.clone())
    }
}

fn words(server: Option<&str>) -> String {
    server.map_or("nobody".into(), |id| format!("server {id}"))
}

#[async_trait]
impl Action for IpAssign {
    fn title(&self) -> String {
        format!("{} -> {}", self.address, self.host)
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        self.gate.files()
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let (provider, address) = self.look(cx).await?;
        // From here on it is watched: what somebody changes meanwhile has a reason that this run does not know.
        Self::note_old(cx, &address).await?;
        let mut findings = vec![Finding::verified(format!(
            "{} (`{}`, {}) belongs to {} now",
            self.address,
            address.name,
            address.region,
            words(address.server.as_deref())
        ))];
        let host = &self.bound().1;
        if host.is_there(cx) {
            let (_, server) = host.find(cx).await?;
            let addresses = provider.addresses()?;
            if !addresses.reaches(&address, &server.region).await? {
                let words = format!(
                    "{} belongs to {} and cannot reach {} in {}",
                    self.address, address.region, server.name, server.region
                );
                return Err(Failure::new(Reason::Refused, words)
                    .hint("a floating IP moves within its network zone only; move a name with `dns.switch` instead"));
            }
        } else {
            findings.push(Finding::cannot_be_checked(format!(
                "whether {} can have it: it is made by this run",
                self.host
            )));
        }
        findings.push(Finding::assumed(format!(
            "{} has {} on an interface; what it answers there, a check under `verify:` can ask",
            self.host, self.address
        )));
        Ok(findings)
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let (_, address) = self.look(cx).await?;
        let (_, server) = self.bound().1.find(cx).await?;
        if address.server.as_deref() == Some(&server.id) {
            return Ok(Observation::Done);
        }
        Ok(match Self::noted_old(cx) {
            Some(old) if old != address.server => Observation::Foreign {
                what: format!(
                    "{} belonged to {} when this run looked first, and belongs to {} now",
                    self.address,
                    words(old.as_deref()),
                    words(address.server.as_deref())
                ),
                hint: Some(format!(
                    "somebody else moved it: find out who. Then put it back and `dr-plan resume {run}`; or leave it: `dr-plan \
                     mark {run} {} --skip --because WHY`",
                    cx.step,
                    run = cx.run.short()
                )),
            },
            _ => Observation::Absent,
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let (provider, address) = self.look(cx).await?;
        let (_, server) = self.bound().1.find(cx).await?;
        let old = Self::note_old(cx, &address).await?;
        let passed = self.gate.pass(self.because.as_deref(), cx).await?;
        let passed = format!("{}: {}", passed.what, passed.saw);
        cx.log(&passed);
        cx.note_words("gate", &passed).await?;
        cx.note("server", server.id.clone()).await?;
        let addresses = provider.addresses()?;
        let ip = self.bound().0;
        match addresses
            .assign(ip, old.as_deref(), Some(&server.id))
            .await?
        {
            Moved::Done => Ok(()),
            Moved::Differs(now) => Err(left_alone(&self.address, now.as_deref())),
        }
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let (_, address) = self.look(cx).await?;
        let (_, server) = self.bound().1.find(cx).await?;
        if address.server.as_deref() != Some(&server.id) {
            let words = format!(
                "{} belongs to {}, not to {} ({})",
                self.address,
                words(address.server.as_deref()),
                server.name,
                server.id
            );
            return Err(Failure::new(Reason::Verify, words));
        }
        let mut seen = Verified::default();
        if let Some(gate) = cx.noted_text("gate") {
            seen = seen.and("before the move", gate);
        }
        seen = seen.and(
            format!("{} at {}", self.address, self.account),
            format!("assigned to {} ({})", server.name, server.id),
        );
        let before = Self::noted_old(cx).flatten();
        Ok(seen
            .and("it belonged to", words(before.as_deref()))
            .with("address", self.address.clone()))
    }

    fn target(&self) -> Target {
        Target::Estate
    }

    fn decides(&self) -> Vec<Asked> {
        self.gate.asks()
    }

    fn moves(&self) -> Vec<Move> {
        vec![Move {
            what: self.address.clone(),
            to: MovedTo::Host(self.host.clone()),
        }]
    }

    /// The address stays where it is; the gate only asks, and asks the new side.
    async fn probe(&self, cx: &Context) -> Result<Verified, Failure> {
        let (_, address) = self.look(cx).await?;
        let passed = self.gate.pass(self.because.as_deref(), cx).await?;
        let seen = Verified::seen(
            self.address.clone(),
            format!(
                "only looked: belongs to {}; a failover would move it to {}",
                words(address.server.as_deref()),
                self.host
            ),
        );
        Ok(seen.and(passed.what, passed.saw))
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let (Some(old), Some(ours)) = (Self::noted_old(cx), cx.noted_text("server")) else {
            return Ok(Vec::new());
        };
        let (provider, _) = self.look(cx).await?;
        // Who had it may be gone by now; then it goes to nobody, and is not left where the run put it.
        let back = match &old {
            Some(id) => provider.get(id).await?.map(|server| server.id),
            None => None,
        };
        let addresses = provider.addresses()?;
        let moved = addresses
            .assign(self.bound().0, Some(&ours), back.as_deref())
            .await?;
        match moved {
            Moved::Differs(now) if now != old => Err(left_alone(&self.address, now.as_deref())),
            _ => Ok(vec![Evidence::new(
                self.address.clone(),
                match (&old, &back) {
                    (Some(gone), None) => {
                        format!("taken away; server {gone}, which had it, is gone")
                    }
                    _ => format!("belongs to {} again", words(back.as_deref())),
                },
            )]),
        }
    }
}

fn left_alone(address: &str, now: Option<&str>) -> Failure {
    let words = format!(
        "{address} came to {} meanwhile: it was left there",
        words(now)
    );
    Failure::new(Reason::Refused, words).hint("somebody else is moving this address")
}
