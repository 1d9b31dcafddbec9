//! The one integration-test binary: linking is what costs, so every scenario is a module of it.

mod clients;
mod commands;
mod data;
mod dependencies;
mod docs;
mod engine;
mod failover;
mod faults;
mod floors;
mod guards;
mod hints;
mod kinds;
mod memory;
mod sandbox_estate;
mod sandbox_services;
mod sandbox_uncollected;
mod sandbox_world;
mod spec;
mod terminal;
mod transport;
