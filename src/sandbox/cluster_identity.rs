//! A copied PostgreSQL cluster is not yet a fresh one: initdb gives every cluster a system
//! identifier, and tools that compare it must find two machines different.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use super::packages::{PackageError, run};

/// Gives the cluster `main` of `version` an identifier of its own and an empty write-ahead log.
pub fn renew(version: &str) -> Result<(), PackageError> {
    let data = PathBuf::from(format!("/var/lib/postgresql/{version}/main"));
    let control = data.join("global/pg_control");
    let wrong = |what: &str| PackageError::Command {
        command: format!("renew {}", control.display()),
        why: what.to_owned(),
    };
    let mut bytes = fs::read(&control).map_err(|error| wrong(&format!("reading it: {error}")))?;
    let place = checksum_place(&bytes)
        .ok_or_else(|| wrong("its checksum is not where a checksum would be"))?;
    bytes[..8].copy_from_slice(&identifier().to_ne_bytes());
    let sum = crc32c(&bytes[..place]);
    bytes[place..place + 4].copy_from_slice(&sum.to_ne_bytes());
    fs::write(&control, bytes).map_err(|error| wrong(&format!("writing it: {error}")))?;
    // The old log carries the old identifier; this writes a new one.
    run(Command::new("setpriv")
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            "--",
        ])
        .arg(
            Path::new("/usr/lib/postgresql")
                .join(version)
                .join("bin/pg_resetwal"),
        )
        .args(["--force", "-D"])
        .arg(&data))
}

/// Made as initdb makes it: seconds, microseconds, and (here) randomness for the process id.
fn identifier() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut random = [0u8; 2];
    if let Ok(mut file) = fs::File::open("/dev/urandom") {
        let _ = std::io::Read::read_exact(&mut file, &mut random);
    }
    (now.as_secs() << 32)
        | (u64::from(now.subsec_micros()) << 12)
        | (u64::from(u16::from_ne_bytes(random)) & 0xfff)
}

/// pg_control ends in a CRC-32C of all that stands before it; how long that is differs between
/// versions (src/include/catalog/pg_control.h).
fn checksum_place(bytes: &[u8]) -> Option<usize> {
    (64..bytes.len().saturating_sub(4).min(1024))
        .step_by(4)
        .find(|place| crc32c(&bytes[..*place]).to_ne_bytes() == bytes[*place..*place + 4])
}

/// CRC-32C (Castagnoli), RFC 3720 appendix B.4, bit by bit: the input is 300 bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 {
                (sum >> 1) ^ 0x82f6_3b78
            } else {
                sum >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
