//! A place that holds backups, read through the object_store crate; and the catalog of what lies in it.

pub mod catalog;
pub mod judge;
mod local;
mod s3;

pub use local::LocalStore;
pub use s3::{S3Settings, S3Store};

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::kind::Failure;
use crate::secret::Secret;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The key, without a leading `/`.
    pub path: String,
    /// Stored bytes.
    pub bytes: u64,
    /// When the store says it was written.
    pub modified: Timestamp,
}

/// How a host gets an object without credentials of its own.
#[derive(Clone)]
pub enum Fetch {
    /// A presigned URL, good for a while. It is a secret: whoever has it has the backup.
    Url(Secret),
    /// The orchestrator reads it and streams it to the host (a local folder).
    Stream,
}

/// A store. Reads are retried inside.
#[async_trait]
pub trait Store: Send + Sync {
    /// The name in the inventory.
    fn name(&self) -> &str;

    /// All objects below a prefix, in no promised order.
    async fn list(&self, prefix: &str) -> Result<Vec<Object>, Failure>;

    /// A stretch of an object; shorter when it ends before.
    async fn read(&self, path: &str, from: u64, length: u64) -> Result<bytes::Bytes, Failure>;

    /// A way for a host to fetch it.
    async fn fetch(&self, path: &str, valid_for: Duration) -> Result<Fetch, Failure>;
}

/// Reads a small object whole, at most `limit` bytes.
pub async fn read_all(store: &dyn Store, path: &str, limit: u64) -> Result<bytes::Bytes, Failure> {
    let content = store.read(path, 0, limit + 1).await?;
    if content.len() as u64 > limit {
        return Err(Failure::new(
            crate::kind::Reason::Other,
            format!(
                "`{path}` in store `{}` is larger than the {limit} bytes it may have",
                store.name()
            ),
        ));
    }
    Ok(content)
}

/// Whether the store can be listed and this very object is not in it. A store that is down, a bucket that is missing and credentials
/// that are refused are failures: they say nothing about one object.
pub async fn lacks(store: &dyn Store, path: &str) -> Result<bool, Failure> {
    let there = store.list(path).await?;
    Ok(there.iter().all(|object| object.path != path))
}

/// Why object_store failed, in our words. Its own texts name places, never credentials: those travel in headers.
fn failure(store: &str, doing: &str, error: &object_store::Error) -> Failure {
    use object_store::Error;
    let text = crate::kind::chain(error);
    let reason = match error {
        Error::NotFound { .. } => crate::kind::Reason::NotFound,
        Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => {
            crate::kind::Reason::Denied
        }
        Error::InvalidPath { .. } => crate::kind::Reason::Refused,
        _ if text.contains("RequestTimeTooSkewed") => crate::kind::Reason::Denied,
        _ => crate::kind::Reason::Unreachable,
    };
    let failure = Failure::new(reason, format!("{doing} in store `{store}`: {text}"));
    match reason {
        _ if text.contains("RequestTimeTooSkewed") => {
            failure.hint("the clock of this machine is wrong: compare `date -u` with the store's")
        }
        crate::kind::Reason::Denied => {
            failure.hint("check the access key and secret key of the store, and what they may read")
        }
        _ => failure,
    }
}

/// A key as object_store wants it; what could leave the store's root is refused.
fn key(store: &str, path: &str) -> Result<object_store::path::Path, Failure> {
    let refuse = |why: &str| {
        Failure::new(
            crate::kind::Reason::Refused,
            format!("`{path}` is no path inside store `{store}`: {why}"),
        )
    };
    if path.is_empty() {
        return Err(refuse("it is empty"));
    }
    if path.starts_with('/') || path.contains('\0') {
        return Err(refuse("it must be relative, without NUL"));
    }
    if path
        .split('/')
        .any(|part| part == ".." || part == "." || part.is_empty())
    {
        return Err(refuse("`..`, `.` and empty parts are not allowed"));
    }
    object_store::path::Path::parse(path).map_err(|error| refuse(&error.to_string()))
}

/// Lists below a prefix that may end in the middle of a name, which object_store's own prefixes may not.
async fn list(
    inner: &dyn object_store::ObjectStore,
    name: &str,
    prefix: &str,
) -> Result<Vec<Object>, Failure> {
    use futures::TryStreamExt;
    let folder = match prefix.rfind('/') {
        Some(slash) => Some(key(name, &prefix[..slash])?),
        None => None,
    };
    let doing = format!("listing `{prefix}`");
    let mut objects = Vec::new();
    let mut stream = inner.list(folder.as_ref());
    while let Some(meta) = stream
        .try_next()
        .await
        .map_err(|error| failure(name, &doing, &error))?
    {
        if !meta.location.as_ref().starts_with(prefix) {
            continue;
        }
        let modified = Timestamp::new(
            meta.last_modified.timestamp(),
            meta.last_modified.timestamp_subsec_nanos() as i32,
        )
        .map_err(|error| Failure::from_error(crate::kind::Reason::Other, &doing, &error))?;
        objects.push(Object {
            path: meta.location.to_string(),
            bytes: meta.size,
            modified,
        });
    }
    Ok(objects)
}

/// Reads a stretch; a stretch that begins after the end is empty, not an error.
async fn read(
    inner: &dyn object_store::ObjectStore,
    name: &str,
    path: &str,
    from: u64,
    length: u64,
) -> Result<bytes::Bytes, Failure> {
    use object_store::ObjectStoreExt;
    let place = key(name, path)?;
    let doing = format!("reading `{path}`");
    // The size first: servers answer a range beyond the end in several ways, and an empty object has no range at all.
    let size = inner
        .head(&place)
        .await
        .map_err(|error| failure(name, &doing, &error))?
        .size;
    let end = size.min(from.saturating_add(length));
    if from >= end {
        return Ok(bytes::Bytes::new());
    }
    inner
        .get_range(&place, from..end)
        .await
        .map_err(|error| failure(name, &doing, &error))
}
