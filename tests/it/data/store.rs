//! The S3 client against a server that pages, signs and refuses; the catalogue and the judge on top of it.

use std::process::Command;
use std::time::Duration;

use dr_plan::codec::{Encryption, Form};
use dr_plan::kind::Reason;
use dr_plan::secret::Secret;
use dr_plan::store::catalog::{self, Pattern};
use dr_plan::store::judge::{self, Declared, Verdict};
use dr_plan::store::{Fetch, S3Store, Store, lacks};
use jiff::tz::TimeZone;

use super::cluster::through;
use super::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_more_than_a_thousand_objects_is_whole() {
    let server = Server::start().await;
    for number in 0..2500 {
        server.lay(&format!("postgres/shop-{number:05}.dump"), b"x");
    }
    for odd in [
        "postgres/shop with space.dump",
        "postgres/shop+ü&%41.dump",
        "other/x",
    ] {
        server.lay(odd, b"xyz");
    }
    let store = server.store();
    let objects = store.list("postgres/shop").await.unwrap();
    assert_eq!(objects.len(), 2502);
    let pages = server
        .asked()
        .iter()
        .filter(|a| a.contains("list-type=2"))
        .count();
    assert!(pages >= 3, "{pages} pages");
    assert!(
        objects
            .iter()
            .any(|o| o.path == "postgres/shop with space.dump" && o.bytes == 3)
    );
    assert_eq!(store.list("postgres/shop-0249").await.unwrap().len(), 10);
    assert_eq!(store.list("").await.unwrap().len(), 2503);
    let odd = objects.iter().find(|o| o.path.contains('ü')).unwrap();
    assert_eq!(&store.read(&odd.path, 0, 10).await.unwrap()[..], b"xyz");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_is_enough_for_curl_and_nothing_less_is() {
    let server = Server::start().await;
    server.lay("postgres/a b.dump", b"0123456789");
    let store = server.store();
    assert_eq!(
        &store.read("postgres/a b.dump", 3, 4).await.unwrap()[..],
        b"3456"
    );
    assert!(
        store
            .read("postgres/a b.dump", 10, 4)
            .await
            .unwrap()
            .is_empty()
    );
    let Fetch::Url(url) = store
        .fetch("postgres/a b.dump", Duration::from_secs(60))
        .await
        .unwrap()
    else {
        panic!("S3 signs")
    };
    let config = format!("url = \"{}\"\n", url.expose());
    let got = through(
        Command::new("curl").args(["-sSf", "--config", "-"]),
        config.as_bytes(),
    );
    assert_eq!(got, b"0123456789");
    let bare = url.expose().split('?').next().unwrap();
    let refused = Command::new("curl").args(["-sSf", bare]).output().unwrap();
    assert!(
        !refused.status.success(),
        "an unsigned request was answered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_refuses_is_told_apart_and_shows_no_secret() {
    let server = Server::start().await;
    server.lay("a", b"1");
    let store = server.store();
    let missing = store.read("nothing", 0, 1).await.unwrap_err();
    assert_eq!(missing.reason, Reason::NotFound, "{missing}");
    assert!(lacks(&store, "nothing").await.unwrap());
    assert!(!lacks(&store, "a").await.unwrap());
    let mut settings = server.settings();
    settings.secret_key = Secret::new("canary-of-the-key".into());
    let stranger = S3Store::new(&settings).unwrap();
    let denied = stranger.read("a", 0, 1).await.unwrap_err();
    assert!(lacks(&stranger, "nothing").await.is_err());
    assert_eq!(denied.reason, Reason::Denied, "{denied}");
    assert!(denied.hint.is_some());
    assert!(!denied.message.contains("canary-of-the-key"));
    settings.bucket = "another-bucket".into();
    settings.secret_key = server.settings().secret_key;
    let elsewhere = S3Store::new(&settings).unwrap();
    assert!(lacks(&elsewhere, "nothing").await.is_err());
    settings.endpoint = Some("http://127.0.0.1:9".into());
    let store = S3Store::new(&settings).unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(50), store.list("")).await;
    if let Ok(gone) = gone {
        assert_eq!(gone.unwrap_err().reason, Reason::Unreachable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_usable_backup_is_found_and_the_refused_ones_say_why() {
    let server = Server::start().await;
    let gpg = |bytes: usize| {
        let mut content = vec![0x8c, 0x0d, 0x04, 0x09];
        content.resize(bytes, 7);
        content
    };
    for day in 10..=18 {
        server.lay(
            &format!("postgres/shop-202611{day}T030000Z.dump.gpg"),
            &gpg(1000),
        );
    }
    server.lay(
        "postgres/shop-20261119T030000Z.dump.gpg",
        b"<html>no</html>",
    );
    server.lay("postgres/shop-20261120T030000Z.dump.gpg", &gpg(20));
    server.lay("postgres/shop-20261121T030000Z.dump.gpg", b"");
    server.lay("postgres/shop-20261121T040000Z.dump.gpg.partial", &gpg(900));
    let sha = "0".repeat(64);
    let lines: String = (10..=20)
        .map(|day| {
            let bytes = if day == 18 { 999 } else { 1000 };
            format!("{{\"artifact\":\"shop-202611{day}T030000Z.dump.gpg\",\"bytes\":{bytes},\"sha256\":\"{sha}\"}}\n")
        })
        .collect();
    server.lay("postgres/manifest.ndjson", lines.as_bytes());
    let store = server.store();
    let pattern = Pattern::parse("postgres/shop-{time:%Y%m%dT%H%M%SZ}.dump.gpg").unwrap();
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let catalog = catalog::read(&store, &pattern, None, &TimeZone::UTC, now)
        .await
        .unwrap();
    assert_eq!(catalog.backups.len(), 11);
    let declared = Declared {
        form: Some(Form::Custom),
        key: Some(Encryption::Gpg),
        checksums: true,
        max_age: Some(Duration::from_secs(25 * 3600)),
        ..Declared::default()
    };
    let assessment = judge::assess(&store, &catalog, &declared, 2, now)
        .await
        .unwrap();
    let best = assessment.best().unwrap();
    assert_eq!(best.backup.path, "postgres/shop-20261117T030000Z.dump.gpg");
    assert_eq!(
        best.verdict,
        Verdict::Doubtful,
        "older than max_age: {best:?}"
    );
    let why: Vec<String> = assessment
        .passed_over()
        .iter()
        .map(|judged| match &judged.verdict {
            Verdict::Refused(why) => why.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(why.len(), 3, "{why:?}");
    assert!(why[0].contains("too small"), "{why:?}");
    assert!(
        why[1].contains("too small") || why[1].contains("no format"),
        "{why:?}"
    );
    assert!(why[2].contains("999"), "{why:?}");
    let next: Vec<_> = assessment
        .older_than(&best.backup.path)
        .map(|j| j.backup.path.clone())
        .collect();
    assert_eq!(next[0], "postgres/shop-20261116T030000Z.dump.gpg");
    assert_eq!(assessment.findings.len(), 2, "{:?}", assessment.findings);
}
