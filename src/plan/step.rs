//! One step, from its keys to what it does.

use super::draft::{StepText, Was};
use super::load::Draft;
use super::{Approval, Need, Retry, Run, Step, Verb};
use crate::ids::StepId;
use crate::problem::{Place, Problem};
use crate::template::is_template;
use crate::units::Span;
use crate::yaml::Node;

/// The three ways to say what a step does, with the keys that belong to each.
const VERBS: [(&str, &[&str]); 3] = [
    ("uses", &["with"]),
    (
        "run",
        &["host", "as", "unless", "repeatable", "env", "secrets"],
    ),
    ("manual", &["approval"]),
];

/// Reads a step whose shape has been checked. `None`: its problems are noted.
pub(super) fn read(draft: &mut Draft<'_>, key: &Node, node: &Node) -> Option<Step> {
    let name = key.as_str().unwrap_or_default();
    let id = match StepId::new(name) {
        Ok(id) => Some(id),
        Err(error) => {
            let problem = Problem::error(
                "wrong-id",
                &key.place,
                format!("`{name}` cannot be the name of a step"),
            )
            .help(error.to_string());
            let lower = name.to_lowercase();
            draft.problems.push(match StepId::new(&lower) {
                Ok(_) => problem.instead(lower),
                Err(_) => problem,
            });
            None
        }
    };
    let text = text_of(draft, node);
    let verb = verb_of(draft, key, node);
    let (id, verb) = (id?, verb?);
    let verb = match verb {
        "uses" => Verb::Uses {
            kind: text.uses.unwrap_or_default(),
            kind_place: node
                .get("uses")
                .map_or(&node.place, |kind| &kind.place)
                .clone(),
            with: node
                .get("with")
                .cloned()
                .unwrap_or_else(|| Node::empty_map(node.key_place("uses"))),
        },
        "run" => Verb::Run(Box::new(run(
            draft,
            key,
            node,
            text.run_as,
            text.repeatable,
            text.secrets,
        )?)),
        _ => {
            let approval = text.approval;
            if let Some(written) = node.get("approval") {
                let timeout = approval.as_ref().and_then(|approval| approval.timeout);
                no_time(draft, written, "timeout", timeout);
            }
            if let Some(minimum) = approval.as_ref().and_then(|approval| approval.minimum)
                && minimum != 1
                && let Some(written) = node
                    .get("approval")
                    .and_then(|approval| approval.get("minimum"))
            {
                draft.problems.push(Problem::error(
                    "not-yet",
                    &written.place,
                    "a `minimum` other than 1 is not carried out by this version yet",
                ));
            }
            Verb::Manual {
                question: node.get("manual")?.clone(),
                approval: approval
                    .map(|approval| Approval {
                        by: approval.by,
                        timeout: approval.timeout,
                    })
                    .unwrap_or_default(),
            }
        }
    };
    no_time(draft, node, "timeout", text.timeout);
    Some(Step {
        id,
        place: key.place.clone(),
        keys: node
            .entries()
            .iter()
            .filter_map(|(key, _)| Some((key.as_str()?.to_string(), key.place.clone())))
            .collect(),
        verb,
        needs: node
            .get("needs")
            .map(|needs| read_needs(draft, needs))
            .unwrap_or_default(),
        references: Vec::new(),
        modes: text.modes,
        enabled: text.enabled.unwrap_or(true),
        timeout: text.timeout,
        expect: text.expect,
        retry: text.retry.map(|retry| Retry {
            attempts: retry.attempts,
            within: retry.within,
            backoff: retry.backoff,
            on: retry.on,
        }),
        on_failure: text.on_failure,
        critical: text.critical.unwrap_or(true),
        if_source_lost: text.if_source_lost,
        verify: node
            .get("verify")
            .map(|list| draft.checks(list))
            .unwrap_or_default(),
        phase: text.phase,
        owner: text.owner,
        notes: text.notes,
        runbook_url: text.runbook_url,
    })
}

/// A limit of no time at all is a slip of the pen: nothing could ever be done within it.
fn no_time(draft: &mut Draft<'_>, node: &Node, key: &str, written: Option<Span>) {
    if written.is_some_and(|span| span.0.is_zero()) {
        let words = format!("nothing can be done within a `{key}` of 0s");
        let problem = Problem::error("no-time", node.place_of(key), words);
        draft
            .problems
            .push(problem.help("leave it away for the usual time"));
    }
}

/// The keys of the step. Those that cannot be read have been shown; the others are still looked at.
fn text_of(draft: &mut Draft<'_>, node: &Node) -> StepText {
    if let Some(text) = draft.typed(node) {
        return text;
    }
    let readable = node.entries().iter().filter_map(|(key, value)| {
        let one = serde_json::Map::from_iter([(key.as_str()?.to_string(), value.to_json())]);
        serde_json::from_value::<StepText>(one.clone().into())
            .is_ok()
            .then_some(one)
    });
    let readable = serde_json::Map::from_iter(readable.flatten());
    serde_json::from_value(readable.into()).unwrap_or_default()
}

