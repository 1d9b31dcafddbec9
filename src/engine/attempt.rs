//! One step from its first look to its outcome: observe, intent, apply, verify; again after what passes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;
use super::run::Shared;
use crate::action::{Action, Context, Given, Person, Record, StepNotes, Verified};
use crate::event::{Ask, NOT_YET, What};
use crate::ids::StepId;
use crate::journal::{JournalError, Ledger};
use crate::kind::{Effect, Failure, Observation, Reason};
use crate::program::Policy;
use crate::units::duration;

/// How an attempt came out.
enum Came {
    Done { verified: Verified, already: bool },
    Blocked(Observation),
}

/// Carries a step to its outcome, which is on disk when this returns. A person who marks the step as
/// skipped meanwhile has the last word: what comes after that is refused by the journal, and dropped.
pub(super) async fn carry_out(shared: &Shared, id: &StepId) -> Result<(), JournalError> {
    match until_its_outcome(shared, id).await {
        Err(JournalError::Impossible(_)) if has_ended(shared, id) => Ok(()),
        came => came,
    }
}

fn has_ended(shared: &Shared, id: &StepId) -> bool {
    shared
        .ledger
        .state(|state| state.step(id).is_some_and(|step| step.status.ended()))
}

async fn until_its_outcome(shared: &Shared, id: &StepId) -> Result<(), JournalError> {
    let policy = shared.work.policy(id);
    let clock = Arc::new(StepClock::new(policy.timeout, policy.within));
    let mut backoff = Backoff::new(policy.backoff, Duration::from_secs(15));
    let mut failures = 0;
    loop {
        let came = clock.within(one(shared, id, &policy, &clock)).await;
        let failure = match came {
            Ok(Came::Done { verified, already }) => {
                let what = What::Done {
                    step: id.clone(),
                    already,
                    output: verified.output,
                    evidence: verified.evidence,
                    open: verified.open,
                };
                return shared.ledger.record(what).await.map(drop);
            }
            Ok(Came::Blocked(observation)) => {
                return shared
                    .ledger
                    .record(What::Blocked {
                        step: id.clone(),
                        observation,
                    })
                    .await
                    .map(drop);
            }
            Err(failure) => failure,
        };
        failures += 1;
        let wait = failure.retry_after.unwrap_or_else(|| backoff.wait());
        let then = clock.passed().saturating_add(wait);
        let once_more = failures < policy.attempts || policy.waits_out(failure.reason, then);
        let again = once_more && policy.retries(failure.reason) && clock.allows(wait);
        if !again {
            return shared
                .ledger
                .record(What::Failed {
                    step: id.clone(),
                    failure,
                })
                .await
                .map(drop);
        }
        let attempt = shared
            .ledger
            .state(|state| state.step(id).map_or(0, |step| step.attempt));
        shared
            .ledger
            .record(What::Retry {
                step: id.clone(),
                attempt,
                failure,
                after: wait,
            })
            .await?;
        tokio::time::sleep(wait).await;
    }
}

async fn one(
    shared: &Shared,
    id: &StepId,
    policy: &Policy,
    clock: &Arc<StepClock>,
) -> Result<Came, Failure> {
    let (attempt, in_doubt, marked, notes, probe) = shared
        .ledger
        .state(|state| {
            state.step(id).map(|s| {
                (
                    s.attempt,
                    s.in_doubt,
                    s.marked_done.clone(),
                    s.notes.clone(),
                    s.bound.probe.is_some(),
                )
            })
        })
        .unwrap_or_default();
    let action = shared.ledger.state(|state| shared.work.action(id, state))?;
    let mut cx = shared.context(id, attempt, StepNotes::from(notes));
    if policy.effect == Effect::Tell {
        cx.story = shared.ledger.state(super::story::story);
    }
    cx.person = Arc::new(ClockedPerson {
        person: cx.person.clone(),
        clock: clock.clone(),
    });

    if probe && marked.is_none() {
        shared.ledger.note_it(What::Observed {
            step: id.clone(),
            observation: Observation::Absent,
        });
        let verified = action.probe(&cx).await?;
        return Ok(Came::Done {
            verified,
            already: false,
        });
    }
    if policy.effect == Effect::Read || marked.is_some() {
        // A look has nothing to be seen before it, but from here on the step is at work and its time counts.
        shared.ledger.note_it(What::Observed {
            step: id.clone(),
            observation: Observation::Absent,
        });
        let once = policy.waits || policy.effect != Effect::Read;
        let verified = look_until(&*action, &cx, clock, once).await;
        let verified = match marked {
            Some((by, because)) => verified
                .map_err(|failure| failure.at(format!("{by} marked it as done, and it is not")))?
                .and(format!("{by} marked it as done"), because),
            None => verified?,
        };
        return Ok(Came::Done {
            verified,
            already: false,
        });
    }

    let observation = match action.observe(&cx).await {
        Ok(observation) => observation,
        // Something of ours may be at work over there: nobody can say, and nothing may be guessed.
        Err(failure) if in_doubt && !policy.retries(failure.reason) => Observation::CannotTell {
            why: failure.message,
            hint: failure.hint,
        },
        Err(failure) => return Err(failure),
    };
    shared.ledger.note_it(What::Observed {
        step: id.clone(),
        observation: observation.clone(),
    });
    match observation {
        Observation::Done => {
            let verified = action.verify(&cx).await?;
            return Ok(Came::Done {
                verified,
                already: attempt == 0,
            });
        }
        Observation::Foreign { .. } | Observation::CannotTell { .. } => {
            return Ok(Came::Blocked(observation));
        }
        Observation::Running { .. } => cx.attempt = attempt.max(1),
        Observation::Absent | Observation::Unseen { .. } | Observation::Partial { .. } => {
            cx.attempt = attempt + 1;
        }
    }
    let intent = What::Intent {
        step: id.clone(),
        attempt: cx.attempt,
        on: action.title(),
    };
    cx.record.durable(intent).await?;
    action.apply(&cx).await?;
    let verified = action.verify(&cx).await?;
    Ok(Came::Done {
        verified,
        already: false,
    })
}

