//! What people see. Each snapshot is a whole message, read as a new user would.

use std::path::Path;
use std::sync::Arc;

use crate::plan::{self, Kinds};
use crate::problem::Source;

const KINDS: Kinds<'_> = Kinds {
    known: &[
        "server.create",
        "dataset.restore",
        "check.http",
        "check.backups",
        "dns.switch",
        "notify",
        "wait",
    ],
    later: &["server.snapshot", "check.tls"],
};

fn shown(name: &str, text: &str) -> String {
    let source = Arc::new(Source {
        name: name.into(),
        text: text.into(),
    });
    match plan::read(&source, Path::new("plans"), &KINDS) {
        Ok(loaded) => super::render(&loaded.warnings, false),
        Err(problems) => super::render(&problems, false),
    }
}

/// A plan around some steps.
fn steps(steps: &str) -> String {
    let steps: String = steps.lines().map(|line| format!("  {line}\n")).collect();
    shown(
        "plan.yaml",
        &format!("version: 1\nname: demo\nsteps:\n{steps}"),
    )
}

#[test]
fn an_unknown_key_comes_with_the_nearest_right_word() {
    insta::assert_snapshot!(steps("a:\n  uses: wait\n  timout: 5m\n"), @r#"
    error[unknown-key]: `timout` is not a key that can stand here
     --> plan.yaml:6:5
      |
    6 |     timout: 5m
      |     ^^^^^^
      |
    help: did you mean `timeout`?
      |
    6 |     timeout: 5m
      |        +

    1 error
    "#);
}

#[test]
fn a_duplicate_key_shows_both_places() {
    insta::assert_snapshot!(steps("a:\n  uses: wait\n  timeout: 5m\n  notes: x\n  timeout: 6m"), @r#"
    error[duplicate-key]: `timeout` is there twice
     --> plan.yaml:8:5
      |
    6 |     timeout: 5m
      |     ------- first here
    7 |     notes: x
    8 |     timeout: 6m
      |     ^^^^^^^ again here

    1 error
    "#);
}

#[test]
fn a_missing_key_is_shown_at_its_owner() {
    insta::assert_snapshot!(shown("plan.yaml", "version: 1\nhealth: { hold: 3s }\nsteps: { a: { uses: wait } }\n"), @r#"
    error[missing-key]: the key `name` is missing
     --> plan.yaml:1:1
      |
    1 | version: 1
      | ^
      |
      = help: `name`: The plan's name: lower-case letters, digits and `-`.

    error[missing-key]: `health` needs the key `within`
     --> plan.yaml:2:1
      |
    2 | health: { hold: 3s }
      | ^^^^^^
      |
      = help: `within`: The run has failed when it is not so within this time of the last traffic step.

    error[missing-key]: `health` needs the key `checks`
     --> plan.yaml:2:1
      |
    2 | health: { hold: 3s }
      | ^^^^^^
      |
      = help: `checks`: One `check.*: {...}` each.

    3 errors
    "#);
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    insta::assert_snapshot!(steps("a:\n  uses: wait\n  needs: b\n  timeout: 90\n  critical: no\nb:\n  uses: [wait]"), @r#"
    error[wrong-type]: expected a list, found a text
     --> plan.yaml:6:12
      |
    6 |     needs: b
      |            ^
      |
    help: a list of one is written in brackets
      |
    6 -     needs: b
    6 +     needs: [b]
      |

    error[wrong-type]: expected a duration such as `15m`, found a whole number
     --> plan.yaml:7:14
      |
    7 |     timeout: 90
      |              ^^
      |
      = help: write its unit: `90s`, `90m` or `90h`

    error[wrong-type]: expected `true` or `false`, found a text
     --> plan.yaml:8:15
      |
    8 |     critical: no
      |               ^^
      |
    help: did you mean `false`?
      |
    8 -     critical: no
    8 +     critical: false
      |

    error[wrong-type]: expected a text, found a list
      --> plan.yaml:10:5
       |
    10 |     uses: [wait]
       |     ^^^^

    4 errors
    "#);
}

#[test]
fn an_unknown_step_in_needs() {
    insta::assert_snapshot!(steps("assess: { uses: wait }\ndb:\n  uses: wait\n  needs: [asess]"), @r#"
    error[unknown-step]: there is no step `asess`
     --> plan.yaml:7:13
      |
    7 |     needs: [asess]
      |             ^^^^^
      |
    help: did you mean `assess`?
      |
    7 |     needs: [assess]
      |               +

    1 error
    "#);
}

#[test]
fn a_ring_is_named_whole_in_the_order_of_the_file() {
    insta::assert_snapshot!(steps("start: { uses: wait }\na:\n  uses: wait\n  needs: [start, c]\nb:\n  uses: wait\n  needs: [a]\nc:\n  uses: wait\n  with: { for: \"{{steps.b.time}}\" }"), @r#"
    error[ring]: these steps wait for each other: `a` needs `c` needs `b` needs `a`
      --> plan.yaml:7:20
       |
     7 |     needs: [start, c]
       |                    ^ `a` needs `c`
    ...
    10 |     needs: [a]
       |             - `b` needs `a`
    ...
    13 |     with: { for: "{{steps.b.time}}" }
       |                     ------------ `c` refers to `b`
       |
       = help: take one of these needs out

    1 error
    "#);
}

#[test]
fn an_undefined_reference_points_into_its_text() {
    insta::assert_snapshot!(steps("db: { uses: server.create }\nweb:\n  uses: wait\n  with:\n    text: \"to {{steps.bd.host}} at {{input.point}} or {{inputs.point}}\""), @r#"
    error[undefined]: there is no step `bd`
     --> plan.yaml:8:19
      |
    8 |       text: "to {{steps.bd.host}} at {{input.point}} or {{inputs.point}}"
      |                   ^^^^^^^^^^^^^
      |
    help: did you mean `steps.db.host`?
      |
    8 -       text: "to {{steps.bd.host}} at {{input.point}} or {{inputs.point}}"
    8 +       text: "to {{steps.db.host}} at {{input.point}} or {{inputs.point}}"
      |

    error[undefined]: `input` is not defined
     --> plan.yaml:8:40
      |
    8 |       text: "to {{steps.bd.host}} at {{input.point}} or {{inputs.point}}"
      |                                        ^^^^^^^^^^^
      |
    help: did you mean `inputs.point`?
      |
    8 |       text: "to {{steps.bd.host}} at {{inputs.point}} or {{inputs.point}}"
      |                                             +

    error[undefined]: there is no input `point`
     --> plan.yaml:8:59
      |
    8 |       text: "to {{steps.bd.host}} at {{input.point}} or {{inputs.point}}"
      |                                                           ^^^^^^^^^^^^
      |
      = help: declare it: inputs: { point: { type: string } }

    3 errors
    "#);
}

#[test]
fn a_template_in_a_script_shows_the_way_through_env() {
    insta::assert_snapshot!(steps("a:\n  host: db-1\n  repeatable: true\n  run: |\n    cd /srv\n    psql -h {{steps.db.ipv4}}\n"), @r#"
    error[template-in-script]: a script holds no templates
     --> plan.yaml:9:15
      |
    9 |       psql -h {{steps.db.ipv4}}
      |               ^^^^^^^^^^^^^^^^^ this would become part of a shell command
      |
    help: give the step `env: { IPV4: "{{steps.db.ipv4}}" }` and use its variable here
      |
    9 -       psql -h {{steps.db.ipv4}}
    9 +       psql -h "$DR_IPV4"
      |

    1 error
    "#);
}

#[test]
fn a_script_must_say_how_it_is_known_to_be_done() {
    insta::assert_snapshot!(steps("a:\n  host: db-1\n  run: make migrate\n"), @r#"
    error[not-verified]: nothing says how this script is known to be done
     --> plan.yaml:6:5
      |
    4 |   a:
      |   - this step
    5 |     host: db-1
    6 |     run: make migrate
      |     ^^^
      |
      = help: add `unless:` (a script that ends with 0 if there is nothing to do), `verify:` (what to look at), or `repeatable: true` (it may run any number of times)

    1 error
    "#);
}

#[test]
fn two_verbs_and_a_key_of_another_one() {
    insta::assert_snapshot!(steps("a:\n  uses: wait\n  run: make\nb:\n  uses: wait\n  host: db-1\nc:\n  notes: what now"), @r#"
    error[two-verbs]: a step has `uses` or `run`, not both
     --> plan.yaml:6:5
      |
    5 |     uses: wait
      |     ---- one of the two
    6 |     run: make
      |     ^^^
      |
      = help: make two steps of it: one `needs` the other

    error[misplaced-key]: `host` belongs to `run`, and this step has `uses`
     --> plan.yaml:9:5
      |
    9 |     host: db-1
      |     ^^^^

    error[no-verb]: `c` does not say what it does
      --> plan.yaml:10:3
       |
    10 |   c:
       |   ^
       |
       = help: a step has `uses` (a built-in action), `run` with `host` (a script), or `manual` (a question)

    3 errors
    "#);
}

#[test]
fn anchors_aliases_tags_and_merge_keys_are_refused_all_at_once() {
    insta::assert_snapshot!(steps("a: &x\n  uses: wait\nb: *x\nc:\n  <<: *x\n  notes: !!str 5"), @r#"
    error[anchor]: anchors are not used in these files: `&x`
     --> plan.yaml:4:6
      |
    4 |   a: &x
      |      ^^
      |
      = help: write the value where it is needed: what a step does should stand in that step

    error[alias]: aliases are not used in these files: `*x`
     --> plan.yaml:6:6
      |
    6 |   b: *x
      |      ^^
      |
      = help: write the value itself here: what a step does should stand in that step

    error[merge-key]: merge keys are not used in these files
     --> plan.yaml:8:5
      |
    8 |     <<: *x
      |     ^^
      |
      = help: write the keys themselves here

    error[alias]: aliases are not used in these files: `*x`
     --> plan.yaml:8:9
      |
    8 |     <<: *x
      |         ^^
      |
      = help: write the value itself here: what a step does should stand in that step

    error[tag]: tags are not used in these files
     --> plan.yaml:9:12
      |
    9 |     notes: !!str 5
      |            ^^^^^
      |
      = help: take the tag out; a text that looks like something else goes into quotes

    5 errors
    "#);
}

#[test]
fn a_bomb_is_refused_at_its_first_alias() {
    let mut bomb = String::from("a: &a [x, x]\n");
    for (this, last) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        bomb.push_str(&format!(
            "{this}: &{this} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n"
        ));
    }
    let text = shown("bomb.yaml", &bomb);
    assert!(
        text.contains("aliases are not used in these files: `*a`"),
        "{text}"
    );
    let deep = shown("deep.yaml", &"[".repeat(100_000));
    insta::assert_snapshot!(deep.replace(&"[".repeat(40), ""), @r#"
    error[deep-nest]: nested more than 64 deep
     --> deep.yaml:1:65
      |
    1 | [[[[[[[[[[[[[...
      |                                                                 ^

    1 error
    "#);
}

#[test]
fn a_template_without_quotes_is_put_into_them() {
    insta::assert_snapshot!(steps("a:\n  uses: wait\n  with: { for: {{steps.b.time}} }\nb: { uses: wait, notes: {{run.id}}/x }"), @r#"
    error[unquoted-template]: a template needs quotes
     --> plan.yaml:6:18
      |
    6 |     with: { for: {{steps.b.time}} }
      |                  ^^^^^^^^^^^^^^^^
      |
    help: to YAML this is a map in a map
      |
    6 -     with: { for: {{steps.b.time}} }
    6 +     with: { for: "{{steps.b.time}}" }
      |

    error[unquoted-template]: a template needs quotes
     --> plan.yaml:7:27
      |
    7 |   b: { uses: wait, notes: {{run.id}}/x }
      |                           ^^^^^^^^^^
      |
    help: to YAML this is a map in a map
      |
    7 -   b: { uses: wait, notes: {{run.id}}/x }
    7 +   b: { uses: wait, notes: "{{run.id}}"/x }
      |

    error[syntax]: a text that begins with a template needs quotes
     --> plan.yaml:7:37
      |
    7 |   b: { uses: wait, notes: {{run.id}}/x }
      |                                     ^
      |
      = help: write "{{...}}..."

    3 errors
    "#);
}

#[test]
fn tabs_are_named() {
    insta::assert_snapshot!(shown("plan.yaml", "version: 1\nsteps:\n\ta:\n\t\tuses: wait\n"), @r#"
    error[syntax]: a tab stands where the line is indented
     --> plan.yaml:3:1
      |
    3 |     a:
      | ^^^^
      |
      = help: indent with spaces

    1 error
    "#);
}

#[test]
fn a_byte_order_mark_moves_no_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bom.yaml");
    std::fs::write(
        &path,
        b"\xef\xbb\xbfverzion: 1\nname: x\nsteps: { a: { uses: wait } }\n",
    )
    .unwrap();
    let problems = plan::load(&path, &KINDS).unwrap_err();
    let text = super::render(&problems, false).replace(folder.path().to_str().unwrap(), "");
    insta::assert_snapshot!(text, @r#"
    error[unknown-key]: `verzion` is not a key that can stand here
     --> /bom.yaml:1:1
      |
    1 | verzion: 1
      | ^^^^^^^
      |
    help: did you mean `version`?
      |
    1 - verzion: 1
    1 + version: 1
      |

    1 error
    "#);
}

#[test]
fn what_comes_later_says_so() {
    insta::assert_snapshot!(steps("a:\n  uses: server.snapshot\n  for_each: { x: [1] }\n  on_failure: continue\nb:\n  plan: other.yaml\nc: { uses: server.crate }"), @r#"
    error[not-yet]: `server.snapshot` is not carried out by this version yet
     --> plan.yaml:5:11
      |
    5 |     uses: server.snapshot
      |           ^^^^^^^^^^^^^^^

    error[not-yet]: `for_each` is not carried out by this version yet
     --> plan.yaml:6:5
      |
    6 |     for_each: { x: [1] }
      |     ^^^^^^^^

    error[not-yet]: `continue` is not carried out by this version yet
     --> plan.yaml:7:17
      |
    7 |     on_failure: continue
      |                 ^^^^^^^^

    error[not-yet]: `plan` is not carried out by this version yet
     --> plan.yaml:9:5
      |
    9 |     plan: other.yaml
      |     ^^^^

    error[unknown-kind]: there is no action `server.crate`
      --> plan.yaml:10:14
       |
    10 |   c: { uses: server.crate }
       |              ^^^^^^^^^^^^
       |
    help: did you mean `server.create`?
       |
    10 |   c: { uses: server.create }
       |                       +

    5 errors
    "#);
}

#[test]
fn a_switch_without_a_gate_is_a_problem() {
    insta::assert_snapshot!(steps("a:\n  uses: dns.switch\n  with: { domain: shop.example }\nb:\n  uses: dns.switch\n  with: { gate: none }"), @r#"
    error[no-gate]: this switch moves traffic without a gate
     --> plan.yaml:5:11
      |
    5 |     uses: dns.switch
      |           ^^^^^^^^^^
      |
      = help: add a `gate:` that asks the new address for a row written before the loss, or `gate: none` with `because:`

    error[no-gate]: `gate: none` needs a reason
     --> plan.yaml:9:19
      |
    9 |     with: { gate: none }
      |                   ^^^^
      |
      = help: say in `because:` why this switch needs no gate

    2 errors
    "#);
}

#[test]
fn a_file_that_is_not_there() {
    let problems = plan::load(Path::new("nowhere/plan.yaml"), &KINDS).unwrap_err();
    insta::assert_snapshot!(super::render(&problems, false), @r#"
    error[unreadable-file]: cannot read `nowhere/plan.yaml`: No such file or directory (os error 2)
    --> nowhere/plan.yaml

    1 error
    "#);
}

#[test]
fn the_hundred_and_first_problem_is_counted() {
    let many: String = (0..250)
        .map(|at| format!("s{at}: {{ uses: wait, bad: 1 }}\n"))
        .collect();
    let text = steps(&many);
    assert_eq!(text.matches("error[unknown-key]").count(), 100);
    assert!(
        text.ends_with("... and 150 more\n250 errors\n"),
        "{}",
        &text[text.len() - 80..]
    );
}

#[test]
fn problems_are_also_json_with_their_places() {
    let source = Arc::new(Source {
        name: "plan.yaml".into(),
        text: "version: 1\nname: x\nsteps: { a: { uses: wait, timout: 5m } }\n".into(),
    });
    let problems = plan::read(&source, Path::new(""), &KINDS).unwrap_err();
    insta::assert_snapshot!(serde_json::to_string_pretty(&super::json(&problems)).unwrap(), @r#"
    {
      "errors": 1,
      "warnings": 0,
      "problems": [
        {
          "code": "unknown-key",
          "severity": "error",
          "message": "`timout` is not a key that can stand here",
          "labels": [
            [
              {
                "file": "plan.yaml",
                "line": 3,
                "column": 27,
                "start": 45,
                "end": 51
              },
              ""
            ]
          ],
          "help": "did you mean `timeout`?",
          "patch": {
            "place": {
              "file": "plan.yaml",
              "line": 3,
              "column": 27,
              "start": 45,
              "end": 51
            },
            "with": "timeout"
          }
        }
      ]
    }
    "#);
}

#[test]
fn a_text_of_a_later_version_is_told_what_it_needs() {
    let said = shown(
        "plan.yaml",
        "version: 2\nname: demo\nsteps:\n  a: { uses: wait }\n",
    );
    for words in [
        "error[version]: this dr-plan reads version 1 of the format, and this text says 2",
        "a text of a later version needs a later dr-plan (this is ",
        "plan.yaml:1:10",
        "\n1 error",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let said = shown(
        "plan.yaml",
        "version: 0\nname: demo\nsteps:\n  a: { uses: wait }\n",
    );
    assert!(said.contains("and this text says 0"), "{said}");
}
