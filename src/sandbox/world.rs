//! A world seen from outside: brought up, found again, entered, taken down. What it is made of
//! lies inside; outside there is one process to kill and one small folder that says which.

mod start;

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{
    control::{self, Answer, Ask, ControlError, WorldStatus},
    enter::{self, Status},
    machines::{Machine, valid_name},
    needs::{self, Needs},
    network, places,
    world_init::WorldOrder,
};

/// Where worlds leave their traces outside themselves. The command line fills it from
/// `XDG_STATE_HOME` (`~/.local/state`) and `XDG_CACHE_HOME` (`~/.cache`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// One folder per world: `world.json`, `world.log`.
    pub state: PathBuf,
    /// Prepared packages, shared by all worlds of this user.
    pub cache: PathBuf,
}

impl Folders {
    /// Below the two folders of the XDG base directory specification.
    pub fn below(state_home: &Path, cache_home: &Path) -> Self {
        Self {
            state: state_home.join("dr-plan/sandbox"),
            cache: cache_home.join("dr-plan/sandbox"),
        }
    }
}

/// A running world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    name: String,
    record: Record,
    folder: PathBuf,
}

/// What is written down of a running world. Process ids come again; together with the time of the
/// start and the boot they do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// PID 1 of the world, as counted outside.
    pid: u32,
    /// See [`Status::started`].
    started: u64,
    boot_id: String,
    /// The PID namespace it is counted in: seen from another one, the number says nothing.
    #[serde(default)]
    counted_in: String,
    /// Made by an ordinary user, in a user namespace.
    user: bool,
}

/// What a world holds besides machines and cables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Nothing: machines are made through the control socket.
    Bare,
    /// A cloud's API, a name server with its resolver, a store, a place for messages.
    Services,
}

/// What [`World::up`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Up {
    Made(World),
    Already(World),
}