/// Looks again and again while the world may still come round.
async fn look_until(
    action: &dyn Action,
    cx: &Context,
    clock: &StepClock,
    once: bool,
) -> Result<Verified, Failure> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut said = String::new();
    let mut last: Option<Failure> = None;
    loop {
        // When the time ends in the middle of a look, what the one before it saw says more than that the time is over.
        let room = clock.left().saturating_sub(Duration::from_millis(50));
        let came = match last.take() {
            Some(seen) if !once => match tokio::time::timeout(room, action.verify(cx)).await {
                Ok(came) => came,
                Err(_) => return Err(seen),
            },
            _ => action.verify(cx).await,
        };
        let failure = match came {
            Ok(verified) => return Ok(verified),
            Err(failure) => failure,
        };
        let may_change = matches!(
            failure.reason,
            Reason::Verify | Reason::Unreachable | Reason::Timeout | Reason::Busy
        );
        let wait = backoff.wait();
        if once || !may_change || clock.left() <= wait {
            return Err(failure);
        }
        if failure.message != said {
            cx.log(format!("{NOT_YET}{}", failure.message));
            said.clone_from(&failure.message);
        }
        last = Some(failure);
        tokio::time::sleep(wait).await;
    }
}

/// A step's deadline. It stands still while the step waits for a person.
pub(super) struct StepClock {
    limit: Duration,
    /// No attempt begins later than this.
    within: Option<Duration>,
    started: Instant,
    waits: Mutex<(Duration, Option<Instant>)>,
}

impl StepClock {
    fn new(limit: Duration, within: Option<Duration>) -> Self {
        Self {
            limit,
            within,
            started: Instant::now(),
            waits: Mutex::new((Duration::ZERO, None)),
        }
    }

    /// The step's time so far.
    fn passed(&self) -> Duration {
        let waits = self.waits.lock().expect("no holder panics");
        let waited = waits.0 + waits.1.map_or(Duration::ZERO, |since| since.elapsed());
        self.started.elapsed().saturating_sub(waited)
    }

    /// What is left of it.
    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.passed())
    }

    /// Another attempt may begin after this wait.
    fn allows(&self, wait: Duration) -> bool {
        let then = self.passed().saturating_add(wait);
        then < self.limit && self.within.is_none_or(|within| then <= within)
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::pin!(work);
        loop {
            let left = self.left();
            if left.is_zero() {
                let words = format!("not done within {}", duration(self.limit));
                return Err(Failure::new(Reason::Timeout, words).hint(
                    "what runs on a host goes on there; `dr-plan resume` looks and attaches to it",
                ));
            }
            tokio::select! {
                // On a machine that is late both are due: what the work has to say comes first.
                biased;
                came = &mut work => return came,
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

/// Stops the step's clock while a person thinks.
struct ClockedPerson {
    person: Arc<dyn Person>,
    clock: Arc<StepClock>,
}

#[async_trait::async_trait]
impl Person for ClockedPerson {
    async fn ask(&self, step: &StepId, ask: Ask) -> Result<Given, Failure> {
        self.clock.waits.lock().expect("no holder panics").1 = Some(Instant::now());
        let given = self.person.ask(step, ask).await;
        let mut waits = self.clock.waits.lock().expect("no holder panics");
        if let Some(since) = waits.1.take() {
            waits.0 += since.elapsed();
        }
        given
    }
}

/// The journal's door for actions.
pub(super) struct Door(pub(super) Ledger);

#[async_trait::async_trait]
impl Record for Door {
    async fn durable(&self, what: What) -> Result<(), Failure> {
        self.0.record(what).await.map(drop).map_err(|error| {
            Failure::from_error(Reason::Other, "writing the journal", &error)
                .hint("nothing was done after the record that could not be written; make room and `dr-plan resume`")
        })
    }

    fn passing(&self, what: What) {
        self.0.note_it(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_without_measure_is_no_wait_and_no_fault() {
        let clock = StepClock::new(Duration::from_secs(60), None);
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(clock.allows(Duration::from_secs(1)));
        assert!(!clock.allows(Duration::MAX));
    }

    #[tokio::test]
    async fn on_a_machine_that_is_late_the_work_has_the_last_word() {
        for _ in 0..20 {
            let clock = StepClock::new(Duration::from_millis(20), None);
            // Holds this thread up until the end of the work and of the time have both gone by.
            let late = tokio::spawn(async { std::thread::sleep(Duration::from_millis(40)) });
            let work = async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Err::<(), _>(Failure::new(Reason::Verify, "seen"))
            };
            let failure = clock.within(work).await.unwrap_err();
            assert_eq!(failure.message, "seen");
            late.await.unwrap();
        }
    }
}
