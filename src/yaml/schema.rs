//! What a JSON Schema says, in the subset that schemars makes from types without `flatten`: `type`, `properties`,
//! `required`, `additionalProperties`, `patternProperties`, `enum`, `const`, `oneOf`/`anyOf` (externally tagged enums,
//! `Option`), `items`, `prefixItems`, `$ref`, `minimum`/`maximum`, `minItems`, and the formats `dr-duration` and
//! `dr-size`. One word of our own: `x-later` lists what the format names and this version does not carry out yet.
//!
//! One source of truth: the Rust type gives the schema that editors use, the check that people see, and the value.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::shape::Check;
use super::{Kind, Node};
use crate::problem::Problem;

/// Whether a text with `{{` in it may stand where something else is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Templates {
    /// It is checked as the text that it is.
    Refused,
    /// It passes: it will be checked again when it is filled in.
    Allowed,
}

/// The schema of a type, made once and used for many values.
#[derive(Debug, Clone)]
pub struct Schema(Value);

impl Schema {
    /// The schema of `T`.
    pub fn of<T: JsonSchema>() -> Self {
        Self(schemars::schema_for!(T).to_value())
    }

    /// A schema that was made elsewhere.
    pub fn from_json(schema: Value) -> Self {
        Self(schema)
    }

    /// As JSON Schema (draft 2020-12).
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Everything in which the value is not what the schema wants.
    pub fn check(&self, node: &Node, templates: Templates) -> Vec<Problem> {
        let mut check = Check {
            root: &self.0,
            templates,
            problems: Vec::new(),
        };
        check.value(node, &self.0, None);
        check.problems
    }

    /// Checks the value and decodes it. An error of the type's own decoding is a problem of the whole value.
    pub fn decode<T: DeserializeOwned>(&self, node: &Node) -> Result<T, Vec<Problem>> {
        let problems = self.check(node, Templates::Refused);
        if problems.is_empty() {
            // What was said of a number while the text was read is not said again.
            read(node).map_err(|problem| match node.holds_refused_number() {
                true => Vec::new(),
                false => vec![problem],
            })
        } else {
            Err(problems)
        }
    }
}

/// Checks a value against the schema of `T` and decodes it. The schema of a type is made once: making it costs more
/// than checking a hundred values.
pub fn decode<T: DeserializeOwned + JsonSchema + 'static>(node: &Node) -> Result<T, Vec<Problem>> {
    static MADE: LazyLock<RwLock<HashMap<TypeId, Arc<Schema>>>> = LazyLock::new(RwLock::default);
    let known = MADE
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&TypeId::of::<T>())
        .cloned();
    let schema = known.unwrap_or_else(|| {
        let schema = Arc::new(Schema::of::<T>());
        MADE.write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(TypeId::of::<T>())
            .or_insert(schema)
            .clone()
    });
    schema.decode(node)
}

fn read<T: DeserializeOwned>(node: &Node) -> Result<T, Problem> {
    serde_json::from_value(node.to_json())
        .map_err(|error| Problem::error("wrong-value", &node.place, error.to_string()))
}

/// The ways in which a value may be written where a schema offers several.
#[derive(Default)]
pub(super) struct Choices<'a> {
    /// Words that stand for themselves.
    pub words: Vec<&'a str>,
    /// `name: value`, one of them.
    pub tagged: Vec<(&'a str, &'a Value)>,
    /// Any other shape.
    pub others: Vec<&'a Value>,
    pub null: bool,
    pub later: Vec<&'a str>,
}

impl<'a> Choices<'a> {
    /// All that `schema`, a part of `root`, offers.
    pub fn of(root: &'a Value, schema: &'a Value) -> Self {
        let mut choices = Self::default();
        choices.collect(root, schema, 0);
        choices
    }

    fn collect(&mut self, root: &'a Value, schema: &'a Value, depth: usize) {
        let schema = resolve(root, schema);
        self.later.extend(strings(schema, "x-later"));
        for branches in ["oneOf", "anyOf"] {
            if let Some(branches) = schema.get(branches).and_then(Value::as_array)
                && depth < 8
            {
                for branch in branches {
                    self.collect(root, branch, depth + 1);
                }
                return;
            }
        }
        if let Some(word) = schema.get("const").and_then(Value::as_str) {
            self.words.push(word);
            return;
        }
        if schema.get("enum").is_some() {
            self.words.extend(strings(schema, "enum"));
            self.null |= types(schema).any(|name| name == "null");
            return;
        }
        if types(schema).eq(["null"]) {
            self.null = true;
            return;
        }
        self.null |= types(schema).any(|name| name == "null");
        // Only a branch is one of several; a struct with one required key is not an enum.
        if depth > 0
            && let Some((name, value)) = tag(schema)
        {
            self.tagged.push((name, value));
            return;
        }
        self.others.push(schema);
    }
}

/// Follows `$ref`.
pub(super) fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    // A chain of references longer than this could only be a ring.
    for _ in 0..16 {
        let Some(target) = schema.get("$ref").and_then(Value::as_str) else {
            break;
        };
        let Some(found) = target.strip_prefix('#').and_then(|path| root.pointer(path)) else {
            break;
        };
        schema = found;
    }
    schema
}

pub(super) fn strings<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    schema
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// The names in `type`, which is one name or a list of them.
pub(super) fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let one = schema.get("type").and_then(Value::as_str);
    one.into_iter().chain(strings(schema, "type"))
}

pub(super) fn accepts(schema: &Value, kind: &Kind) -> bool {
    let mut names = types(schema).peekable();
    if names.peek().is_none() {
        return true;
    }
    names.any(|name| {
        matches!(
            (name, kind),
            ("null", Kind::Null)
                | ("boolean", Kind::Bool(_))
                | ("integer", Kind::Int(_))
                | ("number", Kind::Int(_) | Kind::Float(_))
                | ("string", Kind::String(_))
                | ("array", Kind::Seq(_))
                | ("object", Kind::Map(_))
        )
    })
}

/// The one key of an externally tagged variant.
fn tag(schema: &Value) -> Option<(&str, &Value)> {
    let properties = schema.get("properties")?.as_object()?;
    if properties.len() != 1 || schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return None;
    }
    let (name, value) = properties.iter().next()?;
    strings(schema, "required")
        .eq([name.as_str()])
        .then_some((name.as_str(), value))
}
