//! Runs a program: starts what is ready, waits, and writes down what came of it. The graph's truth
//! is `RunState`; the engine asks it what is ready and gives it nothing but events.

mod attempt;
mod backoff;
mod closed;
mod contained;
mod desk;
mod health;
mod inject;
mod names;
mod precheck;
mod prediction;
mod preview;
mod readiness;
mod run;
mod stop;
mod story;
mod undo;

pub use backoff::Backoff;
pub use closed::look_at_egress;
pub use desk::{Answer, Desk, Standing};
pub use inject::{Accident, Injected};
pub use precheck::{Prechecks, precheck};
pub use prediction::{Basis, Estimate, Predicted, longest_way, predict};
pub use preview::{Foreseen, Monthly, PREVIEW_FORMAT, Preview, Would, differences, preview};
pub use readiness::{Readiness, Stand, backups_ready, readiness};
pub use run::{Ending, Engine};
pub use stop::{Stop, StopHandle, Wish};
pub use undo::{BackStep, UndoEnding, Undoing, Way, keepers, on_the_way_back, release, way_back};
