//! The shop's certificate, signed by an authority that exists for this world only. The authority's key is thrown away at once: nothing
//! else will ever be signed by it.

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::surroundings::ZONE;

/// The certificate with the chain that a server shows.
pub const CERTIFICATE: &str = "shop_tls.crt";
/// Its private key.
pub const KEY: &str = "shop_tls.key";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("writing {}", path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("making a certificate with openssl: {0}")]
    OpenSsl(String),
}

/// What is certified, in the words of openssl-req(1).
fn request(name: &str, extensions: &str) -> String {
    format!(
        "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = {name}\n[extensions]\nsubjectKeyIdentifier = hash\n{extensions}\n"
    )
}

/// Makes both files (0600) in the folder of secrets, and the authority's certificate, which everybody may read, at `authority`.
///
/// # Errors
/// A file cannot be written, or openssl fails.
pub fn certify(folder: &Path, authority: &Path) -> Result<(), TlsError> {
    let work = folder.join("certifying");
    let write = |path: &Path, result: std::io::Result<()>| {
        result.map_err(|source| TlsError::Write {
            path: path.to_owned(),
            source,
        })
    };
    write(&work, std::fs::create_dir_all(&work))?;
    let done = sign(&work, folder, authority);
    write(&work, std::fs::remove_dir_all(&work))?;
    done
}

fn sign(work: &Path, folder: &Path, authority: &Path) -> Result<(), TlsError> {
    let (own_key, own) = (work.join("authority.key"), work.join("authority.pem"));
    let asked = [
        (
            "authority.cnf",
            request(
                "Authority of the sandbox",
                "basicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign",
            ),
        ),
        (
            "shop.cnf",
            request(
                ZONE,
                &format!(
                    "basicConstraints = critical,CA:FALSE\nauthorityKeyIdentifier = keyid\nkeyUsage = critical,digitalSignature\n\
                     extendedKeyUsage = serverAuth\nsubjectAltName = DNS:{ZONE},DNS:www.{ZONE}"
                ),
            ),
        ),
    ];
    for (name, text) in &asked {
        put(&work.join(name), text.as_bytes(), 0o600)?;
    }
    let common = |settings: &str, days: &str, key: &Path, out: &Path| {
        let mut command = Command::new("openssl");
        command
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-noenc",
            ])
            .arg("-config")
            .arg(work.join(settings))
            .args(["-extensions", "extensions", "-days", days, "-keyout"])
            .arg(key)
            .arg("-out")
            .arg(out);
        command
    };
    openssl(&mut common("authority.cnf", "90", &own_key, &own))?;
    let (key, certificate) = (work.join(KEY), work.join(CERTIFICATE));
    openssl(
        common("shop.cnf", "60", &key, &certificate)
            .arg("-CA")
            .arg(&own)
            .arg("-CAkey")
            .arg(&own_key),
    )?;
    for (from, to, mode) in [
        (key, folder.join(KEY), 0o600),
        (certificate, folder.join(CERTIFICATE), 0o600),
        (own, authority.to_owned(), 0o644),
    ] {
        let bytes =
            std::fs::read(&from).map_err(|source| TlsError::Write { path: from, source })?;
        put(&to, &bytes, mode)?;
    }
    Ok(())
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    use std::io::Write as _;
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)
    };
    write().map_err(|source| TlsError::Write {
        path: path.to_owned(),
        source,
    })
}

fn openssl(command: &mut Command) -> Result<(), TlsError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| TlsError::OpenSsl(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(TlsError::OpenSsl(said))
}
