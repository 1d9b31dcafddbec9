//! A drill: the whole failover in servers of its own, beside a shop that goes on selling, and nothing of that shop changes.

use std::fs;

use jiff::Timestamp;
use serde_json::Value;

use super::previewed::{calls, world};
use super::shop::Shop;

fn step<'a>(report: &'a Value, id: &str) -> &'a Value {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["id"] == id).unwrap()
}

#[test]
fn the_failover_is_rehearsed_beside_a_shop_that_goes_on_selling() {
    let shop = Shop::up("drilled");
    shop.order();
    shop.back_up(Timestamp::now(), false);
    // Its cron opens a nameless file in /tmp each minute, and the first one brings that folder into the host's own layer.
    shop.on_source("198.18.1.2", ": > /tmp/first");
    let mut before = world(&shop);
    let asked = calls(&shop, 0).len();

    let ran = shop.do_it(&["drill", "plans/region-failover.yaml", "--yes"]);
    let ran = ran.ended(0, &shop);

    // Production, byte by byte. What was told to people, and what this machine keeps, is looked at below.
    let mut after = world(&shop);
    for part in ["messages", "runs and locks"] {
        before.remove(part);
        after.remove(part);
    }
    // The folder of all machines has seen some come and go.
    for world in [&mut before, &mut after] {
        let hosts = world.get_mut("hosts").unwrap();
        *hosts = hosts.split_once('\n').unwrap().1.to_owned();
    }
    assert_eq!(after, before);
    let shown = shop.lever("ledger");
    let changes: Vec<&Value> = shown["calls"].as_array().unwrap()[asked..]
        .iter()
        .filter(|call| call["method"] != "GET")
        .collect();
    let mut made = 0;
    for call in &changes {
        let labels = &call["body"]["labels"];
        match call["method"].as_str().unwrap() {
            "POST" if call["path"] == "/v1/servers" => {
                assert!(labels["dr-plan/expires"].is_string(), "{call:#}");
                assert!(labels["dr-plan/run"].is_string(), "{call:#}");
                made += 1;
            }
            "DELETE" => {}
            _ => panic!("a drill did more than to create and to delete: {call:#}"),
        }
    }
    assert_eq!((made, changes.len()), (2, 4), "{changes:#?}");

    // What it came to.
    let report = shop.report();
    assert_eq!(report["mode"], "drill");
    assert_eq!(report["result"], "MET", "{report:#}");
    assert!(report["rto"]["measured"].as_f64().unwrap() > 0.0);
    assert!(report["rpo"]["measured"].as_f64().unwrap() > 0.0);
    assert_eq!(report["drill"]["standing"], 0, "{report:#}");
    assert_eq!(report["drill"]["deleted"], 2);
    for made in report["resources"].as_array().unwrap() {
        assert!(made["gone"].as_str().unwrap().contains("404"), "{made}");
    }
    for probed in ["fence-db", "fence-web", "dns", "dns-wait"] {
        assert_eq!(step(&report, probed)["probed"], true, "{probed}");
        assert_eq!(step(&report, probed)["attempts"], 0, "{probed}");
    }
    assert_eq!(step(&report, "go")["status"], "left_out");
    assert!(report["still_open"].as_array().unwrap().is_empty());
    // The gate was asked, and only when there was something to ask.
    assert!(
        step(&report, "dns")["retries"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let gate = step(&report, "dns")["evidence"].to_string();
    assert!(
        gate.contains("://shop.example/orders/newest at 198.19."),
        "{gate}"
    );
    for egress in report["drill"]["egress"].as_array().unwrap() {
        assert_eq!(egress["asked"]["closed"], true, "{egress:#}");
    }

    // People: the plan's message is printed, the operators' own are marked.
    assert!(shop.told("/ops").is_empty());
    let told = shop.told("/bot/sendMessage");
    assert!(
        told.len() == 1 && told[0].starts_with("DRILL: ") && told[0].contains("MET"),
        "{told:?}"
    );
    let ran = ran.says("printed and not sent: DRILL: region-failover of shop");
    ran.says("all that it made is deleted: 2 things")
        .says("DRILL of `shop`");
    shop.do_it(&["runs"]).says("DRILL");
    shop.do_it(&["status"]).says("DRILL: ").says("probed");
    shop.do_it(&["resume"]).ended(2, &shop).says("is over");

    // It holds nothing: no lock, and no claim on the estate that a real failover would have to get around.
    assert!(!shop.path("state/dr-plan/estates/shop.lock").exists());
    let lost_at = shop.lose_region().to_string();
    let words = shop.failover(&lost_at, &["--approve", "go"]);
    shop.do_it(&words).ended(0, &shop).says("MET");
}

#[test]
fn what_stands_proves_nothing_and_the_drill_of_each_quarter_brings_data_and_pictures_back() {
    let shop = Shop::up("quarter");
    no_drill_is_green_because_production_is(&shop);
    what_stands_is_looked_at_and_proves_nothing(&shop);
    the_drill_of_each_quarter_brings_data_and_pictures_back(&shop);
}

fn the_drill_of_each_quarter_brings_data_and_pictures_back(shop: &Shop) {
    shop.order();
    shop.back_up(Timestamp::now(), false);
    let ran = shop.do_it(&["drill", "plans/quarterly-drill.yaml", "--yes"]);
    ran.ended(0, shop).says("MET");
    let report = shop.report();
    assert_eq!(report["drill"]["standing"], 0, "{report:#}");
    assert_eq!(step(&report, "fence-db")["probed"], true, "{report:#}");
    assert!(report["rpo"]["measured"].as_f64().unwrap() > 0.0);
    assert_eq!(shop.servers().len(), 2);
    // Its servers are gone: nobody waits for a connection to one.
    let gone = shop.do_it(&["ssh", "last", "db", "true"]).ended(2, shop);
    gone.says("the server `db` was deleted by the drill")
        .says("dr-plan report ");
}

/// A new side that serves nothing, behind a name that production serves well.
const HOLLOW: &str = r#"
version: 1
name: hollow
inventory: ../inventories/sandbox.yaml
health:
  hold: 1s
  within: 5s
  checks:
    - check.http: { url: "http://shop.example/health" }
steps:
  early:
    uses: check.tcp
    with: { address: www.shop.example, port: 80 }
    timeout: 60s
  web:
    uses: server.create
    with: { role: web, place: hetzner/nbg1/cx23, image: debian-12, packages: [nginx] }
  dns:
    uses: dns.switch
    with:
      domain: shop.example
      records: { "@": "{{steps.web.ipv4}}", www: "{{steps.web.ipv4}}" }
      gate: none
      because: the drill must find out by itself
"#;

/// What a drill may not do, each with the words that say so.
const REFUSED: &[(&str, &str)] = &[
    (
        "  a:\n    host: web-1\n    run: touch /was-here\n    repeatable: true\n",
        "a script of your own on `web-1`",
    ),
    (
        "  a:\n    uses: check.http\n    with: { url: \"http://shop.example/health\" }\n",
        "`shop.example` is what stands",
    ),
    (
        "  a:\n    uses: ip.assign\n    with: { account: hetzner, address: 198.18.200.1, host: web-1, gate: none, because: none }\n\
         \x20 b:\n    uses: check.tcp\n    with: { address: \"{{steps.a.address}}\", port: 80 }\n",
        "has no value in a drill: `a` is only looked at",
    ),
    (
        "  a:\n    uses: server.create\n    with: { role: a, place: hetzner/nbg1/cx23, image: debian-12 }\n    modes: [failover]\n\
         \x20 b:\n    uses: check.tcp\n    with: { address: \"{{steps.a.ipv4}}\", port: 80 }\n",
        "has no value in a drill: `a` is left out",
    ),
    (
        "  a:\n    uses: server.from_snapshot\n    with: { role: a, place: hetzner/nbg1/cx23, of: web-1 }\n",
        "before a drill can keep it from reaching the world",
    ),
    (
        "  a:\n    uses: server.create\n    with: { role: a, place: hetzner/nbg1/cx23, image: debian-12 }\n    verify:\n\
         \x20     - check.sql: { host: db-1, database: shop, query: \"select 1\", expect: \"= 1\" }\n",
        "`db-1` is what stands",
    ),
    (
        "  a:\n    uses: server.create\n    with: { role: a, place: hetzner/nbg1/cx23, image: debian-12 }\n    verify:\n\
         \x20     - check.http: { url: \"http://elsewhere.example/health\", at: 198.18.1.2 }\n",
        "`198.18.1.2` is what stands",
    ),
    (
        "  a:\n    uses: dns.switch\n    with: { domain: shop.example, records: { \"@\": 198.18.1.2 }, gate: none, because: none }\n",
        "`shop.example` would lead to `198.18.1.2`, which a drill does not make",
    ),
    (
        "  a:\n    uses: ip.assign\n    with: { account: hetzner, address: 198.18.200.1, host: web-1, gate: none, because: none }\n",
        "`198.18.200.1` would lead to `web-1`, which a drill does not make",
    ),
    (
        "  a:\n    uses: server.create\n    with: { role: a, place: hetzner/nbg1/cx23, image: debian-12 }\n\
         \x20 b:\n    uses: dns.switch\n    with:\n      domain: shop.example\n      records: { \"@\": \"{{steps.a.ipv4}}\" }\n\
         \x20     gate: { url: \"http://shop.example/orders/newest\", at: \"{{steps.a.ipv4}}\", json: /id, equals: { sql: \"select 1\", host: db-1, database: shop } }\n",
        "`db-1` is what stands",
    ),
];

/// What asks what stands and decides nothing is looked at; what hides whom it asks is found out.
const STANDING: &str = r#"
version: 1
name: standing
inventory: ../inventories/sandbox.yaml
steps:
  orders:
    uses: check.sql
    with: { host: db-1, database: shop, query: "select count(*) from orders", expect: ">= 1" }
  page:
    uses: check.http
    with: { url: "http://elsewhere.example/health", at: 198.18.1.2 }
  port:
    uses: check.tcp
    with: { address: 198.18.1.2, port: 80 }
  fence:
    uses: server.power
    with: { server: web-1, state: off }
  hidden:
    needs: [orders, page, port, fence]
    uses: check.tcp
    with: { address: "198.18.258", port: 80 }
"#;

fn what_stands_is_looked_at_and_proves_nothing(shop: &Shop) {
    fs::write(shop.path("plans/standing.yaml"), STANDING).unwrap();
    let seen = shop.do_it(&["drill", "plans/standing.yaml", "--dry-run"]);
    seen.ended(0, shop)
        .says("only looked at: `db-1` stands")
        .says("a drill touches nothing that it did not make; a failover would do it");
    let ran = shop.do_it(&["drill", "plans/standing.yaml", "--yes"]);
    ran.ended(4, shop)
        .says("198.18.258 leads to `web-1`, which stands");
    let report = shop.report();
    for id in ["orders", "page", "port", "fence"] {
        assert_eq!(step(&report, id)["probed"], true, "{id}");
        assert_eq!(step(&report, id)["status"], "done", "{id}");
    }
    assert!(
        step(&report, "port")["evidence"]
            .to_string()
            .contains("only looked: port 80 of 198.18.1.2: open"),
        "{report:#}"
    );
}

fn no_drill_is_green_because_production_is(shop: &Shop) {
    for (steps, why) in REFUSED {
        let plan = format!(
            "version: 1\nname: refused\ninventory: ../inventories/sandbox.yaml\nsteps:\n{steps}"
        );
        fs::write(shop.path("plans/refused.yaml"), plan).unwrap();
        let refused = shop.do_it(&["drill", "plans/refused.yaml", "--yes"]);
        refused.ended(3, shop).says(why);
        shop.do_it(&["validate", "plans/refused.yaml"])
            .ended(0, shop);
    }
    assert!(shop.creations().is_empty());

    // The name that users type answers, and is never asked: not before its new address is known, and not afterwards.
    shop.inside("curl -sS --fail http://shop.example/health");
    let served = "wc -l < /var/log/nginx/shop.access.log";
    let before = shop.on_source("198.18.1.2", served);
    assert_ne!(before, "0", "production has served somebody");
    fs::write(shop.path("plans/hollow.yaml"), HOLLOW).unwrap();
    let ran = shop.do_it(&["drill", "plans/hollow.yaml", "--yes"]);
    ran.ended(4, shop).says("health did not come");
    let report = shop.report();
    assert_eq!(report["result"], "FAILED", "{report:#}");
    let early = step(&report, "early");
    assert_eq!(early["status"], "done", "{early:#}");
    assert!(early["ended"].as_str() > step(&report, "web")["ended"].as_str());
    assert_eq!(shop.on_source("198.18.1.2", served), before);
    assert_eq!(report["drill"]["standing"], 0, "{report:#}");
    assert_eq!(shop.servers().len(), 2);

    // What it would do can be looked at before.
    let seen = shop.do_it(&["drill", "plans/hollow.yaml", "--dry-run"]);
    seen.ended(0, shop).says("only looked at: a drill touches");
}

#[test]
fn a_drill_makes_its_servers_in_the_project_for_drills() {
    let shop = Shop::up("project");
    shop.edit(
        "providers/sandbox-hetzner.yaml",
        "nameservers:",
        "drill_token: { file: /run/dr-plan/secrets/hcloud_drill_token }\nnameservers:",
    );
    let plan = "version: 1\nname: apart\ninventory: ../inventories/sandbox.yaml\nsteps:\n\
                \x20 fence:\n    uses: server.power\n    with: { server: web-1, state: off }\n\
                \x20 web:\n    needs: [fence]\n    uses: server.create\n    with: { role: web, place: hetzner/nbg1/cx23, image: debian-12 }\n";
    fs::write(shop.path("plans/apart.yaml"), plan).unwrap();
    let ran = shop.do_it(&["drill", "plans/apart.yaml", "--yes", "--keep"]);
    ran.ended(0, &shop).says("kept until");
    let listed = shop.lever("state");
    let projects: Vec<(String, String)> = listed["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| {
            let text = |key: &str| server[key].as_str().unwrap().to_owned();
            (text("project"), text("status"))
        })
        .collect();
    let of = |project: &str| {
        projects
            .iter()
            .filter(|(known, _)| known == project)
            .count()
    };
    assert_eq!((of("default"), of("drill")), (2, 1), "{projects:?}");
    assert!(projects.iter().all(|(_, status)| status == "running"));
    // The server that stands was found where it stands.
    let report = shop.report();
    let fence = step(&report, "fence")["evidence"].to_string();
    assert!(fence.contains("a failover would do it"), "{fence}");
    shop.do_it(&["resume"])
        .ended(2, &shop)
        .says("is kept until");
    shop.do_it(&["reap"])
        .ended(0, &shop)
        .says("kept on purpose");
    assert_eq!(shop.servers().len(), 3);
    let run = report["run"].as_str().unwrap().to_owned();
    shop.do_it(&["reap", "--run", &run])
        .ended(0, &shop)
        .says("deleted");
    assert_eq!(shop.servers().len(), 2);
    assert_eq!(shop.report()["drill"]["standing"], 0);

    // Where a project cannot be asked, nobody says that nothing is left.
    let file = "providers/sandbox-hetzner.yaml";
    shop.edit(file, "hcloud_drill_token", "no_such_token");
    shop.do_it(&["reap"])
        .ended(4, &shop)
        .says("not asked: drill_token of `hetzner`")
        .says("no drill has left anything where it could be asked");
    shop.edit(file, "hcloud_token", "no_such_token");
    shop.do_it(&["reap"])
        .ended(4, &shop)
        .says("not asked: token of `hetzner`");
}
