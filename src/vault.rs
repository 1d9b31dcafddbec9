//! Fetches secrets from where they are kept. A reference may be shown anywhere, a value nowhere: errors name the
//! source, and every value that is handed out is known to the mask before.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use crate::secret::{Mask, SHORTEST_SECRET, Secret, SecretRef};

/// No token, key or passphrase is longer; a longer file is the wrong file.
const LONGEST: u64 = 64 * 1024;

/// What a program that fetches a secret finds in its environment: who and where it is, its keyring, its terminal.
/// Nothing else, since the rest of ours may hold other secrets.
const PASSED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TERM",
    "TZ",
    "TMPDIR",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
    "GNUPGHOME",
    "GPG_TTY",
    "PASSWORD_STORE_DIR",
];

/// Reads one environment variable. Only the command line's code reads the real environment; it hands this in.
pub type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Why there is no value. Each names the source and never a value.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The variable is not set.
    #[error("the environment variable `{0}` is not set")]
    Unset(String),
    /// The file cannot be read.
    #[error("reading the secret file `{}`: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// Others can read the file.
    #[error("the secret file `{}` can be read by others (mode {mode:04o}): `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is somebody else's, who can change it.
    #[error("the secret file `{}` belongs to user {owner}, not to you (user {you}) or root", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// The number of the user who runs dr-plan.
        you: u32,
    },
    /// The program did not give a value.
    #[error("fetching a secret with `{program}`: {why}")]
    Command {
        /// The program, without its arguments.
        program: String,
        /// What happened.
        why: String,
    },
    /// A value that cannot be one.
    #[error("{source_name}: {why}")]
    Value {
        /// The reference in words.
        source_name: String,
        /// What is wrong with the value.
        why: String,
    },
}

/// A reference in words, for messages: never the value.
pub fn describe(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("the environment variable `{name}`"),
        SecretRef::File(path) => format!("the secret file `{path}`"),
        SecretRef::Command(argv) => {
            format!(
                "the secret of the program `{}`",
                argv.first().map_or("", String::as_str)
            )
        }
    }
}

/// Reads a secret file, whole, if nobody else can read or change it.
///
/// # Errors
/// It cannot be read, is no regular file, is longer than `longest` bytes, or is open to others.
pub fn read_secret_file(path: &Path, longest: u64) -> Result<Vec<u8>, VaultError> {
    use rustix::fs::{Mode, OFlags};
    let failed = |why: String| VaultError::File {
        path: path.to_path_buf(),
        why,
    };
    // Not blocking: a pipe under that name must not hang the start of a recovery.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let handle = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| failed(std::io::Error::from(error).to_string()))?;
    let mut file = std::fs::File::from(handle);
    // Of the open file, not of its name: what is checked is what is read.
    let about = file.metadata().map_err(|error| failed(error.to_string()))?;
    if !about.is_file() {
        return Err(failed("it is not a regular file".into()));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Open {
            path: path.to_path_buf(),
            mode,
        });
    }
    let you = rustix::process::geteuid().as_raw();
    if about.uid() != you && about.uid() != 0 {
        return Err(VaultError::Owner {
            path: path.to_path_buf(),
            owner: about.uid(),
            you,
        });
    }
    if about.len() > longest {
        return Err(failed(format!("{} bytes are no secret", about.len())));
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).map_err(|error| failed(error.to_string()))?;
    Ok(bytes)
}

/// The door through which all secrets come.
pub struct Vault {
    environment: Environment,
    mask: Mask,
    deadline: Duration,
}

impl Vault {
    /// A vault that teaches `mask` every value it hands out. Programs get 30 seconds: some ask their person.
    pub fn new(environment: Environment, mask: Mask) -> Self {
        Self {
            environment,
            mask,
            deadline: Duration::from_secs(30),
        }
    }

