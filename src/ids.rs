//! Names that travel through everything: typed, checked once, safe in a path, a label and a shell.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was written.
    #[error("an empty name")]
    Empty,
    /// More characters than a provider label or a file name can hold.
    #[error("{0} characters, at most {MAX} are allowed")]
    Long(usize),
    /// A character outside the grammar.
    #[error(
        "`{0}` cannot stand there: names are lower-case letters, digits and `-`, and begin with a letter or digit"
    )]
    Character(char),
}

/// A label value holds 63 characters at every provider; a step id shares it with nothing else.
const MAX: usize = 63;

fn check(text: &str, extra: &[char]) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.chars().count() > MAX {
        return Err(IdError::Long(text.chars().count()));
    }
    for (at, c) in text.chars().enumerate() {
        let plain = c.is_ascii_lowercase() || c.is_ascii_digit();
        if !(plain || at > 0 && (c == '-' || extra.contains(&c))) {
            return Err(IdError::Character(c));
        }
    }
    Ok(())
}

/// The name of a step in its plan: `[a-z0-9][a-z0-9_-]*`, at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId(std::sync::Arc<str>);

impl StepId {
    /// Checks the grammar.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check(text, &['_'])?;
        Ok(Self(text.into()))
    }

    /// The id as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StepId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(&text)
    }
}

impl From<StepId> for String {
    fn from(id: StepId) -> Self {
        id.0.to_string()
    }
}

impl std::borrow::Borrow<str> for StepId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One execution of a plan: a ULID in lower case, so that names sort by time and fit every label grammar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(std::sync::Arc<str>);

impl RunId {
    /// A fresh id. Ids of one machine sort by the time they were made at.
    pub fn generate() -> Self {
        Self(ulid::Ulid::generate().to_string().to_lowercase().into())
    }

    /// Reads an id back, whole.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check(text, &[])?;
        Ok(Self(text.into()))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last eight characters: they are random, where the first ones are only the time.
    pub fn short(&self) -> &str {
        &self.0[self.0.len().saturating_sub(8)..]
    }
}

impl TryFrom<String> for RunId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0.to_string()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_id_cannot_leave_its_folder_or_its_quotes() {
        for bad in [
            "",
            "../x",
            "a b",
            "A",
            "-a",
            "a;b",
            "a/b",
            "ä",
            &"a".repeat(64),
        ] {
            assert!(StepId::new(bad).is_err(), "{bad}");
        }
        assert_eq!(
            StepId::new("restore-db_2").unwrap().as_str(),
            "restore-db_2"
        );
    }

    #[test]
    fn a_run_id_reads_back_and_its_short_form_is_its_random_end() {
        let id = RunId::generate();
        assert_eq!(RunId::parse(id.as_str()).unwrap(), id);
        assert_eq!(id.short().len(), 8);
        assert!(id.as_str().ends_with(id.short()));
    }
}
