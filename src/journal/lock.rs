//! One run that changes things per estate. The embedded form is a lock file with its owner's card in
//! it: the kernel lets go of the lock when the process dies, however it dies, so what is left of a
//! crash is only a card to be read out. A takeover puts a new file in the place of the old one; the
//! old owner, who may still live, sees before its next record that the place is no longer its own.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::JournalError;
use super::folder::{make_directories, private_file};
use crate::ids::RunId;

/// The port: who may change an estate.
pub trait Estates: Send + Sync {
    /// Takes the estate, or says who has it.
    fn take(&self, estate: &str, owner: &Owner) -> Result<Box<dyn Held>, LockError>;

    /// Takes it from whoever has it. `typed` must be the id of the run that has it, as the person
    /// typed it: so they have seen whom they push aside.
    fn take_over(
        &self,
        estate: &str,
        owner: &Owner,
        typed: &str,
    ) -> Result<Box<dyn Held>, LockError>;

    /// Who has it now, if anybody living.
    fn owner(&self, estate: &str) -> Result<Option<Owner>, LockError>;
}

/// The right to change an estate, until it is dropped.
pub trait Held: Send {
    /// Still ours? Asked before each side effect.
    fn check(&self) -> Result<(), LockError>;

    /// The owner who died without letting go, or was pushed aside: worth a word to the person.
    fn before(&self) -> Option<&Owner>;
}

/// Who has an estate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The run.
    pub run: RunId,
    /// Its process.
    pub pid: u32,
    /// The number is that of a PID namespace: outside of its sandbox or container the process has another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside: bool,
    /// On this machine.
    pub host: String,
    /// In this life of the machine (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// Since.
    pub started: Timestamp,
    /// `user@machine` of the person.
    pub by: String,
}

impl Owner {
    /// This process, for a run.
    pub fn this_process(run: RunId, by: &str, now: Timestamp) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self {
            run,
            pid: std::process::id(),
            inside: in_pid_namespace(),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            boot: boot.trim().to_string(),
            started: now,
            by: by.to_string(),
        }
    }
}

/// The first PID namespace of a machine has this number, a constant of Linux (include/linux/proc_ns.h, PROC_PID_INIT_INO).
fn in_pid_namespace() -> bool {
    const FIRST: &str = "pid:[4026531836]";
    std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.as_os_str() != FIRST)
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "run {} of {}, process {}{} on {}, since {}",
            self.run,
            self.by,
            self.pid,
            if self.inside {
                " (as its sandbox or container counts)"
            } else {
                ""
            },
            self.host,
            self.started.strftime("%Y-%m-%d %H:%M:%S UTC")
        )
    }
}

/// Why an estate cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody living has it.
    #[error("the estate `{estate}` is in the hands of {}", who(.owner))]
    Held {
        /// The estate.
        estate: String,
        /// Who, if its card could be read.
        owner: Option<Box<Owner>>,
    },
    /// The person typed another run than the one that has it.
    #[error("the estate `{estate}` is in the hands of {}, not of the run `{typed}`", who(.owner))]
    Typed {
        /// The estate.
        estate: String,
        /// What was typed.
        typed: String,
        /// Who has it.
        owner: Option<Box<Owner>>,
    },
    /// Ours no longer.
    #[error("the estate `{estate}` was taken over by {}", who(.owner))]
    Lost {
        /// The estate.
        estate: String,
        /// By whom.
        owner: Option<Box<Owner>>,
    },
    /// The operating system refused.
    #[error("the lock of the estate `{estate}`")]
    File {
        /// The estate.
        estate: String,
        /// Why.
        source: JournalError,
    },
}

fn who(owner: &Option<Box<Owner>>) -> String {
    owner
        .as_ref()
        .map_or("an unknown run".into(), |owner| owner.to_string())
}

/// Lock files in `<state>/estates/`.
#[derive(Debug, Clone)]
pub struct FileEstates {
    folder: PathBuf,
}

impl FileEstates {
    /// Below the state folder.
    pub fn new(state: &Path) -> Self {
        Self {
            folder: state.join("estates"),
        }
    }

    fn path(&self, estate: &str, end: &str) -> PathBuf {
        // An estate's name is a person's text and must not choose a path.
        let name: String = estate
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        self.folder.join(format!("{name}.{end}"))
    }

