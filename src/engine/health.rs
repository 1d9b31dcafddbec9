//! Health from the users' side: polled from the last traffic step on; the RTO clock stops at the first
//! green of an unbroken series of `hold`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::run::{Shared, moves_traffic, words_of};
use crate::action::{Record, StepNotes};
use crate::event::{HealthRule, What};
use crate::ids::StepId;
use crate::journal::JournalError;
use crate::kind::{Evidence, Failure, Reason};
use crate::state::{RunState, Status};

/// The watch over health: not yet due, on, or over.
pub(super) struct Health {
    rule: Option<HealthRule>,
    /// The steps that move traffic.
    traffic: Vec<StepId>,
    watch: Option<JoinHandle<Result<(), JournalError>>>,
    over: bool,
}

impl Health {
    /// Nothing is watched until it is due.
    pub(super) fn watch_for(shared: &Shared) -> Self {
        shared.ledger.state(|state| Self {
            rule: state.header.health.clone(),
            traffic: state
                .steps
                .iter()
                .filter(|step| !step.bound.finally && moves_traffic(step.bound.effect))
                .map(|step| step.bound.id.clone())
                .collect(),
            watch: None,
            over: state.healthy_since.is_some(),
        })
    }

    /// Begins when every traffic step that matters has ended well (or, without one, every ordinary step has ended).
    pub(super) fn begin_when_due(&mut self, shared: &Shared) {
        let Some(rule) = &self.rule else { return };
        if self.over || self.watch.is_some() || !shared.ledger.state(|state| self.due(state)) {
            return;
        }
        let (shared, rule) = (shared.clone(), rule.clone());
        self.watch = Some(tokio::spawn(async move { watch(&shared, &rule).await }));
    }

    fn due(&self, state: &RunState) -> bool {
        let mut traffic = self
            .traffic
            .iter()
            .filter_map(|id| state.step(id))
            .peekable();
        if traffic.peek().is_none() {
            return state.ordinary_ended();
        }
        traffic.all(|step| match step.status {
            Status::Done => true,
            // Nothing moved here: its turn is over when it would have come.
            Status::LeftOut(_) | Status::Skipped => step.bound.needs.iter().all(|need| {
                state
                    .step(&need.step)
                    .is_some_and(|step| step.status.ended())
            }),
            // What is not critical may fail, and users may be served all the same.
            Status::Failed(_) | Status::Doomed(_) => !step.bound.critical,
            Status::Waiting | Status::Running | Status::Blocked(_) => false,
        })
    }

    /// Waits until health has held or its time ran out. A panic of a check is a health that never came.
    pub(super) async fn verdict(&mut self, shared: &Shared) -> Result<(), JournalError> {
        let Some(watch) = self.watch.as_mut() else {
            return Ok(());
        };
        let came = watch.await;
        self.watch = None;
        self.over = true;
        match came {
            Ok(came) => came,
            Err(error) => {
                let why = format!("a fault of dr-plan itself: {}", words_of(error));
                let unhealthy = What::Unhealthy { why };
                shared.ledger.record(unhealthy).await.map(drop)
            }
        }
    }

    /// Stops watching.
    pub(super) fn end(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }
}

/// A run that stops or fails leaves nobody behind who goes on polling and recording.
impl Drop for Health {
    fn drop(&mut self) {
        self.end();
    }
}

async fn watch(shared: &Shared, rule: &HealthRule) -> Result<(), JournalError> {
    let every = (rule.hold / 6).clamp(Duration::from_millis(100), Duration::from_secs(2));
    let started = Instant::now();
    let mut green_since: Option<(Instant, jiff::Timestamp)> = None;
    let mut last: Option<bool> = None;
    loop {
        let asked = Instant::now();
        let at = shared.services.clock.now();
        let (green, evidence) = poll(shared).await;
        if last != Some(green) {
            shared
                .ledger
                .record(What::Health {
                    green,
                    evidence: evidence.clone(),
                })
                .await?;
            last = Some(green);
        }
        match (green, green_since) {
            (false, _) => green_since = None,
            (true, None) => green_since = Some((asked, at)),
            (true, Some((since, first))) if asked.duration_since(since) >= rule.hold => {
                return shared
                    .ledger
                    .record(What::Healthy { since: first })
                    .await
                    .map(drop);
            }
            (true, Some(_)) => {}
        }
        // A series that has begun may still come to its end.
        if green_since.is_none() && started.elapsed() >= rule.within {
            let missing: Vec<String> = evidence
                .iter()
                .map(|seen| format!("{}: {}", seen.what, seen.saw))
                .collect();
            let why = format!(
                "not healthy within {}: {}",
                crate::units::duration(rule.within),
                missing.join("; ")
            );
            return shared
                .ledger
                .record(What::Unhealthy { why })
                .await
                .map(drop);
        }
        // The last look of a series comes when it has held, not up to a pause later.
        let due = green_since.map_or(every, |(since, _)| {
            rule.hold.saturating_sub(since.elapsed())
        });
        tokio::time::sleep(due.min(every)).await;
    }
}

/// Asks every check once, side by side.
async fn poll(shared: &Shared) -> (bool, Vec<Evidence>) {
    let checks = match shared.ledger.state(|state| shared.work.health(state)) {
        Ok(checks) => checks,
        Err(failure) => return (false, vec![Evidence::new("health checks", failure.message)]),
    };
    let step = StepId::new("health").expect("a constant within the grammar");
    let looks = checks.iter().map(|check| {
        let mut cx = shared.context(&step, 1, StepNotes::default());
        cx.record = Arc::new(Unheard);
        cx.probe = false;
        async move {
            let look = tokio::time::timeout(Duration::from_secs(10), check.verify(&cx)).await;
            match look {
                Ok(Ok(_)) => (true, Evidence::new(check.title(), "ok")),
                Ok(Err(failure)) => (false, Evidence::new(check.title(), failure.message)),
                Err(_) => (false, Evidence::new(check.title(), "no answer within 10s")),
            }
        }
    });
    let seen = futures::future::join_all(looks).await;
    (
        seen.iter().all(|(green, _)| *green),
        seen.into_iter().map(|(_, evidence)| evidence).collect(),
    )
}

/// Health is no step: what its checks would say to the journal has no place there.
struct Unheard;

#[async_trait::async_trait]
impl Record for Unheard {
    async fn durable(&self, _what: What) -> Result<(), Failure> {
        Err(Failure::new(Reason::Other, "a health check may only look"))
    }

    fn passing(&self, _what: What) {}
}
