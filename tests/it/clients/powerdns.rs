//! The PowerDNS client against a real server, and against one that loses answers.

use dr_plan::dns::powerdns::{PowerDns, Settings};
use dr_plan::dns::{Dns, RecordSet, Swap};
use dr_plan::http::HttpOptions;
use dr_plan::kind::Reason;
use dr_plan::resolve::ask;
use dr_plan::secret::{Mask, Secret};
use serde_json::json;
use url::Url;

use super::nameserver::{KEY, Pdns, SOON, ZONE};
use super::project::policy;
use super::service::{Reply, Service};
use crate::spec::Spec;

pub fn client(base: &Url) -> PowerDns {
    with_key(base, KEY)
}

fn with_key(base: &Url, key: &str) -> PowerDns {
    PowerDns::new(Settings {
        account: "powerdns".into(),
        endpoint: base.clone(),
        key: Secret::new(key.into()),
        server: "localhost".into(),
        nameservers: vec!["127.0.0.1:5301".parse().unwrap()],
        mask: Mask::default(),
        http: HttpOptions {
            direct: true,
            ..HttpOptions::default()
        },
        policy: policy(),
    })
    .unwrap()
}

pub fn set(name: &str, kind: &str, ttl: u32, values: &[&str]) -> RecordSet {
    RecordSet {
        name: name.into(),
        kind: kind.into(),
        ttl,
        values: values.iter().map(|value| (*value).to_string()).collect(),
    }
}

#[tokio::test]
async fn a_record_set_is_replaced_only_if_it_is_what_was_expected() {
    let pdns = Pdns::start().await;
    let dns = client(&pdns.api);
    dns.check_zone(ZONE).await.unwrap();
    let www = "www.shop.example";
    let old = dns.get(ZONE, www, "A").await.unwrap();
    assert_eq!(old, Some(set(www, "A", 5, &["192.0.2.1"])));

    let new = set(www, "A", 60, &["192.0.2.2", "192.0.2.3"]);
    let stale = set(www, "A", 5, &["192.0.2.9"]);
    let differs = dns
        .swap(ZONE, www, "A", Some(&stale), Some(&new))
        .await
        .unwrap();
    assert_eq!(differs, Swap::Differs(old.clone()));
    assert_eq!(
        dns.swap(ZONE, www, "A", None, Some(&new)).await.unwrap(),
        Swap::Differs(old.clone())
    );
    assert_eq!(dns.get(ZONE, www, "A").await.unwrap(), old);

    assert_eq!(
        dns.swap(ZONE, www, "a", old.as_ref(), Some(&new))
            .await
            .unwrap(),
        Swap::Done
    );
    assert_eq!(dns.get(ZONE, www, "A").await.unwrap(), Some(new.clone()));
    // Again after a crash: what was expected is gone, what is wanted stands.
    assert_eq!(
        dns.swap(ZONE, www, "A", old.as_ref(), Some(&new))
            .await
            .unwrap(),
        Swap::Done
    );
    // Back, as undo does it.
    assert_eq!(
        dns.swap(ZONE, www, "A", Some(&new), old.as_ref())
            .await
            .unwrap(),
        Swap::Done
    );
    assert_eq!(dns.get(ZONE, www, "A").await.unwrap(), old);
}

#[tokio::test]
async fn a_record_set_is_made_where_none_was_and_taken_away_again() {
    let pdns = Pdns::start().await;
    let dns = client(&pdns.api);
    for (name, kind, values) in [
        ("shop.example", "A", &["192.0.2.5"][..]),
        ("new.shop.example", "AAAA", &["2001:db8::5"]),
        ("Alias.shop.example", "CNAME", &["www.shop.example"]),
        ("shop.example", "MX", &["10 mail.shop.example"]),
        ("text.shop.example", "TXT", &["\"v=spf1 -all\""]),
    ] {
        let new = set(name, kind, 5, values);
        assert_eq!(
            dns.get(ZONE, name, kind).await.unwrap(),
            None,
            "{name} {kind}"
        );
        assert_eq!(
            dns.swap(ZONE, name, kind, None, Some(&new)).await.unwrap(),
            Swap::Done,
            "{name} {kind}"
        );
        let stands = dns.get(ZONE, name, kind).await.unwrap();
        assert_eq!(
            stands,
            Some(set(&name.to_lowercase(), kind, 5, values)),
            "{name} {kind}"
        );
        let told = ask(pdns.dns, name, kind, false, SOON).await.unwrap();
        assert_eq!(told.values, values, "{name} {kind}");
        assert_eq!(
            dns.swap(ZONE, name, kind, stands.as_ref(), None)
                .await
                .unwrap(),
            Swap::Done,
            "{name} {kind}"
        );
        assert_eq!(
            dns.get(ZONE, name, kind).await.unwrap(),
            None,
            "{name} {kind}"
        );
    }
}

