//! Texts with `{{...}}` in them. Handlebars renders, in strict mode and without HTML escaping; but its strict mode
//! takes an undefined name inside `{{#if}}` for false, so every path is collected from the parsed template and
//! looked up by us first. What is left of the language: paths, `eq ne and or not`, `if`, `unless`, `else`.

use std::sync::LazyLock;

use handlebars::template::TemplateElement;
use handlebars::{Context, Handlebars, RenderContext, Renderable};
use serde_json::{Map, Value};

use crate::problem::{Place, Problem};
use crate::yaml::{Kind, Node};

mod scan;
mod scope;
mod walk;

use scope::{copy, look_up, words};
use walk::{Walk, offset};

static ENGINE: LazyLock<Handlebars<'static>> = LazyLock::new(|| {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    engine.register_escape_fn(handlebars::no_escape);
    engine
});

/// A path in a template, such as `steps.db.ipv4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its parts: `["steps", "db", "ipv4"]`.
    pub path: Vec<String>,
    /// Where it was written.
    pub place: Place,
    /// It is written out into the text, so it must have a value that a text can hold.
    shown: bool,
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path.join("."))
    }
}

/// A text that was found to be a sound template.
#[derive(Debug, Clone)]
pub struct Template {
    node: Node,
    references: Vec<Reference>,
    form: Form,
}

/// What the whole text is.
#[derive(Debug, Clone)]
enum Form {
    /// Exactly `{{path}}`: the value keeps its type, and no renderer is needed.
    Path,
    /// Exactly `{{eq a b}}`: true or false.
    Question(handlebars::Template),
    /// Anything else: a text.
    Text(handlebars::Template),
}

/// Whether a text holds a template (or an escaped `\{{`, which rendering turns into `{{`).
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

impl Template {
    /// Parses the text of a node. The problem's place is inside the text.
    pub fn parse(node: &Node) -> Result<Self, Problem> {
        let Some(text) = node.as_str() else {
            return Err(Problem::error(
                "template",
                &node.place,
                format!("expected a text, found {}", node.words()),
            ));
        };
        if let Some(path) = single_path(text) {
            let from = text.find(path).unwrap_or_default();
            return Ok(Self {
                node: node.clone(),
                references: vec![Reference {
                    path: path.split('.').map(str::to_string).collect(),
                    place: node.place_within(from, from + path.len()),
                    shown: true,
                }],
                form: Form::Path,
            });
        }
        scan::look_over(text).map_err(|refused| {
            let place = node.place_within(refused.from, refused.to);
            let problem = Problem::error("template", &place, refused.message);
            match refused.help {
                Some(help) => problem.help(help),
                None => problem,
            }
        })?;
        let compiled = handlebars::Template::compile(text).map_err(|error| {
            let from = error.pos().map_or(0, |(line, column)| offset(text, line, column));
            let open = text[..from].rfind("{{").unwrap_or(from);
            let end = text[open..].find("}}").map_or(text.len(), |end| open + end + 2);
            Problem::error("template", &node.place_within(open, end), "this template cannot be understood")
                .help("a template looks like {{steps.db.host}}, {{eq inputs.tier \"large\"}} or {{#if inputs.x}}...{{/if}}")
        })?;
        let mut walk = Walk {
            node,
            text,
            cursor: 0,
            references: Vec::new(),
        };
        walk.template(&compiled)?;
        let references = walk.references;
        let form = match compiled.elements.as_slice() {
            [TemplateElement::Expression(one)] if one.params.is_empty() => Form::Path,
            [TemplateElement::Expression(_)] => Form::Question(compiled),
            _ => Form::Text(compiled),
        };
        Ok(Self {
            node: node.clone(),
            references,
            form,
        })
    }

