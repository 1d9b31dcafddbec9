//! Floating IPs and firewalls at Hetzner: compared before they are changed, looked after when an answer is lost.

use std::net::IpAddr;
use std::time::Duration;

use dr_plan::kind::Reason;
use dr_plan::provider::Provider;
use dr_plan::provider::address::Moved;
use dr_plan::provider::firewall::{Direction, Rule, normal};
use dr_plan::provider::reconcile::firewall_once;
use reqwest::Method;
use serde_json::{Value, json};

use super::simulated::World;
use crate::sandbox_services::http::Cloud;

const SOON: Duration = Duration::from_secs(10);

async fn floating(world: &World, server: Option<i64>) -> IpAddr {
    let body = json!({ "type": "ipv4", "home_location": "fsn1", "server": server });
    let said = world.tell(Method::POST, "/floating_ips", body).await;
    said["floating_ip"]["ip"].as_str().unwrap().parse().unwrap()
}

fn rule(port: &str, networks: &[&str]) -> Rule {
    Rule {
        direction: Direction::In,
        protocol: "tcp".into(),
        port: Some(port.into()),
        networks: networks.iter().map(|one| (*one).to_string()).collect(),
    }
}

#[tokio::test]
async fn an_address_moves_only_from_where_it_was_expected() {
    let world = World::new().await;
    let hetzner = world.hetzner();
    let (one, two) = (world.server("one").await, world.server("two").await);
    let (one, two) = (one.to_string(), two.to_string());
    let ip = floating(&world, one.parse().ok()).await;
    let addresses = hetzner.addresses().unwrap();
    let found = addresses.by_ip(ip).await.unwrap().unwrap();
    assert_eq!(
        (found.server.as_deref(), found.region.as_str()),
        (Some(&*one), "fsn1")
    );
    assert_eq!(
        addresses.by_ip("192.0.2.1".parse().unwrap()).await.unwrap(),
        None
    );
    assert!(addresses.reaches(&found, "nbg1").await.unwrap());
    assert!(!addresses.reaches(&found, "ash").await.unwrap());
    assert!(!addresses.reaches(&found, "mars1").await.unwrap());

    let differs = addresses.assign(ip, None, Some(&two)).await.unwrap();
    assert_eq!(differs, Moved::Differs(Some(one.clone())));
    assert_eq!(world.sent("POST", "*/assign"), 0);
    assert_eq!(
        addresses.assign(ip, Some(&one), Some(&two)).await.unwrap(),
        Moved::Done
    );
    // Again after a crash.
    assert_eq!(
        addresses.assign(ip, Some(&one), Some(&two)).await.unwrap(),
        Moved::Done
    );
    assert_eq!(world.sent("POST", "*/assign"), 1);
    assert_eq!(
        addresses.assign(ip, Some(&two), None).await.unwrap(),
        Moved::Done
    );
    assert_eq!(addresses.by_ip(ip).await.unwrap().unwrap().server, None);
    world.check_requests("an_address_moves_only_from_where_it_was_expected");
}

#[tokio::test]
async fn a_lost_answer_to_a_move_is_looked_after() {
    let world = World::new().await;
    let hetzner = world.hetzner();
    let one = world.server("one").await.to_string();
    let ip = floating(&world, None).await;
    let addresses = hetzner.addresses().unwrap();
    world.fault(json!({ "path": "*/actions/assign", "when": "after", "kind": "reset" }));
    assert_eq!(
        addresses.assign(ip, None, Some(&one)).await.unwrap(),
        Moved::Done
    );
    assert_eq!(world.sent("POST", "*/assign"), 1);

    let error = json!({ "action_error": { "code": "action_failed", "message": "no way there" } });
    world.fault(json!({ "path": "*/actions/unassign", "kind": error }));
    let failed = addresses.assign(ip, Some(&one), None).await.unwrap_err();
    assert!(failed.to_string().contains("no way there"), "{failed}");
}

#[tokio::test]
async fn a_firewall_is_made_once_changed_as_a_whole_and_taken_away() {
    let world = World::new().await;
    let hetzner = world.hetzner();
    let server = world.server("web").await.to_string();
    let firewalls = hetzner.firewalls().unwrap();
    let rules = normal([
        rule("443", &["::/0", "0.0.0.0/0"]),
        rule("22", &["192.0.2.7/32"]),
    ]);
    world.fault(
        json!({ "method": "POST", "path": "/v1/firewalls", "when": "after", "kind": "reset" }),
    );
    let made = firewall_once(&hetzner, "web", &rules, SOON).await.unwrap();
    assert!(made.adopted);
    assert_eq!(world.sent("POST", "/v1/firewalls"), 1);
    assert_eq!(made.it.rules, rules);
    let id = made.it.id;
    firewalls
        .apply(&id, std::slice::from_ref(&server), true)
        .await
        .unwrap();
    // Said twice, sent once.
    firewalls
        .apply(&id, std::slice::from_ref(&server), true)
        .await
        .unwrap();
    assert_eq!(world.sent("POST", "*/apply_to_resources"), 1);
    let fewer = normal([rule("22", &["192.0.2.7/32"])]);
    world.fault(
        json!({ "path": "*/set_rules", "when": "after", "kind": { "status": { "status": 500 } } }),
    );
    firewalls.set_rules(&id, &fewer).await.unwrap();
    assert_eq!(world.sent("POST", "*/set_rules"), 1);
    let found = firewalls.named("web").await.unwrap();
    assert_eq!(
        (found.len(), &found[0].rules, &found[0].servers),
        (1, &fewer, &vec![server.clone()])
    );
    assert!(found[0].ours);

    firewalls.apply(&id, &[server], false).await.unwrap();
    firewalls.delete(&id).await.unwrap();
    firewalls.delete(&id).await.unwrap();
    assert!(firewalls.named("web").await.unwrap().is_empty());
    world.check_requests("a_firewall_is_made_once_changed_as_a_whole_and_taken_away");
}