impl Up {
    pub fn world(self) -> World {
        match self {
            Self::Made(world) | Self::Already(world) => world,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    #[error(transparent)]
    Needs(#[from] Needs),
    #[error("`{0}` cannot name a world: 1 to 63 of a-z, 0-9 and `-`, not at its ends")]
    BadName(String),
    #[error("a world has 1 to {most} regions, not {asked}", most = network::MOST_REGIONS)]
    BadRegions { asked: usize },
    #[error("the sandbox world `{0}` is not running")]
    Absent(String),
    #[error("this process lives in the world `{inner}` and cannot see worlds beside it")]
    Inside { inner: String },
    #[error("{what} {}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("starting `{program}`")]
    Program {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the world did not come up: {why} (see {})", log.display())]
    Start { why: String, log: PathBuf },
    #[error("the world's process {pid} does not end: {}", still_there(members))]
    Stubborn { pid: u32, members: Vec<Member> },
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// A process of a world that is being taken down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub pid: u32,
    pub name: String,
    /// One letter, see [`Status::letter`].
    pub letter: char,
    /// Who has to collect it when it has ended, as counted here.
    pub parent: u32,
}

/// How long the parent of an ended process is given to collect it.
const COLLECTED: Duration = Duration::from_secs(1);

fn still_there(members: &[Member]) -> String {
    let each = members
        .iter()
        .map(|one| format!("{} ({}, state {})", one.pid, one.name, one.letter));
    match members.is_empty() {
        true => "the kernel does not say why".to_owned(),
        false => format!("still there: {}", each.collect::<Vec<_>>().join(", ")),
    }
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WorldError {
    let path = path.to_owned();
    move |source| WorldError::File { what, path, source }
}

impl World {
    /// Brings a world up and returns when machines can be made in it; one of that name that runs
    /// already is found and left alone. The world outlives the caller. `program` is this binary.
    pub fn up(
        name: &str,
        regions: usize,
        contents: Contents,
        folders: &Folders,
        program: &Path,
    ) -> Result<Up, WorldError> {
        if !valid_name(name) {
            return Err(WorldError::BadName(name.to_owned()));
        }
        if !(1..=network::MOST_REGIONS).contains(&regions) {
            return Err(WorldError::BadRegions { asked: regions });
        }
        let folder = folders.state.join(name);
        fs::create_dir_all(&folders.cache).map_err(file("making", &folders.cache))?;
        // Two `up` at once: the second waits and finds the world of the first.
        let _lock = lock(&folder)?;
        if let Some(world) = Self::find(name, folders)? {
            return Ok(Up::Already(world));
        }
        needs::check(match contents {
            Contents::Bare => needs::For::Machines,
            Contents::Services => needs::For::Services,
        })?;
        let user = !rustix::process::geteuid().is_root();
        let order = WorldOrder {
            name: name.to_owned(),
            regions,
            services: contents == Contents::Services,
            cache: folders.cache.clone(),
        };
        let record = start::start(&order, &folder, user, program)?;
        let world = Self {
            name: name.to_owned(),
            record,
            folder,
        };
        world.remember()?;
        Ok(Up::Made(world))
    }

    /// The running world of that name. What is left of one that is gone is cleared away.
    pub fn find(name: &str, folders: &Folders) -> Result<Option<Self>, WorldError> {
        if !valid_name(name) {
            return Err(WorldError::BadName(name.to_owned()));
        }
        let folder = folders.state.join(name);
        let path = folder.join("world.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file("reading", &path)(error)),
        };
        // A file that makes no sense describes no world that runs.
        let record = serde_json::from_str::<Record>(&text).ok();
        if let Some(inner) = Self::current()
            && record
                .as_ref()
                .is_some_and(|record| record.counted_in != enter::pid_namespace())
        {
            return Err(WorldError::Inside { inner });
        }
        let record = record.filter(Record::is_running);
        if record.is_none() {
            let _ = fs::remove_file(&path);
        }
        Ok(record.map(|record| Self {
            name: name.to_owned(),
            record,
            folder,
        }))
    }

    /// As [`World::find`], and an error if it is not there.
    pub fn get(name: &str, folders: &Folders) -> Result<Self, WorldError> {
        Self::find(name, folders)?.ok_or_else(|| WorldError::Absent(name.to_owned()))
    }

    /// Names of all running worlds of these folders.
    pub fn list(folders: &Folders) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&folders.state) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.retain(|name| matches!(Self::find(name, folders), Ok(Some(_))));
        names.sort();
        names
    }

    /// When the world that this process lives in was brought up.
    pub fn since() -> Option<jiff::Timestamp> {
        let modified = fs::metadata("/run/dr-plan/world.json")
            .ok()?
            .modified()
            .ok()?;
        jiff::Timestamp::try_from(modified).ok()
    }

    /// The name of the world that this process lives in, if it does.
    pub fn current() -> Option<String> {
        let text = fs::read_to_string("/run/dr-plan/world.json").ok()?;
        serde_json::from_str::<WorldOrder>(&text)
            .ok()
            .map(|order| order.name)
    }

    /// Asks the daemon of the world of that name, from outside or from inside it.
    pub fn ask_named(name: &str, folders: &Folders, question: &Ask) -> Result<Answer, WorldError> {
        if Self::current().as_deref() == Some(name) {
            return Ok(control::ask(Path::new(places::WORLD_SOCKET), question)?);
        }
        Self::get(name, folders)?.ask(question)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// PID 1 of the world, as counted here.
    pub fn pid(&self) -> u32 {
        self.record.pid
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("world.log")
    }

    fn remember(&self) -> Result<(), WorldError> {
        let path = self.folder.join("world.json");
        let new = self.folder.join("world.json.new");
        let text =
            serde_json::to_string(&self.record).expect("numbers and strings always become JSON");
        fs::write(&new, text + "\n")
            .and_then(|()| fs::rename(&new, &path))
            .map_err(file("writing", &path))
    }

    /// Ends every process of the world; namespaces, mounts, disks and its folder go with them. Gives back those that have ended
    /// and stay in the table of processes, because their parent outside does not collect them.
    pub fn down(&self) -> Result<Vec<Member>, WorldError> {
        let _lock = lock(&self.folder)?;
        if self.record.is_running()
            && let Some(pid) = i32::try_from(self.record.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::KILL);
            // PID 1 of a namespace is gone only after everything in it.
            let deadline = Instant::now() + Duration::from_secs(20);
            let mut ended: Option<Instant> = None;
            while self.record.status().is_some_and(|status| !status.is_dead()) {
                // Who only waits for a parent to collect them: most parents do it in a moment.
                match self.record.is_running() {
                    true => ended = None,
                    false if ended.get_or_insert_with(Instant::now).elapsed() > COLLECTED => break,
                    false => {}
                }
                if Instant::now() > deadline {
                    return Err(WorldError::Stubborn {
                        pid: self.record.pid,
                        members: self.record.others(),
                    });
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        let left = match self.record.status() {
            Some(status) if !status.is_dead() => self.record.others(),
            _ => Vec::new(),
        };
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(file("removing", &self.folder)(error))
            }
            _ => Ok(left),
        }
    }

    /// The words that run a command in the world, in the folder `from` if that exists there: for
    /// `exec`, or for a [`Command`] of the caller's own making.
    ///
    /// `nsenter` stays between the caller and the command. Signals of the terminal reach both: it
    /// lets them pass and waits for what the command makes of them. When it is ended itself, the
    /// command gets SIGTERM (see `sandbox-world-exec`).
    pub fn enter(&self, from: &Path, words: &[OsString]) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["env".into(), "--ignore-signal=HUP,INT,QUIT".into()];
        all.extend(enter::nsenter(self.record.pid, self.record.user));
        all.extend([
            "env".into(),
            "--default-signal=HUP,INT,QUIT".into(),
            places::WORLD_BINARY.into(),
            "sandbox-world-exec".into(),
            from.into(),
            "--".into(),
        ]);
        all.extend_from_slice(words);
        all
    }

    /// A command in the world: standard streams and environment are the caller's.
    pub fn command<W: AsRef<OsStr>>(&self, words: &[W]) -> Command {
        let words: Vec<OsString> = words.iter().map(|word| word.as_ref().to_owned()).collect();
        let from = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let all = self.enter(&from, &words);
        let mut command = Command::new(&all[0]);
        command.args(&all[1..]);
        command
    }

    /// A command inside a machine, as its root, without SSH; for looking and for breaking things.
    pub fn command_on<W: AsRef<OsStr>>(&self, machine: &Machine, words: &[W]) -> Option<Command> {
        let mut all = enter::nsenter_machine(machine.init_pid?);
        all.extend(words.iter().map(|word| word.as_ref().to_owned()));
        Some(self.command(&all))
    }

    /// The control socket, as a path that leads there from outside and from inside.
    pub fn socket(&self) -> PathBuf {
        Path::new("/proc")
            .join(self.record.pid.to_string())
            .join("root")
            .join(places::WORLD_SOCKET.trim_start_matches('/'))
    }

    /// Asks the world's daemon.
    pub fn ask(&self, question: &Ask) -> Result<Answer, WorldError> {
        Ok(control::ask(&self.socket(), question)?)
    }

    pub fn status(&self) -> Result<WorldStatus, WorldError> {
        match self.ask(&Ask::Status)? {
            Answer::Status { status } => Ok(*status),
            other => Err(ControlError::Answer(format!("{other:?}")).into()),
        }
    }
}

impl Record {
    /// The first process, also when it has ended and was not collected.
    fn status(&self) -> Option<Status> {
        let this_boot = enter::boot_id().is_ok_and(|id| id == self.boot_id);
        Status::of(self.pid).filter(|status| this_boot && status.started == self.started)
    }

    /// PID 1 of a namespace ends after everything in it was collected. One that waits for nothing else runs no more: what is
    /// not collected was entered from outside, and its parent there may never do it (a container whose PID 1 is `sleep`).
    fn is_running(&self) -> bool {
        let Some(status) = self.status().filter(|status| !status.is_dead()) else {
            return false;
        };
        if !status.exiting {
            return true;
        }
        let others = self.others();
        // What a process of the world has to collect goes with that one.
        let inside = |pid: u32| pid == self.pid || others.iter().any(|one| one.pid == pid);
        let waits_for_us = |one: &Member| matches!(one.letter, 'Z' | 'X') && !inside(one.parent);
        others.is_empty() || !others.iter().all(waits_for_us)
    }

    /// All processes of the world but the first.
    fn others(&self) -> Vec<Member> {
        let all = enter::in_namespace_of(self.pid).into_iter();
        all.filter(|pid| *pid != self.pid)
            .filter_map(|pid| {
                let status = Status::of(pid)?;
                Some(Member {
                    pid,
                    name: enter::name_of(pid)?,
                    letter: status.letter,
                    parent: status.parent,
                })
            })
            .collect()
    }
}

/// The lock of a world's folder, which is made if it is missing. Whoever held it before may have
/// taken the folder away with the lock in it: that one locks nobody out any more.
fn lock(folder: &Path) -> Result<fs::File, WorldError> {
    use std::os::unix::fs::MetadataExt as _;
    let path = folder.join("lock");
    loop {
        fs::create_dir_all(folder).map_err(file("making", folder))?;
        let lock = match fs::File::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(file("making", &path))?,
        };
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|errno| file("locking", &path)(errno.into()))?;
        let inode = |about: fs::Metadata| about.ino();
        if fs::metadata(&path).map(inode).ok() == lock.metadata().map(inode).ok() {
            return Ok(lock);
        }
    }
}
