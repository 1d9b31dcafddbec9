//! A server of the inventory, found again at its provider.

use std::sync::Arc;

use super::{Bind, Context};
use crate::kind::{Failure, Reason};
use crate::problem::{Problem, nearest};
use crate::provider::{Provider, Server};
use crate::yaml::Node;

/// Where a host of the inventory stands at its provider.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The provider file's name.
    pub(super) account: String,
    /// The server's name there.
    pub(super) name: String,
    /// The inventory says that nothing may delete it.
    pub(super) protected: bool,
}

impl Named {
    /// Looks the host up in the inventory.
    pub(super) fn bind(host: &str, args: &Node, key: &str, bind: &Bind) -> Result<Self, Problem> {
        let place = args.place_of(key);
        let hosts = &bind.inventory.hosts;
        let Some(found) = hosts.get(host) else {
            let problem = Problem::error(
                "unknown-server",
                place,
                format!("the inventory has no host `{host}`"),
            );
            return Err(match nearest(host, hosts.keys().map(String::as_str)) {
                Some(near) => problem.instead(near),
                None => problem,
            });
        };
        let account = found.at.as_ref().map_or("", |at| at.provider.as_str());
        match bind.accounts.get(account) {
            Some(known) if known.kind.has_servers() => Ok(Self {
                account: account.to_string(),
                name: found.server.clone().unwrap_or_else(|| host.to_string()),
                protected: found.protected,
            }),
            _ => Err(Problem::error("no-provider", place, format!("the inventory does not say at which provider `{host}` stands"))
                .help("write `at: provider/region` and `server: NAME` for the host, and name the provider's file")),
        }
    }

    /// The server, if the provider knows it.
    pub(super) async fn find(&self, cx: &Context) -> Result<(Arc<dyn Provider>, Server), Failure> {
        let provider = cx.services.standing(&self.account)?;
        match provider.by_name(&self.name).await? {
            Some(server) => Ok((provider, server)),
            None => Err(Failure::new(
                Reason::NotFound,
                format!("{} knows no server `{}`", self.account, self.name),
            )),
        }
    }
}
