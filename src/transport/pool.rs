//! The serving shells of one host: at most eight at a time (a server allows ten sessions on a connection unless
//! told otherwise: `MaxSessions`, sshd_config(5)), used again and again, replaced when they break.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::frame::nonce;
use super::quote::Text;
use super::shell::{Mode, Said, Shell};
use super::{Answer, TransportError};

/// At most this many sessions at once on one host.
const SESSIONS: usize = 8;

/// Of these, at most so many wait for news of a job.
const WATCHERS: usize = 4;

/// Why no shell came up.
pub(super) enum OpenError {
    /// The server has no room for another session on this connection now.
    Full,
    /// Anything else.
    Failed(TransportError),
}

/// Starts shells on one host, over a connection or as a child.
#[async_trait]
pub(super) trait Opener: Send + Sync {
    fn host(&self) -> &str;
    /// A new shell.
    async fn open(&self) -> Result<Shell, OpenError>;
    /// The connection that new shells belong to. Shells of another one are not used again.
    fn generation(&self) -> u64;
    /// Whether the connection is known to be dead.
    async fn dead(&self) -> bool;
    /// Asks the local end of the connection for a sign of life, and forgets it when there is none.
    async fn examine(&self);
    /// Forgets the connection.
    async fn reset(&self);
}

/// The text of one request and how to run it.
pub(super) struct Request<'a> {
    pub mode: Mode,
    /// Given the request's number, the sealed text.
    pub text: Text,
    pub input: &'a [u8],
}

pub(super) struct Pool<O> {
    pub opener: O,
    /// Where jobs have their folders.
    pub root: String,
    idle: Mutex<Vec<Shell>>,
    permits: Semaphore,
    pub watchers: Semaphore,
    /// The last request timed out: the connection is examined before the next.
    suspect: AtomicBool,
}

impl<O: Opener> Pool<O> {
    pub fn new(opener: O, root: &str) -> Self {
        Self {
            opener,
            root: root.to_string(),
            idle: Mutex::default(),
            permits: Semaphore::new(SESSIONS),
            watchers: Semaphore::new(WATCHERS),
            suspect: AtomicBool::new(false),
        }
    }

    /// Carries a request to the host and its answer back, all within the deadline. All requests are reads or may
    /// be asked twice, so one that met a dead session is asked once more on a new one.
    pub async fn carry(
        &self,
        request: Request<'_>,
        deadline: Duration,
    ) -> Result<Said, TransportError> {
        if self.suspect.swap(false, Ordering::SeqCst) {
            self.opener.examine().await;
        }
        match tokio::time::timeout(deadline, self.try_carry(&request)).await {
            Ok(result) => result,
            Err(_) => {
                self.suspect.store(true, Ordering::SeqCst);
                Err(TransportError::Timeout {
                    host: self.opener.host().to_string(),
                    after: deadline,
                })
            }
        }
    }

    async fn try_carry(&self, request: &Request<'_>) -> Result<Said, TransportError> {
        let mut pause = Duration::from_millis(20);
        loop {
            let permit = self
                .permits
                .acquire()
                .await
                .map_err(|_| TransportError::Local("the pool of sessions was closed".into()))?;
            let mut shell = match self.idle_shell().await {
                Some(shell) => shell,
                None => match self.opener.open().await {
                    Ok(shell) => shell,
                    Err(OpenError::Failed(error)) => return Err(error),
                    Err(OpenError::Full) => {
                        // Others hold the sessions; one of them comes back, or the server makes room.
                        drop(permit);
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(Duration::from_millis(250));
                        continue;
                    }
                },
            };
            let nonce = nonce();
            let text = request.text.clone().sealed(&nonce);
            let used = shell.used;
            match shell.ask(&nonce, request.mode, &text, request.input).await {
                Ok((said, keep)) => {
                    if keep && shell.generation == self.opener.generation() {
                        self.idle.lock().expect("no holder panics").push(shell);
                    }
                    return Ok(said);
                }
                // It had served before and died since: the connection may be gone with it.
                Err(broken) if used && !broken.began => {
                    drop(shell);
                    if self.opener.dead().await {
                        self.reset().await;
                    }
                }
                Err(broken) => {
                    let dead = self.opener.dead().await;
                    if dead {
                        self.reset().await;
                    }
                    return Err(TransportError::Lost {
                        host: self.opener.host().to_string(),
                        why: broken.why,
                    });
                }
            }
        }
    }

    async fn idle_shell(&self) -> Option<Shell> {
        if self.opener.dead().await {
            self.reset().await;
        }
        let generation = self.opener.generation();
        let mut idle = self.idle.lock().expect("no holder panics");
        while let Some(shell) = idle.pop() {
            if shell.generation == generation {
                return Some(shell);
            }
        }
        None
    }

    /// Drops the idle shells and the connection.
    pub async fn reset(&self) {
        self.idle.lock().expect("no holder panics").clear();
        self.opener.reset().await;
    }
}

impl From<Said> for Answer {
    fn from(said: Said) -> Self {
        Answer {
            status: said.status,
            stdout: String::from_utf8_lossy(&said.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&said.stderr).into_owned(),
            truncated: said.truncated,
        }
    }
}
