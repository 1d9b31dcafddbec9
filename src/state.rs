//! What the events of a run add up to. A pure fold: the same events give the same sum, in a live
//! run, after a crash and years later. The engine asks it what is ready; it keeps that answer up to
//! date while it folds, so that the question costs nothing with a hundred thousand steps.

mod back;
mod filled;
mod fold;
mod progress;
pub mod reporter;
pub mod transition;
pub mod verdict;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod sample;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::event::{Ask, BoundStep, Event, Header, RunResult, Was, What};
use crate::ids::StepId;
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Open, Output, Resource};

pub use back::{Return, WayBack};
pub use progress::Progress;
pub use reporter::Reporter;
pub use verdict::{is_deleted, judge, judge_so_far};

use transition::{Stand, Transitions};

/// Where a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// Not begun; something it needs has not ended.
    Waiting,
    /// Begun in this process, or in doubt after a crash (`StepState::in_doubt`).
    Running,
    /// A person must look.
    Blocked(Observation),
    /// Verified.
    Done,
    /// Failed.
    Failed(Failure),
    /// Another step is to blame.
    Doomed(StepId),
    /// Not part of this run.
    LeftOut(String),
    /// A person skipped it.
    Skipped,
}

impl Status {
    /// Nothing more will happen to it without a person or a resume.
    pub fn ended(&self) -> bool {
        !matches!(self, Status::Waiting | Status::Running | Status::Blocked(_))
    }

    /// Satisfies an ordinary `needs`.
    pub fn good(&self) -> bool {
        matches!(self, Status::Done | Status::LeftOut(_) | Status::Skipped)
    }

    /// One word for people and JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Running => "running",
            Status::Blocked(_) => "blocked",
            Status::Done => "done",
            Status::Failed(_) => "failed",
            Status::Doomed(_) => "doomed",
            Status::LeftOut(_) => "left out",
            Status::Skipped => "skipped",
        }
    }
}

/// Everything known of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepState {
    /// As it was bound.
    pub bound: BoundStep,
    /// Where it stands.
    pub status: Status,
    /// The last attempt that was begun; 0 before the first.
    pub attempt: u32,
    /// An intent stands without an outcome: observe before anything else.
    pub in_doubt: bool,
    /// Done before anything was changed.
    pub already: bool,
    /// A person's `mark --done` that has not been verified yet.
    pub marked_done: Option<(String, String)>,
    /// Who skipped it, and why.
    pub skipped: Option<(String, String)>,
    /// The first time it was taken up.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// What later steps may refer to.
    pub output: Output,
    /// What its verify looked at.
    pub evidence: Vec<Evidence>,
    /// What it leaves for people to see to.
    pub left_open: Vec<Open>,
    /// Notes by name.
    pub notes: HashMap<String, serde_json::Value>,
    /// How far the present attempt is.
    pub progress: Option<Progress>,
    /// Failed attempts that were tried again.
    pub retries: Vec<(u32, Failure)>,
    /// An open question and since when.
    pub asking: Option<(Ask, Timestamp)>,
    /// Answered questions.
    pub answers: Vec<Answered>,
    /// Time spent waiting for people.
    pub waited: Duration,
}

/// A question that was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The question.
    pub ask: Ask,
    /// Yes or no.
    pub yes: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub because: Option<String>,
    /// Through which door.
    pub how: String,
    /// How long it waited.
    pub after: Duration,
}

/// The newest record of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    /// Who measured.
    pub step: StepId,
    /// What.
    pub dataset: String,
    /// The newest record's own time.
    pub at: Timestamp,
    /// What the backup's name or manifest claims.
    pub backup_taken: Option<Timestamp>,
    /// The plan's limit.
    pub limit: Option<Duration>,
}

/// A time of the newest record that nobody said the zone of: it was taken as UTC, and may be wrong by hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenAsUtc {
    /// Who measured.
    pub step: StepId,
    /// What.
    pub dataset: String,
    /// The question that gave it.
    pub query: String,
}

