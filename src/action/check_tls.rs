//! `check.tls`: the certificate that a server shows is for the right name, vouched for, and good for long enough.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Asked, Bind, Context, Look, Verb, Verified};
use crate::http::{TlsError, TlsQuestion, certificate};
use crate::kind::{Effect, Failure, Output, Reason, Undo};
use crate::problem::Problem;
use crate::units::Span;
use crate::yaml::Node;

/// Arguments of `check.tls`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckTls {
    /// The name that users type: the certificate must be for it.
    name: String,
    /// The address to ask instead of the one that DNS gives.
    at: Option<String>,
    /// The port; 443 if nothing is said.
    #[serde(default = "https")]
    #[schemars(range(min = 1))]
    port: u16,
    /// A PEM file with the certificate authorities to trust instead of the machine's; relative to the plan.
    trust: Option<String>,
    /// So long from now on it must still be good, such as `336h`; good now is enough if nothing is said.
    valid_for: Option<Span>,
    /// A text that the name of its signer must hold.
    issuer: Option<String>,
    #[serde(skip)]
    #[schemars(skip)]
    folder: PathBuf,
}

fn https() -> u16 {
    443
}

/// A handshake is a few packets.
const WITHIN: Duration = Duration::from_secs(10);

impl Verb for CheckTls {
    const NAME: &'static str = "check.tls";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Looks at a server's certificate: its name, signer and time.";
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn sample(&self) -> Output {
        [
            ("expires", "2027-01-01T00:00:00Z"),
            ("issuer", "CN=an authority"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.into()))
        .collect()
    }

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        if rustls::pki_types::ServerName::try_from(self.name.as_str()).is_err() {
            let words = format!("`{}` is no name of a server", self.name);
            problems.push(Problem::error("bad-name", args.place_of("name"), words));
        }
        if let Some(at) = &self.at
            && at.parse::<IpAddr>().is_err()
        {
            let words = format!("`{at}` is not an IP address");
            problems.push(Problem::error("bad-address", args.place_of("at"), words));
        }
        self.folder = bind.folder.to_path_buf();
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

#[async_trait]
impl Look for CheckTls {
    fn title(&self) -> String {
        let at = self.at.as_ref().map(|at| format!(" at {at}"));
        format!(
            "certificate of {}:{}{}",
            self.name,
            self.port,
            at.unwrap_or_default()
        )
    }

    fn files(&self) -> Vec<PathBuf> {
        let trust = self.trust.as_ref().map(|trust| self.folder.join(trust));
        trust.into_iter().collect()
    }

    fn asked(&self) -> Asked {
        match &self.at {
            Some(at) => Asked::Address(at.clone()),
            None => Asked::Name(self.name.clone()),
        }
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let led = cx.leads(self.at.as_ref().unwrap_or(&self.name)).await?;
        let question = TlsQuestion {
            name: self.name.clone(),
            at: led.or_else(|| self.at.as_ref().and_then(|at| at.parse().ok())),
            port: self.port,
            trust: Look::files(self)
                .first()
                .map(|path| cx.services.copy_of(path)),
            valid_for: self.valid_for.map_or(Duration::ZERO, |span| span.0),
        };
        let title = Look::title(self);
        let shown = certificate(&question, WITHIN).await.map_err(|error| {
            let reason = match error {
                TlsError::Unreachable(_) => Reason::Unreachable,
                TlsError::Timeout(_) => Reason::Timeout,
                TlsError::Refused(_) | TlsError::Untrusted(_) => Reason::Verify,
                TlsError::Own(_) => Reason::Other,
            };
            let failure = Failure::new(reason, format!("{title}: {error}"));
            match (&error, &self.trust) {
                (TlsError::Untrusted(_), None) => {
                    failure.hint("a private authority is named with `trust: FILE`")
                }
                _ => failure,
            }
        })?;
        if let Some(wanted) = &self.issuer
            && !shown.issuer.contains(wanted.as_str())
        {
            let words = format!("{title}: it is signed by {}, not by {wanted}", shown.issuer);
            return Err(Failure::new(Reason::Verify, words));
        }
        let words = format!("signed by {}, good until {}", shown.issuer, shown.expires);
        Ok(Verified::seen(title, words)
            .with("expires", shown.expires.to_string())
            .answered("issuer", shown.issuer, cx))
    }
}
