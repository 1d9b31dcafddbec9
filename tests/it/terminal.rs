//! What it takes to be between a person's look and their command's deed: a terminal to type at, and the door of an estate's lock,
//! held shut.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The person's side of a terminal (pty(7)).
pub struct Terminal(File);

impl Terminal {
    /// A terminal, and its other side: the standard input of a command.
    pub fn new() -> (Self, OwnedFd) {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let input = open(name.as_c_str(), flags, Mode::empty()).unwrap();
        (Self(File::from(person)), input)
    }

    /// A line, and the return key.
    pub fn types(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// The door before an estate's lock: while it is held, whoever wants the lock waits, and has looked at all that it looks at before.
pub struct Door(File);

impl Door {
    pub fn shut(state: &Path, estate: &str) -> Self {
        let estates = state.join("estates");
        std::fs::create_dir_all(&estates).unwrap();
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options
            .open(estates.join(format!("{estate}.door")))
            .unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        Self(file)
    }

    /// See proc_locks(5).
    pub fn somebody_waits(&self) -> bool {
        let file = format!(":{} ", self.0.metadata().unwrap().ino());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks
            .lines()
            .any(|line| line.contains("->") && line.contains(&file))
    }
}

/// A second folder for what is kept, with the same runs and worlds and other locks: a command there does not wait for a door that is
/// held shut here.
pub fn beside(state: &Path, beside: &Path) {
    std::fs::create_dir_all(beside).unwrap();
    for shared in ["runs", "sandbox"] {
        let (from, to) = (state.join(shared), beside.join(shared));
        if from.exists() && !to.exists() {
            std::os::unix::fs::symlink(from, to).unwrap();
        }
    }
}
