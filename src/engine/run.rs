//! The loop: doom what cannot run, start what is ready, wait, and at the end say how it went.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::attempt::{Door, carry_out};
use super::contained;
use super::desk::Desk;
use super::health::Health;
use super::stop::{Stop, Wish};
use super::story::health_is_open;
use crate::action::{Context, Services, StepNotes};
use crate::event::{RunResult, What};
use crate::ids::{RunId, StepId};
use crate::journal::{JournalError, Ledger};
use crate::kind::{Effect, Failure, Mode, Reason};
use crate::program::Work;
use crate::state::{RunState, Status, StepState};

/// How `run` came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The run has a result.
    Ended(RunResult),
    /// It stopped without one; `resume` goes on.
    Stopped,
}

/// What everything that works for a run shares.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) work: Arc<dyn Work>,
    pub(super) ledger: Ledger,
    pub(super) services: Arc<Services>,
    pub(super) desk: Arc<Desk>,
    head: Arc<Head>,
}

/// Facts of the header that contexts carry.
struct Head {
    run: RunId,
    mode: Mode,
    plan: String,
    lost_at: jiff::Timestamp,
    rpo: Option<std::time::Duration>,
}

impl Shared {
    pub(super) fn context(&self, step: &StepId, attempt: u32, notes: StepNotes) -> Context {
        if self.head.mode == Mode::Drill {
            self.ledger
                .state(|state| super::names::learn(&*self.work, state, &self.services));
        }
        Context {
            run: self.head.run.clone(),
            step: step.clone(),
            attempt,
            mode: self.head.mode,
            plan: self.head.plan.clone(),
            lost_at: self.head.lost_at,
            rpo: self.head.rpo,
            services: self.services.clone(),
            record: Arc::new(Door(self.ledger.clone())),
            person: self.desk.clone(),
            // Only messages tell it; they get it where they are sent.
            story: String::new(),
            probe: self
                .ledger
                .state(|state| state.step(step).is_some_and(|s| s.bound.probe.is_some())),
            notes,
        }
    }
}

/// A run that is ready to go.
pub struct Engine {
    shared: Shared,
    stop: Stop,
    parallel: usize,
    /// Steps that only wait, for people or for time.
    waiters: BTreeSet<StepId>,
}

/// The steps at work, by name and by task.
#[derive(Default)]
struct AtWork {
    steps: HashMap<StepId, (AbortHandle, bool)>,
    tasks: HashMap<Id, StepId>,
    /// Those that take a place: all but the ones that only wait.
    working: usize,
}

impl AtWork {
    fn begin(&mut self, task: AbortHandle, step: StepId, waits: bool) {
        self.working += usize::from(!waits);
        self.tasks.insert(task.id(), step.clone());
        self.steps.insert(step, (task, waits));
    }

    fn end(&mut self, task: Id) -> Option<StepId> {
        let step = self.tasks.remove(&task)?;
        if let Some((_, waits)) = self.steps.remove(&step) {
            self.working -= usize::from(!waits);
        }
        Some(step)
    }

    /// Drops what only waits, for a person or for time: it leaves nothing behind, and a resume waits anew.
    fn let_waiters_go(&self) {
        for (task, _) in self.steps.values().filter(|(_, waits)| *waits) {
            task.abort();
        }
    }

    /// Drops the work for steps that a person has skipped meanwhile.
    fn let_go(&self, state: &RunState) {
        for (step, (task, _)) in &self.steps {
            if state
                .step(step)
                .is_some_and(|step| step.status == Status::Skipped)
            {
                task.abort();
            }
        }
    }
}

/// What a panic said.
pub(super) fn words_of(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => contained::words_of(&*panic),
        Err(error) => error.to_string(),
    }
}

/// Which steps the loop may start now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ordinary,
    Finally,
}

impl Engine {
    /// `parallel`: how many steps may be at work at once; those that only wait for people do not count.
    pub fn new(
        work: Arc<dyn Work>,
        ledger: Ledger,
        services: Arc<Services>,
        desk: Arc<Desk>,
        stop: Stop,
        parallel: usize,
    ) -> Self {
        let waiters = ledger.state(|state| {
            let ids = state.steps.iter().map(|step| &step.bound.id);
            ids.filter(|id| work.policy(id).waits).cloned().collect()
        });
        let head = ledger.state(|state| Head {
            run: state.header.run.clone(),
            mode: state.header.mode,
            plan: state.header.plan.clone(),
            lost_at: state.header.lost_at,
            rpo: state.header.objectives.rpo,
        });
        Self {
            shared: Shared {
                work,
                ledger,
                services,
                desk,
                head: Arc::new(head),
            },
            stop,
            parallel: parallel.max(1),
            waiters,
        }
    }

