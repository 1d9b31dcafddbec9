//! Died half way, seen rightly, finished by the next attempt: at each place where a restore can be left.

use std::time::Instant;

use dr_plan::codec::Form;
use dr_plan::dataset::{Progress, Restore, Silent, Stand};
use dr_plan::kind::{Observation, Reason};
use dr_plan::transport::{JobState, Transport};

use super::cluster::{Cluster, gpg_quick as gpg, run};
use super::roundtrip::{PASSPHRASE, SOON, artifact, passphrase};
use super::server::Server;

/// Waits on a condition, with a deadline.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Tells the phase that a job has reached.
#[derive(Default)]
struct Phase(std::sync::Arc<std::sync::Mutex<String>>);

impl Progress for Phase {
    fn phase(&mut self, phase: &str, _: u64, _: u64) {
        *self.0.lock().unwrap() = phase.to_string();
    }
    fn note(&mut self, _: &str) {}
    fn log(&mut self, _: &str) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_killed_in_any_phase_is_seen_and_finished_by_the_next_attempt() {
    let (source, target, server) = (Cluster::start(), Cluster::start(), Server::start().await);
    source.make_shop(60_000);
    let backup = gpg(PASSPHRASE, &source.dump("shop", &["-Fc"]));
    let artifact = artifact(&server, "shop", &backup, passphrase()).await;
    let mut attempt = 0;
    for phase in [
        "prepare", "decode", "inspect", "create", "restore", "analyze",
    ] {
        attempt += 1;
        let restoration = target.restoration(target.spec(), attempt, &artifact.label);
        let job = restoration.job("stage");
        let mut progress = Phase::default();
        let reached = progress.0.clone();
        let staged = tokio::spawn({
            let (restoration, artifact) = (restoration.clone(), artifact.clone());
            async move {
                restoration
                    .stage(&artifact, Some(Form::Custom), SOON, &mut progress)
                    .await
            }
        });
        until(phase, async || {
            *reached.lock().unwrap() == phase || staged.is_finished()
        })
        .await;
        if !staged.is_finished() {
            let seen = restoration.observe().await.unwrap();
            if let Stand::Running { part } = seen.stand {
                assert_eq!(part, "stage");
            }
        }
        target.host.end(&job).await.unwrap();
        let failure = staged.await.unwrap();
        // Its keeper may live to tell the signal, or have gone with it.
        let state = target.host.look(&job).await.unwrap();
        assert!(
            matches!(state, JobState::Died { .. } | JobState::Exited { .. }),
            "{phase}: {state:?}"
        );
        if let Err(failure) = failure {
            // And so may its script: that the program which it waited for was ended.
            let told = failure.reason == Reason::ExitCode && failure.message.contains("terminated");
            assert!(
                told || failure.reason == Reason::Unknown,
                "{phase}: {failure}"
            );
        }
        let seen = restoration.observe().await.unwrap();
        assert!(
            matches!(seen.stand, Stand::Absent | Stand::Staging | Stand::Ready),
            "{phase}: {seen:?}"
        );
        assert!(seen.live.is_none());
    }
    let last = target.restoration(target.spec(), attempt + 1, &artifact.label);
    last.stage(&artifact, Some(Form::Custom), SOON, &mut Silent)
        .await
        .unwrap();
    last.swap(&mut Silent).await.unwrap();
    assert_eq!(source.fingerprint("shop"), target.fingerprint("shop"));
    assert_eq!(target.databases(), ["shop"]);
    assert_eq!(
        target.sql(
            "postgres",
            "select count(*) from pg_roles where rolname ~ 'dr_plan|reader|Odd'"
        ),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_half_way_state_of_staging_and_swap_is_read_from_the_cluster_and_gone_on_from() {
    let (target, server) = (Cluster::start(), Server::start().await);
    target.make_shop(100);
    let backup = gpg(PASSPHRASE, &target.dump("shop", &["-Fc"]));
    let artifact = artifact(&server, "shop", &backup, passphrase()).await;
    let expected = target.fingerprint("shop");
    target.sql(
        "shop",
        "insert into customers (name) values ('after the backup')",
    );
    let mut spec = target.spec();
    spec.replace = true;
    let one = target.restoration(spec.clone(), 1, &artifact.label);
    let mark = format!("dr-plan run={} step=restore-db backup=vault:shop", run());

    // Made, not yet marked: ours if empty, foreign if not.
    target.sql("postgres", "create database shop_dr_abcdefgh");
    assert_eq!(one.observe().await.unwrap().stand, Stand::Staging);
    target.sql("shop_dr_abcdefgh", "create table t (i int)");
    let seen = one.observe().await.unwrap();
    assert!(matches!(seen.stand, Stand::Foreign { .. }), "{seen:?}");
    let failure = one
        .stage(&artifact, Some(Form::Custom), SOON, &mut Silent)
        .await
        .unwrap_err();
    assert_eq!(failure.reason, Reason::Refused, "{failure}");
    target.sql("shop_dr_abcdefgh", "drop table t");

    // Marked, half restored.
    target.sql(
        "postgres",
        &format!("comment on database shop_dr_abcdefgh is '{mark} state=staging'"),
    );
    target.sql("shop_dr_abcdefgh", "create table orders (i int)");
    let two = target.restoration(spec.clone(), 2, &artifact.label);
    assert!(matches!(
        two.observe()
            .await
            .unwrap()
            .stand
            .observation(&two.staged()),
        Observation::Partial { .. }
    ));
    assert_eq!(
        two.swap(&mut Silent).await.unwrap_err().reason,
        Reason::Refused
    );
    let three = target.restoration(spec.clone(), 3, &artifact.label);
    three
        .stage(&artifact, Some(Form::Custom), SOON, &mut Silent)
        .await
        .unwrap();

    // Ready, of another backup: not this restore's.
    let other = target.restoration(spec.clone(), 3, "vault:older");
    assert_eq!(other.observe().await.unwrap().stand, Stand::Staging);
    assert_eq!(three.observe().await.unwrap().stand, Stand::Ready);

    // The old one closed and marked, nothing renamed.
    let hex = target.sql("postgres", "select encode(convert_to(shobj_description(oid, 'pg_database'), 'UTF8'), 'hex') from pg_database where datname = 'shop'");
    target.sql(
        "postgres",
        &format!("begin; comment on database shop is '{mark} state=closing was={hex}'; alter database shop allow_connections false; commit"),
    );
    assert_eq!(three.observe().await.unwrap().stand, Stand::Closing);
    let four = target.restoration(spec.clone(), 4, &artifact.label);
    assert_eq!(
        four.swap(&mut Silent).await.unwrap().as_deref(),
        Some("shop_pre_abcdefgh")
    );
    assert_eq!(four.observe().await.unwrap().stand, Stand::Live);
    assert_eq!(target.fingerprint("shop"), expected);

    // Swap taken back half way: closed, not renamed.
    target.sql("postgres", "alter database shop allow_connections false");
    four.swap_back(&mut Silent).await.unwrap();
    assert_eq!(
        target.sql(
            "shop",
            "select count(*) from customers where name = 'after the backup'"
        ),
        "1"
    );
    assert_eq!(
        target.sql(
            "postgres",
            "select shobj_description(oid, 'pg_database') from pg_database where datname = 'shop'"
        ),
        "the shop of the region that is lost"
    );
    four.drop_staged(&mut Silent).await.unwrap();
    assert_eq!(target.databases(), ["shop"]);

    // A server that does not answer is no statement about databases.
    target.stop();
    let seen = four.observe().await.unwrap();
    assert!(matches!(seen.stand, Stand::CannotTell { .. }), "{seen:?}");
}
