//! Floating IPs: addresses that are assigned to servers and moved between them
//! (<https://docs.hetzner.cloud/reference/cloud#floating-ips>). The world routes them to the machine; whether that takes
//! them is its own affair, as in the real cloud.

use std::net::Ipv4Addr;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Hetzner;
use super::catalogue::{Location, location};
use super::cloud::shown;
use super::gate::{Caller, Effects};
use super::labels::Labels;
use super::listing::{Query, labels_of, page, sort};
use super::order::{object, read_labels};
use super::refusal::Refusal;
use super::work::Job;

type Answer = Result<Response, Refusal>;

/// An address of one project.
#[derive(Clone, Debug)]
pub struct FloatingIp {
    pub id: i64,
    pub project: String,
    pub name: String,
    pub ip: Ipv4Addr,
    pub server: Option<i64>,
    pub home: &'static Location,
    pub labels: Labels,
    pub created: Timestamp,
}

impl FloatingIp {
    pub fn json(&self) -> Value {
        let [a, b, c, d] = self.ip.octets();
        let name = format!("static.{d}.{c}.{b}.{a}.clients.your-server.de");
        json!({
            "id": self.id,
            "name": self.name,
            "description": "",
            "ip": self.ip.to_string(),
            "type": "ipv4",
            "server": self.server,
            "dns_ptr": [{ "ip": self.ip.to_string(), "dns_ptr": name }],
            "home_location": self.home.json(),
            "blocked": false,
            "protection": { "delete": false },
            "labels": self.labels,
            "created": shown(self.created),
        })
    }
}

fn find(api: &Hetzner, caller: &Caller, id: &str) -> Result<FloatingIp, Refusal> {
    let cloud = api.cloud();
    id.parse()
        .ok()
        .and_then(|id: i64| cloud.floating_ips.get(&id))
        .filter(|one| one.project == caller.project)
        .cloned()
        .ok_or_else(|| Refusal::not_found("floating IP"))
}

pub async fn list(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let selector = query.selector()?;
    let mut items: Vec<Value> = {
        let cloud = api.cloud();
        let mine = cloud.floating_ips.values();
        mine.filter(|one| one.project == caller.project && query.lets("name", &one.name))
            .map(FloatingIp::json)
            .filter(|item| selector.picks(&labels_of(item)))
            .collect()
    };
    sort(&query, &["id", "created"], &mut items)?;
    page(&query, "/v1/floating_ips", "floating_ips", items)
}

pub async fn get(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let found = find(&api, &caller, &id)?;
    Ok(Json(json!({ "floating_ip": found.json() })).into_response())
}

pub async fn create(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let mut wrong = Vec::new();
    for field in body.keys() {
        let known = [
            "type",
            "server",
            "home_location",
            "description",
            "name",
            "labels",
        ];
        if !known.contains(&field.as_str()) {
            wrong.push((field.clone(), "is not a known field".to_owned()));
        }
    }
    if body.get("type").and_then(Value::as_str) != Some("ipv4") {
        wrong.push(("type".to_owned(), "the sandbox has ipv4 only".to_owned()));
    }
    let labels = read_labels(body.get("labels"), &mut wrong);
    let server = match body.get("server") {
        None | Some(Value::Null) => None,
        Some(id) => Some(server(&api, &caller, Some(id))?),
    };
    let home = body.get("home_location").and_then(Value::as_str);
    let home = home.and_then(location).or_else(|| {
        let cloud = api.cloud();
        server.and_then(|id| location(cloud.servers[&id].location))
    });
    let Some(home) = home.filter(|_| wrong.is_empty()) else {
        if wrong.is_empty() {
            wrong.push(("home_location".to_owned(), "missing".to_owned()));
        }
        return Err(Refusal::fields(&wrong));
    };
    let mut cloud = api.cloud();
    let id = cloud.floating_ip_id();
    // TEST-NET-2 (RFC 5737): nothing of the world or around it has these.
    let taken = |last: u8| {
        let ip = Ipv4Addr::new(198, 51, 100, last);
        cloud.floating_ips.values().any(|one| one.ip == ip)
    };
    let last = (1..255).find(|last| !taken(*last));
    let last = last.ok_or_else(|| {
        Refusal::new(403, "resource_limit_exceeded", "floating IP limit exceeded")
    })?;
    let name = body.get("name").and_then(Value::as_str);
    let made = FloatingIp {
        id,
        project: caller.project.clone(),
        name: name.map_or_else(|| format!("floating-ip-{id}"), str::to_owned),
        ip: Ipv4Addr::new(198, 51, 100, last),
        server,
        home,
        labels,
        created: Timestamp::now(),
    };
    let mut answer = json!({ "floating_ip": made.json() });
    let ip = made.ip;
    cloud.floating_ips.insert(id, made);
    if let Some(server) = server {
        let action = cloud.begin_on(&caller.project, "floating_ip", id, "assign_floating_ip");
        answer["action"] = action.json();
        drop(cloud);
        api.carry_out(id, vec![(action.id, Job::Route(ip, Some(server)))], effects);
    }
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

pub async fn delete(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let found = find(&api, &caller, &id)?;
    api.cloud().floating_ips.remove(&found.id);
    let _ = api.0.machines.route(found.ip, None).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The id of a server of the project.
fn server(api: &Hetzner, caller: &Caller, id: Option<&Value>) -> Result<i64, Refusal> {
    let id = id.and_then(Value::as_i64);
    let cloud = api.cloud();
    id.filter(|id| {
        let found = cloud.servers.get(id);
        found.is_some_and(|server| server.project == caller.project)
    })
    .ok_or_else(|| Refusal::field("server", "server not found"))
}

pub async fn act(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    Path((id, verb)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let found = find(&api, &caller, &id)?;
    let (command, wanted) = match verb.as_str() {
        "unassign" => ("unassign_floating_ip", None),
        "assign" => {
            let body = object(&body)?;
            if let Some(field) = body.keys().find(|field| *field != "server") {
                return Err(Refusal::field(field, "is not a known field"));
            }
            let id = server(&api, &caller, body.get("server"))?;
            let zone = location(api.cloud().servers[&id].location).map(Location::zone);
            if zone != Some(found.home.zone()) {
                let why = "the server is in another network zone";
                return Err(Refusal::field("server", why));
            }
            ("assign_floating_ip", Some(id))
        }
        _ => {
            let why = format!("the sandbox does not simulate the action `{verb}`");
            return Err(Refusal::new(501, "not_simulated", why));
        }
    };
    let mut cloud = api.cloud();
    if cloud.locked(found.id) {
        return Err(Refusal::locked("floating IP"));
    }
    if let Some(one) = cloud.floating_ips.get_mut(&found.id) {
        one.server = wanted;
    }
    let action = cloud.begin_on(&caller.project, "floating_ip", found.id, command);
    drop(cloud);
    let job = Job::Route(found.ip, wanted);
    api.carry_out(found.id, vec![(action.id, job)], effects);
    let body = json!({ "action": action.json() });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