    /// Runs to a result, or to the point where only a person or a new process can go on.
    pub async fn run(mut self) -> Result<Ending, JournalError> {
        let mut health = Health::watch_for(&self.shared);
        self.steps(Phase::Ordinary, &mut health).await?;
        if let Some(ending) = self.stopped().await? {
            return Ok(ending);
        }
        self.doom_what_was_not_begun().await?;
        if self.shared.ledger.state(health_is_open) {
            tokio::select! {
                verdict = health.verdict(&self.shared) => verdict?,
                () = wished(&mut self.stop, Wish::Drain) => {}
            }
        }
        health.end();
        if let Some(ending) = self.stopped().await? {
            return Ok(ending);
        }
        self.steps(Phase::Finally, &mut health).await?;
        if let Some(ending) = self.stopped().await? {
            return Ok(ending);
        }
        if self.shared.services.rehearsal.egress.is_some() {
            super::closed::look_at_egress(&self.shared.ledger, &self.shared.services).await?;
        }
        let (result, because) = self.shared.ledger.state(crate::state::judge);
        self.shared
            .ledger
            .record(What::Ended { result, because })
            .await?;
        Ok(Ending::Ended(result))
    }

    async fn steps(&mut self, phase: Phase, health: &mut Health) -> Result<(), JournalError> {
        let mut tasks: JoinSet<Result<(), JournalError>> = JoinSet::new();
        let mut at_work = AtWork::default();
        let mut changed = self.shared.ledger.subscribe();
        loop {
            changed.borrow_and_update();
            // Somebody took the estate over, or the disk is full: nothing more may be done, not even by who only waits.
            if let Some(dead) = self.shared.ledger.dead() {
                tasks.shutdown().await;
                return Err(dead);
            }
            // Whom they doom is known only when they are: a chain goes down link by link before anything else is asked.
            loop {
                let doomed = self.shared.ledger.state(RunState::doomed);
                if doomed.is_empty() {
                    break;
                }
                self.doom(doomed).await?;
            }
            if phase == Phase::Ordinary {
                health.begin_when_due(&self.shared);
            }
            if self.stop.now() == Wish::Go {
                for id in self.startable(phase, &at_work) {
                    let (shared, step) = (self.shared.clone(), id.clone());
                    let task = tasks.spawn(async move { carry_out(&shared, &step).await });
                    at_work.begin(task, id.clone(), self.waiters.contains(&id));
                }
            }
            if self.stop.now() != Wish::Go {
                at_work.let_waiters_go();
            }
            self.shared.ledger.state(|state| at_work.let_go(state));
            if tasks.is_empty() && self.nothing_to_do(phase) {
                return Ok(());
            }
            tokio::select! {
                Some(joined) = tasks.join_next_with_id() => match joined {
                    Ok((task, came)) => {
                        at_work.end(task);
                        came?;
                    }
                    Err(error) => {
                        let step = at_work.end(error.id());
                        if let (Some(step), true) = (step, error.is_panic()) {
                            self.panicked(step, error).await?;
                        }
                    }
                },
                wish = self.stop.changed() => if wish == Wish::Leave {
                    tasks.shutdown().await;
                    return Ok(());
                },
                // A person's mark, or a record of health.
                _ = changed.changed() => {}
            }
        }
    }

    /// Writes all of them down with one wait: a failure early in a large plan dooms thousands.
    async fn doom(&self, doomed: Vec<(StepId, StepId)>) -> Result<(), JournalError> {
        let mut words = doomed
            .into_iter()
            .map(|(step, cause)| What::Doomed { step, cause });
        let Some(last) = words.next_back() else {
            return Ok(());
        };
        words.for_each(|what| self.shared.ledger.note_it(what));
        match self.shared.ledger.record(last).await {
            // A person's mark came in between.
            Err(JournalError::Impossible(_)) => Ok(()),
            came => came.map(drop),
        }
    }

    /// A step with `on_failure: stop` failed: what waits will not be begun, and steps of `finally` that
    /// wait for its end must know.
    async fn doom_what_was_not_begun(&self) -> Result<(), JournalError> {
        let left = self.shared.ledger.state(|state| match &state.stopping {
            Some(cause) => state
                .steps
                .iter()
                .filter(|step| !step.bound.finally && step.status == Status::Waiting)
                .map(|step| (step.bound.id.clone(), cause.clone()))
                .collect(),
            None => Vec::new(),
        });
        self.doom(left).await
    }

