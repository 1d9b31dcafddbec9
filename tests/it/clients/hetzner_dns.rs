//! The client of Hetzner's zones against the simulated cloud, whose name server is a real PowerDNS, and against what the
//! real API answered.

use std::sync::Arc;
use std::time::Duration;

use dr_plan::dns::hetzner::{HetznerDns, Settings};
use dr_plan::dns::{Dns, RecordSet, Swap};
use dr_plan::http::{HttpOptions, Policy};
use dr_plan::kind::Reason;
use dr_plan::resolve::ask;
use dr_plan::sandbox::api::hetzner as simulator;
use dr_plan::sandbox::listen::Listening;
use dr_plan::sandbox::names::{Authoritative, Publisher, start_authoritative};
use dr_plan::secret::{Mask, Secret};
use reqwest::Method;
use serde_json::{Value, json};

use super::nameserver::SOON;
use super::powerdns::set;
use super::project::{TOKEN, hasty, policy};
use super::service::{Reply, Service};
use crate::sandbox_services::machines::Paper;
use crate::sandbox_services::names::own_address;
use crate::spec::{Spec, folder};

const ZONE: &str = "shop-eu.example";
const WWW: &str = "www.shop-eu.example";
const KEY: &str = "the-key-of-the-name-server";

/// A cloud with one zone, and the name server that serves it.
struct World {
    cloud: simulator::Hetzner,
    listening: Listening,
    names: Authoritative,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, api) = (own_address(5300), own_address(8081));
        let names = start_authoritative(folder.path(), address, api, KEY)
            .await
            .unwrap();
        let settings = simulator::Settings::new(TOKEN, 2);
        let cloud = simulator::Hetzner::new(settings, Arc::new(Paper::default()));
        cloud.serve_zones(Arc::new(Publisher::new(api, KEY)));
        let listening = cloud.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let world = Self {
            cloud,
            listening,
            names,
            _folder: folder,
        };
        let zone = json!({ "name": ZONE, "mode": "primary", "ttl": 3600 });
        world.tell(Method::POST, "/zones", zone).await;
        world
    }

    /// Changes something past the client, the ledger and the faults, as somebody else would.
    async fn tell(&self, method: Method, path: &str, body: Value) {
        let (status, said) = self.cloud.ask("default", method, path, Some(body)).await;
        assert_eq!(status, 201, "{said}");
        self.cloud.settled().await;
    }

    fn client(&self) -> HetznerDns {
        self.with(policy())
    }

    fn with(&self, policy: Policy) -> HetznerDns {
        let endpoint = format!("http://{}/v1", self.listening.address);
        client(endpoint.parse().unwrap(), policy)
    }

    /// A fault of a call, as `sandbox break` would lay it.
    fn fault(&self, rule: Value) {
        let rule = serde_json::from_value(rule).unwrap();
        self.cloud.faults().lay(rule);
    }

    fn sent(&self, method: &str, path: &str) -> usize {
        self.cloud.ledger().find(method, path).len()
    }

    async fn served(&self, name: &str) -> (Vec<String>, Option<u32>) {
        let told = ask(self.names.address, name, "A", false, SOON)
            .await
            .unwrap();
        (told.values, told.ttl)
    }

    /// Every request that was made, held against the provider's specification.
    fn check_requests(&self, test: &str) {
        let Some(spec) = Spec::load("hetzner-cloud.spec.json", "/v1", test) else {
            return;
        };
        let calls = self.cloud.ledger().calls();
        assert!(!calls.is_empty());
        for call in calls {
            let body = (!call.body.is_null()).then_some(&call.body);
            let problems = spec.problems(&call.method, &call.path, &call.query, body);
            let (method, path, query) = (&call.method, &call.path, &call.query);
            assert!(problems.is_empty(), "{method} {path}?{query}: {problems:?}");
        }
    }
}

fn client(endpoint: url::Url, policy: Policy) -> HetznerDns {
    let settings = Settings {
        account: "hetzner".into(),
        endpoint,
        token: Secret::new(TOKEN.into()),
        mask: Mask::default(),
        http: HttpOptions {
            direct: true,
            ..HttpOptions::default()
        },
        policy,
        labels: Default::default(),
    };
    HetznerDns::new(settings, vec!["127.0.0.1:53".parse().unwrap()])
        .unwrap()
        .patience(Duration::from_secs(30))
}

