//! The port through which people see a run. It stands beside the sum, because the journal's writer
//! feeds it and the reports implement it, and neither of the two may know the other.

use super::RunState;
use crate::event::Event;

/// Shows events as they come.
pub trait Reporter: Send {
    /// An event was kept and folded; `state` is the sum with it. It must not block: a terminal that
    /// nobody reads must not stop a recovery.
    fn show(&mut self, event: &Event, state: &RunState);

    /// Nothing more comes.
    fn close(&mut self) {}
}
