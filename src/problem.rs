//! What is wrong with a text that a person wrote: a place, a kind, and the nearest right word.
//! Rendering for a terminal is the edge's business; a problem itself is plain data.

use std::sync::Arc;

use serde::Serialize;

/// A text and the name it is shown under.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the person gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A stretch of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The text it lies in.
    pub source: Arc<Source>,
    /// The first byte.
    pub start: usize,
    /// The byte after the last one; never less than `start`.
    pub end: usize,
}

impl Place {
    /// Line and column, counted from 1; a column is a character.
    pub fn line_column(&self) -> (usize, usize) {
        let mut start = self.start.min(self.source.text.len());
        while !self.source.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.source.text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.name)
    }
}

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let (line, column) = self.line_column();
        let mut out = serializer.serialize_struct("Place", 5)?;
        out.serialize_field("file", &self.source.name)?;
        out.serialize_field("line", &line)?;
        out.serialize_field("column", &column)?;
        out.serialize_field("start", &self.start)?;
        out.serialize_field("end", &self.end)?;
        out.end()
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The plan can run; a person should look.
    Warning,
    /// The plan cannot run.
    Error,
}

/// A replacement that would mend the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Patch {
    /// What to replace.
    pub place: Place,
    /// With what.
    pub with: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable word for machines, such as `unknown-key`.
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, in a sentence without its final stop.
    pub message: String,
    /// The places, the main one first; each with a short remark (may be empty).
    pub labels: Vec<(Place, String)>,
    /// What to do.
    pub help: Option<String>,
    /// The mended text. In a box: a problem is often the error of a result, and should be small there.
    pub patch: Option<Box<Patch>>,
}

impl Problem {
    /// An error at a place.
    pub fn error(code: &'static str, place: &Place, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: vec![(place.clone(), String::new())],
            help: None,
            patch: None,
        }
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, place: &Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, place, message)
        }
    }

    /// A remark at the main place.
    #[must_use]
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        if let Some(first) = self.labels.first_mut() {
            first.1 = remark.into();
        }
        self
    }

    /// A second place that matters.
    #[must_use]
    pub fn also(mut self, place: &Place, remark: impl Into<String>) -> Self {
        self.labels.push((place.clone(), remark.into()));
        self
    }

    /// What to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Offers `right` instead of what stands at the main place.
    #[must_use]
    pub fn instead(mut self, right: impl Into<String>) -> Self {
        let right = right.into();
        if let Some((place, _)) = self.labels.first() {
            self.patch = Some(Box::new(Patch {
                place: place.clone(),
                with: right.clone(),
            }));
        }
        self.help
            .get_or_insert_with(|| format!("did you mean `{right}`?"));
        self
    }
}

/// The nearest of the allowed words, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    allowed
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1.max(candidate.chars().count().max(word.chars().count()) / 3)
        })
        // Of equally near words the first in the alphabet: the same text gives the same message.
        .min_by_key(|(distance, candidate)| (*distance, *candidate))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_characters_and_lines_begin_at_one() {
        let source = Arc::new(Source {
            name: "p.yaml".into(),
            text: "a: ü\nbü: x\n".into(),
        });
        let place = Place {
            start: source.text.find('x').unwrap(),
            end: 12,
            source,
        };
        assert_eq!(place.to_string(), "p.yaml:2:5");
    }

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("timout", ["timeout", "uses"]), Some("timeout"));
        assert_eq!(nearest("banana", ["timeout", "uses"]), None);
    }
}
