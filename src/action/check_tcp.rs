//! `check.tcp`: a port takes connections. The weakest of all checks: say with a better one that it serves.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Asked, Bind, Context, Look, Verb, Verified};
use crate::kind::{Effect, Failure, Reason, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `check.tcp`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckTcp {
    /// A name or an address.
    address: String,
    /// The port.
    port: u16,
    /// `closed` proves a fence: nothing may answer.
    #[serde(default)]
    state: Port,
}

/// How the port must be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Port {
    /// Takes connections.
    #[default]
    Open,
    /// Takes none.
    Closed,
}

impl Verb for CheckTcp {
    const NAME: &'static str = "check.tcp";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Tries whether a port takes connections.";
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn bind(self, _args: &Node, _bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

#[async_trait]
impl Look for CheckTcp {
    fn title(&self) -> String {
        format!("port {} of {}", self.port, self.address)
    }

    fn asked(&self) -> Asked {
        Asked::Name(self.address.clone())
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let led = cx.leads(&self.address).await?.map(|ip| ip.to_string());
        let address = led.as_deref().unwrap_or(&self.address);
        let connect = tokio::net::TcpStream::connect((address, self.port));
        let open = tokio::time::timeout(Duration::from_secs(3), connect).await;
        let saw = match &open {
            Ok(Ok(_)) => "open".to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within 3s".to_string(),
        };
        let is_open = matches!(open, Ok(Ok(_)));
        if is_open == (self.state == Port::Open) {
            Ok(Verified::seen(Look::title(self), saw))
        } else {
            Err(Failure::new(
                Reason::Verify,
                format!("{}: {saw}", Look::title(self)),
            ))
        }
    }
}
