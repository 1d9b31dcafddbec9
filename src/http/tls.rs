//! What certificate a server shows, judged as a user's browser judges it: chain, name and time. Nothing is asked of it once the
//! handshake has ended.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::trust;

/// Who is asked for what.
#[derive(Debug, Clone)]
pub struct TlsQuestion {
    /// The name that users type; it goes into the handshake, and the certificate must be for it.
    pub name: String,
    /// The address to ask; `None`: what this machine's resolver says.
    pub at: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Only these certificate authorities (PEM) are trusted, instead of the machine's.
    pub trust: Option<PathBuf>,
    /// The whole chain must still be good after so long.
    pub valid_for: Duration,
}

/// A certificate that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Who signed it (RFC 4514).
    pub issuer: String,
    /// When it runs out.
    pub expires: Timestamp,
}

/// Why there is no good certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer within {}", crate::units::duration(*.0))]
    Timeout(Duration),
    /// The server was reached, and what it shows will not do.
    #[error("{0}")]
    Refused(String),
    /// Nobody vouches for it whom we trust.
    #[error("{0}")]
    Untrusted(String),
    /// We cannot ask.
    #[error("{0}")]
    Own(String),
}

/// Judges the certificate twice, now and at the end of the time that it must last, and remembers what it was shown.
#[derive(Debug)]
struct Judge {
    inner: Arc<dyn ServerCertVerifier>,
    valid_for: Duration,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    certificate: Vec<u8>,
    /// It is good today and not to the end of the time.
    short: bool,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = |at: UnixTime| {
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at)
        };
        let today = judged(now);
        let then = Duration::from_secs(now.as_secs()).saturating_add(self.valid_for);
        let mut seen = self.seen.lock().expect("no holder panics");
        seen.certificate = end_entity.to_vec();
        let good = today?;
        if !self.valid_for.is_zero() && judged(UnixTime::since_unix_epoch(then)).is_err() {
            seen.short = true;
        }
        Ok(good)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Asks once.
///
/// # Errors
/// Nobody answers, or what is shown is not good.
pub async fn certificate(question: &TlsQuestion, within: Duration) -> Result<Shown, TlsError> {
    let asked = tokio::time::timeout(within, ask(question)).await;
    asked.unwrap_or(Err(TlsError::Timeout(within)))
}

async fn ask(question: &TlsQuestion) -> Result<Shown, TlsError> {
    let judge = Arc::new(Judge {
        inner: trusted(question.trust.as_deref())?,
        valid_for: question.valid_for,
        seen: Mutex::default(),
    });
    let config = trust::config(judge.clone())
        .map_err(|error| TlsError::Own(format!("setting up TLS: {error}")))?;
    let name = ServerName::try_from(question.name.clone())
        .map_err(|_| TlsError::Own(format!("`{}` is no name of a server", question.name)))?;
    let unreachable = |error: std::io::Error| TlsError::Unreachable(error.to_string());
    let stream = match question.at {
        Some(at) => TcpStream::connect(SocketAddr::new(at, question.port)).await,
        None => TcpStream::connect((question.name.as_str(), question.port)).await,
    }
    .map_err(unreachable)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let greeted = connector.connect(name, stream).await;
    let seen = judge.seen.lock().expect("no holder panics");
    let shown = read(&seen.certificate);
    if let Err(error) = greeted {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        return Err(match inner {
            Some(rustls::Error::InvalidCertificate(why)) => refused(why, question, shown.as_ref()),
            Some(why) => TlsError::Refused(format!("it speaks no TLS that we understand: {why}")),
            None => unreachable(error),
        });
    }
    let shown = shown.ok_or_else(|| TlsError::Refused("its certificate cannot be read".into()))?;
    if seen.short {
        return Err(TlsError::Refused(format!(
            "the certificate (until {}) or one that it is built on runs out within {}",
            shown.expires,
            crate::units::duration(question.valid_for)
        )));
    }
    Ok(shown)
}

/// The verifier for the authorities of a file, or for those of this machine.
fn trusted(trust: Option<&Path>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let Some(path) = trust else {
        return trust::machine().map_err(TlsError::Own);
    };
    trust::file(path).map_err(|why| {
        let path = path.display();
        TlsError::Own(format!(
            "reading certificate authorities from `{path}`: {why}"
        ))
    })
}

fn read(certificate: &[u8]) -> Option<Shown> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let inside = certificate.tbs_certificate();
    let expires = inside.validity().not_after.to_unix_duration().as_secs();
    Some(Shown {
        issuer: inside.issuer().to_string(),
        expires: Timestamp::from_second(i64::try_from(expires).ok()?).ok()?,
    })
}

fn refused(why: &CertificateError, question: &TlsQuestion, shown: Option<&Shown>) -> TlsError {
    let issuer = shown.map_or("somebody", |shown| shown.issuer.as_str());
    let at = |time: &UnixTime| {
        let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(second).map_or("never".into(), |at| at.to_string())
    };
    TlsError::Refused(match why {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate ran out at {}", at(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the certificate is good from {} on and not yet; is a clock wrong?",
            at(not_before)
        ),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!(
                "the certificate is for no name at all, and not for {}",
                question.name
            )
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            // `DnsName("a.example")`: the names are kept in this form only.
            let names: Vec<&str> = presented
                .iter()
                .map(|name| name.split('"').nth(1).unwrap_or(name))
                .collect();
            format!(
                "the certificate is for {} and not for {}",
                names.join(", "),
                question.name
            )
        }
        CertificateError::UnknownIssuer => {
            let whom = match question.trust {
                Some(_) => "none of the trusted authorities",
                None => "none of this machine's authorities",
            };
            return TlsError::Untrusted(format!(
                "{whom} vouches for the certificate, signed by {issuer}"
            ));
        }
        other => format!("the certificate, signed by {issuer}, is not good: {other}"),
    })
}
