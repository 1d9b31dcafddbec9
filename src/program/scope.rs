//! What references read: `steps.ID.FIELD`, `inputs.X`, `hosts.NAME.address`, `run.id`. Only what a step refers to
//! is put together, so that a plan of ten thousand steps costs ten thousand small scopes.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::ids::{RunId, StepId};
use crate::inventory::Inventory;
use crate::kind::Output;
use crate::plan::Step;
use crate::template::Reference;

/// Where values come from: samples when a plan is bound, true outputs in a run.
pub(super) struct Scope<'a> {
    pub(super) run: &'a RunId,
    pub(super) inputs: &'a Map<String, Value>,
    pub(super) inventory: &'a Inventory,
    pub(super) index: &'a HashMap<StepId, usize>,
    pub(super) outputs: &'a HashMap<usize, Output>,
    /// Steps and inputs with a problem of their own: what refers to them is looked at with a value that stands in.
    pub(super) unknown: &'a Unknown,
}

/// What has a problem of its own, and gives no value.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    pub(super) steps: BTreeSet<String>,
    pub(super) inputs: BTreeSet<String>,
}

/// Nothing has.
pub(super) static NONE: Unknown = Unknown {
    steps: BTreeSet::new(),
    inputs: BTreeSet::new(),
};

impl Unknown {
    /// Whether a reference reads one of them.
    pub(super) fn holds(&self, reference: &Reference) -> bool {
        match reference.path.as_slice() {
            [root, name, ..] if root == "steps" => self.steps.contains(name),
            [root, name] if root == "inputs" => self.inputs.contains(name),
            _ => false,
        }
    }
}

impl Scope<'_> {
    /// The values that these references read.
    pub(super) fn for_references(&self, references: &[Reference]) -> Value {
        let (mut steps, mut hosts) = (Map::new(), Map::new());
        let mut inputs = self.inputs.clone();
        for reference in references {
            let [root, name, ..] = reference.path.as_slice() else {
                continue;
            };
            match root.as_str() {
                "steps" if self.unknown.holds(reference) => {
                    let field = reference.path.get(2).map_or("", String::as_str);
                    let outputs = steps
                        .entry(name.clone())
                        .or_insert_with(|| Value::Object(Map::new()));
                    outputs[field] = stand_in(name, field);
                }
                "inputs" if self.unknown.holds(reference) => {
                    inputs.entry(name.clone()).or_insert_with(|| "".into());
                }
                "steps" => {
                    if let Some(output) = self
                        .index
                        .get(name.as_str())
                        .and_then(|at| self.outputs.get(at))
                    {
                        steps
                            .entry(name.clone())
                            .or_insert_with(|| Value::Object(output.clone()));
                    }
                }
                "hosts" => {
                    if let Some(host) = self.inventory.hosts.get(name) {
                        hosts.insert(name.clone(), serde_json::json!({ "address": host.address }));
                    }
                }
                _ => {}
            }
        }
        serde_json::json!({
            "steps": steps,
            "inputs": inputs,
            "hosts": hosts,
            "run": { "id": self.run.as_str() },
        })
    }
}

/// A value for an output that nobody knows. It only has to be of the right sort: what is found wrong with it is not said.
fn stand_in(step: &str, field: &str) -> Value {
    match field {
        "ipv4" => "192.0.2.1".into(),
        "ipv6" => "2001:db8::1".into(),
        _ => step.into(),
    }
}

/// Gives sample addresses of each step their own value (from the documentation ranges, RFC 5737 and RFC 3849),
/// so that they can be told apart in texts.
pub(super) fn distinct(mut sample: Output, at: usize) -> Output {
    for (name, value) in &mut sample {
        match name.as_str() {
            "ipv4" => *value = format!("192.0.2.{}", at % 254 + 1).into(),
            "ipv6" => *value = format!("2001:db8::{at:x}").into(),
            _ => {}
        }
    }
    sample
}

/// Puts `<db.ipv4>` where a text shows a sample address.
pub(super) fn placeholders<'a>(
    steps: &[&Step],
    samples: &HashMap<usize, Output>,
) -> impl Fn(&str) -> String + use<'a> {
    let mut names: Vec<(String, String)> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        for (name, value) in samples.get(&at).into_iter().flatten() {
            if let ("ipv4" | "ipv6", Some(text)) = (name.as_str(), value.as_str()) {
                names.push((text.to_string(), format!("<{}.{name}>", step.id)));
            }
        }
    }
    // The longest first: 192.0.2.10 holds 192.0.2.1.
    names.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    move |text| {
        names.iter().fold(text.to_string(), |text, (sample, name)| {
            text.replace(sample.as_str(), name)
        })
    }
}
