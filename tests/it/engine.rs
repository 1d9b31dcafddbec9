//! The engine under everything that can happen to it, with doubles whose world lives outside of the
//! process that runs: killed at every record, failing, hanging, asked to stop, marked by people.

mod child;
mod doubles;
mod harness;
mod health;
mod outcomes;
mod people;
mod previews;
mod properties;
mod shape;
mod stopping;
mod sweep;
mod trace;
mod undone;
mod world;
