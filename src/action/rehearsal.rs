//! What services hold besides, in a drill: where moved names lead to, what its servers may reach, and the accounts of the
//! estate itself where the drill makes its servers in another project. Empty in everything but a drill and a look.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::egress::Egress;
use super::services::Services;
use crate::kind::{Failure, Reason};
use crate::provider::Provider;
use crate::resolve;
use crate::resolve::overlay::{Leads, Overlay, plain_key};

/// The differences.
#[derive(Default)]
pub struct Rehearsal {
    /// Names that lead to what the run made.
    pub names: Overlay,
    /// What servers of a drill may reach. None: this is no drill.
    pub egress: Option<Egress>,
    /// Accounts whose project for drills is another one than the estate's: the estate's, to look at what stands.
    pub standing: BTreeMap<String, Arc<dyn Provider>>,
    /// Somebody only looks, and nobody said that anything is lost: ages are told from now.
    pub nothing_is_lost: bool,
}

impl Context {
    /// How old something is, told from the loss; or from now, where nothing is lost.
    pub(super) fn beside_the_loss(&self, at: jiff::Timestamp) -> String {
        match self.services.rehearsal.nothing_is_lost {
            true => crate::units::old(at, self.lost_at),
            false => crate::units::beside(at, self.lost_at),
        }
    }
}

impl Services {
    /// The account as what stands in the estate is found in it.
    pub fn standing(&self, name: &str) -> Result<Arc<dyn Provider>, Failure> {
        match self.rehearsal.standing.get(name) {
            Some(provider) => Ok(provider.clone()),
            None => self.provider(name),
        }
    }

    fn leads(&self, name: &str) -> Result<Option<IpAddr>, Failure> {
        match self.rehearsal.names.ask(name) {
            Leads::AsItIs => Ok(None),
            Leads::To(address) => Ok(Some(address)),
            // Asking the world would be asking production.
            Leads::NotYet(step) => Err(Failure::new(
                Reason::Verify,
                format!(
                    "in a drill {name} leads to what `{step}` would move it to, and that is not known yet"
                ),
            )),
        }
    }

    /// The host of the inventory that has one of these addresses.
    async fn standing_at(&self, addresses: &[IpAddr]) -> Option<&str> {
        for host in self.inventory.hosts.values() {
            if addresses_of(&host.address)
                .await
                .iter()
                .any(|address| addresses.contains(address))
            {
                return Some(&host.name);
            }
        }
        None
    }
}

impl Context {
    /// Where a name or address leads to in this process, if that is elsewhere than in the world. In a drill nothing that decides may ask
    /// what stands, by whatever name: one outside the estate's domains, or an alias, shows only here where it leads.
    pub(super) async fn leads(&self, name: &str) -> Result<Option<IpAddr>, Failure> {
        let led = self.services.leads(name)?;
        if self.services.rehearsal.egress.is_none() || self.probe {
            return Ok(led);
        }
        let addresses = match led {
            Some(address) => vec![address],
            None => addresses_of(name).await,
        };
        match self.services.standing_at(&addresses).await {
            None => Ok(led),
            Some(host) => Err(Failure::new(
                Reason::Refused,
                format!(
                    "{name} leads to `{host}`, which stands: a drill that asks it would be green whatever came back"
                ),
            )
            .hint("say whom to ask with `at:`, or leave the step out: `modes: [failover]`")),
        }
    }
}

/// None where the name has none, or nobody answers: then whoever asks it will find that out.
async fn addresses_of(name: &str) -> Vec<IpAddr> {
    match plain_key(name).parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => resolve::resolve(name, PATIENCE).await.unwrap_or_default(),
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
