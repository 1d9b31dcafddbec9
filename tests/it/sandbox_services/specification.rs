//! Holds answers against a vendor's OpenAPI document: as much of JSON Schema as those documents use,
//! and stricter in one thing: a member that the document does not name is wrong too.

use std::path::Path;

use serde_json::Value;

/// Members that the stored document still requires and the vendor has since taken away:
/// `datacenter` of a server went on 2026-07-01 (changelog of the API).
const TAKEN_AWAY: [&str; 1] = ["datacenter"];

pub struct Specification(Value);

impl Specification {
    /// `None` when `DR_PLAN_SPECS` does not name the folder of specifications.
    pub fn load(file: &str) -> Option<Specification> {
        let folder = std::env::var_os("DR_PLAN_SPECS")?;
        let path = Path::new(&folder).join(file);
        let text =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Some(Specification(serde_json::from_slice(&text).unwrap()))
    }

    /// What is wrong with an answer; empty when nothing is.
    pub fn check_answer(&self, method: &str, path: &str, status: u16, body: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let path = path.split('?').next().unwrap_or(path);
        let schema = match self.operation(method, path) {
            Some(operation) => {
                let answers = &operation["responses"];
                let answer = [status.to_string(), format!("{}xx", status / 100)]
                    .iter()
                    .find_map(|key| answers.get(key));
                match answer {
                    Some(answer) => &answer["content"]["application/json"]["schema"],
                    None => return vec![format!("status {status} is not in the document")],
                }
            }
            // A path or a method the document does not know can only be refused.
            None if status >= 400 => {
                let error = &self.0["paths"]["/servers"]["get"]["responses"]["4xx"];
                &error["content"]["application/json"]["schema"]
            }
            None => return vec!["the document does not know this path".to_owned()],
        };
        check(schema, body, "", &mut wrong);
        wrong
    }

    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let paths = self.0["paths"].as_object()?;
        let fits = |template: &str| {
            let (wanted, have): (Vec<_>, Vec<_>) =
                (template.split('/').collect(), path.split('/').collect());
            wanted.len() == have.len()
                && wanted
                    .iter()
                    .zip(have)
                    .all(|(wanted, have)| wanted.starts_with('{') || *wanted == have)
        };
        let mut found: Vec<_> = paths
            .iter()
            .filter(|(template, _)| fits(template))
            .collect();
        // The literal path (`/servers/actions`) is meant before one with a variable.
        found.sort_by_key(|(template, _)| template.matches('{').count());
        let (_, item) = found.first()?;
        item.get(method.to_lowercase())
    }
}

fn check(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    if value.is_null() {
        if schema["nullable"] != true {
            wrong.push(format!("{at}: null is not allowed"));
        }
        return;
    }
    if schema["allOf"].is_array() {
        return check(&merged(schema), value, at, wrong);
    }
    for either in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[either].as_array() {
            let fits = choices.iter().any(|choice| {
                let mut wrong = Vec::new();
                check(choice, value, at, &mut wrong);
                wrong.is_empty()
            });
            if !fits {
                wrong.push(format!("{at}: fits none of {either}"));
            }
        }
    }
    let right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some(other) => panic!("{at}: the document uses the type `{other}`"),
        None => true,
    };
    if !right {
        wrong.push(format!("{at}: {value} is not of type {}", schema["type"]));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        wrong.push(format!("{at}: {value} is none of {allowed:?}"));
    }
    let number = value.as_f64();
    if let (Some(least), Some(number)) = (schema["minimum"].as_f64(), number)
        && number < least
    {
        wrong.push(format!("{at}: {number} is below {least}"));
    }
    if let (Some(most), Some(number)) = (schema["maximum"].as_f64(), number)
        && number > most
    {
        wrong.push(format!("{at}: {number} is above {most}"));
    }
    if schema["format"] == "date-time" {
        let text = value.as_str().unwrap_or_default();
        if text.parse::<jiff::Timestamp>().is_err() {
            wrong.push(format!("{at}: `{text}` is no time"));
        }
    }
    if let Some(members) = value.as_object() {
        check_members(schema, members, at, wrong);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], item, &format!("{at}/{index}"), wrong);
    }
}

/// One schema that asks what all parts of `allOf` ask: a member that only another part names is no stranger.
fn merged(schema: &Value) -> Value {
    let mut whole = schema.clone();
    let parts = whole["allOf"].take();
    let fields = whole.as_object_mut().unwrap();
    fields.remove("allOf");
    for part in parts.as_array().unwrap() {
        for (word, asked) in part.as_object().unwrap() {
            match (fields.get_mut(word), asked) {
                (Some(Value::Object(have)), Value::Object(more)) => have.extend(more.clone()),
                (Some(Value::Array(have)), Value::Array(more)) => have.extend(more.clone()),
                (Some(_), _) => {}
                (None, _) => {
                    fields.insert(word.clone(), asked.clone());
                }
            }
        }
    }
    whole
}

fn check_members(
    schema: &Value,
    members: &serde_json::Map<String, Value>,
    at: &str,
    wrong: &mut Vec<String>,
) {
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        if !members.contains_key(name) && !TAKEN_AWAY.contains(&name) {
            wrong.push(format!("{at}: `{name}` is missing"));
        }
    }
    let Some(known) = schema["properties"].as_object() else {
        for (name, member) in members {
            if schema["additionalProperties"].is_object() {
                check(
                    &schema["additionalProperties"],
                    member,
                    &format!("{at}/{name}"),
                    wrong,
                );
            }
        }
        return;
    };
    for (name, member) in members {
        match known.get(name) {
            Some(schema) => check(schema, member, &format!("{at}/{name}"), wrong),
            None => wrong.push(format!("{at}: `{name}` is not in the document")),
        }
    }
}

#[test]
fn a_wrong_answer_is_seen() {
    let Some(specification) = Specification::load("hetzner-cloud.spec.json") else {
        println!("not applicable: DR_PLAN_SPECS is not set");
        return;
    };
    let wrong = |body: Value| specification.check_answer("GET", "/ssh_keys/7", 200, &body);
    let right = serde_json::json!({ "ssh_key": {
        "id": 7, "name": "n", "fingerprint": "f", "public_key": "p", "labels": {},
        "created": "2026-01-01T00:00:00Z",
    }});
    assert_eq!(wrong(right.clone()), Vec::<String>::new());
    for (field, value) in [
        ("id", serde_json::json!("7")),
        ("id", serde_json::json!(0)),
        ("created", serde_json::json!("yesterday")),
        ("labels", serde_json::json!({ "a": 1 })),
        ("name", Value::Null),
        ("surprise", serde_json::json!(1)),
    ] {
        let mut body = right.clone();
        body["ssh_key"][field] = value.clone();
        assert_eq!(wrong(body).len(), 1, "{field}: {value}");
    }
    assert_eq!(wrong(serde_json::json!({ "ssh_key": {} })).len(), 6);
}
