//! `firewall.apply`: the rules before servers, as a whole. The firewall is told by a mark of ours and stays from run to
//! run; one that somebody else has made under the same name, or changed meanwhile, is left alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::host_server::{HostServer, server_account};
use super::{Action, Bind, Context, Target, Verb, Verified};
use crate::kind::{
    Effect, Evidence, Failure, Finding, Mode, Observation, Output, Reason, Resource, Undo,
};
use crate::problem::Problem;
use crate::provider::firewall::{Direction, Firewall, Rule, normal, plain_network};
use crate::provider::{Provider, reconcile};
use crate::yaml::Node;

/// How long a firewall may stay invisible after a request whose answer was lost.
const SETTLE: Duration = Duration::from_secs(60);

/// What the API takes.
const MOST_RULES: usize = 50;

/// Arguments of `firewall.apply`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirewallApply {
    /// The provider file of the servers' account.
    account: String,
    /// Its name there. A later run with the same name changes the same one.
    name: String,
    /// The hosts it stands before: of the inventory, or the `host` of steps that make servers.
    hosts: Vec<String>,
    /// All that is let through. Others may be before the servers too: theirs adds to it.
    rules: Vec<RuleText>,
    #[serde(skip)]
    bound: (Vec<Rule>, Vec<HostServer>),
}

/// One rule.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RuleText {
    /// `in` (the default) or `out`.
    #[serde(default = "inward")]
    direction: DirectionText,
    /// `tcp` (the default), `udp` or `icmp`.
    #[serde(default = "tcp")]
    protocol: Protocol,
    /// `443`, `80-85` or `any`; for tcp and udp.
    port: Option<Port>,
    /// in: networks or addresses that may come.
    #[serde(default)]
    from: Vec<String>,
    /// out: networks or addresses that may be reached.
    #[serde(default)]
    to: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DirectionText {
    In,
    Out,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

/// A number or a text. Untagged does no harm: the shape is checked, with places, before it is decoded.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Port {
    One(u16),
    Range(String),
}

fn inward() -> DirectionText {
    DirectionText::In
}

fn tcp() -> Protocol {
    Protocol::Tcp
}

impl RuleText {
    /// The rule, or what is wrong with it.
    fn rule(&self) -> Result<Rule, String> {
        let (direction, networks, other) = match self.direction {
            DirectionText::In => (Direction::In, &self.from, (&self.to, "to", "from")),
            DirectionText::Out => (Direction::Out, &self.to, (&self.from, "from", "to")),
        };
        if !other.0.is_empty() {
            return Err(format!(
                "`{}` belongs to the other direction; here it is `{}`",
                other.1, other.2
            ));
        }
        if networks.is_empty() {
            return Err(format!(
                "`{}` names nobody; everybody is [0.0.0.0/0, \"::/0\"]",
                other.2
            ));
        }
        let networks = networks
            .iter()
            .map(|text| plain_network(text))
            .collect::<Result<Vec<_>, _>>()?;
        let port = match (self.protocol, &self.port) {
            (Protocol::Icmp, None) => None,
            (Protocol::Icmp, Some(_)) => return Err("icmp has no ports".into()),
            (_, None) => return Err("a rule for tcp or udp needs a `port`".into()),
            (_, Some(port)) => Some(port.text()?),
        };
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
        };
        Ok(Rule {
            direction,
            protocol: protocol.into(),
            port,
            networks,
        })
    }
}

impl Port {
    fn text(&self) -> Result<String, String> {
        let text = match self {
            Port::One(port) => port.to_string(),
            Port::Range(text) => text.trim().to_string(),
        };
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let sound = match text.split_once('-') {
            _ if text == "any" => true,
            Some((first, last)) => {
                matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
            }
            None => number(&text).is_some(),
        };
        match sound {
            true => Ok(text),
            false => Err(format!("`{text}` is no port: write 443, 80-85 or any")),
        }
    }
}

/// Whether a rule lets SSH in.
fn lets_in(rule: &Rule, port: u16) -> bool {
    let within = |text: &String| match text.split_once('-') {
        _ if text == "any" => true,
        Some((first, last)) => {
            first.parse().is_ok_and(|first: u16| first <= port)
                && last.parse().is_ok_and(|last: u16| port <= last)
        }
        None => text.parse() == Ok(port),
    };
    rule.direction == Direction::In
        && rule.protocol == "tcp"
        && rule.port.as_ref().is_some_and(within)
}

