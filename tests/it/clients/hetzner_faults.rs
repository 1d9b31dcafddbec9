//! Exactly one server, whatever the API does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dr_plan::kind::{Failure, Reason};
use dr_plan::provider::reconcile::create_once;
use dr_plan::provider::{Power, Provider, ProviderError};
use serde_json::json;

use super::project::{Fault, World, client, error, spec};
use super::service::Reply;

const SOON: Duration = Duration::from_secs(5);

/// Every way in which an answer can be lost after the server was made.
fn losses() -> Vec<Reply> {
    vec![
        Reply::Hang,
        Reply::Close,
        error(500, "server_error", "unexpected"),
        Reply::Text(502, Vec::new(), "<html>bad gateway</html>".into()),
        Reply::Json(
            504,
            json!({ "error": { "code": "timeout", "message": "timeout" } }),
        ),
        Reply::Text(503, vec![("retry-after", "0".into())], "maintenance".into()),
        Reply::Text(408, Vec::new(), "Please try again".into()),
        Reply::Cut(201, r#"{"server": {"id": 1"#.into()),
        Reply::Text(201, Vec::new(), r#"{"server": {"id": 1"#.into()),
        Reply::Endless(201),
    ]
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_makes_one_server_with_one_request() {
    for loss in losses() {
        let what = format!("{loss:?}");
        let silence = loss.clone();
        let world = World::losing(&silence, move |seen, _| match seen.method.as_str() {
            "POST" => Fault::After(loss.clone()),
            _ => Fault::None,
        })
        .await;
        let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
        assert!(made.adopted, "{what}");
        assert_eq!((world.posts(), world.servers()), (1, 1), "{what}");
        assert_eq!(made.server.tags, Some(spec().tags), "{what}");
    }
}

#[tokio::test]
async fn a_create_that_was_lost_before_it_did_anything_stays_unknown_until_the_next_attempt_has_looked()
 {
    let world = World::with(|seen, count| match seen.method.as_str() {
        "POST" if count == 0 => Fault::Before(Reply::Close),
        _ => Fault::None,
    })
    .await;
    let settle = Duration::from_millis(300);
    let failed = create_once(&world.hetzner, &spec(), settle)
        .await
        .unwrap_err();
    assert!(
        failed.to_string().contains("looks again before it creates"),
        "{failed}"
    );
    assert_eq!(Failure::from(failed).reason, Reason::Unknown);
    assert_eq!((world.posts(), world.servers()), (1, 0));
    let made = create_once(&world.hetzner, &spec(), settle).await.unwrap();
    assert!(!made.adopted);
    assert_eq!((world.posts(), world.servers()), (2, 1));
}

#[tokio::test]
async fn a_server_that_shows_late_is_waited_for() {
    let looks = Arc::new(AtomicUsize::new(0));
    let counter = looks.clone();
    let world = World::with(
        move |seen, _| match (seen.method.as_str(), seen.path.as_str()) {
            ("POST", _) => Fault::After(Reply::Close),
            // Two looks before the request and six after it see nothing.
            ("GET", "/v1/servers") if counter.fetch_add(1, Ordering::SeqCst) < 8 => {
                Fault::Before(Reply::Json(200, json!({ "servers": [] })))
            }
            _ => Fault::None,
        },
    )
    .await;
    let made = create_once(&world.hetzner, &spec(), Duration::from_secs(20))
        .await
        .unwrap();
    assert!(made.adopted && looks.load(Ordering::SeqCst) > 8);
    assert_eq!((world.posts(), world.servers()), (1, 1));
}

#[tokio::test]
async fn a_name_taken_by_our_own_request_that_showed_late_is_adopted() {
    // An earlier process created it; the first look does not see it, the API refuses the name, the second look does.
    let world = World::with(|seen, count| match seen.path.as_str() {
        "/v1/servers" if seen.method == "GET" && count < 2 => {
            Fault::Before(Reply::Json(200, json!({ "servers": [] })))
        }
        _ => Fault::None,
    })
    .await;
    let id = world
        .project
        .lock()
        .unwrap()
        .add(&spec().name, super::project::our_labels());
    let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    assert!(made.adopted && made.server.id == id.to_string());
    assert_eq!((world.posts(), world.servers()), (1, 1));
}

#[tokio::test]
async fn a_filter_that_the_service_ignores_does_not_hand_us_a_stranger() {
    let world = World::with(|seen, _| match seen.method.as_str() {
        "GET" if seen.path == "/v1/servers" => Fault::Before(Reply::Json(
            200,
            json!({ "servers": [{ "id": 1, "name": "theirs", "labels": { "dr-plan/run": "other" } }] }),
        )),
        _ => Fault::None,
    })
    .await;
    let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    assert!(!made.adopted && made.server.name == spec().name);
}

#[tokio::test]
async fn a_refusal_is_held_against_what_stands_there() {
    let world = World::with(|seen, _| match seen.method.as_str() {
        "POST" => Fault::After(error(412, "resource_unavailable", "error during placement")),
        _ => Fault::None,
    })
    .await;
    let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    assert!(made.adopted);
    assert_eq!((world.posts(), world.servers()), (1, 1));
}

#[tokio::test]
async fn a_create_that_was_told_to_slow_down_did_nothing_and_is_sent_again() {
    let world = World::with(|seen, count| match seen.method.as_str() {
        "POST" if count == 0 => Fault::Before(Reply::Text(
            429,
            vec![("retry-after", "0".into())],
            "slow down".into(),
        )),
        _ => Fault::None,
    })
    .await;
    let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    assert!(!made.adopted);
    assert_eq!((world.posts(), world.servers()), (2, 1));
}

#[tokio::test]
async fn a_wait_longer_than_the_call_may_last_is_told_and_not_waited() {
    let world = World::with(|_, _| {
        Fault::Before(Reply::Text(
            429,
            vec![("retry-after", "3600".into())],
            "slow down".into(),
        ))
    })
    .await;
    let failed = Failure::from(world.hetzner.check_credentials().await.unwrap_err());
    assert_eq!(failed.reason, Reason::RateLimited);
    assert_eq!(failed.retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(world.service.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_404_just_after_its_creation_is_not_lost() {
    let world = World::with(|seen, count| {
        let one = seen.method == "GET" && seen.path.starts_with("/v1/servers/");
        if one && count < 3 {
            Fault::Before(error(404, "not_found", "server not found"))
        } else {
            Fault::None
        }
    })
    .await;
    let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    let ready = world.hetzner.created(&made.server.id, SOON).await.unwrap();
    assert_eq!(ready.power, Power::On);
}

#[tokio::test]
async fn a_creation_that_fails_after_it_was_accepted_says_why() {
    let world = World::new().await;
    let end = json!({ "status": "error", "error": { "code": "resource_unavailable", "message": "no room" } });
    world.project.lock().unwrap().create_ends = vec![end];
    let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    let failed = world
        .hetzner
        .created(&made.server.id, SOON)
        .await
        .unwrap_err();
    assert_eq!(failed.reason(), Reason::NoCapacity, "{failed}");
    assert!(
        failed
            .to_string()
            .contains("(create_server) failed: resource_unavailable: no room"),
        "{failed}"
    );
}

#[tokio::test]
async fn a_creation_that_never_ends_names_the_action_and_creates_nothing_else() {
    let world = World::new().await;
    world.project.lock().unwrap().create_ends = vec![json!({ "status": "running" })];
    let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    let failed = world
        .hetzner
        .created(&made.server.id, Duration::from_millis(300))
        .await
        .unwrap_err();
    assert_eq!(failed.reason(), Reason::Timeout);
    assert!(
        failed.to_string().contains("(create_server) is running"),
        "{failed}"
    );
    assert_eq!(world.posts(), 1);
}

#[tokio::test]
async fn reads_outlive_a_bad_minute_of_the_api() {
    for loss in losses() {
        let what = format!("{loss:?}");
        // Too long an answer is not asked for again: it would be too long again. A body that is not JSON is not, either.
        if matches!(loss, Reply::Endless(_) | Reply::Text(201, ..)) {
            continue;
        }
        let silence = loss.clone();
        let world = World::losing(&silence, move |_, count| match count {
            0 | 1 => Fault::Before(loss.clone()),
            _ => Fault::None,
        })
        .await;
        world
            .hetzner
            .check_credentials()
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(world.service.seen().len(), 3, "{what}");
    }
}

#[tokio::test]
async fn a_deletion_ends_in_a_404_whatever_happens_to_its_answers() {
    for loss in losses() {
        let what = format!("{loss:?}");
        let silence = loss.clone();
        let world = World::losing(&silence, move |seen, count| match seen.method.as_str() {
            "DELETE" if count == 0 => Fault::After(loss.clone()),
            _ => Fault::None,
        })
        .await;
        let id = world.project.lock().unwrap().add("x", json!({}));
        world
            .hetzner
            .delete(&id.to_string())
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(world.servers(), 0, "{what}");
    }
}

#[tokio::test]
async fn a_locked_server_is_asked_to_go_until_it_goes() {
    let world = World::with(|seen, count| match seen.method.as_str() {
        "DELETE" if count < 3 => Fault::Before(error(423, "locked", "server is locked")),
        _ => Fault::None,
    })
    .await;
    let id = world.project.lock().unwrap().add("x", json!({}));
    world.hetzner.delete(&id.to_string()).await.unwrap();
    assert_eq!(world.servers(), 0);
    assert_eq!(
        world.service.count("DELETE", &format!("/v1/servers/{id}")),
        4
    );
}

#[tokio::test]
async fn a_protected_server_is_refused_at_once() {
    let world = World::with(|seen, _| match seen.method.as_str() {
        "DELETE" => Fault::Before(error(423, "protected", "server is delete protected")),
        _ => Fault::None,
    })
    .await;
    let id = world.project.lock().unwrap().add("x", json!({}));
    let failed = world.hetzner.delete(&id.to_string()).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::Refused);
    assert_eq!(
        world.service.count("DELETE", &format!("/v1/servers/{id}")),
        1
    );
}

#[tokio::test]
async fn a_power_switch_whose_answer_is_lost_is_judged_by_the_server() {
    for loss in losses() {
        let what = format!("{loss:?}");
        let silence = loss.clone();
        let world = World::losing(&silence, move |seen, _| match seen.method.as_str() {
            "POST" => Fault::After(loss.clone()),
            _ => Fault::None,
        })
        .await;
        let id = {
            let mut project = world.project.lock().unwrap();
            let id = project.add("x", json!({}));
            project.server(id).unwrap()["status"] = json!("running");
            id
        };
        world
            .hetzner
            .set_power(&id.to_string(), false)
            .await
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let path = format!("/v1/servers/{id}/actions/poweroff");
        assert_eq!(world.service.count("POST", &path), 1, "{what}");
        // Off already: nothing is sent.
        world
            .hetzner
            .set_power(&id.to_string(), false)
            .await
            .unwrap();
        assert_eq!(world.service.count("POST", &path), 1, "{what}");
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_has_done_nothing() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let base = format!("http://{gone}/v1").parse().unwrap();
    let hetzner = client(&base, super::project::TOKEN);
    let failed = hetzner.create(&spec()).await.unwrap_err();
    assert!(matches!(failed, ProviderError::Refused { .. }), "{failed}");
    assert_eq!(failed.reason(), Reason::Unreachable, "{failed}");
    assert!(failed.to_string().contains("refused"), "{failed}");
}
