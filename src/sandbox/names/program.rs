//! A name server as a child process: its files, its start, its readiness.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::NamesError;

/// How long a server may take until it answers.
pub(super) const START_DEADLINE: Duration = Duration::from_secs(20);

/// Looks before the start whether the address is ours to take: whoever has it already would answer
/// in the new server's place and make it look ready.
pub(super) fn usable(address: SocketAddr, program: &'static str) -> Result<(), NamesError> {
    std::net::TcpListener::bind(address)
        .and_then(|_| std::net::UdpSocket::bind(address))
        .map(drop)
        .map_err(|source| NamesError::Address {
            program,
            address,
            source,
        })
}

pub(super) fn make_folder(folder: &Path) -> Result<(), NamesError> {
    std::fs::create_dir_all(folder).map_err(|source| NamesError::Write {
        path: folder.to_owned(),
        source,
    })
}

pub(super) fn write_private(path: &Path, text: &str) -> Result<(), NamesError> {
    let write = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?
            .write_all(text.as_bytes())
    };
    write().map_err(|source| NamesError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Starts a server that stays in the foreground, its words going to a log in the folder.
pub(super) fn spawn(
    mut command: Command,
    program: &'static str,
    package: &'static str,
    folder: &Path,
) -> Result<Child, NamesError> {
    let path = log_of(folder, program);
    let log = File::create(&path).and_then(|log| Ok((log.try_clone()?, log)));
    let (out, err) = log.map_err(|source| NamesError::Write { path, source })?;
    command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| NamesError::Spawn {
            program,
            package,
            source,
        })
}

fn log_of(folder: &Path, program: &str) -> PathBuf {
    folder.join(format!("{program}.log"))
}

/// Waits until the server answers, ends, or the deadline passes.
pub(super) async fn ready<F: Future<Output = bool>>(
    child: &mut Child,
    program: &'static str,
    address: SocketAddr,
    folder: &Path,
    answers: impl Fn() -> F,
) -> Result<(), NamesError> {
    let said = || {
        let text = std::fs::read(log_of(folder, program)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    };
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(NamesError::Ended {
                program,
                status,
                said: said(),
            });
        }
        if matches!(timeout(Duration::from_secs(1), answers()).await, Ok(true)) {
            return Ok(());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Err(NamesError::Silent {
        program,
        address,
        said: said(),
    })
}

/// Asks for a name's address over UDP (RFC 1035, section 4.1) and returns the response code; any
/// code at all says that the server is there.
pub(super) async fn ask(server: SocketAddr, name: &str) -> io::Result<u8> {
    const RECURSION_DESIRED: u8 = 1;
    let mut question = vec![0x2a, 0x17, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).map_err(io::Error::other)?);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((server.ip(), 0)).await?;
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut answer = [0_u8; 512];
    let length = timeout(Duration::from_millis(200), socket.recv(&mut answer)).await??;
    if length < 12 || answer[..2] != question[..2] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(answer[3] & 0x0f)
}