#[tokio::test]
async fn a_change_is_answered_at_once_though_the_old_answer_was_cached() {
    let pdns = Pdns::start().await;
    let dns = client(&pdns.api);
    let www = "www.shop.example";
    // The packet cache of the server holds this for 20 seconds.
    let before = ask(pdns.dns, www, "A", false, SOON).await.unwrap();
    assert_eq!(
        (before.values.as_slice(), before.ttl),
        (&["192.0.2.1".to_string()][..], Some(5))
    );
    let (old, new) = (
        set(www, "A", 5, &["192.0.2.1"]),
        set(www, "A", 7, &["192.0.2.2"]),
    );
    dns.swap(ZONE, www, "A", Some(&old), Some(&new))
        .await
        .unwrap();
    let after = ask(pdns.dns, www, "A", false, SOON).await.unwrap();
    assert_eq!(
        (after.values.as_slice(), after.ttl),
        (&["192.0.2.2".to_string()][..], Some(7))
    );
    assert!(after.authoritative);
}

#[tokio::test]
async fn a_disabled_record_is_neither_answered_nor_lost() {
    let pdns = Pdns::start().await;
    let dns = client(&pdns.api);
    let www = "www.shop.example";
    pdns.patch(json!([{ "name": "www.shop.example.", "type": "A", "ttl": 5, "changetype": "REPLACE", "records": [
        { "content": "192.0.2.1", "disabled": false }, { "content": "192.0.2.66", "disabled": true }] }]))
        .await;
    let old = dns.get(ZONE, www, "A").await.unwrap();
    assert_eq!(old, Some(set(www, "A", 5, &["192.0.2.1"])));
    let new = set(www, "A", 5, &["192.0.2.2"]);
    assert_eq!(
        dns.swap(ZONE, www, "A", old.as_ref(), Some(&new))
            .await
            .unwrap(),
        Swap::Done
    );
    assert_eq!(dns.get(ZONE, www, "A").await.unwrap(), Some(new));
    let http = dr_plan::http::http_client(&HttpOptions {
        direct: true,
        ..HttpOptions::default()
    })
    .unwrap();
    let url = format!("{}api/v1/servers/localhost/zones/shop.example.", pdns.api);
    let zone = http
        .get(url)
        .header("X-API-Key", KEY)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(zone.contains("192.0.2.66"), "{zone}");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_in_its_own_words() {
    let pdns = Pdns::start().await;
    let dns = client(&pdns.api);
    let failed = dns.check_zone("nosuch.example").await.unwrap_err();
    assert_eq!(failed.reason(), Reason::NotFound, "{failed}");
    let stranger = with_key(&pdns.api, "canary-wrong-key");
    let failed = stranger.check_zone(ZONE).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::Denied);
    assert!(!failed.to_string().contains("canary"), "{failed}");
    // A CNAME beside other records, and an address that is none.
    let www = "www.shop.example";
    let alias = set(www, "CNAME", 5, &["elsewhere.example"]);
    let failed = dns
        .swap(ZONE, www, "CNAME", None, Some(&alias))
        .await
        .unwrap_err();
    assert_eq!(failed.reason(), Reason::Refused);
    assert!(failed.to_string().contains("pre-existing"), "{failed}");
    let old = set(www, "A", 5, &["192.0.2.1"]);
    let wrong = set(www, "A", 5, &["300.0.2.2"]);
    let failed = dns
        .swap(ZONE, www, "A", Some(&old), Some(&wrong))
        .await
        .unwrap_err();
    assert!(failed.to_string().contains("300.0.2.2"), "{failed}");
    assert_eq!(dns.get(ZONE, www, "A").await.unwrap(), Some(old.clone()));
    let elsewhere = set("other.shop.example", "A", 5, &["192.0.2.1"]);
    let failed = dns
        .swap(ZONE, www, "A", Some(&old), Some(&elsewhere))
        .await
        .unwrap_err();
    assert_eq!(failed.reason(), Reason::Refused);
}

