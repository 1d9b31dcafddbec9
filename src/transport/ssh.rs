//! A host behind the system's OpenSSH: its configuration, agents, jump hosts and certificates are the person's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use openssh::Stdio;
use tokio::sync::{Mutex, RwLock};

use super::config::{Pin, SshSettings};
use super::master::Master;
use super::pool::{OpenError, Opener, Pool};
use super::shell::{COMMAND, Shell};
use super::{
    Answer, JOB_ROOT, JobId, JobState, LogPart, Script, Transport, TransportError, Upload,
};

/// A live master opens a session in one round trip; without an answer in this time it hangs.
const OPEN: Duration = Duration::from_secs(15);

/// A host reached over SSH. It connects when it is first asked something, and again when the connection is gone.
pub struct Ssh(Pool<Connections>);

struct Connections {
    host: String,
    settings: RwLock<SshSettings>,
    master: Mutex<Option<Arc<Master>>>,
    generation: AtomicU64,
}

impl Ssh {
    /// Jobs go to `/var/lib/dr-plan`. Nothing is sent before the first call.
    pub fn new(settings: SshSettings) -> Self {
        Self::with_root(settings, JOB_ROOT)
    }

    /// Jobs go to `root`, an absolute path on the host.
    pub fn with_root(settings: SshSettings, root: &str) -> Self {
        let connections = Connections {
            host: settings.host.clone(),
            settings: RwLock::new(settings),
            master: Mutex::default(),
            generation: AtomicU64::new(0),
        };
        Self(Pool::new(connections, root))
    }

    /// The command line with which a person logs in: the same settings and pins, without our batch rules.
    pub async fn login(&self) -> Result<Vec<std::ffi::OsString>, TransportError> {
        let settings = self.0.opener.settings.read().await.clone();
        super::master::write_files(&settings)?;
        let mut argv: Vec<std::ffi::OsString> = ["ssh", "-F"].map(Into::into).to_vec();
        argv.push(settings.files().config.into_os_string());
        argv.extend(
            ["-o", "BatchMode=no", "-o", "RequestTTY=auto", "--"].map(std::ffi::OsString::from),
        );
        argv.push(settings.address.into());
        Ok(argv)
    }

    /// From now on only these public keys are right (a created server's keys are rotated). Ends the connection.
    pub async fn set_pins(&self, keys: Vec<String>) -> Result<(), TransportError> {
        let mut settings = self.0.opener.settings.write().await;
        // A text that is no key is told here and not at the next connection.
        settings.pins(&keys)?;
        settings.known_hosts = Pin::Keys(keys);
        drop(settings);
        self.0.reset().await;
        Ok(())
    }
}

impl Connections {
    async fn master(&self) -> Result<Arc<Master>, TransportError> {
        // Held while connecting: one login at a time for each host.
        let mut slot = self.master.lock().await;
        if let Some(master) = slot.as_ref() {
            if !master.dead() {
                return Ok(master.clone());
            }
            *slot = None;
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        let settings = self.settings.read().await.clone();
        let master = Arc::new(Master::connect(&settings).await?);
        *slot = Some(master.clone());
        Ok(master)
    }

    fn unreachable(&self, why: impl Into<String>) -> OpenError {
        OpenError::Failed(TransportError::Unreachable {
            host: self.host.clone(),
            why: why.into(),
        })
    }
}

#[async_trait]
impl Opener for Connections {
    fn host(&self) -> &str {
        &self.host
    }

    async fn open(&self) -> Result<Shell, OpenError> {
        // A connection that broke before a session was open has run nothing: one more try on a new one.
        let mut again = true;
        loop {
            let master = self.master().await.map_err(OpenError::Failed)?;
            let generation = self.generation();
            let mut command = master.session.clone().arc_raw_command(COMMAND);
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let error = match tokio::time::timeout(OPEN, command.spawn()).await {
                Ok(Ok(mut child)) => {
                    let pipes = (
                        child.stdin().take(),
                        child.stdout().take(),
                        child.stderr().take(),
                    );
                    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
                        return Err(self.unreachable("a session came up without its pipes"));
                    };
                    return Ok(Shell::new(
                        Box::new(stdin),
                        Box::new(stdout),
                        Box::new(stderr),
                        generation,
                        Box::new((child, master)),
                    ));
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    self.reset().await;
                    return Err(self.unreachable("the local ssh does not answer any more"));
                }
            };
            let why = crate::kind::chain(&error);
            if why.contains("refused by peer") || why.contains("Server refused the request") {
                return Err(OpenError::Full);
            }
            let said = master.said();
            self.reset().await;
            if !again {
                let why = if said.is_empty() { why } else { said };
                return Err(self.unreachable(why));
            }
            again = false;
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    async fn dead(&self) -> bool {
        let slot = self.master.lock().await;
        slot.as_ref().is_some_and(|master| master.dead())
    }

    async fn examine(&self) {
        let master = self.master.lock().await.clone();
        if let Some(master) = master {
            let check = tokio::time::timeout(Duration::from_secs(2), master.session.check()).await;
            if !matches!(check, Ok(Ok(()))) {
                self.reset().await;
            }
        }
    }

    async fn reset(&self) {
        let mut slot = self.master.lock().await;
        if let Some(master) = slot.take() {
            master.kill();
        }
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

super::through_pool!(Ssh);
