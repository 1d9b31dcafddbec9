//! The simulated cloud in foul weather: every fault that can be laid, seen from the client's side
//! and held against what the cloud then has.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::http::{Cloud, TOKEN, client, order};

fn lay(cloud: &Cloud, rule: Value) -> u64 {
    cloud
        .api
        .faults()
        .lay(serde_json::from_value(rule).unwrap())
}

fn creates(kind: Value, when: &str) -> Value {
    json!({ "method": "POST", "path": "/v1/servers", "kind": kind, "when": when })
}

fn alive(cloud: &Cloud) -> usize {
    cloud.api.alive("").unwrap().len()
}

#[tokio::test]
async fn an_error_comes_before_or_after_the_effect() {
    let cloud = Cloud::start().await;
    for (status, code) in [
        (500, "server_error"),
        (503, "unavailable"),
        (504, "timeout"),
        (502, ""),
    ] {
        let before = alive(&cloud);
        lay(
            &cloud,
            creates(json!({ "status": { "status": status } }), "before"),
        );
        let refused = cloud
            .post("/servers", order(&format!("b-{status}"), json!({})))
            .await;
        assert_eq!((refused.status, refused.code()), (status, code));
        assert_eq!(alive(&cloud), before);
        lay(
            &cloud,
            creates(json!({ "status": { "status": status } }), "after"),
        );
        let lied = cloud
            .post("/servers", order(&format!("a-{status}"), json!({})))
            .await;
        assert_eq!(lied.status, status);
        assert_eq!(alive(&cloud), before + 1, "{status} after the effect");
        assert_eq!(
            cloud
                .post("/servers", order(&format!("a-{status}"), json!({})))
                .await
                .code(),
            "uniqueness_error"
        );
    }
    cloud.api.settled().await;
}

#[tokio::test]
async fn a_cut_connection_leaves_the_effect_or_not() {
    let cloud = Cloud::start().await;
    for (when, left) in [("before", 0), ("after", 1)] {
        lay(&cloud, creates(json!("reset"), when));
        let body = Some(order("db-1", json!({})));
        let answer = cloud
            .try_call(Some(TOKEN), Method::POST, "/servers", body)
            .await;
        let error = answer.err().expect("the connection was cut");
        assert!(!error.is_timeout() && error.status().is_none(), "{error:?}");
        assert_eq!(alive(&cloud), left, "{when}");
    }
    cloud.api.settled().await;
    let calls = cloud.api.ledger().find("POST", "/v1/servers");
    let seen: Vec<_> = calls
        .iter()
        .map(|call| (call.status, call.answered))
        .collect();
    assert_eq!(seen, [(None, false), (Some(201), false)]);
    assert!(
        calls[1].faults[0].contains("Reset"),
        "{:?}",
        calls[1].faults
    );
    assert_eq!(calls[0].body["name"], "db-1");
}

#[tokio::test]
async fn a_hung_call_keeps_its_effect_after_the_client_left() {
    let cloud = Cloud::start().await;
    lay(&cloud, creates(json!("hang"), "after"));
    lay(
        &cloud,
        json!({ "method": "GET", "path": "/v1/servers", "kind": { "delay": { "milliseconds": 300 } } }),
    );
    let url = format!("http://{}/v1/servers", cloud.listening.address);
    let hung = client()
        .post(&url)
        .bearer_auth(TOKEN)
        .json(&order("db-1", json!({})))
        .timeout(Duration::from_millis(200))
        .send()
        .await;
    assert!(hung.unwrap_err().is_timeout());
    assert_eq!(alive(&cloud), 1);
    let late = client()
        .get(&url)
        .bearer_auth(TOKEN)
        .timeout(Duration::from_millis(100))
        .send()
        .await;
    assert!(late.unwrap_err().is_timeout());
    assert_eq!(
        cloud.get("/servers").await.body["servers"][0]["name"],
        "db-1"
    );
}

#[tokio::test]
async fn capacity_runs_out_for_one_place_and_the_next_has_room() {
    let cloud = Cloud::start().await;
    let mut rule = creates(json!("no_capacity"), "before");
    rule["body"] = json!({ "location": "nbg1" });
    rule["always"] = json!(true);
    let number = lay(&cloud, rule);
    for _ in 0..2 {
        let refused = cloud.post("/servers", order("db-1", json!({}))).await;
        assert_eq!(
            (refused.status, refused.code()),
            (412, "resource_unavailable")
        );
    }
    let mut body = order("db-1", json!({}));
    body["location"] = json!("fsn1");
    assert_eq!(cloud.post("/servers", body).await.status, 201);
    assert!(cloud.api.faults().lift(number));
    assert_eq!(
        cloud
            .post("/servers", order("db-2", json!({})))
            .await
            .status,
        201
    );
    cloud.api.settled().await;
}

#[tokio::test]
async fn a_new_server_can_be_hidden_for_a_while() {
    let cloud = Cloud::start().await;
    lay(
        &cloud,
        creates(
            json!({ "hide_after_create": { "seconds": 1, "lists": true } }),
            "before",
        ),
    );
    let id = cloud.server("db-1", json!({})).await;
    let path = format!("/servers/{id}");
    assert_eq!(cloud.get(&path).await.status, 404);
    assert_eq!(
        cloud.get("/servers?name=db-1").await.body["servers"],
        json!([])
    );
    let seen = async {
        while cloud.get(&path).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen)
        .await
        .unwrap();
    assert_eq!(
        cloud.get("/servers?name=db-1").await.body["servers"][0]["id"],
        id
    );
}

