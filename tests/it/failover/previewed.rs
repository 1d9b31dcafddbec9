//! A preview looks at everything and changes nothing; a run that was told to keep to one refuses to do anything else.

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use serde_json::Value;

use super::shop::{FINGERPRINT, Shop};

/// A plan that would change everything that stands, if it were carried out: hosts that can be entered, a live database, servers
/// at the provider, the zone.
const IN_PLACE: &str = r#"
version: 1
name: in-place
inventory: ../inventories/sandbox.yaml
steps:
  assess:
    uses: check.backups
    with: { datasets: [shop-db] }
  orders:
    needs: [assess]
    uses: check.sql
    with: { host: db-1, database: shop, query: "select count(*) > 0 from orders", expect: "= 't'" }
  fence:
    needs: [orders]
    uses: server.power
    with: { server: web-1, state: off }
  awake:
    uses: server.power
    with: { server: db-1, state: on }
  remove:
    needs: [fence]
    uses: server.delete
    with: { server: web-1 }
  settings:
    uses: host.put
    with: { host: web-1, content: "other\n", to: /etc/shop/shop.env }
  database:
    uses: host.service
    with: { host: db-1, service: postgresql, state: restarted }
  running:
    uses: host.service
    with: { host: db-1, service: postgresql, state: started }
  script:
    host: web-1
    run: touch /etc/was-here
    unless: touch /etc/was-asked && false
  restore:
    needs: [assess]
    uses: dataset.restore
    with: { dataset: shop-db, host: db-1, replace: true }
  refuse:
    needs: [assess]
    uses: dataset.restore
    with: { dataset: shop-db, host: db-1 }
  spare:
    uses: server.create
    with: { role: spare, place: hetzner/nbg1/cx23, image: debian-12 }
  spare-file:
    uses: host.put
    with: { host: "{{steps.spare.host}}", content: "x\n", to: /etc/x }
  spare-address:
    uses: host.put
    with: { host: web-1, content: "at {{steps.spare.ipv4}}\n", to: /etc/spare }
  pause:
    uses: wait
    with: { for: 1h }
  ask:
    manual: Shall it be?
  dns:
    needs: [ask]
    uses: dns.switch
    with: { domain: shop.example, records: { "@": 198.18.1.9 }, gate: none, because: nobody is there }
  answers:
    needs: [dns]
    uses: check.dns
    with: { name: shop.example, equals: [198.18.1.9] }
finally:
  tell:
    uses: notify
    with: { to: ops, message: "{{steps.restore.backup}} of {{steps.restore.taken}} is at {{steps.spare.ipv4}}" }
"#;

/// The world as it stands, each part by its name.
pub(super) fn world(shop: &Shop) -> BTreeMap<&'static str, String> {
    // Logs are the hosts' own. What PostgreSQL keeps is asked of it: its files change while nobody asks for anything.
    let hosts = "cd /run/dr-plan/machines && find . \\( -path '*/var/log' -o -name init.log -o -path '*/postgresql/*/main' \\) -prune \
                 -o -printf '%p %y %m %U:%G %T@ %s\\n' | sort; \
                 find . \\( -path '*/var/log' -o -name init.log -o -path '*/postgresql/*/main' \\) -prune -o -type f -print0 \
                 | sort -z | xargs -0 sha256sum";
    let processes = "for host in 198.18.1.1 198.18.1.2; do ssh -q -F none -i /run/dr-plan/secrets/login \
                     -o UserKnownHostsFile=/run/dr-plan/known_hosts -o BatchMode=yes root@$host \
                     'ls -A /var/lib/dr-plan /tmp /run/dr-plan 2>&1; systemctl is-active postgresql shop nginx'; done || true";
    let mut parts: BTreeMap<&'static str, String> = [
        ("hosts", shop.inside(hosts)),
        ("processes", shop.inside(processes)),
        ("store", shop.inside("cd /run/dr-plan/services/store && find . -printf '%p %T@ %s\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum")),
        ("zone", shop.inside("curl -sS --fail -H \"X-API-Key: $(cat /run/dr-plan/secrets/powerdns_key)\" http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example")),
        ("messages", shop.inside("cat /run/dr-plan/services/messages.jsonl")),
        ("servers", shop.lever("servers").to_string()),
        ("rows", shop.ask_source(FINGERPRINT)),
        ("databases", shop.ask_source("select datname, datallowconn, shobj_description(oid, 'pg_database') from pg_database order by 1")),
    ]
    .into();
    let runs = shop.path("state/dr-plan/runs");
    let estates = shop.path("state/dr-plan/estates");
    parts.insert(
        "runs and locks",
        format!("{} {}", runs.exists(), estates.exists()),
    );
    parts
}

