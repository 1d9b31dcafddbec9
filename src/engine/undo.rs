//! The way back: each step's undo, in reverse order: what was fenced comes back, then users do, then the rest. Every intent is on disk before its effect,
//! and only a look says that a step is taken back. Killed anywhere, the same command goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::attempt::Door;
use super::backoff::Backoff;
use super::contained::contained;
use super::run::moves_traffic;
use super::stop::{Stop, Wish};
use crate::action::{ADOPTED, Action, Context, Person, Services, StepNotes, kind_of};
use crate::event::{Back, What};
use crate::ids::StepId;
use crate::journal::{JournalError, Ledger};
use crate::kind::{Effect, Evidence, Failure, Observation, Reason, Undo};
use crate::program::Work;
use crate::state::{Return, RunState, Status, StepState};

/// Tries at one step: what passes by itself is tried again.
const TRIES: u32 = 3;

/// A service that asks to be left alone for longer is no reason to sit and wait: the same command goes on later.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a step's way back is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Its undo does it.
    Undo(Undo),
    /// It is gone with the server that this step made, which is deleted.
    GoesWith(StepId),
    /// What was there before was let go of.
    Released,
}

/// One step of the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackStep {
    /// The step.
    pub step: StepId,
    /// How.
    pub way: Way,
}

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoEnding {
    /// Everything is taken back, or left with a reason; something may be left for people.
    Ended {
        /// It is.
        people: bool,
    },
    /// Something could not be taken back.
    Failed,
    /// Stopped on request.
    Stopped,
}

/// What goes through an undo.
pub struct Undoing {
    /// The actions.
    pub work: Arc<dyn Work>,
    /// The journal's door.
    pub ledger: Ledger,
    /// The estate's services.
    pub services: Arc<Services>,
    /// People.
    pub person: Arc<dyn Person>,
    /// Wishes to stop.
    pub stop: Stop,
    /// Steps that a person leaves as they are, and who says so.
    pub leave: BTreeMap<StepId, String>,
    /// Users are moved back although nobody has seen that there is something to come back to.
    pub ungated: bool,
    /// What fails keeps nothing else: no user was moved and nothing that stood was changed, so whatever can go must go.
    pub regardless: bool,
}

/// The steps that have something behind them, in the order in which they are taken back: first the fences, since users go back to
/// what is behind them; then what moved users, then what puts something back, last what deletes; each in reverse, nothing
/// before what was built on it. What is deleted cannot come back, so it stays until it is known that users have something
/// to come back to. With a step: that one and what was built on it.
pub fn way_back(work: &dyn Work, state: &RunState, only: Option<&StepId>) -> Vec<BackStep> {
    let wanted: BTreeSet<&StepId> = match only {
        None => state.steps.iter().map(|step| &step.bound.id).collect(),
        Some(step) => built_on(state, step),
    };
    let acted = |step: &&StepState| wanted.contains(&step.bound.id) && has_acted(step);
    let mut left: Vec<&StepState> = state.steps.iter().filter(acted).collect();
    let made = made_hosts(&left);
    let fences: BTreeSet<StepId> = left
        .iter()
        .filter(|step| is_fence(work, state, &step.bound.id))
        .map(|step| step.bound.id.clone())
        .collect();
    let phase_of = |step: &StepState| match fences.contains(&step.bound.id) {
        true => Phase::Fences,
        false => Phase::of(step),
    };
    let mut order: Vec<&StepState> = Vec::new();
    for phase in [Phase::Fences, Phase::Traffic, Phase::PutBack, Phase::Delete] {
        loop {
            // Of those on which nothing is built that is still to come in this phase, the one that was begun last.
            let next = left
                .iter()
                .enumerate()
                .filter(|(_, step)| phase_of(step) == phase)
                .filter(|(_, step)| {
                    !left.iter().any(|other| {
                        phase_of(other) == phase
                            && other
                                .bound
                                .needs
                                .iter()
                                .any(|need| need.step == step.bound.id)
                    })
                })
                .max_by_key(|(at, step)| (step.started, *at));
            match next {
                Some((at, _)) => order.push(left.remove(at)),
                None => break,
            }
        }
    }
    order
        .into_iter()
        .map(|step| {
            let host = work.action(&step.bound.id, state).ok().and_then(|action| {
                let host = action.host()?;
                made.get(host).cloned()
            });
            let way = match host {
                Some(server) if server != step.bound.id => Way::GoesWith(server),
                _ if state.back.released.contains_key(&step.bound.id) => Way::Released,
                _ => Way::Undo(undo_of(step)),
            };
            BackStep {
                step: step.bound.id.clone(),
                way,
            }
        })
        .collect()
}

