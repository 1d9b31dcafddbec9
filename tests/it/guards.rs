//! What must never happen, tried in the real sandbox: a secret where it does not belong, users sent to
//! a shop that is not the restored one, data overwritten, a stranger trusted, a server made twice.

mod address;
mod canaries;
mod cloud;
mod config;
mod files;
mod gate;
mod let_go;
mod redis;
mod render;
mod restore;
mod sampler;
mod search;
pub mod shop;
mod snapshot;
mod tls;
mod zone;
