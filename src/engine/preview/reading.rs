//! A context for those who only look: what they note is remembered to be shown, and everything else is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::action::{Context, Given, Person, Record, Services, StepNotes};
use crate::event::{Ask, What};
use crate::ids::{RunId, StepId};
use crate::kind::{Failure, Mode, Reason};
use crate::state::RunState;

/// A context that writes nothing, and what it was told.
pub(super) fn context(
    state: &RunState,
    services: &Arc<Services>,
    step: &StepId,
) -> (Context, Arc<Unwritten>) {
    let record = Arc::new(Unwritten::default());
    let cx = Context {
        run: state.header.run.clone(),
        step: step.clone(),
        attempt: 0,
        mode: Mode::Preview,
        plan: state.header.plan.clone(),
        lost_at: state.header.lost_at,
        rpo: state.header.objectives.rpo,
        services: services.clone(),
        record: record.clone(),
        person: Arc::new(Nobody),
        story: "<what the run has come to by then>".into(),
        probe: state
            .step(step)
            .is_some_and(|step| step.bound.probe.is_some()),
        notes: StepNotes::from(
            state
                .step(step)
                .map(|step| step.notes.clone())
                .unwrap_or_default(),
        ),
    };
    (cx, record)
}

/// A context that belongs to no run and can only look.
pub(in crate::engine) fn reading(services: &Arc<Services>) -> Context {
    Context {
        run: RunId::generate(),
        step: StepId::new("look").expect("a constant within the grammar"),
        attempt: 0,
        mode: Mode::Preview,
        plan: String::new(),
        lost_at: services.clock.now(),
        rpo: None,
        services: services.clone(),
        record: Arc::new(Unwritten::default()),
        person: Arc::new(Nobody),
        story: String::new(),
        probe: false,
        notes: StepNotes::default(),
    }
}

/// What steps say goes nowhere; what they note is remembered to be shown.
#[derive(Default)]
pub(super) struct Unwritten(Mutex<BTreeMap<String, Value>>);

impl Unwritten {
    pub(super) fn noted(&self) -> BTreeMap<String, Value> {
        self.0.lock().expect("no holder panics").clone()
    }
}

#[async_trait::async_trait]
impl Record for Unwritten {
    async fn durable(&self, what: What) -> Result<(), Failure> {
        match what {
            What::Note { key, value, .. } => {
                self.0.lock().expect("no holder panics").insert(key, value);
                Ok(())
            }
            // Measured, and measured again in the run.
            What::Newest { .. } => Ok(()),
            _ => Err(Failure::new(Reason::Refused, "a preview only looks")),
        }
    }

    fn passing(&self, _what: What) {}
}

/// Nobody is asked before the run.
struct Nobody;

#[async_trait::async_trait]
impl Person for Nobody {
    async fn ask(&self, _step: &StepId, _ask: Ask) -> Result<Given, Failure> {
        Err(Failure::new(Reason::Declined, "a preview asks nobody"))
    }
}