#[tokio::test]
async fn every_request_to_powerdns_is_one_that_its_specification_knows() {
    let test = "every_request_to_powerdns_is_one_that_its_specification_knows";
    let Some(rules) = Spec::load("powerdns-4.7.3.swagger.json", "/api/v1", test) else {
        return;
    };
    let set_now = json!([{ "name": "www.shop.example.", "type": "A", "ttl": 5,
        "records": [{ "content": "192.0.2.1", "disabled": false }] }]);
    let mut patched: Option<serde_json::Value> = None;
    let service = Service::start(move |seen| match seen.method.as_str() {
        "PATCH" => {
            patched = seen.body.as_ref().map(|body| body["rrsets"].clone());
            Reply::Text(204, Vec::new(), String::new())
        }
        "GET" => {
            let sets = patched.as_ref().unwrap_or(&set_now);
            Reply::Json(
                200,
                json!({ "name": "shop.example.", "kind": "Master", "rrsets": sets }),
            )
        }
        _ => Reply::Json(200, json!({ "result": "ok" })),
    })
    .await;
    let mut base = service.base.clone();
    base.set_path("/");
    let dns = client(&base);
    let www = "www.shop.example";
    let (old, new) = (
        set(www, "A", 5, &["192.0.2.1"]),
        set(www, "A", 5, &["192.0.2.2"]),
    );
    dns.check_zone(ZONE).await.unwrap();
    assert_eq!(
        dns.swap(ZONE, www, "A", Some(&old), Some(&new))
            .await
            .unwrap(),
        Swap::Done
    );
    assert_eq!(
        dns.swap(ZONE, www, "A", Some(&new), None).await.unwrap(),
        Swap::Done
    );
    let seen = service.seen();
    for seen in &seen {
        let problems = rules.problems(&seen.method, &seen.path, &seen.query, seen.body.as_ref());
        assert!(
            problems.is_empty(),
            "{} {}?{}: {problems:?}",
            seen.method,
            seen.path,
            seen.query
        );
    }
    // The name is flushed from the cache, and a primary tells its secondaries.
    let flush = seen
        .iter()
        .find(|seen| seen.path.ends_with("/cache/flush"))
        .unwrap();
    assert_eq!(flush.param("domain").as_deref(), Some("www.shop.example."));
    assert!(seen.iter().any(|seen| seen.path.ends_with("/notify")));
    let patch = seen.iter().find(|seen| seen.method == "PATCH").unwrap();
    for (pointer, value) in [
        ("/rrsets/0/ttl", json!("5")),
        ("/rrsets/0/records", json!({})),
        ("/rrsets/0/records/0/disabled", json!("no")),
        (
            "/rrsets/0",
            json!({ "name": "x.", "type": "A", "ttl": 5, "records": [] }),
        ),
    ] {
        let mut body = patch.body.clone().unwrap();
        *body.pointer_mut(pointer).unwrap() = value;
        let problems = rules.problems("PATCH", &patch.path, "", Some(&body));
        assert!(!problems.is_empty(), "{pointer} passed");
    }
}

#[tokio::test]
async fn a_replacement_whose_answer_is_lost_is_judged_by_what_stands() {
    for (does_it, loss) in [
        (true, Reply::Close),
        (true, Reply::Text(500, Vec::new(), "broken".into())),
        (false, Reply::Close),
    ] {
        let what = format!("{does_it} {loss:?}");
        let mut value = "192.0.2.1".to_string();
        let mut patches = 0;
        let service = Service::start(move |seen| match seen.method.as_str() {
            "PATCH" => {
                patches += 1;
                let lost = patches == 1;
                if does_it || !lost {
                    let content = seen
                        .body
                        .as_ref()
                        .unwrap()
                        .pointer("/rrsets/0/records/0/content");
                    value = content.unwrap().as_str().unwrap().to_string();
                }
                if lost {
                    loss.clone()
                } else {
                    Reply::Text(204, Vec::new(), String::new())
                }
            }
            "GET" => Reply::Json(
                200,
                json!({ "kind": "Native", "rrsets": [{ "name": "www.shop.example.", "type": "A",
                "ttl": 5, "records": [{ "content": value, "disabled": false }] }] }),
            ),
            _ => Reply::Json(200, json!({})),
        })
        .await;
        let www = "www.shop.example";
        let (old, new) = (
            set(www, "A", 5, &["192.0.2.1"]),
            set(www, "A", 5, &["192.0.2.2"]),
        );
        let swapped = client(&service.base)
            .swap(ZONE, www, "A", Some(&old), Some(&new))
            .await
            .unwrap();
        assert_eq!(swapped, Swap::Done, "{what}");
        let patches = service
            .seen()
            .iter()
            .filter(|seen| seen.method == "PATCH")
            .count();
        assert_eq!(patches, if does_it { 1 } else { 2 }, "{what}");
    }
}

#[tokio::test]
async fn a_secondary_zone_is_refused_before_it_is_changed() {
    let pdns = Pdns::start().await;
    let zone = json!({ "name": "second.example.", "kind": "Slave", "masters": ["127.0.0.1"], "nameservers": [] });
    assert_eq!(pdns.request("POST", "/zones", Some(zone)).await, Some(201));
    let failed = client(&pdns.api)
        .check_zone("second.example")
        .await
        .unwrap_err();
    assert!(failed.to_string().contains("secondary"), "{failed}");
}
