//! What templates give, and where their problems point.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{fill, references};
use crate::problem::{Problem, Source};
use crate::yaml::{self, Node};

fn yaml(text: &str) -> Node {
    let source = Arc::new(Source {
        name: "plan.yaml".into(),
        text: text.into(),
    });
    let (node, problems) = yaml::parse(&source);
    assert_eq!(problems, []);
    node.unwrap()
}

fn scope() -> Value {
    json!({
        "steps": { "restore-db": { "host": "db-1", "rows": 12, "ips": ["a", "b"], "gone": null } },
        "inputs": { "tier": "large", "wide": true, "html": "<&>" },
        "run": { "id": "01abc" },
    })
}

fn filled(text: &str) -> Value {
    fill(&yaml(text), &scope()).unwrap().to_json()
}

fn refused(text: &str) -> Problem {
    let mut problems = fill(&yaml(text), &scope()).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn a_text_that_is_one_path_keeps_the_type_of_its_value() {
    assert_eq!(filled("\"{{steps.restore-db.rows}}\""), json!(12));
    assert_eq!(filled("\"{{ steps.restore-db.ips }}\""), json!(["a", "b"]));
    assert_eq!(filled("\"{{steps.restore-db.gone}}\""), json!(null));
    assert_eq!(filled("\"{{steps.restore-db.ips.1}}\""), json!("b"));
    assert_eq!(
        filled("\"rows: {{steps.restore-db.rows}}\""),
        json!("rows: 12")
    );
}

#[test]
fn nothing_is_escaped_for_html() {
    assert_eq!(filled("\"-{{inputs.html}}-\""), json!("-<&>-"));
}

#[test]
fn a_question_gives_true_or_false() {
    assert_eq!(filled("\"{{eq inputs.tier 'large'}}\""), json!(true));
    assert_eq!(
        filled("\"{{not (and inputs.wide (ne inputs.tier 'large'))}}\""),
        json!(true)
    );
    assert_eq!(
        filled("\"{{#if inputs.wide}}w{{else}}n{{/if}}\""),
        json!("w")
    );
}

#[test]
fn an_escaped_template_is_a_text_with_two_braces() {
    assert_eq!(
        filled(r"'docker ps --format \{{.ID}} {{run.id}}'"),
        json!("docker ps --format {{.ID}} 01abc")
    );
}

#[test]
fn an_undefined_name_is_found_even_in_a_condition() {
    let problem = refused("\"{{#if steps.restore-db.nope}}x{{/if}}\"");
    assert_eq!(problem.message, "`steps.restore-db` has no `nope`");
}

#[test]
fn an_undefined_name_points_into_the_text_and_offers_the_nearest() {
    let text = "a: |\n  first\n  second {{run.id}} {{steps.restore-db.hots}}\n";
    let problem = refused(text);
    assert_eq!(problem.labels[0].0.to_string(), "plan.yaml:3:23");
    let patch = problem.patch.unwrap();
    assert_eq!(
        &text[patch.place.start..patch.place.end],
        "steps.restore-db.hots"
    );
    assert_eq!(patch.with, "steps.restore-db.host");
}

#[test]
fn a_value_that_no_text_can_hold_is_refused_in_a_text() {
    assert!(
        refused("\"x {{steps.restore-db.gone}}\"")
            .message
            .contains("is empty")
    );
    assert!(
        refused("\"x {{steps.restore-db}}\"")
            .message
            .contains("a group of values")
    );
}

#[test]
fn what_is_not_in_the_small_language_is_refused_with_a_reason() {
    for text in [
        "{{#each steps}}x{{/each}}",
        "{{> part}}",
        "{{{run.id}}}",
        "{{lookup run 'id'}}",
        "{{../x}}",
        "{{this}}",
        "{{@root.x}}",
        "{{! note }}",
        "{{steps.[a]}}",
        "{{run.id",
        "{{#if run.id}}x",
        "{{}}",
        "{{eq run.id}}",
        "{{upper run.id}}",
        "{{*inline 'x'}}",
        "{{log run.id}}",
        "{{&run.id}}",
    ] {
        let problem = refused(&format!("\"{text}\""));
        assert!(
            problem.code == "template" || problem.code == "undefined",
            "{text}: {problem:?}"
        );
    }
}

#[test]
fn references_are_found_in_their_order_with_their_places() {
    let text = "a: 'run.id {{run.id}} {{#if (eq inputs.tier \"x\")}}{{steps.a.b}}{{else}}{{steps.c.d}}{{/if}} {{run.id}}'";
    let (found, problems) = references(&yaml(text));
    assert_eq!(problems, []);
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        ["run.id", "inputs.tier", "steps.a.b", "steps.c.d", "run.id"]
    );
    for reference in &found {
        assert_eq!(
            &text[reference.place.start..reference.place.end],
            reference.to_string()
        );
    }
    assert!(found[0].place.start > text.find("{{").unwrap());
    assert!(found[4].place.start > found[3].place.start);
}

#[test]
fn the_renderer_sees_only_what_a_template_names() {
    let mut small = json!({});
    for path in [
        vec!["run", "id"],
        vec!["steps", "restore-db", "ips", "1"],
        vec!["nope", "x"],
    ] {
        let path: Vec<String> = path.into_iter().map(str::to_string).collect();
        super::copy(&mut small, &scope(), &path);
    }
    let wanted =
        json!({ "run": { "id": "01abc" }, "steps": { "restore-db": { "ips": ["a", "b"] } } });
    assert_eq!(small, wanted);
}

#[test]
fn what_is_left_of_an_answer_with_a_secret_goes_nowhere() {
    let scope = json!({ "steps": { "look": { "value": format!("x{}y", crate::secret::MASKED) } } });
    let found = fill(&yaml("\"{{steps.look.value}}\""), &scope).unwrap_err();
    assert_eq!(found[0].code, "masked");
    assert_eq!(
        found[0].message,
        "a secret stood in `steps.look.value`, and no run keeps one"
    );
}

#[test]
fn a_key_cannot_be_a_template() {
    assert_eq!(
        refused("\"{{run.id}}\": 1").message,
        "a key cannot be a template"
    );
}

#[test]
fn a_literal_alone_is_no_template() {
    for text in ["{{5}}", "{{'x'}}", "{{true}}", "{{null}}"] {
        refused(&format!("\"{text}\""));
    }
}
