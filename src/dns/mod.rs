//! A DNS service behind one port: whole record sets, compared before they are set.

use async_trait::async_trait;

use crate::http::ServiceError;

pub mod hetzner;
pub mod powerdns;
mod record;

/// A record set's key and content.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordSet {
    /// Fully qualified, lower case, without the final dot: `www.shop.example`.
    pub name: String,
    /// `A`, `AAAA`, `CNAME`, ...
    pub kind: String,
    /// Seconds.
    pub ttl: u32,
    /// The values, sorted.
    pub values: Vec<String>,
}

/// What came of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The set holds the new value.
    Done,
    /// The set was not what was expected; nothing was changed. This is what stands there.
    Differs(Option<RecordSet>),
}

/// Whether a set is on its way from one to the other: the old values with the new lifetime. Some services change values
/// and lifetime by requests of their own, and a process may die between them.
pub fn halfway(now: &Option<RecordSet>, from: &Option<RecordSet>, to: &Option<RecordSet>) -> bool {
    match (now, from, to) {
        (Some(now), Some(from), Some(to)) => now.values == from.values && now.ttl == to.ttl,
        _ => false,
    }
}

/// An account that can change zones. Failures carry the same three outcomes as a cloud's.
#[async_trait]
pub trait Dns: Send + Sync {
    /// The account's name.
    fn account(&self) -> &str;

    /// The zone exists and this account may change it. The words are a warning that a person should see.
    async fn check_zone(&self, zone: &str) -> Result<Option<String>, ServiceError>;

    /// Nothing that is known now stands against changing this record set, which may not exist.
    async fn check_set(&self, _zone: &str, _name: &str, _kind: &str) -> Result<(), ServiceError> {
        Ok(())
    }

    /// A record set as the service holds it (not as a resolver answers).
    async fn get(
        &self,
        zone: &str,
        name: &str,
        kind: &str,
    ) -> Result<Option<RecordSet>, ServiceError>;

    /// Sets the record set if it still is what `expected` says; `None` expects or makes absence. A set that stands
    /// [`halfway`] is what an earlier call left that was ended in its middle, and is taken for the expected one.
    async fn swap(
        &self,
        zone: &str,
        name: &str,
        kind: &str,
        expected: Option<&RecordSet>,
        wanted: Option<&RecordSet>,
    ) -> Result<Swap, ServiceError>;

    /// The addresses (`ip:port`) of the name servers that answer for the zone, when the service knows better than a
    /// public look-up does (a sandbox, a hidden primary). Empty: ask the delegation.
    async fn servers(&self, zone: &str) -> Result<Vec<std::net::SocketAddr>, ServiceError>;
}
