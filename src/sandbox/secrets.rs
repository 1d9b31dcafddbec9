//! The sandbox's own secrets: random, distinct, made anew for every world and kept in one 0700
//! folder of it. Each is long enough to be searched for as a canary wherever it must not be.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::shop_tls;

/// Where the world keeps them, seen from inside.
pub const FOLDER: &str = "/run/dr-plan/secrets";

/// A secret of the world: its file's name and its length in letters and digits. All of them are
/// files of one line, without a newline at its end.
const WORDS: [(&str, usize); 10] = [
    ("s3_access_key", 20),
    ("s3_secret_key", 40),
    ("hcloud_token", 64),
    ("hcloud_readonly_token", 64),
    ("hcloud_drill_token", 64),
    ("powerdns_key", 32),
    ("telegram_token", 40),
    ("backup_passphrase", 40),
    ("shop_database_password", 32),
    ("shop_redis_password", 32),
];

/// The file with the key pair that opens every host; its public half is beside it in `.pub`.
const LOGIN_KEY: &str = "login";

/// What the shop's application reads: `SHOP_DATABASE_PASSWORD=...` in a file of its own.
const SHOP_SECRET: &str = "shop_secret.env";

/// What the shop's Redis reads: `requirepass ...` in a file of its own.
const REDIS_SECRET: &str = "shop_redis.conf";

/// The secrets of one world. It shows itself to no formatter.
pub struct WorldSecrets {
    folder: PathBuf,
    words: BTreeMap<&'static str, String>,
    login_public: String,
}

/// Why the secrets could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("making the folder of secrets {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("writing the secret {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("reading the secret {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("reading random bytes from /dev/urandom")]
    Random { source: io::Error },
    #[error("making the login key with ssh-keygen (package openssh-client): {why}")]
    Login { why: String },
}

impl WorldSecrets {
    /// Makes the folder (0700) and every secret in it (0600). What is there already stays, so a
    /// second call finds the values of the first.
    ///
    /// # Errors
    /// The folder or a file cannot be made, or `ssh-keygen` fails.
    pub fn generate(folder: &Path) -> Result<WorldSecrets, SecretsError> {
        let private = Permissions::from_mode(0o700);
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(folder)
            // One that was there already may be open to others.
            .and_then(|()| std::fs::set_permissions(folder, private))
            .map_err(|source| SecretsError::Folder {
                path: folder.to_owned(),
                source,
            })?;
        for (name, length) in WORDS {
            let path = folder.join(name);
            if !path.exists() {
                let word = random_word(length).map_err(|source| SecretsError::Random { source })?;
                write_new(&path, word.as_bytes())?;
            }
        }
        let shop = folder.join(SHOP_SECRET);
        if !shop.exists() {
            let password = read(&folder.join("shop_database_password"))?;
            let line = format!("SHOP_DATABASE_PASSWORD={password}\n");
            write_new(&shop, line.as_bytes())?;
        }
        let redis = folder.join(REDIS_SECRET);
        if !redis.exists() {
            let password = read(&folder.join("shop_redis_password"))?;
            write_new(&redis, format!("requirepass {password}\n").as_bytes())?;
        }
        if !folder.join(LOGIN_KEY).exists() {
            login_key(&folder.join(LOGIN_KEY))?;
        }
        WorldSecrets::load(folder)
    }

    /// Reads the secrets of a world that is up.
    ///
    /// # Errors
    /// A file is missing or cannot be read.
    pub fn load(folder: &Path) -> Result<WorldSecrets, SecretsError> {
        let mut words = BTreeMap::new();
        for (name, _) in WORDS {
            words.insert(name, read(&folder.join(name))?);
        }
        let login_public = read(&folder.join(LOGIN_KEY).with_extension("pub"))?;
        Ok(WorldSecrets {
            folder: folder.to_owned(),
            words,
            login_public,
        })
    }

    pub fn s3_access_key(&self) -> &str {
        self.word("s3_access_key")
    }

    pub fn s3_secret_key(&self) -> &str {
        self.word("s3_secret_key")
    }

    /// Reads and writes in the project `default` of the simulated cloud.
    pub fn hcloud_token(&self) -> &str {
        self.word("hcloud_token")
    }

    /// Reads in the project `default`.
    pub fn hcloud_readonly_token(&self) -> &str {
        self.word("hcloud_readonly_token")
    }

    /// Reads and writes in the project `drill`.
    pub fn hcloud_drill_token(&self) -> &str {
        self.word("hcloud_drill_token")
    }

    pub fn powerdns_key(&self) -> &str {
        self.word("powerdns_key")
    }

