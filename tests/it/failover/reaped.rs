//! Whatever becomes of a drill, nothing of it stays: it is taken up again and takes itself down, or one `reap` does.

use std::fs;

use super::shop::Shop;

const KILLED: i32 = 128 + 9;

const TWO: &str = r#"
version: 1
name: two
inventory: ../inventories/sandbox.yaml
drill: { expires: EXPIRES }
steps:
  a:
    uses: server.create
    with: { role: a, place: hetzner/nbg1/cx23, image: debian-12 }
  b:
    needs: [a]
    uses: server.create
    with: { role: b, place: hetzner/nbg1/cx23, image: debian-12 }
  guard:
    uses: firewall.apply
    with: { account: hetzner, name: guard, hosts: ["{{steps.b.host}}"], rules: [ { port: 22, from: [0.0.0.0/0] } ] }
  file:
    needs: [guard]
    uses: host.put
    with: { host: "{{steps.a.host}}", content: "x\n", to: /etc/x }
  look:
    needs: [file]
    uses: check.tcp
    with: { address: "{{steps.b.ipv4}}", port: 22 }
"#;

/// Each needs the one before, so nothing else is under way.
const ACCIDENTS: [&str; 7] = [
    "crash:a",
    "crash-after:a",
    "crash:b",
    "crash-after:guard",
    "crash:file",
    "crash-after:file",
    "crash:look",
];

fn plan(shop: &Shop, expires: &str) -> &'static str {
    let file = "plans/two.yaml";
    fs::write(shop.path(file), TWO.replace("EXPIRES", expires)).unwrap();
    file
}

/// Everything alive that is not the shop's: servers, and firewalls.
fn alive(shop: &Shop) -> Vec<String> {
    let servers = shop.servers().into_iter().map(|server| server.0);
    let mut all: Vec<String> = servers.filter(|name| !name.starts_with("shop-")).collect();
    let firewalls = shop.inside(
        "curl -sS --fail -H \"Authorization: Bearer $(cat /run/dr-plan/secrets/hcloud_token)\" http://198.18.255.1/v1/firewalls",
    );
    let firewalls: serde_json::Value = serde_json::from_str(&firewalls).unwrap();
    for one in firewalls["firewalls"].as_array().unwrap() {
        all.push(one["name"].as_str().unwrap().to_owned());
    }
    all
}

#[test]
fn one_reap_leaves_nothing_of_a_drill_that_was_killed_at_any_record() {
    let shop = Shop::up("reaped");
    let file = plan(&shop, "1h");
    for accident in ACCIDENTS {
        let words = ["drill", file, "--yes", "--inject", accident];
        shop.do_it(&words).ended_after(accident, KILLED, &shop);
        let there = alive(&shop);
        assert_eq!(
            there.is_empty(),
            accident == "crash:a",
            "{accident}: {there:?}"
        );
        let dry = shop.do_it(&["reap", "--dry-run"]).ended(0, &shop);
        assert_eq!(
            dry.out.contains("would be deleted"),
            !there.is_empty(),
            "{}",
            dry.out
        );
        assert_eq!(alive(&shop), there);
        shop.do_it(&["reap"]).ended_after(accident, 0, &shop);
        assert!(alive(&shop).is_empty(), "{accident}: {:?}", alive(&shop));
        if !there.is_empty() {
            assert_eq!(shop.report()["drill"]["standing"], 0, "{accident}");
            shop.do_it(&["resume"]).ended(2, &shop).says("is over");
            shop.do_it(&["runs"]).says("ABORTED, taken down");
        }
        shop.do_it(&["reap"])
            .ended(0, &shop)
            .says("no drill has left anything");
    }
    assert_eq!(shop.servers().len(), 2, "the shop's own were never touched");
}

#[test]
fn a_drill_that_was_killed_goes_on_and_takes_itself_down() {
    let shop = Shop::up("drill-resumed");
    let file = plan(&shop, "1h");
    shop.do_it(&["drill", file, "--yes", "--inject", "crash-after:b"])
        .ended(KILLED, &shop);
    // From a machine that has nothing but the token, it is not due: somebody may be at work.
    let other = shop.path("other").to_string_lossy().into_owned();
    let elsewhere = [
        "reap",
        "--state",
        &other,
        "--inventory",
        "inventories/sandbox.yaml",
    ];
    shop.do_it(&elsewhere).ended(0, &shop).says("stays");
    assert_eq!(alive(&shop).len(), 2);

    // Killed again while it takes itself down.
    shop.do_it(&["resume", "--inject", "crash-after:a"])
        .ended(KILLED, &shop);
    assert_eq!(shop.report()["result"], "MET");
    shop.do_it(&["resume"]).ended(0, &shop);
    assert!(alive(&shop).is_empty(), "{:?}", alive(&shop));
    assert_eq!(shop.report()["result"], "MET");
    shop.do_it(&["drill", file, "--yes", "--keep"])
        .ended(0, &shop);
    assert_eq!(alive(&shop).len(), 3);
    shop.do_it(&["undo", "last", "--yes", "--inject", "crash-after:a"])
        .ended(KILLED, &shop);
    shop.do_it(&["resume"]).ended(0, &shop);
    assert!(alive(&shop).is_empty(), "{:?}", alive(&shop));
    let report = shop.report();
    assert_eq!(report["result"], "MET", "{report:#}");
    assert_eq!(report["drill"]["standing"], 0, "{report:#}");

    // What has expired is taken away by anybody.
    let file = plan(&shop, "1s");
    shop.do_it(&["drill", file, "--yes", "--inject", "crash:look"])
        .ended(KILLED, &shop);
    assert_eq!(alive(&shop).len(), 3);
    let json = [&elsewhere[..], &["--json"]].concat();
    let ran = shop.do_it(&json).ended(0, &shop);
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let found = said["found"].as_array().unwrap();
    assert_eq!(found.len(), 3, "{said:#}");
    assert!(
        found.iter().all(|one| one["outcome"] == "deleted"),
        "{said:#}"
    );
    assert!(alive(&shop).is_empty(), "{:?}", alive(&shop));

    // Ctrl-C once: it ends, and takes down what it made. A recovery is never reaped.
    let drill = shop.begin(&["drill", file, "--yes"]);
    drill.wait_for_words("made ", &shop);
    drill.signal(rustix::process::Signal::INT);
    drill.wait().ended(4, &shop).says("stopped on request");
    assert!(alive(&shop).is_empty(), "{:?}", alive(&shop));
    shop.do_it(&["run", file, "--yes", "--inject", "crash:look"])
        .ended(KILLED, &shop);
    let there = alive(&shop);
    assert_eq!(there.len(), 3);
    let ran = shop.do_it(&["reap"]).ended(0, &shop);
    ran.says("which was no drill: not touched");
    assert_eq!(alive(&shop), there);
}
