//! The one place that builds HTTP clients, so that time limits, redirects and trust are the same everywhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use crate::kind::chain;

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file with certificate authorities cannot be used.
    #[error("reading certificate authorities from `{}`: {why}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A base address that no request could be sent to.
    #[error("`{address}` is not an address for HTTP requests: {why}")]
    Address {
        /// As it was written, without credentials.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A token that cannot stand in a header. Its value is never shown.
    #[error(
        "the token of `{account}` holds a character that cannot stand in an HTTP header (a line break?)"
    )]
    Token {
        /// Whose token.
        account: String,
    },
    /// TLS could not be set up.
    #[error("building the HTTP client: {0}")]
    Build(String),
}

/// How far a redirect is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirects {
    /// The answer is handed over as it came.
    #[default]
    Never,
    /// At most five, all to the same scheme, host and port; one that leads elsewhere is handed over as it came.
    SameHost,
}

/// What differs between clients.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Trust only the certificate authorities in this PEM file, instead of the machine's.
    pub ca_file: Option<PathBuf>,
    /// Never through a proxy, whatever the environment says.
    pub direct: bool,
    /// Host names that are answered here instead of by a resolver: the new server is asked under its future name.
    pub pinned: Vec<(String, SocketAddr)>,
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// One request, from its start to the last byte of its answer.
    pub total: Duration,
    /// Redirects.
    pub redirects: Redirects,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            direct: false,
            pinned: Vec::new(),
            connect: Duration::from_secs(10),
            total: Duration::from_secs(30),
            redirects: Redirects::Never,
        }
    }
}

/// Builds a client.
///
/// # Errors
/// When the file with certificate authorities cannot be used, or TLS cannot be set up.
pub fn http_client(options: &HttpOptions) -> Result<reqwest::Client, HttpError> {
    build(options, true)
}

/// A client that opens a connection for each request: one that was kept open may have been closed by the other
/// side meanwhile, and a request lost on it is a request of which nobody knows whether it had an effect.
pub(super) fn fresh_connections(options: &HttpOptions) -> Result<reqwest::Client, HttpError> {
    build(options, false)
}

fn build(options: &HttpOptions, keep_connections: bool) -> Result<reqwest::Client, HttpError> {
    install_tls();
    let builder = || {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("dr-plan/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect)
            .timeout(options.total)
            .redirect(redirects(options.redirects))
            // What is sent again, and when, is decided by the policy of the caller alone.
            .retry(reqwest::retry::never());
        if options.direct {
            builder = builder.no_proxy();
        }
        if !keep_connections {
            builder = builder.pool_max_idle_per_host(0);
        }
        for (host, address) in &options.pinned {
            builder = builder.resolve(host, *address);
        }
        builder
    };
    if let Some(path) = &options.ca_file {
        let certificates = read_ca_file(path)?;
        return builder()
            .tls_certs_only(certificates)
            .build()
            .map_err(|e| HttpError::Build(chain(&e)));
    }
    builder().build().or_else(|first| {
        // A machine without certificate authorities can still speak plain HTTP; an HTTPS request will say that the
        // certificate is not trusted.
        builder()
            .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
            .build()
            .map_err(|_| HttpError::Build(chain(&first)))
    })
}

fn read_ca_file(path: &std::path::Path) -> Result<Vec<reqwest::Certificate>, HttpError> {
    let wrong = |why: String| HttpError::CaFile {
        path: path.to_path_buf(),
        why,
    };
    let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(chain(&e)))?;
    if certificates.is_empty() {
        return Err(wrong("no certificate in it (PEM is expected)".into()));
    }
    Ok(certificates)
}

fn redirects(kind: Redirects) -> reqwest::redirect::Policy {
    match kind {
        Redirects::Never => reqwest::redirect::Policy::none(),
        Redirects::SameHost => reqwest::redirect::Policy::custom(|attempt| {
            let same = attempt
                .previous()
                .first()
                .is_some_and(|first| first.origin() == attempt.url().origin());
            if !same || attempt.previous().len() > 5 {
                attempt.stop()
            } else {
                attempt.follow()
            }
        }),
    }
}

/// reqwest is built without a TLS provider: it takes the process's own, and panics without one.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that another part of the program was first, with the same provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "not a certificate\n").unwrap();
        let options = HttpOptions {
            ca_file: Some(file.path().to_path_buf()),
            ..HttpOptions::default()
        };
        let error = http_client(&options).unwrap_err().to_string();
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
        assert!(error.contains("no certificate"), "{error}");
    }

    #[test]
    fn a_client_is_built_with_the_trust_of_the_machine() {
        http_client(&HttpOptions::default()).unwrap();
    }
}
