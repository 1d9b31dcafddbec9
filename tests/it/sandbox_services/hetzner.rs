//! The simulated Hetzner Cloud in fair weather.

use reqwest::Method;
use serde_json::{Value, json};

use dr_plan::sandbox::machines::{MachineState, Machines as _};

use super::http::{Cloud, order};
use super::specification::Specification;

pub const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIFzoIrWZ4yXKYo6dE7YtglkqXVlYefwLpwAenl04khT person@desk";

#[test]
fn the_answers_of_these_tests_are_held_against_the_specification() {
    match Specification::load("hetzner-cloud.spec.json") {
        Some(specification) => {
            let wrong =
                specification.check_answer("GET", "/servers", 200, &json!({ "servers": [] }));
            assert_eq!(wrong, ["/: `meta` is missing".replace("/:", ":")]);
        }
        None => println!("not applicable: DR_PLAN_SPECS is not set"),
    }
}

#[tokio::test]
async fn a_created_server_has_an_address_at_once_and_runs_when_its_actions_end() {
    let cloud = Cloud::start().await;
    let key = cloud
        .post("/ssh_keys", json!({ "name": "desk", "public_key": KEY }))
        .await;
    assert_eq!(key.status, 201);
    let mut body = order(
        "db-1",
        json!({ "dr-plan/run": "abc", "dr-plan/step": "db" }),
    );
    body["ssh_keys"] = json!(["desk"]);
    let made = cloud.post("/servers", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let server = &made.body["server"];
    assert_eq!(server["status"], "initializing");
    assert_eq!(server["location"]["name"], "nbg1");
    assert_eq!(made.body["root_password"], Value::Null);
    assert_eq!(made.body["action"]["command"], "create_server");
    assert_eq!(made.body["action"]["status"], "running");
    assert_eq!(made.body["next_actions"][0]["command"], "start_server");
    let address = server["public_net"]["ipv4"]["ip"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(address.starts_with("198.19."), "{address}");

    cloud.api.settled().await;
    let next = &made.body["next_actions"][0]["id"];
    let both = format!("/actions?id={}&id={next}", made.id("action"));
    let actions = cloud.get(&both).await;
    for action in actions.body["actions"].as_array().unwrap() {
        assert_eq!(
            (&action["status"], &action["progress"]),
            (&json!("success"), &json!(100))
        );
        assert_eq!(action["resources"][0]["id"], made.id("server"));
    }
    assert_eq!(actions.body["actions"].as_array().unwrap().len(), 2);
    let server = cloud.get(&format!("/servers/{}", made.id("server"))).await;
    assert_eq!(server.body["server"]["status"], "running");
    assert_eq!(server.body["server"]["locked"], false);
    let machine = cloud.machines.spec("db-1").unwrap();
    assert_eq!(machine.region, 1);
    assert_eq!(machine.address.unwrap().to_string(), address);
    assert_eq!(machine.user_data, "#cloud-config\n");
    assert_eq!(machine.authorized_keys, [KEY]);
    assert_eq!(machine.disk_bytes, 40_000_000_000);
}

#[tokio::test]
async fn a_name_is_taken_until_its_server_is_deleted() {
    let cloud = Cloud::start().await;
    let id = cloud.server("db-1", json!({})).await;
    let again = cloud.post("/servers", order("db-1", json!({}))).await;
    assert_eq!((again.status, again.code()), (409, "uniqueness_error"));
    let path = format!("/servers/{id}");
    let gone = cloud.call(Method::DELETE, &path, None).await;
    assert_eq!(gone.status, 200);
    assert_eq!(gone.body["action"]["command"], "delete_server");
    let missing = cloud.get(&path).await;
    assert_eq!((missing.status, missing.code()), (404, "not_found"));
    assert_eq!(cloud.call(Method::DELETE, &path, None).await.status, 404);
    let second = cloud.server("db-1", json!({})).await;
    assert_ne!(second, id);
    assert_eq!(cloud.machines.state("db-1").await, MachineState::Running);
    let action = format!("/actions/{}", gone.id("action"));
    assert_eq!(cloud.get(&action).await.body["action"]["status"], "success");
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let cloud = Cloud::start().await;
    for index in 0..7 {
        let labels =
            json!({ "dr-plan/run": if index < 5 { "one" } else { "two" }, "n": index.to_string() });
        cloud.server(&format!("host-{index}"), labels).await;
    }
    let names = |answer: &super::http::Answer| -> Vec<String> {
        let servers = answer.body["servers"].as_array().unwrap();
        servers
            .iter()
            .map(|server| server["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let by = |query: &'static str| cloud.get(query);
    assert_eq!(names(&by("/servers?name=host-3").await), ["host-3"]);
    let two = by("/servers?label_selector=dr-plan%2Frun%3Dtwo").await;
    assert_eq!(names(&two), ["host-5", "host-6"]);
    let some = by("/servers?label_selector=n%20in%20(1,3),dr-plan/run&sort=name:desc").await;
    assert_eq!(names(&some), ["host-3", "host-1"]);
    let wrong = by("/servers?label_selector=a%20of%20(b)").await;
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_input"));
    assert_eq!(by("/servers?per_page=51").await.status, 422);
    assert_eq!(by("/servers?sort=size").await.status, 422);

    let page = by("/servers?per_page=3&page=2&sort=id").await;
    assert_eq!(names(&page), ["host-3", "host-4", "host-5"]);
    assert_eq!(
        page.body["meta"]["pagination"],
        json!({ "page": 2, "per_page": 3, "previous_page": 1, "next_page": 3, "last_page": 3, "total_entries": 7 })
    );
    let last = by("/servers?per_page=3&page=3").await;
    assert_eq!(last.body["meta"]["pagination"]["next_page"], Value::Null);
    assert!(
        last.headers["link"]
            .to_str()
            .unwrap()
            .contains("rel=\"prev\"")
    );
    assert_eq!(cloud.api.alive("dr-plan/run=one").unwrap().len(), 5);
}

#[tokio::test]
async fn power_does_what_its_action_says() {
    let cloud = Cloud::start().await;
    let id = cloud.server("db-1", json!({})).await;
    let status =
        async || cloud.get(&format!("/servers/{id}")).await.body["server"]["status"].clone();
    let act = async |verb: &str| {
        let answer = cloud
            .post(&format!("/servers/{id}/actions/{verb}"), json!({}))
            .await;
        cloud.api.settled().await;
        answer
    };
    let off = act("poweroff").await;
    assert_eq!(
        (off.status, &off.body["action"]["command"]),
        (201, &json!("stop_server"))
    );
    assert_eq!(status().await, "off");
    assert_eq!(cloud.machines.state("db-1").await, MachineState::Off);
    assert_eq!(act("poweroff").await.status, 201, "off already");
    assert_eq!(act("reboot").await.code(), "unsupported_error");
    assert_eq!(
        act("poweron").await.body["action"]["command"],
        "start_server"
    );
    assert_eq!(status().await, "running");
    assert_eq!(act("reset").await.body["action"]["command"], "reset_server");
    assert_eq!(act("explode").await.status, 501);
    let actions = cloud
        .get(&format!(
            "/servers/{id}/actions?sort=id:desc&status=success"
        ))
        .await;
    assert_eq!(actions.body["actions"][0]["command"], "reset_server");

    let lock = json!({ "delete": true, "rebuild": true });
    assert_eq!(
        cloud
            .post(&format!("/servers/{id}/actions/change_protection"), lock)
            .await
            .status,
        201
    );
    cloud.api.settled().await;
    let refused = cloud
        .call(Method::DELETE, &format!("/servers/{id}"), None)
        .await;
    assert_eq!((refused.status, refused.code()), (423, "protected"));
}

#[tokio::test]
async fn a_server_of_a_lost_region_is_called_running_until_it_is_powered_off() {
    let cloud = Cloud::start().await;
    let mut body = order("db-1", json!({}));
    body["location"] = json!("fsn1");
    let id = cloud.post("/servers", body.clone()).await.id("server");
    cloud.api.settled().await;
    cloud.machines.lose_region(0).await.unwrap();
    cloud.api.set_available("fsn1", None, false);
    let path = format!("/servers/{id}");
    assert_eq!(cloud.get(&path).await.body["server"]["status"], "running");
    assert_eq!(
        cloud
            .post(&format!("{path}/actions/poweroff"), json!({}))
            .await
            .status,
        201
    );
    cloud.api.settled().await;
    assert_eq!(cloud.get(&path).await.body["server"]["status"], "off");

    let on = cloud
        .post(&format!("{path}/actions/poweron"), json!({}))
        .await;
    cloud.api.settled().await;
    let action = cloud.get(&format!("/actions/{}", on.id("action"))).await;
    assert_eq!(action.body["action"]["status"], "error");
    assert_eq!(
        action.body["action"]["error"]["code"],
        "resource_unavailable"
    );
    body["name"] = json!("db-2");
    let refused = cloud.post("/servers", body).await;
    assert_eq!(
        (refused.status, refused.code()),
        (412, "resource_unavailable")
    );
    let types = cloud.get("/server_types?name=cx23").await;
    let locations = types.body["server_types"][0]["locations"]
        .as_array()
        .unwrap();
    let room = |name: &str| {
        locations
            .iter()
            .find(|place| place["name"] == name)
            .unwrap()["available"]
            .clone()
    };
    assert_eq!(
        (room("fsn1"), room("nbg1"), room("ash")),
        (json!(false), json!(true), json!(false))
    );
}

#[tokio::test]
async fn a_server_created_off_has_no_machine_until_it_is_powered_on() {
    let cloud = Cloud::start().await;
    let mut body = order("db-1", json!({}));
    body["start_after_create"] = json!(false);
    let made = cloud.post("/servers", body).await;
    assert_eq!(made.body["next_actions"], json!([]));
    assert!(made.body["root_password"].is_string());
    cloud.api.settled().await;
    let path = format!("/servers/{}", made.id("server"));
    assert_eq!(cloud.get(&path).await.body["server"]["status"], "off");
    assert!(cloud.machines.spec("db-1").is_none());
    cloud
        .post(&format!("{path}/actions/poweron"), json!({}))
        .await;
    cloud.api.settled().await;
    assert_eq!(cloud.get(&path).await.body["server"]["status"], "running");
    assert!(cloud.machines.spec("db-1").is_some());
}

#[tokio::test]
async fn labels_and_names_can_be_changed() {
    let cloud = Cloud::start().await;
    let id = cloud.server("db-1", json!({ "a": "1", "b": "2" })).await;
    cloud.server("db-2", json!({})).await;
    let path = format!("/servers/{id}");
    let put = |body: Value| cloud.call(Method::PUT, &path, Some(body));
    let changed = put(json!({ "labels": { "b": "3" } })).await;
    assert_eq!(
        changed.body["server"]["labels"],
        json!({ "b": "3" }),
        "the whole set is replaced"
    );
    assert_eq!(
        put(json!({ "name": "db-2" })).await.code(),
        "uniqueness_error"
    );
    assert_eq!(
        put(json!({ "name": "db-9" })).await.body["server"]["name"],
        "db-9"
    );
    assert_eq!(put(json!({ "labels": { "-": "3" } })).await.status, 422);
}

#[tokio::test]
async fn what_the_world_sets_up_from_inside_leaves_no_trace_in_the_ledger() {
    let cloud = Cloud::start().await;
    let inside =
        |path: &'static str, body: Value| cloud.api.ask("default", Method::POST, path, Some(body));
    let key = json!({ "name": "login", "public_key": KEY });
    assert_eq!(inside("/ssh_keys", key).await.0, 201);
    let mut body = order("db-1", json!({}));
    body["ssh_keys"] = json!(["login"]);
    let (status, made) = inside("/servers", body.clone()).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(inside("/servers", body).await.0, 409);
    cloud.api.settled().await;
    assert!(cloud.api.ledger().calls().is_empty());
    let seen = cloud.get("/servers?name=db-1").await;
    assert_eq!(seen.body["servers"][0]["id"], made["server"]["id"]);
    assert_eq!(cloud.machines.spec("db-1").unwrap().authorized_keys, [KEY]);
}

#[tokio::test]
async fn a_server_that_halted_by_itself_is_shown_off() {
    let cloud = Cloud::start().await;
    let id = cloud.server("db-1", json!({})).await;
    cloud.machines.power_off("db-1", true).await.unwrap();
    let path = format!("/servers/{id}");
    assert_eq!(cloud.get(&path).await.body["server"]["status"], "off");
    assert_eq!(
        cloud.get("/servers?status=running").await.body["servers"],
        json!([])
    );
}
