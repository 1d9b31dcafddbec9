//! A run's own folder: copies of everything it was made of, its journal, what its steps said, its
//! reports, and the box in which other processes leave messages. Only its owner may look inside.
//!
//! ```text
//! <state>/runs/<run id>/
//!     files/...        the plan, inventory, provider files as they were
//!     journal.jsonl    the records
//!     output/<step>.log
//!     inbox/           messages of `approve` and `mark`
//!     ssh/             what the run needs for its own connections
//!     report.md ...
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use super::file::is_written;
use super::format::Hash;
use super::inbox::Inbox;
use super::output::CapturedOutput;
use super::read::{Follower, Reading, Records, read_all, read_sound};
use super::{FileJournal, Head, JournalError, sync_directory};
use crate::event::{FileHash, Header, What};
use crate::ids::{RunId, StepId};
use crate::secret::Mask;
use crate::state::RunState;

/// What can be wrong with a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The operating system refused.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A path that would leave the folder.
    #[error("`{0}` cannot be kept with a run: its path must be relative and without `..`")]
    Path(String),
    /// A kept file is not what the journal's header says.
    #[error("{} was changed after the run began", .0.display())]
    Changed(PathBuf),
    /// No run of that name.
    #[error("{}", no_such_run(name, state))]
    NoSuchRun {
        /// What was asked for.
        name: String,
        /// Where.
        state: PathBuf,
    },
    /// Several runs fit.
    #[error("`{name}` can mean {}", all.iter().map(RunId::short).collect::<Vec<_>>().join(" or "))]
    Several {
        /// What was asked for.
        name: String,
        /// What it could mean.
        all: Vec<RunId>,
    },
}

fn no_such_run(name: &str, state: &Path) -> String {
    match name {
        "last" => format!(
            "no run has been begun yet (runs are kept in {})",
            state.display()
        ),
        _ => format!("there is no run `{name}` in {}", state.display()),
    }
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    run: RunId,
}

/// A run in a list.
#[derive(Debug)]
pub struct Found {
    /// Its folder.
    pub folder: RunFolder,
    /// When it began and what it is; none when it never got as far as its first record.
    pub header: Result<Option<(Timestamp, Box<Header>)>, JournalError>,
}

const JOURNAL: &str = "journal.jsonl";
const FILES: &str = "files";

impl RunFolder {
    /// Makes the folder (0700) with copies (0600) of the run's files, all of it on disk afterwards.
    /// Paths are relative; they come back with their hashes, as they stand within the folder.
    pub fn create(
        state: &Path,
        run: &RunId,
        files: Vec<(String, Vec<u8>)>,
    ) -> Result<(Self, Vec<FileHash>), FolderError> {
        let runs = state.join("runs");
        make_directories(&runs)?;
        let folder = Self {
            path: runs.join(run.as_str()),
            run: run.clone(),
        };
        private_directory(&folder.path).map_err(|e| JournalError::io("making", &folder.path, e))?;
        sync_directory(&runs)?;
        let root = folder.path.join(FILES);
        for path in [
            &root,
            &folder.path.join("output"),
            &folder.inbox().path().into(),
            &folder.ssh(),
        ] {
            make_directories(path)?;
        }
        let mut hashes = Vec::new();
        for (name, bytes) in files {
            let relative = Path::new(&name);
            if name.is_empty()
                || !relative
                    .components()
                    .all(|c| matches!(c, Component::Normal(_)))
            {
                return Err(FolderError::Path(name));
            }
            let path = root.join(relative);
            make_directories(path.parent().unwrap_or(&root))?;
            write_new(&path, &bytes)?;
            hashes.push(FileHash {
                path: format!("{FILES}/{name}"),
                sha256: Hash::of(&bytes).to_string(),
            });
        }
        sync_directory(&folder.path)?;
        Ok((folder, hashes))
    }

