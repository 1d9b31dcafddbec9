//! Backups come back, or are refused, with a real PostgreSQL, a real S3 server and the real gpg, age, curl.

mod choice;
mod cluster;
mod crash;
mod doubles;
mod files;
mod questions;
mod refuse;
mod roundtrip;
mod server;
mod store;
mod swap;
