//! The shop that gets lost and comes back: a small application over PostgreSQL. It keeps nothing
//! in memory, so a page it shows is what its database says at that moment.

mod app;
mod config;
mod database;

use std::path::PathBuf;
use std::process::ExitCode;

/// The hidden command that runs it: `dr-plan sandbox-shop-app FILE...`, each a file of
/// `KEY=VALUE` lines, later ones winning.
pub const COMMAND: &str = "sandbox-shop-app";

/// Tables and indexes, to be run in the shop's database by its owner.
pub const SCHEMA: &str = include_str!("schema.sql");

/// A first stock of users and of orders up to now.
pub const SEED: &str = include_str!("seed.sql");

/// Carts, sessions that run out in a month, and when the last cart was filled: commands of Redis.
pub const REDIS_SEED: &str = include_str!("seed.redis");

/// Runs the application until it is killed.
pub fn main() -> ExitCode {
    let files: Vec<PathBuf> = std::env::args_os().skip(2).map(PathBuf::from).collect();
    let config = match config::Config::read(&files) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(app::serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the service's log is its stderr")]
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("shop: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprintln!("shop:   because: {error}");
        source = error.source();
    }
    ExitCode::FAILURE
}