    /// Gives programs this long.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The mask that knows what was handed out.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Fetches the value. A relative file lies in `folder`, the one of the file that holds the reference.
    ///
    /// # Errors
    /// Nothing there, a file that others can read, a program that failed, or a value that is empty, too short
    /// to be masked, or not text.
    pub async fn fetch(&self, reference: &SecretRef, folder: &Path) -> Result<Secret, VaultError> {
        let value = match reference {
            SecretRef::Env(name) => {
                (self.environment)(name).ok_or_else(|| VaultError::Unset(name.clone()))?
            }
            SecretRef::File(path) => self.read(reference, &self.place(path, folder)?)?,
            SecretRef::Command(argv) => self.run(reference, argv, folder).await?,
        };
        let wrong = |why: String| VaultError::Value {
            source_name: describe(reference),
            why,
        };
        if value.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        if value.len() < SHORTEST_SECRET {
            return Err(wrong(format!(
                "it is shorter than {SHORTEST_SECRET} bytes, too short to be kept out of logs"
            )));
        }
        let secret = Secret::new(value);
        self.mask.learn(&secret);
        Ok(secret)
    }

    fn place(&self, path: &str, folder: &Path) -> Result<PathBuf, VaultError> {
        let Some(rest) = path.strip_prefix("~/") else {
            return Ok(folder.join(path));
        };
        match (self.environment)("HOME") {
            Some(home) if !home.is_empty() => Ok(Path::new(&home).join(rest)),
            _ => Err(VaultError::File {
                path: path.into(),
                why: "HOME is not set, so `~/` leads nowhere".into(),
            }),
        }
    }

    fn read(&self, reference: &SecretRef, path: &Path) -> Result<String, VaultError> {
        text(reference, read_secret_file(path, LONGEST)?)
    }

    async fn run(
        &self,
        reference: &SecretRef,
        argv: &[String],
        folder: &Path,
    ) -> Result<String, VaultError> {
        let failed = |why: String| VaultError::Command {
            program: argv.first().cloned().unwrap_or_default(),
            why,
        };
        let Some((program, arguments)) = argv.split_first() else {
            return Err(failed("no program is named".into()));
        };
        let kept = PASSED_ON
            .iter()
            .filter_map(|name| Some((*name, (self.environment)(name)?)));
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(kept)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let out = child.stdout.take();
        let err = child.stderr.take();
        let done = async {
            let (value, said, status) = tokio::join!(all(out), all(err), child.wait());
            std::io::Result::Ok((value?, said?, status?))
        };
        let (value, said, status) = match tokio::time::timeout(self.deadline, done).await {
            Ok(result) => result.map_err(|error| failed(error.to_string()))?,
            Err(_) => {
                let time = crate::units::duration(self.deadline);
                return Err(failed(format!("it has not ended within {time}")));
            }
        };
        if !status.success() {
            let said = self.mask.clean(&String::from_utf8_lossy(&said));
            let said: String = said.trim().chars().take(300).collect();
            let said = said.replace(char::is_control, " ");
            return Err(failed(format!("{status}: {said}")));
        }
        if value.len() as u64 > LONGEST {
            return Err(failed(format!("it gave more than {LONGEST} bytes")));
        }
        text(reference, value)
    }
}

/// Reads to the end, but keeps no more than a secret can have, so that the writer is never blocked nor memory filled.
async fn all(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else {
        return Ok(kept);
    };
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer).await? {
            0 => return Ok(kept),
            n if kept.len() as u64 <= LONGEST => kept.extend_from_slice(&buffer[..n]),
            _ => {}
        }
    }
}

