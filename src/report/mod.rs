//! What people see of a run: while it goes, and afterwards. Everything here is fed by events and the
//! sum alone, so a replay years later shows the same.

mod back;
mod chart;
mod drill;
mod html;
mod json;
mod lines;
mod markdown;
mod model;
mod outlet;
mod path;
mod summary;
mod words;

pub use crate::state::Reporter;
pub use back::{BackLine, BackReport};
pub use drill::{DrillReport, EgressLine, Kept};
pub use html::html;
pub use json::Json;
pub use lines::{Detail, Lines, Style};
pub use markdown::markdown;
pub use model::{
    Approval, DataLoss, DatasetLoss, Health, JournalHead, Link, Made, Moment, People, Recovery,
    Refusal, Report, Retried, Seconds, Status, StepReport, Warned,
};
pub use outlet::Outlet;
pub use words::{closing, progress};
