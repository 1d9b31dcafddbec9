//! A value that must never be seen: no `Debug`, no `Display`, no `Serialize`; and the mask that
//! every sink draws over texts which may quote one (a provider's error, a program's output).

use std::sync::{Arc, RwLock};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// A secret value, wiped from memory when the last copy goes.
#[derive(Clone)]
pub struct Secret(Arc<SecretString>);

impl Secret {
    /// Takes the value over.
    pub fn new(value: String) -> Self {
        Self(Arc::new(SecretString::from(value)))
    }

    /// The one way to the value. Where it goes next must be stdin of a child, a request
    /// header or a 0600 file that a step declared.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Where a secret comes from, as people write it: a reference, never a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(extend("x-later" = ["age", "sops"]))]
pub enum SecretRef {
    /// An environment variable of the process that runs dr-plan.
    Env(String),
    /// A file, mode 0600; `~/` is the person's home. Its final line break is not part of the value.
    File(String),
    /// A program and its arguments (no shell); its standard output is the value.
    Command(Vec<String>),
}

impl SecretRef {
    /// A file's path is relative to the file that names it, whose folder this is. `/...` and `~/...` stay as they are.
    #[must_use]
    pub fn beside(self, folder: &std::path::Path) -> Self {
        match self {
            Self::File(path) if !path.starts_with("~/") => {
                Self::File(folder.join(path).display().to_string())
            }
            other => other,
        }
    }
}

/// Finds known secrets in texts. One mask serves a process; clones share what they know.
#[derive(Clone, Default)]
pub struct Mask(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    /// Secrets in all their forms, the longest first.
    forms: Vec<String>,
    /// Texts that anybody may read.
    open: Vec<String>,
}

/// Shorter values would mask ordinary words; such secrets are refused where they are fetched.
pub const SHORTEST_SECRET: usize = 6;

/// What stands where a secret stood.
pub const MASKED: &str = "[secret]";

impl Mask {
    /// A text that anybody may read: the plan, the inventory. No secret stands in it.
    pub fn open(&self, text: &str) {
        let mut known = self.0.write().expect("no holder panics");
        known.open.push(text.to_string());
    }

    /// As [`Mask::learn`], for values that are secrets perhaps, such as those of an environment file: a word that stands openly in
    /// the plan or the inventory is none, and a report without it could not be read.
    pub fn learn_unless_open(&self, secret: &Secret) {
        let is_open = |text: &String| text.contains(secret.expose());
        let known = self.0.read().expect("no holder panics");
        if known.open.iter().any(is_open) {
            return;
        }
        drop(known);
        self.learn(secret);
    }

    /// From now on `secret` and its usual disguises (base64, percent, JSON, shell quotes) are masked.
    pub fn learn(&self, secret: &Secret) {
        let value = secret.expose();
        if value.len() < SHORTEST_SECRET {
            return;
        }
        let mut forms = vec![value.to_string()];
        forms.extend(base64_cores(value.as_bytes()));
        forms.push(percent(value));
        if let Ok(json) = serde_json::to_string(value) {
            forms.push(json[1..json.len() - 1].to_string());
        }
        forms.push(value.replace('\'', r"'\''"));
        // A secret of several lines is also found line by line.
        forms.extend(
            value
                .lines()
                .filter(|line| line.len() >= 16)
                .map(str::to_string),
        );
        let mut known = self.0.write().expect("no holder panics");
        for form in forms {
            if form.len() >= SHORTEST_SECRET && !known.forms.contains(&form) {
                known.forms.push(form);
            }
        }
        // The longest first, so that a part never hides the whole.
        known
            .forms
            .sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// The text without any known secret.
    pub fn clean(&self, text: &str) -> String {
        let known = self.0.read().expect("no holder panics");
        let mut clean = text.to_string();
        for form in &known.forms {
            if clean.contains(form.as_str()) {
                clean = clean.replace(form.as_str(), MASKED);
            }
        }
        clean
    }

    /// Cleans a text where it stands.
    pub fn clean_in(&self, text: &mut String) {
        let clean = self.clean(text);
        if clean != *text {
            *text = clean;
        }
    }

    /// Masks every string inside a JSON value.
    pub fn clean_value(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => self.clean_in(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.clean_value(item)),
            Value::Object(fields) => fields.values_mut().for_each(|item| self.clean_value(item)),
            _ => {}
        }
    }

    /// How many bytes a sink must hold back so that no known secret is cut by a chunk's border.
    pub fn longest(&self) -> usize {
        self.0
            .read()
            .expect("no holder panics")
            .forms
            .first()
            .map_or(0, String::len)
    }
}

/// The parts of a base64 text that do not depend on what stands before or after the secret,
/// one for each of the three alignments.
fn base64_cores(bytes: &[u8]) -> Vec<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..3usize)
        .filter_map(|shift| {
            let skip = (3 - shift) % 3;
            let whole = bytes.get(skip..)?;
            let whole = &whole[..whole.len() / 3 * 3];
            let text: String = whole
                .chunks(3)
                .flat_map(|c| {
                    let n = u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
                    [n >> 18, n >> 12, n >> 6, n]
                        .map(|six| char::from(ALPHABET[(six & 63) as usize]))
                })
                .collect();
            (text.len() >= 8).then_some(text)
        })
        .collect()
}

fn percent(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_secret_is_masked_in_every_usual_disguise() {
        let mask = Mask::default();
        mask.learn(&Secret::new("p@ss w'rd/\"x\"+1234".into()));
        // Encoded by Python's base64 and urllib, by JSON and by a POSIX shell.
        for disguise in [
            "p@ss w'rd/\"x\"+1234",
            "cEBzcyB3J3JkLyJ4IisxMjM0",
            "p%40ss%20w%27rd%2F%22x%22%2B1234",
            "p@ss w'rd/\\\"x\\\"+1234",
            "'p@ss w'\\''rd/\"x\"+1234'",
        ] {
            let clean = mask.clean(&format!("before {disguise} after"));
            assert!(clean.contains(MASKED) && !clean.contains("1234"), "{clean}");
            assert!(
                clean.starts_with("before ") && clean.ends_with(" after"),
                "{clean}"
            );
        }
    }

    #[test]
    fn a_word_of_the_plan_is_a_secret_only_where_it_is_declared_as_one() {
        let mask = Mask::default();
        mask.open("url: https://shop.example/orders");
        for value in ["shop.example", "hunter2-hunter2"] {
            mask.learn_unless_open(&Secret::new(value.into()));
        }
        let said = "shop.example said hunter2-hunter2";
        assert_eq!(mask.clean(said), format!("shop.example said {MASKED}"));
        mask.learn(&Secret::new("shop.example".into()));
        assert_eq!(mask.clean(said), format!("{MASKED} said {MASKED}"));
    }

    #[test]
    fn base64_is_found_at_each_alignment() {
        let mask = Mask::default();
        mask.learn(&Secret::new("canary-0123456789".into()));
        // base64 of "x", "xy" and "xyz" before the secret.
        for text in [
            "eGNhbmFyeS0wMTIzNDU2Nzg5",
            "eHljYW5hcnktMDEyMzQ1Njc4OQ==",
            "eHl6Y2FuYXJ5LTAxMjM0NTY3ODk=",
        ] {
            assert!(mask.clean(text).contains(MASKED), "{text}");
        }
    }
}
