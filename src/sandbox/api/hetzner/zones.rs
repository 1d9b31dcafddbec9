//! DNS zones of a project (<https://docs.hetzner.cloud/reference/cloud#zones>).

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Hetzner;
use super::cloud::{Action, Cloud, shown};
use super::gate::{Caller, Effects};
use super::labels::Labels;
use super::listing::{Query, page, sort};
use super::order::{object, read_labels};
use super::publish::Change;
use super::records::{Set, check_set, is_name, read_ttl};
use super::refusal::Refusal;

type Answer = Result<Response, Refusal>;

const NAMESERVERS: [&str; 3] = [
    "hydrogen.ns.hetzner.com.",
    "oxygen.ns.hetzner.com.",
    "helium.ns.hetzner.de.",
];

/// A zone of one project.
#[derive(Clone, Debug)]
pub struct Zone {
    pub id: i64,
    pub project: String,
    pub name: String,
    /// Changed elsewhere, and only fetched from there.
    pub secondary: bool,
    pub ttl: u32,
    pub labels: Labels,
    pub protected: bool,
    pub created: Timestamp,
    /// By relative name and type.
    pub sets: BTreeMap<(String, String), Set>,
}

impl Zone {
    fn json(&self, cloud: &Cloud) -> Value {
        let records: usize = self.sets.values().map(|set| set.records.len()).sum();
        let updating = cloud.locked(self.id);
        json!({
            "id": self.id,
            "name": self.name,
            "mode": if self.secondary { "secondary" } else { "primary" },
            "ttl": self.ttl,
            "labels": self.labels,
            "primary_nameservers": [],
            "created": shown(self.created),
            "protection": { "delete": self.protected },
            "status": if updating { "updating" } else { "ok" },
            "authoritative_nameservers": {
                "assigned": NAMESERVERS,
                "delegated": NAMESERVERS,
                "delegation_last_check": shown(self.created),
                "delegation_status": "valid",
            },
            "record_count": records,
            "registrar": "other",
        })
    }

    /// Name, project and sets, for a person or a file.
    pub fn dump(&self) -> Value {
        let sets = self.sets.iter();
        let sets: Vec<Value> = sets
            .map(|((name, kind), set)| set.json(self.id, name, kind))
            .collect();
        json!({ "id": self.id, "name": self.name, "project": self.project, "rrsets": sets })
    }

    /// The sets that every primary zone is born with.
    fn born() -> BTreeMap<(String, String), Set> {
        let set = |values: Vec<String>| Set {
            ttl: None,
            records: values
                .into_iter()
                .map(|value| (value, String::new()))
                .collect(),
            labels: Labels::new(),
            protected: false,
        };
        let soa = "hydrogen.ns.hetzner.com. dns.hetzner.com. 2026010100 86400 10800 3600000 3600";
        BTreeMap::from([
            (
                ("@".to_owned(), "NS".to_owned()),
                set(NAMESERVERS.map(str::to_owned).to_vec()),
            ),
            (
                ("@".to_owned(), "SOA".to_owned()),
                set(vec![soa.to_owned()]),
            ),
        ])
    }
}

/// By id or by name, as this part of the API allows.
pub fn find<'a>(cloud: &'a Cloud, caller: &Caller, key: &str) -> Result<&'a Zone, Refusal> {
    cloud
        .zones
        .values()
        .find(|zone| {
            zone.project == caller.project && (zone.name == key || zone.id.to_string() == key)
        })
        .ok_or_else(|| Refusal::not_found("Zone"))
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
        let mine = cloud.zones.values().filter(|zone| {
            zone.project == caller.project
                && query.lets("name", &zone.name)
                && query.lets(
                    "mode",
                    if zone.secondary {
                        "secondary"
                    } else {
                        "primary"
                    },
                )
                && selector.picks(&zone.labels)
        });
        mine.map(|zone| zone.json(&cloud)).collect()
    };
    sort(&query, &["id", "name", "created"], &mut items)?;
    page(&query, "/v1/zones", "zones", items)
}

