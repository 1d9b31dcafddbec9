//! The estate's names: PowerDNS, which is asked and changed as in production, and Unbound before
//! it as the caching resolver, so that TTLs and negative answers are really kept.

mod powerdns;
mod program;
mod publish;
mod unbound;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;

pub use powerdns::{Authoritative, SCHEMA, start_authoritative};
pub use publish::{NameServers, Publisher};
pub use unbound::{Resolver, start_resolver};

/// Lifetime of records and of negative answers, in seconds.
pub const TTL: u32 = 5;

/// Why a name server could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    #[error("writing {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("starting `{program}` (package {package})")]
    Spawn {
        program: &'static str,
        package: &'static str,
        source: io::Error,
    },
    #[error(
        "making the database of PowerDNS with sqlite3 from {}: {why}",
        powerdns::SCHEMA
    )]
    Database { why: String },
    #[error("`{program}` ended ({status}) before it answered; it said: {said}")]
    Ended {
        program: &'static str,
        status: ExitStatus,
        said: String,
    },
    #[error(
        "`{program}` did not answer on {address} within {} s; it said: {said}",
        program::START_DEADLINE.as_secs()
    )]
    Silent {
        program: &'static str,
        address: SocketAddr,
        said: String,
    },
    #[error("`{program}` cannot listen on {address}")]
    Address {
        program: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("asking the API of PowerDNS on {address}: {why}")]
    Api { address: SocketAddr, why: String },
}
