//! Answers that real services gave, replayed: recorded traffic, the specifications' own examples, and the error replies
//! that people reported. All of it lies in the folder that `DR_PLAN_SPECS` names.

use std::path::Path;

use dr_plan::dns::{Dns, RecordSet, Swap};
use dr_plan::kind::{Failure, Reason};
use dr_plan::provider::{Power, Provider};
use serde_json::{Value, json};

use super::powerdns::client as powerdns;
use super::project::{TOKEN, client, spec};
use super::service::{Reply, Seen, Service};
use crate::spec::{Spec, folder};

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A recorded answer as it came over the wire.
fn recorded(response: &Value) -> Reply {
    let status = response["status"].as_u64().unwrap() as u16;
    match &response["body"] {
        Value::String(text) => Reply::Text(status, Vec::new(), text.clone()),
        Value::Null => Reply::Text(status, Vec::new(), String::new()),
        body => Reply::Json(status, body.clone()),
    }
}

#[tokio::test]
async fn error_replies_that_people_reported_are_understood() {
    let Some(folder) = folder("error_replies_that_people_reported_are_understood") else {
        return;
    };
    let mut seen = 0;
    for report in read(&folder.join("fixtures/error_replies_from_reports.json"))
        .as_array()
        .unwrap()
    {
        if report["provider"] != "hetzner" {
            continue;
        }
        let code = report["body"]["error"]["code"].as_str().unwrap();
        let wanted = match code {
            "resource_unavailable" => Reason::NoCapacity,
            "uniqueness_error" => Reason::Refused,
            "rate_limit_exceeded" => Reason::RateLimited,
            "unauthorized" => Reason::Denied,
            "not_found" => Reason::NotFound,
            other => panic!("a new kind of report: {other}"),
        };
        let reply = Reply::Json(
            report["status"].as_u64().unwrap() as u16,
            report["body"].clone(),
        );
        let service = Service::start(move |_| reply.clone()).await;
        // The token whose beginning is quoted in the rate-limit report.
        let failed = client(
            &service.base,
            "6MWq3U8cixMhwHorZd68v8ILzIZyJb4NabcdefghijklmnopqrstuvwxyzABCDEF",
        )
        .create(&spec())
        .await
        .unwrap_err();
        assert_eq!(failed.reason(), wanted, "{failed}");
        assert!(!failed.to_string().contains("6MWq3U8c"), "{failed}");
        seen += 1;
    }
    assert!(seen >= 7, "only {seen} reports were found");
}