/// The sum.
#[derive(Debug, Clone, PartialEq)]
pub struct RunState {
    /// The first event.
    pub header: Header,
    /// When the run was begun.
    pub started: Timestamp,
    /// The number of the last event.
    pub seq: u64,
    /// When the last event happened.
    pub last: Timestamp,
    /// The steps, in the header's order.
    pub steps: Vec<StepState>,
    /// Findings of the prechecks.
    pub findings: Vec<(Option<StepId>, Finding)>,
    /// Refusals of the prechecks.
    pub refused: Vec<(Option<StepId>, Failure)>,
    /// What was made, and whether it is proven gone.
    pub resources: Vec<(StepId, Resource, Option<String>)>,
    /// The newest record of each dataset that was measured.
    pub newest: Vec<Newest>,
    /// Times of newest records without a zone.
    pub taken_as_utc: Vec<TakenAsUtc>,
    /// The last word of health: green, since when.
    pub health: Option<(bool, Timestamp)>,
    /// The evidence of the last health word.
    pub health_evidence: Vec<Evidence>,
    /// The first green of the series that held.
    pub healthy_since: Option<Timestamp>,
    /// Health did not come.
    pub unhealthy: Option<String>,
    /// A step with `on_failure: stop` failed: nothing new starts.
    pub stopping: Option<StepId>,
    /// The process stopped without a result.
    pub stopped: Option<(String, Option<String>)>,
    /// How it ended.
    pub result: Option<(RunResult, Vec<String>)>,
    /// What came after its end.
    pub back: WayBack,
    /// How often it was resumed.
    pub resumes: u32,
    /// When the present process took the run up.
    pub taken_up: Timestamp,
    index: Arc<HashMap<StepId, usize>>,
    /// For each step: who needs it, and how it must end for them.
    dependants: Vec<Vec<(usize, Was)>>,
    /// For each step: how many of its needs have not ended yet.
    open: Vec<usize>,
    /// Steps whose needs are satisfied: the ordinary ones, and those of `finally`.
    ready: BTreeSet<usize>,
    ready_finally: BTreeSet<usize>,
    /// Steps that can no longer begin, each with the first step (in file order) that is to blame.
    doomed: BTreeMap<usize, usize>,
    /// Where each resource stands in `resources`: account, kind, id.
    resource_index: HashMap<(String, String, String), usize>,
    /// Steps outside `finally` that have not ended.
    ordinary_left: usize,
    /// Steps outside `finally` that are at work.
    ordinary_running: usize,
    unfinished: usize,
    /// How many questions are open, since when at least one is, and the closed time before that.
    questions: usize,
    questions_since: Option<Timestamp>,
    waited: Duration,
}

/// A sequence of events that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The first event must be the header, and only it.
    #[error("event {0}: the first event, and only it, must be the header")]
    Header(u64),
    /// A number is missing.
    #[error("event {found} follows event {last}")]
    Gap {
        /// The number before.
        last: u64,
        /// The number found.
        found: u64,
    },
    /// An event about a step that is not in the header.
    #[error("event {0} speaks of an unknown step `{1}`")]
    Step(u64, StepId),
    /// An event that cannot happen to a step in its state.
    #[error("event {seq}: `{step}` is {status} and cannot be {event}")]
    Transition {
        /// The event's number.
        seq: u64,
        /// The step.
        step: StepId,
        /// Where it stood.
        status: &'static str,
        /// What the event says.
        event: &'static str,
    },
}

