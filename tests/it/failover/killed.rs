//! One run, killed at a record of every kind of action, and each time taken up again.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::shop::{FINGERPRINT, Shop};

/// SIGKILL, as a shell tells it.
const KILLED: i32 = 128 + 9;

/// Where the process dies. Each step needs the one before, so whatever else was under way, these were not done yet.
const ACCIDENTS: [&str; 30] = [
    "crash:assess",
    "crash:fence-db",
    "crash-after:fence-db",
    "crash:db",
    "crash-after:db",
    "crash:db-settings",
    "crash:db-role",
    "crash-after:db-role",
    "crash:db-restart",
    "crash-after:db-restart",
    "crash:restore-db",
    "crash-after:restore-db",
    "crash:web-settings",
    "crash-after:web-settings",
    "crash:ready",
    "crash:certificate",
    "crash:go",
    "crash:dns",
    "crash-after:dns",
    "crash:dns-wait",
    "crash:data",
    "crash:port",
    "crash:row",
    "crash:name",
    "crash:key",
    "crash:pause",
    "crash:old-web",
    "crash-after:old-web",
    "crash:tell",
    "crash-after:tell",
];

/// Kinds that nothing in this estate is for; `kinds::cloud` and `kinds::single_service` kill them.
const NOT_IN_THE_SHOP: [&str; 10] = [
    "server.snapshot",
    "server.from_snapshot",
    "ip.assign",
    "firewall.apply",
    "host.script",
    "host.packages",
    "host.wait",
    "host.reboot",
    "compose.up",
    "check.command",
];

/// The kinds that the example does without, one after the other at its end.
const MORE: &str = r#"
  data:
    needs: [dns-wait]
    uses: dataset.verify
    with: { dataset: shop-db, host: "{{steps.db.host}}" }
    verify:
      - sql: { query: "select count(*) from users", expect: ">= 1000" }
  port:
    needs: [data]
    uses: check.tcp
    with: { address: "{{steps.web.ipv4}}", port: 80 }
  row:
    needs: [port]
    uses: check.sql
    with: { host: "{{steps.db.host}}", database: shop, query: "select count(*) from users", expect: ">= 1000" }
  name:
    needs: [row]
    uses: check.dns
    with: { name: shop.example, equals: ["{{steps.web.ipv4}}"] }
  key:
    needs: [name]
    uses: check.redis
    with: { host: "{{steps.db.host}}", query: dbsize, expect: ">= 1", password: { file: /run/dr-plan/secrets/shop_redis_password } }
  pause:
    needs: [key]
    uses: wait
    with: { for: 100ms }
  old-web:
    needs: [pause]
    uses: server.delete
    with: { server: web-1 }

finally:
"#;

#[test]
fn a_failover_killed_at_every_kind_of_action_ends_as_if_nothing_had_happened() {
    let shop = Shop::up("killed");
    shop.edit(
        "plans/region-failover.yaml",
        "  db-role:\n",
        "  db-role:\n    needs: [db-settings]\n",
    );
    for (step, needs, wanted) in [
        ("web-settings", "", "    needs: [restore-db]\n"),
        (
            "certificate",
            "    needs: [web-nginx]\n",
            "    needs: [ready]\n",
        ),
    ] {
        shop.edit(
            "plans/region-failover.yaml",
            &format!("  {step}:\n{needs}"),
            &format!("  {step}:\n{wanted}"),
        );
    }
    shop.edit("plans/region-failover.yaml", "\nfinally:\n", MORE);
    shop.order();
    let kept = shop.newest();
    let fingerprint = shop.ask_source(FINGERPRINT);
    shop.back_up(Timestamp::now(), false);
    shop.order();
    let lost_at = shop.lose_region().to_string();

    let mut killed = BTreeSet::new();
    for (at, accident) in ACCIDENTS.iter().enumerate() {
        let words = match at {
            0 => shop.failover(&lost_at, &["--approve", "go", "--inject", accident]),
            _ => vec!["resume", "last", "--inject", accident],
        };
        shop.do_it(&words).ended_after(accident, KILLED, &shop);
        let (kind, step) = accident.split_once(':').unwrap();
        killed.insert(shop.kind_of(step));
        let looks = [
            "assess",
            "ready",
            "certificate",
            "go",
            "dns-wait",
            "data",
            "port",
            "row",
            "name",
            "key",
            "pause",
        ]
        .contains(&step);
        let last = shop.last_event_of(step);
        match kind {
            "crash" if !looks => assert_eq!(last, "intent", "{accident}"),
            _ => assert_ne!(last, "done", "{accident}"),
        }
    }
    let all = dr_plan::action::kind_names().filter(|kind| !NOT_IN_THE_SHOP.contains(kind));
    let all: BTreeSet<String> = all.map(String::from).collect();
    assert_eq!(killed, all, "a kind was not killed");

    shop.do_it(&["resume", "last"]).ended(0, &shop).says("MET");
    let report = shop.report();
    assert_eq!(report["result"], "MET", "{report:#}");
    assert_eq!(report["resumes"], ACCIDENTS.len(), "{report:#}");

    let names: Vec<String> = shop.servers().into_iter().map(|server| server.0).collect();
    assert_eq!(
        names.len(),
        3,
        "an old one and one for each role: {names:?}"
    );
    let mut once = shop.creations();
    assert_eq!(once.len(), 2, "{once:?}");
    once.dedup();
    assert_eq!(once.len(), 2, "{once:?}");
    assert_eq!(shop.ask_restored(FINGERPRINT), fingerprint);
    assert_eq!(shop.newest()["id"], kept["id"]);
    assert!(!shop.messages().is_empty());
    let databases =
        shop.ask_restored("select datname from pg_database where not datistemplate order by 1");
    assert_eq!(databases, "postgres\nshop", "nothing half done is left");
}

impl Shop {
    fn header(&self) -> serde_json::Value {
        self.journal().swap_remove(0)["what"].take()
    }

    fn kind_of(&self, step: &str) -> String {
        let header = self.header();
        let steps = header["steps"].as_array().unwrap();
        let found = steps.iter().find(|bound| bound["id"] == step).unwrap();
        found["kind"].as_str().unwrap().to_owned()
    }

    /// The last record of a step that says how far it is.
    fn last_event_of(&self, step: &str) -> String {
        let told = ["observed", "log", "progress", "prechecked", "note", "made"];
        let journal = self.journal();
        let mut events = journal.iter().rev().map(|record| &record["what"]);
        events
            .find(|what| what["step"] == step && !told.contains(&what["event"].as_str().unwrap()))
            .map_or(String::new(), |what| {
                what["event"].as_str().unwrap().to_owned()
            })
    }
}
