//! One connection to one host: an `ssh` of the system that authenticates once and lends its line to many sessions
//! (ControlMaster, ssh_config(5)). Its first session only waits for its input to end, so a master
//! cannot outlive us by more than a moment, however we end.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::TransportError;
use super::config::{Pin, SshSettings};
use crate::process::{Program, Running};

/// A connection with its jump, key exchange and login; slower than this is no connection.
const CONNECT: Duration = Duration::from_secs(30);

/// The kernel allows 107 bytes for a socket's path (unix(7)), and ssh puts 17 behind ours while it makes it.
const SOCKET_PATH: usize = 107 - 17;

/// How much of what ssh says is kept for an error message.
const SAID: usize = 8 << 10;

pub(super) struct Master {
    pub session: Arc<openssh::Session>,
    running: Mutex<Running>,
    said: Arc<Mutex<Vec<u8>>>,
    /// Its end is the end of the master.
    _stdin: Option<tokio::process::ChildStdin>,
    _socket: TempDir,
}

impl Master {
    /// Connects. Tries again only when the server closed the door before any greeting (`MaxStartups`).
    pub async fn connect(settings: &SshSettings) -> Result<Self, TransportError> {
        write_files(settings)?;
        let until = Instant::now() + CONNECT;
        let mut pause = Duration::from_millis(200);
        loop {
            match Self::try_connect(settings, until).await {
                Err(TransportError::Unreachable { why, .. })
                    if why.contains("kex_exchange_identification")
                        && Instant::now() + pause < until =>
                {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(3));
                }
                result => return result,
            }
        }
    }

    async fn try_connect(settings: &SshSettings, until: Instant) -> Result<Self, TransportError> {
        let folder = socket_folder(&settings.folder)?;
        let socket = folder.path().join("m");
        let mut running = Program::new("ssh")
            .arg("-F")
            .arg(settings.files().config)
            .args(["-M", "-T", "-o", "ControlPersist=no", "-S"])
            .arg(&socket)
            .args(["--", &settings.address, "exec cat >/dev/null"])
            .spawn()
            .map_err(|error| TransportError::Local(crate::kind::chain(&error)))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let stdin = running.child.stdin.take();
        let ears = running
            .child
            .stderr
            .take()
            .map(|pipe| tokio::spawn(listen(pipe, said.clone())));
        // Made when the login is done and before the first session is open.
        while !socket.exists() {
            if running.ended().is_some() {
                if let Some(ears) = ears {
                    let _ = tokio::time::timeout(Duration::from_secs(1), ears).await;
                }
                return Err(translate(&settings.host, &text(&said)));
            }
            if Instant::now() >= until {
                return Err(TransportError::Unreachable {
                    host: settings.host.clone(),
                    why: format!("no login within {}", crate::units::duration(CONNECT)),
                });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let session = openssh::Session::resume_mux(socket.into_boxed_path(), None);
        Ok(Self {
            session: Arc::new(session),
            running: Mutex::new(running),
            said,
            _stdin: stdin,
            _socket: folder,
        })
    }

    /// It has ended.
    pub fn dead(&self) -> bool {
        let mut running = self.running.lock().expect("no holder panics");
        running.ended().is_some()
    }

    /// Ends it now, and every session with it.
    pub fn kill(&self) {
        self.running.lock().expect("no holder panics").kill();
    }

    /// What it said last.
    pub fn said(&self) -> String {
        text(&self.said)
    }
}

async fn listen(mut pipe: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 1024];
    while let Ok(count) = pipe.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let mut said = said.lock().expect("no holder panics");
        said.extend_from_slice(&buffer[..count]);
        let over = said.len().saturating_sub(SAID);
        said.drain(..over);
    }
}

fn text(said: &Mutex<Vec<u8>>) -> String {
    let said = said.lock().expect("no holder panics");
    String::from_utf8_lossy(&said)
        .replace('\r', "")
        .trim()
        .to_string()
}