impl RunState {
    /// The state after the header.
    pub fn begin(event: &Event) -> Result<Self, StateError> {
        let What::Header(header) = &event.what else {
            return Err(StateError::Header(event.seq));
        };
        let header = (**header).clone();
        let index: HashMap<StepId, usize> = header
            .steps
            .iter()
            .enumerate()
            .map(|(at, step)| (step.id.clone(), at))
            .collect();
        let mut dependants = vec![Vec::new(); header.steps.len()];
        for (at, step) in header.steps.iter().enumerate() {
            for need in &step.needs {
                let on = *index
                    .get(&need.step)
                    .ok_or_else(|| StateError::Step(event.seq, need.step.clone()))?;
                dependants[on].push((at, need.was));
            }
        }
        let steps = header.steps.iter().map(StepState::new).collect();
        let mut state = RunState {
            started: event.at,
            seq: event.seq,
            last: event.at,
            steps,
            findings: Vec::new(),
            refused: Vec::new(),
            resources: Vec::new(),
            newest: Vec::new(),
            taken_as_utc: Vec::new(),
            health: None,
            health_evidence: Vec::new(),
            healthy_since: None,
            unhealthy: None,
            stopping: None,
            stopped: None,
            result: None,
            back: WayBack::default(),
            resumes: 0,
            taken_up: event.at,
            open: vec![0; header.steps.len()],
            index: Arc::new(index),
            dependants,
            ready: BTreeSet::new(),
            ready_finally: BTreeSet::new(),
            doomed: BTreeMap::new(),
            resource_index: HashMap::new(),
            ordinary_left: 0,
            ordinary_running: 0,
            unfinished: 0,
            questions: 0,
            questions_since: None,
            waited: Duration::ZERO,
            header,
        };
        state.recount();
        Ok(state)
    }

    /// The sum of a whole journal.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self, StateError> {
        let mut events = events.into_iter();
        let mut state = match events.next() {
            Some(first) => Self::begin(first)?,
            None => return Err(StateError::Header(0)),
        };
        for event in events {
            state.fold(event)?;
        }
        Ok(state)
    }

    /// A step by name.
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.index.get(id).map(|at| &self.steps[*at])
    }

    /// Steps that may begin now, in file order. Steps of `finally` come when all else has ended.
    pub fn ready(&self) -> impl Iterator<Item = &StepState> {
        let ordinary = self.stopping.is_none().then_some(&self.ready);
        let last = self.ordinary_ended().then_some(&self.ready_finally);
        ordinary
            .into_iter()
            .chain(last)
            .flatten()
            .map(|at| &self.steps[*at])
    }

    /// Whether this step may begin now.
    pub fn is_ready(&self, id: &StepId) -> bool {
        self.index.get(id).is_some_and(|at| {
            self.stopping.is_none() && self.ready.contains(at)
                || self.ordinary_ended() && self.ready_finally.contains(at)
        })
    }

    /// Steps that can no longer run, each with the step that is to blame: those whose needs have ended
    /// otherwise than they must, and all that follows from it.
    pub fn doomed(&self) -> Vec<(StepId, StepId)> {
        let mut found: Vec<(usize, usize)> = self
            .doomed
            .iter()
            .map(|(at, cause)| (*at, *cause))
            .collect();
        let mut known: HashSet<usize> = self.doomed.keys().copied().collect();
        let mut next = 0;
        while let Some(&(at, cause)) = found.get(next) {
            next += 1;
            for &(dependant, was) in &self.dependants[at] {
                let step = &self.steps[dependant];
                if step.status == Status::Waiting
                    && step.marked_done.is_none()
                    && was != Was::Finished
                    && known.insert(dependant)
                {
                    found.push((dependant, cause));
                }
            }
        }
        found
            .into_iter()
            .map(|(at, cause)| {
                // The root of the matter, not the neighbour.
                let cause = match &self.steps[cause].status {
                    Status::Doomed(root) => root.clone(),
                    _ => self.steps[cause].bound.id.clone(),
                };
                (self.steps[at].bound.id.clone(), cause)
            })
            .collect()
    }

    /// All steps have ended.
    pub fn finished(&self) -> bool {
        self.unfinished == 0
    }

    /// All steps outside `finally` have ended, or will not be begun because the run is stopping.
    pub fn ordinary_ended(&self) -> bool {
        self.ordinary_left == 0 || self.stopping.is_some() && self.ordinary_running == 0
    }

    /// The outputs that references read: `steps.ID.FIELD`.
    pub fn outputs(&self) -> impl Iterator<Item = (&StepId, &Output)> {
        self.steps
            .iter()
            .filter(|step| step.status == Status::Done)
            .map(|step| (&step.bound.id, &step.output))
    }

    /// Time in which at least one question to a person was open. Whether something else was at
    /// work meanwhile is not asked; two questions open at once count once.
    pub fn waited_for_people(&self) -> Duration {
        self.waited
            + self
                .questions_since
                .map_or(Duration::ZERO, |since| between(since, self.last))
    }

    /// What may happen next, for a writer that must refuse an impossible event before it is kept.
    pub fn transitions(&self) -> Transitions {
        Transitions::new(
            self.seq,
            Arc::clone(&self.index),
            self.steps
                .iter()
                .map(|step| (step.stand(), step.attempt))
                .collect(),
            (0..self.steps.len())
                .filter(|at| self.steps[*at].tells_the_end())
                .collect(),
            self.result.is_some(),
        )
    }

    /// The data loss: from the newest record of the dataset that lost most, to the loss.
    pub fn rpo(&self) -> Option<(Duration, &Newest)> {
        self.newest
            .iter()
            .map(|newest| (between(newest.at, self.header.lost_at), newest))
            .max_by_key(|(lost, _)| *lost)
    }

    /// The questions to a dataset whose answers had no zone, each once.
    pub fn taken_as_utc<'a>(&'a self, dataset: &str) -> Vec<&'a str> {
        let mut queries = Vec::new();
        for one in self
            .taken_as_utc
            .iter()
            .filter(|one| one.dataset == dataset)
        {
            if !queries.contains(&one.query.as_str()) {
                queries.push(one.query.as_str());
            }
        }
        queries
    }

    /// From the loss to the first green of the series that held.
    pub fn rto(&self) -> Option<Duration> {
        let healthy = self.healthy_since?;
        Some(between(self.header.lost_at, healthy))
    }
}

