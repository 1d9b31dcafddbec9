//! The HTTP client itself: where it follows, whom it trusts, what it sends.

use std::time::Duration;

use dr_plan::http::{
    Api, ApiSettings, Call, CallError, Credential, HttpOptions, Policy, Redirects, http_client,
};
use dr_plan::secret::{Mask, Secret};
use serde_json::json;

use super::project::{hasty, policy};
use super::service::{Reply, Service};

fn direct() -> HttpOptions {
    HttpOptions {
        direct: true,
        ..HttpOptions::default()
    }
}

fn api(service: &Service) -> Api {
    with(service, policy())
}

fn with(service: &Service, policy: Policy) -> Api {
    Api::new(ApiSettings {
        account: "test".into(),
        base: service.base.clone(),
        token: Secret::new("canary-token-0123456789".into()),
        credential: Credential::Header("x-api-key"),
        mask: Mask::default(),
        http: direct(),
        policy,
    })
    .unwrap()
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let other = Service::start(|_| Reply::Text(200, Vec::new(), "stolen".into())).await;
    let away = other.base.to_string();
    let service = Service::start(move |seen| match seen.path.as_str() {
        "/v1/near" => Reply::Text(302, vec![("location", "/v1/end".into())], String::new()),
        "/v1/end" => Reply::Text(200, Vec::new(), "end".into()),
        _ => Reply::Text(302, vec![("location", away.clone())], String::new()),
    })
    .await;
    let client = http_client(&HttpOptions {
        redirects: Redirects::SameHost,
        ..direct()
    })
    .unwrap();
    let near = client
        .get(format!("{}/near", service.base))
        .send()
        .await
        .unwrap();
    assert_eq!(near.text().await.unwrap(), "end");
    let far = client
        .get(format!("{}/far", service.base))
        .send()
        .await
        .unwrap();
    assert_eq!(far.status().as_u16(), 302);
    // The API transport follows nothing: a token goes nowhere but to its own host.
    let refused = api(&service).send(&Call::get(&["near"])).await.unwrap_err();
    assert!(matches!(refused, CallError::Refused(r) if r.status == 302));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_name_can_be_answered_with_the_address_of_the_new_server() {
    let service = Service::start(|seen| {
        Reply::Text(
            200,
            Vec::new(),
            seen.header("host").unwrap_or("").to_string(),
        )
    })
    .await;
    let port = service.base.port().unwrap();
    let client = http_client(&HttpOptions {
        pinned: vec![("shop.example".into(), ([127, 0, 0, 1], port).into())],
        ..direct()
    })
    .unwrap();
    let url = format!("http://shop.example:{port}/health");
    let answer = client.get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, format!("shop.example:{port}"));
}

#[tokio::test]
async fn the_token_travels_in_its_own_header_and_the_body_as_json() {
    let service = Service::start(|_| Reply::Json(200, json!({ "ok": true }))).await;
    let call = Call::post(&["a b", "c"])
        .query("q", "x&y")
        .body(json!({ "k": "v" }));
    let answer = api(&service).send(&call).await.unwrap();
    assert_eq!(
        answer.json::<serde_json::Value>().unwrap(),
        json!({ "ok": true })
    );
    let seen = &service.seen()[0];
    assert_eq!(seen.path, "/v1/a%20b/c");
    assert_eq!(seen.param("q").as_deref(), Some("x&y"));
    assert_eq!(seen.header("x-api-key"), Some("canary-token-0123456789"));
    assert_eq!(seen.body, Some(json!({ "k": "v" })));
}

#[tokio::test]
async fn a_post_is_sent_once_and_a_read_until_the_tries_are_used_up() {
    for (method, tries) in [
        ("POST", 1),
        ("PATCH", 1),
        ("GET", 4),
        ("PUT", 4),
        ("DELETE", 4),
    ] {
        for reply in [
            Reply::Close,
            Reply::Hang,
            Reply::Text(500, Vec::new(), "broken".into()),
        ] {
            let what = format!("{method} {reply:?}");
            let service = Service::start(move |_| reply.clone()).await;
            let call = Call::new(method.parse().unwrap(), &["x"]);
            let failed = with(&service, hasty()).send(&call).await.unwrap_err();
            assert_eq!(service.seen().len(), tries, "{what}");
            let unknown = matches!(failed, CallError::Unknown { .. });
            assert_eq!(unknown, method != "GET", "{what}: {failed}");
        }
    }
}

#[tokio::test]
async fn a_post_is_not_lost_on_a_connection_that_was_kept_open_too_long() {
    let service = Service::start(|seen| match (seen.method.as_str(), seen.earlier) {
        ("POST", 1..) => Reply::Close,
        _ => Reply::Json(200, json!({})),
    })
    .await;
    let api = api(&service);
    for _ in 0..3 {
        api.send(&Call::get(&["x"])).await.unwrap();
        api.send(&Call::post(&["x"])).await.unwrap();
    }
    // Reads do share one.
    assert!(service.seen().iter().any(|seen| seen.earlier > 0));
}

#[tokio::test]
async fn a_call_ends_at_its_overall_deadline() {
    let service = Service::start(|_| Reply::Hang).await;
    let mut limits = policy();
    limits.one_try = Duration::from_secs(60);
    limits.overall = Duration::from_millis(300);
    let api = with(&service, limits);
    let call = Call::get(&["x"]);
    let ended = tokio::time::timeout(Duration::from_secs(20), api.send(&call)).await;
    assert!(ended.expect("it ends long before one try's limit").is_err());
}

#[tokio::test]
async fn an_unknown_certificate_is_not_trusted_and_a_named_authority_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, certificate) = (path("key.pem"), path("cert.pem"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut server = tokio::process::Command::new("openssl")
        .args([
            "s_server",
            "-www",
            "-key",
            &key,
            "-cert",
            &certificate,
            "-accept",
            &format!("127.0.0.1:{port}"),
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    super::nameserver::wait_for(|| async move {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    })
    .await;
    let pinned = vec![("localhost".to_string(), ([127, 0, 0, 1], port).into())];
    let url = format!("https://localhost:{port}/");

    let stranger = http_client(&HttpOptions {
        pinned: pinned.clone(),
        ..direct()
    })
    .unwrap();
    let failed = stranger.get(&url).send().await.unwrap_err();
    assert!(
        dr_plan::kind::chain(&failed).contains("certificate"),
        "{failed:?}"
    );

    let known = HttpOptions {
        ca_file: Some(certificate.into()),
        pinned,
        ..direct()
    };
    let answer = http_client(&known).unwrap().get(&url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    server.kill().await.unwrap();
}