    /// A bug in one action must not take the others with it, nor go unnoticed: its step fails.
    async fn panicked(&self, step: StepId, error: JoinError) -> Result<(), JournalError> {
        let failure = match error.try_into_panic() {
            Ok(panic) => contained::fault(&*panic),
            Err(error) => Failure::new(Reason::Other, error.to_string()),
        };
        match self
            .shared
            .ledger
            .record(What::Failed { step, failure })
            .await
        {
            Err(JournalError::Impossible(_)) => Ok(()),
            came => came.map(drop),
        }
    }

    /// Nothing is ready: the phase is over, unless a stop hides what is.
    fn nothing_to_do(&self, phase: Phase) -> bool {
        self.stop.now() != Wish::Go || self.startable(phase, &AtWork::default()).is_empty()
    }

    /// What may begin now, in file order: as much as there is room for, and all that only waits.
    fn startable(&self, phase: Phase, at_work: &AtWork) -> Vec<StepId> {
        let mut room = self.parallel.saturating_sub(at_work.working);
        self.shared.ledger.state(|state| {
            let may_begin = |step: &StepState| {
                step.bound.finally == (phase == Phase::Finally)
                    && !at_work.steps.contains_key(&step.bound.id)
            };
            let mut chosen = Vec::new();
            // The ready ones may be many; they are looked through no further than there is room.
            let mut ready = state.ready();
            while room > 0
                && let Some(step) = ready.next()
            {
                if may_begin(step) && !self.waiters.contains(&step.bound.id) {
                    chosen.push(step.bound.id.clone());
                    room -= 1;
                }
            }
            let waiting = self.waiters.iter().filter_map(|id| state.step(id));
            chosen.extend(
                waiting
                    .filter(|step| may_begin(step) && state.is_ready(&step.bound.id))
                    .map(|step| step.bound.id.clone()),
            );
            chosen
        })
    }

    /// Whether the run must stop here without a result; the reason is on disk then.
    async fn stopped(&self) -> Result<Option<Ending>, JournalError> {
        let run = self.shared.head.run.clone();
        let wish = self.stop.now();
        let why = self.shared.ledger.state(|state| {
            let blocked: Vec<String> = state
                .steps
                .iter()
                .filter_map(|step| match &step.status {
                    Status::Blocked(seen) => Some(format!("`{}`: {seen}", step.bound.id)),
                    _ => None,
                })
                .collect();
            if !blocked.is_empty() {
                return Some((
                    format!("a person must look at {}", blocked.join("; ")),
                    hint_for_blocked(state, &run),
                ));
            }
            if wish != Wish::Go && (!state.finished() || health_is_open(state)) {
                let left: Vec<&str> = state
                    .steps
                    .iter()
                    // A look or a question leaves nothing behind.
                    .filter(|step| {
                        step.status == Status::Running
                            && step.bound.effect != Effect::Read
                            && step.asking.is_none()
                    })
                    .map(|step| step.bound.id.as_str())
                    .collect();
                let words = if left.is_empty() {
                    "stopped on request; nothing goes on".to_string()
                } else {
                    format!(
                        "left on request; what these steps started on hosts goes on there: {}",
                        left.join(", ")
                    )
                };
                return Some((words, Some(format!("dr-plan resume {}", run.short()))));
            }
            None
        });
        match why {
            Some((why, hint)) => {
                self.shared
                    .ledger
                    .record(What::Stopped { why, hint })
                    .await?;
                Ok(Some(Ending::Stopped))
            }
            None => Ok(None),
        }
    }
}

/// The first blocked step's own hint, or the two ways on.
fn hint_for_blocked(state: &RunState, run: &RunId) -> Option<String> {
    use crate::kind::Observation::{CannotTell, Foreign};
    let step = state
        .steps
        .iter()
        .find(|step| matches!(step.status, Status::Blocked(_)))?;
    let own = match &step.status {
        Status::Blocked(Foreign { hint, .. } | CannotTell { hint, .. }) => hint.clone(),
        _ => None,
    };
    let ways = format!(
        "when it is settled: `dr-plan resume {0}`; if it is done or not needed: `dr-plan mark {0} {1} --done|--skip --because \"...\"`",
        run.short(),
        step.bound.id
    );
    Some(match own {
        Some(own) => format!("{own}\n{ways}"),
        None => ways,
    })
}

async fn wished(stop: &mut Stop, least: Wish) {
    while stop.now() < least {
        stop.changed().await;
    }
}

/// Whether a step moves traffic: health is watched from the last of them on.
pub(super) fn moves_traffic(effect: Effect) -> bool {
    effect == Effect::Traffic
}
