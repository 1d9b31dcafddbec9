//! `check.dns` and `dns.wait`: what name servers and resolvers really answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::ask_dns;
use super::dns_names::{Wanted, wanted_records};
use super::{Action, Asked, Bind, Context, Look, Verb, Verified};
use crate::kind::{Effect, Failure, Reason, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `check.dns`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckDns {
    /// The whole name.
    name: String,
    /// The record type; `A` if nothing is said.
    r#type: Option<String>,
    /// The server to ask, `address` or `address:port`; the machine's resolver if nothing is said.
    server: Option<String>,
    /// The values expected, in any order.
    equals: Vec<String>,
}

/// `192.0.2.1` or `192.0.2.1:5353`.
pub(super) fn server_address(text: &str) -> Option<SocketAddr> {
    text.parse().ok().or_else(|| {
        text.parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, 53))
    })
}

impl Verb for CheckDns {
    const NAME: &'static str = "check.dns";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Asks a name server and compares the answer.";
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn bind(self, args: &Node, _bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        if let Some(server) = &self.server
            && server_address(server).is_none()
        {
            let words = format!("`{server}` is neither an address nor address:port");
            return Err(vec![Problem::error(
                "bad-address",
                args.place_of("server"),
                words,
            )]);
        }
        Ok(Box::new(self))
    }
}

#[async_trait]
impl Look for CheckDns {
    fn title(&self) -> String {
        let server = self
            .server
            .as_deref()
            .map(|server| format!(" at {server}"))
            .unwrap_or_default();
        format!(
            "{} {}{server}",
            self.name,
            self.r#type.as_deref().unwrap_or("A")
        )
    }

    fn asked(&self) -> Asked {
        Asked::Records(vec![self.name.clone()])
    }

    async fn look(&self, _cx: &Context) -> Result<Verified, Failure> {
        let kind = self.r#type.as_deref().unwrap_or("A");
        let answer = match self.server.as_deref().and_then(server_address) {
            Some(server) => ask_dns::at(server, &self.name, kind, true).await?,
            None => ask_dns::by_system(&self.name, kind).await?,
        };
        let mut wanted = self.equals.clone();
        wanted.sort();
        if answer.values == wanted {
            let values: Vec<serde_json::Value> =
                answer.values.iter().cloned().map(Into::into).collect();
            Ok(Verified::seen(
                Look::title(self),
                format!("{}{}", answer.values.join(", "), ask_dns::ttl(&answer)),
            )
            .with("values", values))
        } else {
            let words = format!(
                "{} is {}, expected {}",
                Look::title(self),
                ask_dns::words(&answer),
                wanted.join(", ")
            );
            Err(Failure::new(Reason::Verify, words))
        }
    }
}

/// Arguments of `dns.wait`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsWait {
    /// A domain of the inventory.
    domain: String,
    /// Relative name (`@` for the domain itself) to address.
    records: std::collections::BTreeMap<String, String>,
    /// Resolvers that must answer with the new value too, `address` or `address:port`.
    #[serde(default)]
    resolvers: Vec<String>,
    #[serde(skip)]
    account: String,
    #[serde(skip)]
    wanted: Vec<Wanted>,
}

impl Verb for DnsWait {
    const NAME: &'static str = "dns.wait";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str =
        "Waits until the zone's own name servers, then resolvers, answer with the new value.";
    const TIMEOUT: Duration = Duration::from_secs(900);
    const TAKES: Duration = Duration::from_secs(60);

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        match super::dns_names::account_of(&self.domain, args, bind) {
            Ok(account) => self.account = account,
            Err(problem) => problems.push(problem),
        }
        match wanted_records(&self.domain, &self.records, args) {
            Ok(wanted) => self.wanted = wanted,
            Err(more) => problems.extend(more),
        }
        for resolver in &self.resolvers {
            if server_address(resolver).is_none() {
                let words = format!("`{resolver}` is neither an address nor address:port");
                problems.push(Problem::error(
                    "bad-address",
                    args.place_of("resolvers"),
                    words,
                ));
            }
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

/// Asks one server for one wanted record.
pub(super) async fn answers(
    server: SocketAddr,
    wanted: &Wanted,
    recurse: bool,
) -> Result<String, Failure> {
    let answer = ask_dns::at(server, &wanted.name, wanted.kind, recurse).await?;
    if answer.values == wanted.values {
        Ok(ask_dns::ttl(&answer))
    } else {
        let words = format!(
            "{server} answers {} for {} {}",
            ask_dns::words(&answer),
            wanted.name,
            wanted.kind
        );
        Err(Failure::new(Reason::Verify, words))
    }
}

#[async_trait]
impl Look for DnsWait {
    fn title(&self) -> String {
        format!("name servers of {}", self.domain)
    }

    fn asked(&self) -> Asked {
        Asked::Records(self.wanted.iter().map(|one| one.name.clone()).collect())
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        // Never a resolver first: one that asks too early keeps the old answer, or the absence, for its time.
        let servers = cx
            .services
            .dns(&self.account)?
            .servers(&self.domain)
            .await?;
        let servers = if servers.is_empty() {
            ask_dns::servers_of(&self.domain).await?
        } else {
            servers
        };
        let mut seen = Verified::default();
        let own = servers.iter().map(|server| (*server, false));
        let resolvers = self
            .resolvers
            .iter()
            .filter_map(|text| server_address(text))
            .map(|server| (server, true));
        for (server, recurse) in own.chain(resolvers) {
            for record in &self.wanted {
                let ttl = answers(server, record, recurse).await?;
                seen = seen.and(
                    format!("{} at {server}", record.name),
                    format!("{}{ttl}", record.values.join(", ")),
                );
            }
        }
        Ok(seen)
    }
}
