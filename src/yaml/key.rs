//! Which keys a map may have: words, each once.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Kind, Node};
use crate::problem::{Place, Problem, Source};

/// Judges keys while a file is read.
pub(super) struct Admission<'a> {
    pub source: &'a Arc<Source>,
    pub problems: &'a mut Vec<Problem>,
    /// Set when what was read cannot stand for what was meant.
    pub hollow: &'a mut bool,
}

impl Admission<'_> {
    /// Checks a key as soon as it is read. `None` if it, and so its value, cannot be used.
    pub fn key(
        &mut self,
        entries: &[(Node, Node)],
        seen: &mut HashMap<String, usize>,
        node: Node,
    ) -> Option<Node> {
        let written = self
            .source
            .text
            .get(node.place.start..node.place.end)
            .unwrap_or_default();
        let name = match &node.kind {
            Kind::String(text) => text.clone(),
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => written.to_string(),
            Kind::Null if !written.is_empty() => written.to_string(),
            Kind::Null => {
                self.problems
                    .push(Problem::error("key", &node.place, "a value without a key"));
                return None;
            }
            Kind::Map(_) if self.is_template(&node.place) => {
                // The map around it stands for the text that was meant.
                *self.hollow = true;
                return None;
            }
            Kind::Seq(_) | Kind::Map(_) => {
                self.problems.push(
                Problem::error(
                    "key",
                    &node.place,
                    format!("a key is a word, not {}", node.words()),
                )
                .help(
                    "a text that begins with `{` or `[` needs quotes, a template too: \"{{...}}\"",
                ),
            );
                return None;
            }
        };
        if name == "<<" && written == "<<" {
            self.problems.push(
                Problem::error(
                    "merge-key",
                    &node.place,
                    "merge keys are not used in these files",
                )
                .help("write the keys themselves here"),
            );
            return None;
        }
        if let Some(first) = seen.get(&name) {
            let mut problem = Problem::error(
                "duplicate-key",
                &node.place,
                format!("`{name}` is there twice"),
            )
            .remark("again here");
            // The first one may still be waiting for its value only if it is this one, which it is not.
            if let Some((key, _)) = entries.get(*first) {
                problem = problem.also(&key.place, "first here");
            }
            self.problems.push(problem);
            return None;
        }
        seen.insert(name.clone(), entries.len());
        Some(Node {
            kind: Kind::String(name),
            place: node.place,
        })
    }

    /// `{{path}}` without quotes is a map in a map to YAML, and a template to everybody else.
    fn is_template(&mut self, inner: &Place) -> bool {
        let text = &self.source.text;
        let Some(outer) = text[..inner.start].strip_suffix('{').map(str::len) else {
            return false;
        };
        if !text[inner.start..].starts_with('{') {
            return false;
        }
        let Some(close) = text[inner.start..].find("}}") else {
            return false;
        };
        let place = Place {
            start: outer,
            end: inner.start + close + 2,
            source: self.source.clone(),
        };
        let written = text[place.start..place.end].to_string();
        let mut problem = Problem::error("unquoted-template", &place, "a template needs quotes")
            .instead(format!("\"{written}\""));
        problem.help = Some("to YAML this is a map in a map".into());
        self.problems.push(problem);
        true
    }
}