    /// The folder of a run whose whole id is known.
    pub fn open(state: &Path, run: &RunId) -> Result<Self, FolderError> {
        let path = state.join("runs").join(run.as_str());
        if !path.is_dir() {
            return Err(FolderError::NoSuchRun {
                name: run.to_string(),
                state: state.to_path_buf(),
            });
        }
        Ok(Self {
            path,
            run: run.clone(),
        })
    }

    /// All runs, the newest first. A damaged one is in the list, with its error.
    pub fn list(state: &Path) -> Result<Vec<Found>, FolderError> {
        Ok(ids(state)?
            .into_iter()
            .map(|run| {
                let folder = Self {
                    path: state.join("runs").join(run.as_str()),
                    run,
                };
                let header = folder.header();
                Found { folder, header }
            })
            .collect())
    }

    /// A run by its id, the beginning or the end of it (people are shown the end), or `last`.
    pub fn find(state: &Path, name: &str) -> Result<Self, FolderError> {
        let all = ids(state)?;
        let lower = name.to_lowercase();
        let mut fit: Vec<RunId> = match name {
            // A process that was killed before its first record leaves a folder and no run.
            "last" => all
                .into_iter()
                .find(|run| {
                    let journal = state.join("runs").join(run.as_str()).join(JOURNAL);
                    journal.metadata().is_ok_and(|file| file.len() > 0)
                })
                .into_iter()
                .collect(),
            _ => all
                .into_iter()
                .filter(|id| {
                    // The short one, which is shown, is the end of it, and may be typed in part as well.
                    let fits = id.as_str().starts_with(&lower) || id.as_str().ends_with(&lower);
                    !lower.is_empty() && (fits || id.short().starts_with(&lower))
                })
                .collect(),
        };
        if let Some(at) = fit.iter().position(|id| id.as_str() == lower) {
            fit = vec![fit.swap_remove(at)];
        }
        match fit.as_slice() {
            [one] => Self::open(state, one),
            [] => Err(FolderError::NoSuchRun {
                name: name.to_string(),
                state: state.to_path_buf(),
            }),
            _ => Err(FolderError::Several {
                name: name.to_string(),
                all: fit,
            }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// The journal's file.
    pub fn journal_path(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// Where other processes leave messages.
    pub fn inbox(&self) -> Inbox {
        Inbox::at(self.path.join("inbox"))
    }

    /// The run's own SSH files.
    pub fn ssh(&self) -> PathBuf {
        self.path.join("ssh")
    }

    /// Where the captured output of a step lies; it need not exist.
    pub fn output_path(&self, step: &StepId) -> PathBuf {
        self.path.join("output").join(format!("{step}.log"))
    }

    /// Opens the captured output of a step for appending, masked.
    pub fn capture(&self, step: &StepId, mask: Mask) -> Result<CapturedOutput, JournalError> {
        let path = self.output_path(step);
        let file = private_file()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|e| JournalError::io("opening", &path, e))?;
        Ok(CapturedOutput::new(file, mask))
    }

    /// Begins the journal of a new run.
    pub fn create_journal(&self) -> Result<FileJournal, JournalError> {
        FileJournal::create(&self.journal_path(), &self.run)
    }

    /// Opens the journal to go on with the run; a torn last line is cut off (see the reading).
    pub fn open_journal(&self) -> Result<(FileJournal, Reading), JournalError> {
        FileJournal::open(&self.journal_path(), &self.run).map_err(|error| self.begun(error))
    }

    /// Reads the journal without touching it.
    pub fn read(&self) -> Result<Reading, JournalError> {
        read_all(&self.journal_path()).map_err(|error| self.begun(error))
    }

    /// The sum of the whole journal, for those who build on it.
    ///
    /// # Errors
    /// [`JournalError::Empty`]: the run never began.
    pub fn sum(&self) -> Result<RunState, JournalError> {
        self.sum_of(&self.read()?)
    }

    /// Opens the journal to go on with the run, and its sum behind the journal's own lock.
    pub fn open_sum(&self) -> Result<(FileJournal, RunState), JournalError> {
        let (journal, reading) = self.open_journal()?;
        Ok((journal, self.sum_of(&reading)?))
    }

    /// The sum as far as the journal is sound, where that ends, and why; see [`read_sound`].
    pub fn sound_sum(&self) -> Result<(RunState, Head, Option<JournalError>), JournalError> {
        let (reading, bad) = read_sound(&self.journal_path()).map_err(|error| self.begun(error))?;
        match bad {
            Some(bad) if reading.events.is_empty() => Err(bad),
            bad => Ok((self.sum_of(&reading)?, reading.head, bad)),
        }
    }

    fn sum_of(&self, reading: &Reading) -> Result<RunState, JournalError> {
        let path = self.journal_path();
        if reading.events.is_empty() {
            return Err(JournalError::Empty { path });
        }
        RunState::replay(&reading.events)
            .map_err(|source| JournalError::Contradiction { path, source })
    }

    /// A process that dies before its first record may leave no journal at all.
    fn begun(&self, error: JournalError) -> JournalError {
        match error {
            JournalError::Io { path, source, .. }
                if source.kind() == ErrorKind::NotFound && path == self.journal_path() =>
            {
                JournalError::Empty { path }
            }
            error => error,
        }
    }

    /// Follows the journal from the event `from` on.
    pub fn follow(&self, from: u64) -> Result<Follower, JournalError> {
        Follower::open(&self.journal_path(), from).map_err(|error| self.begun(error))
    }

    /// Whether a living process is at work on the run.
    pub fn is_live(&self) -> Result<bool, JournalError> {
        is_written(&self.journal_path())
    }

    fn header(&self) -> Result<Option<(Timestamp, Box<Header>)>, JournalError> {
        let path = self.journal_path();
        if !path.exists() {
            return Ok(None);
        }
        Ok(match Records::open(&path)?.next_event()? {
            Some(event) => match event.what {
                What::Header(header) => Some((event.at, header)),
                _ => None,
            },
            None => None,
        })
    }

    /// A copy that the run was made of, if it still is what the header says.
    pub fn file(&self, known: &FileHash) -> Result<Vec<u8>, FolderError> {
        let path = self.path.join(&known.path);
        let bytes = std::fs::read(&path).map_err(|e| JournalError::io("reading", &path, e))?;
        if Hash::of(&bytes).to_string() != known.sha256 {
            return Err(FolderError::Changed(path));
        }
        Ok(bytes)
    }

    /// Writes a file of the run (a report) whole or not at all, 0600; one that is there is replaced.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, JournalError> {
        let path = self.path.join(name);
        replace(&path, bytes)?;
        Ok(path)
    }
}

/// Ids of all runs, the newest first: ULIDs sort by time.
fn ids(state: &Path) -> Result<Vec<RunId>, JournalError> {
    let runs = state.join("runs");
    let io = |e| JournalError::io("reading", &runs, e);
    let entries = match std::fs::read_dir(&runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let Some(run) = entry
            .file_name()
            .to_str()
            .and_then(|n| RunId::parse(n).ok())
            .filter(|id| is_folder && ulid::Ulid::from_string(id.as_str()).is_ok())
        {
            all.push(run);
        }
    }
    all.sort_by(|a, b| b.cmp(a));
    Ok(all)
}

/// How files of a run are opened: only their owner may read them.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn private_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes a directory and those above it, each 0700 and on disk.
pub(super) fn make_directories(path: &Path) -> Result<(), JournalError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        if parent.as_os_str().is_empty() {
            return private_directory(path).map_err(|e| JournalError::io("making", path, e));
        }
        make_directories(parent)?;
        match private_directory(path) {
            // Another process was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(JournalError::io("making", path, error)),
            Ok(()) => sync_directory(parent)?,
        }
    }
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let io = |e| JournalError::io("writing", path, e);
    let mut file: File = private_file()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.sync_all().map_err(io)?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Writes beside the target, then renames: another process sees the old file or the new one, whole.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("file");
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    // What a crash of a process with the same number left.
    let _ = std::fs::remove_file(&beside);
    write_new(&beside, bytes)?;
    std::fs::rename(&beside, path).map_err(|e| JournalError::io("writing", path, e))?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}
