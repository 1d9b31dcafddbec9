//! The newest backup is no good, which only its inside shows: the next older one is a person's decision.

use jiff::{Timestamp, ToSpan as _};

use super::shop::Shop;

const ASKS: &[&str] = &["from the next older backup, `vault:", "dr-plan approve"];

#[test]
fn a_cut_newest_backup_leads_to_the_question_for_the_next_older_one() {
    let shop = Shop::up("refused");
    shop.ask_source("delete from orders where created_at > now() - interval '40 minutes'");
    let kept = shop.newest();
    let evening = Timestamp::now() - 30.minutes();
    shop.back_up(evening, false);
    shop.order();
    shop.back_up(Timestamp::now(), true);
    let lost_at = shop.lose_region().to_string();

    let run = shop.begin(&shop.failover(&lost_at, &["--approve", "go"]));
    let question = shop.wait_for_status(ASKS);
    assert!(
        question.contains("approve") && question.contains("restore-db"),
        "{question}"
    );
    let words = ["approve", "last", "restore-db", "--no", "--as", "Ada"];
    shop.do_it(&words).ended(0, &shop);
    run.wait().ended(4, &shop).says("ABORTED");

    // Small accidents on the way, none of which may be seen in what comes of it.
    let run = shop.begin(&[
        "resume",
        "last",
        "--inject",
        "fail:dns",
        "--inject",
        "repeat:dns",
    ]);
    shop.wait_for_status(ASKS);
    shop.do_it(&["approve", "last", "restore-db", "--as", "Ada"])
        .ended(0, &shop);
    run.wait().ended(7, &shop).says("MISSED");
    assert_eq!(shop.newest()["id"], kept["id"]);
    let report = shop.report();
    assert_eq!(report["result"], "MISSED", "{report:#}");
    let newest: Timestamp = kept["created_at"].as_str().unwrap().parse().unwrap();
    let lost_at: Timestamp = lost_at.parse().unwrap();
    let truth = lost_at.duration_since(newest).as_secs_f64();
    let measured = report["rpo"]["measured"].as_f64().unwrap();
    assert!((measured - truth).abs() < 1.0, "{measured} is not {truth}");
    let taken = evening.strftime("%Y%m%dT%H%M%SZ").to_string();
    assert!(question.contains(&taken), "{question}");
    let retried = |what: &serde_json::Value| what["event"] == "retry" && what["step"] == "dns";
    let journal = shop.journal();
    assert!(
        journal.iter().any(|record| retried(&record["what"])),
        "{}",
        shop.story()
    );
    let restored = shop.journal().iter().any(|record| {
        record["what"]["event"] == "done"
            && record["what"]["output"]["backup"]
                .as_str()
                .is_some_and(|backup| backup.contains(&taken))
    });
    assert!(restored, "{}", shop.story());
}
