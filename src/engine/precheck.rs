//! Before anything is touched: every step says whether it is going to work.

use std::sync::Arc;

use super::attempt::Door;
use super::contained::contained;
use crate::action::{Context, Person, Services, StepNotes};
use crate::event::What;
use crate::ids::StepId;
use crate::journal::{JournalError, Ledger};
use crate::kind::{Failure, Finding};
use crate::program::Work;

/// What came of the prechecks.
#[derive(Debug, Default)]
pub struct Prechecks {
    /// Findings, in step order.
    pub findings: Vec<(StepId, Finding)>,
    /// Steps that would not work.
    pub refused: Vec<(StepId, Failure)>,
}

/// Asks all steps that have not ended, side by side. What is only out of reach for the moment is a
/// warning: on the worst night half the world is, and a run must still be able to begin.
pub async fn precheck(
    work: &Arc<dyn Work>,
    ledger: &Ledger,
    services: &Arc<Services>,
    person: Arc<dyn Person>,
) -> Result<Prechecks, JournalError> {
    let todo: Vec<StepId> = ledger.state(|state| {
        state
            .steps
            .iter()
            .filter(|step| !step.status.ended())
            .map(|step| step.bound.id.clone())
            .collect()
    });
    let asks = todo.into_iter().enumerate().map(|(at, id)| {
        let person = person.clone();
        async move {
            let came = match ledger.state(|state| work.rehearse(&id, state)) {
                Ok(action) => {
                    let cx = ledger.state(|state| Context {
                        run: state.header.run.clone(),
                        step: id.clone(),
                        attempt: 0,
                        mode: state.header.mode,
                        plan: state.header.plan.clone(),
                        lost_at: state.header.lost_at,
                        rpo: state.header.objectives.rpo,
                        services: services.clone(),
                        record: Arc::new(Door(ledger.clone())),
                        person,
                        story: String::new(),
                        probe: state.step(&id).is_some_and(|s| s.bound.probe.is_some()),
                        notes: StepNotes::from(
                            state.step(&id).map(|s| s.notes.clone()).unwrap_or_default(),
                        ),
                    });
                    contained(action.precheck(&cx)).await.and_then(|came| came)
                }
                Err(failure) => Err(failure),
            };
            (at, id, came)
        }
    });
    use futures::StreamExt;
    let mut came: Vec<(usize, StepId, Result<Vec<Finding>, Failure>)> = futures::stream::iter(asks)
        .buffer_unordered(16)
        .collect()
        .await;
    came.sort_by_key(|(at, ..)| *at);
    let mut prechecks = Prechecks::default();
    for (_, id, result) in came {
        match result {
            Ok(findings) => prechecks
                .findings
                .extend(findings.into_iter().map(|finding| (id.clone(), finding))),
            Err(failure) if failure.reason.passes() => {
                prechecks.findings.push((
                    id.clone(),
                    Finding::unseen(format!("could not be checked: {}", failure.message)),
                ));
            }
            Err(failure) => prechecks.refused.push((id.clone(), failure)),
        }
    }
    for (step, finding) in &prechecks.findings {
        ledger.note_it(What::Prechecked {
            step: Some(step.clone()),
            finding: finding.clone(),
        });
    }
    for (step, failure) in &prechecks.refused {
        ledger
            .record(What::Refused {
                step: Some(step.clone()),
                failure: failure.clone(),
            })
            .await?;
    }
    Ok(prechecks)
}
