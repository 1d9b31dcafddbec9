//! From the text of a plan to the plan, collecting everything that is wrong on the way. A part that cannot be read is left out,
//! but its name stays known, so that one mistake is not shown five times.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::draft::{DrillText, HealthText, InputText, Objectives, PlanText};
use super::input::{Input, beside, is_name};
use super::{Check, DrillRule, Health, Kinds, Plan, Step, check, in_file_order, step};
use crate::ids::StepId;
use crate::problem::{Place, Problem, Severity, Source};
use crate::units::{Socket, Span};
use crate::yaml::{self, Node, Schema, Templates};

/// A plan that can run, and what a person should look at all the same.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The plan.
    pub plan: Plan,
    /// Warnings only.
    pub warnings: Vec<Problem>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<PlanText>);

pub(super) fn schema() -> &'static Schema {
    &SCHEMA
}

/// Reads and checks a plan file. On failure: all its problems, in the order of the file, at least one of them an error.
pub fn load(path: &Path, kinds: &Kinds<'_>) -> Result<Loaded, Vec<Problem>> {
    let source = yaml::read(path, File::open(path)).map_err(|problem| vec![problem])?;
    read(&source, path.parent().unwrap_or(Path::new("")), kinds)
}

/// The same from a text; paths in it are relative to `folder`.
pub fn read(
    source: &Arc<Source>,
    folder: &Path,
    kinds: &Kinds<'_>,
) -> Result<Loaded, Vec<Problem>> {
    let examined = examine(source, folder, kinds);
    let error = |problem: &Problem| problem.severity == Severity::Error;
    match examined.plan {
        Some(plan) if !examined.problems.iter().any(error) => Ok(Loaded {
            plan,
            warnings: examined.problems,
        }),
        _ => Err(examined.problems),
    }
}

/// A plan as far as it could be read, so that the rest of it can be looked at too.
#[derive(Debug)]
pub struct Examined {
    /// What could be read; nothing when the text is no plan at all.
    pub plan: Option<Plan>,
    /// The steps that were written and are not in it.
    pub unread_steps: Vec<String>,
    /// The inputs that were written and are not in it.
    pub unread_inputs: Vec<String>,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads and checks a text, and gives also what is left of one with errors.
pub fn examine(source: &Arc<Source>, folder: &Path, kinds: &Kinds<'_>) -> Examined {
    let (root, mut problems) = yaml::parse(source);
    let Some(root) = root else {
        return Examined {
            plan: None,
            unread_steps: Vec::new(),
            unread_inputs: Vec::new(),
            problems,
        };
    };
    problems.extend(schema().check(&root, Templates::Refused));
    let mut draft = Draft {
        folder,
        sound: problems.is_empty(),
        problems,
        ids: HashSet::new(),
        strangers: Vec::new(),
    };
    let plan = draft.plan(source, &root);
    let Draft {
        problems,
        ids,
        strangers,
        ..
    } = draft;
    // What refers to `Db` by the name that it will have is not wrong as well.
    let renamed = ids.iter().filter(|id| StepId::new(id).is_err());
    let renamed: Vec<String> = renamed.map(|id| id.to_lowercase()).collect();
    let ids = ids.into_iter().chain(renamed).collect();
    let inputs = root.get("inputs").map(Node::entries).unwrap_or_default();
    let inputs = inputs.iter().filter_map(|(name, _)| name.as_str());
    let mut check = check::Examination {
        ids,
        inputs: inputs.map(str::to_string).collect(),
        kinds,
        problems,
        suggestions: check::MOST_SUGGESTIONS,
    };
    // A step that was written by such a name has its problem where it stands.
    for (id, place) in &strangers {
        if !check.ids.contains(id) {
            check.unknown_step(id, place);
        }
    }
    let plan = plan.map(|mut plan| {
        check.plan(&mut plan);
        plan
    });
    let mut problems = check.problems;
    in_file_order(&mut problems);
    let (read_steps, read_inputs): (HashSet<&str>, HashSet<&str>) = match &plan {
        Some(plan) => (
            plan.steps
                .iter()
                .chain(&plan.finally)
                .map(|step| step.id.as_str())
                .collect(),
            plan.inputs
                .iter()
                .map(|input| input.name.as_str())
                .collect(),
        ),
        None => Default::default(),
    };
    let without = |all: &mut dyn Iterator<Item = &String>, read: &HashSet<&str>| {
        all.filter(|name| !read.contains(name.as_str()))
            .cloned()
            .collect::<Vec<_>>()
    };
    let unread_steps = without(&mut check.ids.iter(), &read_steps);
    let unread_inputs = without(&mut check.inputs.iter(), &read_inputs);
    Examined {
        unread_steps,
        unread_inputs,
        problems,
        plan,
    }
}

pub(super) struct Draft<'a> {
    pub folder: &'a Path,
    /// The tree has the right shape: what serde refuses then was not shown yet.
    pub sound: bool,
    pub problems: Vec<Problem>,
    /// All ids that were written, also those of steps that cannot be read.
    pub ids: HashSet<String>,
    /// Needs that no id could ever be.
    pub strangers: Vec<(String, Place)>,
}

