//! Firewalls: rule sets and the servers they stand before (<https://docs.hetzner.cloud/reference/cloud#firewalls>).
//!
//! The sandbox keeps them as records and filters nothing: packets pass whatever the rules say.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Hetzner;
use super::cloud::shown;
use super::gate::{Caller, Effects};
use super::labels::Labels;
use super::listing::{Query, labels_of, page, sort};
use super::order::{object, read_labels};
use super::refusal::Refusal;
use super::work::Job;

type Answer = Result<Response, Refusal>;
type Wrong = Vec<(String, String)>;

const MOST_RULES: usize = 50;

/// A firewall of one project.
#[derive(Clone, Debug)]
pub struct Firewall {
    pub id: i64,
    pub project: String,
    pub name: String,
    pub labels: Labels,
    pub rules: Vec<Value>,
    pub servers: Vec<i64>,
    pub created: Timestamp,
}

impl Firewall {
    pub fn json(&self) -> Value {
        let applied: Vec<Value> = self
            .servers
            .iter()
            .map(|id| json!({ "type": "server", "server": { "id": id } }))
            .collect();
        json!({
            "id": self.id,
            "name": self.name,
            "labels": self.labels,
            "created": shown(self.created),
            "rules": self.rules,
            "applied_to": applied,
        })
    }
}

fn find(api: &Hetzner, caller: &Caller, id: &str) -> Result<Firewall, Refusal> {
    let cloud = api.cloud();
    id.parse()
        .ok()
        .and_then(|id: i64| cloud.firewalls.get(&id))
        .filter(|one| one.project == caller.project)
        .cloned()
        .ok_or_else(|| Refusal::not_found("firewall"))
}

/// Rules as the reference words them; each comes back with all its fields.
fn read_rules(value: Option<&Value>, wrong: &mut Wrong) -> Vec<Value> {
    let items = match value {
        None => return Vec::new(),
        Some(Value::Array(items)) => items.clone(),
        Some(_) => {
            wrong.push(("rules".to_owned(), "must be a list".to_owned()));
            return Vec::new();
        }
    };
    if items.len() > MOST_RULES {
        wrong.push(("rules".to_owned(), format!("{MOST_RULES} at most")));
    }
    let mut read = Vec::new();
    for item in &items {
        match item
            .as_object()
            .ok_or("must be an object".to_owned())
            .and_then(read_rule)
        {
            Ok(rule) => read.push(rule),
            Err(why) => wrong.push(("rules".to_owned(), why)),
        }
    }
    read
}

fn read_rule(rule: &Map<String, Value>) -> Result<Value, String> {
    let known = [
        "description",
        "direction",
        "source_ips",
        "destination_ips",
        "protocol",
        "port",
    ];
    if let Some(field) = rule.keys().find(|field| !known.contains(&field.as_str())) {
        return Err(format!("'{field}' is not a known field"));
    }
    let text = |field: &str| rule.get(field).and_then(Value::as_str);
    let networks = |field: &str| -> Result<Vec<String>, String> {
        let items = match rule.get(field) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(format!("{field} must be a list")),
        };
        let read = items.iter().map(|item| {
            let text = item.as_str().unwrap_or_default();
            let sound = text.split_once('/').is_some_and(|(address, length)| {
                address.parse::<std::net::IpAddr>().is_ok() && length.parse::<u8>().is_ok()
            });
            sound
                .then(|| text.to_owned())
                .ok_or_else(|| format!("{item} is not in CIDR notation"))
        });
        read.collect()
    };
    let (sources, destinations) = (networks("source_ips")?, networks("destination_ips")?);
    match text("direction") {
        Some("in") if !sources.is_empty() && destinations.is_empty() => {}
        Some("out") if !destinations.is_empty() && sources.is_empty() => {}
        Some("in") => return Err("in: source_ips are required, and nothing else".to_owned()),
        Some("out") => return Err("out: destination_ips are required, and nothing else".to_owned()),
        _ => return Err("direction must be in or out".to_owned()),
    }
    let port = text("port");
    match text("protocol") {
        Some("tcp" | "udp") if port.is_some() => {}
        Some("tcp" | "udp") => return Err("tcp and udp need a port".to_owned()),
        Some("icmp" | "esp" | "gre") if !rule.contains_key("port") => {}
        Some("icmp" | "esp" | "gre") => return Err("only tcp and udp have ports".to_owned()),
        _ => return Err("protocol is not a known one".to_owned()),
    }
    Ok(json!({
        "description": rule.get("description").cloned().unwrap_or_default(),
        "direction": rule["direction"],
        "source_ips": sources,
        "destination_ips": destinations,
        "protocol": rule["protocol"],
        "port": port,
    }))
}

