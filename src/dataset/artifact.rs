//! The backup that a restore starts from, and how its bytes come to a host that has no credentials.

use std::time::Duration;

use crate::codec::{Encryption, Form, Key};
use crate::kind::{Failure, Reason};
use crate::secret::Secret;
use crate::store::{Fetch, Store};
use crate::transport::{Script, Transport, Upload};

/// Where the host finds the bytes.
#[derive(Clone)]
pub enum Source {
    /// It fetches them itself from a presigned URL.
    Url(Secret),
    /// They were put there in pieces by [`deliver`]: the folder that holds them.
    Delivered(String),
}

/// A backup that was chosen for a restore.
#[derive(Clone)]
pub struct Artifact {
    /// What people call it: `store:path`. It becomes part of the mark on what is restored.
    pub label: String,
    /// Stored bytes, by the listing.
    pub bytes: u64,
    /// SHA-256 of the stored bytes in hex, if a manifest says so.
    pub sha256: Option<String>,
    /// How the host gets it.
    pub source: Source,
    /// What opens it.
    pub key: Option<Key>,
}

impl Artifact {
    /// A short name that is the same for the same backup and safe as a file name. Begun files are taken up by it, so what
    /// may have been replaced in the store has another one.
    pub(crate) fn tag(&self) -> String {
        let sha256 = self.sha256.as_deref().unwrap_or("");
        tag(&format!("{} {} {sha256}", self.label, self.bytes))
    }

    /// What the host needs of a program to open it.
    pub(crate) fn key_word(&self) -> &'static str {
        match self.key.as_ref().map(Key::encryption) {
            Some(Encryption::Gpg) => "gpg",
            Some(Encryption::Age) => "age",
            _ => "none",
        }
    }

    /// Hands everything to a script that the recipe for obtaining a backup asks for.
    pub(crate) fn hand_to(
        &self,
        script: Script,
        declared: Option<Form>,
    ) -> Result<Script, Failure> {
        let mut script = script
            .value("BYTES", self.bytes.to_string())
            .value("SHA256", self.sha256.clone().unwrap_or_default())
            .value("TAG", self.tag())
            .value("KEY", self.key_word())
            .value(
                "FORM",
                declared.map(|form| form.to_string()).unwrap_or_default(),
            );
        script = match &self.source {
            Source::Url(url) => {
                if url.expose().contains(['\n', '\r', '\0']) {
                    return Err(Failure::new(
                        Reason::Refused,
                        "the presigned URL holds a line break",
                    ));
                }
                script.value("DELIVERED", "").secret("URL", url.clone())
            }
            Source::Delivered(folder) => script.value("DELIVERED", folder),
        };
        if let Some(key) = &self.key {
            script = script.secret("KEY", key.secret().clone());
        }
        Ok(script)
    }
}

fn tag(words: &str) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(words.as_bytes());
    digest.iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// What a host is asked before pieces are sent: a private folder, and the sizes of the pieces that are there already.
const PREPARE: &str = r#"
umask 077
folder=${DR_FOLDER:-$(getent passwd "$(id -u)" | cut -d: -f6)/dr-plan}/upload-$DR_TAG
mkdir -p -- "$folder"
printf 'folder %s\n' "$folder"
for piece in "$folder"/[0-9]*; do
  [ -f "$piece" ] || continue
  printf 'piece %s %s\n' "${piece##*/}" "$(stat -c %s -- "$piece")"
done
"#;

/// One piece; each is checked by length and hash on the host, so a broken connection costs at most one.
const PIECE: u64 = 16 * 1024 * 1024;

/// Brings a backup's bytes to a host: gives back the URL of a store that signs, or streams from one that cannot (a local folder).
/// `run_as` owns the pieces; `folder` is the site's folder for staged files (`None`: `dr-plan` in that user's home).
pub async fn deliver(
    store: &dyn Store,
    path: &str,
    bytes: u64,
    transport: &dyn Transport,
    run_as: Option<&str>,
    folder: Option<&str>,
    valid_for: Duration,
) -> Result<Source, Failure> {
    match store.fetch(path, valid_for).await? {
        Fetch::Url(url) => Ok(Source::Url(url)),
        Fetch::Stream => {
            let label = format!("{}:{path}", store.name());
            let script = Script::new(PREPARE)
                .ours()
                .value("FOLDER", folder.unwrap_or(""))
                .value("TAG", tag(&format!("{label} {bytes}")))
                .run_as(run_as);
            let answer = transport.leashed(&script, Duration::from_secs(30)).await?;
            if !answer.ok() {
                return Err(Failure::new(
                    Reason::ExitCode,
                    format!(
                        "preparing a folder for the backup on `{}`: {}",
                        transport.host(),
                        answer.said()
                    ),
                ));
            }
            let mut folder = None;
            let mut there = std::collections::HashMap::new();
            for line in answer.stdout.lines() {
                if let Some(path) = line.strip_prefix("folder ") {
                    folder = Some(path.to_string());
                } else if let Some((name, size)) = line
                    .strip_prefix("piece ")
                    .and_then(|piece| piece.split_once(' '))
                {
                    there.insert(name.to_string(), size.parse::<u64>().unwrap_or(0));
                }
            }
            let folder = folder.ok_or_else(|| {
                Failure::new(
                    Reason::Other,
                    format!("`{}` did not say where to put the backup", transport.host()),
                )
            })?;
            let mut from = 0;
            let mut number = 0u32;
            while from < bytes {
                let length = PIECE.min(bytes - from);
                let name = format!("{number:06}");
                if there.get(&name) != Some(&length) {
                    let content = store.read(path, from, length).await?;
                    if content.len() as u64 != length {
                        return Err(Failure::new(
                            Reason::Damaged,
                            format!("`{label}` became shorter than its listing said"),
                        ));
                    }
                    transport
                        .put(&Upload {
                            content,
                            to: format!("{folder}/{name}"),
                            owner: run_as.map(str::to_string),
                            mode: 0o600,
                            keep: None,
                        })
                        .await?;
                }
                from += length;
                number += 1;
            }
            Ok(Source::Delivered(folder))
        }
    }
}
