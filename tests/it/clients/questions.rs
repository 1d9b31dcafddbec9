//! DNS questions against a real authoritative server and a real resolver.

use std::net::SocketAddr;
use std::time::Duration;

use dr_plan::dns::{Dns, Swap};
use dr_plan::resolve::{Code, ResolveError, ask};
use serde_json::json;

use super::nameserver::{Pdns, SOON, ZONE, free_port, unbound, wait_for};
use super::powerdns::{client, set};

#[tokio::test]
async fn a_server_is_asked_and_its_kinds_of_no_are_told_apart() {
    let pdns = Pdns::start().await;
    let ask = |name: &'static str, kind: &'static str| ask(pdns.dns, name, kind, false, SOON);
    let missing = ask("nothing.shop.example", "A").await.unwrap();
    assert_eq!(
        (missing.code, missing.values.len(), missing.ttl),
        (Code::NxDomain, 0, Some(5))
    );
    let empty = ask("www.shop.example", "AAAA").await.unwrap();
    assert_eq!((empty.code, empty.values.len()), (Code::NoError, 0));
    let foreign = ask("www.elsewhere.example", "A").await.unwrap();
    assert_eq!(foreign.code, Code::Refused);
    // An alias is followed as far as the server does.
    pdns.patch(
        json!([{ "name": "a.shop.example.", "type": "CNAME", "ttl": 3, "changetype": "REPLACE",
        "records": [{ "content": "www.shop.example.", "disabled": false }] }]),
    )
    .await;
    let alias = ask("a.shop.example", "A").await.unwrap();
    assert_eq!(
        (alias.values, alias.ttl),
        (vec!["192.0.2.1".to_string()], Some(3))
    );
}

#[tokio::test]
async fn an_answer_too_long_for_udp_is_fetched_over_tcp() {
    let pdns = Pdns::start().await;
    let records: Vec<_> = (0..120)
        .map(|n| json!({ "content": format!("2001:db8::{n:x}:1"), "disabled": false }))
        .collect();
    pdns.patch(
        json!([{ "name": "many.shop.example.", "type": "AAAA", "ttl": 5, "changetype": "REPLACE",
        "records": records }]),
    )
    .await;
    let told = ask(pdns.dns, "many.shop.example", "AAAA", false, SOON)
        .await
        .unwrap();
    assert_eq!(told.values.len(), 120);
}

#[tokio::test]
async fn a_resolver_keeps_the_old_answer_until_its_time_is_up() {
    let pdns = Pdns::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (_child, resolver) = unbound(folder.path(), pdns.dns).await;
    let www = "www.shop.example";
    let first = ask(resolver, www, "A", true, SOON).await.unwrap();
    assert_eq!(
        (first.values, first.authoritative),
        (vec!["192.0.2.1".to_string()], false)
    );
    let (old, new) = (
        set(www, "A", 5, &["192.0.2.1"]),
        set(www, "A", 5, &["192.0.2.2"]),
    );
    let dns = client(&pdns.api);
    assert_eq!(
        dns.swap(ZONE, www, "A", Some(&old), Some(&new))
            .await
            .unwrap(),
        Swap::Done
    );
    assert_eq!(
        ask(pdns.dns, www, "A", false, SOON).await.unwrap().values,
        ["192.0.2.2"]
    );
    wait_for(|| async {
        let told = ask(resolver, www, "A", true, SOON).await.unwrap();
        assert!(told.ttl.unwrap() <= 5);
        told.values == ["192.0.2.2"]
    })
    .await;
}

#[tokio::test]
async fn a_resolver_that_cannot_find_out_says_servfail_and_not_that_the_name_is_gone() {
    let pdns = Pdns::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (_child, resolver) = unbound(folder.path(), pdns.dns).await;
    let told = ask(
        resolver,
        "www.refused.example",
        "A",
        true,
        Duration::from_secs(20),
    )
    .await
    .unwrap();
    assert_eq!((told.code, told.values.len()), (Code::ServFail, 0));
    let told = ask(resolver, "nothing.shop.example", "A", true, SOON)
        .await
        .unwrap();
    assert_eq!(told.code, Code::NxDomain);
    let nobody: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let silence = ask(nobody, "www.shop.example", "A", false, SOON)
        .await
        .unwrap_err();
    assert!(matches!(silence, ResolveError::Network { .. }), "{silence}");
}