/// When a step's turn is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fences,
    Traffic,
    PutBack,
    Delete,
}

impl Phase {
    fn of(step: &StepState) -> Self {
        match undo_of(step) {
            _ if moves_traffic(step.bound.effect) => Phase::Traffic,
            Undo::DeleteOwn => Phase::Delete,
            _ => Phase::PutBack,
        }
    }
}

fn is_fence(work: &dyn Work, state: &RunState, step: &StepId) -> bool {
    work.action(step, state).is_ok_and(|action| action.fences())
}

fn undo_of(step: &StepState) -> Undo {
    kind_of(&step.bound.kind).map_or(Undo::NeedsHuman, |kind| kind.undo)
}

/// An intent was written, here or by the run that this one goes on with: something may have been done.
fn has_acted(step: &StepState) -> bool {
    let begun = step.attempt > 0 || step.notes.contains_key(ADOPTED);
    begun && step.bound.effect != Effect::Read
}

/// The step and all that was built on it.
fn built_on<'a>(state: &'a RunState, step: &StepId) -> BTreeSet<&'a StepId> {
    let mut found: BTreeSet<&StepId> = state.step(step).map(|s| &s.bound.id).into_iter().collect();
    loop {
        let before = found.len();
        for other in &state.steps {
            if other
                .bound
                .needs
                .iter()
                .any(|need| found.contains(&need.step))
            {
                found.insert(&other.bound.id);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// The hosts that these steps made, by name.
fn made_hosts(steps: &[&StepState]) -> BTreeMap<String, StepId> {
    let creating = steps
        .iter()
        .filter(|step| step.bound.effect == Effect::Create);
    creating
        .filter_map(|step| {
            let noted = step.notes.get("host").and_then(|facts| facts.get("name"));
            let name = noted.or_else(|| step.output.get("host"))?.as_str()?;
            Some((name.to_string(), step.bound.id.clone()))
        })
        .collect()
}

impl Undoing {
    /// Takes the steps back, one after the other. What fails keeps what it was built on and all that would be deleted; if it
    /// moved users, it keeps everything.
    pub async fn carry_out(self, steps: Vec<BackStep>) -> Result<UndoEnding, JournalError> {
        let mut kept: BTreeSet<StepId> = BTreeSet::new();
        let mut failed: Vec<StepId> = Vec::new();
        let went_with: Vec<(StepId, StepId)> = steps
            .iter()
            .filter_map(|back| match &back.way {
                Way::GoesWith(server) => Some((server.clone(), back.step.clone())),
                _ => None,
            })
            .collect();
        for BackStep { step, way } in steps.clone() {
            if self.stop.now() != Wish::Go {
                return self.stopped("stopped on request").await;
            }
            let deletes = matches!(way, Way::Undo(Undo::DeleteOwn));
            if deletes && !failed.is_empty() && !self.regardless {
                continue;
            }
            let settled = self
                .ledger
                .state(|state| match state.back.steps.get(&step) {
                    Some(Return::Undone(_)) => true,
                    // What was left to people need not be said twice.
                    Some(Return::Left(..)) => !deletes,
                    // Its turn is when its server is gone.
                    _ => matches!(way, Way::GoesWith(_)),
                });
            if settled || kept.contains(&step) && !self.regardless {
                self.gone_with(&step, &went_with).await?;
                continue;
            }
            let mut stop = self.stop.clone();
            let came = tokio::select! {
                came = self.take_back(&step, &way) => came?,
                () = leave(&mut stop) => {
                    return self.stopped("left on request; what runs on hosts goes on there").await;
                }
            };
            if came {
                self.gone_with(&step, &went_with).await?;
                continue;
            }
            let traffic = self.ledger.state(|state| {
                state
                    .step(&step)
                    .is_some_and(|s| moves_traffic(s.bound.effect))
            });
            if traffic && !self.regardless {
                let words = format!(
                    "users could not be moved back (`{step}`): nothing that they use may be taken away"
                );
                self.stopped(&words).await?;
                return Ok(UndoEnding::Failed);
            }
            let users = traffic_after(&steps, &step, &self.ledger);
            if users && !self.regardless && !self.ungated && self.fences(&step) {
                let words = format!(
                    "what was fenced does not come back (`{step}`): users stay where they are, and nothing that they use is taken away"
                );
                self.stopped(&words).await?;
                return Ok(UndoEnding::Failed);
            }
            self.ledger
                .state(|state| needed_by(state, &step, &mut kept));
            failed.push(step);
        }
        if !failed.is_empty() {
            let names: Vec<String> = failed.iter().map(|step| format!("`{step}`")).collect();
            let kept = match self.regardless {
                true => "",
                false => "; nothing is deleted before that is settled",
            };
            self.stopped(&format!("not taken back: {}{kept}", names.join(", ")))
                .await?;
            return Ok(UndoEnding::Failed);
        }
        self.record(Back::Ended).await?;
        let people = self
            .ledger
            .state(|state| state.back.people().next().is_some());
        Ok(UndoEnding::Ended { people })
    }

    /// A server is proven gone, and with it what lay on it; also when the process before died between the two.
    async fn gone_with(
        &self,
        server: &StepId,
        went_with: &[(StepId, StepId)],
    ) -> Result<(), JournalError> {
        let gone = self.ledger.state(|state| {
            let is_gone = matches!(state.back.steps.get(server), Some(Return::Undone(_)));
            let on_it = went_with.iter().filter(|(on, _)| is_gone && on == server);
            let open = on_it.filter(|(_, step)| !state.back.steps.contains_key(step));
            open.map(|(_, step)| step.clone()).collect::<Vec<_>>()
        });
        for step in gone {
            self.record(Back::Left {
                step,
                why: format!("it is gone with the server that `{server}` made"),
                person: false,
            })
            .await?;
        }
        Ok(())
    }

    fn fences(&self, step: &StepId) -> bool {
        self.ledger
            .state(|state| is_fence(&*self.work, state, step))
    }

    async fn stopped(&self, why: &str) -> Result<UndoEnding, JournalError> {
        self.record(Back::Stopped { why: why.into() }).await?;
        Ok(UndoEnding::Stopped)
    }

    async fn record(&self, back: Back) -> Result<(), JournalError> {
        self.ledger.record(What::Back(back)).await.map(drop)
    }

    /// Whether the step is out of the way now.
    async fn take_back(&self, step: &StepId, way: &Way) -> Result<bool, JournalError> {
        let left = |why: String, person: bool| Back::Left {
            step: step.clone(),
            why,
            person,
        };
        if let Some(by) = self.leave.get(step) {
            let words = format!("{by} says that it stays as it is");
            self.record(left(words, true)).await?;
            return Ok(true);
        }
        let undo = match way {
            // Said when that server is gone.
            Way::GoesWith(_) => return Ok(true),
            Way::Released => {
                let words = "what was there before was let go of by `dr-plan release`";
                self.record(left(words.into(), true)).await?;
                return Ok(true);
            }
            Way::Undo(Undo::ForwardOnly) => {
                let words = "it only goes forward: there is nothing to take back";
                self.record(left(words.into(), false)).await?;
                return Ok(true);
            }
            Way::Undo(undo) => *undo,
        };
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
        let mut tries = 0;
        loop {
            tries += 1;
            let (cx, action) = self.prepare(step);
            let failure = match action {
                Ok(action) => match contained(self.one(&*action, &cx, undo)).await {
                    Ok(came) => match came? {
                        Ok(back) => {
                            self.record(back).await?;
                            return Ok(true);
                        }
                        Err(failure) => failure,
                    },
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            let wait = failure.retry_after.unwrap_or_else(|| backoff.wait());
            let again = tries < TRIES
                && (failure.reason.passes() || failure.reason == Reason::Unknown)
                && wait <= PATIENCE;
            let failed = Back::Failed {
                step: step.clone(),
                failure,
            };
            self.record(failed).await?;
            if !again {
                return Ok(false);
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn prepare(&self, step: &StepId) -> (Context, Result<Box<dyn Action>, Failure>) {
        self.ledger.state(|state| {
            let cx = context_after(state, step, &self.ledger, &self.services, &self.person);
            (cx, self.work.action(step, state))
        })
    }

    /// One try: looks whether something is still at work, writes the intent, takes back, and looks again.
    async fn one(
        &self,
        action: &dyn Action,
        cx: &Context,
        undo: Undo,
    ) -> Result<Result<Back, Failure>, JournalError> {
        let step = cx.step.clone();
        if undo == Undo::NeedsHuman {
            // Its own words about what a person has to do.
            return Ok(match action.undo(cx).await {
                Ok(evidence) => Ok(Back::Undone { step, evidence }),
                Err(failure) => Ok(Back::Left {
                    step,
                    why: failure.message,
                    person: true,
                }),
            });
        }
        let carried_out = self
            .ledger
            .state(|state| state.step(&step).map_or(0, |step| step.attempt));
        let before = Context {
            attempt: carried_out,
            ..cx.clone()
        };
        if let Ok(Observation::Running { what }) = action.observe(&before).await {
            let failure = Failure::new(Reason::Refused, format!("it is still at work: {what}"))
                .hint(format!(
                    "dr-plan logs {} {step} --follow shows how far it is; type the same again when it has ended",
                    cx.run.short()
                ));
            return Ok(Err(failure));
        }
        let looks = self.ledger.state(|state| {
            let known = state.step(&step);
            !self.ungated && known.is_some_and(|known| moves_traffic(known.bound.effect))
        });
        let seen = match looks {
            true => action.can_go_back(cx).await,
            false => Ok(Vec::new()),
        };
        let seen = match seen {
            Ok(seen) => seen,
            Err(failure) => return Ok(Err(failure)),
        };
        let attempt = cx.attempt;
        self.record(Back::Intent {
            step: step.clone(),
            attempt,
        })
        .await?;
        let evidence = match action.undo(cx).await {
            Ok(mut evidence) => {
                // Where nothing was taken back, what was seen before proves nothing.
                if !evidence.is_empty() {
                    evidence.extend(seen);
                }
                evidence
            }
            Err(failure) => return Ok(Err(failure)),
        };
        Ok(prove(action, cx, undo, looks, evidence).await)
    }
}

/// Users are where the step wanted them, and nothing is known of where they came from: whatever is deleted after this may be what
/// serves them.
fn users_would_fall(cx: &Context) -> Failure {
    let words = "users are still sent where this step wanted them, and the run knows of nothing that they came from";
    Failure::new(Reason::Refused, words).hint(format!(
        "send them back by hand and type the same again; or, when what they use now may go: dr-plan undo {} --leave {}",
        cx.run.short(),
        cx.step
    ))
}

/// Only a look says that a step is taken back: what it wanted must not hold any more.
async fn prove(
    action: &dyn Action,
    cx: &Context,
    undo: Undo,
    moves_users: bool,
    mut evidence: Vec<Evidence>,
) -> Result<Back, Failure> {
    let step = cx.step.clone();
    let seen = action.observe(cx).await?;
    let still = |words: String| Err(Failure::new(Reason::Verify, words));
    match &seen {
        Observation::Done if evidence.is_empty() && moves_users => {
            return Err(users_would_fall(cx));
        }
        // Nothing of it was this run's doing (somebody's word stood for it, say): it stays.
        Observation::Done if evidence.is_empty() => {
            let why = "it made nothing that it could take back".to_string();
            return Ok(Back::Left {
                step,
                why,
                person: true,
            });
        }
        Observation::Done => {
            return still("it was taken back, and it still is as the run wanted it".into());
        }
        Observation::Partial { what } if undo == Undo::DeleteOwn => {
            return still(format!(
                "it was deleted, and something is still there: {what}"
            ));
        }
        Observation::Running { what } => {
            return Err(Failure::new(
                Reason::Busy,
                format!("it is still at work: {what}"),
            ));
        }
        Observation::CannotTell { why, .. } | Observation::Unseen { why } => {
            return still(format!("nobody can tell whether it is taken back: {why}"));
        }
        Observation::Absent | Observation::Partial { .. } | Observation::Foreign { .. } => {}
    }
    evidence.push(Evidence::new("what the step made", seen.to_string()));
    Ok(Back::Undone { step, evidence })
}

/// A context for what comes after a run: the attempt is a new one, so that no older job on a host is taken for it.
pub(super) fn context_after(
    state: &RunState,
    step: &StepId,
    ledger: &Ledger,
    services: &Arc<Services>,
    person: &Arc<dyn Person>,
) -> Context {
    let known = state.step(step);
    let carried_out = known.map_or(0, |step| step.attempt);
    Context {
        run: state.header.run.clone(),
        step: step.clone(),
        attempt: state.back.attempt(step, carried_out),
        mode: state.header.mode,
        plan: state.header.plan.clone(),
        lost_at: state.header.lost_at,
        rpo: state.header.objectives.rpo,
        services: services.clone(),
        record: Arc::new(Door(ledger.clone())),
        person: person.clone(),
        story: String::new(),
        probe: false,
        notes: StepNotes::from(known.map(|step| step.notes.clone()).unwrap_or_default()),
    }
}

/// Whether users are still to be moved after this step.
fn traffic_after(steps: &[BackStep], step: &StepId, ledger: &Ledger) -> bool {
    let rest = steps.iter().skip_while(|back| back.step != *step).skip(1);
    ledger.state(|state| {
        rest.filter_map(|back| state.step(&back.step))
            .any(|rest| moves_traffic(rest.bound.effect))
    })
}

/// What the step was built on, all the way down.
fn needed_by(state: &RunState, step: &StepId, found: &mut BTreeSet<StepId>) {
    let Some(step) = state.step(step) else { return };
    for need in &step.bound.needs {
        if found.insert(need.step.clone()) {
            needed_by(state, &need.step, found);
        }
    }
}

async fn leave(stop: &mut Stop) {
    while stop.now() != Wish::Leave {
        stop.changed().await;
    }
}

/// Steps that may have kept something of before, in the order of the plan.
pub fn keepers(state: &RunState) -> Vec<StepId> {
    let may = |step: &&StepState| {
        has_acted(step)
            && step.status == Status::Done
            && !state.back.released.contains_key(&step.bound.id)
            && !matches!(
                state.back.steps.get(&step.bound.id),
                Some(Return::Undone(_))
            )
    };
    state
        .steps
        .iter()
        .filter(may)
        .map(|step| step.bound.id.clone())
        .collect()
}

/// Steps that put back what was there before, and that an undo has begun or wanted and not brought to an end: what they kept must not go. Where
/// letting go was begun there is no way back any more, and it goes on.
pub fn on_the_way_back(state: &RunState) -> Vec<StepId> {
    let back = &state.back;
    let open = |step: &&StepState| {
        let id = &step.bound.id;
        let unsettled = match back.steps.get(id) {
            Some(Return::InDoubt | Return::Failed(_)) => true,
            Some(Return::Undone(_) | Return::Left(..)) => false,
            None => back.begun.is_some() && !back.ended && back.wanted.contains(id),
        };
        unsettled
            && has_acted(step)
            && undo_of(step) == Undo::RestorePrevious
            && !back.releasing.contains(id)
    };
    let steps = state.steps.iter().filter(open);
    steps.map(|step| step.bound.id.clone()).collect()
}

/// Lets go of what a step kept. `None`: it kept nothing.
///
/// # Errors
/// The journal; within: what kept it from being let go of.
pub async fn release(
    work: &Arc<dyn Work>,
    ledger: &Ledger,
    services: &Arc<Services>,
    person: &Arc<dyn Person>,
    step: &StepId,
) -> Result<Result<Option<Vec<Evidence>>, Failure>, JournalError> {
    let (cx, action) = ledger.state(|state| {
        let cx = context_after(state, step, ledger, services, person);
        (cx, work.action(step, state))
    });
    let action = match action {
        Ok(action) => action,
        Err(failure) => return Ok(Err(failure)),
    };
    let what = match action.kept(&cx).await {
        Ok(Some(what)) => what,
        // An earlier attempt did it, and nobody was left to say so.
        Ok(None) if ledger.state(|state| state.back.releasing.contains(step)) => {
            let evidence = vec![Evidence::new("what it kept of before", "is gone")];
            let released = Back::Released {
                step: step.clone(),
                evidence: evidence.clone(),
            };
            ledger.record(What::Back(released)).await?;
            return Ok(Ok(Some(evidence)));
        }
        Ok(None) => return Ok(Ok(None)),
        Err(failure) => return Ok(Err(failure)),
    };
    let releasing = Back::Releasing {
        step: step.clone(),
        attempt: cx.attempt,
    };
    ledger.record(What::Back(releasing)).await?;
    if let Err(failure) = action.release(&cx).await {
        return Ok(Err(failure));
    }
    let evidence = match action.kept(&cx).await {
        Ok(None) => vec![Evidence::new(what, "is gone")],
        Ok(Some(what)) => {
            let words = format!("it was let go of, and is still there: {what}");
            return Ok(Err(Failure::new(Reason::Verify, words)));
        }
        Err(failure) => return Ok(Err(failure)),
    };
    let released = Back::Released {
        step: step.clone(),
        evidence: evidence.clone(),
    };
    ledger.record(What::Back(released)).await?;
    Ok(Ok(Some(evidence)))
}