pub(super) fn calls(shop: &Shop, after: usize) -> Vec<String> {
    let ledger = shop.lever(&format!("ledger?after={after}"));
    let calls = ledger["calls"].as_array().unwrap().iter();
    calls
        .map(|call| format!("{} {}", call["method"].as_str().unwrap(), call["path"]))
        .collect()
}

#[track_caller]
fn preview(shop: &Shop, plan: &str, code: i32, more: &[&str]) -> Value {
    let words = [&["run", plan, "--dry-run", "--json"], more].concat();
    let ran = shop.do_it(&words);
    assert_eq!(ran.code, code, "{}\n{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn step<'a>(found: &'a Value, id: &str) -> &'a Value {
    let steps = found["preview"]["steps"].as_array().unwrap();
    steps.iter().find(|step| step["id"] == id).unwrap()
}

#[test]
fn a_preview_asks_everything_and_changes_nothing() {
    let shop = Shop::up("preview");
    shop.order();
    shop.back_up(Timestamp::now(), false);
    fs::write(shop.path("plans/in-place.yaml"), IN_PLACE).unwrap();
    // Its cron opens a nameless file in /tmp each minute, and the first one brings that folder into the host's own layer.
    shop.on_source("198.18.1.2", ": > /tmp/first");
    let before = world(&shop);
    let asked = calls(&shop, 0).len();

    let found = preview(&shop, "plans/in-place.yaml", 5, &[]);

    assert_eq!(world(&shop), before);
    let made = calls(&shop, asked);
    assert!(made.len() > 5, "{made:?}");
    assert!(made.iter().all(|call| call.starts_with("GET ")), "{made:?}");

    let saw = |id: &str| {
        let step = step(&found, id);
        format!(
            "{} {}",
            step["would"].as_str().unwrap(),
            step["surety"].as_str().unwrap()
        )
    };
    for (id, expected) in [
        ("assess", "look verified"),
        ("orders", "look verified"),
        ("fence", "act verified"),
        ("awake", "nothing verified"),
        ("remove", "act verified"),
        ("settings", "act verified"),
        ("database", "act verified"),
        ("running", "nothing verified"),
        ("script", "act cannot_be_checked"),
        ("restore", "act verified"),
        ("refuse", "stop verified"),
        ("spare", "act verified"),
        ("spare-file", "act assumed"),
        ("spare-address", "act assumed"),
        ("pause", "wait cannot_be_checked"),
        ("ask", "wait cannot_be_checked"),
        ("dns", "act verified"),
        ("answers", "look cannot_be_checked"),
        ("tell", "tell assumed"),
    ] {
        assert_eq!(saw(id), expected, "{id}: {:#}", step(&found, id));
    }
    let unknown = &step(&found, "spare-address")["unknown"][0];
    assert_eq!(unknown["field"], "ipv4", "{unknown}");
    assert_eq!(unknown["type"], "IPv4 address", "{unknown}");
    assert_eq!(
        step(&found, "tell")["message"],
        "<restore.backup> of <restore.taken> is at <spare.ipv4>"
    );
    assert_eq!(step(&found, "pause")["predicted"]["seconds"], 3600.0);
    assert_eq!(step(&found, "pause")["predicted"]["from"], "arguments");
    assert_eq!(step(&found, "restore")["predicted"]["from"], "kind");
    assert_eq!(found["preview"]["monthly"][0]["account"], "hetzner");
    assert_eq!(
        found["preview"]["monthly"][0]["monthly"],
        step(&found, "spare")["costs"][0]["monthly"]
    );
    let reason = step(&found, "refuse")["what"].as_str().unwrap();
    assert!(reason.contains("database `shop` exists"), "{reason}");
    let printed = shop.do_it(&["run", "plans/in-place.yaml", "--dry-run"]);
    assert_eq!(printed.code, 5, "{}", printed.err);
    for words in [
        "cannot be checked",
        "would say         <restore.backup> of",
        "would create      server cx23 at hetzner/nbg1",
        "no run here tells",
        "it would not go through: `refuse`",
    ] {
        assert!(
            printed.out.contains(words),
            "no `{words}` in\n{}",
            printed.out
        );
    }
    assert_eq!(world(&shop), before, "the printed one too");
}

#[test]
fn a_run_that_is_told_to_keep_to_a_preview_does_that_or_nothing() {
    let shop = Shop::up("keeps-to");
    shop.order();
    shop.back_up(Timestamp::now(), false);
    let plan = "plans/region-failover.yaml";
    let first = preview(&shop, plan, 0, &[]);
    let file = first["saved"].as_str().unwrap().to_owned();

    // The world moves on in three ways, and the plan in one.
    shop.inside("curl -sS --fail -X PATCH -H \"X-API-Key: $(cat /run/dr-plan/secrets/powerdns_key)\" \
                 -d '{\"rrsets\":[{\"name\":\"www.shop.example.\",\"type\":\"A\",\"ttl\":5,\"changetype\":\"REPLACE\",\"records\":[{\"content\":\"198.18.1.77\",\"disabled\":false}]}]}' \
                 http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example");
    shop.back_up(Timestamp::now() + jiff::SignedDuration::from_secs(1), false);
    shop.edit(plan, "expect: \">= 1000\"", "expect: \">= 999\"");
    let keep = ["run", plan, "--yes", "--approve", "go", "--preview", &file];
    let refused = shop.do_it(&keep);
    assert_eq!(refused.code, 3, "{}\n{}", refused.out, refused.err);
    for words in [
        "not started, nothing was touched",
        "plans/region-failover.yaml: its content was changed",
        "`restore-db`: found now: vault:postgres/shop-",
        "`dns`: old www.shop.example A: was",
        "198.18.1.77",
    ] {
        assert!(
            refused.err.contains(words),
            "no `{words}` in\n{}",
            refused.err
        );
    }
    assert!(
        !shop.path("state/dr-plan/runs").exists(),
        "no run was begun"
    );
    assert!(shop.creations().is_empty());

    // A file that somebody changed is no preview.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("198.18.1.2", "198.18.1.7")).unwrap();
    let refused = shop.do_it(&keep);
    assert_eq!(refused.code, 3, "{}", refused.err);
    assert!(
        refused.err.contains("changed after it was saved"),
        "{}",
        refused.err
    );

    let second = preview(&shop, plan, 0, &[]);
    let file = second["saved"].as_str().unwrap().to_owned();
    let keep = ["run", plan, "--yes", "--preview", &file];
    let run = shop.begin(&keep);
    run.wait_for_words("asks", &shop);
    assert!(
        run.said().contains("all is as it was previewed"),
        "{}",
        run.said()
    );

    // Beside a run at work: a preview needs no lock. And what has happened is a difference.
    let beside = preview(&shop, plan, 0, &[]);
    assert_eq!(step(&beside, "fence-db")["would"], "nothing", "{beside:#}");
    shop.do_it(&["approve", "last", "go", "--as", "Ada"])
        .ended(0, &shop);
    run.wait().ended(0, &shop).says("MET");

    // The next one learns from it.
    let learned = preview(&shop, plan, 0, &[]);
    let predicted = &step(&learned, "restore-db")["predicted"];
    assert_eq!(predicted["from"], "runs", "{predicted}");
    let took = shop.report()["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["id"] == "restore-db")
        .unwrap()["took"]
        .as_f64();
    let difference = predicted["seconds"].as_f64().unwrap() - took.unwrap();
    assert!(difference.abs() < 0.01, "{predicted} is not {took:?}");
}
