//! Looks paths up in the values of a run, and says what is there when one leads nowhere.

use serde_json::{Map, Value};

use super::Reference;
use crate::problem::{Problem, nearest};
use crate::secret::MASKED;

fn step<'a>(value: &'a Value, part: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(part),
        Value::Array(items) => part.parse::<usize>().ok().and_then(|at| items.get(at)),
        _ => None,
    }
}

pub(super) fn look_up<'a>(scope: &'a Value, reference: &Reference) -> Result<&'a Value, Problem> {
    let mut value = scope;
    for (depth, part) in reference.path.iter().enumerate() {
        value = match step(value, part) {
            Some(next) => next,
            None => return Err(undefined(value, reference, depth)),
        };
    }
    match value {
        Value::String(text) if text.contains(MASKED) => Err(masked(reference)),
        _ => Ok(value),
    }
}

/// A step's answer in which a secret stood: what is left of it must not go on to a host as if it were the value.
fn masked(reference: &Reference) -> Problem {
    let words = format!(
        "a secret stood in `{}`, and no run keeps one",
        reference.path.join(".")
    );
    Problem::error("masked", &reference.place, words)
        .help("ask for it where it is needed, with a script or a secret file on the host; or take the secret out of the answer")
}

fn undefined(parent: &Value, reference: &Reference, depth: usize) -> Problem {
    let part = &reference.path[depth];
    let message = match depth {
        0 => format!("`{part}` is not defined"),
        _ => format!("`{}` has no `{part}`", reference.path[..depth].join(".")),
    };
    let problem = Problem::error("undefined", &reference.place, message);
    let known: Vec<&str> = match parent {
        Value::Object(fields) => fields.keys().map(String::as_str).collect(),
        _ => return problem.help(format!("it is {}", words(parent))),
    };
    // Of a short word nearly every other is near; and `ip` is the beginning of `ipv4`, not a slip for `id`.
    let doubtful = part.chars().count() < 4 || known.iter().any(|name| name.starts_with(part));
    match nearest(part, known.iter().copied()).filter(|_| !doubtful) {
        Some(right) => {
            let mut path = reference.path.clone();
            path[depth] = right.to_string();
            problem.instead(path.join("."))
        }
        None if known.is_empty() => problem,
        None => {
            let some: Vec<String> = known
                .iter()
                .take(12)
                .map(|name| format!("`{name}`"))
                .collect();
            let rest = known.len().saturating_sub(some.len());
            let rest = if rest > 0 {
                format!(" and {rest} more")
            } else {
                String::new()
            };
            problem.help(format!("there is {}{rest}", some.join(", ")))
        }
    }
}

/// Puts the value of one path into a small scope: rendering then costs what the template uses, not what the run holds.
pub(super) fn copy(small: &mut Value, scope: &Value, path: &[String]) {
    let Some((part, rest)) = path.split_first() else {
        *small = scope.clone();
        return;
    };
    match (scope, &mut *small) {
        (Value::Object(source), Value::Object(target)) => {
            let Some(next) = source.get(part) else { return };
            let held = target
                .entry(part.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            copy(held, next, rest);
        }
        // Lists are copied whole.
        _ => *small = scope.clone(),
    }
}

pub(super) fn words(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a yes-or-no value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a group of values",
    }
}
