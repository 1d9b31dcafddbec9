//! Constant pieces of POSIX shell that fetch and open a backup on a host. They never hold a value: values come as
//! `DR_*`, secrets as unexported `DR_SECRET_*` variables, and go on through pipes only.
//!
//! What a script says to us stands on lines of its own: `DR-PROGRESS phase done total` (total 0 = not known),
//! `DR-NOTE words`, `DR-FACT name value`, and, once, before it ends with status 65, `DR-FAIL reason words`, where the reason is a
//! word of [`crate::kind::Reason`].

/// Words for a script to speak with, a clean environment, and clean-up at the end.
pub const PRELUDE: &str = include_str!("prelude.sh");

/// `dr_fetch FILE BYTES`: gets `$DR_SECRET_URL`, resuming after broken connections; the URL goes to curl on standard input.
pub const FETCH: &str = include_str!("fetch.sh");

/// `dr_sniff` and `dr_decode IN OUT`: the layers of a staged file, opened once, each layer's own check demanded.
pub const DECODE: &str = include_str!("decode.sh");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Content, sniff};
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn shell_sniff(bytes: &[u8]) -> String {
        let mut child = Command::new("sh")
            .arg("-euc")
            .arg(format!("{PRELUDE}\n{DECODE}\ndr_sniff"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    }

    #[test]
    fn the_host_and_the_orchestrator_tell_the_same_content() {
        let mut tar = vec![b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let samples: &[&[u8]] = &[
            &tar,
            b"",
            b"\x1f\x8b\x08\0\0",
            b"\x28\xb5\x2f\xfd\0",
            b"\xfd7zXZ\0\0",
            b"PGDMP\x01\x0e\0",
            b"--\n-- PostgreSQL database dump\n--\n",
            b"--\n-- PostgreSQL database cluster dump\n--\n",
            b"\x8c\x0d\x04\x09\x03\x02",
            b"\xc3\x0d\x04\x09\x03\x02",
            b"\x85\x01\x8c\x03\xaa",
            b"Salted__12345678",
            b"age-encryption.org/v1\n-> X25519",
            b"-----BEGIN AGE ENCRYPTED FILE-----\n",
            b"-----BEGIN PGP MESSAGE-----\n",
            b"REDIS0010",
            b"hello, world",
        ];
        for bytes in samples {
            let word = match sniff(bytes) {
                Content::Empty => "empty",
                Content::Gzip => "gzip",
                Content::Zstd => "zstd",
                Content::Xz => "xz",
                Content::PostgresCustom => "custom",
                Content::PostgresPlain => "plain",
                Content::PostgresCluster => "cluster",
                Content::GpgSymmetric => "gpg",
                Content::GpgArmoured => "gpg",
                Content::GpgRecipient => "gpg_recipient",
                Content::OpenSsl => "openssl",
                Content::Age => "age",
                Content::Redis => "rdb",
                Content::Tar => "tar",
                _ => "unknown",
            };
            assert_eq!(
                shell_sniff(bytes),
                word,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