/// Which of the three the step is; keys of another one are problems.
fn verb_of(draft: &mut Draft<'_>, key: &Node, node: &Node) -> Option<&'static str> {
    let written: Vec<&'static str> = VERBS
        .iter()
        .map(|(verb, _)| *verb)
        .filter(|verb| node.get(verb).is_some())
        .collect();
    let verb = match written.as_slice() {
        [verb] => *verb,
        [] => {
            // A step of a later form (`plan:`) has been told so already.
            if node.get("plan").is_none() && node.is_map() {
                let id = key.as_str().unwrap_or_default();
                draft.problems.push(
                    Problem::error("no-verb", &key.place, format!("`{id}` does not say what it does"))
                        .help("a step has `uses` (a built-in action), `run` with `host` (a script), or `manual` (a question)"),
                );
            }
            return None;
        }
        [first, second, ..] => {
            draft.problems.push(
                Problem::error(
                    "two-verbs",
                    node.key_place(second),
                    format!("a step has `{first}` or `{second}`, not both"),
                )
                .also(node.key_place(first), "one of the two")
                .help("make two steps of it: one `needs` the other"),
            );
            return None;
        }
    };
    for (owner, keys) in VERBS.iter().filter(|(owner, _)| *owner != verb) {
        for key in keys.iter() {
            if let Some((place, _)) = node.entry(key) {
                draft.problems.push(Problem::error(
                    "misplaced-key",
                    &place.place,
                    format!("`{key}` belongs to `{owner}`, and this step has `{verb}`"),
                ));
            }
        }
    }
    Some(verb)
}

fn run(
    draft: &mut Draft<'_>,
    key: &Node,
    node: &Node,
    run_as: Option<String>,
    repeatable: bool,
    secrets: std::collections::BTreeMap<String, crate::secret::SecretRef>,
) -> Option<Run> {
    let script = node.get("run")?.clone();
    let unless = node.get("unless").cloned();
    for script in [Some(&script), unless.as_ref()].into_iter().flatten() {
        if let Some(problem) = template_in_script(script) {
            draft.problems.push(problem);
        }
    }
    let known_done = unless.is_some() || repeatable || node.get("verify").is_some();
    if !known_done {
        draft.problems.push(
            Problem::error("not-verified", node.key_place("run"), "nothing says how this script is known to be done")
                .also(&key.place, "this step")
                .help(
                    "add `unless:` (a script that ends with 0 if there is nothing to do), `verify:` (what to look at), \
                     or `repeatable: true` (it may run any number of times)",
                ),
        );
    }
    for part in ["env", "secrets"] {
        for (name, value) in node.get(part).map(Node::entries).unwrap_or_default() {
            draft.variable(name);
            if part == "env" && (!value.items().is_empty() || value.is_map()) {
                draft.problems.push(Problem::error(
                    "wrong-type",
                    &name.place,
                    format!("a variable is one value, found {}", value.words()),
                ));
            }
        }
    }
    let Some(host) = node.get("host").cloned() else {
        draft.problems.push(
            Problem::error(
                "missing-key",
                node.key_place("run"),
                "`run` needs the key `host`",
            )
            .help("`host`: a host of the inventory, or \"{{steps.ID.host}}\""),
        );
        return None;
    };
    Some(Run {
        script,
        host,
        run_as,
        unless,
        repeatable,
        env: node
            .get("env")
            .cloned()
            .unwrap_or_else(|| Node::empty_map(node.key_place("run"))),
        secrets: secrets
            .into_iter()
            .map(|(name, secret)| (name, secret.beside(draft.folder)))
            .collect(),
    })
}

/// Text of a person never becomes part of a shell command by substitution.
pub fn template_in_script(script: &Node) -> Option<Problem> {
    let text = script.as_str().filter(|text| is_template(text))?;
    let from = text.find("{{")?;
    let to = text[from..]
        .find("}}")
        .map_or(from + 2, |end| from + end + 2);
    let inside = text[from..to].trim_matches(|c| c == '{' || c == '}').trim();
    let name = inside
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 40;
    let name = if fits { name } else { "VALUE".to_string() };
    let problem = Problem::error(
        "template-in-script",
        &script.place_within(from, to),
        "a script holds no templates",
    )
    .remark("this would become part of a shell command");
    if !fits {
        return Some(problem.help(
            "give the value as `env: { VALUE: \"{{...}}\" }` and write \"$DR_VALUE\" here; a literal `{{` can come from `env` too",
        ));
    }
    let mut problem = problem.instead(format!("\"$DR_{name}\""));
    problem.help = Some(format!(
        "give the step `env: {{ {name}: \"{{{{{inside}}}}}\" }}` and use its variable here"
    ));
    Some(problem)
}

fn read_needs(draft: &mut Draft<'_>, list: &Node) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for item in list.items() {
        let (step, was) = match item.as_str() {
            Some(_) => (Some(item), Was::default()),
            None => {
                let was = item
                    .get("was")
                    .and_then(|was| draft.typed(was))
                    .unwrap_or_default();
                (item.get("step"), was)
            }
        };
        let Some((text, place)) = step.and_then(|node| Some((node.as_str()?, &node.place))) else {
            continue;
        };
        match StepId::new(text) {
            Ok(id) => add_need(draft, &mut needs, id, was, place),
            // Grammar or not: it is the name of no step, and the nearest one is known only at the end.
            Err(_) => draft.strangers.push((text.to_string(), place.clone())),
        }
    }
    needs
}

fn add_need(draft: &mut Draft<'_>, needs: &mut Vec<Need>, step: StepId, was: Was, place: &Place) {
    if let Some(first) = needs.iter().find(|need| need.step == step) {
        draft.problems.push(
            Problem::error("duplicate-need", place, format!("`{step}` is needed twice"))
                .also(&first.place, "first here"),
        );
        return;
    }
    needs.push(Need {
        step,
        was,
        place: place.clone(),
        implied: false,
    });
}
