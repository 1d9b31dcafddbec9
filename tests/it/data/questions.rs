//! What is asked of a database changes nothing, whatever the question says: previews, drills and `check` ask it too.

use dr_plan::dataset::Stand;
use dr_plan::kind::Reason;

use super::cluster::Cluster;
use super::roundtrip::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn a_question_changes_nothing_whatever_it_says() {
    let cluster = Cluster::start();
    cluster.make_shop(10);
    let psql = cluster.fresh(cluster.spec(), "asked").psql();
    let before = cluster.fingerprint("shop");
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    let trace = folder.path().join("was-here");
    let touch = format!("touch {}", trace.display());
    for asked in [
        format!("\\! {touch}"),
        format!("select 1 as one \\gset\n\\! {touch}\nselect 1"),
        format!("copy (select 1) to program '{touch}'"),
        format!("select 1; copy (select 1) to program '{touch}'"),
        "set default_transaction_read_only = off; create table evil (x int)".into(),
        "select set_config('transaction_read_only', 'off', true); create table evil (x int)".into(),
        "commit; create table evil (x int)".into(),
        "create table evil (x int)".into(),
        "delete from orders returning id".into(),
        "with gone as (delete from orders returning id) select count(*) from gone".into(),
        "select nextval('orders_id_seq')".into(),
        "$do$; create table evil (x int); do $do$ begin null; end".into(),
    ] {
        let answer = psql.rows("shop", &asked, SOON).await;
        assert!(answer.is_err(), "{asked}: {answer:?}");
        assert!(!trace.exists(), "{asked}");
    }
    assert_eq!(cluster.fingerprint("shop"), before);

    for (asked, answer) in [
        ("select count(*) > 0 from orders;", "t"),
        (
            "select count(*) -- all of them\n from orders where false",
            "0",
        ),
        (r"select 'a;\b:c $1 ''d'''", r"a;\b:c $1 'd'"),
        ("show timezone", "UTC"),
        ("values ('DR_END_OF_QUERY')", "DR_END_OF_QUERY"),
        ("select null::text is null", "t"),
    ] {
        let got = psql.value("shop", asked, SOON).await.unwrap();
        assert_eq!(got.as_deref(), Some(answer), "{asked}");
    }
    let wrong = psql
        .value("shop", "select count(*) from ordres", SOON)
        .await;
    let words = wrong.unwrap_err().message;
    assert!(
        words.contains("relation \"ordres\" does not exist"),
        "{words}"
    );
}

/// After a loss of power it is there again before it answers: that passes, and decides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_starting_is_asked_again_and_not_judged() {
    let cluster = Cluster::start();
    let restoration = cluster.fresh(cluster.spec(), "starting");
    assert_eq!(restoration.observe().await.unwrap().stand, Stand::Absent);
    cluster.let_nobody_in();
    let asked = restoration.psql().value("postgres", "select 1", SOON).await;
    for failure in [asked.unwrap_err(), restoration.observe().await.unwrap_err()] {
        assert_eq!(failure.reason, Reason::Busy, "{failure:?}");
        assert!(failure.reason.passes());
    }
}
