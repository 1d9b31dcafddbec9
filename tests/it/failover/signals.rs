//! Ctrl-C once, SIGKILL in the middle of a restore, Ctrl-C twice, SIGTERM, a lost terminal; and a person's word about a step that cannot
//! go on.

use jiff::Timestamp;
use rustix::process::Signal;

use super::shop::{FINGERPRINT, HOLD_PG_RESTORE, Shop, wait_for};

/// The numbers of databases with the shop's data, staged or in their place.
fn databases(shop: &Shop) -> String {
    shop.on_restored(
        "db",
        "cd / && runuser -u postgres -- psql -XAtq postgres -c \"select oid from pg_database where datname like '%shop%'\"",
    )
}

fn restores(shop: &Shop, event: &str) -> Vec<serde_json::Value> {
    let journal = shop.journal().into_iter();
    journal
        .map(|mut record| record["what"].take())
        .filter(|what| what["event"] == event && what["step"] == "restore-db")
        .collect()
}

/// Waits until so many runs have found the restore at work.
fn found_at_work(shop: &Shop, times: usize) {
    let found = || {
        let observed = restores(shop, "observed");
        let running =
            |what: &&serde_json::Value| what["observation"].to_string().contains("running");
        (observed.iter().filter(running).count() >= times).then_some(())
    };
    wait_for(found, || {
        format!("the restore is found at work\n{}", shop.story())
    });
}

#[test]
fn a_run_stops_as_it_is_asked_to_its_restore_goes_on_and_a_marked_step_does_not_hold_it_up() {
    let shop = Shop::up("signals");
    shop.slow_to_restore();
    shop.order();
    let kept = shop.newest();
    let fingerprint = shop.ask_source(FINGERPRINT);
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();

    // Once: what runs is waited for, nothing new begins.
    let run = shop.begin(&shop.failover(&lost_at, &[]));
    shop.wait_for_event("intent", "db");
    run.signal(Signal::INT);
    let stopped = run.wait().ended(5, &shop);
    let stopped = stopped
        .says("stopping: nothing new is started")
        .says("Ctrl-C again");
    stopped.says("dr-plan resume");
    assert!(
        shop.has_event("done", "db"),
        "it was waited for\n{}",
        shop.story()
    );
    assert!(!shop.has_event("intent", "db-settings"), "{}", shop.story());

    // Killed: its restore is seen to outlive it. That is held where it is, so that all that follows happens in the middle of it, on
    // any machine.
    let run = shop.begin(&["resume", "last"]);
    shop.wait_for_event("intent", "restore-db");
    let held = shop.inside(HOLD_PG_RESTORE);
    let first = held.split_whitespace().next().unwrap_or_default();
    let orchestrator = shop.orchestrator();
    let after = shop.inside(&format!(
        "kill -KILL {orchestrator}
         end=$(($(date +%s) + 20))
         while [ -e /proc/{orchestrator} ] && ! grep -q '^State:.Z' /proc/{orchestrator}/status; do
           [ $(date +%s) -lt $end ] || exit 1; sleep 0.02
         done
         tr '\\0' ' ' </proc/{first}/cmdline"
    ));
    assert!(after.contains("pg_restore --exit-on-error"), "{after}");
    assert_eq!(run.wait().code, 128 + 9);
    let staged = databases(&shop);
    assert!(
        staged.parse::<u32>().is_ok(),
        "one database, staged: {staged:?}"
    );

    // Twice: at once, and the steps that go on are named.
    let run = shop.begin(&["resume", "last"]);
    found_at_work(&shop, 1);
    run.signal(Signal::INT);
    run.wait_for_words("stopping: nothing new is started", &shop);
    run.signal(Signal::INT);
    run.wait()
        .ended(5, &shop)
        .says("leaving now")
        .says("restore-db");

    // SIGTERM is the second kind. A lost terminal stops nothing.
    let run = shop.begin(&["resume", "last"]);
    found_at_work(&shop, 2);
    shop.inside(&format!("kill -CONT {held}"));
    shop.wait_for_event("asked", "go");
    run.signal(Signal::HUP);
    shop.do_it(&["status", "last"])
        .ended(5, &shop)
        .says("running");
    // It reaches also the process that leads into the world, which dies of it; the run itself says goodbye.
    run.signal(Signal::TERM);
    run.wait_for_words("NO RESULT YET", &shop);
    run.wait().ended(128 + 15, &shop);
    wait_for(
        || {
            let status = shop.do_it(&["status", "last"]).ended(5, &shop).out;
            status.contains("stopped, can be resumed").then_some(())
        },
        || shop.story(),
    );

    // Somebody moved the users by hand, and says so. That is looked at; the question is not asked any more.
    let words = [
        "mark",
        "last",
        "go",
        "--skip",
        "--as",
        "Ada",
        "--because",
        "we are on the phone",
    ];
    shop.do_it(&words).ended(0, &shop).says("dr-plan resume");
    let web = shop
        .do_it(&["ssh", "last", "web", "--", "hostname -I"])
        .ended(0, &shop);
    let address = web.out.trim();
    let record = |name: &str| {
        format!(
            r#"{{"name":"{name}","type":"A","ttl":5,"changetype":"REPLACE","records":[{{"content":"{address}","disabled":false}}]}}"#
        )
    };
    let body = format!(
        r#"{{"rrsets":[{},{}]}}"#,
        record("shop.example."),
        record("www.shop.example.")
    );
    shop.inside(&format!(
        "curl -sS --fail -X PATCH -H \"X-API-Key: $(cat /run/dr-plan/secrets/powerdns_key)\" -d '{body}' \
         http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example."
    ));
    let words = [
        "mark",
        "last",
        "dns",
        "--done",
        "--as",
        "Ada",
        "--because",
        "by hand",
    ];
    shop.do_it(&words).ended(0, &shop);
    shop.do_it(&["resume", "last"])
        .ended(8, &shop)
        .says("MET WITH EXCEPTIONS");
    assert!(!shop.has_event("intent", "dns"), "{}", shop.story());
    assert_eq!(shop.newest()["id"], kept["id"]);
    assert_eq!(
        databases(&shop),
        staged,
        "the very database that the first process began"
    );
    assert_eq!(shop.ask_restored(FINGERPRINT), fingerprint);
    let intents = restores(&shop, "intent");
    let attempts: Vec<u64> = intents
        .iter()
        .map(|what| what["attempt"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 1, 1], "one attempt, taken up again twice");
    let jobs = shop.on_restored("db", "ls /var/lib/dr-plan/*/restore-db.stage");
    assert_eq!(jobs.lines().count(), 1, "one job: {jobs}");
    shop.do_it(&["report"])
        .ended(8, &shop)
        .says("we are on the phone");
    let marked = shop.do_it(&words).ended(2, &shop);
    marked.says("has ended well already");
}
