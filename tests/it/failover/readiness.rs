//! `check`, as cron asks it every night, and the screen that a person sees before a start.

use std::process::{Command, Stdio};
use std::{fs, io::Write};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::shop::{Shop, wait_for};

const PLAN: &str = "plans/region-failover.yaml";

#[track_caller]
fn check(shop: &Shop, code: i32) -> Value {
    let ran = shop.do_it(&["check", PLAN, "--json"]);
    assert_eq!(ran.code, code, "{}\n{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

/// Everything that is not as it should be, as `area name: words`.
fn not_ready(found: &Value) -> Vec<String> {
    let parts = found["parts"].as_array().unwrap().iter();
    parts
        .flat_map(|part| part["checks"].as_array().unwrap())
        .filter(|one| one["stand"] != "ready")
        .map(|one| {
            let findings = one["findings"].as_array().unwrap().iter();
            let words = findings
                .filter(|finding| finding["warning"] == true)
                .map(|finding| finding["what"].as_str().unwrap());
            let words: Vec<&str> = words.collect();
            let text = |key: &str| one[key].as_str().unwrap().to_string();
            format!("{} {}: {}", text("area"), text("name"), words.join("; "))
        })
        .collect()
}

#[test]
fn cron_hears_nothing_of_a_ready_estate_and_the_place_of_everything_else() {
    let shop = Shop::up("ready");
    let old = Timestamp::now() - SignedDuration::from_hours(30);
    shop.back_up(old, false);
    let found = check(&shop, 8);
    let said = not_ready(&found).join("\n");
    for dataset in ["shop-db", "shop-cache", "shop-media"] {
        assert!(said.contains(&format!("backups {dataset}: ")), "{said}");
    }

    shop.back_up(Timestamp::now(), false);
    assert_eq!(not_ready(&check(&shop, 0)), Vec::<String>::new());
    let quiet = shop.do_it(&["--quiet", "check", PLAN]).ended(0, &shop);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    let loud = shop.do_it(&["check", PLAN]).ended(0, &shop);
    assert!(
        !loud.out.contains("the loss"),
        "nothing is lost: {}",
        loud.out
    );
    // A plan of an estate that is only an example, and outside of the sandbox: it is named, and hides nothing.
    let far = "plans/address-failover.yaml";
    let both = shop.do_it(&["--quiet", "check", far, PLAN]).ended(3, &shop);
    let both = both.says(&format!(
        "plan {far} (inventory inventories/production.example.yaml)"
    ));
    assert!(!both.out.contains("region-failover"), "{}", both.out);
    let both = shop.do_it(&["--json", "check", far, PLAN]).ended(3, &shop);
    let both: Value = serde_json::from_str(&both.out).unwrap();
    let parts = both["parts"].as_array().unwrap();
    let of: Vec<&str> = parts
        .iter()
        .filter_map(|part| part["of"].as_str())
        .collect();
    assert!(of.contains(&"plan region-failover"), "{of:?}");

    let estate = ["check", "--inventory", "inventories/sandbox.yaml"];
    shop.do_it(&estate).ended(0, &shop).says("ready");

    // Somebody set a lifetime of an hour by hand.
    shop.inside(
        r#"curl -sS --fail -X PATCH -H "X-API-Key: $(cat /run/dr-plan/secrets/powerdns_key)" -H 'content-type: application/json' \
        -d '{"rrsets":[{"name":"www.shop.example.","type":"A","ttl":3600,"changetype":"REPLACE","records":[{"content":"198.18.1.2","disabled":false}]}]}' \
        http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example"#,
    );
    let said = not_ready(&check(&shop, 8)).join("\n");
    assert!(
        said.contains("zone shop.example: www.shop.example A may be kept for 3600s"),
        "{said}"
    );

    // No region has room for what the plan creates.
    shop.edit(
        "providers/sandbox-hetzner.yaml",
        "kind: hetzner",
        "kind: hetzner\nlimits: { servers: 2 }",
    );
    let ran = shop.do_it(&["check", PLAN]);
    assert_eq!(ran.code, 4, "{}\n{}", ran.out, ran.err);
    for words in [
        "MISSING step     ",
        "look    account  hetzner",
        "NOT READY",
        "limit of 2",
    ] {
        assert!(ran.out.contains(words), "`{words}` is not in\n{}", ran.out);
    }

    // A token that does not open the account any more.
    shop.inside("printf 0123456789012345678901234567890123456789012345678901234567890123 > /run/dr-plan/secrets/hcloud_token");
    let said = not_ready(&check(&shop, 4)).join("\n");
    assert!(said.contains("account hetzner: "), "{said}");
    assert!(
        !shop.path("state/dr-plan/runs").exists(),
        "a check began a run"
    );
}

/// A terminal for a program that wants one.
fn at_a_terminal(shop: &Shop, words: &str, answer: &str) -> (i32, String) {
    let said = shop.path("screen");
    let file = fs::File::create(&said).unwrap();
    let mut child = Command::new("script")
        .args([
            "-qefc",
            &format!("{} {words}", env!("CARGO_BIN_EXE_dr-plan")),
            "/dev/null",
        ])
        .env("XDG_STATE_HOME", shop.path("state"))
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("DR_PLAN_STATE")
        .current_dir(shop.path("."))
        .stdin(Stdio::piped())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let screen = || fs::read_to_string(&said).unwrap();
    wait_for(|| screen().contains("to start: ").then_some(()), screen);
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(answer.as_bytes())
        .unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    (code, screen())
}

#[test]
fn the_screen_before_a_start_says_what_comes_back_what_it_costs_and_what_speaks_against_it() {
    let shop = Shop::up("screen");
    shop.back_up(Timestamp::now(), false);
    let (code, screen) = at_a_terminal(&shop, &format!("run {PLAN}"), "shop\n");
    assert_eq!(code, 4, "{screen}");
    for words in [
        "estate   shop",
        "lost     hetzner/fsn1",
        "    shop-db            vault:postgres/shop-",
        "    shop-media         vault:media/media-",
        "server cx33 at hetzner/nbg1, 5.49 a month",
        "cost     8.98 a month more at hetzner",
        "time     about ",
        "type `yes` to start",
        "nothing was touched",
    ] {
        assert!(screen.contains(words), "`{words}` is not in\n{screen}");
    }
    assert!(!screen.contains("IT WOULD NOT GO THROUGH"), "{screen}");
    assert!(
        !shop.path("state/dr-plan/runs").exists(),
        "a refused start began a run"
    );

    shop.edit("inventories/sandbox.yaml", "max_age: 25h", "max_age: 1s");
    shop.edit(
        "providers/sandbox-hetzner.yaml",
        "kind: hetzner",
        "kind: hetzner\nlimits: { servers: 2 }",
    );
    let (_, screen) = at_a_terminal(&shop, &format!("run {PLAN}"), "no\n");
    assert!(screen.contains("IT WOULD NOT GO THROUGH"), "{screen}");
    assert!(screen.contains("look at this: "), "{screen}");

    // Started all the same, it is refused, and that can be read afterwards.
    shop.do_it(&["run", PLAN, "--yes"]).ended(5, &shop);
    let status = shop.do_it(&["status"]).ended(5, &shop);
    for words in ["refused, nothing was touched", "refused: ", "limit of 2"] {
        assert!(
            status.out.contains(words),
            "`{words}` is not in\n{}",
            status.out
        );
    }
}
