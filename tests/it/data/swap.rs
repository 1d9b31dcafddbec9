//! A live database is refused, or set aside with its settings carried over, brought back, or let go of.

use dr_plan::codec::Form;
use dr_plan::dataset::Silent;
use dr_plan::dataset::{Restore, Stand};
use dr_plan::kind::{Observation, Reason};

use super::cluster::{Cluster, gpg_quick as gpg};
use super::roundtrip::{Heard, PASSPHRASE, SOON, artifact, passphrase};
use super::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_live_a_foreign_and_an_empty_database_are_refused_before_the_first_byte() {
    let (target, server) = (Cluster::start(), Server::start().await);
    target.make_shop(50);
    let backup = gpg(PASSPHRASE, &target.dump("shop", &["-Fc"]));
    let artifact = artifact(&server, "shop", &backup, passphrase()).await;
    let before = target.fingerprint("shop");
    let asked = server.asked().len();

    let restoration = target.restoration(target.spec(), 1, &artifact.label);
    let Observation::Foreign { what, hint } = restoration
        .observe()
        .await
        .unwrap()
        .stand
        .observation(&restoration.staged())
    else {
        panic!("a live database was not seen as foreign")
    };
    assert!(
        what.contains("owner `shop`") && what.contains("session(s)") && what.contains("row(s)"),
        "{what}"
    );
    assert!(hint.unwrap().contains("replace: true"));
    let failure = restoration
        .stage(&artifact, Some(Form::Custom), SOON, &mut Heard::default())
        .await
        .unwrap_err();
    assert_eq!(failure.reason, Reason::Refused, "{failure}");

    // What another run put in place is foreign too, and so is an empty database.
    target.sql(
        "postgres",
        "comment on database shop is 'dr-plan run=other step=restore-db backup=x state=live'",
    );
    let seen = restoration.observe().await.unwrap();
    assert!(matches!(seen.stand, Stand::Foreign { .. }), "{seen:?}");
    target.sql(
        "postgres",
        "alter database shop rename to elsewhere; create database shop",
    );
    let seen = restoration.observe().await.unwrap();
    assert!(matches!(seen.stand, Stand::Foreign { .. }), "{seen:?}");
    let second = target.restoration(target.spec(), 2, &artifact.label);
    let failure = second
        .stage(&artifact, Some(Form::Custom), SOON, &mut Heard::default())
        .await
        .unwrap_err();
    assert_eq!(failure.reason, Reason::Refused, "{failure}");

    assert_eq!(
        server.asked().len(),
        asked,
        "a byte was fetched: {:?}",
        server.asked()
    );
    assert_eq!(target.fingerprint("elsewhere"), before);
    assert_eq!(target.databases(), ["elsewhere", "shop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_database_hands_on_its_settings_is_kept_and_can_come_back() {
    let (target, server) = (Cluster::start(), Server::start().await);
    target.make_shop(100);
    let backup = gpg(PASSPHRASE, &target.dump("shop", &["-Fc"]));
    let artifact = artifact(&server, "shop", &backup, passphrase()).await;
    target.sql(
        "postgres",
        r#"alter database shop set search_path to "$user", 'Odd;Schema', public;
           alter database shop set work_mem to '17MB';
           alter role shop in database shop set application_name to 'it''s the shop';
           alter database shop connection limit 42;
           revoke connect on database shop from public;
           grant connect on database shop to reader with grant option;"#,
    );
    target.sql(
        "shop",
        "insert into customers (name) values ('after the backup')",
    );
    let now = target.fingerprint("shop");
    let identity = || {
        target.sql(
            "postgres",
            "select (select string_agg(a::text, chr(32) order by a::text) from unnest(datacl) a), datconnlimit, (select string_agg(setrole || ':' || setconfig::text, ' ' order by setrole) from pg_db_role_setting where setdatabase = d.oid) from pg_database d where datname = 'shop'",
        )
    };
    let settings = identity();

    let mut spec = target.spec();
    spec.replace = true;
    let first = target.restoration(spec.clone(), 1, &artifact.label);
    assert_eq!(first.observe().await.unwrap().stand, Stand::Absent);
    first
        .stage(&artifact, Some(Form::Custom), SOON, &mut Silent)
        .await
        .unwrap();
    assert_eq!(
        target.fingerprint("shop"),
        now,
        "staging touched the live database"
    );

    // A session that will not go by itself.
    let socket = target.socket().to_path_buf();
    let session = super::cluster::as_postgres("psql")
        .args(["-X", "-d", "shop", "-c", "select pg_sleep(600)"])
        .env("PGHOST", &socket)
        .current_dir("/")
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + SOON;
    while target.sql(
        "postgres",
        "select count(*) from pg_stat_activity where datname = 'shop'",
    ) == "0"
    {
        assert!(std::time::Instant::now() < deadline);
    }
    let kept = first.swap(&mut Silent).await.unwrap();
    assert!(!{ session }.wait().unwrap().success());
    assert_eq!(kept.as_deref(), Some("shop_pre_abcdefgh"));
    assert_eq!(
        identity(),
        settings,
        "settings, grants and limit go with the name"
    );
    assert_eq!(
        target.sql(
            "shop",
            "select count(*) from customers where name = 'after the backup'"
        ),
        "0"
    );
    let seen = first.observe().await.unwrap();
    assert_eq!(seen.stand, Stand::Live);
    assert!(!seen.kept.unwrap().open);

    // Again, as a resume would: nothing happens.
    let again = target.restoration(spec.clone(), 2, &artifact.label);
    again.swap(&mut Silent).await.unwrap();
    assert_eq!(again.observe().await.unwrap().stand, Stand::Live);

    target.sql(
        "shop",
        "insert into customers (name) values ('after the swap')",
    );
    again.swap_back(&mut Silent).await.unwrap();
    assert_eq!(target.fingerprint("shop"), now, "the old data is back");
    assert_eq!(
        target.sql(
            "postgres",
            "select shobj_description(oid, 'pg_database') from pg_database where datname = 'shop'"
        ),
        "the shop of the region that is lost"
    );
    assert_eq!(
        target.sql(
            "shop_dr_abcdefgh",
            "select count(*) from customers where name = 'after the swap'"
        ),
        "1"
    );
    assert_eq!(again.observe().await.unwrap().stand, Stand::Ready);

    let third = target.restoration(spec, 3, &artifact.label);
    third.swap_back(&mut Silent).await.unwrap();
    third.swap(&mut Silent).await.unwrap();
    third.release(&mut Silent).await.unwrap();
    assert_eq!(target.databases(), ["shop"]);
    third.drop_staged(&mut Silent).await.unwrap();
    assert_eq!(target.databases(), ["shop"]);
    assert_eq!(third.observe().await.unwrap().stand, Stand::Live);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_transactions_stop_a_swap_before_the_live_database_is_closed() {
    let (target, server) = (Cluster::start(), Server::start().await);
    target.make_shop(10);
    let backup = gpg(PASSPHRASE, &target.dump("shop", &["-Fc"]));
    let artifact = artifact(&server, "shop", &backup, passphrase()).await;
    let mut spec = target.spec();
    spec.replace = true;
    let restoration = target.restoration(spec, 1, &artifact.label);
    restoration
        .stage(&artifact, Some(Form::Custom), SOON, &mut Silent)
        .await
        .unwrap();
    target.sql(
        "shop",
        "begin; insert into customers (name) values ('prepared'); prepare transaction 'one'",
    );
    let failure = restoration.swap(&mut Silent).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Refused, "{failure}");
    assert!(failure.message.contains("prepared"), "{failure}");
    assert_eq!(
        target.sql(
            "shop",
            "select count(*) from customers where name = 'prepared'"
        ),
        "0"
    );
}