    /// Taking and taking over happen behind a second lock, held for a moment: so the file in the
    /// place is never exchanged between a look at it and the taking.
    fn door(&self, estate: &str) -> Result<File, LockError> {
        let path = self.path(estate, "door");
        let file = |source| LockError::File {
            estate: estate.to_string(),
            source,
        };
        make_directories(&self.folder).map_err(file)?;
        let door = open(&path).map_err(|e| file(JournalError::io("opening", &path, e)))?;
        rustix::fs::flock(&door, FlockOperation::LockExclusive)
            .map_err(|e| file(JournalError::io("locking", &path, e.into())))?;
        Ok(door)
    }

    fn place(&self, estate: &str) -> Result<Place, LockError> {
        let path = self.path(estate, "lock");
        let failed = |doing, error: std::io::Error| LockError::File {
            estate: estate.to_string(),
            source: JournalError::io(doing, &path, error),
        };
        let mut file = open(&path).map_err(|e| failed("opening", e))?;
        let free = match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => true,
            Err(rustix::io::Errno::WOULDBLOCK) => false,
            Err(error) => return Err(failed("locking", error.into())),
        };
        let owner = card(&mut file);
        Ok(Place { file, free, owner })
    }

    fn sign(&self, estate: &str, place: Place, owner: &Owner) -> Result<FileHeld, LockError> {
        let mut held = FileHeld {
            estate: estate.to_string(),
            path: self.path(estate, "lock"),
            before: place.owner,
            file: place.file,
        };
        held.write_card(Some(owner)).map_err(|e| held.failed(e))?;
        Ok(held)
    }
}

struct Place {
    file: File,
    free: bool,
    owner: Option<Owner>,
}

fn open(path: &Path) -> std::io::Result<File> {
    private_file()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
}

/// The owner's card; none when the last owner let go in peace, or never finished writing it.
fn card(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

impl Estates for FileEstates {
    fn take(&self, estate: &str, owner: &Owner) -> Result<Box<dyn Held>, LockError> {
        let _door = self.door(estate)?;
        let place = self.place(estate)?;
        if !place.free {
            return Err(LockError::Held {
                estate: estate.to_string(),
                owner: place.owner.map(Box::new),
            });
        }
        Ok(Box::new(self.sign(estate, place, owner)?))
    }

    fn take_over(
        &self,
        estate: &str,
        owner: &Owner,
        typed: &str,
    ) -> Result<Box<dyn Held>, LockError> {
        let _door = self.door(estate)?;
        let place = self.place(estate)?;
        if place.free {
            return Ok(Box::new(self.sign(estate, place, owner)?));
        }
        if place
            .owner
            .as_ref()
            .is_none_or(|old| old.run.as_str() != typed)
        {
            return Err(LockError::Typed {
                estate: estate.to_string(),
                typed: typed.to_string(),
                owner: place.owner.map(Box::new),
            });
        }
        // The old file keeps its lock and its card; only its place is taken.
        let path = self.path(estate, "lock");
        let failed = |error: std::io::Error| LockError::File {
            estate: estate.to_string(),
            source: JournalError::io("removing", &path, error),
        };
        std::fs::remove_file(&path).map_err(failed)?;
        let new = self.place(estate)?;
        let place = Place {
            owner: place.owner,
            ..new
        };
        Ok(Box::new(self.sign(estate, place, owner)?))
    }

    fn owner(&self, estate: &str) -> Result<Option<Owner>, LockError> {
        let _door = self.door(estate)?;
        let place = self.place(estate)?;
        Ok(place.owner.filter(|_| !place.free))
    }
}

struct FileHeld {
    estate: String,
    path: PathBuf,
    file: File,
    before: Option<Owner>,
}

impl FileHeld {
    fn write_card(&mut self, owner: Option<&Owner>) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        if let Some(owner) = owner {
            let mut text = serde_json::to_vec(owner)?;
            text.push(b'\n');
            self.file.write_all(&text)?;
            self.file.sync_all()?;
        }
        Ok(())
    }

    fn failed(&self, error: std::io::Error) -> LockError {
        LockError::File {
            estate: self.estate.clone(),
            source: JournalError::io("writing", &self.path, error),
        }
    }

    fn in_place(&self) -> std::io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Held for FileHeld {
    fn check(&self) -> Result<(), LockError> {
        match self.in_place() {
            Ok(true) => Ok(()),
            Ok(false) => Err(LockError::Lost {
                estate: self.estate.clone(),
                owner: File::open(&self.path)
                    .ok()
                    .and_then(|mut file| card(&mut file))
                    .map(Box::new),
            }),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn before(&self) -> Option<&Owner> {
        self.before.as_ref()
    }
}

impl Drop for FileHeld {
    fn drop(&mut self) {
        // An empty card says that the owner went in peace; the lock itself goes with the file.
        let _ = self.write_card(None);
    }
}
