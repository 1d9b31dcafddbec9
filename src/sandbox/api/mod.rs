//! The clouds of the sandbox: what answers on a provider's address. Written from the vendors'
//! references alone, sharing no type with the clients it judges. Every call is in a ledger, and
//! faults come on command.

pub mod faults;
pub mod hetzner;
pub mod ledger;

pub use faults::{FaultKind, FaultRule, Faults, When};
pub use ledger::{Call, Ledger};
