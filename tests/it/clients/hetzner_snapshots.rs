//! Snapshots at Hetzner: one for each step whatever becomes of the answers, waited for to its end, gone for good.

use std::time::Duration;

use dr_plan::kind::Reason;
use dr_plan::provider::reconcile::snapshot_once;
use dr_plan::provider::snapshot::{SnapshotSpec, State};
use dr_plan::provider::{Provider, Tags};
use serde_json::json;

use super::simulated::World;

const SOON: Duration = Duration::from_secs(10);

fn spec(server: i64) -> SnapshotSpec {
    SnapshotSpec {
        server: server.to_string(),
        name: "dr-plan 0abcdefg snap db-1".into(),
        tags: Tags {
            run: "01jd0000000000000abcdefgh".into(),
            step: "snap".into(),
        },
    }
}

#[tokio::test]
async fn a_snapshot_is_made_once_found_again_and_deleted() {
    let world = World::new().await;
    let hetzner = world.hetzner();
    let server = world.server("db-1").await;
    let snapshots = hetzner.snapshots().unwrap();
    let made = snapshot_once(&hetzner, &spec(server), SOON).await.unwrap();
    assert!(!made.adopted);
    assert_eq!(made.it.state, State::Making);
    let ready = snapshots.created(&made.it.id, SOON).await.unwrap();
    assert_eq!(ready.state, State::Ready);
    assert_eq!(ready.of, Some(server.to_string()));
    assert_eq!(ready.of_name.as_deref(), Some("db-1"));
    assert_eq!(
        (ready.disk, ready.architecture.as_str()),
        (40_000_000_000, "x86")
    );
    assert!(ready.taken.is_some());

    let again = snapshot_once(&hetzner, &spec(server), SOON).await.unwrap();
    assert!(again.adopted && again.it.id == ready.id);
    assert_eq!(world.sent("POST", "*/create_image"), 1);
    assert_eq!(snapshots.of_server("db-1").await.unwrap().len(), 1);
    assert!(snapshots.of_server("db-2").await.unwrap().is_empty());
    assert!(snapshots.find("other", "snap").await.unwrap().is_empty());
    // The images that servers are usually made from are none.
    assert_eq!(snapshots.get("114690387").await.unwrap(), None);
    hetzner.check_image(&ready.id, "x86").await.unwrap();
    snapshots.delete(&ready.id).await.unwrap();
    assert_eq!(snapshots.get(&ready.id).await.unwrap(), None);
    snapshots.delete(&ready.id).await.unwrap();
    world.check_requests("a_snapshot_is_made_once_found_again_and_deleted");
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_snapshot() {
    for kind in [json!("reset"), json!({ "status": { "status": 500 } })] {
        let world = World::new().await;
        let hetzner = world.hetzner();
        let server = world.server("db-1").await;
        world.fault(json!({ "path": "*/create_image", "when": "after", "kind": kind }));
        let made = snapshot_once(&hetzner, &spec(server), SOON).await.unwrap();
        assert!(made.adopted, "{kind}");
        let snapshots = hetzner.snapshots().unwrap();
        snapshots.created(&made.it.id, SOON).await.unwrap();
        assert_eq!(world.sent("POST", "*/create_image"), 1, "{kind}");
        assert_eq!(snapshots.of_server("db-1").await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_snapshot_that_fails_or_does_not_end_is_no_snapshot() {
    let world = World::new().await;
    let hetzner = world.hetzner();
    let server = world.server("db-1").await;
    let snapshots = hetzner.snapshots().unwrap();
    let error = json!({ "action_error": { "code": "action_failed", "message": "no room" } });
    world.fault(json!({ "path": "*/create_image", "kind": error }));
    let made = snapshot_once(&hetzner, &spec(server), SOON).await.unwrap();
    let failed = snapshots.created(&made.it.id, SOON).await.unwrap_err();
    assert!(failed.to_string().contains("no room"), "{failed}");
    let broken = snapshots.get(&made.it.id).await.unwrap().unwrap();
    assert_eq!(broken.state, State::Broken);
    snapshots.delete(&made.it.id).await.unwrap();

    world.fault(json!({ "path": "*/create_image", "kind": { "action_stuck": {} } }));
    let made = snapshot_once(&hetzner, &spec(server), SOON).await.unwrap();
    let short = Duration::from_millis(300);
    let failed = snapshots.created(&made.it.id, short).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::Timeout, "{failed}");
}

#[tokio::test]
async fn the_simulated_cloud_refuses_what_the_reference_refuses_of_snapshots() {
    let cloud = crate::sandbox_services::http::Cloud::start().await;
    let id = cloud.server("db-1", json!({})).await;
    let path = format!("/servers/{id}/actions/create_image");
    for body in [
        json!({ "type": "copy" }),
        json!({ "type": "backup" }),
        json!({ "labels": { "a b": "c" } }),
        json!({ "name": "x" }),
    ] {
        let refused = cloud.post(&path, body.clone()).await;
        assert_eq!(
            (refused.status, refused.code()),
            (422, "invalid_input"),
            "{body}"
        );
    }
    let made = cloud.post(&path, json!({ "labels": { "a": "b" } })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let image = made.id("image");
    cloud.api.settled().await;
    assert_eq!(
        cloud
            .get("/images?type=snapshot&label_selector=a%3Db")
            .await
            .body["images"][0]["id"],
        image
    );
    let order = |image: String, size: &str| json!({ "name": "copy", "server_type": size, "image": image, "location": "nbg1" });
    let none = cloud.post("/servers", order("7".into(), "cx23")).await;
    assert_eq!((none.status, none.code()), (422, "invalid_input"));
    let arm = cloud
        .post("/servers", order(image.to_string(), "cax11"))
        .await;
    assert!(arm.status >= 400, "{}", arm.body);
    let copy = cloud
        .post("/servers", order(image.to_string(), "cx23"))
        .await;
    assert_eq!(copy.status, 201, "{}", copy.body);
    assert_eq!(copy.body["server"]["image"]["id"], image);
    cloud.api.settled().await;
    assert_eq!(
        cloud.machines.spec("copy").unwrap().image,
        Some(format!("snapshot-{image}"))
    );
    let delete = |path: String| {
        cloud.call(
            reqwest::Method::DELETE,
            Box::leak(path.into_boxed_str()),
            None,
        )
    };
    assert_eq!(delete(format!("/images/{image}")).await.status, 204);
    assert_eq!(delete("/images/114690387".to_owned()).await.status, 403);
    assert_eq!(cloud.get(&format!("/images/{image}")).await.status, 404);
}
