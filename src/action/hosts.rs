//! All hosts of a run by name: those of the inventory and those that the run made.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use serde::{Deserialize, Serialize};

use crate::kind::{Failure, Reason};
use crate::problem::nearest;
use crate::transport::Transport;

/// What must be known to reach a host; noted in the journal for those that the run made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The name that steps use: an inventory host or a role.
    pub name: String,
    /// Where it answers.
    pub address: String,
    /// Public host keys (`ssh-ed25519 AAAA...`) that are pinned. Empty for inventory hosts: their known_hosts file speaks.
    pub pins: Vec<String>,
}

/// Makes transports; the real one knows SSH, tests bring their own.
pub trait Reach: Send + Sync {
    /// A transport for the host; no connection is made yet.
    fn transport(&self, facts: &HostFacts) -> Result<Arc<dyn Transport>, Failure>;
}

/// What is known of a host, and the way to it.
type Known = (HostFacts, Arc<dyn Transport>);

/// The hosts of a run.
pub struct Hosts {
    reach: Box<dyn Reach>,
    known: RwLock<HashMap<String, Known>>,
    /// Names that a run will give to hosts which do not exist yet.
    coming: BTreeSet<String>,
}

impl Hosts {
    /// Begins without hosts.
    pub fn new(reach: Box<dyn Reach>) -> Self {
        Self {
            reach,
            known: RwLock::new(HashMap::new()),
            coming: BTreeSet::new(),
        }
    }

    /// These are made by the run: before it, nobody must take a host that has the same name today for one of them.
    pub fn coming(&mut self, names: BTreeSet<String>) {
        let known = self.known.get_mut().expect("no holder panics");
        known.retain(|name, _| !names.contains(name));
        self.coming = names;
    }

    /// Adds a host, or replaces what was known of it (a new pin after the rotation of its key).
    pub fn add(&self, facts: HostFacts) -> Result<Arc<dyn Transport>, Failure> {
        if let Some((known, transport)) = self
            .known
            .read()
            .expect("no holder panics")
            .get(&facts.name)
            && *known == facts
        {
            return Ok(transport.clone());
        }
        let transport = self.reach.transport(&facts)?;
        self.known
            .write()
            .expect("no holder panics")
            .insert(facts.name.clone(), (facts, transport.clone()));
        Ok(transport)
    }

    /// A transport that nothing else uses, for a host under examination.
    pub fn apart(&self, facts: &HostFacts) -> Result<Arc<dyn Transport>, Failure> {
        self.reach.transport(facts)
    }

    /// A host by name.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Transport>, Failure> {
        let known = self.known.read().expect("no holder panics");
        known
            .get(name)
            .map(|(_, transport)| transport.clone())
            .ok_or_else(|| {
                if self.coming.contains(name) {
                    let words = format!("`{name}` does not exist before the run has made it");
                    return Failure::new(Reason::NotFound, words);
                }
                let failure = Failure::new(Reason::NotFound, format!("no host is called `{name}`"));
                match nearest(name, known.keys().map(String::as_str)) {
                    Some(near) => failure.hint(format!("did you mean `{near}`?")),
                    None => failure,
                }
            })
    }

    /// What is known of a host.
    pub fn facts(&self, name: &str) -> Option<HostFacts> {
        self.known
            .read()
            .expect("no holder panics")
            .get(name)
            .map(|(facts, _)| facts.clone())
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .known
            .read()
            .expect("no holder panics")
            .keys()
            .cloned()
            .collect();
        names.sort();
        names
    }

    /// All transports, for closing them.
    pub fn all(&self) -> Vec<Arc<dyn Transport>> {
        self.known
            .read()
            .expect("no holder panics")
            .values()
            .map(|(_, transport)| transport.clone())
            .collect()
    }
}
