//! Waiting for a provider: asking again with growing pauses until an answer or a deadline. What was asked for goes on
//! there by itself, so a wait that ends is never a reason to do it again.

use std::time::Duration;

pub use crate::http::Pace;

use super::{Power, Provider, ProviderError, Server};
use crate::kind::Reason;

/// Asks for the server until it runs and has an address.
///
/// # Errors
/// As `Provider::created`.
pub async fn created<P: Provider + ?Sized>(
    provider: &P,
    id: &str,
    within: Duration,
) -> Result<Server, ProviderError> {
    let mut pace = Pace::new(within);
    loop {
        let seen = match provider.get(id).await {
            Ok(Some(server)) => match ready(&server) {
                Ok(()) => return Ok(server),
                Err(what) => Ok(what),
            },
            Ok(None) => Ok("not known there yet".to_string()),
            // A read that failed says nothing about the server.
            Err(error) if error.reason().passes() || error.reason() == Reason::Timeout => {
                Err(error)
            }
            Err(error) => return Err(error),
        };
        if !pace.pause().await {
            return Err(seen.map_or_else(
                |error| error,
                |what| not_created(provider.account(), id, within, &what),
            ));
        }
    }
}

/// Whether the provider calls it running and shows an address; else what is missing.
pub fn ready(server: &Server) -> Result<(), String> {
    if server.power != Power::On {
        return Err(format!("power is {}", server.power));
    }
    if server.ipv4.is_none() && server.ipv6.is_none() {
        return Err("it has no address".into());
    }
    Ok(())
}

/// The end of a wait that saw no ready server.
pub fn not_created(account: &str, id: &str, within: Duration, saw: &str) -> ProviderError {
    let missing = saw.starts_with("not known");
    ProviderError::refused(
        account,
        &format!("waiting for server {id}"),
        if missing {
            Reason::NotFound
        } else {
            Reason::Timeout
        },
        format!(
            "not ready after {}: {saw}; the provider may still be at work on it",
            crate::units::duration(within)
        ),
    )
}
