//! What the engine asks of a program: actions with their true arguments, and the rules of a step.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::binding::{bind_check, bind_step};
use super::placeholder::{self, Placeholder};
use super::{Program, scope};
use crate::action::{Action, Move, kind_of};
use crate::ids::StepId;
use crate::kind::{Effect, Failure, Output, Reason};
use crate::problem::Problem;
use crate::state::RunState;
use crate::template::Reference;

/// When the plan says nothing: three attempts, a second before the second.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_secs(1);
/// And ten minutes for what is only out of reach: the outage of an API or of a line is no reason to give a night up.
const PATIENCE: Duration = Duration::from_secs(600);

/// The rules of a step.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The time of the whole step, waits for people not counted.
    pub timeout: Duration,
    /// For so long a service that is out of reach is asked again, however many attempts that takes.
    pub patience: Duration,
    /// All attempts together.
    pub attempts: u32,
    /// The pause before the second attempt; doubles each time.
    pub backoff: Duration,
    /// No attempt begins later than this after the first.
    pub within: Option<Duration>,
    /// After which failures another attempt is made; empty: those that pass by themselves.
    pub on: Vec<Reason>,
    /// What the step may do.
    pub effect: Effect,
    /// Waits for people or time: takes no place among those at work, and is asked once.
    pub waits: bool,
}

impl Policy {
    /// Whether this is an outage that is worth more attempts than others.
    pub fn waits_out(&self, reason: Reason, passed: Duration) -> bool {
        let outage = matches!(
            reason,
            Reason::Unreachable | Reason::RateLimited | Reason::Busy
        );
        outage && passed < self.patience
    }

    /// Whether a failure is worth another attempt. An unknown outcome is: the next attempt begins with a look.
    pub fn retries(&self, reason: Reason) -> bool {
        if self.on.is_empty() {
            reason.passes() || reason == Reason::Unknown
        } else {
            self.on.contains(&reason)
        }
    }
}

/// A step that would move names, in a run that moves none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// The step.
    pub step: StepId,
    /// What it would move.
    pub moves: Vec<Move>,
    /// Where to is known.
    pub known: bool,
}

