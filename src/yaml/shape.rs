//! Checks a tree against a schema and shows everything that is wrong, each with the place and the nearest right word.

use serde_json::Value;

use super::schema::{Choices, Templates, accepts, resolve, strings};
use super::{Kind, Node};
use crate::problem::{Place, Problem, nearest};
use crate::units::{Size, Span};

/// One check of one value.
pub(super) struct Check<'a> {
    pub root: &'a Value,
    pub templates: Templates,
    pub problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    pub fn value(&mut self, node: &Node, schema: &'a Value, key: Option<&Node>) {
        let schema = resolve(self.root, schema);
        if schema.as_bool() == Some(true) || schema.as_object().is_some_and(|keys| keys.is_empty())
        {
            return;
        }
        if self.templates == Templates::Allowed
            && node.as_str().is_some_and(|text| text.contains("{{"))
        {
            return;
        }
        if node.is_refused_number() {
            return;
        }
        let choices = Choices::of(self.root, schema);
        if node.kind == Kind::Null && choices.null {
            // Written as nothing at all it is more likely forgotten than meant.
            if node.place.start == node.place.end
                && let Some(name) = key.and_then(Node::as_str)
            {
                self.problems.push(
                    Problem::error(
                        "no-value",
                        key.map_or(&node.place, |key| &key.place),
                        format!("`{name}` has no value"),
                    )
                    .help("write its value, or take the key out"),
                );
            }
            return;
        }
        match &node.kind {
            Kind::String(text) => self.text(node, text, &choices, key),
            Kind::Map(entries) => self.map(node, entries, &choices, key),
            _ => match choices
                .others
                .iter()
                .find(|other| accepts(other, &node.kind))
            {
                Some(other) if self.other_version(node, other, key) => {}
                Some(other) => self.plain(node, other),
                None => self.wrong_type(node, &choices, key),
            },
        }
    }

    /// The version of a format of which only one is known: that a number is out of range would not say what to do.
    fn other_version(&mut self, node: &Node, schema: &Value, key: Option<&Node>) -> bool {
        let (least, most) = (schema.get("minimum"), schema.get("maximum"));
        let (Kind::Int(found), Some(known)) = (&node.kind, most.and_then(Value::as_u64)) else {
            return false;
        };
        let only_one = least == most && key.and_then(Node::as_str) == Some("version");
        if !only_one || *found == i128::from(known) {
            return false;
        }
        let problem = Problem::error(
            "version",
            &node.place,
            format!("this dr-plan reads version {known} of the format, and this text says {found}"),
        );
        self.problems.push(match *found > i128::from(known) {
            true => problem.help(format!(
                "a text of a later version needs a later dr-plan (this is {}); if its words are those of version {known}, \
                 write `version: {known}`",
                env!("CARGO_PKG_VERSION")
            )),
            false => problem.instead(known.to_string()),
        });
        true
    }

    fn text(&mut self, node: &Node, text: &str, choices: &Choices<'a>, key: Option<&Node>) {
        if choices.words.contains(&text) {
            return;
        }
        if let Some(other) = choices
            .others
            .iter()
            .find(|other| accepts(other, &node.kind))
        {
            return self.plain(node, other);
        }
        if choices.later.contains(&text) {
            return self.problems.push(later(text, &node.place));
        }
        if choices.tagged.iter().any(|(name, _)| *name == text) {
            self.problems.push(
                Problem::error(
                    "wrong-type",
                    &node.place,
                    format!("`{text}` needs more than its name"),
                )
                .help(format!(
                    "write `{text}: ...` in a group of its own: {{ {text}: ... }}"
                )),
            );
            return;
        }
        if choices.words.is_empty() {
            return self.wrong_type(node, choices, key);
        }
        let problem = Problem::error(
            "unknown-word",
            &node.place,
            format!("`{text}` cannot stand here"),
        );
        self.problems.push(suggest(
            problem,
            text,
            &choices.words,
            "what can stand here",
        ));
    }

    fn map(
        &mut self,
        node: &Node,
        entries: &[(Node, Node)],
        choices: &Choices<'a>,
        key: Option<&Node>,
    ) {
        let other = choices
            .others
            .iter()
            .find(|other| accepts(other, &node.kind))
            .copied();
        if choices.tagged.is_empty() {
            return match other {
                Some(other) => self.object(node, entries, other, key),
                None => self.wrong_type(node, choices, key),
            };
        }
        let names: Vec<&str> = choices.tagged.iter().map(|(name, _)| *name).collect();
        let [(name, value)] = entries else {
            if let Some(other) = other {
                return self.object(node, entries, other, key);
            }
            let place = entries.get(1).map_or_else(
                || key.map_or(&node.place, |key| &key.place),
                |(second, _)| &second.place,
            );
            let found = if entries.is_empty() {
                "nothing"
            } else {
                "more than one"
            };
            self.problems.push(Problem::error(
                "one-of",
                place,
                format!(
                    "exactly one of {} is wanted here, found {found}",
                    list(&names)
                ),
            ));
            return;
        };
        let word = name.as_str().unwrap_or_default();
        match choices.tagged.iter().find(|(tag, _)| *tag == word) {
            Some((_, schema)) => self.value(value, schema, Some(name)),
            None if other.is_some() => {
                let other = other.expect("the guard has looked");
                self.object(node, entries, other, key);
            }
            None if choices.later.contains(&word) => self.problems.push(later(word, &name.place)),
            None => {
                let problem = Problem::error(
                    "unknown-key",
                    &name.place,
                    format!("`{word}` is not known here"),
                );
                self.problems
                    .push(suggest(problem, word, &names, "known here"));
            }
        }
    }

    /// A value of the right type for a schema without branches.
    fn plain(&mut self, node: &Node, schema: &'a Value) {
        match &node.kind {
            Kind::Seq(items) => {
                let first: Vec<&Value> = schema
                    .get("prefixItems")
                    .and_then(Value::as_array)
                    .map(|items| items.iter().collect())
                    .unwrap_or_default();
                for (at, item) in items.iter().enumerate() {
                    if let Some(schema) = first.get(at).copied().or_else(|| schema.get("items")) {
                        self.value(item, schema, None);
                    }
                }
                let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
                if (items.len() as u64) < least {
                    self.problems.push(Problem::error(
                        "short-list",
                        &node.place,
                        format!(
                            "at least {least} must be listed here, found {}",
                            items.len()
                        ),
                    ));
                }
            }
            Kind::Int(_) | Kind::Float(_) => {
                let value = match node.kind {
                    Kind::Int(value) => value as f64,
                    Kind::Float(value) => value,
                    _ => return,
                };
                let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
                if bound("minimum").is_some_and(|least| value < least) {
                    self.out_of_range(node, "at least", schema.get("minimum"));
                } else if bound("maximum").is_some_and(|most| value > most) {
                    self.out_of_range(node, "at most", schema.get("maximum"));
                }
            }
            Kind::String(text) => {
                let wrong = match schema.get("format").and_then(Value::as_str) {
                    Some("dr-duration") => Span::parse(text).err(),
                    Some("dr-size") => Size::parse(text).err(),
                    _ => None,
                };
                if let Some(error) = wrong {
                    self.problems.push(Problem::error(
                        "wrong-value",
                        &node.place,
                        error.to_string(),
                    ));
                }
            }
            _ => {}
        }
    }

    fn out_of_range(&mut self, node: &Node, words: &str, bound: Option<&Value>) {
        let bound = bound.map(Value::to_string).unwrap_or_default();
        self.problems.push(Problem::error(
            "out-of-range",
            &node.place,
            format!("this number must be {words} {bound}"),
        ));
    }

    fn object(
        &mut self,
        node: &Node,
        entries: &[(Node, Node)],
        schema: &'a Value,
        key: Option<&Node>,
    ) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties");
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let coming: Vec<&str> = strings(schema, "x-later").collect();
        // A wrongly spelt key is one mistake, not also a missing one.
        let mut meant: Vec<&str> = Vec::new();
        for (name, value) in entries {
            let word = name.as_str().unwrap_or_default();
            if let Some(schema) = properties.and_then(|properties| properties.get(word)) {
                self.value(value, schema, Some(name));
            } else if coming.contains(&word) {
                self.problems.push(later(word, &name.place));
            } else if let Some(schema) = patterns.and_then(|patterns| patterns.values().next()) {
                self.value(value, schema, Some(name));
            } else {
                match rest {
                    Some(Value::Bool(false)) => {
                        let known: Vec<&str> = properties
                            .map(|properties| properties.keys().map(String::as_str).collect())
                            .unwrap_or_default();
                        meant.extend(nearest(word, known.iter().copied()));
                        let problem = Problem::error(
                            "unknown-key",
                            &name.place,
                            format!("`{word}` is not a key that can stand here"),
                        );
                        self.problems
                            .push(suggest(problem, word, &known, "the keys here"));
                    }
                    None | Some(Value::Bool(true)) => {}
                    Some(schema) => self.value(value, schema, Some(name)),
                }
            }
        }
        for wanted in strings(schema, "required") {
            if node.get(wanted).is_some() || meant.contains(&wanted) {
                continue;
            }
            let start = Place {
                end: node.place.start,
                ..node.place.clone()
            };
            let place = key.map_or(&start, |key| &key.place);
            let message = match key.and_then(Node::as_str) {
                Some(owner) => format!("`{owner}` needs the key `{wanted}`"),
                None => format!("the key `{wanted}` is missing"),
            };
            let mut problem = Problem::error("missing-key", place, message);
            let about = properties
                .and_then(|properties| properties.get(wanted))
                .and_then(|schema| schema.get("description"))
                .and_then(Value::as_str);
            if let Some(about) = about {
                problem = problem.help(format!("`{wanted}`: {}", about.replace('\n', " ")));
            }
            self.problems.push(problem);
        }
    }
}

fn later(word: &str, place: &Place) -> Problem {
    Problem::error(
        "not-yet",
        place,
        format!("`{word}` is not carried out by this version yet"),
    )
}

fn suggest(problem: Problem, word: &str, known: &[&str], title: &str) -> Problem {
    match nearest(word, known.iter().copied()) {
        Some(right) => problem.instead(right),
        None if known.is_empty() => problem,
        None => problem.help(format!("{title}: {}", list(known))),
    }
}

pub(super) fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
