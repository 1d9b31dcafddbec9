//! One shell on a host that serves requests one after the other, over three pipes. Starting one costs a session
//! and whatever the login shell reads first (half a second has been seen), so they are kept and used again.

use std::any::Any;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame::{End, Frame};
use super::quote::Text;

/// The only string that a remote login shell ever gets to read. It leaves the login shell with a clean
/// environment, and reads the rest from standard input.
pub(super) const COMMAND: &str = concat!(
    r#"exec env -i HOME="$HOME" USER="$USER" LOGNAME="$LOGNAME" "#,
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC ",
    r##"sh -c 'read -r l; t=$(head -c "$l"); case $t in *"#end") eval "$t" ;; *) exit 97 ;; esac'"##,
);

const SERVE: &str = concat!(include_str!("remote/serve.sh"), "#end");

/// How a request is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A text of ours, which leaves nobody behind.
    Direct,
    /// Somebody's script: its outputs get pipes of their own.
    Relayed,
    /// A text of ours that takes bytes from fd 3.
    Input,
}

/// What the host said.
pub(super) struct Said {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub truncated: bool,
}

/// The pipes broke before the end was told.
#[derive(Debug)]
pub(super) struct Broken {
    /// The host had the whole request by then.
    pub began: bool,
    pub why: String,
}

pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;
pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A serving shell. Dropping it closes its input, which ends it and the leashed script that runs in it.
pub(super) struct Shell {
    stdin: Writer,
    stdout: Reader,
    stderr: Reader,
    /// It has served before: it may have died unnoticed.
    pub used: bool,
    /// Which connection it belongs to.
    pub generation: u64,
    /// What must live as long as it does.
    _held: Box<dyn Any + Send + Sync>,
    introduced: bool,
}

impl Shell {
    pub fn new(
        stdin: Writer,
        stdout: Reader,
        stderr: Reader,
        generation: u64,
        held: Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self {
            stdin,
            stdout,
            stderr,
            used: false,
            generation,
            _held: held,
            introduced: false,
        }
    }

    /// Carries one request; also says whether this shell may serve another. Not to be called again after an error
    /// or after it was cancelled.
    pub async fn ask(
        &mut self,
        nonce: &str,
        mode: Mode,
        text: &Text,
        input: &[u8],
    ) -> Result<(Said, bool), Broken> {
        let word = match mode {
            Mode::Direct => "direct",
            Mode::Relayed => "relayed",
            Mode::Input => "input",
        };
        let text = text.as_str();
        let mut head = Vec::with_capacity(text.len() + SERVE.len() + 80);
        if !self.introduced {
            head.extend_from_slice(format!("{}\n{SERVE}", SERVE.len()).as_bytes());
            self.introduced = true;
        }
        head.extend_from_slice(format!("{nonce} {} {word}\n{text}", text.len()).as_bytes());

        let (mut out, mut err) = (Frame::new(nonce), Frame::new(nonce));
        let (stdin, stdout, stderr) = (&mut self.stdin, &mut self.stdout, &mut self.stderr);
        let ends = {
            let write = async {
                stdin.write_all(&head).await?;
                stdin.write_all(input).await?;
                stdin.flush().await
            };
            let read =
                async { tokio::join!(until_end(stdout, &mut out), until_end(stderr, &mut err)) };
            tokio::pin!(write, read);
            tokio::select! {
                biased;
                ends = &mut read => ends,
                // A failed write shows itself in the reading too: there will be no end.
                _ = &mut write => read.await,
            }
        };
        self.used = true;
        let began = out.began() || err.began();
        let (stdout, more_out) = out.into_output();
        let (stderr, more_err) = err.into_output();
        match ends {
            (Ok(end), Ok(_)) if began => {
                let said = Said {
                    status: end.status,
                    stdout,
                    stderr,
                    truncated: more_out || more_err,
                };
                Ok((said, end.keep))
            }
            (Err(why), _) | (_, Err(why)) => Err(Broken { began, why }),
            _ => Err(Broken {
                began,
                why: "the request did not arrive whole".into(),
            }),
        }
    }
}

async fn until_end(pipe: &mut Reader, frame: &mut Frame) -> Result<End, String> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) => return Err("the session ended without an answer".into()),
            Ok(count) => {
                if let Some(end) = frame.push(&buffer[..count]) {
                    return Ok(end);
                }
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
