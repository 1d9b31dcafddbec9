//! How a host is reached: one port, the system's OpenSSH behind it, a local shell and a script as doubles.
//!
//! Two ways to run something. *Leashed*: a short read that dies with us and leaves no file. *Detached*:
//! a job that goes on when we die, with a lock, a log, a deadline kept by the host and an exit file, in
//! `/var/lib/dr-plan/RUN/STEP/ATTEMPT`. Everything that changes a host is detached.

mod config;
mod detached;
mod frame;
mod job;
mod local;
mod looks;
mod master;
mod pool;
mod quote;
pub mod script;
mod shell;
mod ssh;

use std::time::Duration;

use async_trait::async_trait;

pub use config::{Pin, SshSettings};
pub use job::{attach_job, run_job};
pub use local::Local;
pub use looks::LooksOnly;
pub use quote::quote;
pub use ssh::Ssh;

use crate::kind::{Failure, Reason};
use crate::secret::Secret;

/// Where jobs have their folders on a host, unless told otherwise.
pub const JOB_ROOT: &str = "/var/lib/dr-plan";

/// A shell script (POSIX `sh`) with its values. The text is a constant or a person's own `run:` text;
/// values never become part of it: they arrive as `DR_*` variables through one quoting function, secrets as unexported
/// `DR_SECRET_*` variables over standard input.
#[derive(Clone, Default)]
pub struct Script {
    /// The script. It runs under `sh -eu`.
    pub text: String,
    /// `NAME` -> value, seen by the script as `$DR_NAME` and, up to 64 KiB, by the programs that it starts.
    /// Names are `[A-Z][A-Z0-9_]*`. NUL is refused.
    pub values: Vec<(String, String)>,
    /// `NAME` -> value, seen as `$DR_SECRET_NAME`: never exported, never in a file, an argument or a log.
    pub secrets: Vec<(String, Secret)>,
    /// The user to run as; `None` is the login user. Needs `setpriv` (util-linux) on the host where the login user
    /// is root, and `sudo -n` where it is not.
    pub run_as: Option<String>,
    /// The text is this program's own, and whatever it starts ends with it. The outputs of any other leashed script are relayed on the
    /// host: what a person's text leaves behind could hold them open and write into the answer to a later question.
    pub ours: bool,
}

impl Script {
    /// A script without values.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Adds a value, `$DR_NAME` in the script.
    #[must_use]
    pub fn value(mut self, name: &str, value: impl Into<String>) -> Self {
        self.values.push((name.to_string(), value.into()));
        self
    }

    /// Adds a secret, `$DR_SECRET_NAME` in the script.
    #[must_use]
    pub fn secret(mut self, name: &str, value: Secret) -> Self {
        self.secrets.push((name.to_string(), value));
        self
    }

    /// Says that the text is this program's own and leaves nobody behind: see [`Script::ours`].
    #[must_use]
    pub fn ours(mut self) -> Self {
        self.ours = true;
        self
    }

    /// Runs it as another user of the host (through `setpriv`, or `sudo -n` where the login user is not root).
    #[must_use]
    pub fn run_as(mut self, user: Option<&str>) -> Self {
        self.run_as = user.map(str::to_string);
        self
    }
}

/// How a leashed script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The exit status; a signal is 128 + its number, as in a shell.
    pub status: i32,
    /// Standard output, at most 1 MiB (the rest is dropped and said in `truncated`).
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Something was dropped.
    pub truncated: bool,
}

impl Answer {
    /// Status 0.
    pub fn ok(&self) -> bool {
        self.status == 0
    }

