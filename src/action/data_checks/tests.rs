//! What the list says of times without a zone. The data is asked for real in `tests/it/data`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::inventory::{self, Inventory};
use crate::kind::Finding;
use crate::plan::IfSourceLost;
use crate::problem::Source;

const QUERY: &str = "select max(created_at) from orders";

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source {
        name: "test.yaml".into(),
        text: text.into(),
    })
}

fn estate() -> Inventory {
    let text = "version: 1
name: shop
hosts: { db: { address: 192.0.2.1 } }
stores: { disk: { local: { path: /srv } } }
datasets:
  shop-db:
    postgres: { host: db, version: 15, database: shop }
    backups: [{ store: disk, path: '{time}.dump' }]
  carts:
    redis: { host: db }
    backups: [{ store: disk, path: '{time}.rdb' }]
  media:
    files: { host: db, path: /srv/media }
    backups: [{ store: disk, path: '{time}.tar' }]
";
    inventory::read(&source(text), Path::new("/")).unwrap()
}

/// The `newest` entries of a dataset's list.
fn read_newest(dataset: &str, entries: &[&str]) -> Result<Vec<DataCheck>, Vec<Problem>> {
    let estate = estate();
    let entries = entries.iter().map(|text| {
        let node = crate::yaml::parse(&source(text)).0.unwrap();
        ("newest".to_string(), node)
    });
    let verify: Vec<(String, Node)> = entries.collect();
    let bind = Bind {
        inventory: &estate,
        accounts: &BTreeMap::new(),
        hosts: &BTreeSet::new(),
        verify: &verify,
        rpo: None,
        timeout: None,
        if_source_lost: IfSourceLost::Fail,
        folder: Path::new("/"),
        copies: &BTreeMap::new(),
    };
    read(&bind, &estate.datasets[dataset].kind)
}

/// Answers every question with the words behind its `->`.
struct Says;

#[async_trait]
impl DataCopy for Says {
    fn name(&self) -> String {
        "shop".into()
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }

    async fn value(&self, question: &Question) -> Result<Option<String>, Failure> {
        let said = question.words.split_once("-> ");
        Ok(said.map(|(_, said)| said.to_string()))
    }
}

/// What is seen of a service that was lost at noon, UTC.
async fn asked(entries: &[&str]) -> Result<(String, Newest), Failure> {
    let checks = read_newest("shop-db", entries).unwrap();
    let lost_at = "2026-11-21T12:00:00Z".parse().unwrap();
    let (evidence, newest) = ask(&checks, &Says, lost_at).await?;
    let saw: Vec<String> = evidence.into_iter().map(|one| one.saw).collect();
    Ok((saw.join("; "), newest.unwrap()))
}

#[tokio::test]
async fn a_time_without_a_zone_is_taken_as_utc_and_that_is_said() {
    let (saw, newest) = asked(&["query: at -> 2026-11-21 11:50:00"]).await.unwrap();
    assert_eq!(newest.at.to_string(), "2026-11-21T11:50:00Z");
    assert_eq!(newest.taken_as_utc, ["at -> 2026-11-21 11:50:00"]);
    for words in ["10m00s before the loss", "WITHOUT A ZONE", "UTC", "`zone:`"] {
        assert!(saw.contains(words), "`{words}` is not in {saw}");
    }
}

#[tokio::test]
async fn a_zone_in_the_plan_says_what_a_time_without_one_means() {
    let entry = "{ query: at -> 2026-11-21 11:50:00, zone: Europe/Berlin }";
    let (saw, newest) = asked(&[entry]).await.unwrap();
    assert_eq!(newest.at.to_string(), "2026-11-21T10:50:00Z");
    assert_eq!(newest.taken_as_utc, [""; 0]);
    assert!(saw.contains("read in Europe/Berlin"), "{saw}");

    let (saw, newest) = asked(&["{ query: at -> 2026-11-21 11:50:00+00, zone: Europe/Berlin }"])
        .await
        .unwrap();
    assert_eq!(newest.at.to_string(), "2026-11-21T11:50:00Z");
    assert!(!saw.contains("zone"), "{saw}");

    // Who writes UTC knows it: nothing is assumed.
    let (_, newest) = asked(&["{ query: at -> 2026-11-21 11:50:00, zone: UTC }"])
        .await
        .unwrap();
    assert_eq!(newest.taken_as_utc, [""; 0]);
}

#[tokio::test]
async fn of_several_times_the_oldest_counts_and_every_doubtful_one_is_named() {
    let (_, newest) = asked(&[
        "query: orders -> 2026-11-21 11:50:00+00",
        "query: users -> 2026-11-21 11:55:00",
    ])
    .await
    .unwrap();
    assert_eq!(newest.at.to_string(), "2026-11-21T11:50:00Z");
    assert_eq!(newest.taken_as_utc, ["users -> 2026-11-21 11:55:00"]);
}

#[tokio::test]
async fn a_time_that_is_too_old_in_its_zone_fails_a_step_that_says_so() {
    let entry = "{ query: at -> 2026-11-21 11:50:00, zone: Europe/Berlin, within: 15m, or: fail }";
    let Err(failure) = asked(&[entry]).await else {
        panic!("an hour and ten minutes are within 15m");
    };
    assert_eq!(failure.reason, Reason::Verify);
    assert!(failure.message.contains("1h10m00s"), "{failure}");
}

#[test]
fn a_zone_that_nobody_knows_is_a_problem_where_it_is_written() {
    for dataset in ["shop-db", "carts"] {
        let text = "{ query: get newest, within: soon, zone: Europe/Berln }";
        let problems = read_newest(dataset, &[text]).unwrap_err();
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["bad-duration", "unknown-zone"], "{problems:?}");
        let (place, _) = &problems[1].labels[0];
        assert_eq!(&text[place.start..place.end], "Europe/Berln");
        assert_eq!(
            problems[1].help.as_deref(),
            Some("did you mean `Europe/Berlin`?")
        );
    }
    let text = format!("{{ query: {QUERY}, zone: the one in the office }}");
    let problems = read_newest("shop-db", &[&text]).unwrap_err();
    assert!(problems[0].help.as_ref().unwrap().contains("IANA"));
}

#[test]
fn the_times_of_files_have_no_need_of_a_zone() {
    let problems = read_newest("media", &["{ zone: Europe/Berlin }"]).unwrap_err();
    assert_eq!(problems[0].code, "unknown-key");
}
