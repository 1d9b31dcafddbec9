//! A second program is at work while a person reads what a command is about to do, or while a command waits for the estate.

use jiff::Timestamp;

use super::shop::{KILLED, Shop};
use super::undone::{names, zone};

fn of_before() -> Vec<(String, String)> {
    let expected = [("shop-db-1", "running"), ("shop-web-1", "running")];
    expected
        .map(|(name, status)| (name.to_owned(), status.to_owned()))
        .into()
}

#[test]
fn what_was_shown_or_asked_for_is_judged_again_behind_the_lock() {
    let shop = Shop::up("between");
    shop.only_database_and_pages();
    shop.order();
    shop.back_up(Timestamp::now(), false);
    let before = zone(&shop);
    let lost_at = Timestamp::now().to_string();
    let words = shop.failover(
        &lost_at,
        &["--approve", "go", "--inject", "crash:restore-db"],
    );
    shop.do_it(&words).ended(KILLED, &shop);

    // While one person reads what an undo would do, and another one's undo waits for the lock, the run comes to its end.
    let mut shown = shop.begin_at_terminal_beside(&["undo", "last"]);
    shown.wait_for_words("type `yes`", &shop);
    let door = shop.shut_door();
    let undo = shop.begin(&["undo", "last", "--yes"]);
    shop.wait_for_somebody_at(&door);
    shop.do_beside(&["resume", "last"])
        .ended(0, &shop)
        .says("MET");
    let (moved, servers) = (zone(&shop), shop.servers());
    assert_ne!(moved, before);
    shown.types("yes");
    let refused = shown.wait().ended(3, &shop);
    let refused = refused.says("has changed since").says("`dns`");
    refused.says("dr-plan undo");
    assert_eq!((zone(&shop), shop.servers()), (moved, servers));
    assert!(shop.report()["back"].is_null());
    // Who agreed to whatever there is takes back all of it, and nothing keeps the next run from beginning.
    drop(door);
    undo.wait()
        .ended(0, &shop)
        .says("all that was wanted is taken back");
    assert_eq!((zone(&shop), names(&shop)), (before, of_before()));

    // One failover is at the question to start, and another one comes to its end.
    let mut second =
        shop.begin_at_terminal(&["run", "plans/region-failover.yaml", "--lost-at", &lost_at]);
    second.wait_for_words("type `yes`", &shop);
    shop.do_it(&shop.failover(&lost_at, &["--approve", "go"]))
        .ended(0, &shop)
        .says("MET");
    let (moved, servers) = (zone(&shop), shop.servers());
    second.types("yes");
    second
        .wait()
        .ended(2, &shop)
        .says("has moved the users of `shop`");
    assert_eq!((zone(&shop), shop.servers()), (moved, servers));
    assert_eq!(shop.creations().len(), 4);

    // What is taken back completely while its resume waits stays taken back.
    shop.do_it(&["undo", "last", "--yes"]).ended(0, &shop);
    let words = shop.failover(&lost_at, &["--inject", "crash:db-settings"]);
    shop.do_it(&words).ended(KILLED, &shop);
    let door = shop.shut_door();
    let resume = shop.begin(&["resume", "last"]);
    shop.wait_for_somebody_at(&door);
    shop.do_beside(&["undo", "last", "--yes"]).ended(0, &shop);
    let made = shop.creations().len();
    drop(door);
    resume
        .wait()
        .ended(2, &shop)
        .says("it does not go forward again");
    assert_eq!(names(&shop), of_before());
    assert_eq!(shop.creations().len(), made);
}
