//! HTTP as this program speaks it: one way to build a client, and one transport for JSON APIs that
//! knows three outcomes: it is done, it was refused, or nobody can say.

mod answer;
mod api;
mod client;
mod failure;
pub mod hetzner;
mod pace;
mod policy;
mod text;
mod tls;
mod trust;

pub use answer::{Answer, CallError, Refusal};
pub use api::{Api, ApiSettings, Call, Credential};
pub use client::{HttpError, HttpOptions, Redirects, http_client};
pub use failure::ServiceError;
pub use pace::Pace;
pub use policy::Policy;
pub use tls::{Shown, TlsError, TlsQuestion, certificate};
