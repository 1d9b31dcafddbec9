//! Ctrl-C once and twice, SIGTERM, a lost terminal; and a person's word about a step that cannot go on.

use jiff::Timestamp;
use rustix::process::Signal;

use super::shop::{Shop, wait_for};

#[test]
fn a_run_stops_as_it_is_asked_to_and_a_marked_step_does_not_hold_it_up() {
    let shop = Shop::up("signals");
    shop.order();
    let kept = shop.newest();
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

    // Twice: at once, and the steps that go on are named.
    let run = shop.begin(&["resume", "last"]);
    shop.wait_for_event("intent", "restore-db");
    run.signal(Signal::INT);
    run.wait_for_words("stopping: nothing new is started", &shop);
    run.signal(Signal::INT);
    run.wait().ended(5, &shop).says("leaving now");

    // SIGTERM is the second kind. A lost terminal stops nothing.
    let run = shop.begin(&["resume", "last"]);
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
    shop.do_it(&["report"])
        .ended(8, &shop)
        .says("we are on the phone");
    let marked = shop.do_it(&words).ended(2, &shop);
    marked.says("has ended well already");
}
