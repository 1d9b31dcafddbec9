//! The orchestrator dies in the middle of `pg_restore`: which goes on, is found again, and is not run twice.

use jiff::Timestamp;

use super::shop::{FINGERPRINT, HOLD_PG_RESTORE, Shop, wait_for};

#[test]
fn a_restore_goes_on_without_its_orchestrator_and_is_attached_to() {
    let shop = Shop::up("restoring");
    shop.many_orders();
    shop.order();
    let fingerprint = shop.ask_source(FINGERPRINT);
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();

    let run = shop.begin(&shop.failover(&lost_at, &["--approve", "go"]));
    // Held where it is, so that all that follows happens in the middle of it, on any machine.
    shop.wait_for_event("intent", "restore-db");
    let held = shop.inside(HOLD_PG_RESTORE);
    let first = held.split_whitespace().next().unwrap_or_default();
    let orchestrator = shop.orchestrator();
    // One process is seen to outlive the other.
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
    let staged = || {
        let words = [
            "ssh",
            "last",
            "db",
            "--",
            "cd / && runuser -u postgres -- psql -XAtq postgres -c \"select oid from pg_database where datname like '%shop%'\"",
        ];
        shop.do_it(&words).ended(0, &shop).out.trim().to_owned()
    };
    let before = staged();
    assert!(
        before.parse::<u32>().is_ok(),
        "one database, staged: {before:?}"
    );

    let resumed = shop.begin(&["resume", "last"]);
    wait_for(
        || {
            let journal = shop.journal();
            let mut events = journal.iter().map(|record| &record["what"]);
            let running = |what: &&serde_json::Value| {
                what["event"] == "observed"
                    && what["step"] == "restore-db"
                    && what["observation"].to_string().contains("running")
            };
            events.any(|what| running(&what)).then_some(())
        },
        || {
            format!(
                "the restore is found at work\n{}\n{}",
                resumed.said(),
                shop.story()
            )
        },
    );
    shop.inside(&format!("kill -CONT {held}"));
    resumed.wait().ended(0, &shop);
    assert_eq!(shop.report()["result"], "MET");
    assert_eq!(
        staged(),
        before,
        "the very database that the first process began"
    );
    assert_eq!(shop.ask_restored(FINGERPRINT), fingerprint);
    let attempts: Vec<u64> = shop
        .journal()
        .iter()
        .map(|record| &record["what"])
        .filter(|what| what["event"] == "intent" && what["step"] == "restore-db")
        .map(|what| what["attempt"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 1], "one attempt, taken up again");
    let words = [
        "ssh",
        "last",
        "db",
        "--",
        "ls /var/lib/dr-plan/*/restore-db.stage",
    ];
    let jobs = shop.do_it(&words).ended(0, &shop).out;
    assert_eq!(jobs.lines().count(), 1, "one job: {jobs}");
}
