//! The estate's services, ready to use: built once for a run, with their secrets fetched.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hosts::Hosts;
use crate::clock::Clock;
use crate::dns::Dns;
use crate::inventory::{Address, ChannelKind};
use crate::kind::{Failure, Reason};
use crate::message::{self, Way};
use crate::provider::Provider;
use crate::secret::{Mask, Secret, SecretRef};
use crate::store::Store;

/// Fetches secrets again whenever they are needed; nothing of them is ever kept in a run's folder.
#[async_trait::async_trait]
pub trait Secrets: Send + Sync {
    /// The value behind a reference.
    async fn fetch(&self, reference: &SecretRef) -> Result<Secret, Failure>;
}

/// Everything outside that actions use.
pub struct Services {
    /// Clouds by account name.
    pub providers: BTreeMap<String, Arc<dyn Provider>>,
    /// DNS services by account name.
    pub dns: BTreeMap<String, Arc<dyn Dns>>,
    /// Stores by name.
    pub stores: BTreeMap<String, Arc<dyn Store>>,
    /// Hosts by name.
    pub hosts: Hosts,
    /// Secrets by reference.
    pub secrets: Box<dyn Secrets>,
    /// Knows every secret that was fetched.
    pub mask: Mask,
    /// Plain HTTP for checks and messages.
    pub http: reqwest::Client,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Public keys that may log in to servers that the run makes.
    pub login_keys: Vec<String>,
    /// The user that created servers are entered as.
    pub login_user: String,
    /// The inventory of the run.
    pub inventory: Arc<crate::inventory::Inventory>,
    /// What the run is going to add to accounts that have limits.
    pub planned: super::limits::Planned,
    /// What is different in a drill.
    pub rehearsal: super::rehearsal::Rehearsal,
    /// The run's folder: copies of the plan's files, and what must be a file (private keys never).
    pub folder: std::path::PathBuf,
}

impl Services {
    /// Where a local file of the plan is read: the run's own copy, made when it began, before the person's.
    pub fn copy_of(&self, path: &std::path::Path) -> std::path::PathBuf {
        let copy = self
            .folder
            .join("files")
            .join(straight(path).strip_prefix("/").unwrap_or(path));
        if copy.is_file() {
            copy
        } else {
            path.to_path_buf()
        }
    }

    /// The content of a local file of the plan.
    pub fn read_file(&self, path: &std::path::Path) -> Result<Vec<u8>, Failure> {
        let from = self.copy_of(path);
        std::fs::read(&from).map_err(|error| {
            Failure::from_error(
                Reason::NotFound,
                &format!("reading {}", from.display()),
                &error,
            )
        })
    }

    /// A cloud account.
    pub fn provider(&self, name: &str) -> Result<Arc<dyn Provider>, Failure> {
        self.providers
            .get(name)
            .cloned()
            .ok_or_else(|| absent("server provider", name))
    }

    /// A DNS account.
    pub fn dns(&self, name: &str) -> Result<Arc<dyn Dns>, Failure> {
        self.dns
            .get(name)
            .cloned()
            .ok_or_else(|| absent("DNS service", name))
    }

    /// A channel of the inventory with its secrets, which the mask knows from here on.
    pub async fn channel(&self, name: &str) -> Result<Way, Failure> {
        let channel = self.inventory.notify.get(name);
        let channel = channel.ok_or_else(|| absent("channel", name))?;
        Ok(match &channel.kind {
            ChannelKind::Webhook(address) => Way::Webhook(self.address(address).await?),
            ChannelKind::Slack(address) => Way::Slack(self.address(address).await?),
            ChannelKind::Telegram { token, chat, api } => Way::Telegram {
                api: api.clone().unwrap_or_else(|| message::TELEGRAM.into()),
                token: self.secrets.fetch(token).await?,
                chat: chat.clone(),
            },
        })
    }

    /// The address of a webhook is often all that protects it, also where it is written openly.
    async fn address(&self, address: &Address) -> Result<Secret, Failure> {
        match address {
            Address::Text(text) => {
                let address = Secret::new(text.clone());
                self.mask.learn(&address);
                Ok(address)
            }
            Address::Secret(reference) => self.secrets.fetch(reference).await,
        }
    }

    /// A store.
    pub fn store(&self, name: &str) -> Result<Arc<dyn Store>, Failure> {
        self.stores
            .get(name)
            .cloned()
            .ok_or_else(|| absent("store", name))
    }
}

fn absent(what: &str, name: &str) -> Failure {
    Failure::new(Reason::NotFound, format!("no {what} is called `{name}`"))
}

/// The path without `..`: so copies of files are named.
pub(super) fn straight(path: &std::path::Path) -> std::path::PathBuf {
    let mut out = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}
