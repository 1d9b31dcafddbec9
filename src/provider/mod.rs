//! A cloud behind one port. Clients are thin and own: none of the four clouds has an idempotency key, so
//! creation is "look up, create once, look again", never a retry.

use std::time::Duration;

use async_trait::async_trait;

pub mod address;
pub mod firewall;
pub mod hetzner;
pub mod leftover;
pub mod place;
pub mod reconcile;
pub mod snapshot;
pub mod wait;

/// What to create. Everything in it is public: user data can be read by others at every cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSpec {
    /// Unique by construction: `dr-<plan>-<role>-<run8>`, `[a-z0-9-]`, at most 63 characters.
    pub name: String,
    /// Region, type and image in the provider's own words.
    pub region: String,
    /// The type (size).
    pub size: String,
    /// The image.
    pub image: String,
    /// cloud-config text.
    pub user_data: String,
    /// Run, step and role, found again by `find`.
    pub tags: Tags,
}

/// The marks that make a server ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// The run's id.
    pub run: String,
    /// The step.
    pub step: String,
}

/// Power, as the API says it. Never a proof that a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Being made or started.
    Starting,
    /// Running.
    On,
    /// Being stopped.
    Stopping,
    /// Powered off.
    Off,
    /// A word this version does not know.
    Other,
}

impl std::fmt::Display for Power {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Power::Starting => "starting",
            Power::On => "on",
            Power::Stopping => "stopping",
            Power::Off => "off",
            Power::Other => "in a state that this version does not know",
        })
    }
}

/// A server as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The provider's id.
    pub id: String,
    /// Its name there.
    pub name: String,
    /// Power state.
    pub power: Power,
    /// The public IPv4 address, once there is one.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// A public IPv6 address, once there is one (`::1` of the network that was given).
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// Where it stands.
    pub region: String,
    /// Its type.
    pub size: String,
    /// Our marks, if it carries both.
    pub tags: Option<Tags>,
    /// Cannot be deleted before a person lifts it.
    pub protected: bool,
}

/// A type that can be ordered.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeOffer {
    /// The provider's name.
    pub name: String,
    /// `x86` or `arm`, in the provider's word: images and programs of one do not run on the other.
    pub architecture: String,
    /// Virtual processors.
    pub cpus: u32,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub disk: u64,
    /// Can be ordered in the region asked about.
    pub available: bool,
    /// A month's price in the region, net, in the account's currency.
    pub monthly: Option<f64>,
}

pub use crate::http::ServiceError as ProviderError;

/// A cloud account. Reads and deletions are retried inside (with backoff, honouring Retry-After);
/// `create` sends its request exactly once.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The account's name.
    fn account(&self) -> &str;

    /// Proves the token with a read, without changing anything.
    async fn check_credentials(&self) -> Result<(), ProviderError>;

    /// The types that a region offers; an unknown region is `Refused` with `NotFound`.
    async fn sizes(&self, region: &str) -> Result<Vec<SizeOffer>, ProviderError>;

    /// Whether the image exists there for that architecture (`SizeOffer::architecture`); `Refused` with `NotFound` if not.
    async fn check_image(&self, image: &str, architecture: &str) -> Result<(), ProviderError>;

    /// Servers that carry this run's and, if given, this step's tag.
    async fn find(&self, run: &str, step: Option<&str>) -> Result<Vec<Server>, ProviderError>;

    /// All servers of the account, those of others too.
    async fn servers(&self) -> Result<Vec<Server>, ProviderError>;

    /// The server of that exact name.
    async fn by_name(&self, name: &str) -> Result<Option<Server>, ProviderError>;

    /// One server; `None` is a proven 404.
    async fn get(&self, id: &str) -> Result<Option<Server>, ProviderError>;

    /// Sends one create request and returns with what the provider answers at once: the server has an id, and may not
    /// run yet. `Unknown` when the answer is lost. `reconcile::create_once` is the way to it.
    async fn create(&self, spec: &ServerSpec) -> Result<Server, ProviderError>;

    /// Waits until the provider says that a creation has ended well: it runs and has an address. Just after a
    /// creation a 404 is *not yet*; `Refused` with `NotFound` only when it still is one at the end. A creation that is
    /// still going on at the end of `within` is `Refused` with `Timeout`.
    async fn created(&self, id: &str, within: Duration) -> Result<Server, ProviderError> {
        wait::created(self, id, within).await
    }

    /// Asks for deletion and waits until the server answers 404. Already gone is success.
    async fn delete(&self, id: &str) -> Result<(), ProviderError>;

    /// Copies of disks; an error where the cloud, or this version's client of it, has none.
    fn snapshots(&self) -> Result<&dyn snapshot::Snapshots, ProviderError> {
        Err(without(self.account(), "snapshots"))
    }

    /// Addresses that move between servers; an error where there are none.
    fn addresses(&self) -> Result<&dyn address::Addresses, ProviderError> {
        Err(without(self.account(), "moving addresses"))
    }

    /// Packet filters before servers; an error where there are none.
    fn firewalls(&self) -> Result<&dyn firewall::Firewalls, ProviderError> {
        Err(without(self.account(), "firewalls"))
    }

    /// What drills have left, and what runs have made; an error where that cannot be asked.
    fn leftovers(&self) -> Result<&dyn leftover::Leftovers, ProviderError> {
        Err(without(self.account(), "labels on what is made"))
    }

    /// Switches power and waits until the API says so. Already so is success. Off is the hard kind: a fence must not ask the guest.
    async fn set_power(&self, id: &str, on: bool) -> Result<(), ProviderError>;
}

/// A part of the port that this account's client does not have.
fn without(account: &str, what: &str) -> ProviderError {
    let words = "this kind of account does not offer it";
    ProviderError::refused(account, what, crate::kind::Reason::Refused, words)
}
