//! The name servers of a simulated cloud: what its API was told becomes visible to real questions here.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::powerdns::{Key, call};
use super::{NamesError, TTL};

/// A server away for longer makes the cloud's action end in an error.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where the zones of a cloud are served.
#[async_trait]
pub trait NameServers: Send + Sync {
    /// Serves a zone that was not served before. The error is in words.
    async fn add_zone(&self, zone: &str) -> Result<(), String>;

    /// Serves these values for a whole name (`www.shop.example`) and type, or none at all.
    async fn set(
        &self,
        zone: &str,
        name: &str,
        kind: &str,
        ttl: u32,
        values: &[String],
    ) -> Result<(), String>;

    /// Serves a zone no more.
    async fn drop_zone(&self, zone: &str) -> Result<(), String>;
}

/// The sandbox's PowerDNS as the name server of somebody else's zones. It may be down for a while.
pub struct Publisher {
    api: SocketAddr,
    key: Key,
}

impl Publisher {
    /// Nothing is sent yet.
    pub fn new(api: SocketAddr, key: &str) -> Publisher {
        Publisher {
            api,
            key: Key(key.to_owned()),
        }
    }

    /// Calls the API until it answers anything at all, good or bad.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<(), String> {
        let until = Instant::now() + DEADLINE;
        loop {
            let path = format!("/api/v1/servers/localhost/zones{path}");
            match call(self.api, &self.key, method.clone(), &path, body.clone()).await {
                Ok(_) => return Ok(()),
                Err(NamesError::Api { why, .. })
                    if why.starts_with(|first: char| !first.is_ascii_digit())
                        && Instant::now() < until =>
                {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

#[async_trait]
impl NameServers for Publisher {
    async fn add_zone(&self, zone: &str) -> Result<(), String> {
        let body = json!({
            "name": format!("{zone}."), "kind": "Native", "nameservers": [],
            "soa_edit_api": "INCREASE",
            "rrsets": [{
                "name": format!("{zone}."), "type": "SOA", "ttl": TTL,
                "records": [{
                    "content": format!("hydrogen.ns.hetzner.com. dns.hetzner.com. 1 10800 3600 604800 {TTL}"),
                    "disabled": false,
                }],
            }],
        });
        self.call(Method::POST, "", Some(body)).await
    }

    async fn set(
        &self,
        zone: &str,
        name: &str,
        kind: &str,
        ttl: u32,
        values: &[String],
    ) -> Result<(), String> {
        let records: Vec<Value> = values
            .iter()
            .map(|value| json!({ "content": value, "disabled": false }))
            .collect();
        let body = json!({ "rrsets": [{
            "name": format!("{name}."), "type": kind, "ttl": ttl,
            "changetype": "REPLACE", "records": records,
        }]});
        self.call(Method::PATCH, &format!("/{zone}."), Some(body))
            .await
    }

    async fn drop_zone(&self, zone: &str) -> Result<(), String> {
        self.call(Method::DELETE, &format!("/{zone}."), None).await
    }
}