    /// What the backups are encrypted with (gpg, symmetric).
    pub fn backup_passphrase(&self) -> &str {
        self.word("backup_passphrase")
    }

    pub fn shop_database_password(&self) -> &str {
        self.word("shop_database_password")
    }

    pub fn shop_redis_password(&self) -> &str {
        self.word("shop_redis_password")
    }

    /// The private key that opens every host; never read into memory here.
    pub fn login_key(&self) -> PathBuf {
        self.folder.join(LOGIN_KEY)
    }

    /// One line for `authorized_keys`.
    pub fn login_public(&self) -> &str {
        &self.login_public
    }

    /// The 0600 file for the shop's application.
    pub fn shop_secret_file(&self) -> PathBuf {
        self.folder.join(SHOP_SECRET)
    }

    /// Every secret value with the name of its file, for tests that search where none may be. Of
    /// the login key it is the longest line of its private half.
    ///
    /// # Errors
    /// The login key cannot be read.
    pub fn canaries(&self) -> Result<Vec<(&'static str, String)>, SecretsError> {
        let mut all: Vec<_> = self
            .words
            .iter()
            .map(|(name, value)| (*name, value.clone()))
            .collect();
        // The first lines of every key of this kind are alike; from the third on they are its own.
        let private = read(&self.login_key())?;
        let line = private
            .lines()
            .filter(|line| !line.starts_with("--"))
            .nth(2);
        all.push((LOGIN_KEY, line.unwrap_or_default().to_owned()));
        // Only a world with the estate has it.
        let certified = self.folder.join(shop_tls::KEY);
        if certified.exists() {
            let key = read(&certified)?;
            let line = key.lines().filter(|line| !line.starts_with("--")).nth(1);
            all.push((shop_tls::KEY, line.unwrap_or_default().to_owned()));
        }
        Ok(all)
    }

    fn word(&self, name: &str) -> &str {
        self.words.get(name).map_or("", String::as_str)
    }
}

/// Letters and digits, evenly drawn from `/dev/urandom`.
///
/// # Errors
/// The device cannot be read.
pub fn random_word(length: usize) -> io::Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut source = File::open("/dev/urandom")?;
    let mut word = String::with_capacity(length);
    let mut bytes = [0_u8; 64];
    while word.len() < length {
        source.read_exact(&mut bytes)?;
        // 248 is the largest multiple of 62 in a byte: above it some letters would come oftener.
        let drawn = bytes.iter().filter(|byte| **byte < 248);
        word.extend(
            drawn
                .map(|byte| char::from(LETTERS[usize::from(*byte) % 62]))
                .take(length - word.len()),
        );
    }
    Ok(word)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), SecretsError> {
    let write = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?
            .write_all(bytes)
    };
    write().map_err(|source| SecretsError::Write {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<String, SecretsError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end().to_owned())
        .map_err(|source| SecretsError::Read {
            path: path.to_owned(),
            source,
        })
}

fn login_key(path: &Path) -> Result<(), SecretsError> {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "sandbox-login", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| SecretsError::Login {
            why: error.to_string(),
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(SecretsError::Login {
        why: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn secrets_are_distinct_and_private_and_found_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("secrets");
        std::fs::create_dir(&folder).unwrap();
        let made = WorldSecrets::generate(&folder).unwrap();
        let canaries = made.canaries().unwrap();
        let values: BTreeSet<_> = canaries.iter().map(|(_, value)| value).collect();
        assert_eq!(values.len(), canaries.len(), "two secrets are alike");
        assert!(canaries.iter().all(|(_, value)| value.len() >= 20));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for (name, _) in &canaries {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
        assert_eq!(mode(&made.shop_secret_file()), 0o600);
        let again = WorldSecrets::generate(&folder).unwrap();
        assert_eq!(again.canaries().unwrap(), canaries);
        let other = WorldSecrets::generate(&home.path().join("other")).unwrap();
        for (name, value) in other.canaries().unwrap() {
            assert!(!values.contains(&value), "{name} is the same in two worlds");
        }
    }

    #[test]
    fn the_login_canary_is_part_of_the_private_key_only() {
        let home = tempfile::tempdir().unwrap();
        let made = WorldSecrets::generate(home.path()).unwrap();
        let canaries = made.canaries().unwrap();
        let (_, canary) = canaries
            .iter()
            .find(|(name, _)| *name == LOGIN_KEY)
            .unwrap();
        assert!(
            std::fs::read_to_string(made.login_key())
                .unwrap()
                .contains(canary.as_str())
        );
        assert!(!made.login_public().contains(canary.as_str()));
    }
}
