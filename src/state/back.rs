//! How far a run is taken back, and what of it was let go of: the fold of [`crate::event::Back`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::event::Back;
use crate::ids::{RunId, StepId};
use crate::kind::{Evidence, Failure};

/// Where a step stands on the way back.
#[derive(Debug, Clone, PartialEq)]
pub enum Return {
    /// Begun, and nobody has said what came of it: it is looked at before anything else.
    InDoubt,
    /// Taken back.
    Undone(Vec<Evidence>),
    /// It stays; whether a person has something to do, and why.
    Left(bool, String),
    /// It could not be taken back.
    Failed(Failure),
}

/// The way back of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WayBack {
    /// When somebody first asked for it, and who.
    pub begun: Option<(Timestamp, String)>,
    /// The steps wanted last.
    pub wanted: Vec<StepId>,
    /// Each step that was taken up.
    pub steps: BTreeMap<StepId, Return>,
    /// All that was wanted last is done.
    pub ended: bool,
    /// Why it stopped before.
    pub stopped: Option<String>,
    /// The steps whose release was begun, whatever came of it.
    pub releasing: BTreeSet<StepId>,
    /// What was let go of.
    pub released: BTreeMap<StepId, Vec<Evidence>>,
    /// The run that has taken over what this one made.
    pub handed_over: Option<RunId>,
    /// The last attempt at each step, to take it back or to let go.
    attempts: BTreeMap<StepId, (u32, bool)>,
}

impl WayBack {
    /// The attempt to make at a step that was carried out in `attempt` attempts: a new one, or the one that is in doubt.
    pub fn attempt(&self, step: &StepId, attempt: u32) -> u32 {
        match self.attempts.get(step) {
            Some((last, true)) => *last,
            Some((last, false)) => last + 1,
            None => attempt + 1,
        }
    }

    /// In a few words, if there is something to say.
    pub fn word(&self) -> Option<String> {
        match (&self.handed_over, &self.begun) {
            (Some(to), _) => Some(format!("handed over to {}", to.short())),
            (None, Some(_)) if self.ended && self.people().next().is_some() => {
                Some("taken back but for what people must do".into())
            }
            (None, Some(_)) if self.ended => Some("taken back".into()),
            (None, Some(_)) => Some("half taken back".into()),
            (None, None) => None,
        }
    }

    /// What is left for people.
    pub fn people(&self) -> impl Iterator<Item = (&StepId, &str)> {
        self.steps.iter().filter_map(|(step, stand)| match stand {
            Return::Left(true, why) => Some((step, why.as_str())),
            _ => None,
        })
    }

    pub(super) fn fold(&mut self, back: &Back, at: Timestamp) {
        match back {
            Back::Begun { by, steps, .. } => {
                self.begun.get_or_insert((at, by.clone()));
                self.wanted.clone_from(steps);
                self.ended = false;
                self.stopped = None;
            }
            Back::Intent { step, attempt } => {
                self.steps.insert(step.clone(), Return::InDoubt);
                self.attempts.insert(step.clone(), (*attempt, true));
            }
            Back::Undone { step, evidence } => {
                self.end(step);
                self.steps
                    .insert(step.clone(), Return::Undone(evidence.clone()));
            }
            Back::Left { step, why, person } => {
                self.end(step);
                self.steps
                    .insert(step.clone(), Return::Left(*person, why.clone()));
            }
            Back::Failed { step, failure } => {
                self.end(step);
                self.steps
                    .insert(step.clone(), Return::Failed(failure.clone()));
            }
            Back::Stopped { why } => self.stopped = Some(why.clone()),
            Back::Ended => self.ended = true,
            Back::Releasing { step, attempt } => {
                self.releasing.insert(step.clone());
                // Never in doubt: a release that ended badly or died on its host is carried out anew, not read once more.
                self.attempts.insert(step.clone(), (*attempt, false));
            }
            Back::Released { step, evidence } => {
                self.end(step);
                self.released.insert(step.clone(), evidence.clone());
            }
            Back::HandedOver { to, .. } => self.handed_over = Some(to.clone()),
        }
    }

    fn end(&mut self, step: &StepId) {
        if let Some((_, in_doubt)) = self.attempts.get_mut(step) {
            *in_doubt = false;
        }
    }
}