async fn swap(dns: &HetznerDns, from: Option<&RecordSet>, to: Option<&RecordSet>) -> Swap {
    dns.swap(ZONE, WWW, "A", from, to).await.unwrap()
}

#[tokio::test]
async fn a_set_moves_only_from_what_was_expected_and_the_name_server_shows_it() {
    let world = World::new().await;
    let dns = world.client();
    assert_eq!(dns.check_zone(ZONE).await.unwrap(), None);
    assert_eq!(dns.get(ZONE, WWW, "A").await.unwrap(), None);

    let old = set(WWW, "A", 300, &["192.0.2.1"]);
    assert_eq!(swap(&dns, None, Some(&old)).await, Swap::Done);
    assert_eq!(dns.get(ZONE, WWW, "a").await.unwrap(), Some(old.clone()));
    assert_eq!(world.served(WWW).await, (old.values.clone(), Some(300)));

    let new = set(WWW, "A", 60, &["192.0.2.2", "192.0.2.3"]);
    for stale in [None, Some(&set(WWW, "A", 300, &["192.0.2.9"]))] {
        let differs = swap(&dns, stale, Some(&new)).await;
        assert_eq!(differs, Swap::Differs(Some(old.clone())));
    }
    assert_eq!(world.served(WWW).await.0, old.values);

    assert_eq!(swap(&dns, Some(&old), Some(&new)).await, Swap::Done);
    // The server may still hold the answer of a moment ago.
    super::nameserver::wait_for(async || world.served(WWW).await == (new.values.clone(), Some(60)))
        .await;
    // Again after a crash: what is wanted stands, and nothing is sent.
    let posts = world.sent("POST", "*");
    assert_eq!(swap(&dns, Some(&old), Some(&new)).await, Swap::Done);
    assert_eq!(world.sent("POST", "*"), posts);
    // Back, as undo does it; and gone, where nothing was before.
    assert_eq!(swap(&dns, Some(&new), Some(&old)).await, Swap::Done);
    assert_eq!(dns.get(ZONE, WWW, "A").await.unwrap(), Some(old.clone()));
    assert_eq!(swap(&dns, Some(&old), None).await, Swap::Done);
    assert_eq!(dns.get(ZONE, WWW, "A").await.unwrap(), None);

    let apex = set(ZONE, "AAAA", 60, &["2001:db8::1"]);
    let made = dns.swap(ZONE, ZONE, "AAAA", None, Some(&apex)).await;
    assert_eq!(made.unwrap(), Swap::Done);
    assert_eq!(
        dns.get(ZONE, "Shop-EU.example.", "AAAA").await.unwrap(),
        Some(apex)
    );
    world.check_requests("a_set_moves_only_from_what_was_expected_and_the_name_server_shows_it");
}

