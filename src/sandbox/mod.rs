//! A whole estate on one Linux machine: hosts, a cloud's API, DNS and a store, all real but the cloud.
//!
//! From outside: [`world`] brings a world up and finds it, [`needs`] says what the machine lacks,
//! [`enter`] holds the words of `unshare` and `nsenter`. In the world: [`world_init`] lays the
//! ground ([`base`], [`network`]) and keeps the machines ([`hosts`], [`host`]) behind the port
//! [`machines`]; [`control`] is its socket. In a machine: [`init`] is PID 1, [`host_root`] its
//! filesystem, [`supervisor`] its service manager with [`systemctl`] as its voice,
//! [`first_boot`] its cloud-init.

mod accounts;
pub mod api;
pub mod base;
mod cloud_config;
mod cloud_status;
mod cluster_identity;
pub mod control;
pub mod enter;
pub mod estate;
mod first_boot;
mod hidden;
mod host;
mod host_root;
pub mod hosts;
mod init;
pub mod listen;
pub mod machines;
mod messages;
pub mod names;
pub mod needs;
pub mod network;
mod packages;
pub mod places;
mod repository;
pub mod secrets;
pub mod shop;
mod shop_tls;
pub mod store;
mod supervisor;
pub mod surroundings;
mod systemctl;
pub mod world;
pub mod world_init;

/// Runs the hidden commands that the sandbox starts itself with (its init processes,
/// the shop's application). `None`: this was an ordinary invocation.
pub fn run_hidden() -> Option<std::process::ExitCode> {
    hidden::run_hidden(&std::env::args_os().collect::<Vec<_>>())
}
