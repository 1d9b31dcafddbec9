//! How each kind of data comes back: staged beside what is there, verified, then swapped in. Nothing here knows of plans or
//! journals: an action calls it and hands in where progress goes.

mod artifact;
pub mod config;
mod copy;
mod expect;
pub mod files;
mod follow;
mod jobs;
mod kept;
mod mark;
pub mod postgres;
pub mod redis;
mod restore;

pub use artifact::{Artifact, Source, deliver};
pub use copy::{DataCopy, Newest, Question, ZoneFrom};
pub use expect::{ExpectError, Expectation};
pub use follow::{JobReport, Progress, Silent, follow};
use kept::kept_bytes;
pub use restore::{Restore, Stand};

/// From the store's bytes to one opened file on the host; needs the recipes of [`crate::codec`] before it.
const OBTAIN: &str = include_str!("obtain.sh");

/// What is written down about a restore in a folder of its own, and who may work there.
const STATE: &str = include_str!("state.sh");
/// A tar archive is listed whole before anything of it is written.
const ARCHIVE: &str = include_str!("archive.sh");

/// How a service's own checker judges files before they are in place: `dr_view`.
pub const VIEW: &str = include_str!("view.sh");