pub async fn get(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
) -> Answer {
    let cloud = api.cloud();
    let zone = find(&cloud, &caller, &key)?;
    Ok(Json(json!({ "zone": zone.json(&cloud) })).into_response())
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
            "name",
            "mode",
            "ttl",
            "labels",
            "primary_nameservers",
            "rrsets",
        ];
        if !known.contains(&field.as_str()) {
            let why = if field == "zonefile" {
                "the sandbox reads no zone files"
            } else {
                "is not a known field"
            };
            wrong.push((field.clone(), why.to_owned()));
        }
    }
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    if !is_name(name) || !name.contains('.') || name.contains('*') {
        wrong.push((
            "name".to_owned(),
            "must be a domain in lower case, without a final dot".to_owned(),
        ));
    }
    let secondary = match body.get("mode").and_then(Value::as_str) {
        Some("primary") => false,
        Some("secondary") => true,
        _ => {
            wrong.push(("mode".to_owned(), "must be primary or secondary".to_owned()));
            false
        }
    };
    let ttl = read_ttl(body.get("ttl"), &mut wrong).unwrap_or(3600);
    let labels = read_labels(body.get("labels"), &mut wrong);
    let mut sets = if secondary {
        BTreeMap::new()
    } else {
        Zone::born()
    };
    for item in body
        .get("rrsets")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let object = item.as_object().cloned().unwrap_or_default();
        if let Some((key, set)) = check_set(&object, name, &mut wrong) {
            sets.insert(key, set);
        }
    }
    if !wrong.is_empty() {
        return Err(Refusal::fields(&wrong));
    }
    let mut cloud = api.cloud();
    if cloud.zones.values().any(|zone| zone.name == name) {
        return Err(Refusal::taken("name", "zone name is already used"));
    }
    let zone = Zone {
        id: cloud.zone_id(),
        project: caller.project.clone(),
        name: name.to_owned(),
        secondary,
        ttl,
        labels,
        protected: false,
        created: Timestamp::now(),
        sets,
    };
    let id = zone.id;
    cloud.zones.insert(id, zone);
    let action = cloud.begin_on(&caller.project, "zone", id, "create_zone");
    let shown = find(&cloud, &caller, &id.to_string())?.json(&cloud);
    drop(cloud);
    api.publish(action.id, id, Change::Zone, effects);
    let body = json!({ "zone": shown, "action": action.json() });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

pub async fn delete(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    Path(key): Path<String>,
) -> Answer {
    let mut cloud = api.cloud();
    let zone = find(&cloud, &caller, &key)?.clone();
    if zone.protected {
        return Err(Refusal::new(423, "protected", "zone is delete protected"));
    }
    cloud.zones.remove(&zone.id);
    let action = cloud.begin_on(&caller.project, "zone", zone.id, "delete_zone");
    drop(cloud);
    api.publish(action.id, zone.id, Change::Gone(zone.name), effects);
    let body = json!({ "action": action.json() });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// The actions of one zone.
pub async fn actions(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let (id, mut items) = {
        let cloud = api.cloud();
        let id = find(&cloud, &caller, &key)?.id;
        let own = cloud.actions.values().filter(|action| {
            action.of == "zone" && action.server == id && query.lets("status", action.status)
        });
        (id, own.map(Action::json).collect::<Vec<_>>())
    };
    let fields = ["id", "command", "status", "started", "finished"];
    sort(&query, &fields, &mut items)?;
    page(&query, &format!("/v1/zones/{id}/actions"), "actions", items)
}

/// Those of all zones, or of the ids that are named.
pub async fn all_actions(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let mut items: Vec<Value> = {
        let cloud = api.cloud();
        let own = cloud.actions.values().filter(|action| {
            action.of == "zone"
                && action.project == caller.project
                && query.lets("id", &action.id.to_string())
                && query.lets("status", action.status)
        });
        own.map(Action::json).collect()
    };
    let fields = ["id", "command", "status", "started", "finished"];
    sort(&query, &fields, &mut items)?;
    page(&query, "/v1/zones/actions", "actions", items)
}
