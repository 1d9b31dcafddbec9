//! What happens to a run after its own end: it is taken back, what it kept is let go of, or another run takes over what it made.

use serde::{Deserialize, Serialize};

use crate::ids::{RunId, StepId};
use crate::kind::{Evidence, Failure};

/// One thing that happened on the way back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "back", rename_all = "snake_case")]
pub enum Back {
    /// Somebody wants these steps taken back, in this order.
    Begun {
        /// Who.
        by: String,
        /// The version of dr-plan.
        version: String,
        /// The steps.
        steps: Vec<StepId>,
    },
    /// The step is about to be taken back. On disk before the first side effect.
    Intent {
        /// The step.
        step: StepId,
        /// Higher than every attempt to carry it out, so that jobs on hosts are not taken for older ones.
        attempt: u32,
    },
    /// A look says that it is taken back.
    Undone {
        /// The step.
        step: StepId,
        /// What was looked at.
        evidence: Vec<Evidence>,
    },
    /// It stays as it is.
    Left {
        /// The step.
        step: StepId,
        /// Why.
        why: String,
        /// Something is left that only a person can take back.
        person: bool,
    },
    /// It could not be taken back.
    Failed {
        /// The step.
        step: StepId,
        /// Why.
        failure: Failure,
    },
    /// The process stops before all is taken back; the same command goes on.
    Stopped {
        /// Why.
        why: String,
    },
    /// All that was wanted is taken back, or left with a reason.
    Ended,
    /// What the step kept of before is about to be let go of.
    Releasing {
        /// The step.
        step: StepId,
        /// As in `Intent`.
        attempt: u32,
    },
    /// It is gone, proved by a look. The step cannot be taken back any more.
    Released {
        /// The step.
        step: StepId,
        /// What was looked at.
        evidence: Vec<Evidence>,
    },
    /// Another run goes on with what this one made: this one must not touch it any more.
    HandedOver {
        /// That run.
        to: RunId,
        /// Who started it.
        by: String,
    },
}

impl Back {
    /// The step it is about.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Back::Begun { .. } | Back::Stopped { .. } | Back::Ended | Back::HandedOver { .. } => {
                None
            }
            Back::Intent { step, .. }
            | Back::Undone { step, .. }
            | Back::Left { step, .. }
            | Back::Failed { step, .. }
            | Back::Releasing { step, .. }
            | Back::Released { step, .. } => Some(step),
        }
    }
}
