//! All services of a world started at once, as `sandbox up` starts them.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use dr_plan::sandbox::secrets::WorldSecrets;
use dr_plan::sandbox::surroundings::{Addresses, BUCKET, Part, Services, ServicesError};

use super::http::{client, order};
use super::machines::Paper;
use super::names::own_address;

fn addresses() -> Addresses {
    Addresses {
        hetzner: own_address(8080),
        control: own_address(8000),
        store: own_address(8080),
        names: own_address(5300),
        names_api: own_address(8081),
        resolver: own_address(5300),
        messages: own_address(8080),
        packages: own_address(8080),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_has_its_services_and_its_secrets_open_them() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = WorldSecrets::generate(&folder.path().join("secrets")).unwrap();
    let at = addresses();
    let machines = Arc::new(Paper::default());
    let mut services = Services::start(folder.path(), at, 2, &secrets, machines)
        .await
        .unwrap();
    let servers = format!("http://{}/v1/servers", at.hetzner);
    let list = async |token: &str| client().get(&servers).bearer_auth(token).send().await;
    for token in [
        secrets.hcloud_token(),
        secrets.hcloud_readonly_token(),
        secrets.hcloud_drill_token(),
    ] {
        assert_eq!(list(token).await.unwrap().status(), 200);
    }
    let body = Some(order("db-1", json!({})));
    assert_eq!(
        services
            .hetzner
            .ask("default", Method::POST, "/servers", body)
            .await
            .0,
        201
    );
    services.hetzner.settled().await;
    assert!(services.bucket().ends_with(BUCKET) && services.bucket().is_dir());
    assert_eq!(
        client()
            .get(format!("http://{}/{BUCKET}", at.store))
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    let zones = format!("http://{}/api/v1/servers/localhost/zones", at.names_api);
    let zones = client()
        .get(zones)
        .header("x-api-key", secrets.powerdns_key())
        .send();
    assert!(
        zones
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .contains("shop.example.")
    );

    services.take_away(Part::Hetzner);
    let refused = async {
        while list(secrets.hcloud_token()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), refused)
        .await
        .unwrap();
    services.bring_back(Part::Hetzner, &secrets).await.unwrap();
    let back = list(secrets.hcloud_token())
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(back.contains("db-1"), "servers outlive their API: {back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_whose_address_is_taken_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = WorldSecrets::generate(&folder.path().join("secrets")).unwrap();
    let at = addresses();
    let _taken = std::net::TcpListener::bind(at.hetzner).unwrap();
    let machines = Arc::new(Paper::default());
    match Services::start(folder.path(), at, 2, &secrets, machines).await {
        Err(error @ ServicesError::Listen { .. }) => {
            assert!(
                error.to_string().contains(&at.hetzner.to_string()),
                "{error}"
            );
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two servers on one address"),
    }
}

#[test]
fn the_services_of_a_world_need_six_addresses_on_its_loopback() {
    let wanted: Vec<_> = Addresses::of_world()
        .on_loopback()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        wanted,
        [
            "198.18.255.1",
            "198.18.255.2",
            "198.18.255.3",
            "198.18.255.4",
            "198.18.255.5",
            "198.18.255.6"
        ]
    );
}
