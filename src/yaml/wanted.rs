//! What a schema wants, in words, and how a value of the wrong type is mended.

use serde_json::Value;

use super::schema::{Choices, accepts, resolve, types};
use super::shape::{Check, list};
use super::{Kind, Node};
use crate::problem::Problem;

impl<'a> Check<'a> {
    pub(super) fn wrong_type(&mut self, node: &Node, choices: &Choices<'a>, key: Option<&Node>) {
        let wanted = self.wanted(choices);
        let place = match &node.kind {
            // A group or an empty value is shown by its key: it has no single line of its own.
            Kind::Map(_) | Kind::Seq(_) | Kind::Null => key.map_or(&node.place, |key| &key.place),
            _ => &node.place,
        };
        let mut problem = Problem::error(
            "wrong-type",
            place,
            format!("expected {wanted}, found {}", node.words()),
        );
        let source = &node.place.source.text;
        let written = source
            .get(node.place.start..node.place.end)
            .unwrap_or_default();
        let accepts_kind = |kind: &Kind| choices.others.iter().any(|other| accepts(other, kind));
        match &node.kind {
            Kind::Int(_) | Kind::Float(_) | Kind::Bool(_)
                if accepts_kind(&Kind::String(String::new())) =>
            {
                let duration = choices
                    .others
                    .iter()
                    .any(|other| other["format"] == "dr-duration");
                if duration {
                    problem = problem.help(format!(
                        "write its unit: `{written}s`, `{written}m` or `{written}h`"
                    ));
                } else {
                    problem = problem.instead(format!("\"{written}\""));
                    problem.help =
                        Some("a text that looks like something else goes into quotes".into());
                }
            }
            Kind::String(text) => {
                let unquoted = super::scalar::resolve(text).ok();
                if unquoted.is_some_and(|kind| {
                    !matches!(kind, Kind::String(_) | Kind::Null) && accepts_kind(&kind)
                }) {
                    problem = problem.instead(text.clone());
                    problem.help = Some("without quotes it is one".into());
                } else if accepts_kind(&Kind::Seq(Vec::new()))
                    && !text.is_empty()
                    && !text.contains('\n')
                {
                    problem = problem.instead(format!("[{written}]"));
                    problem.help = Some("a list of one is written in brackets".into());
                } else if accepts_kind(&Kind::Bool(true)) {
                    let right = match text.to_ascii_lowercase().as_str() {
                        "yes" | "on" | "y" | "true" => Some("true"),
                        "no" | "off" | "n" | "false" => Some("false"),
                        _ => None,
                    };
                    if let Some(right) = right {
                        problem = problem.instead(right);
                    }
                }
            }
            _ => {}
        }
        self.problems.push(problem);
    }

    fn wanted(&self, choices: &Choices<'a>) -> String {
        let mut words: Vec<String> = Vec::new();
        if !choices.words.is_empty() {
            let prefix = if choices.words.len() == 1 {
                ""
            } else {
                "one of "
            };
            words.push(format!("{prefix}{}", list(&choices.words)));
        }
        if !choices.tagged.is_empty() {
            let names: Vec<&str> = choices.tagged.iter().map(|(name, _)| *name).collect();
            let prefix = if names.len() == 1 {
                "a group with"
            } else {
                "a group with one of"
            };
            words.push(format!("{prefix} {}", list(&names)));
        }
        words.extend(
            choices
                .others
                .iter()
                .map(|other| self.type_words(other, false)),
        );
        words.dedup();
        words.join(" or ")
    }

    fn type_words(&self, schema: &'a Value, many: bool) -> String {
        let word = |one: &str, several: &str| if many { several } else { one }.to_string();
        match types(schema).find(|name| *name != "null") {
            Some("string") => match schema.get("format").and_then(Value::as_str) {
                Some("dr-duration") => word("a duration such as `15m`", "durations"),
                Some("dr-size") => word("a size such as `4GiB`", "sizes"),
                _ => word("a text", "texts"),
            },
            Some("integer") => word("a whole number", "whole numbers"),
            Some("number") => word("a number", "numbers"),
            Some("boolean") => word("`true` or `false`", "`true` or `false`"),
            Some("array") => {
                let inner = schema.get("items").map(|items| resolve(self.root, items));
                match inner {
                    Some(inner) if types(inner).next().is_some() && !many => {
                        format!("a list of {}", self.type_words(inner, true))
                    }
                    _ => word("a list", "lists"),
                }
            }
            Some("object") => word("a group of keys", "groups of keys"),
            _ => word("a value", "values"),
        }
    }
}