#[tokio::test]
async fn a_strangers_firewall_is_left_alone() {
    let world = World::new().await;
    let hetzner = world.hetzner();
    world
        .tell(
            Method::POST,
            "/firewalls",
            json!({ "name": "web", "rules": [] }),
        )
        .await;
    let failed = firewall_once(&hetzner, "web", &[], SOON).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::Refused);
    assert!(
        failed.to_string().contains("dr-plan did not make it"),
        "{failed}"
    );
    assert_eq!(world.sent("POST", "*"), 0);
}

#[tokio::test]
async fn the_simulated_cloud_refuses_what_the_reference_refuses_of_addresses_and_firewalls() {
    let cloud = Cloud::start().await;
    let id = cloud.server("web", json!({})).await;
    let bad = [
        (
            "/floating_ips",
            json!({ "type": "ipv6", "home_location": "fsn1" }),
        ),
        ("/floating_ips", json!({ "type": "ipv4" })),
        (
            "/floating_ips",
            json!({ "type": "ipv4", "home_location": "fsn1", "server": 7 }),
        ),
        ("/firewalls", json!({ "name": "" })),
        ("/firewalls", json!({ "name": "x", "rule": [] })),
        (
            "/firewalls",
            json!({ "name": "x", "apply_to": [{ "type": "server", "server": { "id": 7 } }] }),
        ),
    ];
    for (path, body) in bad {
        let answer = cloud.post(path, body.clone()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "invalid_input"),
            "{body}"
        );
    }
    for rule in [
        json!({ "direction": "in", "protocol": "tcp", "port": "80" }),
        json!({ "direction": "in", "protocol": "tcp", "source_ips": ["0.0.0.0/0"] }),
        json!({ "direction": "in", "protocol": "icmp", "port": "1", "source_ips": ["0.0.0.0/0"] }),
        json!({ "direction": "in", "protocol": "tcp", "port": "80", "source_ips": ["192.0.2.1"] }),
        json!({ "direction": "out", "protocol": "tcp", "port": "80", "source_ips": ["::/0"] }),
    ] {
        let answer = cloud
            .post("/firewalls", json!({ "name": "x", "rules": [rule] }))
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (422, "invalid_input"),
            "{rule}"
        );
    }
    let ip = cloud
        .post(
            "/floating_ips",
            json!({ "type": "ipv4", "home_location": "ash" }),
        )
        .await;
    assert_eq!(ip.status, 201, "{}", ip.body);
    let path = format!("/floating_ips/{}", ip.id("floating_ip"));
    let far = cloud
        .post(&format!("{path}/actions/assign"), json!({ "server": id }))
        .await;
    assert_eq!(far.status, 422, "another network zone");
    assert_eq!(cloud.get(&path).await.status, 200);
    let made = cloud.post("/firewalls", json!({ "name": "x" })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(
        cloud
            .post("/firewalls", json!({ "name": "x" }))
            .await
            .code(),
        "uniqueness_error"
    );
    let path = format!("/firewalls/{}", made.id("firewall"));
    let web =
        |key: &str| -> Value { json!({ key: [{ "type": "server", "server": { "id": id } }] }) };
    let put = cloud
        .post(
            &format!("{path}/actions/apply_to_resources"),
            web("apply_to"),
        )
        .await;
    assert_eq!(put.status, 201, "{}", put.body);
    cloud.api.settled().await;
    let used = cloud.call(Method::DELETE, &path, None).await;
    assert_eq!((used.status, used.code()), (422, "resource_in_use"));
    let shown = cloud.get(&format!("/servers/{id}")).await;
    assert_eq!(
        shown.body["server"]["public_net"]["firewalls"][0]["status"],
        "applied"
    );
    cloud
        .post(
            &format!("{path}/actions/remove_from_resources"),
            web("remove_from"),
        )
        .await;
    assert_eq!(cloud.call(Method::DELETE, &path, None).await.status, 204);
}
