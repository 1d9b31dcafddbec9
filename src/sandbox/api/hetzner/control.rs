//! The levers of this cloud, for tests and for `sandbox break`. They stand on an address of their
//! own; the API itself knows nothing of them.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Hetzner;
use super::listing::Query;
use crate::sandbox::api::FaultRule;
use crate::sandbox::api::faults::matches;

/// Room at a location, for one type or for all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Capacity {
    location: String,
    #[serde(default)]
    server_type: Option<String>,
    available: bool,
}

impl Hetzner {
    /// - `GET /_sandbox/ledger[?method=&path=&after=NUMBER]` every call, in order of arrival
    /// - `GET /_sandbox/servers[?label_selector=]` servers alive, in all projects
    /// - `GET /_sandbox/state` all records, the machines behind them, faults
    /// - `GET | POST | DELETE /_sandbox/faults`, `DELETE /_sandbox/faults/{number}`
    /// - `POST /_sandbox/capacity` `{location, server_type?, available}`
    pub fn control_router(&self) -> Router {
        Router::new()
            .route("/_sandbox/ledger", get(ledger))
            .route("/_sandbox/servers", get(servers))
            .route("/_sandbox/state", get(state))
            .route("/_sandbox/faults", get(faults).post(lay).delete(lift_all))
            .route("/_sandbox/faults/{number}", delete(lift))
            .route("/_sandbox/capacity", post(capacity))
            .with_state(self.clone())
    }

    /// Everything the cloud knows, for a person or a file.
    pub async fn dump(&self) -> Value {
        let machines = self.0.machines.list().await;
        let faults = self.faults().list();
        let cloud = self.cloud();
        let servers: Vec<Value> = cloud
            .servers
            .values()
            .map(|server| {
                let mut shown = cloud.server_json(server, self);
                shown["project"] = json!(server.project);
                shown["machine"] = json!(server.machine);
                shown["user_data"] = json!(server.user_data);
                shown
            })
            .collect();
        let actions: Vec<Value> = cloud
            .actions
            .values()
            .map(super::cloud::Action::json)
            .collect();
        let keys: Vec<Value> = cloud
            .keys
            .values()
            .map(super::cloud::SshKey::json)
            .collect();
        let closed: Vec<_> = cloud.closed.iter().collect();
        json!({
            "servers": servers,
            "actions": actions,
            "ssh_keys": keys,
            "floating_ips": cloud.floating_ips.values().map(super::floating_ips::FloatingIp::json).collect::<Vec<_>>(),
            "firewalls": cloud.firewalls.values().map(super::firewalls::Firewall::json).collect::<Vec<_>>(),
            "snapshots": cloud.snapshots.values().map(super::images::Snapshot::json).collect::<Vec<_>>(),
            "zones": cloud.zones.values().map(super::zones::Zone::dump).collect::<Vec<_>>(),
            "closed": closed,
            "machines": machines,
            "faults": faults,
        })
    }
}

fn refused(why: impl ToString) -> Response {
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        Json(json!({ "error": why.to_string() })),
    )
        .into_response()
}

async fn ledger(State(api): State<Hetzner>, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(query.as_deref());
    let after: u64 = query
        .one("after")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let path = query.one("path").unwrap_or("*");
    let calls: Vec<_> = api
        .ledger()
        .calls()
        .into_iter()
        .filter(|call| {
            call.number > after && query.lets("method", &call.method) && matches(path, &call.path)
        })
        .collect();
    Json(json!({ "calls": calls })).into_response()
}

async fn servers(State(api): State<Hetzner>, RawQuery(query): RawQuery) -> Response {
    let query = Query::parse(query.as_deref());
    match api.alive(query.one("label_selector").unwrap_or_default()) {
        Ok(servers) => Json(json!({ "servers": servers })).into_response(),
        Err(why) => refused(why),
    }
}

async fn state(State(api): State<Hetzner>) -> Json<Value> {
    Json(api.dump().await)
}

async fn faults(State(api): State<Hetzner>) -> Json<Value> {
    Json(json!({ "faults": api.faults().list() }))
}

async fn lay(State(api): State<Hetzner>, body: Bytes) -> Response {
    match serde_json::from_slice::<FaultRule>(&body) {
        Ok(rule) => {
            let number = api.faults().lay(rule);
            (StatusCode::CREATED, Json(json!({ "number": number }))).into_response()
        }
        Err(error) => refused(error),
    }
}

async fn lift(State(api): State<Hetzner>, Path(number): Path<u64>) -> StatusCode {
    if api.faults().lift(number) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn lift_all(State(api): State<Hetzner>) -> StatusCode {
    api.faults().lift_all();
    StatusCode::NO_CONTENT
}

async fn capacity(State(api): State<Hetzner>, body: Bytes) -> Response {
    match serde_json::from_slice::<Capacity>(&body) {
        Ok(wanted) => {
            let server_type = wanted.server_type.as_deref();
            api.set_available(&wanted.location, server_type, wanted.available);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refused(error),
    }
}
