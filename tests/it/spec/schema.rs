//! Values against schemas: the words of JSON Schema that the providers' files use.

use serde_json::{Map, Value};

use super::Spec;

/// Words that describe and do not constrain, and the two that only few writers mean exactly.
const SAID_ONLY: &[&str] = &[
    "description",
    "title",
    "example",
    "examples",
    "default",
    "deprecated",
    "externalDocs",
    "readOnly",
    "writeOnly",
    "format",
    "pattern",
    "discriminator",
    "xml",
];

impl Spec {
    /// Holds a value against a schema. `closed`: a property that the schema does not name is a problem, although JSON
    /// Schema would let it pass; a misspelt name is never what we meant.
    pub(super) fn value(
        &self,
        schema: &Value,
        value: &Value,
        at: &str,
        closed: bool,
        problems: &mut Vec<String>,
    ) {
        let schema = self.resolve(schema);
        let Some(words) = schema.as_object() else {
            problems.push(format!("{at}: the schema is no object"));
            return;
        };
        for word in words.keys() {
            let known = matches!(
                word.as_str(),
                "type"
                    | "nullable"
                    | "required"
                    | "properties"
                    | "additionalProperties"
                    | "enum"
                    | "items"
                    | "oneOf"
                    | "anyOf"
                    | "allOf"
                    | "not"
                    | "minLength"
                    | "maxLength"
                    | "minimum"
                    | "maximum"
                    | "exclusiveMinimum"
                    | "exclusiveMaximum"
                    | "minItems"
                    | "maxItems"
                    | "uniqueItems"
                    | "multipleOf"
            );
            if !known && !SAID_ONLY.contains(&word.as_str()) && !word.starts_with("x-") {
                problems.push(format!("{at}: the schema word `{word}` is not understood"));
            }
        }
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        if let Some(kind) = schema["type"].as_str()
            && !is_of(kind, value)
        {
            problems.push(format!("{at}: {value} is no {kind}"));
            return;
        }
        if let Some(choices) = schema["enum"].as_array()
            && !choices.contains(value)
        {
            problems.push(format!("{at}: {value} is none of the allowed values"));
        }
        match value {
            Value::Object(fields) => self.object(words, fields, at, closed, problems),
            Value::Array(items) => {
                bounds(words, "Items", items.len(), at, problems);
                if schema["uniqueItems"] == true
                    && (1..items.len()).any(|i| items[..i].contains(&items[i]))
                {
                    problems.push(format!("{at}: an item comes twice"));
                }
                if let Some(schema) = words.get("items") {
                    for (i, item) in items.iter().enumerate() {
                        self.value(schema, item, &format!("{at}[{i}]"), closed, problems);
                    }
                }
            }
            Value::String(text) => bounds(words, "Length", text.chars().count(), at, problems),
            Value::Number(number) => {
                numbers(schema, number.as_f64().unwrap_or(f64::NAN), at, problems)
            }
            _ => {}
        }
        self.combinations(words, value, at, problems);
    }

    fn object(
        &self,
        words: &Map<String, Value>,
        fields: &Map<String, Value>,
        at: &str,
        closed: bool,
        problems: &mut Vec<String>,
    ) {
        for name in words
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let name = name.as_str().unwrap_or("");
            if !fields.contains_key(name) {
                problems.push(format!("{at}: {name} is missing"));
            }
        }
        let properties = words.get("properties").and_then(Value::as_object);
        let more = words.get("additionalProperties");
        let split = ["oneOf", "anyOf", "allOf"]
            .iter()
            .any(|word| words.contains_key(*word));
        for (name, value) in fields {
            let place = format!("{at}.{name}");
            if let Some(schema) = properties.and_then(|p| p.get(name)) {
                self.value(schema, value, &place, closed, problems);
            } else {
                match more {
                    Some(Value::Bool(true)) => {}
                    Some(Value::Bool(false)) => problems.push(format!("{place} is not allowed")),
                    Some(schema) => self.value(schema, value, &place, closed, problems),
                    None if closed && !split && properties.is_some() => {
                        problems.push(format!("{place} is not specified"));
                    }
                    None => {}
                }
            }
        }
    }

    fn combinations(
        &self,
        words: &Map<String, Value>,
        value: &Value,
        at: &str,
        problems: &mut Vec<String>,
    ) {
        let branches = |word: &str| words.get(word).and_then(Value::as_array);
        let fits = |schema: &Value| {
            let mut found = Vec::new();
            self.value(schema, value, at, false, &mut found);
            found.is_empty()
        };
        for schema in branches("allOf").into_iter().flatten() {
            self.value(schema, value, at, false, problems);
        }
        if let Some(schemas) = branches("anyOf")
            && !schemas.iter().any(fits)
        {
            problems.push(format!("{at}: fits none of the alternatives"));
        }
        if let Some(schemas) = branches("oneOf") {
            let count = schemas.iter().filter(|schema| fits(schema)).count();
            if count != 1 {
                problems.push(format!("{at}: fits {count} of the alternatives, not one"));
            }
        }
        if words.get("not").is_some_and(fits) {
            problems.push(format!("{at}: is what it must not be"));
        }
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

fn bounds(
    words: &Map<String, Value>,
    of: &str,
    count: usize,
    at: &str,
    problems: &mut Vec<String>,
) {
    let limit = |word: String| words.get(&word).and_then(Value::as_u64).map(|n| n as usize);
    if limit(format!("min{of}")).is_some_and(|least| count < least) {
        problems.push(format!("{at}: too few ({count})"));
    }
    if limit(format!("max{of}")).is_some_and(|most| count > most) {
        problems.push(format!("{at}: too many ({count})"));
    }
}

fn numbers(schema: &Value, number: f64, at: &str, problems: &mut Vec<String>) {
    let low = schema["minimum"].as_f64().is_some_and(|least| {
        number < least || (schema["exclusiveMinimum"] == true && number == least)
    });
    let high = schema["maximum"].as_f64().is_some_and(|most| {
        number > most || (schema["exclusiveMaximum"] == true && number == most)
    });
    let odd = schema["multipleOf"]
        .as_f64()
        .is_some_and(|of| (number / of).fract() != 0.0);
    if low || high || odd {
        problems.push(format!("{at}: {number} is out of bounds"));
    }
}