/// The engine's view of what is to be done. Tests bring their own.
pub trait Work: Send + Sync {
    /// The action of a step whose needs have ended, with true arguments.
    fn action(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure>;

    /// The same before the run, with samples where nothing is known yet.
    fn rehearse(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure>;

    /// The step's rules.
    fn policy(&self, step: &StepId) -> Policy;

    /// Values of other steps that the step refers to and that nobody has yet.
    fn unknown(&self, _step: &StepId, _state: &RunState) -> Vec<Placeholder> {
        Vec::new()
    }

    /// The action for people to read about: `<db.ipv4>` stands where nothing is known yet. It is never carried out.
    fn picture(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure> {
        self.rehearse(step, state)
    }

    /// Whether looking at the step starts a script that a person wrote.
    fn own_script(&self, _step: &StepId, kind: &str) -> bool {
        kind_of(kind).is_some_and(|kind| kind.own_script)
    }

    /// A text about a rehearsed action, with placeholders where samples stand.
    fn readable(&self, text: &str) -> String {
        text.to_string()
    }

    /// What leads elsewhere for this process although nothing is moved, in the order of the plan. Empty but in a drill.
    fn moves(&self, _state: &RunState) -> Vec<Moving> {
        Vec::new()
    }

    /// The health checks with true arguments.
    fn health(&self, state: &RunState) -> Result<Vec<Box<dyn Action>>, Failure>;
}

impl Program {
    fn at(&self, step: &StepId) -> usize {
        // The header's steps are this program's: the engine knows no other ids.
        self.index[step]
    }

    fn bound(
        &self,
        step: &StepId,
        outputs: &HashMap<usize, Output>,
    ) -> Result<Box<dyn Action>, Failure> {
        let at = self.at(step);
        bind_step(
            self.plan_step(at),
            self.kinds[at],
            &self.scope(outputs),
            &self.sources,
            &self.hosts,
        )
        .map(|(action, _)| action)
        .map_err(|problems| failure(&problems))
    }

    /// The host that a step makes, by its name.
    pub fn host_made_by(&self, step: &StepId) -> Option<&str> {
        let at = *self.index.get(step)?;
        let makes = self.steps[at].effect == Effect::Create;
        self.samples
            .get(&at)
            .filter(|_| makes)?
            .get("host")?
            .as_str()
    }

    /// The names of the hosts that the run makes.
    pub fn made_hosts(&self) -> BTreeSet<String> {
        let made = self
            .steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.effect == Effect::Create && step.left_out.is_none());
        made.filter_map(|(at, _)| self.samples.get(&at)?.get("host")?.as_str())
            .map(str::to_string)
            .collect()
    }

    /// The datasets of the inventory that its steps name.
    pub fn datasets(&self) -> BTreeSet<String> {
        let steps = self.all_steps();
        let named = steps.iter().flat_map(|step| {
            let node = super::args::node(step);
            ["dataset", "datasets"]
                .into_iter()
                .flat_map(|key| {
                    super::blast_radius::texts(node.get(key))
                        .into_iter()
                        .cloned()
                })
                .collect::<Vec<_>>()
        });
        named
            .filter_map(|node| node.as_str().map(str::to_string))
            .filter(|name| self.sources.inventory.datasets.contains_key(name))
            .collect()
    }

    /// True outputs of the steps that are referred to; samples where there are none, if wanted.
    fn outputs(
        &self,
        state: &RunState,
        references: &[Reference],
        else_sample: bool,
    ) -> HashMap<usize, Output> {
        let named = references
            .iter()
            .filter_map(|reference| match reference.path.as_slice() {
                [root, id, ..] if root == "steps" => self.index.get(id.as_str()).copied(),
                _ => None,
            });
        named
            .filter_map(|at| {
                let done = state
                    .step(&self.steps[at].id)
                    .filter(|step| !step.output.is_empty());
                let output = match done {
                    Some(step) => Some(step.output.clone()),
                    None if else_sample => self.samples.get(&at).cloned(),
                    None => None,
                };
                output.map(|output| (at, output))
            })
            .collect()
    }
}

fn failure(problems: &[Problem]) -> Failure {
    let words: Vec<String> = problems
        .iter()
        .map(|problem| match problem.labels.first() {
            Some((place, _)) => format!("{place}: {}", problem.message),
            None => problem.message.clone(),
        })
        .collect();
    Failure::new(Reason::Other, words.join("\n"))
}

impl Work for Program {
    fn action(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure> {
        let references = &self.plan_step(self.at(step)).references;
        self.bound(step, &self.outputs(state, references, false))
    }

    fn rehearse(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure> {
        let references = &self.plan_step(self.at(step)).references;
        self.bound(step, &self.outputs(state, references, true))
    }

    fn unknown(&self, step: &StepId, state: &RunState) -> Vec<Placeholder> {
        let mut found: Vec<Placeholder> = Vec::new();
        for reference in &self.plan_step(self.at(step)).references {
            let [root, id, fields @ ..] = reference.path.as_slice() else {
                continue;
            };
            let Some(&at) = self.index.get(id.as_str()).filter(|_| root == "steps") else {
                continue;
            };
            let id = &self.steps[at].id;
            if state.step(id).is_some_and(|step| !step.output.is_empty()) {
                continue;
            }
            let sample = self.samples.get(&at);
            let placeholder = Placeholder::of(id, fields, sample);
            if !found.contains(&placeholder) {
                found.push(placeholder);
            }
        }
        found
    }

    fn picture(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure> {
        let references = &self.plan_step(self.at(step)).references;
        let mut outputs = self.outputs(state, references, true);
        for (at, output) in &mut outputs {
            let id = &self.steps[*at].id;
            if state.step(id).is_none_or(|step| step.output.is_empty()) {
                placeholder::put_in(id, output);
            }
        }
        // Where a value must be of a certain kind (an address, a number), no placeholder can stand.
        self.bound(step, &outputs)
            .or_else(|_| self.rehearse(step, state))
    }

    fn own_script(&self, step: &StepId, kind: &str) -> bool {
        let is_one = |kind: &str| kind_of(kind).is_some_and(|kind| kind.own_script);
        let step = self.plan_step(self.at(step));
        // A look is made with all that its `verify:` adds to it.
        is_one(kind)
            || step
                .verify
                .iter()
                .filter_map(|check| super::checked::kind_behind(&check.kind))
                .any(|kind| kind.own_script)
    }

    fn readable(&self, text: &str) -> String {
        scope::placeholders(&self.all_steps(), &self.samples)(text)
    }

    fn policy(&self, step: &StepId) -> Policy {
        let at = self.at(step);
        let (step, kind) = (self.plan_step(at), self.kinds[at]);
        let retry = step.retry.as_ref();
        Policy {
            timeout: step.timeout.map_or(kind.timeout, |span| span.0),
            attempts: retry.map_or(ATTEMPTS, |retry| {
                retry.attempts.unwrap_or(if retry.within.is_some() {
                    u32::MAX
                } else {
                    ATTEMPTS
                })
            }),
            patience: match retry {
                None => PATIENCE,
                Some(_) => Duration::ZERO,
            },
            backoff: retry
                .and_then(|retry| retry.backoff)
                .map_or(BACKOFF, |span| span.0),
            within: retry.and_then(|retry| retry.within).map(|span| span.0),
            on: retry.map(|retry| retry.on.clone()).unwrap_or_default(),
            effect: kind.effect,
            waits: kind.waits,
        }
    }

    fn moves(&self, state: &RunState) -> Vec<Moving> {
        let all = self.moving.iter().filter_map(|at| {
            let step = self.steps[*at].id.clone();
            let (action, known) = match self.action(&step, state) {
                Ok(action) => (action, true),
                Err(_) => (self.rehearse(&step, state).ok()?, false),
            };
            Some(Moving {
                step,
                moves: action.moves(),
                known,
            })
        });
        all.collect()
    }

    fn health(&self, state: &RunState) -> Result<Vec<Box<dyn Action>>, Failure> {
        let Some(health) = &self.sources.plan.health else {
            return Ok(Vec::new());
        };
        let references: Vec<Reference> = health
            .checks
            .iter()
            .flat_map(|check| crate::template::references(&check.with).0)
            .collect();
        let outputs = self.outputs(state, &references, false);
        let scope = self.scope(&outputs);
        health
            .checks
            .iter()
            .map(|check| {
                bind_check(&check.kind, &check.with, &scope, &self.sources, &self.hosts)
                    .map_err(|found| failure(&found))
            })
            .collect()
    }
}
