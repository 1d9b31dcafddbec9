//! Values given when a run starts, checked against their type.

use std::path::Path;

use serde_json::Value;

use super::draft::{InputKind, InputText};
use crate::problem::{Place, Problem};
use crate::units::Span;
use crate::yaml::Node;

/// An input of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Where the name was written.
    pub place: Place,
    /// What it may be.
    pub kind: InputKind,
    /// Taken when nothing is given.
    pub default: Option<Value>,
    /// What it means.
    pub help: Option<String>,
}

impl Input {
    pub(super) fn new(key: &Node, node: &Node, text: InputText) -> Result<Self, Problem> {
        let name = key.as_str().unwrap_or_default().to_string();
        if !is_name(&name) {
            return Err(Problem::error(
                "wrong-value",
                &key.place,
                format!("`{name}` is no name of an input"),
            )
            .help("write letters, digits, `-` and `_`"));
        }
        let default = match (&text.default, node.get("default")) {
            (Some(value), Some(written)) => Some(
                text.kind
                    .admit(value)
                    .map_err(|why| Problem::error("wrong-type", &written.place, why))?,
            ),
            _ => None,
        };
        Ok(Self {
            name,
            place: key.place.clone(),
            kind: text.kind,
            default,
            help: text.help,
        })
    }

    /// Reads what was typed behind `--input name=`. The error says what was expected.
    pub fn read(&self, text: &str) -> Result<Value, String> {
        let value = match self.kind {
            InputKind::Int => text.parse::<i64>().map(Value::from).map_err(drop),
            InputKind::Bool => text.parse::<bool>().map(Value::from).map_err(drop),
            _ => Ok(Value::from(text)),
        };
        let value = value.map_err(|()| self.kind.expected(&format!("`{text}`")))?;
        self.kind.admit(&value)
    }

    /// A value of the right type that stands for one which is not known yet.
    pub fn sample(&self) -> Value {
        match (&self.default, self.kind) {
            (Some(value), _) => value.clone(),
            (None, InputKind::Int) => 1.into(),
            (None, InputKind::Bool) => true.into(),
            (None, InputKind::Time) => "2026-01-01T00:00:00Z".into(),
            (None, InputKind::Duration) => "1m".into(),
            (None, InputKind::String) => format!("<{}>", self.name).into(),
        }
    }
}

impl InputKind {
    fn expected(self, found: &str) -> String {
        let wanted = match self {
            InputKind::String => "a text",
            InputKind::Int => "a whole number",
            InputKind::Bool => "`true` or `false`",
            InputKind::Time => "a time such as `2026-03-01T04:00:00Z`, or `latest`",
            InputKind::Duration => "a duration such as `15m`",
        };
        format!("expected {wanted}, found {found}")
    }

    fn admit(self, value: &Value) -> Result<Value, String> {
        let text = value.as_str();
        let fits = match self {
            InputKind::String => text.is_some(),
            InputKind::Int => value.is_i64() || value.is_u64(),
            InputKind::Bool => value.is_boolean(),
            InputKind::Time => {
                text.is_some_and(|text| text == "latest" || text.parse::<jiff::Timestamp>().is_ok())
            }
            InputKind::Duration => text.is_some_and(|text| Span::parse(text).is_ok()),
        };
        if fits {
            return Ok(value.clone());
        }
        let shown = match text {
            Some(text) => format!("`{text}`"),
            None => format!("`{value}`"),
        };
        Err(self.expected(&shown))
    }
}

/// A name that templates and the command line can hold.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// A path relative to the file that names it.
pub(super) fn beside(folder: &Path, path: &str) -> std::path::PathBuf {
    folder.join(path)
}
