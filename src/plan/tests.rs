//! What a sound plan becomes, and what no plan may do to the loader.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::problem::Source;
use crate::secret::SecretRef;

const KINDS: Kinds<'_> = Kinds {
    known: &[
        "server.create",
        "server.power",
        "dataset.restore",
        "host.run",
        "dns.switch",
        "notify",
        "wait",
        "check.http",
        "check.backups",
    ],
    later: &["ip.assign"],
};

const FAILOVER: &str = r##"# yaml-language-server: $schema=plan.json
version: 1
name: region-failover
description: Rebuild the shop elsewhere.
inventory: ../inventories/shop.yaml
objectives: { rto: 60m, rpo: 15m }
assumes_lost: [hetzner/fsn1]
inputs:
  point: { type: time, default: latest, help: Recover to this moment }
  tier: { type: string }
health:
  hold: 30s
  within: 5m
  checks:
    - check.http: { url: "https://shop.example/health", at: "{{steps.web.ipv4}}" }
steps:
  assess:
    uses: check.backups
    with: { datasets: [shop-db] }
  fence:
    uses: server.power
    with: { server: db-1, state: off }
    if_source_lost: attest
  db:
    needs: [assess]
    uses: server.create
    with: { role: db, place: [hetzner/nbg1], size: { cpus: 4 } }
    expect: 3m
    timeout: 15m
    retry: { attempts: 3, backoff: 2s, on: [no_capacity, quota] }
  web: { needs: [assess], uses: server.create, with: { role: web } }
  restore-db:
    needs: [fence]
    uses: dataset.restore
    with: { dataset: shop-db, host: "{{steps.db.host}}", point: "{{inputs.point}}" }
    verify:
      - sql: { query: "select count(*) from users", expect: ">= 1000" }
      - newest: { query: "select max(created_at) from orders", within: rpo }
  migrate:
    needs: [{ step: restore-db, was: finished }]
    host: "{{steps.db.host}}"
    run: |
      psql -v ON_ERROR_STOP=1 -f /srv/shop/post-restore.sql
    unless: psql -Atc "select 1" | grep -q 1
    as: postgres
    env: { SHOP_ENV: recovery, DB: "{{steps.db.ipv4}}" }
    secrets: { API_KEY: { file: secrets/key } }
    critical: false
  go:
    needs: [migrate, web]
    manual: Move the shop to {{steps.web.ipv4}}?
    approval: { by: [ops], minimum: 1, timeout: 20m }
    modes: [failover]
  dns:
    needs: [go]
    uses: dns.switch
    with:
      domain: shop.example
      records: { "@": "{{steps.web.ipv4}}" }
      gate: { url: "https://shop.example/orders/newest" }
    on_failure: stop
finally:
  tell: { uses: notify, with: { to: ops, text: "{{run.id}}: {{steps.web.ipv4}}" } }
"##;

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source {
        name: "plan.yaml".into(),
        text: text.into(),
    })
}

fn load_text(text: &str) -> Result<Loaded, Vec<Problem>> {
    read(&source(text), Path::new("/estate/plans"), &KINDS)
}

fn messages(text: &str) -> Vec<String> {
    load_text(text)
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}

#[test]
fn a_whole_plan_is_read() {
    let Loaded { plan, warnings } = load_text(FAILOVER).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        plan.inventory,
        Some(PathBuf::from("/estate/plans/../inventories/shop.yaml"))
    );
    assert_eq!(plan.objectives.rpo, Some(Span(Duration::from_secs(900))));
    assert_eq!(plan.assumes_lost[0].0, "hetzner/fsn1");
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "assess",
            "fence",
            "db",
            "web",
            "restore-db",
            "migrate",
            "go",
            "dns"
        ]
    );
    assert_eq!(plan.inputs[0].default, Some(json!("latest")));
    let health = plan.health.as_ref().unwrap();
    assert_eq!(
        (health.checks[0].kind.as_str(), health.checks.len()),
        ("check.http", 1)
    );

    let db = plan.step("db").unwrap();
    assert_eq!(
        db.retry.as_ref().unwrap().on,
        [Reason::NoCapacity, Reason::Quota]
    );
    assert_eq!(db.place.to_string(), "plan.yaml:24:3");
    let Verb::Uses { kind, with, .. } = &db.verb else {
        panic!("{db:?}")
    };
    assert_eq!(kind, "server.create");
    assert_eq!(with.get("size").unwrap().to_json(), json!({ "cpus": 4 }));

    let migrate = plan.step("migrate").unwrap();
    assert!(!migrate.critical);
    assert_eq!(migrate.needs[0].was, Was::Finished);
    let Verb::Run(run) = &migrate.verb else {
        panic!("{migrate:?}")
    };
    assert_eq!(
        run.secrets["API_KEY"],
        SecretRef::File("/estate/plans/secrets/key".into())
    );
    let line = FAILOVER
        .lines()
        .position(|line| line.contains("psql -v"))
        .unwrap()
        + 1;
    assert_eq!(run.script.place.line_column(), (line, 7));
    assert_eq!(run.run_as.as_deref(), Some("postgres"));

    let go = plan.step("go").unwrap();
    assert_eq!(go.modes, Some(vec![Mode::Failover]));
    let Verb::Manual { approval, .. } = &go.verb else {
        panic!("{go:?}")
    };
    assert_eq!(approval.by, ["ops"]);
    assert_eq!(plan.step("dns").unwrap().on_failure, OnFailure::Stop);
    assert_eq!(plan.finally[0].needs, []);
    assert_eq!(plan.finally[0].references.len(), 2);
}

