//! What a person wrote and nobody could read. Its own problem is shown once; nothing is held against others for it, and
//! the rest is looked at all the same, so that a plan, its inventory and its provider files are mended in one go.

use std::collections::BTreeSet;

use super::args;
use super::scope::Unknown;
use crate::plan::Step;
use crate::problem::{Place, Problem, Severity};
use crate::template::Reference;
use crate::yaml::Node;

/// The parts of the three texts that could not be read.
#[derive(Debug, Default)]
pub struct Unread {
    /// Steps that were written and are not in the plan.
    pub steps: BTreeSet<String>,
    /// Inputs that were written and are not in the plan.
    pub inputs: BTreeSet<String>,
    /// Hosts, datasets, stores, domains, ... of the inventory, and accounts, by name.
    pub names: BTreeSet<String>,
    /// What is wrong with them, and with everything else that was read.
    pub problems: Vec<Problem>,
}

impl Unread {
    /// Whether the texts have an error that was found while they were read.
    pub fn is_broken(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    pub(super) fn unknown(&self) -> Unknown {
        Unknown {
            steps: self.steps.clone(),
            inputs: self.inputs.clone(),
        }
    }

    /// Whether a problem found later says the same again, or only follows from what could not be read.
    pub(super) fn explains(&self, problem: &Problem) -> bool {
        let Some((place, _)) = problem.labels.first() else {
            return false;
        };
        let known = |shown: &Problem| {
            // The same fault may be shown at another line of the step, with the step's own as its second.
            let lines = match shown.code == problem.code {
                true => shown.labels.len(),
                false => 1,
            };
            shown.severity == Severity::Error
                && shown
                    .labels
                    .iter()
                    .take(lines)
                    .any(|(shown, _)| overlap(shown, place))
        };
        self.problems.iter().any(known) || self.is_of_a_name(problem, place)
    }

    /// Whether a problem is that one of the names is not there: it says the name, and stands where the name does, be it
    /// `db-1` or the first part of `hetzner/fsn1`.
    fn is_of_a_name(&self, problem: &Problem, place: &Place) -> bool {
        let text = place.source.text.get(place.start..place.end);
        let mut words = text
            .unwrap_or_default()
            .split(|c: char| c.is_whitespace() || "[],\"'/".contains(c));
        words
            .any(|word| self.names.contains(word) && problem.message.contains(&format!("`{word}`")))
    }
}

/// Counts a step among those with a problem of their own; gives the names that others may call its server by.
pub(super) fn names_for(step: &Step, unknown: &mut Unknown) -> Vec<String> {
    unknown.steps.insert(step.id.to_string());
    let role = args::node(step);
    let role = role.get("role").and_then(Node::as_str);
    [Some(step.id.as_str()), role]
        .into_iter()
        .flatten()
        .map(str::to_string)
        .collect()
}

/// Drops what only follows from steps and inputs that have a problem of their own: it stands where they are referred to.
pub(super) fn without_consequences(
    problems: &mut Vec<Problem>,
    steps: &[&Step],
    health: &[Reference],
    unknown: &Unknown,
) {
    if unknown.steps.is_empty() && unknown.inputs.is_empty() {
        return;
    }
    let of_steps = steps.iter().flat_map(|step| &step.references);
    let places: Vec<&Place> = of_steps
        .chain(health)
        .filter(|reference| unknown.holds(reference))
        .map(|reference| &reference.place)
        .collect();
    problems.retain(|problem| {
        let first = problem.labels.first();
        !first.is_some_and(|(at, _)| places.iter().any(|place| overlap(place, at)))
    });
}

fn overlap(one: &Place, other: &Place) -> bool {
    one.source == other.source
        && (one.start == other.start || (one.start < other.end && other.start < one.end))
}