impl Verb for FirewallApply {
    const NAME: &'static str = "firewall.apply";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::RestorePrevious;
    const SUMMARY: &'static str =
        "Puts a firewall with just these rules before servers, at their provider.";
    const TIMEOUT: Duration = Duration::from_secs(600);

    fn sample(&self) -> Output {
        [("firewall".to_string(), "1".into())].into_iter().collect()
    }

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(server_account(&self.account, args, bind).err());
        if crate::ids::StepId::new(&self.name).is_err() {
            let words = format!(
                "`{}` cannot be its name: lower-case letters, digits, `-` and `_`",
                self.name
            );
            problems.push(Problem::error("bad-name", args.place_of("name"), words));
        }
        if self.hosts.is_empty() {
            let words = "it would stand before nobody";
            problems.push(Problem::error("no-hosts", args.place_of("hosts"), words));
        }
        for host in &self.hosts {
            match HostServer::bind(host, &self.account, (args, "hosts"), bind) {
                Ok(host) => self.bound.1.push(host),
                Err(problem) => problems.push(problem),
            }
        }
        let places = args.get("rules").map(Node::items).unwrap_or_default();
        for (at, rule) in self.rules.iter().enumerate() {
            let place = places
                .get(at)
                .map_or_else(|| args.place_of("rules"), |node| &node.place);
            match rule.rule() {
                Ok(rule) => self.bound.0.push(rule),
                Err(why) => problems.push(Problem::error("bad-rule", place, why)),
            }
        }
        self.bound.0 = normal(std::mem::take(&mut self.bound.0));
        if self.bound.0.len() > MOST_RULES {
            let words = format!("{} rules are more than {MOST_RULES}", self.bound.0.len());
            problems.push(Problem::error("many-rules", args.place_of("rules"), words));
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

impl FirewallApply {
    fn provider(&self, cx: &Context) -> Result<Arc<dyn Provider>, Failure> {
        cx.services.provider(&self.account)
    }

    /// Runs with the same name change the same firewall. A drill makes one of its own: it must not change that of the estate.
    fn named(&self, cx: &Context) -> String {
        match cx.mode {
            Mode::Drill => format!("{}-drill-{}", self.name, cx.run.short()),
            _ => self.name.clone(),
        }
    }

    /// Ours, if there is one. A stranger of that name, or two of ours, is a failure in words.
    async fn ours(
        &self,
        cx: &Context,
        provider: &dyn Provider,
    ) -> Result<Result<Option<Firewall>, String>, Failure> {
        let found = provider.firewalls()?.named(&self.named(cx)).await?;
        let (ours, strangers): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.ours);
        Ok(match (ours.as_slice(), strangers.as_slice()) {
            ([], []) => Ok(None),
            ([one], _) => Ok(Some(one.clone())),
            ([], [stranger, ..]) => Err(format!(
                "a firewall `{}` ({}) exists at {}, and dr-plan did not make it",
                self.name, stranger.id, self.account
            )),
            (many, _) => Err(format!(
                "{} firewalls at {} carry our mark for `{}`",
                many.len(),
                self.account,
                self.name
            )),
        })
    }

    /// As it was when this run looked first: the outer `None` before that, the inner one when there was none.
    fn noted_before(cx: &Context) -> Option<Option<Firewall>> {
        cx.noted("before")
            .and_then(|value| serde_json::from_value(value).ok())
    }

    async fn note_before(cx: &Context, now: &Option<Firewall>) -> Result<(), Failure> {
        if Self::noted_before(cx).is_some() {
            return Ok(());
        }
        let value = serde_json::to_value(now).map_err(|error| {
            Failure::from_error(Reason::Other, "noting the firewall as it was", &error)
        })?;
        cx.note("before", value).await
    }

    async fn servers(&self, cx: &Context) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::new();
        for host in &self.bound.1 {
            ids.push(host.find(cx).await?.1.id);
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }

    fn resource(&self, firewall: &Firewall) -> Resource {
        Resource {
            kind: "firewall".into(),
            account: self.account.clone(),
            id: firewall.id.clone(),
            name: firewall.name.clone(),
        }
    }
}

#[async_trait]
impl Action for FirewallApply {
    fn title(&self) -> String {
        format!("firewall {} before {}", self.name, self.hosts.join(", "))
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let provider = self.provider(cx)?;
        let now = match self.ours(cx, &*provider).await? {
            Ok(now) => now,
            Err(words) => return Err(Failure::new(Reason::Refused, words)),
        };
        Self::note_before(cx, &now).await?;
        let mut findings = vec![Finding::verified(match &now {
            Some(now) if now.rules == self.bound.0 => {
                format!(
                    "firewall `{}` ({}) has these rules already",
                    self.name, now.id
                )
            }
            Some(now) => format!(
                "firewall `{}` ({}) has {} rules and will have these {}",
                self.name,
                now.id,
                now.rules.len(),
                self.bound.0.len()
            ),
            None => format!("firewall `{}` does not exist yet", self.name),
        })];
        let port = cx.services.inventory.ssh.port;
        if !self.bound.0.iter().any(|rule| lets_in(rule, port)) {
            findings.push(Finding::warning(format!(
                "no rule lets tcp {port} in: unless another firewall does, nobody gets in by SSH, this run neither"
            )));
        }
        for host in &self.bound.1 {
            if host.is_there(cx) {
                host.find(cx).await?;
            } else {
                let words = format!("{}: it is made by this run", host.host);
                findings.push(Finding::cannot_be_checked(words));
            }
        }
        Ok(findings)
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let provider = self.provider(cx)?;
        let now = match self.ours(cx, &*provider).await? {
            Ok(now) => now,
            Err(what) => {
                let hint = Some(format!("rename or delete it at {}", self.account));
                return Ok(Observation::Foreign { what, hint });
            }
        };
        let before = Self::noted_before(cx).flatten();
        let Some(now) = now else {
            return Ok(Observation::Absent);
        };
        let missing: Vec<String> = {
            let servers = self.servers(cx).await?;
            let out = servers.into_iter().filter(|id| !now.servers.contains(id));
            out.collect()
        };
        let right = now.rules == self.bound.0;
        if let Some(before) = &before
            && !right
            && now.rules != before.rules
        {
            return Ok(Observation::Foreign {
                what: format!(
                    "the rules of firewall `{}` ({}) were changed since this run looked first",
                    self.name, now.id
                ),
                hint: Some(format!(
                    "somebody else is at work on it: find out who. Then set the rules back and `dr-plan resume {run}`; or leave \
                     them: `dr-plan mark {run} {} --skip --because WHY`",
                    cx.step,
                    run = cx.run.short()
                )),
            });
        }
        Ok(match (right, missing.len()) {
            (true, 0) => Observation::Done,
            (false, _) if before.is_some() => Observation::Absent,
            (_, missing) => Observation::Partial {
                what: format!("it exists; {missing} servers lack it"),
            },
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let provider = self.provider(cx)?;
        let servers = self.servers(cx).await?;
        let now = self
            .ours(cx, &*provider)
            .await?
            .map_err(|words| Failure::new(Reason::Refused, words))?;
        Self::note_before(cx, &now).await?;
        let firewalls = provider.firewalls()?;
        let firewall = match now {
            Some(now) => now,
            None => {
                let rules = &self.bound.0;
                let name = self.named(cx);
                let made = reconcile::firewall_once(&*provider, &name, rules, SETTLE).await?;
                if made.adopted {
                    cx.log("the answer was lost, and the firewall was found by its mark");
                }
                if !made.extras.is_empty() {
                    let words = format!("{} firewalls answer for it", made.extras.len() + 1);
                    return Err(Failure::new(Reason::Unknown, words));
                }
                made.it
            }
        };
        // Made by this run, also by an attempt that did not live to say so.
        if Self::noted_before(cx) == Some(None) {
            cx.made(self.resource(&firewall)).await?;
        }
        cx.note("firewall", firewall.id.clone()).await?;
        if firewall.rules != self.bound.0 {
            firewalls.set_rules(&firewall.id, &self.bound.0).await?;
        }
        let missing: Vec<String> = servers
            .into_iter()
            .filter(|id| !firewall.servers.contains(id))
            .collect();
        if !missing.is_empty() {
            firewalls.apply(&firewall.id, &missing, true).await?;
        }
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let wrong = |words: String| Err(Failure::new(Reason::Verify, words));
        let provider = self.provider(cx)?;
        let now = match self.ours(cx, &*provider).await? {
            Ok(Some(now)) => now,
            Ok(None) => return wrong(format!("there is no firewall `{}`", self.name)),
            Err(words) => return wrong(words),
        };
        if now.rules != self.bound.0 {
            return wrong(format!("firewall {} has other rules", now.id));
        }
        let servers = self.servers(cx).await?;
        if let Some(missing) = servers.iter().find(|id| !now.servers.contains(id)) {
            return wrong(format!(
                "firewall {} is not before server {missing}",
                now.id
            ));
        }
        let seen = Verified::seen(
            format!("firewall `{}` ({}) at {}", self.name, now.id, self.account),
            format!(
                "{} rules, before {}",
                now.rules.len(),
                self.hosts.join(", ")
            ),
        );
        Ok(seen.with("firewall", now.id))
    }

    fn target(&self) -> Target {
        Target::Hosts(self.hosts.clone())
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let (Some(before), Some(id)) = (Self::noted_before(cx), cx.noted_text("firewall")) else {
            return Ok(Vec::new());
        };
        let provider = self.provider(cx)?;
        let firewalls = provider.firewalls()?;
        let now = self
            .ours(cx, &*provider)
            .await?
            .map_err(|words| Failure::new(Reason::Refused, words))?;
        let what = format!("firewall `{}`", self.name);
        let Some(now) = now.filter(|now| now.id == id) else {
            return Ok(vec![Evidence::new(what, "is gone already")]);
        };
        if now.rules != self.bound.0 && before.as_ref().is_none_or(|old| now.rules != old.rules) {
            let words = format!("the rules of {what} are not what this run set: left alone");
            return Err(Failure::new(Reason::Refused, words));
        }
        let stood = before.as_ref().map_or(&[][..], |before| &before.servers);
        // A server that is gone has taken its place before it along.
        let ours = self
            .servers(cx)
            .await
            .unwrap_or_else(|_| now.servers.clone());
        let added: Vec<String> = now
            .servers
            .iter()
            .filter(|id| ours.contains(id) && !stood.contains(id))
            .cloned()
            .collect();
        let others = now.servers.iter().filter(|id| !added.contains(id)).count();
        if before.is_none() && others > 0 {
            let words = format!(
                "{what} stands before {others} servers that this run did not name: left alone"
            );
            return Err(Failure::new(Reason::Refused, words));
        }
        if !added.is_empty() {
            firewalls.apply(&now.id, &added, false).await?;
        }
        match before {
            Some(before) => {
                firewalls.set_rules(&now.id, &before.rules).await?;
                let words = format!("has its {} rules again", before.rules.len());
                Ok(vec![Evidence::new(what, words)])
            }
            None => {
                firewalls.delete(&now.id).await?;
                let proof = format!("GET of {} answers 404", now.id);
                cx.gone(self.resource(&now), &proof).await?;
                Ok(vec![Evidence::new(what, proof)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(yaml: &str) -> Result<Rule, String> {
        let text: RuleText = serde_json::from_str(yaml).unwrap();
        text.rule()
    }

    #[test]
    fn a_rule_that_would_not_mean_what_it_says_is_refused() {
        for (text, why) in [
            (r#"{"port": 22}"#, "names nobody"),
            (r#"{"port": 22, "to": ["::/0"]}"#, "other direction"),
            (r#"{"from": ["::/0"]}"#, "needs a `port`"),
            (
                r#"{"protocol": "icmp", "port": 1, "from": ["::/0"]}"#,
                "no ports",
            ),
            (r#"{"port": "85-80", "from": ["::/0"]}"#, "is no port"),
            (r#"{"port": 0, "from": ["::/0"]}"#, "is no port"),
            (
                r#"{"port": 22, "from": ["10.0.0.1/8"]}"#,
                "within 10.0.0.0/8",
            ),
        ] {
            let said = rule(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn what_lets_ssh_in_is_known() {
        for (text, lets) in [
            (r#"{"port": 22, "from": ["::/0"]}"#, true),
            (r#"{"port": "20-30", "from": ["192.0.2.1"]}"#, true),
            (r#"{"port": "any", "from": ["::/0"]}"#, true),
            (r#"{"port": 443, "from": ["::/0"]}"#, false),
            (
                r#"{"port": 22, "protocol": "udp", "from": ["::/0"]}"#,
                false,
            ),
            (r#"{"port": 22, "direction": "out", "to": ["::/0"]}"#, false),
        ] {
            assert_eq!(lets_in(&rule(text).unwrap(), 22), lets, "{text}");
        }
    }
}
