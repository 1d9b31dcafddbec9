//! What people write, as a tree in which every value knows its place. Decoding, checking and filling in all
//! work on this tree, so that a problem found late (a wrong answer of step 14) still points at its line.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::problem::{Place, Problem, Source};

mod key;
mod parse;
mod scalar;
mod schema;
mod shape;
mod wanted;

pub use parse::parse;
pub use schema::{Schema, Templates, decode};

/// Larger files are refused before they are parsed.
pub const MOST_BYTES: usize = 4 << 20;
/// Deeper nests are refused: nothing in the three formats needs a third of it.
pub const MOST_DEPTH: usize = 64;
/// More values than this are refused: a plan of ten thousand steps has a quarter of it.
pub const MOST_NODES: usize = 1_000_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub kind: Kind,
    /// Where it was written. A quoted text's place holds its quotes; that of a block text (`|`, `>`) begins with
    /// its first line below the header, so that its line n is file line `place.line + n - 1`.
    pub place: Place,
}

/// What a value is: the YAML 1.2 core schema with strict booleans.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// `null`, `~` or nothing at all (then the place is empty).
    Null,
    /// `true` or `false`; `yes`, `on` and `True` are texts.
    Bool(bool),
    /// A whole number from `i64::MIN` to `u64::MAX`. Digits behind a leading zero (`0644`) are a text: YAML 1.1
    /// reads them as octal, YAML 1.2 as decimal, and a person means the text.
    Int(i128),
    /// Any other finite number.
    Float(f64),
    /// A text.
    String(String),
    /// A list.
    Seq(Vec<Node>),
    /// Keys and values as they were written. Keys are always `String`, each there once.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// A value of another origin (an output, a default) that stands for what was written at `place`.
    pub fn from_json(value: &Value, place: &Place) -> Self {
        let node = |value: &Value| Self::from_json(value, place);
        let kind = match value {
            Value::Null => Kind::Null,
            Value::Bool(value) => Kind::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Kind::Int(value.into()),
                (None, Some(value)) => Kind::Int(value.into()),
                (None, None) => Kind::Float(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => Kind::String(text.clone()),
            Value::Array(items) => Kind::Seq(items.iter().map(node).collect()),
            Value::Object(fields) => Kind::Map(
                fields
                    .iter()
                    .map(|(key, value)| {
                        let key = Self {
                            kind: Kind::String(key.clone()),
                            place: place.clone(),
                        };
                        (key, node(value))
                    })
                    .collect(),
            ),
        };
        Self {
            kind,
            place: place.clone(),
        }
    }

    /// An empty map that stands for one which was not written.
    pub fn empty_map(place: &Place) -> Self {
        Self {
            kind: Kind::Map(Vec::new()),
            place: place.clone(),
        }
    }

    /// The value of a key of this map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A key of this map with its value.
    pub fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        self.entries()
            .iter()
            .find(|(name, _)| name.as_str() == Some(key))
    }

    /// The place of the value at a key; of the whole when it is not there.
    pub fn place_of(&self, key: &str) -> &Place {
        self.get(key).map_or(&self.place, |value| &value.place)
    }

    /// Where a key stands; where this node stands if it has no such key.
    pub fn key_place(&self, key: &str) -> &Place {
        self.entry(key).map_or(&self.place, |(key, _)| &key.place)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[(Node, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether it is a map, even an empty one.
    pub fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map(_))
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Seq(items) => items,
            _ => &[],
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value without its places.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                // The parser refuses such numbers, so only code could have made one.
                _ => Value::String(value.to_string()),
            },
            Kind::Float(value) => (*value).into(),
            Kind::String(text) => Value::String(text.clone()),
            Kind::Seq(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| {
                        (
                            key.as_str().unwrap_or_default().to_string(),
                            value.to_json(),
                        )
                    })
                    .collect(),
            ),
        }
    }

    /// A number that nobody can keep (`99999999999999999999`): told while the text was read, and left as a text.
    pub(super) fn is_refused_number(&self) -> bool {
        let written = self.place.source.text.get(self.place.start..self.place.end);
        match &self.kind {
            Kind::String(text) => written == Some(text) && scalar::resolve(text).is_err(),
            _ => false,
        }
    }

    fn holds_refused_number(&self) -> bool {
        match &self.kind {
            Kind::Seq(items) => items.iter().any(Node::holds_refused_number),
            Kind::Map(entries) => entries
                .iter()
                .any(|(_, value)| value.holds_refused_number()),
            _ => self.is_refused_number(),
        }
    }

    /// What it is, in the words of a message.
    pub fn words(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a yes-or-no value",
            Kind::Int(_) => "a whole number",
            Kind::Float(_) => "a number",
            Kind::String(_) => "a text",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a group of keys",
        }
    }

    /// Where the bytes `from..to` of this text were written. When escapes or folds stand in the way it is
    /// the place of the whole text.
    pub fn place_within(&self, from: usize, to: usize) -> Place {
        let found = (|| {
            let text = self.as_str()?;
            let wanted = text.get(from..to).filter(|wanted| !wanted.is_empty())?;
            let earlier = text.get(..from)?.matches(wanted).count();
            let written = self
                .place
                .source
                .text
                .get(self.place.start..self.place.end)?;
            if written.starts_with('"') && written.contains('\\') {
                return None;
            }
            let (at, _) = written.match_indices(wanted).nth(earlier)?;
            Some((self.place.start + at, self.place.start + at + wanted.len()))
        })();
        match found {
            Some((start, end)) => Place {
                start,
                end,
                ..self.place.clone()
            },
            None => self.place.clone(),
        }
    }
}

/// The whole text of a file that was opened, or the one problem that stands in its way: not there, larger than
/// [`MOST_BYTES`], not UTF-8. A byte order mark is no part of the text.
pub fn read<R: Read>(path: &Path, opened: std::io::Result<R>) -> Result<Arc<Source>, Problem> {
    let name = path.display().to_string();
    let problem = |code, message: String| {
        let source = Arc::new(Source {
            name: name.clone(),
            text: String::new(),
        });
        let place = Place {
            source,
            start: 0,
            end: 0,
        };
        Problem::error(code, &place, message)
    };
    let mut bytes = Vec::new();
    opened
        .and_then(|file| file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| problem("unreadable-file", format!("cannot read `{name}`: {error}")))?;
    if bytes.len() > MOST_BYTES {
        return Err(problem(
            "large-file",
            format!("`{name}` is larger than {} MiB", MOST_BYTES >> 20),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        problem(
            "not-utf-8",
            format!("`{name}` is not UTF-8 text: byte {at} begins no character"),
        )
        .help("save the file as UTF-8")
    })?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    };
    Ok(Arc::new(Source { name, text }))
}

#[cfg(test)]
mod tests;
