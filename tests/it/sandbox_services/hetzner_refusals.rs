//! What the simulated Hetzner Cloud refuses, and to whom.

use reqwest::Method;
use serde_json::{Value, json};

use dr_plan::sandbox::machines::Machines as _;

use super::hetzner::KEY;
use super::http::{Cloud, DRILL, READER, TOKEN, order};

#[tokio::test]
async fn what_the_reference_refuses_is_refused_with_the_field_named() {
    let cloud = Cloud::start().await;
    let cases = [
        ("name", json!("has space")),
        ("name", json!("-db")),
        ("name", json!("under_score")),
        ("name", Value::Null),
        ("server_type", json!("cx999")),
        ("image", json!("windows")),
        ("location", json!("mars1")),
        ("datacenter", json!("nbg1-dc3")),
        ("lables", json!({})),
        ("labels", json!({ "hetzner.cloud/x": "1" })),
        ("labels", json!({ "at": "2026-11-21T10:00:00Z" })),
        ("labels", json!({ "n": 1 })),
        ("user_data", json!("x".repeat(32 * 1024 + 1))),
        ("user_data", json!(["a"])),
        ("ssh_keys", json!("desk")),
        ("ssh_keys", json!(["nobody"])),
        ("networks", json!([1])),
        ("start_after_create", json!("yes")),
        ("public_net", json!([])),
    ];
    for (field, value) in cases {
        let mut body = order("db-1", json!({}));
        body[field] = value.clone();
        let answer = cloud.post("/servers", body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "invalid_input"),
            "{field}: {value}"
        );
        let named = &answer.body["error"]["details"]["fields"][0]["name"];
        assert_eq!(named, field, "{field}: {value}: {}", answer.body);
    }
    let mut body = order("db-1", json!({}));
    body["server_type"] = json!("cx22");
    let retired = cloud.post("/servers", body).await;
    assert_eq!(
        (retired.status, retired.code()),
        (412, "resource_unavailable")
    );
    assert!(cloud.api.alive("").unwrap().is_empty());
    let longest = json!("#".repeat(32 * 1024));
    let mut body = order("db-1", json!({}));
    body["user_data"] = longest;
    assert_eq!(cloud.post("/servers", body).await.status, 201);
}

#[tokio::test]
async fn a_token_sees_its_project_and_a_read_only_one_changes_nothing() {
    let cloud = Cloud::start().await;
    let id = cloud.server("db-1", json!({})).await;
    let path = format!("/servers/{id}");
    let none = cloud.as_token(None, Method::GET, "/servers", None).await;
    assert_eq!((none.status, none.code()), (401, "unauthorized"));
    let bad = cloud
        .as_token(Some("guess"), Method::GET, "/servers", None)
        .await;
    assert_eq!((bad.status, bad.code()), (401, "unauthorized"));
    let unknown = cloud.as_token(None, Method::GET, "/nowhere", None).await;
    assert_eq!((unknown.status, unknown.code()), (404, "not_found"));
    let method = cloud.call(Method::PATCH, &path, None).await;
    assert_eq!((method.status, method.code()), (405, "method_not_allowed"));

    assert_eq!(
        cloud
            .as_token(Some(READER), Method::GET, &path, None)
            .await
            .status,
        200
    );
    for (method, path) in [(Method::DELETE, path.as_str()), (Method::POST, "/servers")] {
        let body = Some(order("other", json!({})));
        let refused = cloud.as_token(Some(READER), method, path, body).await;
        assert_eq!((refused.status, refused.code()), (401, "token_readonly"));
    }
    assert_eq!(
        cloud
            .as_token(Some(DRILL), Method::GET, &path, None)
            .await
            .status,
        404
    );
    let body = Some(order("db-1", json!({})));
    let same = cloud
        .as_token(Some(DRILL), Method::POST, "/servers", body)
        .await;
    assert_eq!(
        same.status, 201,
        "names are unique in a project, not in the cloud"
    );
    cloud.api.settled().await;
    assert_eq!(cloud.api.alive("").unwrap().len(), 2);
    assert_eq!(cloud.machines.list().await.len(), 2);
    assert_eq!(
        cloud
            .as_token(Some(TOKEN), Method::GET, "/servers", None)
            .await
            .body["meta"]["pagination"]["total_entries"],
        1
    );
}

#[tokio::test]
async fn ssh_keys_are_checked_and_unique() {
    let cloud = Cloud::start().await;
    let key = |name: &str, text: &str| json!({ "name": name, "public_key": text });
    let made = cloud.post("/ssh_keys", key("desk", KEY)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let fingerprint = made.body["ssh_key"]["fingerprint"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(fingerprint.split(':').count(), 16, "{fingerprint}");
    assert_eq!(
        cloud.post("/ssh_keys", key("other", KEY)).await.code(),
        "uniqueness_error"
    );
    assert_eq!(
        cloud
            .post("/ssh_keys", key("x", "ssh-ed25519 nonsense"))
            .await
            .code(),
        "invalid_input"
    );
    let found = cloud
        .get(&format!("/ssh_keys?fingerprint={fingerprint}"))
        .await;
    assert_eq!(found.body["ssh_keys"][0]["name"], "desk");
    let path = format!("/ssh_keys/{}", made.id("ssh_key"));
    let put = |body: Value| cloud.call(Method::PUT, &path, Some(body));
    assert_eq!(
        put(json!({ "name": "lap" })).await.body["ssh_key"]["name"],
        "lap"
    );
    assert_eq!(put(json!({ "public_key": KEY })).await.status, 422);
    assert_eq!(cloud.call(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(cloud.get(&path).await.status, 404);
}

#[tokio::test]
async fn the_catalogue_is_complete_and_what_is_left_out_says_so() {
    let cloud = Cloud::start().await;
    for (path, key) in [
        ("/locations", "locations"),
        ("/server_types", "server_types"),
        ("/images", "images"),
    ] {
        let all = cloud.get(path).await;
        let first = &all.body[key][0]["id"];
        assert_eq!(all.status, 200);
        assert_eq!(cloud.get(&format!("{path}/{first}")).await.status, 200);
        assert_eq!(cloud.get(&format!("{path}/999")).await.status, 404);
    }
    let images = cloud.get("/images?name=debian-12&architecture=x86").await;
    assert_eq!(images.body["images"].as_array().unwrap().len(), 1);
    assert_eq!(
        cloud.get("/images?name=debian-12").await.body["images"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        cloud.get("/datacenters").await.code(),
        "deprecated_api_endpoint"
    );
    assert_eq!(cloud.get("/networks").await.code(), "not_simulated");
    assert_eq!(cloud.get("/networks/7").await.status, 501);
}
