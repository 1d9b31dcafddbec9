//! Two disks for the ledger: one that does what a test wants, and a real one that is too small.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dr_plan::event::Event;
use dr_plan::journal::{Head, Journal, JournalError};

/// A journal whose disk is as slow, and as full, as the test wants.
#[derive(Clone, Default)]
pub struct Disk(pub Arc<Inner>);

#[derive(Default)]
pub struct Inner {
    pub seen: Mutex<Seen>,
    /// So many syncs may pass; none means any number.
    permits: Mutex<Option<u64>>,
    changed: Condvar,
    pub synced: AtomicU64,
}

#[derive(Default)]
pub struct Seen {
    pub events: Vec<Event>,
    pub batches: Vec<usize>,
    waiting_in_sync: bool,
    pub fail_append: bool,
    pub fail_sync: bool,
}

impl Disk {
    pub fn gated() -> Self {
        let disk = Self::default();
        *disk.0.permits.lock().unwrap() = Some(1);
        disk
    }

    pub fn let_pass(&self, count: u64) {
        *self.0.permits.lock().unwrap() = Some(count);
        self.0.changed.notify_all();
    }

    /// Waits until the writer stands in a sync that may not pass.
    pub fn stands_in_sync(&self) {
        let seen = self.0.seen.lock().unwrap();
        let (_seen, timeout) = self
            .0
            .changed
            .wait_timeout_while(seen, Duration::from_secs(20), |s| !s.waiting_in_sync)
            .unwrap();
        assert!(!timeout.timed_out(), "the writer never came to a sync");
    }

    fn full() -> JournalError {
        JournalError::Io {
            doing: "writing",
            path: "journal.jsonl".into(),
            source: Arc::new(std::io::ErrorKind::StorageFull.into()),
        }
    }
}

impl Journal for Disk {
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let mut seen = self.0.seen.lock().unwrap();
        if seen.fail_append {
            return Err(Disk::full());
        }
        seen.events.extend_from_slice(events);
        seen.batches.push(events.len());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        let last = {
            let mut seen = self.0.seen.lock().unwrap();
            seen.waiting_in_sync = true;
            self.0.changed.notify_all();
            seen.events.len() as u64
        };
        let mut permits = self.0.permits.lock().unwrap();
        while *permits == Some(0) {
            permits = self.0.changed.wait(permits).unwrap();
        }
        if let Some(left) = permits.as_mut() {
            *left -= 1;
        }
        drop(permits);
        let mut seen = self.0.seen.lock().unwrap();
        seen.waiting_in_sync = false;
        if seen.fail_sync {
            return Err(Disk::full());
        }
        self.0.synced.store(last, Ordering::SeqCst);
        Ok(())
    }

    fn head(&self) -> Head {
        Head::START
    }
}

/// A disk of 64 KiB in a mount namespace of its own, reached through the process that lives there.
pub struct SmallDisk(Child);

impl SmallDisk {
    pub fn mount() -> Self {
        let script = "mount -t tmpfs -o size=64k tmpfs /mnt && echo ready && exec cat";
        let user: &[&str] = if rustix::process::getuid().is_root() {
            &["-m"]
        } else {
            &["-rm"]
        };
        let mut child = Command::new("unshare")
            .args(user)
            .args(["sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "this machine allows no small disk");
        Self(child)
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/root/mnt", self.0.id()).into()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
