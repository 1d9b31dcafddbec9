//! The map of dr-plan. Modules stand in the order of their floors: one may use only
//! those above it in this list (see `docs/architecture.md`; `tests/it/floors.rs` keeps it so).

#![forbid(unsafe_code)]

// 0 words: no I/O
pub mod clock;
pub mod ids;
pub mod kind;
pub mod problem;
pub mod secret;
pub mod units;

// 1 text
pub mod yaml;

// 1 text, filled in: renders the templates of a tree
pub mod template;

// 2 language
pub mod account;
pub mod event;
pub mod inventory;
pub mod plan;

// 3 sum
pub mod state;

// 4 memory, processes
pub mod journal;
pub mod process;
pub mod report;

// 5 wire
pub mod codec;
pub mod http;
pub mod resolve;
pub mod transport;
pub mod vault;

// 6 services
pub mod dns;
pub mod message;
pub mod provider;
pub mod store;

// 7 data
pub mod dataset;

// 8 verbs
pub mod action;

// 9 binding
pub mod program;

// 10 running
pub mod engine;

// 11 world
pub mod sandbox;

// 12 people
pub mod cli;
