//! What a query should give: `>= 1000`, `= 'open'`, `between 1 and 5`, `!= 0`. Numbers are compared as numbers, quoted texts as texts.

use std::cmp::Ordering;
use std::fmt;

/// Why an expectation cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no expectation: write `>= 1000`, `= 'text'`, `!= 0` or `between 1 and 5`{why}"
)]
pub struct ExpectError {
    text: String,
    why: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(String),
    Text(String),
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Compare(&'static str, Value),
    Between(Value, Value),
}

/// A checked expectation.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    text: String,
    test: Test,
}

impl Expectation {
    /// Reads an expectation. A text without an operator must be equal.
    pub fn parse(text: &str) -> Result<Self, ExpectError> {
        let text = text.trim();
        let wrong = |why: &str| ExpectError {
            text: text.to_string(),
            why: if why.is_empty() {
                String::new()
            } else {
                format!(" ({why})")
            },
        };
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        let lower = text.to_ascii_lowercase();
        let test = if let Some(rest) = lower.strip_prefix("between ") {
            let at = rest
                .find(" and ")
                .ok_or_else(|| wrong("`and` is missing"))?;
            let rest = &text["between ".len()..];
            let low = value(&rest[..at]).ok_or_else(|| wrong("the first value"))?;
            let high =
                value(&rest[at + " and ".len()..]).ok_or_else(|| wrong("the second value"))?;
            if compare(&low, &high) == Some(Ordering::Greater) {
                return Err(wrong("the first value is larger than the second"));
            }
            Test::Between(low, high)
        } else {
            let (operator, rest) = ["<=", ">=", "!=", "<>", "==", "=", "<", ">"]
                .iter()
                .find_map(|operator| Some((*operator, text.strip_prefix(operator)?)))
                .unwrap_or(("=", text));
            let operator = match operator {
                "<>" => "!=",
                "==" => "=",
                other => other,
            };
            Test::Compare(operator, value(rest).ok_or_else(|| wrong("the value"))?)
        };
        Ok(Self {
            text: text.to_string(),
            test,
        })
    }

    /// Does what was seen meet it? NULL never does.
    pub fn met_by(&self, seen: Option<&str>) -> bool {
        let Some(seen) = seen else { return false };
        let against = |wanted: &Value| match wanted {
            Value::Number(_) => number(seen.trim())
                .and_then(|seen| compare(&Value::Number(seen.to_string()), wanted)),
            Value::Text(wanted) => Some(seen.cmp(wanted)),
        };
        match &self.test {
            Test::Compare(operator, wanted) => match (against(wanted), *operator) {
                (Some(order), "=") => order == Ordering::Equal,
                (Some(order), "!=") => order != Ordering::Equal,
                (Some(order), "<") => order == Ordering::Less,
                (Some(order), "<=") => order != Ordering::Greater,
                (Some(order), ">") => order == Ordering::Greater,
                (Some(order), ">=") => order != Ordering::Less,
                _ => false,
            },
            Test::Between(low, high) => {
                against(low).is_some_and(|order| order != Ordering::Less)
                    && against(high).is_some_and(|order| order != Ordering::Greater)
            }
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn value(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'')?;
        let unquoted = inner.replace("''", "\u{0}");
        if unquoted.contains('\'') {
            return None;
        }
        return Some(Value::Text(unquoted.replace('\u{0}', "'")));
    }
    match text {
        "" => None,
        // As psql writes booleans.
        "true" => Some(Value::Text("t".into())),
        "false" => Some(Value::Text("f".into())),
        text => match number(text) {
            Some(number) => Some(Value::Number(number.to_string())),
            None if text.contains(['\'', '"', ' ']) => None,
            None => Some(Value::Text(text.to_string())),
        },
    }
}

fn number(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    (digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok())
        .then_some(text)
}

/// Whole numbers exactly, others as floating point.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.parse::<i128>(), b.parse::<i128>()) {
            (Ok(a), Ok(b)) => Some(a.cmp(&b)),
            _ => a.parse::<f64>().ok()?.partial_cmp(&b.parse::<f64>().ok()?),
        },
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_and_texts_as_texts() {
        let cases = [
            (">= 1000", "1000", true),
            (">= 1000", "999", false),
            ("> 9", "10", true),
            ("= 'open'", "open", true),
            ("='it''s'", "it's", true),
            ("!= 'open'", "shut", true),
            ("<> 0", "0", false),
            ("between 1 and 5", "5", true),
            ("BETWEEN 1 AND 5", "6", false),
            ("= 9007199254740993", "9007199254740992", false),
            ("0.5", "0.50", true),
            ("= true", "t", true),
            ("= 10", "ten", false),
            ("!= 10", "ten", false),
        ];
        for (text, seen, met) in cases {
            let expectation = Expectation::parse(text).unwrap();
            assert_eq!(expectation.met_by(Some(seen)), met, "{text} against {seen}");
            assert!(!expectation.met_by(None), "{text} against NULL");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for bad in [
            "",
            ">=",
            "between 1",
            "between 5 and 1",
            "= 'a'b'",
            "= 'a",
            ">= a b",
        ] {
            assert!(Expectation::parse(bad).is_err(), "{bad}");
        }
    }
}
