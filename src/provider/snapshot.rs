//! Copies of a server's disk at a cloud, behind one port. Not every cloud needs to offer it.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{ProviderError, Tags};

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSpec {
    /// The provider's id of the server.
    pub server: String,
    /// Words for people; two may have the same.
    pub name: String,
    /// Run and step, found again by `find`.
    pub tags: Tags,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being made.
    Making,
    /// A server can be made from it.
    Ready,
    /// Nothing will ever come of it.
    Broken,
}

/// A snapshot as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The provider's id.
    pub id: String,
    /// Words for people.
    pub name: String,
    /// How far it is.
    pub state: State,
    /// The id of the server that was copied.
    pub of: Option<String>,
    /// Its name at that time; the server may be gone.
    pub of_name: Option<String>,
    /// When.
    pub taken: Option<Timestamp>,
    /// The bytes of disk that a server made from it needs at least.
    pub disk: u64,
    /// `x86` or `arm`, in the provider's word.
    pub architecture: String,
    /// Our marks, if it carries both.
    pub tags: Option<Tags>,
}

/// What an account can do with snapshots. Reads and deletions are retried inside; `create` sends its request exactly once.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Those that carry this run's and step's tag.
    async fn find(&self, run: &str, step: &str) -> Result<Vec<Snapshot>, ProviderError>;

    /// Those that were taken of a server of that name.
    async fn of_server(&self, name: &str) -> Result<Vec<Snapshot>, ProviderError>;

    /// One snapshot; `None` is a proven 404.
    async fn get(&self, id: &str) -> Result<Option<Snapshot>, ProviderError>;

    /// Sends one request and returns with what the provider answers at once. `Unknown` when the answer is lost.
    /// `reconcile::snapshot_once` is the way to it.
    async fn create(&self, spec: &SnapshotSpec) -> Result<Snapshot, ProviderError>;

    /// Waits until a server can be made from it. One that is still being made at the end is `Refused` with `Timeout`.
    async fn created(&self, id: &str, within: Duration) -> Result<Snapshot, ProviderError>;

    /// Deletes it, proved by a 404. Already gone is success.
    async fn delete(&self, id: &str) -> Result<(), ProviderError>;
}
