//! Whom a TLS connection trusts: this machine's certificate authorities, or those of one file and no others.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// A verifier, or why there is none.
type Found = Result<Arc<dyn ServerCertVerifier>, String>;

/// How certificates are computed with; the same for every connection of this process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let ring = || Arc::new(rustls::crypto::ring::default_provider());
    PROVIDER.get_or_init(ring).clone()
}

/// The verifier for this machine's authorities. Reading them takes some 20 ms, and a run has a client for each provider, zone
/// and store: they are read once for the whole process.
pub(super) fn machine() -> Found {
    static MACHINE: OnceLock<Found> = OnceLock::new();
    let load = || match rustls_platform_verifier::Verifier::new(provider()) {
        Ok(verifier) => Ok(Arc::new(verifier) as Arc<dyn ServerCertVerifier>),
        Err(error) => Err(format!("this machine's certificate authorities: {error}")),
    };
    MACHINE.get_or_init(load).clone()
}

/// The verifier for the authorities of one file (PEM) alone.
pub(super) fn file(path: &Path) -> Found {
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    for certificate in found {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("no certificate in it (PEM is expected)".into());
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    Ok(verifier)
}

/// What a connection is made with. Each caller has its own: sessions are resumed without a look at the certificate, so
/// they must not pass from a client that trusts one authority to a client that trusts another.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn config(trust: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, rustls::Error> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(trust)
        .with_no_client_auth())
}

/// Trusts nobody: for a machine without authorities, which can still speak plain HTTP. An HTTPS request will say that the
/// certificate is not trusted.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn nobody() -> Result<ClientConfig, rustls::Error> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}