#[tokio::test]
async fn a_lost_answer_is_looked_after_and_nothing_is_sent_twice() {
    let (old, new) = (
        set(WWW, "A", 60, &["192.0.2.1"]),
        set(WWW, "A", 60, &["192.0.2.2"]),
    );
    for kind in [
        json!("reset"),
        json!("hang"),
        json!({ "status": { "status": 500 } }),
        json!({ "status": { "status": 502 } }),
    ] {
        let world = World::new().await;
        let dns = world.with(if kind == "hang" { hasty() } else { policy() });
        let rule =
            |path: &str| json!({ "method": "POST", "path": path, "when": "after", "kind": kind });
        world.fault(rule("/v1/zones/*/rrsets"));
        world.fault(rule("/v1/zones/*/actions/set_records"));
        assert_eq!(swap(&dns, None, Some(&old)).await, Swap::Done, "{kind}");
        assert_eq!(swap(&dns, Some(&old), Some(&new)).await, Swap::Done);
        assert_eq!(world.sent("POST", "/v1/zones/*/rrsets"), 1, "{kind}");
        assert_eq!(world.sent("POST", "*/actions/set_records"), 1, "{kind}");
        assert_eq!(world.served(WWW).await.0, new.values, "{kind}");
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_with_its_request_is_asked_for_again() {
    let world = World::new().await;
    let dns = world.client();
    let new = set(WWW, "A", 60, &["192.0.2.2"]);
    world.fault(json!({ "method": "POST", "path": "/v1/zones/*/rrsets", "kind": "reset" }));
    assert_eq!(swap(&dns, None, Some(&new)).await, Swap::Done);
    assert_eq!(world.sent("POST", "/v1/zones/*/rrsets"), 2);
    assert_eq!(world.served(WWW).await.0, new.values);
}

#[tokio::test]
async fn a_change_that_ended_between_its_two_requests_goes_on_and_a_strangers_does_not() {
    let world = World::new().await;
    let dns = world.client();
    let (old, new) = (
        set(WWW, "A", 300, &["192.0.2.1"]),
        set(WWW, "A", 60, &["192.0.2.2"]),
    );
    assert_eq!(swap(&dns, None, Some(&old)).await, Swap::Done);
    let ttl = |ttl: u32| {
        let path = format!("/zones/{ZONE}/rrsets/www/A/actions/change_ttl");
        async move { (path, json!({ "ttl": ttl })) }
    };
    // Somebody else wants another lifetime: that is no half of ours.
    let (path, body) = ttl(120).await;
    world.tell(Method::POST, &path, body).await;
    let stands = set(WWW, "A", 120, &["192.0.2.1"]);
    assert_eq!(
        swap(&dns, Some(&old), Some(&new)).await,
        Swap::Differs(Some(stands))
    );
    let (path, body) = ttl(60).await;
    world.tell(Method::POST, &path, body).await;
    assert_eq!(swap(&dns, Some(&old), Some(&new)).await, Swap::Done);
    assert_eq!(dns.get(ZONE, WWW, "A").await.unwrap(), Some(new));
}

#[tokio::test]
async fn an_action_that_fails_or_never_ends_is_no_success() {
    let world = World::new().await;
    let dns = world.client().patience(Duration::from_millis(600));
    let new = set(WWW, "A", 60, &["192.0.2.2"]);
    let error = json!({ "action_error": { "code": "action_failed", "message": "no luck" } });
    world.fault(json!({ "method": "POST", "path": "*/rrsets", "kind": error }));
    let failed = dns.swap(ZONE, WWW, "A", None, Some(&new)).await;
    let failed = failed.unwrap_err().to_string();
    assert!(failed.contains("action_failed: no luck"), "{failed}");
    assert_eq!(dns.get(ZONE, WWW, "A").await.unwrap(), None);

    world.fault(json!({ "method": "POST", "path": "*/rrsets", "kind": { "action_stuck": {} } }));
    let failed = dns.swap(ZONE, WWW, "A", None, Some(&new)).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.reason(), Reason::Timeout, "{failed}");
    // Another process finds the value there, and does not call it done while the name servers do not know.
    let failed = dns.swap(ZONE, WWW, "A", None, Some(&new)).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.reason(), Reason::Timeout, "{failed}");
    assert!(world.served(WWW).await.0.is_empty());
}

#[tokio::test]
async fn what_cannot_be_changed_is_said_before_anything_is_sent() {
    let world = World::new().await;
    let dns = world.client();
    let missing = dns.check_zone("nowhere.example").await.unwrap_err();
    assert_eq!(missing.reason(), Reason::NotFound, "{missing}");
    let missing = dns
        .get("nowhere.example", "www.nowhere.example", "A")
        .await
        .unwrap_err();
    assert_eq!(missing.reason(), Reason::NotFound, "{missing}");
    let secondary = json!({ "name": "second.example", "mode": "secondary" });
    world.tell(Method::POST, "/zones", secondary).await;
    let refused = dns.check_zone("second.example").await.unwrap_err();
    assert!(refused.to_string().contains("secondary"), "{refused}");
    let sent = dns
        .swap(
            "second.example",
            "www.second.example",
            "A",
            None,
            Some(&set("www.second.example", "A", 60, &["192.0.2.1"])),
        )
        .await
        .unwrap_err();
    assert!(sent.to_string().contains("incorrect_zone_mode"), "{sent}");

    let old = set(WWW, "A", 60, &["192.0.2.1"]);
    assert_eq!(swap(&dns, None, Some(&old)).await, Swap::Done);
    dns.check_set(ZONE, WWW, "A").await.unwrap();
    let path = format!("/zones/{ZONE}/rrsets/www/A/actions/change_protection");
    world
        .tell(Method::POST, &path, json!({ "change": true }))
        .await;
    let refused = dns.check_set(ZONE, WWW, "A").await.unwrap_err();
    assert!(refused.to_string().contains("protected"), "{refused}");

    let posts = world.sent("POST", "*");
    for (bad, word) in [
        (set(WWW, "A", 30, &["192.0.2.2"]), "the least is 60s"),
        (set(WWW, "A", 60, &[]), "1 to 50 values"),
        (
            set("www.other.example", "A", 60, &["192.0.2.2"]),
            "another name",
        ),
    ] {
        let refused = dns.swap(ZONE, WWW, "A", Some(&old), Some(&bad)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.reason(), Reason::Refused, "{refused}");
        assert!(refused.to_string().contains(word), "{refused}");
    }
    assert_eq!(world.sent("POST", "*"), posts);
}

