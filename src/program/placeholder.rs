//! Values that do not exist before the run, by name and type: `<db.ipv4>`, an IPv4 address.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::StepId;
use crate::kind::Output;

/// A value that a step will give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placeholder {
    /// The step that gives it.
    pub step: StepId,
    /// Its field; of a field within a field, both with a dot between them.
    pub field: String,
    /// What it will be: `IPv4 address`, `time`, `number`, `text`, ...
    #[serde(rename = "type")]
    pub of: String,
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}>", self.step, self.field)
    }
}

impl Placeholder {
    /// The field of a step, its type taken from the step's sample.
    pub(super) fn of(step: &StepId, fields: &[String], sample: Option<&Output>) -> Self {
        let mut value = sample.and_then(|output| output.get(fields.first()?));
        for field in fields.iter().skip(1) {
            value = value.and_then(|value| value.get(field));
        }
        let field = fields.join(".");
        Self {
            step: step.clone(),
            field: field.clone(),
            of: type_of(&field, value).into(),
        }
    }
}

fn type_of(field: &str, value: Option<&Value>) -> &'static str {
    match value {
        Some(Value::String(_)) if field == "host" => "name of a host",
        Some(Value::String(text)) if text.parse::<Ipv4Addr>().is_ok() => "IPv4 address",
        Some(Value::String(text)) if text.parse::<Ipv6Addr>().is_ok() => "IPv6 address",
        Some(Value::String(text)) if text.parse::<Timestamp>().is_ok() => "time",
        Some(Value::Number(_)) => "number",
        Some(Value::Bool(_)) => "true or false",
        Some(Value::Object(_)) => "fields",
        _ => "text",
    }
}

/// Puts a placeholder where each text or number of a sample stands. A host keeps its name: it is known before the host exists.
pub(super) fn put_in(step: &StepId, sample: &mut Output) {
    for (field, value) in sample {
        if field != "host" {
            replace(step, field, value);
        }
    }
}

fn replace(step: &StepId, path: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                replace(step, &format!("{path}.{field}"), value);
            }
        }
        other => *other = Value::String(format!("<{step}.{path}>")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_has_the_type_of_its_sample_and_stands_where_the_sample_stood() {
        let step = StepId::new("db").unwrap();
        let sample = serde_json::json!({
            "host": "db", "ipv4": "192.0.2.7", "ipv6": "2001:db8::7", "id": "1", "status": 200,
            "taken": "2026-01-01T00:00:00Z", "shop-db": { "bytes": 0 },
        });
        let Value::Object(mut sample) = sample else {
            unreachable!()
        };
        let of = |path: &[&str]| {
            let fields: Vec<String> = path.iter().map(ToString::to_string).collect();
            let found = Placeholder::of(&step, &fields, Some(&sample));
            format!("{found} {}", found.of)
        };
        assert_eq!(of(&["ipv4"]), "<db.ipv4> IPv4 address");
        assert_eq!(of(&["ipv6"]), "<db.ipv6> IPv6 address");
        assert_eq!(of(&["id"]), "<db.id> text");
        assert_eq!(of(&["status"]), "<db.status> number");
        assert_eq!(of(&["taken"]), "<db.taken> time");
        assert_eq!(of(&["shop-db", "bytes"]), "<db.shop-db.bytes> number");
        put_in(&step, &mut sample);
        assert_eq!(sample["host"], "db");
        assert_eq!(sample["ipv4"], "<db.ipv4>");
        assert_eq!(sample["shop-db"]["bytes"], "<db.shop-db.bytes>");
    }
}
