//! How each kind of data comes back: staged beside what is there, verified, then swapped in. Nothing here knows of plans or
//! journals: an action calls it and hands in where progress goes.

mod artifact;
mod follow;
pub mod postgres;

pub use artifact::{Artifact, Source, deliver};
pub use follow::{JobReport, Progress, Silent, follow};
