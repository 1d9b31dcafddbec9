//! Every stop has a way on, and the message of the stop names it.

use jiff::Timestamp;

use super::shop::Shop;

/// `status` shows the question and the words that answer it.
const PLAN: &str = "plans/region-failover.yaml";
const ASKS: &[&str] = &["Move the shop's traffic", "dr-plan approve"];

#[test]
fn a_foreign_database_stops_the_restore_and_a_question_waits_for_its_person() {
    let shop = Shop::up("people");
    shop.only_database_and_pages();
    shop.order();
    let kept = shop.newest();
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();

    // Somebody made a database while nobody was looking.
    shop.do_it(&shop.failover(&lost_at, &["--inject", "crash:restore-db"]))
        .ended(128 + 9, &shop);
    let as_postgres = |sql: &str| {
        let command = format!("cd / && runuser -u postgres -- psql -XAtq postgres -c '{sql}'");
        shop.do_it(&["ssh", "last", "db", "--", &command])
            .ended(0, &shop)
    };
    as_postgres("create database shop");
    let stopped = shop.do_it(&["resume", "last"]).ended(5, &shop);
    let stopped = stopped.says("database `shop` exists");
    stopped.says("dr-plan resume").says("dr-plan mark");
    shop.do_it(&["status", "last"])
        .ended(5, &shop)
        .says("database `shop` exists")
        .says("dr-plan resume");
    assert_eq!(
        as_postgres("select 1 from pg_database where datname = $$shop$$").out,
        "1\n"
    );
    as_postgres("drop database shop");

    // The question waits; it is no again and then yes, from another terminal.
    let asking = shop.begin(&["resume", "last"]);
    shop.wait_for_status(ASKS);
    shop.do_it(&["resume", "last"])
        .ended(6, &shop)
        .says("is in the hands of");
    shop.do_it(&[
        "approve",
        "last",
        "go",
        "--no",
        "--as",
        "Ada",
        "--because",
        "not yet",
    ])
    .ended(0, &shop);
    asking.wait().ended(4, &shop).says("ABORTED");
    assert_eq!(shop.report()["result"], "ABORTED");
    shop.do_it(&["approve", "last", "go", "--as", "Ada"])
        .ended(5, &shop)
        .says("dr-plan resume");
    // In the background of a terminal, which belongs to the shell meanwhile.
    let asking = shop.begin_in_background(&["resume", "last"]);
    shop.wait_for_status(ASKS);
    shop.do_it(&["approve", "last", "go", "--as", "Ada"])
        .ended(0, &shop);
    asking.wait().ended(0, &shop).says("MET");
    assert_eq!(shop.newest()["id"], kept["id"]);

    // Those who sleep were told what it waited for, what to type, and each end.
    let told = shop.told("/bot/sendMessage");
    for words in [
        "has stopped without a result",
        "waits for a person",
        "has ended: ABORTED",
        "has ended: MET",
    ] {
        assert!(told.iter().any(|text| text.contains(words)), "{told:?}");
    }
    assert!(
        told.iter().any(|text| text.contains("dr-plan approve")),
        "{told:?}"
    );

    // What a person reads afterwards.
    let report = shop.report();
    assert_eq!(report["result"], "MET", "{report:#}");
    let answers = report["people"]["asked"].as_array().unwrap();
    assert!(
        answers
            .iter()
            .any(|asked| asked["by"] == "Ada" && asked["yes"] == true),
        "{report:#}"
    );
    shop.do_it(&["runs"]).ended(0, &shop).says("MET");
    shop.do_it(&["status"]).ended(0, &shop).says("MET");
    shop.do_it(&["report"]).ended(0, &shop).says("Ada");
    shop.do_it(&["logs", "last", "restore-db"])
        .ended(0, &shop)
        .says("restoring from");
    shop.do_it(&["ssh", "last", "db", "--", "true"])
        .ended(0, &shop);
    shop.do_it(&["ssh", "last", "web", "--", "exit 3"])
        .ended(3, &shop);
    shop.do_it(&["resume", "last"])
        .ended(0, &shop)
        .says("nothing to resume");
    // Before it is typed again, on another night: neither cron nor a preview keeps silent about what the run would say.
    for words in [&["check", PLAN][..], &["run", PLAN, "--dry-run"]] {
        shop.do_it(words)
            .says("`run` will not begin")
            .says("has moved the users");
    }
}
