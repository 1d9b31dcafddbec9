//! The Hetzner client when the service behaves, and when it refuses.

use std::time::Duration;

use dr_plan::kind::Reason;
use dr_plan::provider::reconcile::create_once;
use dr_plan::provider::{Power, Provider, ProviderError};
use serde_json::json;

use super::project::{Fault, PASSWORD, TOKEN, World, client, error, our_labels, spec};
use super::service::Reply;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_server_is_created_waited_for_found_switched_and_deleted() {
    let world = World::new().await;
    let hetzner = &world.hetzner;
    hetzner.check_credentials().await.unwrap();
    hetzner.check_image("debian-12", "x86").await.unwrap();
    let sizes = hetzner.sizes("nbg1").await.unwrap();
    assert!(sizes[0].available && sizes[0].name == "cx23" && sizes[0].architecture == "x86");

    let made = create_once(hetzner, &spec(), SOON).await.unwrap();
    assert!(!made.adopted && made.extras.is_empty());
    assert_eq!(made.server.power, Power::Starting);
    let ready = hetzner.created(&made.server.id, SOON).await.unwrap();
    assert_eq!(ready.power, Power::On);
    assert_eq!(ready.ipv4, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(ready.ipv6, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(ready.tags, Some(spec().tags));
    assert_eq!(
        (ready.region.as_str(), ready.size.as_str()),
        ("nbg1", "cx23")
    );

    let again = create_once(hetzner, &spec(), SOON).await.unwrap();
    assert!(again.adopted && again.server.id == ready.id);
    assert_eq!(world.posts(), 1);
    assert_eq!(hetzner.find(&spec().tags.run, None).await.unwrap().len(), 1);
    assert!(hetzner.find("another-run", None).await.unwrap().is_empty());

    hetzner.set_power(&ready.id, false).await.unwrap();
    assert_eq!(
        hetzner.get(&ready.id).await.unwrap().unwrap().power,
        Power::Off
    );
    hetzner.set_power(&ready.id, true).await.unwrap();
    hetzner.delete(&ready.id).await.unwrap();
    assert_eq!(hetzner.get(&ready.id).await.unwrap(), None);
    hetzner.delete(&ready.id).await.unwrap();
    world.check_requests("a_server_is_created_waited_for_found_switched_and_deleted");

    // Both actions of the creation were asked about in one request.
    let batches = world.service.seen();
    let batch = batches
        .iter()
        .find(|seen| seen.path == "/v1/actions")
        .unwrap();
    assert_eq!(
        batch.pairs().iter().filter(|(key, _)| key == "id").count(),
        2
    );
}

#[tokio::test]
async fn a_changed_request_would_not_pass_the_specification() {
    let test = "a_changed_request_would_not_pass_the_specification";
    let Some(rules) = crate::spec::Spec::load("hetzner-cloud.spec.json", "/v1", test) else {
        return;
    };
    let world = World::new().await;
    create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    let sent = world
        .service
        .seen()
        .into_iter()
        .find(|seen| seen.method == "POST")
        .unwrap();
    let good = sent.body.unwrap();
    let problems = |body| rules.problems("POST", "/v1/servers", "", Some(&body));
    assert!(problems(good.clone()).is_empty());
    for (field, value) in [
        ("name", json!(7)),
        ("image", json!(null)),
        ("labels", json!({ "dr-plan/run": 1 })),
        ("labels", json!([])),
        ("start_after_create", json!("yes")),
        ("ssh_keys", json!([7])),
        ("sshkeys", json!([])),
        ("user_data", json!({})),
    ] {
        let mut body = good.clone();
        body[field] = value.clone();
        assert!(!problems(body).is_empty(), "{field}: {value} passed");
    }
    for field in ["name", "image", "server_type"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        assert!(!problems(body).is_empty(), "without {field} it passed");
    }
}

#[tokio::test]
async fn what_the_provider_refuses_has_a_reason_and_keeps_its_code() {
    for (status, code, reason) in [
        (401, "unauthorized", Reason::Denied),
        (401, "token_readonly", Reason::Denied),
        (403, "forbidden", Reason::Denied),
        (403, "resource_limit_exceeded", Reason::Quota),
        (412, "resource_unavailable", Reason::NoCapacity),
        (422, "placement_error", Reason::NoCapacity),
        (422, "invalid_input", Reason::Refused),
        (409, "uniqueness_error", Reason::Refused),
        (409, "conflict", Reason::Busy),
        (423, "locked", Reason::Busy),
        (418, "a_code_of_next_year", Reason::Refused),
    ] {
        let world = World::with(move |seen, _| match seen.method.as_str() {
            "POST" => Fault::Before(error(status, code, "no")),
            _ => Fault::None,
        })
        .await;
        let failed = create_once(&world.hetzner, &spec(), SOON)
            .await
            .unwrap_err();
        assert_eq!(failed.reason(), reason, "{failed}");
        assert!(failed.to_string().contains(code), "{failed}");
        assert_eq!(world.posts(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_name_that_belongs_to_a_stranger_is_refused_before_anything_is_sent() {
    let world = World::new().await;
    world.project.lock().unwrap().add(
        &spec().name,
        json!({ "dr-plan/run": "another", "dr-plan/step": "db" }),
    );
    let failed = create_once(&world.hetzner, &spec(), SOON)
        .await
        .unwrap_err();
    assert_eq!(failed.reason(), Reason::Refused);
    assert!(
        failed.to_string().contains("run another step db made it"),
        "{failed}"
    );
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn of_several_servers_of_one_step_the_oldest_is_kept_and_the_others_are_named() {
    let world = World::new().await;
    let (first, second) = {
        let mut project = world.project.lock().unwrap();
        (
            project.add("one", our_labels()),
            project.add("two", our_labels()),
        )
    };
    let made = create_once(&world.hetzner, &spec(), SOON).await.unwrap();
    assert_eq!(made.server.id, first.to_string());
    assert!(made.adopted);
    assert_eq!(
        made.extras.iter().map(|s| s.id.clone()).collect::<Vec<_>>(),
        [second.to_string()]
    );
    assert_eq!(world.posts(), 0);
}

#[tokio::test]
async fn what_the_api_would_refuse_is_not_sent() {
    let world = World::new().await;
    let mut long = spec();
    long.user_data = "x".repeat(33 * 1024);
    let mut name = spec();
    name.name = "Shop_DB".into();
    let mut tag = spec();
    tag.tags.step = "a,dr-plan/run".into();
    for bad in [long, name, tag] {
        let failed = world.hetzner.create(&bad).await.unwrap_err();
        assert_eq!(failed.reason(), Reason::Refused, "{failed}");
    }
    assert_eq!(world.service.seen().len(), 0);
}

#[tokio::test]
async fn regions_images_and_ids_that_do_not_exist_are_not_found() {
    let world = World::new().await;
    let hetzner = &world.hetzner;
    let failed = hetzner.sizes("mars1").await.unwrap_err();
    assert_eq!(failed.reason(), Reason::NotFound);
    assert!(
        failed.to_string().contains("there are fsn1, nbg1"),
        "{failed}"
    );
    assert_eq!(
        hetzner
            .check_image("debian-4", "x86")
            .await
            .unwrap_err()
            .reason(),
        Reason::NotFound
    );
    let failed = hetzner.check_image("debian-12", "arm").await.unwrap_err();
    assert!(failed.to_string().contains("none for arm"), "{failed}");
    let failed = hetzner.check_image("77", "x86").await.unwrap_err();
    assert!(failed.to_string().contains("is creating"), "{failed}");
    assert_eq!(
        hetzner.get("..").await.unwrap_err().reason(),
        Reason::NotFound
    );
    assert_eq!(hetzner.get("12345").await.unwrap(), None);
    world.check_requests("regions_images_and_ids_that_do_not_exist_are_not_found");
}

#[tokio::test]
async fn only_the_words_of_the_api_prove_that_a_server_is_gone() {
    for reply in [
        Reply::Text(404, Vec::new(), "<html>nginx</html>".into()),
        error(404, "not_found", "api route not found"),
    ] {
        let world = World::with(move |_, _| Fault::Before(reply.clone())).await;
        assert_eq!(
            world.hetzner.get("1").await.unwrap_err().reason(),
            Reason::NotFound
        );
        assert_eq!(
            world.hetzner.delete("1").await.unwrap_err().reason(),
            Reason::NotFound
        );
    }
}

#[tokio::test]
async fn a_list_without_an_end_is_an_error_and_not_a_part_taken_for_the_whole() {
    for (next, pages) in [(1, 1), (0, 200)] {
        let world = World::with(move |seen, _| {
            let page: u64 = seen.param("page").map_or(1, |page| page.parse().unwrap());
            let next = if next == 0 { page + 1 } else { next };
            let meta = json!({ "pagination": { "next_page": next } });
            Fault::Before(Reply::Json(200, json!({ "servers": [], "meta": meta })))
        })
        .await;
        let failed = world.hetzner.by_name("x").await.unwrap_err();
        assert!(
            failed.to_string().contains("cannot be read to its end"),
            "{failed}"
        );
        assert_eq!(world.service.seen().len(), pages);
    }
}

#[tokio::test]
async fn all_pages_of_a_list_are_read() {
    let world = World::with(|seen, _| {
        let page: u64 = seen.param("page").map_or(1, |page| page.parse().unwrap());
        let next = if page < 3 {
            json!(page + 1)
        } else {
            json!(null)
        };
        let servers = json!([{ "id": page, "name": format!("s{page}"), "labels": our_labels() }]);
        let meta = json!({ "pagination": { "next_page": next } });
        Fault::Before(Reply::Json(
            200,
            json!({ "servers": servers, "meta": meta }),
        ))
    })
    .await;
    let found = world
        .hetzner
        .find(&spec().tags.run, Some("db"))
        .await
        .unwrap();
    assert_eq!(
        found.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
}

#[tokio::test]
async fn neither_the_token_nor_a_password_is_ever_in_an_error() {
    // One cloud quotes the beginning of the token; a hostile one quotes all of it.
    let quoted = format!("Limit reached for token '{}...', or {TOKEN}", &TOKEN[..32]);
    let world = World::with(move |_, _| Fault::Before(error(403, "forbidden", &quoted))).await;
    let failed = world.hetzner.check_credentials().await.unwrap_err();
    assert!(
        !format!("{failed} {failed:?}").contains("canaryToken"),
        "{failed:?}"
    );

    // A 201 whose body is not what was promised.
    let world = World::with(|seen, _| match seen.method.as_str() {
        "POST" => Fault::After(Reply::Json(
            201,
            json!({ "server": PASSWORD, "root_password": PASSWORD }),
        )),
        _ => Fault::None,
    })
    .await;
    let failed = world.hetzner.create(&spec()).await.unwrap_err();
    assert!(matches!(failed, ProviderError::Unknown { .. }), "{failed}");
    assert!(
        !format!("{failed} {failed:?}").contains("canary"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_wrong_token_is_denied_by_every_call() {
    let world = World::new().await;
    let stranger = client(&world.service.base, "some-other-token-0123456789");
    assert_eq!(
        stranger.check_credentials().await.unwrap_err().reason(),
        Reason::Denied
    );
    let failed = create_once(&stranger, &spec(), SOON).await.unwrap_err();
    assert_eq!(failed.reason(), Reason::Denied);
    assert_eq!(world.posts(), 0);
}