/// The final line break is the editor's, not the secret's.
fn text(reference: &SecretRef, bytes: Vec<u8>) -> Result<String, VaultError> {
    let mut value = String::from_utf8(bytes).map_err(|_| VaultError::Value {
        source_name: describe(reference),
        why: "it is not UTF-8 text".into(),
    })?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const CANARY: &str = "canary-9f27c1d0";

    fn vault(home: &Path) -> Vault {
        let home = home.display().to_string();
        let environment: Environment = Box::new(move |name| match name {
            "TOKEN" => Some(CANARY.into()),
            "SHORT" => Some("abc".into()),
            "EMPTY" => Some(String::new()),
            "HOME" => Some(home.clone()),
            "PATH" => Some("/usr/bin:/bin".into()),
            _ => None,
        });
        Vault::new(environment, Mask::default())
    }

    fn put(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn command(argv: &[&str]) -> SecretRef {
        SecretRef::Command(argv.iter().map(|a| (*a).to_string()).collect())
    }

    async fn fails(vault: &Vault, reference: &SecretRef, folder: &Path) -> String {
        let error = vault
            .fetch(reference, folder)
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(!error.contains("canary"), "{error}");
        error
    }

    #[tokio::test]
    async fn a_value_comes_from_each_source_and_is_masked_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join("token"), &format!("{CANARY}\n"), 0o600);
        for reference in [
            SecretRef::Env("TOKEN".into()),
            SecretRef::File("token".into()),
            SecretRef::File("~/token".into()),
            command(&["printf", "%s\\n", CANARY]),
        ] {
            let vault = vault(folder.path());
            let secret = vault.fetch(&reference, folder.path()).await.unwrap();
            assert_eq!(secret.expose(), CANARY, "{reference:?}");
            assert!(
                !vault.mask().clean(CANARY).contains("canary"),
                "{reference:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for mode in [0o644, 0o640, 0o604, 0o620, 0o660] {
            put(&path, CANARY, mode);
            let error = fails(
                &vault(folder.path()),
                &SecretRef::File("token".into()),
                folder.path(),
            )
            .await;
            let remedy = format!("chmod 600 {}", path.display());
            assert!(error.contains(&remedy), "{error}");
        }
        put(&path, CANARY, 0o400);
        let kept = SecretRef::File("token".into());
        assert!(
            vault(folder.path())
                .fetch(&kept, folder.path())
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_pipe_under_the_name_of_a_file_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        let error = fails(
            &vault(folder.path()),
            &SecretRef::File("pipe".into()),
            folder.path(),
        )
        .await;
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[tokio::test]
    async fn what_is_missing_empty_or_too_short_is_named_by_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path());
        for (reference, words) in [
            (SecretRef::Env("NOPE".into()), "`NOPE` is not set"),
            (SecretRef::Env("EMPTY".into()), "`EMPTY`: it is empty"),
            (
                SecretRef::Env("SHORT".into()),
                "`SHORT`: it is shorter than",
            ),
            (SecretRef::File("gone".into()), "gone`: No such file"),
            (
                command(&["no-such-program-anywhere"]),
                "`no-such-program-anywhere`",
            ),
            (command(&["true"]), "`true`: it is empty"),
            (command(&[]), "no program is named"),
        ] {
            let error = fails(&vault, &reference, folder.path()).await;
            assert!(error.contains(words), "{error}");
        }
    }

    #[tokio::test]
    async fn a_program_that_fails_is_told_by_what_it_said_on_stderr_only() {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("echo {CANARY}; echo 'the store is locked' >&2; exit 3");
        let error = fails(
            &vault(folder.path()),
            &command(&["sh", "-c", &script]),
            folder.path(),
        )
        .await;
        assert!(
            error.contains("exit status: 3") && error.contains("the store is locked"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_ended_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path()).deadline(Duration::from_millis(200));
        let script = "echo $$ > pid; exec sleep 600";
        let error = fails(&vault, &command(&["sh", "-c", script]), folder.path()).await;
        assert!(error.contains("not ended within"), "{error}");
        let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/cmdline", pid.trim()));
        let end = std::time::Instant::now() + Duration::from_secs(10);
        // Gone, or a zombie without a command line.
        while std::fs::read(&stat).is_ok_and(|line| !line.is_empty()) {
            assert!(std::time::Instant::now() < end, "the program still runs");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_program_sees_none_of_our_other_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let secret = vault(folder.path())
            .fetch(&command(&["env"]), folder.path())
            .await
            .unwrap();
        assert!(secret.expose().contains("PATH="));
        assert!(!secret.expose().contains("TOKEN") && !secret.expose().contains("CARGO"));
    }
}
