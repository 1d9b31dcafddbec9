//! What a file is, told by its first bytes, and how a host opens it. Names lie (`.sql.gz` that is a custom
//! dump is common in the field), so content decides everywhere; a declared form only says what was expected.

mod recipe;

pub use recipe::{DECODE, FETCH, PRELUDE};

use std::fmt;

use crate::secret::Secret;

/// How many bytes [`sniff`] wants to see. The farthest magic (tar) ends at byte 262.
pub const SNIFF_BYTES: u64 = 512;

/// What a file's first bytes say it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// No byte at all.
    Empty,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The .xz format.
    Xz,
    /// `pg_dump --format=custom`.
    PostgresCustom,
    /// `pg_dump --format=plain`.
    PostgresPlain,
    /// `pg_dumpall`.
    PostgresCluster,
    /// A Redis RDB file.
    Redis,
    /// An SQLite database.
    Sqlite,
    /// A tar archive (POSIX or GNU).
    Tar,
    /// `openssl enc` with a salt: nothing in it protects against changes.
    OpenSsl,
    /// age, binary or armoured.
    Age,
    /// OpenPGP, a symmetric-key packet first (RFC 4880, tag 3): a passphrase opens it.
    GpgSymmetric,
    /// OpenPGP, a public-key packet first (tag 1): a secret key opens it.
    GpgRecipient,
    /// OpenPGP with ASCII armour; which of the two is inside is not seen.
    GpgArmoured,
    /// `mysqldump` or `mariadb-dump`.
    MySqlDump,
    /// MariaDB's or Percona's streaming format.
    XbStream,
    /// None of these.
    Unknown,
}

impl Content {
    /// Is it closed by a key?
    pub fn encryption(self) -> Option<Encryption> {
        match self {
            Content::GpgSymmetric | Content::GpgRecipient | Content::GpgArmoured => {
                Some(Encryption::Gpg)
            }
            Content::Age => Some(Encryption::Age),
            Content::OpenSsl => Some(Encryption::OpenSsl),
            _ => None,
        }
    }

    /// Is it a compressed something?
    pub fn compression(self) -> Option<Compression> {
        match self {
            Content::Gzip => Some(Compression::Gzip),
            Content::Zstd => Some(Compression::Zstd),
            Content::Xz => Some(Compression::Xz),
            _ => None,
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Content::Empty => "nothing (no bytes)",
            Content::Gzip => "gzip",
            Content::Zstd => "zstd",
            Content::Xz => "xz",
            Content::PostgresCustom => "a PostgreSQL dump in custom format",
            Content::PostgresPlain => "a PostgreSQL dump in plain SQL",
            Content::PostgresCluster => "a PostgreSQL cluster dump (pg_dumpall)",
            Content::Redis => "a Redis RDB file",
            Content::Sqlite => "an SQLite database",
            Content::Tar => "a tar archive",
            Content::OpenSsl => "openssl enc",
            Content::Age => "age",
            Content::GpgSymmetric => "gpg, closed by a passphrase",
            Content::GpgRecipient => "gpg, closed for a recipient's key",
            Content::GpgArmoured => "gpg with ASCII armour",
            Content::MySqlDump => "a MySQL or MariaDB dump",
            Content::XbStream => "an xbstream",
            Content::Unknown => "unknown bytes",
        })
    }
}

/// Names what a prefix of a file belongs to. Give it [`SNIFF_BYTES`] bytes, or the whole file when it is shorter.
pub fn sniff(prefix: &[u8]) -> Content {
    const STARTS: &[(&[u8], Content)] = &[
        (b"\x1f\x8b", Content::Gzip),
        (b"\x28\xb5\x2f\xfd", Content::Zstd),
        (b"\xfd7zXZ\0", Content::Xz),
        (b"PGDMP", Content::PostgresCustom),
        (b"REDIS00", Content::Redis),
        (b"SQLite format 3\0", Content::Sqlite),
        (b"Salted__", Content::OpenSsl),
        (b"age-encryption.org/v1", Content::Age),
        (b"-----BEGIN AGE ENCRYPTED FILE-----", Content::Age),
        (b"-----BEGIN PGP MESSAGE-----", Content::GpgArmoured),
        (b"XBSTCK01", Content::XbStream),
        (b"/*M!999999", Content::MySqlDump),
        (b"/*!999999", Content::MySqlDump),
        (b"-- MariaDB dump", Content::MySqlDump),
        (b"-- MySQL dump", Content::MySqlDump),
        (
            b"--\n-- PostgreSQL database cluster dump",
            Content::PostgresCluster,
        ),
        (b"--\n-- PostgreSQL database dump", Content::PostgresPlain),
    ];
    if prefix.is_empty() {
        return Content::Empty;
    }
    for (start, content) in STARTS {
        if prefix.starts_with(start) {
            return *content;
        }
    }
    if prefix.get(257..262) == Some(b"ustar") {
        return Content::Tar;
    }
    // OpenPGP packet headers (RFC 4880, 4.2): old format with a one-byte length for the usual session key
    // packets, or new format. Tag 3 is a passphrase's, tag 1 a public key's.
    match prefix {
        [0x8c | 0xc3, _, 4..=6, ..] => Content::GpgSymmetric,
        [0x84 | 0xc1, _, 2 | 3 | 6, ..] | [0x85, _, _, 2 | 3 | 6, ..] => Content::GpgRecipient,
        _ => Content::Unknown,
    }
}

