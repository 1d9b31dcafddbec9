//! Zones and record sets of the simulated cloud: what the reference refuses is refused, and every answer fits it.

use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Cloud, DRILL};

const WWW: &str = "/zones/shop.example/rrsets/www/A";

async fn with_zone() -> Cloud {
    let cloud = Cloud::start().await;
    let zone = json!({ "name": "shop.example", "mode": "primary", "labels": { "a": "b" } });
    let made = cloud.post("/zones", zone).await;
    assert_eq!(made.status, 201, "{}", made.body);
    cloud.api.settled().await;
    cloud
}

fn www(values: &[&str]) -> Value {
    let records: Vec<Value> = values
        .iter()
        .map(|value| json!({ "value": value }))
        .collect();
    json!({ "name": "www", "type": "A", "ttl": 60, "records": records })
}

#[tokio::test]
async fn a_zone_and_its_sets_live_as_the_reference_says() {
    let cloud = with_zone().await;
    let shown = cloud.get("/zones/shop.example").await;
    assert_eq!(shown.body["zone"]["status"], "ok");
    let id = shown.id("zone");
    assert_eq!(cloud.get(&format!("/zones/{id}")).await.status, 200);
    assert_eq!(
        cloud.get("/zones?name=shop.example").await.body["zones"][0]["id"],
        id
    );

    let made = cloud
        .post("/zones/shop.example/rrsets", www(&["192.0.2.1"]))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let action = made.id("action");
    cloud.api.settled().await;
    for path in [
        format!("/zones/actions/{action}"),
        format!("/zones/actions?id={action}"),
        format!("/actions?id={action}"),
        "/zones/shop.example/actions?status=success".to_owned(),
    ] {
        assert_eq!(cloud.get(&path).await.status, 200, "{path}");
    }
    let running = cloud
        .get("/zones/shop.example/actions?status=running")
        .await;
    assert_eq!(running.body["actions"], json!([]));

    let act = |verb: &str, body: Value| {
        let path = format!("{WWW}/actions/{verb}");
        let cloud = &cloud;
        async move {
            let answer = cloud.post(&path, body).await;
            cloud.api.settled().await;
            answer
        }
    };
    let two = json!({ "records": [{ "value": "192.0.2.2" }, { "value": "192.0.2.3" }] });
    assert_eq!(act("set_records", two).await.status, 201);
    let one = json!({ "records": [{ "value": "192.0.2.3" }] });
    assert_eq!(act("remove_records", one.clone()).await.status, 201);
    assert_eq!(act("remove_records", one.clone()).await.status, 422);
    assert_eq!(act("add_records", one).await.status, 201);
    assert_eq!(act("change_ttl", json!({ "ttl": null })).await.status, 201);
    let labels = json!({ "labels": { "who": "me" } });
    let put = cloud.call(Method::PUT, WWW, Some(labels)).await;
    assert_eq!(put.body["rrset"]["labels"]["who"], "me");
    let shown = cloud.get(WWW).await.body["rrset"].clone();
    assert_eq!(
        (&shown["ttl"], &shown["id"]),
        (&Value::Null, &json!("www/A"))
    );
    assert_eq!(shown["records"].as_array().unwrap().len(), 2);

    assert_eq!(
        act("change_protection", json!({ "change": true }))
            .await
            .status,
        201
    );
    let kept = act(
        "set_records",
        json!({ "records": [{ "value": "192.0.2.9" }] }),
    )
    .await;
    assert_eq!((kept.status, kept.code()), (423, "protected"));
    assert_eq!(
        act("change_protection", json!({ "change": false }))
            .await
            .status,
        201
    );
    assert_eq!(cloud.call(Method::DELETE, WWW, None).await.status, 201);
    assert_eq!(cloud.get(WWW).await.status, 404);
    let gone = cloud
        .call(Method::DELETE, "/zones/shop.example", None)
        .await;
    assert_eq!(gone.status, 201);
    assert_eq!(cloud.get("/zones/shop.example").await.code(), "not_found");
}

#[tokio::test]
async fn what_the_reference_refuses_of_zones_is_refused() {
    let cloud = with_zone().await;
    let again = cloud
        .post(
            "/zones",
            json!({ "name": "shop.example", "mode": "primary" }),
        )
        .await;
    assert_eq!((again.status, again.code()), (409, "uniqueness_error"));
    let sets = "/zones/shop.example/rrsets";
    assert_eq!(cloud.post(sets, www(&["192.0.2.1"])).await.status, 201);
    let again = cloud.post(sets, www(&["192.0.2.1"])).await;
    assert_eq!((again.status, again.code()), (409, "uniqueness_error"));
    for (field, value) in [
        ("name", json!("WWW")),
        ("name", json!("new.")),
        ("name", json!("new.shop.example")),
        ("type", json!("SOA")),
        ("type", json!("WKS")),
        ("ttl", json!(59)),
        ("ttl", json!("60")),
        ("records", json!([])),
        (
            "records",
            json!([{ "value": "192.0.2.1" }, { "value": "192.0.2.1" }]),
        ),
        ("records", json!([{ "value": "www" }])),
        ("records", json!([{ "content": "192.0.2.1" }])),
        ("labels", json!({ "bad key": "x" })),
        ("disabled", json!(true)),
    ] {
        let mut body = www(&["192.0.2.1"]);
        body["name"] = json!("new");
        body[field] = value.clone();
        let answer = cloud.post(sets, body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "invalid_input"),
            "{field}: {value}"
        );
    }
    let alias =
        json!({ "name": "www", "type": "CNAME", "records": [{ "value": "web.shop.example." }] });
    assert_eq!(cloud.post(sets, alias).await.status, 422);
    let body = json!({ "records": [{ "value": "192.0.2.1" }] });
    for path in [
        "/zones/shop.example/rrsets/none/A/actions/set_records",
        "/zones/nowhere.example/rrsets/www/A/actions/set_records",
    ] {
        assert_eq!(cloud.post(path, body.clone()).await.status, 404, "{path}");
    }
    let other = cloud
        .as_token(Some(DRILL), Method::GET, "/zones/shop.example", None)
        .await;
    assert_eq!(other.status, 404, "a zone belongs to one project");
    cloud
        .post(
            "/zones",
            json!({ "name": "second.example", "mode": "secondary" }),
        )
        .await;
    let refused = cloud
        .post("/zones/second.example/rrsets", www(&["192.0.2.1"]))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (422, "incorrect_zone_mode")
    );
}
