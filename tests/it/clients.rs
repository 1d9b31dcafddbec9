//! The clients against services that answer, refuse, lie, hang and hang up.

mod fencing;
mod hetzner;
mod hetzner_dns;
mod hetzner_faults;
mod hetzner_network;
mod hetzner_snapshots;
mod nameserver;
mod powerdns;
mod project;
mod questions;
mod recorded;
mod service;
mod simulated;
mod taken_back;
mod transport;
