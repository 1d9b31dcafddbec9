//! An inventory: what exists and what must come back. Names are looked up once, here, so that what follows can rely on them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::problem::{Place, Problem, Source, nearest};
use crate::secret::SecretRef;
use crate::units::Span;

mod draft;
mod load;
mod zone;

pub use draft::{
    Address, Compression, Config, Files, Form, LocalStore, Moment, Person, Postgres, Redis,
    S3Store, UrlStyle,
};
pub use load::{Examined, examine, load, read};
pub use zone::{zone, zone_named};

/// What exists and what must come back. Every name in it that names another part of it is known.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The estate's name.
    pub name: String,
    /// The sandbox world it lives in.
    pub sandbox: Option<String>,
    /// The provider files, resolved against the folder of the inventory, each with where it was written.
    pub providers: Vec<(PathBuf, Place)>,
    /// How hosts are reached when they do not say it themselves; servers that a run creates, too.
    pub ssh: Ssh,
    /// By name.
    pub hosts: BTreeMap<String, Host>,
    /// By name.
    pub stores: BTreeMap<String, Store>,
    /// By name.
    pub keys: BTreeMap<String, Key>,
    /// By name.
    pub datasets: BTreeMap<String, Dataset>,
    /// By zone.
    pub domains: BTreeMap<String, Domain>,
    /// By name.
    pub notify: BTreeMap<String, Channel>,
    /// By group.
    pub people: BTreeMap<String, Vec<Person>>,
    /// The text it was made from.
    pub source: Arc<Source>,
}

/// How a host is reached. Paths are resolved against the folder of the inventory; `~/` is left to who opens them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Who logs in.
    pub user: String,
    /// The login key; `None`: the agent's.
    pub key: Option<SecretRef>,
    /// The public login key that new servers authorise; `None`: the agent's keys.
    pub public: Option<PathBuf>,
    /// Known host keys; `None`: those of the person.
    pub known_hosts: Option<PathBuf>,
    /// A host of the inventory, or any name that the person's ssh_config knows.
    pub jump: Option<String>,
    /// The port.
    pub port: u16,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Where the name was written.
    pub place: Place,
    /// Its IP address or name.
    pub address: String,
    /// Where it stands.
    pub at: Option<Location>,
    /// Its name or id at the provider.
    pub server: Option<String>,
    /// What it does.
    pub roles: Vec<String>,
    /// Never changed or destroyed without a word that names it.
    pub protected: bool,
    /// The estate's settings, with its own over them.
    pub ssh: Ssh,
}

/// `provider/region`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The name of a provider file, or any word for a place that is not managed.
    pub provider: String,
    /// The region in the provider's words.
    pub region: String,
}

impl Location {
    /// Reads `provider/region`.
    pub fn parse(text: &str) -> Option<Self> {
        let (provider, region) = text.split_once('/')?;
        let fits = !provider.is_empty() && !region.is_empty() && !region.contains('/');
        fits.then(|| Self {
            provider: provider.to_string(),
            region: region.to_string(),
        })
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.region)
    }
}

/// A place that holds backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its name.
    pub name: String,
    /// Where the name was written.
    pub place: Place,
    /// What it is.
    pub kind: StoreKind,
    /// Where it stands.
    pub at: Option<Location>,
}

/// What a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreKind {
    /// A bucket. Paths of secrets are resolved.
    S3(S3Store),
    /// A folder, resolved.
    Local(PathBuf),
}

/// What backups are encrypted with. Paths of secrets are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// gpg, symmetric.
    GpgPassphrase(SecretRef),
    /// age.
    AgeIdentity(SecretRef),
}

impl Key {
    /// What opens the backups.
    pub fn secret(&self) -> &SecretRef {
        match self {
            Self::GpgPassphrase(secret) | Self::AgeIdentity(secret) => secret,
        }
    }
}

/// Something that must come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Where the name was written.
    pub place: Place,
    /// What it is.
    pub kind: DatasetKind,
    /// Where its backups lie, in the order written; at least one.
    pub backups: Vec<BackupSource>,
    /// The age that the newest backup must keep.
    pub max_age: Option<Span>,
}

