//! Addresses that can be moved from one server of a cloud to another, behind one port.

use std::net::IpAddr;

use async_trait::async_trait;

use super::ProviderError;

/// An address that outlives the servers it is assigned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The provider's id.
    pub id: String,
    /// Its name there.
    pub name: String,
    /// The address; of a network, its first one.
    pub ip: IpAddr,
    /// The id of the server that has it now.
    pub server: Option<String>,
    /// The region it belongs to.
    pub region: String,
}

/// What came of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// The wanted server has it.
    Done,
    /// Another than the expected one had it, and it was left there.
    Differs(Option<String>),
}

/// What an account can do with such addresses.
#[async_trait]
pub trait Addresses: Send + Sync {
    /// The one of that address (for a network: one that lies in it).
    async fn by_ip(&self, ip: IpAddr) -> Result<Option<Address>, ProviderError>;

    /// Whether a server in that region can have it.
    async fn reaches(&self, address: &Address, region: &str) -> Result<bool, ProviderError>;

    /// Assigns it to a server, or to none, if it is where `expected` says; waits until the provider has done it and
    /// shows it. A lost answer is looked after.
    async fn assign(
        &self,
        ip: IpAddr,
        expected: Option<&str>,
        wanted: Option<&str>,
    ) -> Result<Moved, ProviderError>;
}
