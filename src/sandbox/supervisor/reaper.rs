//! The first duty of a PID 1: every process whose parent died becomes its child and must be
//! waited for. One table hands each exit to whoever asked for it.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use rustix::process::{WaitOptions, WaitStatus, wait};
use tokio::sync::oneshot;

use crate::sandbox::enter::Status;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It was gone before anybody asked.
    Unknown,
}

impl Exit {
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl From<WaitStatus> for Exit {
    fn from(status: WaitStatus) -> Self {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Self::Code(code),
            (_, Some(signal)) => Self::Signal(signal),
            _ => Self::Unknown,
        }
    }
}

/// Who waits for which process. Lives on one thread, so between a spawn and [`Reaper::watch`]
/// nothing can be reaped.
#[derive(Clone, Default)]
pub struct Reaper {
    watched: Rc<RefCell<HashMap<u32, Vec<oneshot::Sender<Exit>>>>>,
}

impl Reaper {
    /// The exit of a process, child or not, as long as it becomes one of this PID 1.
    pub fn watch(&self, pid: u32) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        if Status::of(pid).is_none() {
            let _ = sender.send(Exit::Unknown);
        } else {
            self.watched
                .borrow_mut()
                .entry(pid)
                .or_default()
                .push(sender);
        }
        receiver
    }

    /// Waits for everything that is dead by now; called on each SIGCHLD, which does not count.
    pub fn reap(&self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            for sender in self.watched.borrow_mut().remove(&pid).unwrap_or_default() {
                let _ = sender.send(status.into());
            }
        }
    }
}