/// What a dataset is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatasetKind {
    /// A PostgreSQL database.
    Postgres(Postgres),
    /// A Redis server. Paths of secrets are resolved.
    Redis(Redis),
    /// A tree of files.
    Files(Files),
    /// Files of configuration. The folder of templates is resolved.
    Config(Config),
}

impl DatasetKind {
    /// Its key in an inventory.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
            Self::Files(_) => "files",
            Self::Config(_) => "config",
        }
    }

    /// The forms that its backups may have; the first is meant where nothing is said.
    pub fn forms(&self) -> &'static [Form] {
        match self {
            Self::Postgres(_) => &[Form::Plain, Form::Custom],
            Self::Redis(_) => &[Form::Rdb],
            Self::Files(_) | Self::Config(_) => &[Form::Tar],
        }
    }
}

/// Where backups of a dataset lie and how they were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSource {
    /// Where it was written.
    pub place: Place,
    /// A store of the inventory.
    pub store: String,
    /// The path in it, with `{time}` or `{time:FORMAT}`.
    pub path: String,
    /// How the dump was made.
    pub form: Form,
    /// How it was compressed.
    pub compressed: Compression,
    /// A key of the inventory.
    pub key: Option<String>,
    /// The manifest, a path in the store.
    pub checksums: Option<String>,
    /// The time zone of the times in its names; `None`: UTC. An IANA name.
    pub zone: Option<String>,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Where the name was written.
    pub place: Place,
    /// The name of the provider file that serves it.
    pub dns: String,
    /// Where that was written.
    pub dns_place: Place,
    /// Seconds.
    pub ttl: Option<u32>,
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The service.
    pub kind: ChannelKind,
    /// What it is told of every run.
    pub when: BTreeSet<Moment>,
}

/// The services that take messages. Paths of secrets are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelKind {
    /// A POST with JSON.
    Webhook(Address),
    /// An incoming webhook of Slack.
    Slack(Address),
    /// A bot of Telegram.
    Telegram {
        /// The bot's token.
        token: SecretRef,
        /// The chat that it writes to.
        chat: String,
        /// The API's address, where it is not Telegram's own; without a final `/`.
        api: Option<String>,
    },
}

impl Inventory {
    /// The zone of a name: itself or the longest domain of the inventory that it lies in.
    pub fn zone_of(&self, name: &str) -> Option<&Domain> {
        self.domains
            .values()
            .filter(|domain| {
                name == domain.name
                    || name
                        .strip_suffix(&domain.name)
                        .is_some_and(|rest| rest.ends_with('.'))
            })
            .max_by_key(|domain| domain.name.len())
    }

    /// What names an account that no provider file has. Provider files are another module's, so the caller
    /// brings their names.
    pub fn check_accounts(&self, accounts: &[&str]) -> Vec<Problem> {
        let problem = |place: &Place, name: &str| {
            let problem = Problem::error(
                "unknown-provider",
                place,
                format!("there is no provider file with the name `{name}`"),
            );
            match nearest(name, accounts.iter().copied()) {
                Some(right) => problem.help(format!("did you mean `{right}`?")),
                None => problem.help("list its file under `providers`"),
            }
        };
        let domains = self
            .domains
            .values()
            .filter(|domain| !accounts.contains(&domain.dns.as_str()))
            .map(|domain| problem(&domain.dns_place, &domain.dns));
        // A host that names its server is one that a step may ask its provider about.
        let hosts = self
            .hosts
            .values()
            .filter(|host| host.server.is_some())
            .filter_map(|host| {
                let provider = host.at.as_ref()?.provider.as_str();
                (!accounts.contains(&provider)).then(|| problem(&host.place, provider))
            });
        let mut problems: Vec<Problem> = domains.chain(hosts).collect();
        problems.sort_by_key(|problem| problem.labels.first().map_or(0, |(place, _)| place.start));
        problems
    }
}

/// The JSON Schema of an inventory.
pub fn schema() -> serde_json::Value {
    load::schema().json().clone()
}

#[cfg(test)]
mod tests;