impl Draft<'_> {
    fn plan(&mut self, source: &Arc<Source>, root: &Node) -> Option<Plan> {
        if root.entries().is_empty() {
            return None;
        }
        // The steps are read one by one, so that one broken step hides no other.
        let text = |key: &str| root.get(key).and_then(Node::as_str).map(str::to_string);
        let name = text("name").unwrap_or_default();
        if let Some(written) = root.get("name").filter(|_| !name.is_empty())
            && let Err(error) = StepId::new(&name)
        {
            self.problems.push(Problem::error(
                "wrong-value",
                &written.place,
                error.to_string(),
            ));
        }
        let objectives = root.get("objectives").map(|node| {
            let typed: Option<Objectives> = self.typed(node);
            typed.unwrap_or_else(|| readable(node))
        });
        let objectives = objectives.unwrap_or_default();
        let mut lost = Vec::new();
        for item in root
            .get("assumes_lost")
            .map(Node::items)
            .unwrap_or_default()
        {
            if let Some(text) = item.as_str() {
                if !is_place(text) {
                    self.problems.push(
                        Problem::error("wrong-value", &item.place, format!("`{text}` is no place"))
                            .help("a place is written `provider/region`"),
                    );
                }
                lost.push((text.to_string(), item.place.clone()));
            }
        }
        let mut inputs = Vec::new();
        for (key, node) in root.get("inputs").map(Node::entries).unwrap_or_default() {
            if let Some(text) = self.typed::<InputText>(node) {
                match Input::new(key, node, text) {
                    Ok(input) => inputs.push(input),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
        let health = root.get("health").and_then(|node| self.health(node));
        let drill = root.get("drill").map(|node| self.drill(node));
        let steps = self.steps(root, "steps");
        if root
            .get("steps")
            .is_some_and(|steps| steps.entries().is_empty())
            && self.sound
        {
            self.problems.push(Problem::error(
                "empty-plan",
                root.key_place("steps"),
                "this plan has no steps",
            ));
        }
        let finally = self.steps(root, "finally");
        Some(Plan {
            name,
            description: text("description"),
            inventory: text("inventory").map(|path| beside(self.folder, &path)),
            objectives,
            assumes_lost: lost,
            inputs,
            health,
            drill: drill.unwrap_or_default(),
            steps,
            finally,
            source: source.clone(),
        })
    }

    /// Reads a value whose shape has been checked. What fails although the shape is right is a problem of its own.
    pub(super) fn typed<T: serde::de::DeserializeOwned>(&mut self, node: &Node) -> Option<T> {
        match serde_json::from_value(node.to_json()) {
            Ok(value) => Some(value),
            Err(error) => {
                if self.sound {
                    self.problems.push(Problem::error(
                        "wrong-value",
                        &node.place,
                        error.to_string(),
                    ));
                }
                None
            }
        }
    }

    fn drill(&mut self, node: &Node) -> DrillRule {
        let mut rule = DrillRule::default();
        let text: Option<DrillText> = self.typed(node);
        if let Some(expires) = text.and_then(|text| text.expires) {
            rule.expires = expires;
        }
        for item in node.get("allow").map(Node::items).unwrap_or_default() {
            let Some(text) = item.as_str() else { continue };
            match Socket::parse(text) {
                Ok(socket) => rule.allow.push(socket),
                Err(why) => {
                    let problem = Problem::error("wrong-value", &item.place, why);
                    self.problems
                        .push(problem.help("write it like `smtp.example:25` or `192.0.2.7:443`"));
                }
            }
        }
        rule
    }

    fn health(&mut self, node: &Node) -> Option<Health> {
        let text: HealthText = self.typed(node)?;
        Some(Health {
            hold: text.hold,
            within: text.within,
            checks: node
                .get("checks")
                .map(|checks| self.checks(checks))
                .unwrap_or_default(),
        })
    }

    /// A list of `kind: {arguments}`.
    pub(super) fn checks(&mut self, list: &Node) -> Vec<Check> {
        let mut checks = Vec::new();
        for item in list.items() {
            match item.entries() {
                [(kind, with)] => checks.push(Check {
                    kind: kind.as_str().unwrap_or_default().to_string(),
                    place: kind.place.clone(),
                    with: with.clone(),
                }),
                entries => {
                    let place = entries.get(1).map_or(&item.place, |(key, _)| &key.place);
                    if !item.entries().is_empty() || self.sound {
                        self.problems.push(
                            Problem::error("one-of", place, "each item of this list is one check")
                                .help(
                                    "write its kind and its arguments: - check.http: { url: ... }",
                                ),
                        );
                    }
                }
            }
        }
        checks
    }

    fn steps(&mut self, root: &Node, part: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        for (key, node) in root.get(part).map(Node::entries).unwrap_or_default() {
            let id = key.as_str().unwrap_or_default();
            if !self.ids.insert(id.to_string()) {
                let first = root.get("steps").and_then(|steps| steps.entry(id));
                let mut problem = Problem::error(
                    "duplicate-id",
                    &key.place,
                    format!("a step `{id}` is there already"),
                );
                if let Some((first, _)) = first {
                    problem = problem.also(&first.place, "first here");
                }
                self.problems.push(problem);
                continue;
            }
            steps.extend(step::read(self, key, node));
        }
        steps
    }

    /// The key must be fit for the name of a shell variable.
    pub(super) fn variable(&mut self, key: &Node) {
        let name = key.as_str().unwrap_or_default();
        if !is_name(name) || name.contains('-') {
            self.problems.push(
                Problem::error(
                    "wrong-value",
                    &key.place,
                    format!("`{name}` is no name of a variable"),
                )
                .help("write letters, digits and `_`, beginning with a letter"),
            );
        }
    }
}

/// Objectives of which one at least cannot be read: what is promised in words that make no sense is promised all the same.
fn readable(node: &Node) -> Objectives {
    let span = |key: &str| {
        let written = node.get(key)?;
        let read = written.as_str().and_then(|text| Span::parse(text).ok());
        Some(read.unwrap_or(Span(Duration::MAX)))
    };
    Objectives {
        rto: span("rto"),
        rpo: span("rpo"),
    }
}

/// `provider/region`.
fn is_place(text: &str) -> bool {
    let mut parts = text.split('/');
    let mut part = || parts.next().is_some_and(|part| !part.is_empty());
    part() && part() && parts.next().is_none()
}
