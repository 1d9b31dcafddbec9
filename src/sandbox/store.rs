//! The estate's backup store: an S3-compatible server over a folder, embedded so that nothing has
//! to be installed. Signatures are really checked, also those in presigned URLs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use super::listen::{Listening, listen};

/// A running store. Dropping it stops the server; the files stay.
#[derive(Debug)]
pub struct ObjectStore {
    listening: Listening,
}

/// Why the store could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("making the store's folder {}", path.display())]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("opening the store's folder {}: {why}", path.display())]
    Open { path: PathBuf, why: String },
    #[error("listening on {address} for the store")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("`{bucket}` is not a bucket name: 3 to 63 of a-z, 0-9, `.` and `-`")]
    Bucket { bucket: String },
}

impl ObjectStore {
    /// What goes into an inventory: `http://ADDRESS:PORT`, for path-style requests.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    /// The address really bound.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }
}

/// Serves the buckets under `folder` (made if missing; each bucket is a folder in it) to whoever
/// signs with this one pair of keys. Any region name is taken, as signatures carry their own.
///
/// # Errors
/// The folder cannot be made or opened, or the address cannot be bound.
pub async fn serve(
    address: SocketAddr,
    folder: &Path,
    access_key: &str,
    secret_key: &str,
) -> Result<ObjectStore, StoreError> {
    std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
        path: folder.to_owned(),
        source,
    })?;
    let files = s3s_fs::FileSystem::new(folder).map_err(|error| StoreError::Open {
        path: folder.to_owned(),
        why: format!("{error:?}"),
    })?;
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(access_key, secret_key));
    let listening = listen(address, builder.build())
        .await
        .map_err(|source| StoreError::Listen { address, source })?;
    Ok(ObjectStore { listening })
}

/// Makes a bucket from the inside, without a signed request.
///
/// # Errors
/// The name breaks S3's grammar for buckets, or the folder cannot be made.
pub fn make_bucket(folder: &Path, bucket: &str) -> Result<(), StoreError> {
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    let right = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)
        })
        && !bucket.starts_with(['.', '-'])
        && !bucket.ends_with(['.', '-'])
        && !bucket.contains("..");
    if !right {
        return Err(StoreError::Bucket {
            bucket: bucket.to_owned(),
        });
    }
    let path = folder.join(bucket);
    std::fs::create_dir_all(&path).map_err(|source| StoreError::Folder { path, source })
}
