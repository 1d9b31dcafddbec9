//! A template in a file of its own, rendered for a host with values that a person wrote.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Context;
use crate::kind::{Failure, Reason};
use crate::problem::{Place, Problem, Source};
use crate::template::Template;
use crate::yaml::{Kind, Node};

/// Stands for an address that nobody knows yet (RFC 5737).
pub(super) const SAMPLE_ADDRESS: &str = "192.0.2.1";

/// Reads a template. Its problems point into the file.
pub(super) fn parse(path: &Path, bytes: Vec<u8>) -> Result<Template, Problem> {
    let name = path.display().to_string();
    let (text, readable) = match String::from_utf8(bytes) {
        Ok(text) => (text, true),
        Err(_) => (String::new(), false),
    };
    let source = Arc::new(Source {
        name,
        text: text.clone(),
    });
    let place = Place {
        start: 0,
        end: text.len(),
        source,
    };
    if !readable {
        return Err(Problem::error(
            "template",
            &place,
            "a template is a text in UTF-8",
        ));
    }
    Template::parse(&Node {
        kind: Kind::String(text),
        place,
    })
}

/// What a template can name: the values, and the host that the file is for.
pub(super) fn scope(values: &Map<String, Value>, host: &str, address: &str) -> Value {
    let mut scope = values.clone();
    scope.insert("host".into(), json!({ "name": host, "address": address }));
    Value::Object(scope)
}

/// The address of a host; a sample where the run has not made it yet.
pub(super) fn address(cx: &Context, host: &str) -> String {
    let facts = cx.services.hosts.facts(host);
    facts.map_or_else(|| SAMPLE_ADDRESS.to_string(), |facts| facts.address)
}

/// The text that comes of it.
pub(super) fn render(template: &Template, scope: &Value) -> Result<String, Vec<Problem>> {
    Ok(match template.render(scope)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Values that no template names, and names that are taken.
pub(super) fn misused<'a>(
    values: &'a Map<String, Value>,
    templates: &[Template],
) -> Vec<(&'a str, String)> {
    let used = |name: &str| {
        let mut references = templates.iter().flat_map(Template::references);
        references.any(|reference| reference.path.first().is_some_and(|first| first == name))
    };
    let mut found = Vec::new();
    for name in values.keys() {
        if name == "host" {
            found.push((
                name.as_str(),
                "`host` is the host itself: {{host.name}}, {{host.address}}".to_string(),
            ));
        } else if !used(name) {
            found.push((name.as_str(), format!("no template uses `{name}`")));
        }
    }
    found
}

/// Problems as the failure of a step.
pub(super) fn failure(problems: &[Problem]) -> Failure {
    let words: Vec<String> = problems
        .iter()
        .map(|problem| match problem.labels.first() {
            Some((place, _)) => format!("{place}: {}", problem.message),
            None => problem.message.clone(),
        })
        .collect();
    Failure::new(Reason::Other, words.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_template_knows_its_values_and_its_host() {
        let text = "db={{database}} me={{host.name}}/{{host.address}}{{#if tls}} tls{{/if}}\n";
        let template = parse(Path::new("a.env"), text.into()).unwrap();
        let values = values(json!({ "database": "192.0.2.9", "tls": true }));
        assert_eq!(
            render(&template, &scope(&values, "web", "192.0.2.7")).unwrap(),
            "db=192.0.2.9 me=web/192.0.2.7 tls\n"
        );
        assert!(misused(&values, &[template]).is_empty());
    }

    #[test]
    fn what_a_template_does_not_find_is_shown_in_the_template() {
        let template = parse(Path::new("a.env"), b"one\ntwo {{databse}}\n".to_vec()).unwrap();
        let values = values(json!({ "database": "x" }));
        let problems = render(&template, &scope(&values, "web", "192.0.2.7")).unwrap_err();
        let failure = failure(&problems);
        assert!(
            failure.message.starts_with("a.env:2:7: "),
            "{}",
            failure.message
        );
        assert_eq!(misused(&values, &[template])[0].0, "database");
    }

    #[test]
    fn bytes_that_are_no_text_are_no_template() {
        assert!(parse(Path::new("a"), vec![0xff, 0xfe]).is_err());
    }
}