/// How bytes were closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// OpenPGP.
    Gpg,
    /// age.
    Age,
    /// `openssl enc`; this version does not open it, because nothing shows that it was not changed.
    OpenSsl,
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encryption::Gpg => "gpg",
            Encryption::Age => "age",
            Encryption::OpenSsl => "openssl",
        })
    }
}

/// How bytes were made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `gzip`.
    Gzip,
    /// `zstd`.
    Zstd,
    /// `xz`.
    Xz,
}

impl Compression {
    /// Reads the word of an inventory.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "gzip" => Some(Compression::Gzip),
            "zstd" => Some(Compression::Zstd),
            "xz" => Some(Compression::Xz),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
        })
    }
}

/// The form of a dataset's backup inside its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// SQL text of `pg_dump`.
    Plain,
    /// `pg_dump --format=custom`.
    Custom,
    /// A Redis RDB file.
    Rdb,
    /// A tar archive.
    Tar,
}

impl Form {
    /// Reads the word of an inventory.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "plain" => Some(Form::Plain),
            "custom" => Some(Form::Custom),
            "rdb" => Some(Form::Rdb),
            "tar" => Some(Form::Tar),
            _ => None,
        }
    }

    /// What [`sniff`] says of such a file.
    pub fn content(self) -> Content {
        match self {
            Form::Plain => Content::PostgresPlain,
            Form::Custom => Content::PostgresCustom,
            Form::Rdb => Content::Redis,
            Form::Tar => Content::Tar,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Plain => "plain",
            Form::Custom => "custom",
            Form::Rdb => "rdb",
            Form::Tar => "tar",
        })
    }
}

/// What opens an encrypted backup.
#[derive(Clone)]
pub enum Key {
    /// The passphrase of `gpg --symmetric`.
    GpgPassphrase(Secret),
    /// An age identity file's text (`AGE-SECRET-KEY-1...`, comments allowed).
    AgeIdentity(Secret),
}

impl Key {
    /// What it opens.
    pub fn encryption(&self) -> Encryption {
        match self {
            Key::GpgPassphrase(_) => Encryption::Gpg,
            Key::AgeIdentity(_) => Encryption::Age,
        }
    }

    /// The value. It goes to a host as `DR_SECRET_KEY`, over standard input.
    pub fn secret(&self) -> &Secret {
        match self {
            Key::GpgPassphrase(secret) | Key::AgeIdentity(secret) => secret,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_from_magic_and_never_from_a_single_printable_byte() {
        let mut tar = vec![b'x'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let cases: &[(&[u8], Content)] = &[
            (b"", Content::Empty),
            (b"\x1f\x8b\x08", Content::Gzip),
            (b"PGDMP\x01\x0e", Content::PostgresCustom),
            (
                b"--\n-- PostgreSQL database dump\n--\n",
                Content::PostgresPlain,
            ),
            (
                b"--\n-- PostgreSQL database cluster dump\n",
                Content::PostgresCluster,
            ),
            (b"\x8c\x0d\x04\x09\x03\x02", Content::GpgSymmetric),
            (b"\x85\x01\x8c\x03\xaa", Content::GpgRecipient),
            (b"\x84\x5e\x03\xaa", Content::GpgRecipient),
            (b"Salted__12345678", Content::OpenSsl),
            (b"REDIS0010", Content::Redis),
            (&tar, Content::Tar),
            (b"\x8c", Content::Unknown),
            (b"-- a note by hand\n", Content::Unknown),
        ];
        for (bytes, content) in cases {
            assert_eq!(
                sniff(bytes),
                *content,
                "{:?}",
                &bytes[..bytes.len().min(20)]
            );
        }
    }
}
