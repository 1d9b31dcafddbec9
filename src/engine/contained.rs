//! A fault of dr-plan itself in one action is a failure of that step, told and written down, and never the end of the process.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::kind::{Failure, Reason};

/// What the work gives; a panic in it is a failure.
pub(super) async fn contained<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    // What the work held is dropped with it; an action keeps nothing that outlives it but through the journal.
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .map_err(|panic| fault(&*panic))
}

/// A panic as the failure of a step.
pub(super) fn fault(panic: &(dyn Any + Send)) -> Failure {
    let words = words_of(panic);
    Failure::new(
        Reason::Other,
        format!("this is a fault of dr-plan itself: {words}"),
    )
    .hint("what the step had begun may go on; `dr-plan resume` looks before it does anything")
}

/// What a panic said.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> String {
    let said = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned());
    said.unwrap_or_else(|| "a panic without words".into())
}
