//! Starts programs of this machine: an argument vector (never a shell line), an environment that holds only
//! what is on a list, secrets on standard input, a deadline, bounded output; nothing of it outlives its handle.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::secret::Secret;

/// What a child may see of our environment: who and where the person is, their agent and locale.
/// Everything else (`PG*`, `AWS_*`, `LD_*`, tokens) stays here.
pub const PASSED_ON: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "PATH",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
    "KRB5CCNAME",
    "GNUPGHOME",
];

/// How much of each output is kept unless told otherwise.
pub const OUTPUT_KEPT: usize = 1 << 20;

/// Why a local program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Not there, or not allowed to run.
    #[error("cannot start `{program}`")]
    Start {
        /// What was to be started.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Reading its output or waiting for it failed.
    #[error("lost contact with `{program}`")]
    Contact {
        /// What was running.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It was killed with its group.
    #[error("`{program}` was still running after {} and was ended", crate::units::duration(*after))]
    Timeout {
        /// What was running.
        program: String,
        /// How long was waited.
        after: Duration,
    },
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The exit status; a signal is 128 + its number.
    pub status: i32,
    /// The first bytes of standard output.
    pub stdout: Vec<u8>,
    /// The first bytes of standard error.
    pub stderr: Vec<u8>,
    /// More was said than kept.
    pub truncated: bool,
}

impl Finished {
    /// Status 0.
    pub fn ok(&self) -> bool {
        self.status == 0
    }
}

/// A program about to be started.
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<std::path::PathBuf>,
    input: Vec<u8>,
    deadline: Duration,
    kept: usize,
}

impl Program {
    /// `name` is looked up in `PATH` when it has no slash. The deadline is one minute until `deadline` is called.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_os_string(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            input: Vec::new(),
            deadline: Duration::from_secs(60),
            kept: OUTPUT_KEPT,
        }
    }

    /// Adds one argument. Anyone on the machine can read it: never a secret.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_os_string());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().to_os_string()));
        self
    }

    /// Sets a variable beside those of [`PASSED_ON`]. Never a secret.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_os_string(), value.as_ref().to_os_string()));
        self
    }

    /// The folder to run in; else ours.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Bytes for standard input, which is closed after them.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// A secret for standard input.
    #[must_use]
    pub fn secret_input(self, secret: &Secret) -> Self {
        self.input(secret.expose().as_bytes())
    }

    /// When the program and its group are killed.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many bytes of each output are kept; the rest is read and dropped.
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Self {
        self.kept = bytes;
        self
    }

    /// Starts it with pipes and gives the running program to the caller, who keeps its own deadline.
    pub fn spawn(&self) -> Result<Running, ProcessError> {
        let mut command = tokio::process::Command::new(&self.name);
        command
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: a Ctrl-C on our terminal is ours to handle, and the whole group can be ended.
            .process_group(0)
            .kill_on_drop(true);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let child = command.spawn().map_err(|source| ProcessError::Start {
            program: self.shown(),
            source,
        })?;
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Running { child, group })
    }

    /// Runs it to its end. A status other than 0 is not an error here.
    pub async fn run(self) -> Result<Finished, ProcessError> {
        let mut running = self.spawn()?;
        let contact = |source| ProcessError::Contact {
            program: self.shown(),
            source,
        };
        let work = async {
            let mut stdin = running.child.stdin.take();
            let feed = async {
                if let Some(mut pipe) = stdin.take() {
                    // A program that does not read its input closes the pipe; its status says what happened.
                    let _ = pipe.write_all(&self.input).await;
                    let _ = pipe.shutdown().await;
                }
            };
            let stdout = running.child.stdout.take();
            let stderr = running.child.stderr.take();
            let ((), stdout, stderr) = tokio::join!(
                feed,
                keep_first(stdout, self.kept),
                keep_first(stderr, self.kept)
            );
            let (stdout, more_out) = stdout.map_err(contact)?;
            let (stderr, more_err) = stderr.map_err(contact)?;
            let status = running.wait().await.map_err(contact)?;
            Ok(Finished {
                status,
                stdout,
                stderr,
                truncated: more_out || more_err,
            })
        };
        match tokio::time::timeout(self.deadline, work).await {
            Ok(result) => result,
            Err(_) => Err(ProcessError::Timeout {
                program: self.shown(),
                after: self.deadline,
            }),
        }
    }

    fn shown(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }
}

/// A started program; dropping it kills its whole process group.
pub struct Running {
    /// The child, with its pipes.
    pub child: tokio::process::Child,
    group: Option<i32>,
}

impl Running {
    /// Waits for the end: the status, or 128 + the signal.
    pub async fn wait(&mut self) -> std::io::Result<i32> {
        let status = self.child.wait().await?;
        self.forget();
        Ok(number(status))
    }

    /// The status, when it has ended already.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().ok().flatten()?;
        self.forget();
        Some(number(status))
    }

    /// What it left behind ends with it. Later its number may belong to somebody else.
    fn forget(&mut self) {
        self.kill();
        self.group = None;
    }

    /// Kills the group at once.
    pub fn kill(&self) {
        if let Some(group) = self.group.and_then(rustix::process::Pid::from_raw) {
            // ESRCH (all gone) is what is wanted.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn number(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

async fn keep_first(
    pipe: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> std::io::Result<(Vec<u8>, bool)> {
    let (mut kept, mut more) = (Vec::new(), false);
    let Some(mut pipe) = pipe else {
        return Ok((kept, more));
    };
    let mut buffer = vec![0; 16 << 10];
    loop {
        let count = pipe.read(&mut buffer).await?;
        if count == 0 {
            return Ok((kept, more));
        }
        let room = limit.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&buffer[..room]);
        more |= room < count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secret_travels_on_standard_input_and_output_is_bounded() {
        let done = Program::new("cat")
            .secret_input(&Secret::new("hunter22hunter22".into()))
            .keep(7)
            .run()
            .await
            .unwrap();
        assert_eq!((done.status, done.truncated), (0, true));
        assert_eq!(done.stdout, b"hunter2");
    }

    #[tokio::test]
    async fn only_listed_variables_reach_the_child() {
        // Cargo sets CARGO_MANIFEST_DIR for every test.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let done = Program::new("env").env("GIVEN", "1").run().await.unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(!text.contains("CARGO_MANIFEST_DIR"), "{text}");
        assert!(text.contains("GIVEN=1"), "{text}");
    }

    #[tokio::test]
    async fn a_signal_is_told_as_the_shell_tells_it() {
        let done = Program::new("sh")
            .args(["-c", "kill -KILL $$"])
            .run()
            .await
            .unwrap();
        assert_eq!(done.status, 137);
    }

    #[tokio::test]
    async fn the_deadline_ends_the_grandchildren_too() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! >{}; wait", note.display());
        let error = Program::new("sh")
            .args(["-c", &script])
            .deadline(Duration::from_millis(500))
            .run()
            .await
            .unwrap_err();
        assert!(matches!(error, ProcessError::Timeout { .. }), "{error}");
        let pid = std::fs::read_to_string(&note).unwrap();
        let process = format!("/proc/{}/stat", pid.trim());
        let until = std::time::Instant::now() + Duration::from_secs(10);
        // Gone, or dead and waiting for the init of this machine to look.
        while std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(std::time::Instant::now() < until, "the grandchild lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