impl StepState {
    /// One word for people: what was only looked at is not done.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Done if self.bound.probe.is_some() => "probed",
            ref status => status.word(),
        }
    }

    fn new(bound: &BoundStep) -> Self {
        let status = match &bound.left_out {
            Some(why) => Status::LeftOut(why.clone()),
            None => Status::Waiting,
        };
        Self {
            bound: bound.clone(),
            status,
            attempt: 0,
            in_doubt: false,
            already: false,
            marked_done: None,
            skipped: None,
            started: None,
            ended: None,
            output: Output::new(),
            evidence: Vec::new(),
            left_open: Vec::new(),
            notes: HashMap::new(),
            progress: None,
            retries: Vec::new(),
            asking: None,
            answers: Vec::new(),
            waited: Duration::ZERO,
        }
    }

    /// A message of `finally`: it says how the run ended.
    fn tells_the_end(&self) -> bool {
        self.bound.finally
            && self.bound.effect == Effect::Tell
            && !matches!(self.status, Status::LeftOut(_) | Status::Skipped)
    }

    fn stand(&self) -> Stand {
        match self.status {
            Status::Waiting => Stand::Waiting,
            Status::Running => Stand::Running,
            Status::Blocked(_) => Stand::Blocked,
            Status::Failed(_) | Status::Doomed(_) => Stand::Bad,
            Status::Done | Status::LeftOut(_) => Stand::Good,
            Status::Skipped => Stand::Skipped,
        }
    }

    /// Wall time from the first look to the end.
    pub fn took(&self) -> Option<Duration> {
        Duration::try_from(self.ended?.duration_since(self.started?)).ok()
    }
}

/// From `start` to `end`; zero when a clock was set back between them.
pub(crate) fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or(Duration::ZERO)
}
