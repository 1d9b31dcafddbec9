//! The region failover as a person has it: the real binary, the real sandbox, real accidents. Each
//! test has a world of its own, so they run side by side.

mod between;
mod closed;
mod drilled;
mod killed;
mod people;
mod plain;
mod previewed;
mod readiness;
mod reaped;
mod refused;
pub mod shop;
mod signals;
mod undone;
