//! `dns.switch`: moves users. The new address must first prove that it serves what was restored; the old record sets are
//! noted before they are lost; and a set that somebody else has changed meanwhile is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ask_dns;
use super::check_dns::answers;
use super::dns_names::{Wanted, account_of, wanted_records};
use super::gate::Gate;
use super::{Action, Asked, Bind, Context, Move, MovedTo, Verb, Verified, probed};
use crate::clock::Timestamp;
use crate::dns::{Dns, RecordSet, Swap, halfway};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// How long name servers may take to serve what their API has taken: up to 17 s were seen at big services.
const SERVED: Duration = Duration::from_secs(40);

/// Arguments of `dns.switch`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsSwitch {
    /// A domain of the inventory.
    domain: String,
    /// Relative name (`@` for the domain itself) to address.
    records: BTreeMap<String, String>,
    /// Seconds; the domain's own if nothing is said.
    ttl: Option<u32>,
    /// What the new address must answer right before the change.
    gate: Gate,
    /// Why there is no gate.
    because: Option<String>,
    #[serde(skip)]
    bound: Bound,
}

/// What binding found.
#[derive(Debug, Default)]
struct Bound {
    account: String,
    wanted: Vec<Wanted>,
    ttl: u32,
}

impl Verb for DnsSwitch {
    const NAME: &'static str = "dns.switch";
    const EFFECT: Effect = Effect::Traffic;
    const UNDO: Undo = Undo::RestorePrevious;
    const ADOPTS: &'static [&'static str] = &["old "];
    const SUMMARY: &'static str =
        "Points names at a new address, after a gate, compared before they are set.";
    const TIMEOUT: Duration = Duration::from_secs(300);

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        match account_of(&self.domain, args, bind) {
            Ok(account) => self.bound.account = account,
            Err(problem) => problems.push(problem),
        }
        match wanted_records(&self.domain, &self.records, args) {
            Ok(wanted) => self.bound.wanted = wanted,
            Err(more) => problems.extend(more),
        }
        self.bound.ttl = self
            .ttl
            .or_else(|| bind.inventory.domains.get(&self.domain).and_then(|d| d.ttl))
            .unwrap_or(60);
        let least = bind
            .accounts
            .get(&self.bound.account)
            .map_or(0, |account| account.kind.least_ttl());
        if self.bound.ttl < least {
            let place = args.place_of(if self.ttl.is_some() { "ttl" } else { "domain" });
            let words = format!(
                "a ttl of {}s is shorter than `{}` takes: the least is {least}s",
                self.bound.ttl, self.bound.account
            );
            problems.push(Problem::error("short-ttl", place, words));
        }
        let asked = self.gate.check(self.because.as_deref(), args, bind);
        let known = asked.is_empty();
        problems.extend(asked);
        if let (true, Some(at)) = (known, self.gate.at())
            && !self.bound.wanted.iter().any(|one| one.leads_to(at))
        {
            let place = args.get("gate").unwrap_or(args).place_of("at");
            let words = "the gate asks an address that no record will point to";
            problems.push(Problem::error("gate-elsewhere", place, words));
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

impl DnsSwitch {
    fn set(&self, wanted: &Wanted) -> RecordSet {
        RecordSet {
            name: wanted.name.clone(),
            kind: wanted.kind.to_string(),
            ttl: self.bound.ttl,
            values: wanted.values.clone(),
        }
    }

    fn key(wanted: &Wanted) -> String {
        format!("old {} {}", wanted.name, wanted.kind)
    }

    fn moved_key(wanted: &Wanted) -> String {
        format!("moved {} {}", wanted.name, wanted.kind)
    }

    fn moving_key(wanted: &Wanted) -> String {
        format!("moving {} {}", wanted.name, wanted.kind)
    }

    /// Whoever asked a moment before the change keeps the old answer for as long as it allowed (RFC 1035, 3.2.1).
    fn stale(&self, cx: &Context, wanted: &Wanted) -> Option<(String, Timestamp)> {
        let old = Self::noted_old(cx, wanted).flatten()?;
        let noted = |key: String| cx.noted_text(&key)?.parse::<Timestamp>().ok();
        // Who died between the change and the note of it knows only that it was not later than now.
        let moved = noted(Self::moved_key(wanted))
            .or_else(|| noted(Self::moving_key(wanted)).map(|_| cx.services.clock.now()))?;
        let until = moved + SignedDuration::from_secs(i64::from(old.ttl));
        let words = format!(
            "resolvers may still answer {} for {} {}",
            old.values.join(", "),
            old.name,
            old.kind
        );
        (old.values != wanted.values).then_some((words, until))
    }

    async fn note_old(
        cx: &Context,
        wanted: &Wanted,
        old: &Option<RecordSet>,
    ) -> Result<(), Failure> {
        let value = serde_json::to_value(old).map_err(|error| {
            Failure::from_error(Reason::Other, "noting the old records", &error)
        })?;
        cx.note(&Self::key(wanted), value).await
    }

    /// The set as it was before this run touched it.
    fn noted_old(cx: &Context, wanted: &Wanted) -> Option<Option<RecordSet>> {
        cx.noted(&Self::key(wanted))
            .and_then(|value| serde_json::from_value(value).ok())
    }
}

#[async_trait]
impl Action for DnsSwitch {
    fn title(&self) -> String {
        let moves: Vec<String> = self
            .bound
            .wanted
            .iter()
            .map(|wanted| format!("{} -> {}", wanted.name, wanted.values.join(", ")))
            .collect();
        moves.join(", ")
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        self.gate.files()
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let dns = cx.services.dns(&self.bound.account)?;
        let warned = dns.check_zone(&self.domain).await?;
        let mut findings = vec![Finding::verified(format!(
            "zone {} can be reached at {}",
            self.domain,
            dns.account()
        ))];
        findings.extend(warned.map(Finding::warning));
        for wanted in &self.bound.wanted {
            dns.check_set(&self.domain, &wanted.name, wanted.kind)
                .await?;
            let other = if wanted.kind == "A" { "AAAA" } else { "A" };
            if let Some(left) = dns.get(&self.domain, &wanted.name, other).await?
                && !self
                    .bound
                    .wanted
                    .iter()
                    .any(|also| also.name == wanted.name && also.kind == other)
            {
                findings.push(Finding::warning(format!(
                    "{} also has {other} {}: those users stay where they are",
                    wanted.name,
                    left.values.join(", ")
                )));
            }
            let old = dns.get(&self.domain, &wanted.name, wanted.kind).await?;
            // From here on the set is watched: hours may pass until its step's turn, and what somebody changes meanwhile
            // has a reason that this run does not know.
            if Self::noted_old(cx, wanted).is_none() {
                Self::note_old(cx, wanted, &old).await?;
            }
            match old {
                Some(old) => findings.push(Finding::verified(format!(
                    "{} {} is {} now; resolvers may keep that for {}s after the change",
                    old.name,
                    old.kind,
                    old.values.join(", "),
                    old.ttl
                ))),
                None => findings.push(Finding::verified(format!(
                    "{} {} does not exist yet",
                    wanted.name, wanted.kind
                ))),
            }
        }
        Ok(findings)
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let dns = cx.services.dns(&self.bound.account)?;
        let mut done = 0;
        for wanted in &self.bound.wanted {
            let now = dns.get(&self.domain, &wanted.name, wanted.kind).await?;
            let set = Some(self.set(wanted));
            if now == set {
                done += 1;
            } else if let Some(old) = Self::noted_old(cx, wanted)
                && now != old
                && !halfway(&now, &old, &set)
            {
                let words = |set: &Option<RecordSet>| {
                    set.as_ref()
                        .map_or("nothing".into(), |set| set.values.join(", "))
                };
                return Ok(Observation::Foreign {
                    what: format!(
                        "{} {} was {} when this run looked first and is {} now",
                        wanted.name,
                        wanted.kind,
                        words(&old),
                        words(&now)
                    ),
                    hint: Some(format!(
                        "somebody else moved it: find out who. Then set it back and `dr-plan resume {run}`; or set it to {} \
                         and resume; or leave it: `dr-plan mark {run} {} --skip --because WHY`",
                        wanted.values.join(", "),
                        cx.step,
                        run = cx.run.short(),
                    )),
                });
            }
        }
        Ok(match done {
            done if done == self.bound.wanted.len() => Observation::Done,
            0 => Observation::Absent,
            done => Observation::Partial {
                what: format!("{done} of {} names point to it", self.bound.wanted.len()),
            },
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let dns = cx.services.dns(&self.bound.account)?;
        for wanted in &self.bound.wanted {
            if Self::noted_old(cx, wanted).is_none() {
                let old = dns.get(&self.domain, &wanted.name, wanted.kind).await?;
                Self::note_old(cx, wanted, &old).await?;
            }
        }
        let passed = self.gate.pass(self.because.as_deref(), cx).await?;
        cx.log(format!("{}: {}", passed.what, passed.saw));
        cx.note_words("gate", &format!("{}: {}", passed.what, passed.saw))
            .await?;
        for wanted in &self.bound.wanted {
            let old = Self::noted_old(cx, wanted).flatten();
            let set = self.set(wanted);
            let now = cx.services.clock.now().to_string();
            cx.note(&Self::moving_key(wanted), now).await?;
            match dns
                .swap(
                    &self.domain,
                    &wanted.name,
                    wanted.kind,
                    old.as_ref(),
                    Some(&set),
                )
                .await?
            {
                Swap::Done => {
                    cx.log(format!(
                        "{} {} is {} now",
                        set.name,
                        set.kind,
                        set.values.join(", ")
                    ));
                    let now = cx.services.clock.now().to_string();
                    cx.note(&Self::moved_key(wanted), now).await?;
                }
                Swap::Differs(Some(now)) if now == set => {}
                Swap::Differs(now) => {
                    let now = now.map_or("nothing".into(), |set| set.values.join(", "));
                    let words = format!(
                        "{} {} became {now} meanwhile: it was left alone",
                        set.name, set.kind
                    );
                    return Err(Failure::new(Reason::Refused, words)
                        .hint("somebody else is changing this zone"));
                }
            }
        }
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let dns = cx.services.dns(&self.bound.account)?;
        let mut seen = Verified::default();
        for (words, until) in self.bound.wanted.iter().filter_map(|w| self.stale(cx, w)) {
            seen = seen.leaves(words, Some(until));
        }
        if let Some(gate) = cx.noted_text("gate") {
            seen = seen.and("before the change", gate);
        }
        for wanted in &self.bound.wanted {
            let now = dns.get(&self.domain, &wanted.name, wanted.kind).await?;
            if now.as_ref() != Some(&self.set(wanted)) {
                let now = now.map_or("nothing".into(), |set| set.values.join(", "));
                let words = format!(
                    "{} {} is {now} at {}",
                    wanted.name,
                    wanted.kind,
                    dns.account()
                );
                return Err(Failure::new(Reason::Verify, words));
            }
        }
        let servers = dns.servers(&self.domain).await?;
        let servers = if servers.is_empty() {
            ask_dns::servers_of(&self.domain).await?
        } else {
            servers
        };
        let old_ttl = self
            .bound
            .wanted
            .iter()
            .filter_map(|wanted| Self::noted_old(cx, wanted).flatten())
            .map(|old| old.ttl)
            .max();
        // A name server may need seconds to serve what its API has taken.
        let until = tokio::time::Instant::now() + SERVED;
        for wanted in &self.bound.wanted {
            for server in &servers {
                while let Err(failure) = answers(*server, wanted, false).await {
                    if tokio::time::Instant::now() > until {
                        return Err(failure);
                    }
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
            let asked: Vec<String> = servers.iter().map(ToString::to_string).collect();
            seen = seen.and(
                format!("{} {} at {}", wanted.name, wanted.kind, asked.join(", ")),
                wanted.values.join(", "),
            );
        }
        if let Some(ttl) = old_ttl {
            seen = seen
                .and("resolvers may keep the old answer for", format!("{ttl}s"))
                .with("stale_seconds", ttl);
        }
        Ok(seen)
    }

    fn decides(&self) -> Vec<Asked> {
        self.gate.asks()
    }

    fn moves(&self) -> Vec<Move> {
        let moved = self.bound.wanted.iter().flat_map(|wanted| {
            let addresses = wanted.values.iter().filter_map(|value| value.parse().ok());
            addresses.map(|address| Move {
                what: wanted.name.clone(),
                to: MovedTo::Address(address),
            })
        });
        moved.collect()
    }

    /// The zone stays as it is. The gate only asks, and asks the new side: a drill that did not go through it would prove
    /// less than it could.
    async fn probe(&self, cx: &Context) -> Result<Verified, Failure> {
        let mut seen = probed(&Action::title(self), self.observe(cx).await?);
        let passed = self.gate.pass(self.because.as_deref(), cx).await?;
        seen = seen.and(passed.what, passed.saw);
        Ok(seen)
    }

    async fn can_go_back(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let dns = cx.services.dns(&self.bound.account)?;
        let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
        for wanted in &self.bound.wanted {
            let Some(Some(old)) = Self::noted_old(cx, wanted) else {
                continue;
            };
            // Whoever was never moved, or is back already, goes nowhere: nobody has to serve them there first.
            let now = dns.get(&self.domain, &wanted.name, wanted.kind).await?;
            if now.as_ref() != Some(&old) {
                addresses.extend(
                    old.values
                        .iter()
                        .filter_map(|value| value.parse::<IpAddr>().ok()),
                );
            }
        }
        let mut seen = Vec::new();
        for address in addresses {
            seen.push(self.gate.stands(address, cx).await?);
        }
        Ok(seen)
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let dns: std::sync::Arc<dyn Dns> = cx.services.dns(&self.bound.account)?;
        let mut evidence = Vec::new();
        for wanted in &self.bound.wanted {
            let Some(old) = Self::noted_old(cx, wanted) else {
                continue;
            };
            let set = self.set(wanted);
            match dns
                .swap(
                    &self.domain,
                    &wanted.name,
                    wanted.kind,
                    Some(&set),
                    old.as_ref(),
                )
                .await?
            {
                Swap::Done => {}
                Swap::Differs(now) if now == old => {}
                Swap::Differs(now) => {
                    let now = now.map_or("nothing".into(), |set| set.values.join(", "));
                    let words = format!(
                        "{} {} is {now}, not what this run set: it was left alone",
                        wanted.name, wanted.kind
                    );
                    return Err(Failure::new(Reason::Refused, words));
                }
            }
            let back = old.map_or("gone".into(), |old| old.values.join(", "));
            evidence.push(Evidence::new(
                format!("{} {}", wanted.name, wanted.kind),
                back,
            ));
        }
        Ok(evidence)
    }
}
