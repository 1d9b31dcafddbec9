//! What the keys of a plan mean to each other: kinds, references, needs, rings. References become needs here.

use std::collections::{HashMap, HashSet};

use super::draft::Was;
use super::{Check, Need, Plan, Step, Verb, graph};
use crate::ids::StepId;
use crate::problem::{Place, Problem, nearest};
use crate::template::{self, Reference};
use crate::yaml::{Kind, Node};

/// The action kinds, handed in because actions live above the language.
#[derive(Debug, Clone, Copy)]
pub struct Kinds<'a> {
    /// Those that this version carries out.
    pub known: &'a [&'a str],
    /// Those that the format names and this version does not carry out yet.
    pub later: &'a [&'a str],
}

/// What `verify` takes beside every `check.*`.
const VERIFY: [&str; 9] = [
    "sql", "newest", "rows", "redis", "keys", "files", "bytes", "file", "command",
];

/// Where templates may begin.
const ROOTS: [&str; 4] = ["steps", "inputs", "hosts", "run"];

/// The problem of a `dns.switch` that would move traffic without asking the new address first; `place` is where to
/// show it. A gate is a group (its keys are the action's business), or `none` with a reason.
pub fn gate_problem(with: &Node, place: &Place) -> Option<Problem> {
    let fix = "add a `gate:` that asks the new address for a row written before the loss, or `gate: none` with `because:`";
    match with.entry("gate") {
        None => Some(
            Problem::error("no-gate", place, "this switch moves traffic without a gate").help(fix),
        ),
        Some((_, gate)) if gate.is_map() => None,
        Some((_, gate)) if gate.as_str() == Some("none") => {
            let because = with
                .get("because")
                .and_then(Node::as_str)
                .unwrap_or_default();
            because.trim().is_empty().then(|| {
                Problem::error("no-gate", &gate.place, "`gate: none` needs a reason")
                    .help("say in `because:` why this switch needs no gate")
            })
        }
        Some((_, gate)) => Some(
            Problem::error(
                "wrong-type",
                &gate.place,
                format!("expected a group of keys or `none`, found {}", gate.words()),
            )
            .help(fix),
        ),
    }
}

pub(super) struct Examination<'a> {
    pub ids: HashSet<String>,
    /// All inputs that were written, also those that cannot be read.
    pub inputs: Vec<String>,
    pub kinds: &'a Kinds<'a>,
    pub problems: Vec<Problem>,
    /// How many more words are compared with all ids: in a long plan where every word is wrong that would take
    /// minutes, and nobody reads so many.
    pub suggestions: usize,
}

/// As many as are shown.
pub(super) const MOST_SUGGESTIONS: usize = 100;

