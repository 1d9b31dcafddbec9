//! Labels and the query language over them, as the reference words both
//! (<https://docs.hetzner.cloud/#labels>, <https://docs.hetzner.cloud/#label-selector>).

use std::collections::BTreeMap;

/// The labels of one resource.
pub type Labels = BTreeMap<String, String>;

/// Says what is wrong with a label, if anything.
pub fn check(key: &str, value: &str) -> Result<(), String> {
    check_key(key)?;
    if value.is_empty() || is_word(value) {
        Ok(())
    } else {
        Err(format!("label value '{value}' is not correctly formatted"))
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let wrong = || format!("label key '{key}' is not correctly formatted");
    let name = match key.split_once('/') {
        None => key,
        Some(("hetzner.cloud", _)) => {
            return Err(format!("label key '{key}' has a reserved prefix"));
        }
        Some((prefix, name)) => {
            let subdomain = prefix.len() <= 253 && prefix.split('.').all(is_dns_label);
            if !subdomain {
                return Err(wrong());
            }
            name
        }
    };
    if is_word(name) { Ok(()) } else { Err(wrong()) }
}

/// 1 to 63 of letters, digits, `-`, `_` and `.`, a letter or digit at both ends.
fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
        && bytes[0].is_ascii_alphanumeric()
        && bytes[bytes.len() - 1].is_ascii_alphanumeric()
}

fn is_dns_label(text: &str) -> bool {
    is_word(text) && !text.contains(['_', '.'])
}

/// A parsed selector: all terms must hold.
#[derive(Debug, PartialEq)]
pub struct Selector(Vec<Term>);

#[derive(Debug, PartialEq)]
enum Term {
    Equals(String, String),
    Differs(String, String),
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Reads a selector; an empty one picks everything.
    ///
    /// # Errors
    /// What is wrong and where, in words.
    pub fn parse(text: &str) -> Result<Selector, String> {
        if text.trim().is_empty() {
            return Ok(Selector(Vec::new()));
        }
        let mut terms = Vec::new();
        for part in outside_parentheses(text)? {
            terms.push(Term::parse(part.trim())?);
        }
        Ok(Selector(terms))
    }

    pub fn picks(&self, labels: &Labels) -> bool {
        self.0.iter().all(|term| term.holds(labels))
    }
}

impl Term {
    fn parse(text: &str) -> Result<Term, String> {
        let wrong = || format!("label selector term '{text}' is not correctly formatted");
        let key = |key: &str| -> Result<String, String> {
            let key = key.trim();
            check_key(key).map(|()| key.to_owned())
        };
        let value = |value: &str| -> Result<String, String> {
            let value = value.trim();
            if value.is_empty() || is_word(value) {
                Ok(value.to_owned())
            } else {
                Err(wrong())
            }
        };
        if let Some(rest) = text.strip_suffix(')') {
            let (head, list) = rest.split_once('(').ok_or_else(wrong)?;
            let values: Vec<String> = list.split(',').map(value).collect::<Result<_, _>>()?;
            let mut words = head.split_whitespace();
            let (name, operator) = (words.next(), words.next());
            return match (name, operator, words.next()) {
                (Some(name), Some("in"), None) => Ok(Term::In(key(name)?, values)),
                (Some(name), Some("notin"), None) => Ok(Term::NotIn(key(name)?, values)),
                _ => Err(wrong()),
            };
        }
        if let Some((name, rest)) = text.split_once("!=") {
            return Ok(Term::Differs(key(name)?, value(rest)?));
        }
        if let Some((name, rest)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Ok(Term::Equals(key(name)?, value(rest)?));
        }
        match text.strip_prefix('!') {
            Some(name) => Ok(Term::Missing(key(name)?)),
            None => Ok(Term::Exists(key(text)?)),
        }
    }

    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Term::Equals(key, value) => labels.get(key) == Some(value),
            Term::Differs(key, value) => labels.get(key) != Some(value),
            Term::Exists(key) => labels.contains_key(key),
            Term::Missing(key) => !labels.contains_key(key),
            Term::In(key, values) => labels.get(key).is_some_and(|have| values.contains(have)),
            Term::NotIn(key, values) => !labels.get(key).is_some_and(|have| values.contains(have)),
        }
    }
}

/// Splits at the commas between terms, not at those inside `(v1,v2)`.
fn outside_parentheses(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut start, mut inside) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            '(' if !inside => inside = true,
            ')' if inside => inside = false,
            '(' | ')' => return Err("label selector has unbalanced parentheses".to_owned()),
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("label selector has unbalanced parentheses".to_owned());
    }
    parts.push(&text[start..]);
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(selector: &str) -> bool {
        let labels = Labels::from([
            ("env".to_owned(), "production".to_owned()),
            ("dr-plan/run".to_owned(), "abc".to_owned()),
            ("bare".to_owned(), String::new()),
        ]);
        Selector::parse(selector).unwrap().picks(&labels)
    }

    #[test]
    fn every_form_of_the_selector_language_is_understood() {
        for yes in [
            "",
            "env=production",
            "env==production",
            "env!=staging",
            "other!=x",
            "env",
            "!other",
            "env in (staging, production)",
            "env notin (staging,testing)",
            "other notin (x)",
            "env in (production,x),dr-plan/run=abc,!other",
            "bare=",
        ] {
            assert!(picks(yes), "{yes}");
        }
        for no in [
            "env=staging",
            "env!=production",
            "other",
            "!env",
            "env in (staging)",
            "other in (x)",
            "env notin (production)",
            "env,other",
        ] {
            assert!(!picks(no), "{no}");
        }
    }

    #[test]
    fn a_broken_selector_is_refused() {
        for broken in [
            "a=b,", "=b", "a in b", "a in (b", "a)b(", "a of (b)", "-a", "a=b c", "!",
        ] {
            assert!(Selector::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn labels_follow_the_grammar_of_the_reference() {
        for (key, value) in [
            ("environment", "production"),
            ("example.com/my", "label"),
            ("just-a-key", ""),
            ("dr-plan/run", "01J-abc_x.y"),
        ] {
            assert_eq!(check(key, value), Ok(()), "{key}={value}");
        }
        let long = "x".repeat(64);
        for (key, value) in [
            ("", "v"),
            ("-a", "v"),
            ("a-", "v"),
            ("a/b/c", "v"),
            ("/b", "v"),
            ("Under_score.com/b", "v"),
            ("hetzner.cloud/x", "v"),
            (long.as_str(), "v"),
            ("a", long.as_str()),
            ("a", "has space"),
            ("a", "2026-11-21T10:00:00Z"),
            ("a", "ends."),
        ] {
            assert!(check(key, value).is_err(), "{key}={value}");
        }
    }
}