    /// The last lines of what it said, for an error message.
    pub fn said(&self) -> String {
        let text = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let lines: Vec<&str> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Why a host could not be spoken to. Sends nothing when the key is wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// No connection, or it broke before the command was accepted: nothing ran.
    #[error("cannot reach `{host}`: {why}")]
    Unreachable {
        /// The host's name.
        host: String,
        /// What the connection said.
        why: String,
    },
    /// The host showed another key than the pinned one: nothing was sent.
    #[error(
        "`{host}` shows a host key that is not the one pinned for it: nothing was sent ({why})"
    )]
    WrongKey {
        /// The host's name.
        host: String,
        /// What OpenSSH said.
        why: String,
    },
    /// Our key or user was refused.
    #[error("`{host}` refuses the login: {why}")]
    Denied {
        /// The host's name.
        host: String,
        /// What OpenSSH said.
        why: String,
    },
    /// The connection broke in the middle: what ran may or may not have run.
    #[error("the connection to `{host}` was lost: {why}")]
    Lost {
        /// The host's name.
        host: String,
        /// What is known.
        why: String,
    },
    /// No answer in time.
    #[error("`{host}` did not answer within {}", crate::units::duration(*after))]
    Timeout {
        /// The host's name.
        host: String,
        /// How long was waited.
        after: Duration,
    },
    /// The host was reached and could not do it: no such folder, no room, no right. Nothing was left half done.
    #[error("`{host}` cannot {doing}: {why}")]
    Failed {
        /// The host's name.
        host: String,
        /// What it was asked for.
        doing: String,
        /// What it said.
        why: String,
    },
    /// A value cannot travel (NUL byte, a name outside the grammar), or a local file failed.
    #[error("{0}")]
    Local(String),
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        let (reason, hint) = match &error {
            TransportError::Unreachable { .. } => (Reason::Unreachable, None),
            TransportError::WrongKey { .. } => (
                Reason::Denied,
                Some(
                    "somebody else may be answering at that address; look at the server's console before you trust it",
                ),
            ),
            TransportError::Denied { .. } => (
                Reason::Denied,
                Some("check `ssh:` in the inventory and your agent (`ssh-add -l`)"),
            ),
            TransportError::Lost { .. } => (Reason::Unreachable, None),
            TransportError::Timeout { .. } => (Reason::Timeout, None),
            TransportError::Failed { .. } | TransportError::Local(_) => (Reason::Other, None),
        };
        let failure = Failure::new(reason, error.to_string());
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Which job on a host: its folder is `/var/lib/dr-plan/RUN/STEP/ATTEMPT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobId {
    /// The run's id.
    pub run: String,
    /// The step, or a part of one (`restore-db.fetch`): `[a-z0-9][a-z0-9_.-]*`.
    pub step: String,
    /// Counted from 1.
    pub attempt: u32,
}

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.step, self.attempt)
    }
}

/// What a look at a job's folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// No such folder, or nothing was ever started in it.
    Absent,
    /// It holds its lock.
    Running {
        /// Seconds since it began, by the host's monotonic clock.
        since: u64,
    },
    /// It ended; the true status (128 + signal), also when nobody was listening.
    Exited {
        /// The status. 124 with `deadline: true` means that the host ended it.
        status: i32,
        /// The host's deadline ended it.
        deadline: bool,
    },
    /// Started, its lock is free and there is no exit file, or the host has rebooted since: it died half way.
    Died {
        /// What shows it.
        why: String,
    },
}

/// A stretch of a job's log.
#[derive(Debug, Clone, Default)]
pub struct LogPart {
    /// Whole lines, in order.
    pub text: String,
    /// Where to go on reading.
    pub next: u64,
    /// There was more than fits into one answer: read on at once.
    pub more: bool,
}

/// A file that goes to a host.
#[derive(Clone)]
pub struct Upload {
    /// The whole content (files of a plan are small; data travels from the store to the host by itself).
    pub content: bytes::Bytes,
    /// An absolute path.
    pub to: String,
    /// Owner as `user` or `user:group`; `None` leaves the login user.
    pub owner: Option<String>,
    /// Permission bits, for instance `0o644`.
    pub mode: u32,
    /// The folder in which what stands at `to` is kept, once: as `previous`, or as nothing beside `done`. Then the folder
    /// that `to` lies in is made as well, if it is not there. `None`: it is replaced.
    pub keep: Option<String>,
}

/// A host that can be spoken to.
#[async_trait]
pub trait Transport: Send + Sync {
    /// The host's name in the inventory or the role of a created server.
    fn host(&self) -> &str;

    /// Runs a short read; ends with us, leaves no file.
    async fn leashed(&self, script: &Script, deadline: Duration) -> Result<Answer, TransportError>;

    /// Starts a detached job. The same `JobId` twice starts it once: the second call finds its lock or its
    /// exit file and changes nothing. Returns when the job holds its lock.
    async fn start(
        &self,
        job: &JobId,
        script: &Script,
        deadline: Duration,
    ) -> Result<(), TransportError>;

    /// Looks at jobs: how each stands, in their order.
    async fn look_all(&self, jobs: &[JobId]) -> Result<Vec<JobState>, TransportError>;

    /// Looks at one job.
    async fn look(&self, job: &JobId) -> Result<JobState, TransportError> {
        let states = self.look_all(std::slice::from_ref(job)).await?;
        // No answer is not the answer that there is none: that one lets something be started.
        states
            .into_iter()
            .next()
            .ok_or_else(|| TransportError::Lost {
                host: self.host().to_string(),
                why: format!("a look at the job {job} was not answered"),
            })
    }

    /// Waits until the job does not run any more, its log has grown beyond `from` (and a tenth of a second more, for the lines that follow),
    /// or `patience` has passed; says how it stands and what is new. The log is read after the state: with an ended job, and nothing new, it is whole.
    async fn watch(
        &self,
        job: &JobId,
        from: u64,
        patience: Duration,
    ) -> Result<(JobState, LogPart), TransportError>;

    /// Reads the job's log (standard output and error together) from a byte on.
    async fn read_log(&self, job: &JobId, from: u64) -> Result<LogPart, TransportError>;

    /// Ends a job and everything that it started; returns when it is gone.
    async fn end(&self, job: &JobId) -> Result<(), TransportError>;

    /// Writes a file: a temporary name beside it, length and SHA-256 checked there, owner and mode set, then renamed over.
    async fn put(&self, file: &Upload) -> Result<(), TransportError>;

    /// Forgets the connection, so that the next call makes a new one (after a reboot or a new host key).
    async fn disconnect(&self);
}

/// A transport whose first field is a pool of serving shells: every way to reach a host works alike from there on.
macro_rules! through_pool {
    ($transport:ty) => {
        #[async_trait]
        impl Transport for $transport {
            fn host(&self) -> &str {
                self.0.opener.host()
            }

            async fn leashed(
                &self,
                script: &Script,
                deadline: Duration,
            ) -> Result<Answer, TransportError> {
                self.0.leashed(script, deadline).await
            }

            async fn start(
                &self,
                job: &JobId,
                script: &Script,
                deadline: Duration,
            ) -> Result<(), TransportError> {
                self.0.start(job, script, deadline).await
            }

            async fn look_all(&self, jobs: &[JobId]) -> Result<Vec<JobState>, TransportError> {
                self.0.look_all(jobs).await
            }

            async fn watch(
                &self,
                job: &JobId,
                from: u64,
                patience: Duration,
            ) -> Result<(JobState, LogPart), TransportError> {
                self.0.watch(job, from, patience).await
            }

            async fn read_log(&self, job: &JobId, from: u64) -> Result<LogPart, TransportError> {
                let (_, log) = self.0.watch(job, from, Duration::ZERO).await?;
                Ok(log)
            }

            async fn end(&self, job: &JobId) -> Result<(), TransportError> {
                self.0.end(job).await
            }

            async fn put(&self, file: &Upload) -> Result<(), TransportError> {
                self.0.put(file).await
            }

            async fn disconnect(&self) {
                self.0.reset().await;
            }
        }
    };
}
use through_pool;