#[tokio::test]
async fn an_action_can_fail_or_stick_and_a_stuck_one_locks_its_server() {
    let cloud = Cloud::start().await;
    let failing = json!({ "action_error": { "code": "placement_error", "message": "no host" } });
    lay(&cloud, creates(failing, "before"));
    let made = cloud.post("/servers", order("db-1", json!({}))).await;
    assert_eq!(made.status, 201, "accepted, then not placed");
    cloud.api.settled().await;
    let action = cloud.get(&format!("/actions/{}", made.id("action"))).await;
    assert_eq!(action.body["action"]["status"], "error");
    assert_eq!(action.body["action"]["error"]["code"], "placement_error");
    assert!(cloud.machines.spec("db-1").is_none());

    let id = cloud.server("db-2", json!({})).await;
    let stuck = json!({ "path": "*/actions/poweroff", "kind": { "action_stuck": {} } });
    lay(&cloud, stuck);
    let off = cloud
        .post(&format!("/servers/{id}/actions/poweroff"), json!({}))
        .await;
    assert_eq!(off.status, 201);
    let action = format!("/actions/{}", off.id("action"));
    assert_eq!(cloud.get(&action).await.body["action"]["status"], "running");
    let refused = cloud
        .call(Method::DELETE, &format!("/servers/{id}"), None)
        .await;
    assert_eq!((refused.status, refused.code()), (423, "locked"));
    assert_eq!(
        cloud.get(&format!("/servers/{id}")).await.body["server"]["locked"],
        true
    );
}

#[tokio::test]
async fn a_spent_rate_limit_quotes_the_token_as_the_real_one_does() {
    let cloud = Cloud::with(|settings| settings.hourly_requests = 3).await;
    for left in ["2", "1", "0"] {
        let answer = cloud.get("/servers").await;
        assert_eq!(answer.headers["ratelimit-remaining"], left);
        assert_eq!(answer.headers["ratelimit-limit"], "3");
    }
    let refused = cloud.get("/servers").await;
    assert_eq!(
        (refused.status, refused.code()),
        (429, "rate_limit_exceeded")
    );
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(&TOKEN[..32]) && !message.contains(TOKEN),
        "{message}"
    );
    assert_eq!(
        cloud.get("/actions?id=1").await.status,
        200,
        "polling has a bucket of its own"
    );

    let cloud = Cloud::start().await;
    lay(
        &cloud,
        json!({ "path": "*", "kind": { "status": { "status": 429, "retry_after": 7 } } }),
    );
    let refused = cloud.get("/servers").await;
    assert_eq!(
        (refused.status, refused.code()),
        (429, "rate_limit_exceeded")
    );
    assert_eq!(refused.headers["retry-after"], "7");
}

#[tokio::test]
async fn a_project_is_full_at_its_limit() {
    let cloud = Cloud::with(|settings| settings.server_limit = 1).await;
    cloud.server("db-1", json!({})).await;
    let refused = cloud.post("/servers", order("db-2", json!({}))).await;
    assert_eq!(
        (refused.status, refused.code()),
        (403, "resource_limit_exceeded")
    );
}

#[tokio::test]
async fn the_levers_stand_on_an_address_of_their_own() {
    let cloud = Cloud::start().await;
    let levers = cloud
        .api
        .serve_control(super::http::loopback())
        .await
        .unwrap();
    let at = |path: &str| format!("http://{}/_sandbox{path}", levers.address);
    let get = async |path: &str| -> Value {
        let text = client()
            .get(at(path))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(cloud.get("/_sandbox/state").await.status, 404);
    let rule = creates(json!({ "disk": { "bytes": 64_000_000 } }), "before");
    let laid = client()
        .post(at("/faults"))
        .json(&rule)
        .send()
        .await
        .unwrap();
    assert_eq!(laid.status(), 201);
    let wrong = client()
        .post(at("/faults"))
        .json(&json!({ "path": "*" }))
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status(), 422);
    let mut body = order("db-1", json!({ "dr-plan/run": "abc" }));
    body["user_data"] = json!("#cloud-config\n# canary-in-user-data\n");
    cloud.post("/servers", body).await;
    cloud.api.settled().await;
    assert_eq!(cloud.machines.spec("db-1").unwrap().disk_bytes, 64_000_000);

    let calls = get("/ledger?method=POST&path=/v1/servers").await;
    let call = &calls["calls"][0];
    assert_eq!(
        (&call["status"], &call["answered"]),
        (&json!(201), &json!(true))
    );
    assert!(
        call["body"]["user_data"]
            .as_str()
            .unwrap()
            .contains("canary-in-user-data")
    );
    assert!(
        !calls.to_string().contains(TOKEN),
        "the ledger keeps no token"
    );
    let after = get(&format!("/ledger?after={}", call["number"])).await;
    assert_eq!(after["calls"], json!([]));
    assert_eq!(
        get("/servers?label_selector=dr-plan/run=abc").await["servers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let state = get("/state").await;
    assert_eq!(state["machines"][0]["name"], "db-1");
    assert_eq!(state["faults"][0]["struck"], 1);
    let closed = json!({ "location": "nbg1", "available": false });
    assert_eq!(
        client()
            .post(at("/capacity"))
            .json(&closed)
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert_eq!(
        cloud
            .post("/servers", order("db-2", json!({})))
            .await
            .status,
        412
    );
    assert_eq!(
        client()
            .delete(at("/faults"))
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert_eq!(get("/faults").await["faults"], json!([]));
}