/// What `ssh` says when it does not get through, in our words. Its texts have been stable for decades.
pub(super) fn translate(host: &str, said: &str) -> TransportError {
    let host = host.to_string();
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('@'))
        .collect();
    let why = match lines.len() {
        0 => "ssh ended without a word".to_string(),
        count => lines[count.saturating_sub(3)..].join("; "),
    };
    let has = |what: &str| said.contains(what);
    if has("Host key verification failed")
        || has("REMOTE HOST IDENTIFICATION HAS CHANGED")
        || has("host key is known for")
    {
        TransportError::WrongKey { host, why }
    } else if has("System is booting up") || has("pam_nologin") {
        // The login is refused only for now (pam_nologin(8)).
        TransportError::Unreachable { host, why }
    } else if has("Permission denied (") || has("Too many authentication failures") {
        TransportError::Denied { host, why }
    } else if [
        "Bad configuration option",
        "bad configuration options",
        "Can't open user config file",
        "Bad owner or permissions on",
        "missing argument.",
        "unsupported option",
        "no argument after keyword",
        "extra arguments at end of line",
    ]
    .into_iter()
    .any(has)
    {
        // Nothing that waiting could mend.
        TransportError::Local(format!("the ssh_config for `{host}` is not usable: {why}"))
    } else {
        TransportError::Unreachable { host, why }
    }
}

/// Writes the private ssh_config and the pinned keys.
pub(super) fn write_files(settings: &SshSettings) -> Result<(), TransportError> {
    let failed = |path: &Path, error: std::io::Error| {
        TransportError::Local(format!("cannot write {}: {error}", path.display()))
    };
    let folder = &settings.folder;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)))
        .map_err(|error| failed(folder, error))?;
    let files = settings.files();
    if let Pin::Keys(keys) = &settings.known_hosts {
        replace(&files.pins, &settings.pins(keys)?).map_err(|error| failed(&files.pins, error))?;
    }
    let config = settings.config()?;
    replace(&files.config, &config).map_err(|error| failed(&files.config, error))
}

/// Nobody ever reads half of it.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut next = path.as_os_str().to_os_string();
    next.push(format!(".{}", super::frame::nonce()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&next, path)
}

/// A fresh folder of mode 0700 for the control socket, in the run's folder when its path is short enough.
fn socket_folder(run: &Path) -> Result<TempDir, TransportError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("s").rand_bytes(8);
    let near = run.as_os_str().len() + "/s12345678/m".len() <= SOCKET_PATH;
    let place = if near { run } else { Path::new("/tmp") };
    builder.tempdir_in(place).map_err(|error| {
        TransportError::Local(format!(
            "cannot make a folder for a control socket in {}: {error}",
            place.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_becomes_a_reason() {
        let judge = |said| translate("db", said);
        assert!(matches!(
            judge("@@@@\r\nHost key verification failed."),
            TransportError::WrongKey { .. }
        ));
        assert!(matches!(
            judge("No ED25519 host key is known for x and you have requested strict checking."),
            TransportError::WrongKey { .. }
        ));
        assert!(matches!(
            judge("root@x: Permission denied (publickey)."),
            TransportError::Denied { .. }
        ));
        for mine in [
            "/home/ada/.ssh/config: line 3: Bad configuration option: hots\r\n/home/ada/.ssh/config: terminating, 1 bad configuration options",
            "/home/ada/.ssh/config line 2: keyword port extra arguments at end of line",
            "Bad owner or permissions on /home/ada/.ssh/config",
        ] {
            assert!(matches!(judge(mine), TransportError::Local(_)), "{mine}");
        }
        assert!(matches!(
            judge("\"System is booting up.\" Connection closed by 1.2.3.4 port 22"),
            TransportError::Unreachable { .. }
        ));
        let TransportError::Unreachable { why, .. } =
            judge("ssh: connect to host x port 22: Connection refused\r\n")
        else {
            panic!("a refused connection is not reachable");
        };
        assert!(why.contains("Connection refused"));
    }
}
