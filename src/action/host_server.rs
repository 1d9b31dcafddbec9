//! The server behind a host, at its provider: one of the inventory by its name there, one that the run makes by the
//! address that its step noted.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::server_named::Named;
use super::{Bind, Context, host_named};
use crate::kind::{Failure, Reason};
use crate::problem::{Problem, nearest};
use crate::provider::{Provider, Server};
use crate::yaml::Node;

/// A host whose server can be found.
#[derive(Debug, Clone)]
pub(super) struct HostServer {
    /// As steps call it.
    pub(super) host: String,
    account: String,
    named: Option<Named>,
}

/// An account that servers can be made at.
pub(super) fn server_account(account: &str, args: &Node, bind: &Bind) -> Result<(), Problem> {
    let place = args.place_of("account");
    match bind.accounts.get(account) {
        Some(found) if found.kind.has_servers() => Ok(()),
        Some(_) => {
            let words = format!("`{account}` is a DNS service and has no servers");
            Err(Problem::error("no-servers", place, words))
        }
        None => {
            let words = format!("no provider file is called `{account}`");
            let problem = Problem::error("unknown-account", place, words);
            Err(
                match nearest(account, bind.accounts.keys().map(String::as_str)) {
                    Some(near) => problem.instead(near),
                    None => problem.help("name its file under `providers:` of the inventory"),
                },
            )
        }
    }
}

impl HostServer {
    /// Looks the host up: in the inventory, or among those that steps make.
    pub(super) fn bind(
        host: &str,
        account: &str,
        (args, key): (&Node, &str),
        bind: &Bind,
    ) -> Result<Self, Problem> {
        host_named(host, args, key, bind)?;
        let named = match bind.inventory.hosts.contains_key(host) {
            true => Some(Named::bind(host, args, key, bind)?),
            false => None,
        };
        if let Some(named) = &named
            && named.account != account
        {
            let words = format!("`{host}` stands at `{}`, not at `{account}`", named.account);
            return Err(Problem::error("other-account", args.place_of(key), words));
        }
        Ok(Self {
            host: host.to_string(),
            account: account.to_string(),
            named,
        })
    }

    /// Whether it can be looked for now: a server that the run makes may not exist yet.
    pub(super) fn is_there(&self, cx: &Context) -> bool {
        self.named.is_some() || cx.services.hosts.facts(&self.host).is_some()
    }

    /// The server, if the provider knows it.
    pub(super) async fn find(&self, cx: &Context) -> Result<(Arc<dyn Provider>, Server), Failure> {
        if let Some(named) = &self.named {
            return named.find(cx).await;
        }
        let missing = |words: String| Failure::new(Reason::NotFound, words);
        let facts = cx
            .services
            .hosts
            .facts(&self.host)
            .ok_or_else(|| missing(format!("`{}` does not exist yet", self.host)))?;
        let provider = cx.services.provider(&self.account)?;
        let address: Option<Ipv4Addr> = facts.address.parse().ok();
        let all = provider.servers().await?;
        let found = all
            .into_iter()
            .find(|server| address.is_some() && server.ipv4 == address);
        let server = found.ok_or_else(|| {
            missing(format!(
                "{} has no server with the address {} of `{}`",
                self.account, facts.address, self.host
            ))
        })?;
        Ok((provider, server))
    }
}
