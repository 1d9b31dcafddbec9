//! The three ways to write a step (`uses`, `run`, `manual`) become one: a kind and its arguments.

use crate::action::kind_names;
use crate::plan::{Step, Verb};
use crate::problem::{Problem, nearest};
use crate::yaml::{Kind, Node};

/// The step's action kind.
pub(super) fn kind(step: &Step) -> &str {
    match &step.verb {
        Verb::Uses { kind, .. } => kind,
        Verb::Run(_) => "host.run",
        Verb::Manual { .. } => "approve",
    }
}

/// The problem of a kind that does not exist.
pub(super) fn unknown_kind(step: &Step) -> Problem {
    let place = match &step.verb {
        Verb::Uses { kind_place, .. } => kind_place,
        _ => &step.place,
    };
    let kind = kind(step);
    let problem = Problem::error(
        "unknown-kind",
        place,
        format!("there is no action `{kind}`"),
    );
    match nearest(kind, kind_names()) {
        Some(near) => problem.instead(near),
        None => problem.help("`dr-plan explain --kinds` lists them"),
    }
}

/// The arguments, each with the place where it was written.
pub(super) fn node(step: &Step) -> Node {
    match &step.verb {
        Verb::Uses { with, .. } => with.clone(),
        Verb::Run(run) => {
            let mut fields = vec![
                ("host", run.host.clone()),
                ("run", run.script.clone()),
                ("env", run.env.clone()),
            ];
            let plain = |value: serde_json::Value| Node::from_json(&value, &step.place);
            if let Some(user) = &run.run_as {
                fields.push(("as", plain(user.clone().into())));
            }
            if let Some(unless) = &run.unless {
                fields.push(("unless", unless.clone()));
            }
            if run.repeatable {
                fields.push(("repeatable", plain(true.into())));
            }
            if let Ok(secrets) = serde_json::to_value(&run.secrets) {
                fields.push(("secrets", plain(secrets)));
            }
            map(step, fields)
        }
        Verb::Manual { question, approval } => {
            let plain = |value: serde_json::Value| Node::from_json(&value, &step.place);
            let mut fields = vec![
                ("message", question.clone()),
                ("by", plain(approval.by.clone().into())),
            ];
            if let Some(timeout) = approval.timeout {
                fields.push(("timeout", plain(timeout.to_string().into())));
            }
            map(step, fields)
        }
    }
}

fn map(step: &Step, fields: Vec<(&str, Node)>) -> Node {
    let entries = fields
        .into_iter()
        .map(|(key, value)| {
            (
                Node {
                    kind: Kind::String(key.to_string()),
                    place: value.place.clone(),
                },
                value,
            )
        })
        .collect();
    Node {
        kind: Kind::Map(entries),
        place: step.place.clone(),
    }
}
