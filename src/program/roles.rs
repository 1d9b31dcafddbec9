//! The servers that a plan makes, by role: each is one machine, and who means it waits for it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::{Sources, args, blast_radius};
use crate::ids::StepId;
use crate::kind::Output;
use crate::plan::Step;
use crate::problem::Problem;

/// A step that names a new server in plain words and does not wait for it would come too early, and find nobody.
pub(super) fn unawaited(
    all: &[&Step],
    sources: &Sources,
    made: &HashMap<String, usize>,
    index: &HashMap<StepId, usize>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, step) in all.iter().enumerate() {
        for value in blast_radius::hosts(&args::node(step)) {
            let name = value.as_str().unwrap_or_default();
            let Some(&maker) = made.get(name) else {
                continue;
            };
            if sources.inventory.hosts.contains_key(name) || waits_for(all, index, at, maker) {
                continue;
            }
            let id = &all[maker].id;
            let words =
                format!("`{name}` is made by the step `{id}`, and this step does not wait for it");
            let problem = Problem::error("not-awaited", &value.place, words);
            problems.push(problem.help(format!(
                "write \"{{{{steps.{id}.host}}}}\", which waits and names it"
            )));
        }
    }
    problems
}

/// Whether the step at `at` begins after the one at `maker` has ended, for whatever is between them.
pub(super) fn waits_for(
    all: &[&Step],
    index: &HashMap<StepId, usize>,
    at: usize,
    maker: usize,
) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![at];
    while let Some(at) = next.pop() {
        for need in &all[at].needs {
            match index.get(&need.step) {
                Some(&on) if on == maker => return true,
                Some(&on) if seen.insert(on) => next.push(on),
                _ => {}
            }
        }
    }
    false
}

/// Two machines of one name: steps that mean the one would act on the other.
pub(super) fn name_taken(
    all: &[&Step],
    host: &str,
    at: usize,
    sources: &Sources,
    made: &mut HashMap<String, usize>,
) -> Option<Problem> {
    let place = &all[at].place;
    if let Some(known) = sources.inventory.hosts.get(host) {
        let words =
            format!("`{host}` is a host of the inventory already: a new server needs another role");
        let problem = Problem::error("role-is-a-host", place, words);
        return Some(problem.also(&known.place, "this one"));
    }
    let first = made.insert(host.to_string(), at)?;
    let words = format!("two steps create `{host}`: a role is one server");
    let problem = Problem::error("same-role", place, words);
    Some(problem.also(&all[first].place, "the other one"))
}

/// The sample addresses of servers.
pub(super) fn addresses<'a>(samples: impl Iterator<Item = &'a Output>) -> BTreeSet<IpAddr> {
    let fields = samples.flat_map(|sample| [sample.get("ipv4"), sample.get("ipv6")]);
    let texts = fields.flatten().filter_map(|value| value.as_str());
    texts.filter_map(|text| text.parse().ok()).collect()
}