#[test]
fn a_reference_is_a_need() {
    let plan = load_text(FAILOVER).unwrap().plan;
    let needs = |id: &str| -> Vec<(String, bool)> {
        let needs = &plan.step(id).unwrap().needs;
        needs
            .iter()
            .map(|need| (need.step.to_string(), need.implied))
            .collect()
    };
    assert_eq!(
        needs("restore-db"),
        [("fence".to_string(), false), ("db".to_string(), true)]
    );
    assert_eq!(
        needs("migrate"),
        [("restore-db".to_string(), false), ("db".to_string(), true)]
    );
    assert_eq!(
        needs("go"),
        [("migrate".to_string(), false), ("web".to_string(), false)]
    );
}

#[test]
fn the_order_is_that_of_the_file_as_far_as_needs_allow() {
    let plan = load_text(FAILOVER).unwrap().plan;
    let graph = Graph::new(&plan.steps);
    assert_eq!(graph.order(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(graph.waves(), [0, 0, 1, 1, 2, 3, 4, 5]);
    assert_eq!(graph.dependants(0), [2, 3]);
    let swapped =
        "version: 1\nname: x\nsteps:\n  a: { uses: wait, needs: [b] }\n  b: { uses: wait }\n";
    assert_eq!(
        Graph::new(&load_text(swapped).unwrap().plan.steps).order(),
        [1, 0]
    );
}

#[test]
fn one_broken_step_hides_no_other_and_causes_no_echo() {
    let text = "version: 1\nname: x\nsteps:\n  a: { uses: wait, timeout: soon, needs: [nope] }\n  b: { uses: wiat, needs: [a] }\n";
    assert_eq!(
        messages(text),
        [
            "`soon` is not a duration: write it like `90s`, `15m` or `1h30m`",
            "there is no step `nope`",
            "there is no action `wiat`",
        ]
    );
}

#[test]
fn an_ordinary_step_cannot_wait_for_a_final_one() {
    let text = "version: 1\nname: x\nsteps:\n  a: { uses: wait, needs: [z] }\n  b: { uses: wait, with: { x: \"{{steps.z.y}}\" } }\nfinally:\n  z: { uses: notify }\n";
    let expected = "`z` stands in `finally`: it runs when all other steps have ended";
    assert_eq!(messages(text), [expected, expected]);
}

#[test]
fn an_id_is_unique_in_both_parts() {
    let text =
        "version: 1\nname: x\nsteps:\n  a: { uses: wait }\nfinally:\n  a: { uses: notify }\n";
    assert_eq!(messages(text), ["a step `a` is there already"]);
}

#[test]
fn a_step_cannot_refer_to_itself() {
    let text = "version: 1\nname: x\nsteps:\n  a: { uses: wait, with: { x: \"{{steps.a.y}}\" } }\n  b: { uses: wait, needs: [b] }\n";
    assert_eq!(
        messages(text),
        ["`a` refers to its own output", "`b` needs itself"]
    );
}

#[test]
fn every_key_of_the_format_is_carried_out_or_named() {
    let steps = "plan: x\nwhen: x\nfor_each: x\nmax_parallel: 1\nwatch: x\nundo: x";
    for key in steps.lines() {
        let text = format!("version: 1\nname: x\nsteps:\n  a:\n    uses: wait\n    {key}\n");
        let name = key.split(':').next().unwrap();
        assert_eq!(
            messages(&text),
            [format!("`{name}` is not carried out by this version yet")]
        );
    }
    let text = "version: 1\nname: x\nresidency: x\nsteps: { a: { uses: wait } }\n";
    assert_eq!(
        messages(text),
        ["`residency` is not carried out by this version yet"]
    );
    let text = "version: 1\nname: x\nsteps:\n  a: { manual: ok?, approval: { minimum: 2 } }\n";
    assert_eq!(
        messages(text),
        ["a `minimum` other than 1 is not carried out by this version yet"]
    );
}

#[test]
fn inputs_are_read_as_their_type_says() {
    let text = "version: 1\nname: x\ninputs:\n  n: { type: int, default: 3 }\n  b: { type: bool }\n  t: { type: time }\n  d: { type: duration }\nsteps: { a: { uses: wait } }\n";
    let plan = load_text(text).unwrap().plan;
    let input = |name: &str| plan.inputs.iter().find(|input| input.name == name).unwrap();
    assert_eq!(input("n").read("12"), Ok(json!(12)));
    assert_eq!(input("b").read("true"), Ok(json!(true)));
    assert_eq!(input("t").read("latest"), Ok(json!("latest")));
    assert!(
        input("t")
            .read("yesterday")
            .unwrap_err()
            .contains("`yesterday`")
    );
    assert!(input("d").read("90").is_err());
    assert!(input("n").read("many").is_err());
    for input in &plan.inputs {
        let sample = input.sample();
        let typed = sample
            .as_str()
            .map_or_else(|| sample.to_string(), str::to_string);
        assert_eq!(input.read(&typed), Ok(sample));
    }
    let wrong = text.replace("default: 3", "default: three");
    assert_eq!(messages(&wrong), ["expected a whole number, found `three`"]);
}

#[test]
fn a_plan_of_ten_thousand_steps_in_one_chain_is_read() {
    let mut text = String::from("version: 1\nname: long\nsteps:\n  s0: { uses: wait }\n");
    for at in 1..10_000 {
        text.push_str(&format!("  s{at}:\n    uses: wait\n    needs: [s{}]\n    with: {{ x: \"{{{{steps.s{}.y}}}}\" }}\n", at - 1, at / 2));
    }
    let plan = load_text(&text).unwrap().plan;
    assert_eq!(Graph::new(&plan.steps).order().len(), 10_000);
    // The longest possible ring, too, is found without a deep recursion.
    let ring = text.replacen(
        "s0: { uses: wait }",
        "s0: { uses: wait, needs: [s9999] }",
        1,
    );
    let problems = load_text(&ring).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].code, "ring");
}