impl Examination<'_> {
    pub fn plan(&mut self, plan: &mut Plan) {
        let inputs = self.inputs.clone();
        let finally: HashSet<String> = plan
            .finally
            .iter()
            .map(|step| step.id.to_string())
            .collect();
        if let Some(health) = &plan.health {
            for check in &health.checks {
                self.check_kind(check, false);
                let references = self.references(&check.with, &inputs);
                self.step_references(&references, None);
            }
        }
        for step in &mut plan.steps {
            self.step(step, &inputs);
            self.needs(step, Some(&finally));
        }
        for step in &mut plan.finally {
            self.step(step, &inputs);
            self.needs(step, None);
        }
        for part in [&plan.steps, &plan.finally] {
            self.problems.extend(graph::rings(part));
        }
    }

    fn step(&mut self, step: &mut Step, inputs: &[String]) {
        let mut nodes: Vec<&Node> = Vec::new();
        match &step.verb {
            Verb::Uses {
                kind,
                kind_place,
                with,
            } => {
                self.action_kind(kind, kind_place);
                if kind == "dns.switch" {
                    self.problems.extend(gate_problem(with, kind_place));
                }
                nodes.push(with);
            }
            Verb::Run(run) => nodes.extend([&run.host, &run.env]),
            Verb::Manual { question, .. } => nodes.push(question),
        }
        let mut references = Vec::new();
        for node in nodes {
            references.extend(self.references(node, inputs));
        }
        for check in &step.verify {
            self.check_kind(check, true);
            references.extend(self.references(&check.with, inputs));
        }
        self.step_references(&references, Some(&step.id));
        step.references = references;
    }

    /// The references of a tree, those to inputs and to nothing at all already judged.
    fn references(&mut self, node: &Node, inputs: &[String]) -> Vec<Reference> {
        let (references, problems) = template::references(node);
        self.problems.extend(problems);
        for reference in &references {
            let path: Vec<&str> = reference.path.iter().map(String::as_str).collect();
            let problem = |message: String| Problem::error("undefined", &reference.place, message);
            let found = match path.as_slice() {
                ["inputs", name] if inputs.iter().any(|input| input == name) => None,
                ["inputs", name, rest @ ..] => {
                    let known = inputs.iter().map(String::as_str);
                    Some(match nearest(name, known).filter(|right| right != name) {
                        Some(right) => problem(format!("there is no input `{name}`"))
                            .instead(format!("inputs.{right}")),
                        None if rest.is_empty() => problem(format!("there is no input `{name}`"))
                            .help(format!(
                                "declare it: inputs: {{ {name}: {{ type: string }} }}"
                            )),
                        None => problem(format!(
                            "`inputs.{name}` is a single value and has no fields"
                        )),
                    })
                }
                ["run", "id"] | ["hosts", _, _, ..] => None,
                ["run", ..] => {
                    Some(problem(format!("`{reference}` is not defined")).instead("run.id"))
                }
                ["hosts", ..] => Some(
                    problem(format!("`{reference}` names no field"))
                        .help("write it like `hosts.db-1.address`"),
                ),
                ["inputs"] => Some(
                    problem("`inputs` names no input".into()).help("write it like `inputs.point`"),
                ),
                // Steps are judged when all of them are known to the caller.
                ["steps", ..] => None,
                [first, rest @ ..] => {
                    let undefined = problem(format!("`{first}` is not defined"));
                    Some(match nearest(first, ROOTS) {
                        Some(right) => {
                            let path: Vec<&str> =
                                [right].into_iter().chain(rest.iter().copied()).collect();
                            undefined.instead(path.join("."))
                        }
                        None => {
                            undefined.help("a path begins with `steps`, `inputs`, `hosts` or `run`")
                        }
                    })
                }
                [] => None,
            };
            self.problems.extend(found);
        }
        references
    }

    fn step_references(&mut self, references: &[Reference], own: Option<&StepId>) {
        for reference in references
            .iter()
            .filter(|reference| reference.path[0] == "steps")
        {
            let Some(id) = reference.path.get(1) else {
                self.problems.push(
                    Problem::error("undefined", &reference.place, "`steps` names no step")
                        .help("write it like `steps.db.host`"),
                );
                continue;
            };
            if own.is_some_and(|own| own.as_str() == id) {
                self.problems.push(
                    Problem::error(
                        "ring",
                        &reference.place,
                        format!("`{id}` refers to its own output"),
                    )
                    .help("an output is there only when the step is done"),
                );
            } else if !self.ids.contains(id) {
                let problem = Problem::error(
                    "undefined",
                    &reference.place,
                    format!("there is no step `{id}`"),
                );
                let problem = match self.nearest_step(id) {
                    Some(right) => {
                        let mut path = reference.path.clone();
                        path[1] = right;
                        problem.instead(path.join("."))
                    }
                    None => problem,
                };
                self.problems.push(problem);
            } else if reference.path.len() == 2 {
                self.problems.push(
                    Problem::error(
                        "undefined",
                        &reference.place,
                        format!("`{reference}` names no field"),
                    )
                    .help(format!("write which output of it: `{reference}.FIELD`")),
                );
            }
        }
    }

    /// Judges the needs that were written and adds those that references imply. `finally` holds the ids that an
    /// ordinary step cannot wait for; a final step runs after all ordinary ones anyway, so its references imply nothing.
    fn needs(&mut self, step: &mut Step, finally: Option<&HashSet<String>>) {
        let written = std::mem::take(&mut step.needs);
        for need in written {
            if !self.ids.contains(need.step.as_str()) {
                self.unknown_step(need.step.as_str(), &need.place);
            } else if need.step == step.id {
                self.problems.push(Problem::error(
                    "ring",
                    &need.place,
                    format!("`{}` needs itself", step.id),
                ));
            } else if finally.is_some_and(|finally| finally.contains(need.step.as_str())) {
                self.problems.push(finally_needed(&need.step, &need.place));
            } else {
                step.needs.push(need);
            }
        }
        let Some(finally) = finally else { return };
        let mut known: HashMap<StepId, ()> = step
            .needs
            .iter()
            .map(|need| (need.step.clone(), ()))
            .collect();
        for reference in &step.references {
            let [root, id, ..] = reference.path.as_slice() else {
                continue;
            };
            if root != "steps" || id == step.id.as_str() || !self.ids.contains(id) {
                continue;
            }
            let Ok(id) = StepId::new(id) else { continue };
            if finally.contains(id.as_str()) {
                self.problems.push(finally_needed(&id, &reference.place));
                continue;
            }
            if known.insert(id.clone(), ()).is_none() {
                step.needs.push(Need {
                    step: id,
                    was: Was::Succeeded,
                    place: reference.place.clone(),
                    implied: true,
                });
            }
        }
    }

    pub fn unknown_step(&mut self, id: &str, place: &Place) {
        let problem = Problem::error("unknown-step", place, format!("there is no step `{id}`"));
        let problem = match self.nearest_step(id) {
            Some(right) => problem.instead(right),
            None => problem,
        };
        self.problems.push(problem);
    }

    fn nearest_step(&mut self, id: &str) -> Option<String> {
        self.suggestions = self.suggestions.checked_sub(1)?;
        nearest(&id.to_lowercase(), self.ids.iter().map(String::as_str)).map(str::to_string)
    }

    fn action_kind(&mut self, kind: &str, place: &Place) {
        // An empty one could not be read, which was shown.
        if kind.is_empty() || self.kinds.known.contains(&kind) {
            return;
        }
        if self.kinds.later.contains(&kind) {
            self.problems.push(later(kind, place));
            return;
        }
        let all = self.kinds.known.iter().chain(self.kinds.later).copied();
        let problem = Problem::error(
            "unknown-kind",
            place,
            format!("there is no action `{kind}`"),
        );
        self.problems.push(match nearest(kind, all) {
            Some(right) => problem.instead(right),
            None => problem.help("`dr-plan schema plan` shows all actions"),
        });
    }

    /// `verify` and `health` take every `check.*`; `verify` also what only a step can be asked.
    fn check_kind(&mut self, check: &Check, verify: bool) {
        let kind = check.kind.as_str();
        let is_check = |kind: &&str| kind.starts_with("check.");
        let extra: &[&str] = if verify { &VERIFY } else { &[] };
        if !matches!(check.with.kind, Kind::Map(_)) {
            self.problems.push(Problem::error(
                "wrong-type",
                &check.place,
                format!(
                    "`{kind}` takes a group of keys, found {}",
                    check.with.words()
                ),
            ));
        }
        if extra.contains(&kind)
            || self
                .kinds
                .known
                .iter()
                .filter(|kind| is_check(kind))
                .any(|known| *known == kind)
        {
            return;
        }
        if self
            .kinds
            .later
            .iter()
            .filter(|kind| is_check(kind))
            .any(|later| *later == kind)
        {
            self.problems.push(later(kind, &check.place));
            return;
        }
        let all = self
            .kinds
            .known
            .iter()
            .copied()
            .filter(|kind| is_check(kind));
        let problem = Problem::error(
            "unknown-kind",
            &check.place,
            format!("there is no check `{kind}`"),
        );
        self.problems
            .push(match nearest(kind, all.chain(extra.iter().copied())) {
                Some(right) => problem.instead(right),
                None if verify => problem.help(
                    "a step is verified by `sql`, `newest`, `rows`, `redis`, `keys`, `files`, `bytes`, `file`, `command` or a `check.*`",
                ),
                None => problem.help("health is a list of `check.*`"),
            });
    }
}

fn later(kind: &str, place: &Place) -> Problem {
    Problem::error(
        "not-yet",
        place,
        format!("`{kind}` is not carried out by this version yet"),
    )
}

fn finally_needed(id: &StepId, place: &Place) -> Problem {
    Problem::error(
        "ring",
        place,
        format!("`{id}` stands in `finally`: it runs when all other steps have ended"),
    )
}
