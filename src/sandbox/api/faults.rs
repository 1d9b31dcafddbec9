//! Faults on command: rules that pick calls by method, path, body and count, and say what goes
//! wrong with them, before or after they had their effect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which calls go wrong, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// `None`: any method.
    #[serde(default)]
    pub method: Option<String>,
    /// The path as sent (`/v1/servers/*`), `*` standing for anything, slashes too.
    pub path: String,
    /// Fields of a JSON body that must have just these values.
    #[serde(default)]
    pub body: BTreeMap<String, Value>,
    /// The first call to go wrong, counted from 1 among those that match after the rule was laid.
    #[serde(default = "one")]
    pub nth: u64,
    /// How many calls go wrong, from the `nth` on.
    #[serde(default = "one")]
    pub times: u64,
    /// From the `nth` call on without an end.
    #[serde(default)]
    pub always: bool,
    /// Whether the call had its effect before it went wrong.
    #[serde(default)]
    pub when: When,
    pub kind: FaultKind,
}

fn one() -> u64 {
    1
}

/// Where in the life of a call (or of the action it starts) the fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The call has no effect.
    #[default]
    Before,
    /// The effect is there; only the answer is wrong or missing.
    After,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// Another answer. Code and message of the error have the API's usual words for that status.
    Status {
        status: u16,
        #[serde(default)]
        code: Option<String>,
        #[serde(default)]
        message: Option<String>,
        /// Seconds, sent as `Retry-After`.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// No answer, on a connection that stays open.
    Hang,
    /// The connection is reset.
    Reset,
    /// The answer comes late.
    Delay { milliseconds: u64 },
    /// A create is refused for lack of capacity, whatever the type's availability says.
    NoCapacity,
    /// What a create made is answered 404 for so long, and left out of lists too if `lists`.
    HideAfterCreate {
        seconds: u64,
        #[serde(default)]
        lists: bool,
    },
    /// The action that the call starts never ends, or only after `seconds`.
    ActionStuck {
        #[serde(default)]
        seconds: Option<u64>,
    },
    /// The action that the call starts ends in an error.
    ActionError { code: String, message: String },
    /// The machine gets a disk of this size, in bytes, whatever its type says.
    Disk { bytes: u64 },
}

/// The rules that are laid. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Rules>>);

#[derive(Debug, Default)]
struct Rules {
    last: u64,
    laid: BTreeMap<u64, Laid>,
}

#[derive(Clone, Debug, Serialize)]
struct Laid {
    number: u64,
    /// Calls that matched so far.
    seen: u64,
    /// Calls that went wrong so far.
    struck: u64,
    rule: FaultRule,
}

/// One fault that meets one call.
#[derive(Clone, Debug)]
pub struct Struck {
    /// The number of its rule.
    pub rule: u64,
    pub when: When,
    pub kind: FaultKind,
}

impl Faults {
    /// Lays a rule and returns its number.
    pub fn lay(&self, rule: FaultRule) -> u64 {
        let mut rules = self.lock();
        rules.last += 1;
        let number = rules.last;
        rules.laid.insert(
            number,
            Laid {
                number,
                seen: 0,
                struck: 0,
                rule,
            },
        );
        number
    }

    /// Takes one rule away; `false`: there is none of that number.
    pub fn lift(&self, number: u64) -> bool {
        self.lock().laid.remove(&number).is_some()
    }

    /// Takes all rules away.
    pub fn lift_all(&self) {
        self.lock().laid.clear();
    }

    /// The rules with their counts, as JSON.
    pub fn list(&self) -> Value {
        let laid: Vec<_> = self.lock().laid.values().cloned().collect();
        serde_json::json!(laid)
    }

    /// Counts a call against all rules and returns the faults that meet it, in the order laid.
    pub fn meet(&self, method: &str, path: &str, body: &[u8]) -> Vec<Struck> {
        let mut struck = Vec::new();
        let mut parsed: Option<Value> = None;
        for laid in self.lock().laid.values_mut() {
            let rule = &laid.rule;
            if rule.method.as_deref().is_some_and(|want| want != method)
                || !matches(&rule.path, path)
            {
                continue;
            }
            if !rule.body.is_empty() {
                let body =
                    parsed.get_or_insert_with(|| serde_json::from_slice(body).unwrap_or_default());
                if rule
                    .body
                    .iter()
                    .any(|(field, want)| body.get(field) != Some(want))
                {
                    continue;
                }
            }
            laid.seen += 1;
            let past = laid.seen.checked_sub(rule.nth.max(1));
            if past.is_some_and(|past| rule.always || past < rule.times) {
                laid.struck += 1;
                struck.push(Struck {
                    rule: laid.number,
                    when: rule.when,
                    kind: rule.kind.clone(),
                });
            }
        }
        struck
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `pattern`, in which `*` stands for any run of characters, covers all of `text`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> FaultRule {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_star_stands_for_anything_and_its_absence_for_nothing() {
        assert!(matches("/v1/servers", "/v1/servers"));
        assert!(!matches("/v1/servers", "/v1/servers/7"));
        assert!(matches(
            "/v1/servers/*/actions/*",
            "/v1/servers/7/actions/poweroff"
        ));
        assert!(!matches("/v1/servers/*/actions/*", "/v1/servers/7"));
        assert!(matches("*", ""));
        assert!(!matches("a*a", "a"));
    }

    #[test]
    fn only_the_calls_from_the_nth_on_go_wrong() {
        let faults = Faults::default();
        faults.lay(rule(
            r#"{"method":"POST","path":"/v1/servers","nth":2,"times":2,"kind":"hang"}"#,
        ));
        let met: Vec<bool> = (0..5)
            .map(|_| !faults.meet("POST", "/v1/servers", b"").is_empty())
            .collect();
        assert_eq!(met, [false, true, true, false, false]);
        assert!(faults.meet("GET", "/v1/servers", b"").is_empty());
    }

    #[test]
    fn a_rule_can_ask_for_fields_of_the_body() {
        let faults = Faults::default();
        faults.lay(rule(
            r#"{"path":"*","body":{"location":"nbg1"},"always":true,"kind":"no_capacity"}"#,
        ));
        assert_eq!(
            faults.meet("POST", "/x", br#"{"location":"nbg1"}"#).len(),
            1
        );
        assert!(
            faults
                .meet("POST", "/x", br#"{"location":"hel1"}"#)
                .is_empty()
        );
        assert!(faults.meet("POST", "/x", b"no json").is_empty());
    }

    #[test]
    fn a_misspelt_field_of_a_rule_is_refused() {
        let wrong = r#"{"path":"*","nht":2,"kind":"hang"}"#;
        assert!(serde_json::from_str::<FaultRule>(wrong).is_err());
    }
}
