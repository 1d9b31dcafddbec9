//! What services hold besides, in a drill: where moved names lead to, what its servers may reach, and the accounts of the
//! estate itself where the drill makes its servers in another project. Empty in everything but a drill.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::egress::Egress;
use super::services::Services;
use crate::kind::{Failure, Reason};
use crate::provider::Provider;
use crate::resolve::overlay::{Leads, Overlay};

/// The differences.
#[derive(Default)]
pub struct Rehearsal {
    /// Names that lead to what the run made.
    pub names: Overlay,
    /// What servers of a drill may reach. None: this is no drill.
    pub egress: Option<Egress>,
    /// Accounts whose project for drills is another one than the estate's: the estate's, to look at what stands.
    pub standing: BTreeMap<String, Arc<dyn Provider>>,
}

impl Services {
    /// The account as what stands in the estate is found in it.
    pub fn standing(&self, name: &str) -> Result<Arc<dyn Provider>, Failure> {
        match self.rehearsal.standing.get(name) {
            Some(provider) => Ok(provider.clone()),
            None => self.provider(name),
        }
    }

    /// Where a name or address leads to in this process, if that is elsewhere than in the world.
    pub fn leads(&self, name: &str) -> Result<Option<IpAddr>, Failure> {
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
}
