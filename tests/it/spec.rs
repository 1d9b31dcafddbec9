//! Requests held against the providers' own specifications. The files are not part of this repository: the folder
//! that `DR_PLAN_SPECS` names holds them. OpenAPI 3.0 and Swagger 2.0, as far as those files use them; a schema word
//! that is not understood here is an error, never ignored.

use std::path::PathBuf;

use serde_json::Value;

mod schema;
mod tests;

/// A loaded specification.
pub struct Spec {
    doc: Value,
    /// What stands before every path of the specification: `/v1`.
    prefix: String,
}

/// The folder with the specifications; `None` after saying so.
pub fn folder(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("DR_PLAN_SPECS").map(PathBuf::from);
    if folder.is_none() {
        println!("{test}: not applicable, DR_PLAN_SPECS names no folder of specifications");
    }
    folder
}

/// A path template, its item, and the values of its parameters.
type Found<'a> = (&'a str, &'a Value, Vec<(String, String)>);

impl Spec {
    pub fn load(file: &str, prefix: &str, test: &str) -> Option<Self> {
        let path = folder(test)?.join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Some(Self {
            doc: serde_json::from_str(&text).unwrap(),
            prefix: prefix.to_string(),
        })
    }

    pub fn doc(&self) -> &Value {
        &self.doc
    }

    /// Everything that the specification has against a request.
    pub fn problems(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: Option<&Value>,
    ) -> Vec<String> {
        let Some(path) = path.strip_prefix(&self.prefix) else {
            return vec![format!("{path} does not begin with {}", self.prefix)];
        };
        let Some((template, item, values)) = self.find_path(path) else {
            return vec![format!("no path {path}")];
        };
        let Some(operation) = item.get(method.to_ascii_lowercase()) else {
            return vec![format!("{template} knows no {method}")];
        };
        let mut problems = Vec::new();
        let parameters: Vec<&Value> = [item.get("parameters"), operation.get("parameters")]
            .into_iter()
            .flatten()
            .filter_map(Value::as_array)
            .flatten()
            .map(|parameter| self.resolve(parameter))
            .collect();
        let named = |place: &str, name: &str| {
            parameters
                .iter()
                .copied()
                .find(|p| p["in"] == place && p["name"] == name)
        };
        for (name, text) in &values {
            match named("path", name) {
                Some(parameter) => {
                    self.parameter(parameter, text, &format!("path {name}"), &mut problems)
                }
                None => problems.push(format!("path parameter {name} is not specified")),
            }
        }
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        for (name, text) in &pairs {
            let Some(parameter) = named("query", name) else {
                problems.push(format!("query parameter {name} is not specified"));
                continue;
            };
            let schema = self.resolve(parameter.get("schema").unwrap_or(parameter));
            let many = pairs.iter().filter(|(other, _)| other == name).count() > 1;
            if schema["type"] == "array" {
                self.parameter(
                    &schema["items"],
                    text,
                    &format!("query {name}"),
                    &mut problems,
                );
            } else if many {
                problems.push(format!("query parameter {name} comes twice"));
            } else {
                self.parameter(parameter, text, &format!("query {name}"), &mut problems);
            }
        }
        for parameter in &parameters {
            let name = parameter["name"].as_str().unwrap_or("");
            if parameter["in"] == "query"
                && parameter["required"] == true
                && pairs.iter().all(|(n, _)| n != name)
            {
                problems.push(format!("query parameter {name} is missing"));
            }
        }
        let in_body = parameters.iter().find(|p| p["in"] == "body");
        let (schema, required) = match (operation.get("requestBody"), in_body) {
            (Some(request), _) => {
                let request = self.resolve(request);
                let schema = request.pointer("/content/application~1json/schema");
                (schema, request["required"] == true)
            }
            (None, Some(parameter)) => (parameter.get("schema"), parameter["required"] == true),
            (None, None) => (None, false),
        };
        match (schema, body) {
            (Some(schema), Some(body)) => self.value(schema, body, "body", true, &mut problems),
            (None, Some(_)) => problems.push(format!("{method} {template} takes no body")),
            (_, None) if required => problems.push("the body is missing".into()),
            _ => {}
        }
        problems
    }

    /// The most literal template that fits, and the values of its parameters.
    fn find_path(&self, path: &str) -> Option<Found<'_>> {
        let parts: Vec<&str> = path.split('/').collect();
        let paths = self.doc["paths"].as_object()?;
        paths
            .iter()
            .filter_map(|(template, item)| {
                let names: Vec<&str> = template.split('/').collect();
                if names.len() != parts.len() {
                    return None;
                }
                let mut values = Vec::new();
                for (name, part) in names.iter().zip(&parts) {
                    match name
                        .strip_prefix('{')
                        .and_then(|name| name.strip_suffix('}'))
                    {
                        Some(name) if !part.is_empty() => {
                            values.push((name.to_string(), (*part).to_string()))
                        }
                        _ if name == part => {}
                        _ => return None,
                    }
                }
                Some((template.as_str(), item, values))
            })
            .min_by_key(|(_, _, values)| values.len())
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let pointer = reference
                    .strip_prefix('#')
                    .expect("references stay in the file");
                self.resolve(
                    self.doc
                        .pointer(pointer)
                        .unwrap_or_else(|| panic!("{reference} leads nowhere")),
                )
            }
            None => value,
        }
    }

    /// A parameter is text; what its schema calls a number must read as one.
    fn parameter(&self, parameter: &Value, text: &str, at: &str, problems: &mut Vec<String>) {
        let schema = self.resolve(parameter.get("schema").unwrap_or(parameter));
        let value = match schema["type"].as_str() {
            Some("integer" | "number" | "boolean") => {
                serde_json::from_str(text).unwrap_or(Value::from(text))
            }
            _ => Value::from(text),
        };
        // In Swagger 2.0 the parameter is its own schema.
        let mut schema = schema.clone();
        if let Some(fields) = schema.as_object_mut() {
            for key in [
                "name",
                "in",
                "required",
                "explode",
                "style",
                "collectionFormat",
                "allowEmptyValue",
            ] {
                fields.remove(key);
            }
        }
        self.value(&schema, &value, at, true, problems);
    }
}
