//! Where values stand, what is refused, and what a schema's check says.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::units::{Size, Span};

fn parsed(text: &str) -> (Option<Node>, Vec<Problem>) {
    let source = Arc::new(Source {
        name: "t.yaml".into(),
        text: text.into(),
    });
    parse(&source)
}

fn tree(text: &str) -> Node {
    let (tree, problems) = parsed(text);
    assert_eq!(problems, []);
    tree.unwrap()
}

fn codes(text: &str) -> Vec<&'static str> {
    parsed(text)
        .1
        .into_iter()
        .map(|problem| problem.code)
        .collect()
}

fn written<'a>(text: &'a str, node: &Node) -> &'a str {
    &text[node.place.start..node.place.end]
}

#[test]
fn every_value_knows_its_place() {
    let text =
        "a: ü\nb: \"q\\n\" # note\nc: [1, {d: 'x'}]\ne:\n  f: 1.5\n  g:\n    - h\n\ni: end\n";
    let tree = tree(text);
    assert_eq!(written(text, tree.get("a").unwrap()), "ü");
    assert_eq!(written(text, tree.get("b").unwrap()), "\"q\\n\"");
    assert_eq!(written(text, tree.get("c").unwrap()), "[1, {d: 'x'}]");
    assert_eq!(
        written(text, &tree.get("c").unwrap().items()[1]),
        "{d: 'x'}"
    );
    assert_eq!(
        written(text, tree.get("e").unwrap()),
        "f: 1.5\n  g:\n    - h"
    );
    assert_eq!(
        tree.get("e").unwrap().key_place("g").to_string(),
        "t.yaml:6:3"
    );
    assert_eq!(tree.place.start, 0);
}

#[test]
fn line_n_of_a_block_text_is_line_n_of_its_place() {
    for text in [
        "run: |\n  one\n  two {{x}}\n",
        "run: | # note\n  one\n  two {{x}}\n",
        "a: 1\nrun: |-\n\n  two\n  three {{x}}\n\n",
        "run: |2\n    one\n  two {{x}}\n",
        "run: >\n  one\n  two {{x}}\n",
        "run: |\r\n  one\r\n  two {{x}}\r\n",
    ] {
        let tree = tree(text);
        let run = tree.get("run").unwrap();
        let content = run.as_str().unwrap();
        let first = run.place.line_column().0;
        assert_eq!(
            first,
            text.lines()
                .position(|line| line.starts_with("run"))
                .unwrap()
                + 2,
            "{text:?}"
        );
        let at = content.find("{{x}}").unwrap();
        let place = run.place_within(at, at + 5);
        assert_eq!(&text[place.start..place.end], "{{x}}", "{text:?}");
    }
}

#[test]
fn a_place_within_a_text_is_that_of_the_same_occurrence() {
    let text = "a: 'x y x y'\n";
    let node = tree(text);
    let place = node.get("a").unwrap().place_within(6, 7);
    assert_eq!(place.start, 10);
    // Escaped, so it was written in another way: the whole text is shown.
    let escaped = tree("a: \"\\x78\"\n");
    let node = escaped.get("a").unwrap();
    assert_eq!(node.place_within(0, 1), node.place);
}

#[test]
fn a_number_that_nobody_can_keep_is_one_problem() {
    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    #[allow(dead_code)]
    struct Some {
        count: u32,
        share: f64,
        list: Vec<u32>,
    }
    let big = "99999999999999999999";
    let text = format!("count: {big}\nshare: .inf\nlist: [1, {big}]\n");
    let source = std::sync::Arc::new(crate::problem::Source {
        name: "a.yaml".into(),
        text,
    });
    let (node, problems) = super::parse(&source);
    assert_eq!(problems.len(), 3);
    let more = super::decode::<Some>(&node.unwrap()).unwrap_err();
    assert!(more.is_empty(), "{more:?}");
    // In quotes it is a text, and a text is no number.
    let source = std::sync::Arc::new(crate::problem::Source {
        name: "a.yaml".into(),
        text: format!("count: \"{big}\"\nshare: 1\nlist: []\n"),
    });
    let (node, problems) = super::parse(&source);
    assert!(problems.is_empty());
    let more = super::decode::<Some>(&node.unwrap()).unwrap_err();
    assert_eq!(more.len(), 1, "{more:?}");
}

#[test]
fn what_could_surprise_a_reader_is_refused() {
    assert_eq!(codes("a: 1\na: 2\n"), ["duplicate-key"]);
    assert_eq!(codes("'a': 1\na: 2\n"), ["duplicate-key"]);
    assert_eq!(codes("a: &x 1\nb: *x\n"), ["anchor", "alias"]);
    assert_eq!(codes("b: *never\n"), ["alias"]);
    assert_eq!(codes("a: {<<: {b: 1}}\n"), ["merge-key"]);
    assert_eq!(codes("a: !!binary aGk=\n"), ["tag"]);
    assert_eq!(codes("a: !x [1]\n"), ["tag"]);
    assert_eq!(codes("a: 1\n---\nb: 2\n"), ["documents"]);
    assert_eq!(codes("%YAML 1.1\n---\na: 1\n"), ["syntax"]);
    assert_eq!(codes("a: 99999999999999999999\n"), ["number"]);
    assert_eq!(codes("? [a]\n: 1\n"), ["key"]);
    assert_eq!(codes("{{x}}: 1\n"), ["unquoted-template", "key"]);
    assert_eq!(
        codes("a: {{steps.db.host}}\nb: [{{x}}]\n"),
        ["unquoted-template", "unquoted-template"]
    );
    assert_eq!(codes("a: {{x}}/path\n"), ["unquoted-template", "syntax"]);
    assert_eq!(codes(""), ["empty-file"]);
    assert_eq!(codes("# only a note\n"), ["empty-file"]);
    assert_eq!(codes("a: b: c\n"), ["syntax"]);
    assert_eq!(codes("a: [1\n"), ["syntax"]);
    assert_eq!(
        codes(&format!("{}1{}", "[".repeat(65), "]".repeat(65))),
        ["deep-nest"]
    );
    assert_eq!(
        codes(&format!("{}1{}", "[".repeat(64), "]".repeat(64))),
        Vec::<&str>::new()
    );
    assert_eq!(
        codes(&format!("[{}]", "1,".repeat(MOST_NODES))),
        ["large-file"]
    );
}

