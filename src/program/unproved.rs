//! Restores whose data nobody asks anything: that all bytes came back says nothing about what is in them.

use std::collections::HashMap;

use super::{Sources, args, left_out, roles};
use crate::action::kind_of;
use crate::ids::StepId;
use crate::inventory::DatasetKind;
use crate::kind::{Effect, Mode};
use crate::plan::{Step, Verb};
use crate::problem::Problem;
use crate::yaml::Node;

/// A warning for each of them: the only backup there is may be worth restoring all the same.
pub(super) fn restores(
    all: &[&Step],
    sources: &Sources,
    index: &HashMap<StepId, usize>,
    mode: Mode,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, step) in all.iter().enumerate() {
        let Verb::Uses { kind_place, .. } = &step.verb else {
            continue;
        };
        let takes_part = left_out(step, mode).is_none();
        if !(takes_part && asks_data(step, Effect::Write) && step.verify.is_empty()) {
            continue;
        }
        let node = args::node(step);
        let name = node.get("dataset").and_then(Node::as_str);
        let asked_later = |(later, other): (usize, &&Step)| {
            asks_data(other, Effect::Read)
                && !other.verify.is_empty()
                && left_out(other, mode).is_none()
                && args::node(other).get("dataset").and_then(Node::as_str) == name
                && roles::waits_for(all, index, later, at)
        };
        let dataset = name.and_then(|name| sources.inventory.datasets.get(name));
        let kind = dataset.map(|dataset| &dataset.kind);
        if all.iter().enumerate().any(asked_later) || is_judged(kind) {
            continue;
        }
        let words = match name {
            Some(name) => format!("nothing proves the data of `{name}` that comes back here"),
            None => "nothing proves the data that comes back here".to_string(),
        };
        let problem = Problem::warning("not-verified", kind_place, words);
        problems.push(problem.help(format!("add {}", what_to_ask(kind))));
    }
    problems
}

/// Whether the step's kind asks the data of a dataset, and has this effect.
fn asks_data(step: &Step, effect: Effect) -> bool {
    kind_of(args::kind(step)).is_some_and(|kind| kind.takes_verify && kind.effect == effect)
}

/// A configuration that its own checker lets through, when it is staged and when it is in place.
fn is_judged(kind: Option<&DatasetKind>) -> bool {
    matches!(kind, Some(DatasetKind::Config(config)) if config.check.is_some())
}

/// What to write, for this kind of data.
fn what_to_ask(kind: Option<&DatasetKind>) -> &'static str {
    match kind {
        None | Some(DatasetKind::Postgres(_)) => {
            "`verify:`, such as [{ newest: { query: select max(created_at) from orders, within: 15m } }], which also measures the RPO"
        }
        Some(DatasetKind::Redis(_)) => "`verify:`, such as [{ keys: { expect: \">= 1\" } }]",
        Some(DatasetKind::Files(_)) => {
            "`verify:`, such as [{ files: { expect: \">= 1\" } }, { newest: { within: 25h } }]"
        }
        Some(DatasetKind::Config(_)) => {
            "`check:` to the dataset in the inventory, or `verify:`, such as [{ file: { path: /etc/app.conf, sha256: ... } }]"
        }
    }
}