#[test]
fn the_schema_for_editors_knows_every_key() {
    let schema = schema();
    let step = schema.pointer("/$defs/StepText/properties").unwrap();
    for key in [
        "uses",
        "with",
        "run",
        "as",
        "unless",
        "needs",
        "verify",
        "if_source_lost",
        "runbook_url",
    ] {
        assert!(step.get(key).is_some(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], json!(false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Cut, doubled, swapped and poisoned texts give a plan or problems whose places can be shown.
    #[test]
    fn no_text_can_make_the_loader_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..12), 1..6)
    ) {
        const POISON: [&str; 12] = [
            "{{", "}}", "&a ", "*a", "\t", "- ", ": ", "|\n", "\u{feff}", "{{#if x}}", "'", "ü{{steps.ü.ü}}\u{0}",
        ];
        let mut text = FAILOVER.to_string();
        for (from, to, poison) in cuts {
            let clamp = |at: usize| (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
            let (from, to) = (clamp(from.index(text.len().max(1))), clamp(to.index(text.len().max(1))));
            let (from, to) = (from.min(to), from.max(to));
            match poison % 3 {
                0 => text.replace_range(from..clamp(to.min(from + 40)), POISON[poison]),
                1 => text.insert_str(from, POISON[poison]),
                _ => { let part = text[from..to].to_string(); text.insert_str(to, &part); }
            }
            if text.len() > 200_000 { break; }
        }
        if let Err(problems) = load_text(&text) {
            prop_assert!(!problems.is_empty());
            for problem in &problems {
                for (place, _) in &problem.labels {
                    prop_assert!(place.start <= place.end && place.end <= place.source.text.len());
                    prop_assert!(place.source.text.get(place.start..place.end).is_some(), "{problem:?}");
                }
            }
        }
    }
}