#[test]
fn keys_are_texts_however_they_look() {
    assert_eq!(
        tree("on: 1\ntrue: 2\n5432: 3\nnull: 4\n").to_json(),
        json!({ "on": 1, "true": 2, "5432": 3, "null": 4 })
    );
}

#[test]
fn a_file_that_is_no_text_or_too_large_is_refused_by_name() {
    let path = Path::new("x.yaml");
    let code = |bytes: &[u8]| {
        read(path, Ok(bytes))
            .map(|source| source.text.clone())
            .map_err(|problem| problem.code)
    };
    assert_eq!(code(b"\xef\xbb\xbfa: 1"), Ok("a: 1".to_string()));
    assert_eq!(code(b"\xff\xfea"), Err("not-utf-8"));
    assert_eq!(code(&vec![b' '; MOST_BYTES + 1]), Err("large-file"));
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sample {
    name: String,
    count: Option<u16>,
    ratio: Option<f64>,
    wait: Option<Span>,
    disk: Option<Size>,
    mode: Option<Mode>,
    kinds: Option<Vec<Variant>>,
    map: Option<BTreeMap<String, i64>>,
    pair: Option<(String, bool)>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = ["sideways"]))]
enum Mode {
    /// Up.
    Up,
    /// Down.
    Down,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Variant {
    Plain,
    Text(String),
    Group { size: u8 },
}

fn refusals(text: &str) -> Vec<String> {
    decode::<Sample>(&tree(text))
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}

#[test]
fn what_fits_the_schema_is_decoded() {
    let text = "name: x\ncount: 3\nratio: 2\nwait: 1m\ndisk: 4GiB\nmode: up\nkinds: [plain, {text: t}, {group: {size: 1}}]\nmap: {a: -1}\npair: [a, true]\n";
    let sample: Sample = decode(&tree(text)).unwrap();
    assert_eq!(
        sample.kinds.unwrap(),
        [
            Variant::Plain,
            Variant::Text("t".into()),
            Variant::Group { size: 1 }
        ]
    );
    assert_eq!(
        (sample.disk, sample.pair),
        (Some(Size(4 << 30)), Some(("a".into(), true)))
    );
}

#[test]
fn everything_that_does_not_fit_is_said_at_once() {
    let text = "nam: x\ncount: 70000\nratio: a\nwait: 90\ndisk: big\nmode: op\nkinds: [text, {text: 1}, {group: {}}, {plain: 1}, {text: a, group: b}]\nmap: {a: x}\n";
    assert_eq!(
        refusals(text),
        [
            "`nam` is not a key that can stand here",
            "this number must be at most 65535",
            "expected a number, found a text",
            "expected a duration such as `15m`, found a whole number",
            "`big` is not a size: write it like `500MB` or `4GiB`",
            "`op` cannot stand here",
            "`text` needs more than its name",
            "expected a text, found a whole number",
            "`group` needs the key `size`",
            "`plain` is not known here",
            "exactly one of `text`, `group` is wanted here, found more than one",
            "expected a whole number, found a text",
        ]
    );
    assert_eq!(
        refusals("name: x\nmode: sideways\n"),
        ["`sideways` is not carried out by this version yet"]
    );
    assert_eq!(
        refusals("name: 5\n"),
        ["expected a text, found a whole number"]
    );
    assert_eq!(
        refusals("- name\n"),
        ["expected a group of keys, found a list"]
    );
}

#[test]
fn a_key_without_a_value_is_probably_forgotten() {
    assert_eq!(refusals("name: x\ncount:\n"), ["`count` has no value"]);
    assert_eq!(
        decode::<Sample>(&tree("name: x\ncount: null\n"))
            .unwrap()
            .count,
        None
    );
}

#[test]
fn a_template_passes_where_it_will_be_filled_in_later() {
    let node = tree("name: x\ncount: '{{inputs.n}}'\nratio: a\n");
    let schema = Schema::of::<Sample>();
    assert_eq!(schema.check(&node, Templates::Refused).len(), 2);
    assert_eq!(schema.check(&node, Templates::Allowed).len(), 1);
}

#[test]
fn json_comes_back_as_it_went_in() {
    let value = json!({ "a": [1, -2, 2.5, null, true, "x"], "b": { "c": u64::MAX } });
    let place = tree("a: 1").place;
    assert_eq!(Node::from_json(&value, &place).to_json(), value);
}

proptest! {
    #[test]
    fn no_text_can_make_the_parser_panic(text in "[ab:\\-\\[\\]{}&*!|>'\"#%@`\\\\\\n\\t ,?~<.0-9ü\u{feff}\u{85}]{0,60}") {
        let (tree, problems) = parsed(&text);
        prop_assert!(tree.is_some() || !problems.is_empty());
        for problem in &problems {
            let place = &problem.labels[0].0;
            prop_assert!(text.get(place.start..place.end).is_some(), "{:?}", problem);
        }
        if let Some(tree) = tree {
            prop_assert!(text.get(tree.place.start..tree.place.end).is_some());
            let _ = Schema::of::<Sample>().check(&tree, Templates::Allowed);
            let _ = crate::yaml::decode::<Sample>(&tree);
        }
    }
}
