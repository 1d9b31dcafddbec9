//! This machine as a host: the same texts, the same shells, a child process instead of a connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::pool::{OpenError, Opener, Pool};
use super::shell::{COMMAND, Shell};
use super::{
    Answer, JOB_ROOT, JobId, JobState, LogPart, Script, Transport, TransportError, Upload,
};
use crate::process::Program;

/// Runs on this machine, as the user that we are.
pub struct Local(Pool<Children>);

struct Children {
    host: String,
    generation: AtomicU64,
}

impl Local {
    /// Jobs go to `/var/lib/dr-plan`.
    pub fn new(host: &str) -> Self {
        Self::with_root(host, JOB_ROOT)
    }

    /// Jobs go to `root`, an absolute path.
    pub fn with_root(host: &str, root: &str) -> Self {
        let children = Children {
            host: host.to_string(),
            generation: AtomicU64::new(0),
        };
        Self(Pool::new(children, root))
    }
}

#[async_trait]
impl Opener for Children {
    fn host(&self) -> &str {
        &self.host
    }

    async fn open(&self) -> Result<Shell, OpenError> {
        let failed = |why: String| OpenError::Failed(TransportError::Local(why));
        let mut running = Program::new("sh")
            .args(["-c", COMMAND])
            .spawn()
            .map_err(|error| failed(crate::kind::chain(&error)))?;
        let child = &mut running.child;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Shell::new(
                Box::new(stdin),
                Box::new(stdout),
                Box::new(stderr),
                self.generation(),
                Box::new(running),
            )),
            _ => Err(failed("a child came up without its pipes".into())),
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    async fn dead(&self) -> bool {
        false
    }

    async fn examine(&self) {}

    async fn reset(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

super::through_pool!(Local);
