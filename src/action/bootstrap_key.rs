//! The host key with which a new server begins. It is made in memory and written nowhere: a process that dies here leaves
//! nothing behind, on no disk and in no shared memory.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::kind::{Failure, Reason};
use crate::secret::Secret;

/// The key pair for the first contact.
pub(super) struct BootstrapKey {
    /// As OpenSSH keeps it in a file, without a passphrase.
    pub(super) private: Secret,
    /// `ssh-ed25519 AAAA...`
    pub(super) public: String,
}

const KIND: &[u8] = b"ssh-ed25519";

impl BootstrapKey {
    /// A new one.
    pub(super) fn generate() -> Result<Self, Failure> {
        let failed = |what: &str| Failure::new(Reason::Other, format!("making a host key: {what}"));
        let random = SystemRandom::new();
        let (mut seed, mut check) = ([0; 32], [0; 4]);
        random
            .fill(&mut seed)
            .and_then(|()| random.fill(&mut check))
            .map_err(|_| failed("this machine gives no random numbers"))?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| failed(&error.to_string()))?;
        let public: &[u8] = pair.public_key().as_ref();
        let key = encoded(&seed, public, check);
        Ok(Self {
            private: Secret::new(armoured(&key)),
            public: format!("ssh-ed25519 {}", STANDARD.encode(public_blob(public))),
        })
    }
}

/// A length and the bytes (RFC 4251, section 5).
fn put(into: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a part of a key is short");
    into.extend(length.to_be_bytes());
    into.extend(bytes);
}

/// RFC 8709, section 4.
fn public_blob(public: &[u8]) -> Vec<u8> {
    let mut blob = Vec::new();
    put(&mut blob, KIND);
    put(&mut blob, public);
    blob
}

/// OpenSSH's own format of private keys (PROTOCOL.key), neither encrypted nor commented.
fn encoded(seed: &[u8], public: &[u8], check: [u8; 4]) -> Vec<u8> {
    let mut private = [check, check].concat();
    put(&mut private, KIND);
    put(&mut private, public);
    put(&mut private, &[seed, public].concat());
    put(&mut private, b"");
    // To the block of the cipher `none`, which is 8 bytes.
    for byte in 1..=u8::MAX {
        if private.len() % 8 == 0 {
            break;
        }
        private.push(byte);
    }
    let mut key = b"openssh-key-v1\0".to_vec();
    for word in [&b"none"[..], b"none", b""] {
        put(&mut key, word);
    }
    key.extend(1_u32.to_be_bytes());
    put(&mut key, &public_blob(public));
    put(&mut key, &private);
    key
}

fn armoured(key: &[u8]) -> String {
    let text = STANDARD.encode(key);
    let mut lines = vec!["-----BEGIN OPENSSH PRIVATE KEY-----"];
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(70));
        lines.push(line);
        rest = more;
    }
    lines.push("-----END OPENSSH PRIVATE KEY-----\n");
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn openssh_reads_the_key_signs_with_it_and_finds_the_same_public_half() {
        let key = BootstrapKey::generate().unwrap();
        let other = BootstrapKey::generate().unwrap();
        assert_ne!(key.public, other.public);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, key.private.expose()).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let said = Command::new("ssh-keygen")
            .args(["-y", "-f"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(said.status.success(), "{said:?}");
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), key.public);

        // The private half is that of the public one: a signature by the one is good for the other.
        let text = folder.path().join("text");
        std::fs::write(&text, "text").unwrap();
        let signed = Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", "test", "-f"])
            .args([&file, &text])
            .output()
            .unwrap();
        assert!(signed.status.success(), "{signed:?}");
        let judged = |public: &str| {
            let allowed = folder.path().join("allowed");
            std::fs::write(&allowed, format!("me {public}\n")).unwrap();
            Command::new("ssh-keygen")
                .args(["-Y", "verify", "-n", "test", "-I", "me", "-f"])
                .arg(&allowed)
                .arg("-s")
                .arg(folder.path().join("text.sig"))
                .stdin(std::fs::File::open(&text).unwrap())
                .output()
                .unwrap()
                .status
                .success()
        };
        assert!(judged(&key.public));
        assert!(!judged(&other.public));
    }
}