    /// Every path, in the order of the text, those inside conditions too.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Renders with the values of `scope`, an object. A text that is exactly one `{{path}}` gives that value with its
    /// type, one that is exactly one question gives true or false, anything else a text.
    pub fn render(&self, scope: &Value) -> Result<Value, Vec<Problem>> {
        let compiled = match (&self.form, self.references.first()) {
            (Form::Path, Some(path)) => {
                return look_up(scope, path)
                    .cloned()
                    .map_err(|problem| vec![problem]);
            }
            (Form::Path, None) => {
                let problem =
                    Problem::error("template", &self.node.place, "a template names a value");
                return Err(vec![problem]);
            }
            (Form::Question(compiled) | Form::Text(compiled), _) => compiled,
        };
        let mut problems = Vec::new();
        let mut small = Value::Object(Map::new());
        for reference in &self.references {
            match look_up(scope, reference) {
                Err(problem) => problems.push(problem),
                Ok(value) => {
                    if reference.shown && (value.is_null() || value.is_object() || value.is_array())
                    {
                        problems.push(Problem::error(
                            "template",
                            &reference.place,
                            format!(
                                "`{reference}` is {}: it cannot be written into a text",
                                words(value)
                            ),
                        ));
                    }
                    copy(&mut small, scope, &reference.path);
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let context = Context::from(small);
        let text = compiled
            .renders(&ENGINE, &context, &mut RenderContext::new(None))
            .map_err(|error| {
                vec![Problem::error(
                    "template",
                    &self.node.place,
                    error.reason().to_string(),
                )]
            })?;
        Ok(match (&self.form, text.as_str()) {
            (Form::Question(_), "true") => Value::Bool(true),
            (Form::Question(_), "false") => Value::Bool(false),
            _ => Value::String(text),
        })
    }
}

/// The path in a text that is nothing but `{{a.b}}`, by far the most common one.
fn single_path(text: &str) -> Option<&str> {
    let path = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let part = |part: &str| {
        part != "this"
            && part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    (path.contains('.') && path.split('.').all(part)).then_some(path)
}

/// Renders every template of a tree. What comes of a text keeps that text's place, so a wrong type found
/// afterwards still points at it.
pub fn fill(node: &Node, scope: &Value) -> Result<Node, Vec<Problem>> {
    let mut problems = Vec::new();
    let filled = fill_into(node, scope, &mut problems);
    if problems.is_empty() {
        Ok(filled)
    } else {
        Err(problems)
    }
}

fn fill_into(node: &Node, scope: &Value, problems: &mut Vec<Problem>) -> Node {
    let kind = match &node.kind {
        Kind::String(text) if is_template(text) => {
            let rendered = Template::parse(node)
                .map_err(|problem| vec![problem])
                .and_then(|template| template.render(scope));
            return match rendered {
                Ok(value) => Node::from_json(&value, &node.place),
                Err(found) => {
                    problems.extend(found);
                    node.clone()
                }
            };
        }
        Kind::Seq(items) => Kind::Seq(
            items
                .iter()
                .map(|item| fill_into(item, scope, problems))
                .collect(),
        ),
        Kind::Map(entries) => Kind::Map(
            entries
                .iter()
                .map(|(key, value)| {
                    problems.extend(template_in_key(key));
                    (key.clone(), fill_into(value, scope, problems))
                })
                .collect(),
        ),
        other => other.clone(),
    };
    Node {
        kind,
        place: node.place.clone(),
    }
}

/// Every reference of a tree, with what is wrong in its templates.
pub fn references(node: &Node) -> (Vec<Reference>, Vec<Problem>) {
    let mut found = (Vec::new(), Vec::new());
    collect(node, &mut found);
    found
}

fn collect(node: &Node, found: &mut (Vec<Reference>, Vec<Problem>)) {
    match &node.kind {
        Kind::String(text) if is_template(text) => match Template::parse(node) {
            Ok(template) => found.0.extend(template.references),
            Err(problem) => found.1.push(problem),
        },
        Kind::Seq(items) => items.iter().for_each(|item| collect(item, found)),
        Kind::Map(entries) => {
            for (key, value) in entries {
                found.1.extend(template_in_key(key));
                collect(value, found);
            }
        }
        _ => {}
    }
}

fn template_in_key(key: &Node) -> Option<Problem> {
    key.as_str()
        .filter(|text| is_template(text))
        .map(|_| Problem::error("template", &key.place, "a key cannot be a template"))
}

#[cfg(test)]
mod tests;
