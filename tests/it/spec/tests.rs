//! The judge judged: what is wrong must not pass.

use super::*;
use serde_json::json;

fn small() -> Spec {
    Spec {
        doc: json!({
            "paths": {
                "/things": {
                    "get": { "parameters": [
                        { "name": "page", "in": "query", "schema": { "type": "integer", "minimum": 1 } },
                        { "name": "id", "in": "query", "required": true,
                          "schema": { "type": "array", "items": { "type": "integer" } } }
                    ] },
                    "post": { "requestBody": { "required": true, "content": { "application/json": {
                        "schema": { "$ref": "#/components/schemas/Thing" } } } } }
                },
                "/things/{id}": {
                    "parameters": [{ "name": "id", "in": "path", "schema": { "type": "integer" } }],
                    "delete": {}
                },
                "/things/all": { "delete": {} }
            },
            "components": { "schemas": { "Thing": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": { "type": "string", "minLength": 1, "maxLength": 5 },
                    "kind": { "type": "string", "enum": ["a", "b"], "nullable": true },
                    "sizes": { "type": "array", "maxItems": 2, "items": { "type": "integer", "maximum": 9 } },
                    "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                    "either": { "oneOf": [{ "type": "string" }, { "type": "integer" }] },
                    "both": { "allOf": [
                        { "type": "object", "required": ["x"] }, { "type": "object", "required": ["y"] }
                    ] }
                }
            } } }
        }),
        prefix: "/v1".into(),
    }
}

#[test]
fn a_good_request_has_no_problems() {
    let spec = small();
    let body = json!({ "name": "x", "kind": null, "sizes": [1, 9], "labels": { "any": "text" }, "either": 3,
        "both": { "x": 1, "y": 2 } });
    assert_eq!(
        spec.problems("POST", "/v1/things", "", Some(&body)),
        Vec::<String>::new()
    );
    assert_eq!(
        spec.problems("GET", "/v1/things", "id=1&id=2&page=3", None),
        Vec::<String>::new()
    );
    assert_eq!(
        spec.problems("DELETE", "/v1/things/7", "", None),
        Vec::<String>::new()
    );
    assert_eq!(
        spec.problems("DELETE", "/v1/things/all", "", None),
        Vec::<String>::new()
    );
}

#[test]
fn every_kind_of_mistake_is_a_problem() {
    let spec = small();
    let post = |body: Value| spec.problems("POST", "/v1/things", "", Some(&body));
    for (body, words) in [
        (json!({}), "name is missing"),
        (json!({ "name": 1 }), "is no string"),
        (json!({ "name": "" }), "too few"),
        (json!({ "name": "abcdef" }), "too many"),
        (json!({ "name": "x", "kind": "c" }), "none of the allowed"),
        (json!({ "name": "x", "sizes": [1, 2, 3] }), "too many"),
        (json!({ "name": "x", "sizes": [10] }), "out of bounds"),
        (json!({ "name": "x", "sizes": [1.5] }), "is no integer"),
        (json!({ "name": "x", "sizes": null }), "is no array"),
        (json!({ "name": "x", "labels": { "a": 1 } }), "is no string"),
        (json!({ "name": "x", "either": true }), "fits 0"),
        (json!({ "name": "x", "both": { "x": 1 } }), "y is missing"),
        (json!({ "name": "x", "nmae": "x" }), "not specified"),
        (json!([]), "is no object"),
    ] {
        let problems = post(body.clone()).join("; ");
        assert!(problems.contains(words), "{body}: {problems}");
    }
    for (method, path, query, words) in [
        ("POST", "/v1/things", "", "body is missing"),
        ("GET", "/v1/things", "", "id is missing"),
        ("GET", "/v1/things", "id=x", "is no integer"),
        ("GET", "/v1/things", "id=1&page=0", "out of bounds"),
        ("GET", "/v1/things", "id=1&page=1&page=2", "comes twice"),
        ("GET", "/v1/things", "id=1&sort=name", "not specified"),
        ("PUT", "/v1/things", "", "knows no PUT"),
        ("DELETE", "/v1/things/x", "", "is no integer"),
        ("GET", "/v1/thing", "", "no path"),
        ("GET", "/v2/things", "", "does not begin"),
    ] {
        let problems = spec.problems(method, path, query, None).join("; ");
        assert!(
            problems.contains(words),
            "{method} {path}?{query}: {problems}"
        );
    }
}

#[test]
fn a_schema_word_that_is_not_understood_is_a_problem() {
    let mut spec = small();
    spec.doc["components"]["schemas"]["Thing"]["propertyNames"] = json!({});
    let problems = spec.problems("POST", "/v1/things", "", Some(&json!({ "name": "x" })));
    assert!(problems.join("").contains("propertyNames"), "{problems:?}");
}
