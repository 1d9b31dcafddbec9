//! What a JSON API answers: a good answer, a refusal, or silence, sorted by what it says about the effect.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use crate::kind::Reason;

/// A good answer (2xx).
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body. It may hold a password that the provider made: never log it.
    pub body: Bytes,
    /// Whether the request could have changed something.
    pub(super) changing: bool,
}

impl Answer {
    /// Reads the body.
    ///
    /// # Errors
    /// A body that is not what was expected leaves a change in doubt, but not a read. The message tells the place and
    /// never quotes the body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!(
                "HTTP {} with a body of {} bytes that is {} at line {} column {}",
                self.status,
                self.body.len(),
                match error.classify() {
                    serde_json::error::Category::Eof => "cut off",
                    serde_json::error::Category::Syntax | serde_json::error::Category::Io =>
                        "not JSON",
                    serde_json::error::Category::Data => "not what the API promises",
                },
                error.line(),
                error.column()
            );
            if self.changing {
                CallError::Unknown {
                    message,
                    refusal: None,
                }
            } else {
                CallError::Unreached {
                    message,
                    reason: Reason::Other,
                }
            }
        })
    }
}

/// An answer that says no.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as text: masked, without control characters, cut to 600 characters.
    pub text: String,
    /// Its body, if it is JSON; every string in it is masked.
    pub json: Option<serde_json::Value>,
    /// When the service asked to be left alone until; only read on 429 and 503.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// What the status alone tells.
    pub fn reason(&self) -> Reason {
        match self.status {
            401 | 403 | 407 => Reason::Denied,
            404 | 410 => Reason::NotFound,
            408 | 504 => Reason::Timeout,
            409 | 423 => Reason::Busy,
            429 => Reason::RateLimited,
            500..=599 => Reason::Unreachable,
            400..=499 => Reason::Refused,
            _ => Reason::Other,
        }
    }

    /// The text, or the name of the status when the body is empty or a page that some proxy made.
    pub fn words(&self) -> String {
        if self.text.is_empty() || self.text.starts_with('<') {
            reqwest::StatusCode::from_u16(self.status)
                .ok()
                .and_then(|s| s.canonical_reason())
                .unwrap_or("no explanation")
                .to_string()
        } else {
            self.text.clone()
        }
    }
}

/// How a call ended that did not end well.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The service answered and said no.
    #[error("HTTP {}: {}", .0.status, .0.words())]
    Refused(Box<Refusal>),
    /// The request never left, or it was a read: nothing happened.
    #[error("{message}")]
    Unreached {
        /// What broke.
        message: String,
        /// `Unreachable`, `Timeout` or `Other`.
        reason: Reason,
    },
    /// The request left and its answer is lost, cut, or a server error: it may have happened.
    #[error("{message}")]
    Unknown {
        /// What broke.
        message: String,
        /// The server error, if there was an answer at all.
        refusal: Option<Box<Refusal>>,
    },
}
