//! A plan: what should happen, checked. From text to [`Plan`] it goes through the located tree, so every part of a
//! plan still knows its line when an action refuses it much later.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::ids::StepId;
use crate::kind::{Mode, Reason};
use crate::problem::{Place, Problem, Source};
use crate::secret::SecretRef;
use crate::template::Reference;
use crate::units::{Socket, Span};
use crate::yaml::Node;

mod check;
mod draft;
mod graph;
mod input;
mod load;
mod step;

pub use check::{Kinds, gate_problem};
pub use draft::{IfSourceLost, InputKind, Objectives, OnFailure, Was};
pub use graph::Graph;
pub use input::Input;
pub use load::{Examined, Loaded, examine, load, read};
pub use step::template_in_script;

/// What should happen. Ids are unique, needs are known, references reach only what was needed, nothing waits for itself.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The inventory, resolved against the folder of the plan.
    pub inventory: Option<PathBuf>,
    /// What is promised.
    pub objectives: Objectives,
    /// The places taken for lost, `provider/region`, each with where it was written.
    pub assumes_lost: Vec<(String, Place)>,
    /// In the order of the file.
    pub inputs: Vec<Input>,
    /// When the service counts as recovered.
    pub health: Option<Health>,
    /// What holds in a drill.
    pub drill: DrillRule,
    /// In the order of the file.
    pub steps: Vec<Step>,
    /// The steps that run when all else has ended, in the order of the file.
    pub finally: Vec<Step>,
    /// The text it was made from.
    pub source: Arc<Source>,
}

/// What holds in a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillRule {
    /// How long what a drill makes may live.
    pub expires: Span,
    /// What its servers may reach besides stores, resolvers and each other.
    pub allow: Vec<Socket>,
}

impl Default for DrillRule {
    fn default() -> Self {
        Self {
            expires: Span(std::time::Duration::from_secs(4 * 3600)),
            allow: Vec::new(),
        }
    }
}

/// When the service counts as recovered.
#[derive(Debug, Clone)]
pub struct Health {
    /// How long all checks must stay green.
    pub hold: Span,
    /// From the last traffic step on.
    pub within: Span,
    /// At least one.
    pub checks: Vec<Check>,
}

/// A `kind: {arguments}` in `verify` or `health`; templates not filled in yet.
#[derive(Debug, Clone)]
pub struct Check {
    /// A word of its dataset (`sql`, `newest`, ...), `command` or `check.*`.
    pub kind: String,
    /// Where the kind was written.
    pub place: Place,
    /// Its arguments.
    pub with: Node,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Unique in the plan, `steps` and `finally` together.
    pub id: StepId,
    /// Where the id was written.
    pub place: Place,
    /// Its keys as they were written, each with its place.
    pub keys: Vec<(String, Place)>,
    /// What it does.
    pub verb: Verb,
    /// In the order written, then those that references imply.
    pub needs: Vec<Need>,
    /// Every `{{...}}` of the step.
    pub references: Vec<Reference>,
    /// `None`: in all modes.
    pub modes: Option<Vec<Mode>>,
    /// `false`: always left out.
    pub enabled: bool,
    /// For one attempt.
    pub timeout: Option<Span>,
    /// How long it should take.
    pub expect: Option<Span>,
    /// `None`: what the action's kind says.
    pub retry: Option<Retry>,
    /// What a failure means for the others.
    pub on_failure: OnFailure,
    /// Its failure is the run's failure.
    pub critical: bool,
    /// What to do when its target was lost.
    pub if_source_lost: Option<IfSourceLost>,
    /// What is looked at to call it done.
    pub verify: Vec<Check>,
    /// The part of the report that it stands in.
    pub phase: Option<String>,
    /// Who knows about it.
    pub owner: Option<String>,
    /// Shown to people.
    pub notes: Option<String>,
    /// Where people read more.
    pub runbook_url: Option<String>,
}

impl Step {
    /// Where a key of it was written, if it was.
    pub fn key(&self, name: &str) -> Option<&Place> {
        let mut keys = self.keys.iter();
        keys.find_map(|(key, place)| (key == name).then_some(place))
    }
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Verb {
    /// A built-in action.
    Uses {
        /// Its kind.
        kind: String,
        /// Where the kind was written.
        kind_place: Place,
        /// A map; templates not filled in yet.
        with: Node,
    },
    /// A script of the person on a host.
    Run(Box<Run>),
    /// A question to people.
    Manual {
        /// A text, perhaps with templates.
        question: Node,
        /// Who answers.
        approval: Approval,
    },
}

/// A script of the person on a host.
#[derive(Debug, Clone)]
pub struct Run {
    /// The script; holds no template.
    pub script: Node,
    /// A text, perhaps with templates.
    pub host: Node,
    /// The user on the host.
    pub run_as: Option<String>,
    /// Ends with 0 if there is nothing to do; holds no template.
    pub unless: Option<Node>,
    /// May run any number of times.
    pub repeatable: bool,
    /// A map of names to single values; templates not filled in yet.
    pub env: Node,
    /// By name. File paths are resolved against the folder of the plan.
    pub secrets: BTreeMap<String, SecretRef>,
}

/// Who answers a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approval {
    /// Groups of people from the inventory; none: whoever operates the run.
    pub by: Vec<String>,
    /// No answer within this time is a no.
    pub timeout: Option<Span>,
}

/// A step that must have ended before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Which.
    pub step: StepId,
    /// How.
    pub was: Was,
    /// Where it was written, or the reference that implies it.
    pub place: Place,
    /// It follows from a reference.
    pub implied: bool,
}

/// When and how often a failed attempt is made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// All attempts together; `None`: as many as `within` allows.
    pub attempts: Option<u32>,
    /// No attempt begins later than this.
    pub within: Option<Span>,
    /// The pause before the second attempt; doubles each time.
    pub backoff: Option<Span>,
    /// Empty: after those that pass by themselves.
    pub on: Vec<Reason>,
}

impl Plan {
    /// A step of either part by its id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps
            .iter()
            .chain(&self.finally)
            .find(|step| step.id.as_str() == id)
    }
}

/// The JSON Schema of a plan. What stands in `with` is left open: the action kinds know it.
pub fn schema() -> serde_json::Value {
    load::schema().json().clone()
}

/// Errors in front of warnings would tear apart what belongs together: problems are shown as they stand in the file.
fn in_file_order(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| problem.labels.first().map_or(0, |(place, _)| place.start));
}

#[cfg(test)]
mod tests;