#[tokio::test]
async fn what_somebody_wrote_beside_a_value_that_stays_is_kept() {
    let world = World::new().await;
    let dns = world.client();
    let body = json!({ "name": "www", "type": "A", "records": [
        { "value": "192.0.2.1", "comment": "the old one" }, { "value": "192.0.2.2" },
    ]});
    world
        .tell(Method::POST, &format!("/zones/{ZONE}/rrsets"), body)
        .await;
    // Without a lifetime of its own it has the zone's.
    let old = set(WWW, "A", 3600, &["192.0.2.1", "192.0.2.2"]);
    assert_eq!(dns.get(ZONE, WWW, "A").await.unwrap(), Some(old.clone()));
    let new = set(WWW, "A", 3600, &["192.0.2.1", "192.0.2.3"]);
    assert_eq!(swap(&dns, Some(&old), Some(&new)).await, Swap::Done);
    let calls = world.cloud.ledger().find("POST", "*/set_records");
    assert_eq!(
        calls[0].body["records"][0],
        json!({ "value": "192.0.2.1", "comment": "the old one" })
    );
    assert_eq!(calls[0].body["records"][1], json!({ "value": "192.0.2.3" }));
}

#[tokio::test]
async fn what_the_real_api_answered_is_understood() {
    let Some(folder) = folder("what_the_real_api_answered_is_understood") else {
        return;
    };
    let folder = folder.join("fixtures/hetzner/dns-lexicon");
    let mut seen = 0;
    for name in [
        "when_calling_create_record_for_A_with_valid_name_and_content.json",
        "when_calling_list_records_should_handle_record_sets.json",
        "when_calling_list_records_after_setting_ttl.json",
    ] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        let all = record["interactions"].as_array().unwrap().clone();
        let rrsets = all
            .iter()
            .filter(|one| one["request"]["url"].as_str().unwrap().contains("/rrsets?"))
            .filter(|one| one["request"]["method"] == "GET");
        for one in rrsets {
            let url: url::Url = one["request"]["url"].as_str().unwrap().parse().unwrap();
            let pair = |key: &str| url.query_pairs().find(|(name, _)| name == key).unwrap().1;
            let (relative, kind) = (pair("name").into_owned(), pair("type").into_owned());
            let body = one["response"]["body"].clone();
            let expected: Vec<String> = body["rrsets"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|set| set["records"].as_array().unwrap().clone())
                .map(|record| record["value"].as_str().unwrap().to_string())
                .collect();
            let ttl = body.pointer("/rrsets/0/ttl").and_then(Value::as_u64);
            let service = Service::start(move |_| Reply::Json(200, body.clone())).await;
            let dns = client(service.base.clone(), policy());
            let whole = format!("{relative}.devcoop.de");
            let found = dns.get("devcoop.de", &whole, &kind).await.unwrap();
            assert_eq!(found.is_some(), !expected.is_empty(), "{whole}");
            if let Some(found) = found {
                assert_eq!((found.values, Some(found.ttl.into())), (expected, ttl));
                seen += 1;
            }
        }
    }
    assert!(seen >= 3, "only {seen} sets were found");

    for (name, reason) in [
        ("authenticate.json", None),
        (
            "authenticate_with_unmanaged_domain_should_fail.json",
            Some(Reason::NotFound),
        ),
    ] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        let response = record["interactions"][0]["response"].clone();
        let service = Service::start(move |_| {
            let status = response["status"].as_u64().unwrap() as u16;
            Reply::Json(status, response["body"].clone())
        })
        .await;
        let checked = client(service.base.clone(), policy())
            .check_zone("devcoop.de")
            .await;
        assert_eq!(checked.err().map(|error| error.reason()), reason);
    }
}
