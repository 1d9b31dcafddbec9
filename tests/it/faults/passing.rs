//! Outages in the middle of a failover: the API, the store, a cable, the name server. The run ends as if nothing had been.

use std::time::Duration;

use jiff::Timestamp;

use crate::failover::shop::{FINGERPRINT, HOLD_PG_RESTORE, Shop, wait_for};

/// A minute without the provider's API, a store that goes away half way through a backup, a cable that is out for twenty
/// seconds while the database is restored, a name server that is down when the names are to move.
#[test]
fn outages_that_pass_are_waited_out_and_nothing_is_done_twice() {
    let shop = Shop::up("outages");
    // One and a half megabytes that no packer makes smaller: twenty seconds of the slow line below.
    shop.ask_source(
        "create table ballast (words text);
         insert into ballast
         select string_agg(md5(n::text || '-' || m), '')
         from generate_series(1, 3000) as n, generate_series(1, 32) as m group by n;",
    );
    shop.slow_to_restore();
    shop.order();
    let kept = shop.newest();
    let fingerprint = shop.ask_source(FINGERPRINT);
    let ballast = "select count(*), md5(string_agg(words, '' order by words)) from ballast";
    let carried = shop.ask_source(ballast);
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();
    let change = |word: &str, what: &[&str]| {
        let words = [&["sandbox", word, "--world", &shop.world], what].concat();
        shop.do_it(&words).ended(0, &shop);
    };

    let run = shop.begin(&shop.failover(&lost_at, &[]));
    shop.wait_for_event("intent", "db");
    change("break", &["api", "hetzner"]);
    std::thread::sleep(Duration::from_secs(60));
    change("mend", &["api", "hetzner"]);

    // A slow line, so that there is a half way.
    shop.wait_for_event("done", "db-restart");
    shop.inside("for cable in $(ip -br link | sed -n 's/^\\(vps[0-9]*\\)@.*/\\1/p'); do tc qdisc add dev $cable root tbf rate 600kbit burst 32kbit latency 400ms; done");
    wait_for(
        || {
            let journal = shop.journal();
            let fetching = |what: &serde_json::Value| {
                what["event"] == "progress"
                    && what["step"] == "restore-db"
                    && what["phase"] == "fetch"
                    && what["done"].as_u64().is_some_and(|done| done > 0)
            };
            journal
                .iter()
                .any(|record| fetching(&record["what"]))
                .then_some(())
        },
        || format!("the fetch of the backup\n{}", shop.story()),
    );
    change("break", &["api", "store"]);
    shop.wait_for_event("retry", "restore-db");
    // Of those that have come since, none is slow.
    shop.inside("for cable in $(tc qdisc show | sed -n 's/^qdisc tbf .* dev \\(vps[0-9]*\\) .*/\\1/p'); do tc qdisc del dev $cable root; done");
    // Held in the middle, on any machine.
    shop.inside(&format!(
        "({HOLD_PG_RESTORE} && touch /run/held) > /dev/null 2>&1 &"
    ));
    change("mend", &["api", "store"]);
    shop.inside("for i in $(seq 800); do [ -e /run/held ] && exit 0; sleep 0.1; done; exit 1");
    let db = shop
        .servers()
        .into_iter()
        .map(|server| server.0)
        .find(|name| name.starts_with("dr-region-failover-db-"))
        .unwrap();
    change("break", &["link", &db]);
    shop.inside("pkill -CONT -f '^[^ ]*pg_restore --exit-on-error'");
    std::thread::sleep(Duration::from_secs(20));
    change("mend", &["link", &db]);

    shop.wait_for_event("asked", "go");
    change("break", &["api", "dns"]);
    shop.do_it(&["approve", "last", "go", "--as", "Ada"])
        .ended(0, &shop);
    shop.wait_for_event("retry", "dns");
    change("mend", &["api", "dns"]);
    run.wait().ended(0, &shop).says("MET");

    assert_eq!(shop.creations().len(), 2, "one for each role");
    assert_eq!(shop.ask_restored(FINGERPRINT), fingerprint);
    assert_eq!(shop.ask_restored(ballast), carried);
    assert_eq!(shop.newest()["id"], kept["id"]);
    let restores = shop.journal();
    let restores = restores.iter().map(|record| &record["what"]);
    let begun = restores
        .filter(|what| what["event"] == "intent" && what["step"] == "restore-db")
        .count();
    assert_eq!(
        begun,
        2,
        "once before the store went away, once after\n{}",
        shop.story()
    );
}
