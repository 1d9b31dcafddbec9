//! How a call to somebody else's service ends when it does not end well, in the words that clouds and DNS share.

use std::time::Duration;

use super::{CallError, Refusal};
use crate::kind::{Failure, Reason};

/// How a call ended that did not end well. `Unknown` is its own outcome: reconcile by looking.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ServiceError {
    /// The service said no, or the request never reached it: nothing happened.
    #[error("{account}: {doing}: {message}")]
    Refused {
        /// The account's name.
        account: String,
        /// What was asked.
        doing: String,
        /// What it said, with the token masked.
        message: String,
        /// The kind of refusal.
        reason: Reason,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// No answer to something that may have had an effect.
    #[error("{account}: {doing}: the answer was lost ({message}); it may have happened")]
    Unknown {
        /// The account's name.
        account: String,
        /// What was asked.
        doing: String,
        /// What broke.
        message: String,
    },
}

impl ServiceError {
    /// A refusal that did not come from a call: a guard of our own, or a look that contradicted.
    pub fn refused(account: &str, doing: &str, reason: Reason, message: impl Into<String>) -> Self {
        ServiceError::Refused {
            account: account.into(),
            doing: doing.into(),
            message: message.into(),
            reason,
            retry_after: None,
        }
    }

    /// Turns the end of a call into words. `said` reads a refusal in the service's own format: its message and, where
    /// its error code tells more than the HTTP status, the reason.
    pub fn from_call(
        account: &str,
        doing: &str,
        error: CallError,
        said: impl FnOnce(&Refusal) -> (String, Option<Reason>),
    ) -> Self {
        match error {
            CallError::Refused(refusal) => {
                let (message, reason) = said(&refusal);
                ServiceError::Refused {
                    account: account.into(),
                    doing: doing.into(),
                    message: format!("{message} (HTTP {})", refusal.status),
                    reason: reason.unwrap_or_else(|| refusal.reason()),
                    retry_after: refusal.retry_after,
                }
            }
            CallError::Unreached { message, reason } => {
                ServiceError::refused(account, doing, reason, message)
            }
            CallError::Unknown { message, refusal } => ServiceError::Unknown {
                account: account.into(),
                doing: doing.into(),
                message: match refusal {
                    Some(refusal) => format!("{} (HTTP {})", said(&refusal).0, refusal.status),
                    None => message,
                },
            },
        }
    }

    /// The kind of failure.
    pub fn reason(&self) -> Reason {
        match self {
            ServiceError::Refused { reason, .. } => *reason,
            ServiceError::Unknown { .. } => Reason::Unknown,
        }
    }

    /// The same error with words added to what the service said.
    #[must_use]
    pub fn because(mut self, words: impl std::fmt::Display) -> Self {
        let (ServiceError::Refused { message, .. } | ServiceError::Unknown { message, .. }) =
            &mut self;
        *message = format!("{message}; {words}");
        self
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let text = error.to_string();
        match error {
            ServiceError::Refused {
                reason,
                retry_after,
                ..
            } => {
                let mut failure = Failure::new(reason, text);
                failure.retry_after = retry_after;
                failure
            }
            ServiceError::Unknown { .. } => Failure::new(Reason::Unknown, text),
        }
    }
}
