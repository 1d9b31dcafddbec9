//! Waiting for a provider: asking again with growing pauses until an answer or a deadline. What was asked for goes on
//! there by itself, so a wait that ends is never a reason to do it again.

use std::time::{Duration, Instant};

use super::{Power, Provider, ProviderError, Server};
use crate::kind::Reason;

/// The pauses between questions: the first short, since a small cloud answers at once, each half as long again, up to
/// a length at which dozens of waits together stay below every provider's quota.
#[derive(Debug, Clone)]
pub struct Pace {
    next: Duration,
    longest: Duration,
    end: Instant,
}

impl Pace {
    /// 100 ms growing to 2 s, until `within` has passed.
    pub fn new(within: Duration) -> Self {
        Self {
            next: Duration::from_millis(100),
            longest: Duration::from_secs(2),
            end: Instant::now() + within,
        }
    }

    /// Pauses. `false`: the time is up and nothing was waited for.
    pub async fn pause(&mut self) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.next.min(left)).await;
        self.next = (self.next * 3 / 2).min(self.longest);
        true
    }

    /// What is left until the deadline.
    pub fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

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
        return Err(format!("power is {:?}", server.power).to_lowercase());
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
