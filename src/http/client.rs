//! The one place that builds HTTP clients, so that time limits, redirects and trust are the same everywhere.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::trust;
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
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("dr-plan/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect)
        .timeout(options.total)
        .redirect(redirects(options.redirects))
        // What is sent again, and when, is decided by the policy of the caller alone.
        .retry(reqwest::retry::never())
        .tls_backend_preconfigured(tls(options)?);
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
        .build()
        .map_err(|error| HttpError::Build(chain(&error)))
}

fn tls(options: &HttpOptions) -> Result<rustls::ClientConfig, HttpError> {
    let made = match &options.ca_file {
        Some(path) => trust::config(trust::file(path).map_err(|why| HttpError::CaFile {
            path: path.clone(),
            why,
        })?),
        None => trust::machine().map_or_else(|_| trust::nobody(), trust::config),
    };
    let mut config = made.map_err(|error| HttpError::Build(chain(&error)))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
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
