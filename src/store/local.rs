//! A folder of this machine that holds backups (a mounted share, a disk from the safe).

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use object_store::local::LocalFileSystem;

use super::{Fetch, Object, Store};
use crate::kind::{Failure, Reason};

/// A local folder. Nothing outside it can be reached through it, neither by `..` nor by a symbolic link.
#[derive(Debug)]
pub struct LocalStore {
    name: String,
    root: PathBuf,
    inner: LocalFileSystem,
}

impl LocalStore {
    /// Opens a folder that must exist.
    pub fn new(name: &str, folder: &Path) -> Result<Self, Failure> {
        let root = folder.canonicalize().map_err(|error| {
            Failure::new(
                Reason::NotFound,
                format!(
                    "store `{name}`: opening the folder `{}`: {error}",
                    folder.display()
                ),
            )
        })?;
        let inner = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| super::failure(name, "opening the folder", &error))?;
        Ok(Self {
            name: name.to_string(),
            root,
            inner,
        })
    }

    /// Refuses a path that a symbolic link leads out of the folder. A missing file is left to the reader to report.
    fn stays_inside(&self, path: &str) -> Result<(), Failure> {
        let place = super::key(&self.name, path)?;
        match self.root.join(place.as_ref()).canonicalize() {
            Ok(real) if !real.starts_with(&self.root) => Err(Failure::new(
                Reason::Refused,
                format!(
                    "`{path}` in store `{}` leads out of the store, to `{}`",
                    self.name,
                    real.display()
                ),
            )),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Store for LocalStore {
    fn name(&self) -> &str {
        &self.name
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, Failure> {
        super::list(&self.inner, &self.name, prefix).await
    }

    async fn read(&self, path: &str, from: u64, length: u64) -> Result<bytes::Bytes, Failure> {
        self.stays_inside(path)?;
        super::read(&self.inner, &self.name, path, from, length).await
    }

    async fn fetch(&self, path: &str, _valid_for: Duration) -> Result<Fetch, Failure> {
        self.stays_inside(path)?;
        Ok(Fetch::Stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_outside_the_folder_can_be_read() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("secret"), "canary").unwrap();
        let folder = outer.path().join("store");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("inside"), "0123456789").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("..", folder.join("up")).unwrap();
        let store = LocalStore::new("nas", &folder).unwrap();
        for path in [
            "../secret",
            "/etc/passwd",
            "link",
            "up/secret",
            "a/../../secret",
            "",
        ] {
            let error = store.read(path, 0, 100).await.unwrap_err();
            assert_eq!(error.reason, Reason::Refused, "{path}: {error}");
        }
        assert_eq!(&store.read("inside", 2, 3).await.unwrap()[..], b"234");
        assert_eq!(&store.read("inside", 8, 30).await.unwrap()[..], b"89");
        assert!(store.read("inside", 30, 30).await.unwrap().is_empty());
        assert_eq!(
            store.read("missing", 0, 1).await.unwrap_err().reason,
            Reason::NotFound
        );
    }
}