#[tokio::test]
async fn the_examples_of_the_specification_are_read() {
    let Some(rules) = Spec::load(
        "hetzner-cloud.spec.json",
        "/v1",
        "the_examples_of_the_specification_are_read",
    ) else {
        return;
    };
    let example = |pointer: &str| {
        let content = rules.doc().pointer(pointer).unwrap();
        let found = content
            .pointer("/examples/default/value")
            .or_else(|| content.get("example"))
            .cloned();
        found.unwrap_or_else(|| from_schema(&content["schema"]))
    };
    let created = example("/paths/~1servers/post/responses/201/content/application~1json");
    let types = example("/paths/~1server_types/get/responses/200/content/application~1json");
    let images = example("/paths/~1images/get/responses/200/content/application~1json");
    let mut locations = example("/paths/~1locations/get/responses/200/content/application~1json");
    locations["meta"]["pagination"]["next_page"] = Value::Null;
    let one = example("/paths/~1servers~1{id}/get/responses/200/content/application~1json");
    let service = Service::start(move |seen: &Seen| {
        let mut reply = match (seen.method.as_str(), seen.path.as_str()) {
            ("POST", _) => return Reply::Json(201, created.clone()),
            (_, "/v1/server_types") => types.clone(),
            (_, "/v1/images") => images.clone(),
            (_, "/v1/locations") => locations.clone(),
            _ => one.clone(),
        };
        // The examples announce a next page that does not exist.
        if let Some(pagination) = reply.pointer_mut("/meta/pagination") {
            pagination["next_page"] = Value::Null;
        }
        Reply::Json(200, reply)
    })
    .await;
    let hetzner = client(&service.base, TOKEN);
    let made = hetzner.create(&spec()).await.unwrap();
    assert_eq!(
        (made.id.as_str(), made.power, made.region.as_str()),
        ("42", Power::Starting, "fsn1")
    );
    assert_eq!(made.ipv4, Some("1.2.3.4".parse().unwrap()));
    assert_eq!(made.ipv6, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(hetzner.get("42").await.unwrap().unwrap().id, "42");
    let sizes = hetzner.sizes("fsn1").await.unwrap();
    assert_eq!(
        (sizes[0].name.as_str(), sizes[0].cpus, sizes[0].memory),
        ("cpx22", 2, 4 << 30)
    );
    assert!(sizes[0].monthly.is_some());
    hetzner.check_image("ubuntu-24.04", "x86").await.unwrap();
}

/// The value that the `example` words of a schema add up to.
fn from_schema(schema: &Value) -> Value {
    if let Some(example) = schema.get("example") {
        return example.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object();
            let fields = fields.into_iter().flatten();
            Value::Object(
                fields
                    .map(|(name, schema)| (name.clone(), from_schema(schema)))
                    .collect(),
            )
        }
        Some("array") => json!([from_schema(&schema["items"])]),
        Some("string") => schema
            .pointer("/enum/0")
            .cloned()
            .unwrap_or_else(|| json!("text")),
        Some("boolean") => json!(true),
        Some("integer" | "number") => json!(1),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn what_powerdns_4_7_3_answered_is_understood() {
    let Some(folder) = folder("what_powerdns_4_7_3_answered_is_understood") else {
        return;
    };
    let record = read(&folder.join("fixtures/powerdns/recorded-4.7.3/zone-lifecycle.json"));
    let answers: Vec<(Value, Value)> = record["interactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["request"].clone(), one["response"].clone()))
        .collect();
    let find = |method: &str, status: u64, body: &str| {
        let fits = |(request, response): &&(Value, Value)| {
            request["method"] == method
                && response["status"] == status
                && response["body"].to_string().contains(body)
        };
        answers
            .iter()
            .find(fits)
            .map(|(_, response)| recorded(response))
            .unwrap()
    };
    let always = |reply: Reply| Service::start(move |_| reply.clone());

    let service = always(find("GET", 200, "192.0.2.1")).await;
    let found = powerdns(&service.base)
        .get("example.com", "www.example.com", "A")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.ttl, found.values),
        (60, vec!["192.0.2.1".to_string()])
    );

    let service = always(find("GET", 401, "Unauthorized")).await;
    let failed = powerdns(&service.base)
        .check_zone("example.com")
        .await
        .unwrap_err();
    assert_eq!(failed.reason(), Reason::Denied);

    let service = always(find("PATCH", 404, "Not Found")).await;
    let failed = powerdns(&service.base)
        .check_zone("nosuch.com")
        .await
        .unwrap_err();
    assert_eq!(failed.reason(), Reason::NotFound);

    let set = |value: &str| RecordSet {
        name: "www.example.com".into(),
        kind: "A".into(),
        ttl: 60,
        values: vec![value.into()],
    };
    let (stands, refusal) = (
        find("GET", 200, "192.0.2.1"),
        find("PATCH", 422, "unable to parse IP address"),
    );
    let service = Service::start(move |seen| match seen.method.as_str() {
        "PATCH" => refusal.clone(),
        _ => stands.clone(),
    })
    .await;
    let dns = powerdns(&service.base);
    let (old, new) = (set("192.0.2.1"), set("300.0.2.2"));
    let failed = dns
        .swap(
            "example.com",
            "www.example.com",
            "A",
            Some(&old),
            Some(&new),
        )
        .await
        .unwrap_err();
    let failure = Failure::from(failed);
    assert_eq!(failure.reason, Reason::Refused);
    assert!(
        failure.message.contains("unable to parse IP address"),
        "{}",
        failure.message
    );

    let (before, after, done) = (
        find("GET", 200, "192.0.2.1"),
        find("GET", 200, "192.0.2.2"),
        find("PATCH", 204, ""),
    );
    let mut patched = false;
    let service = Service::start(move |seen| match seen.method.as_str() {
        "PATCH" => {
            patched = true;
            done.clone()
        }
        "GET" if patched => after.clone(),
        "GET" => before.clone(),
        _ => Reply::Json(200, json!({ "count": 0, "result": "Flushed cache." })),
    })
    .await;
    let dns = powerdns(&service.base);
    let swapped = dns
        .swap(
            "example.com",
            "www.example.com",
            "A",
            Some(&old),
            Some(&set("192.0.2.2")),
        )
        .await
        .unwrap();
    assert_eq!(swapped, Swap::Done);
}

#[tokio::test]
async fn what_powerdns_answered_in_2019_is_understood() {
    let Some(folder) = folder("what_powerdns_answered_in_2019_is_understood") else {
        return;
    };
    let folder = folder.join("fixtures/powerdns/dns-lexicon");
    let first = |name: &str| recorded(&read(&folder.join(name))["interactions"][0]["response"]);
    // That version had no filter: the whole zone comes back.
    let reply = first("when_calling_list_records_with_no_arguments_should_list_all.json");
    let service = Service::start(move |_| reply.clone()).await;
    let dns = powerdns(&service.base);
    dns.check_zone("sometestdomain.com").await.unwrap();
    let missing = dns
        .get("sometestdomain.com", "no-such.sometestdomain.com", "A")
        .await
        .unwrap();
    assert_eq!(missing, None);
    let name = "localhost.sometestdomain.com";
    let found = dns
        .get("sometestdomain.com", name, "A")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.ttl, found.values),
        (3600, vec!["127.0.0.1".to_string()])
    );

    let reply = first("authenticate_with_unmanaged_domain_should_fail.json");
    let service = Service::start(move |_| reply.clone()).await;
    let failed = powerdns(&service.base)
        .check_zone("thisisadomainidonotown.com")
        .await
        .unwrap_err();
    assert_eq!(failed.reason(), Reason::NotFound, "{failed}");
}