/// The servers of `apply_to` or `remove_from`.
fn read_servers(
    api: &Hetzner,
    caller: &Caller,
    field: &str,
    value: Option<&Value>,
) -> Result<Vec<i64>, Refusal> {
    let items = match value {
        None => return Ok(Vec::new()),
        Some(value) => value.as_array().cloned().unwrap_or_default(),
    };
    let cloud = api.cloud();
    let mut servers = Vec::new();
    for item in &items {
        if item["type"] != "server" {
            let why = "the sandbox applies firewalls to servers by their ids only";
            return Err(Refusal::field(field, why));
        }
        let id = item["server"]["id"].as_i64().unwrap_or_default();
        let known = cloud.servers.get(&id);
        if known.is_none_or(|server| server.project != caller.project) {
            return Err(Refusal::field(field, format!("server {id} not found")));
        }
        servers.push(id);
    }
    Ok(servers)
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
        let mine = cloud.firewalls.values();
        mine.filter(|one| one.project == caller.project && query.lets("name", &one.name))
            .map(Firewall::json)
            .filter(|item| selector.picks(&labels_of(item)))
            .collect()
    };
    sort(&query, &["id", "name", "created"], &mut items)?;
    page(&query, "/v1/firewalls", "firewalls", items)
}

pub async fn get(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let found = find(&api, &caller, &id)?;
    Ok(Json(json!({ "firewall": found.json() })).into_response())
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
        if !["name", "labels", "rules", "apply_to"].contains(&field.as_str()) {
            wrong.push((field.clone(), "is not a known field".to_owned()));
        }
    }
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() || name.len() > 128 {
        wrong.push((
            "name".to_owned(),
            "must have 1 to 128 characters".to_owned(),
        ));
    }
    let labels = read_labels(body.get("labels"), &mut wrong);
    let rules = read_rules(body.get("rules"), &mut wrong);
    if !wrong.is_empty() {
        return Err(Refusal::fields(&wrong));
    }
    let servers = read_servers(&api, &caller, "apply_to", body.get("apply_to"))?;
    let mut cloud = api.cloud();
    let taken = cloud
        .firewalls
        .values()
        .any(|one| one.project == caller.project && one.name == name);
    if taken {
        return Err(Refusal::taken("name", "firewall name is already used"));
    }
    let made = Firewall {
        id: cloud.firewall_id(),
        project: caller.project.clone(),
        name: name.to_owned(),
        labels,
        rules,
        servers,
        created: Timestamp::now(),
    };
    let (id, shown) = (made.id, made.json());
    cloud.firewalls.insert(id, made);
    let action = cloud.begin_on(&caller.project, "firewall", id, "set_firewall_rules");
    drop(cloud);
    api.carry_out(id, vec![(action.id, Job::Nothing)], effects);
    let body = json!({ "firewall": shown, "actions": [action.json()] });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

pub async fn delete(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let found = find(&api, &caller, &id)?;
    if !found.servers.is_empty() {
        let why = "firewall is still in use";
        return Err(Refusal::new(422, "resource_in_use", why));
    }
    api.cloud().firewalls.remove(&found.id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn act(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    Path((id, verb)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let mut firewall = find(&api, &caller, &id)?;
    let body = object(&body)?;
    let (command, field) = match verb.as_str() {
        "set_rules" => ("set_firewall_rules", "rules"),
        "apply_to_resources" => ("apply_firewall", "apply_to"),
        "remove_from_resources" => ("remove_firewall", "remove_from"),
        _ => {
            let why = format!("the sandbox does not simulate the action `{verb}`");
            return Err(Refusal::new(501, "not_simulated", why));
        }
    };
    if let Some(other) = body.keys().find(|other| *other != field) {
        return Err(Refusal::field(other, "is not a known field"));
    }
    if !body.contains_key(field) {
        return Err(Refusal::field(field, "missing"));
    }
    if verb == "set_rules" {
        let mut wrong = Vec::new();
        firewall.rules = read_rules(body.get("rules"), &mut wrong);
        if !wrong.is_empty() {
            return Err(Refusal::fields(&wrong));
        }
    } else {
        let servers = read_servers(&api, &caller, field, body.get(field))?;
        for server in servers {
            let there = firewall.servers.contains(&server);
            match (verb.as_str(), there) {
                ("apply_to_resources", true) => {
                    let why = "firewall is already applied to the server";
                    return Err(Refusal::new(422, "firewall_already_applied", why));
                }
                ("apply_to_resources", false) => firewall.servers.push(server),
                (_, true) => firewall.servers.retain(|id| *id != server),
                (_, false) => {
                    let why = "firewall is not applied to the server";
                    return Err(Refusal::new(422, "firewall_already_removed", why));
                }
            }
        }
    }
    let mut cloud = api.cloud();
    let id = firewall.id;
    cloud.firewalls.insert(id, firewall);
    let action = cloud.begin_on(&caller.project, "firewall", id, command);
    drop(cloud);
    api.carry_out(id, vec![(action.id, Job::Nothing)], effects);
    let body = json!({ "actions": [action.json()] });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
