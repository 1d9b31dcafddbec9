//! Whose something is, written on the thing itself: `dr-plan run=R step=S backup=B state=...`. What stands where can be read from
//! the world after a crash, and what somebody else made is told from what a step made.

use crate::ids::{RunId, StepId};

/// The words that begin every mark of a step.
pub(super) fn of_step(run: &RunId, step: &StepId) -> String {
    format!("dr-plan run={run} step={step}")
}

/// The same, with the backup: a label may hold anything, a mark is one line of words.
pub(super) fn of_backup(run: &RunId, step: &StepId, label: &str) -> String {
    let mut out = format!("{} backup=", of_step(run, step));
    for byte in label.bytes() {
        if byte.is_ascii_alphanumeric() || b"._~:/-".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
