//! Record sets of a zone (<https://docs.hetzner.cloud/reference/cloud#zone-rrsets>). PUT changes labels only; values
//! and lifetime have actions of their own.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use super::Hetzner;
use super::cloud::Cloud;
use super::gate::{Caller, Effects};
use super::listing::{Query, labels_of, page, sort};
use super::order::{object, read_labels};
use super::publish::Change;
use super::records::{Set, check_set, read_records, read_ttl};
use super::refusal::Refusal;
use super::zones::{Zone, find};

type Answer = Result<Response, Refusal>;

/// A zone that can be changed here.
fn primary(cloud: &Cloud, caller: &Caller, key: &str) -> Result<Zone, Refusal> {
    let zone = find(cloud, caller, key)?.clone();
    if zone.secondary {
        let why = "this operation is not supported for this Zone's mode";
        return Err(Refusal::new(422, "incorrect_zone_mode", why));
    }
    Ok(zone)
}

fn set_of(zone: &Zone, name: &str, kind: &str) -> Result<Set, Refusal> {
    let key = (name.to_owned(), kind.to_owned());
    zone.sets
        .get(&key)
        .cloned()
        .ok_or_else(|| Refusal::not_found("RRSet"))
}

pub async fn list(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let selector = query.selector()?;
    let zone = find(&api.cloud(), &caller, &key)?.clone();
    let mut items: Vec<Value> = zone
        .sets
        .iter()
        .filter(|((name, kind), _)| query.lets("name", name) && query.lets("type", kind))
        .map(|((name, kind), set)| set.json(zone.id, name, kind))
        .filter(|item| selector.picks(&labels_of(item)))
        .collect();
    sort(&query, &["id", "name", "created"], &mut items)?;
    page(&query, &format!("/v1/zones/{key}/rrsets"), "rrsets", items)
}

pub async fn get(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path((key, name, kind)): Path<(String, String, String)>,
) -> Answer {
    let zone = find(&api.cloud(), &caller, &key)?.clone();
    let set = set_of(&zone, &name, &kind)?;
    let body = json!({ "rrset": set.json(zone.id, &name, &kind) });
    Ok(Json(body).into_response())
}

pub async fn create(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    Path(key): Path<String>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let mut cloud = api.cloud();
    let zone = primary(&cloud, &caller, &key)?;
    let mut wrong = Vec::new();
    let Some(((name, kind), set)) = check_set(&body, &zone.name, &mut wrong) else {
        return Err(Refusal::fields(&wrong));
    };
    if zone.sets.contains_key(&(name.clone(), kind.clone())) {
        return Err(Refusal::taken("name", "RRSet already exists"));
    }
    let beside = |(other, other_kind): &(String, String)| {
        *other == name && (kind == "CNAME" || other_kind == "CNAME")
    };
    if zone.sets.keys().any(beside) {
        let why = "a CNAME cannot stand beside other records of its name";
        return Err(Refusal::field("type", why));
    }
    let shown = set.json(zone.id, &name, &kind);
    let action = cloud.begin_on(&caller.project, "zone", zone.id, "create_rrset");
    if let Some(zone) = cloud.zones.get_mut(&zone.id) {
        zone.sets.insert((name.clone(), kind.clone()), set);
    }
    drop(cloud);
    api.publish(action.id, zone.id, Change::Set(name, kind, None), effects);
    let body = json!({ "rrset": shown, "action": action.json() });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

pub async fn update(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path((key, name, kind)): Path<(String, String, String)>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let mut cloud = api.cloud();
    let zone = primary(&cloud, &caller, &key)?;
    let mut set = set_of(&zone, &name, &kind)?;
    let mut wrong = Vec::new();
    for field in body.keys().filter(|field| *field != "labels") {
        wrong.push((field.clone(), "is not a known field".to_owned()));
    }
    set.labels = read_labels(body.get("labels"), &mut wrong);
    if !wrong.is_empty() {
        return Err(Refusal::fields(&wrong));
    }
    let body = json!({ "rrset": set.json(zone.id, &name, &kind) });
    if let Some(zone) = cloud.zones.get_mut(&zone.id) {
        zone.sets.insert((name, kind), set);
    }
    Ok(Json(body).into_response())
}

pub async fn delete(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    Path((key, name, kind)): Path<(String, String, String)>,
) -> Answer {
    change(
        &api,
        &caller,
        effects,
        (&key, &name, &kind),
        "delete_rrset",
        |_| Ok(None),
    )
}

pub async fn act(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    Path((key, name, kind, verb)): Path<(String, String, String, String)>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let allowed: &[&str] = match verb.as_str() {
        "set_records" | "remove_records" => &["records"],
        "add_records" => &["records", "ttl"],
        "change_ttl" => &["ttl"],
        "change_protection" => &["change"],
        _ => {
            let why = format!("the sandbox does not simulate the action `{verb}`");
            return Err(Refusal::new(501, "not_simulated", why));
        }
    };
    let mut wrong = Vec::new();
    for field in body.keys() {
        if !allowed.contains(&field.as_str()) {
            wrong.push((field.clone(), "is not a known field".to_owned()));
        }
    }
    if verb == "change_ttl" && !body.contains_key("ttl") {
        wrong.push(("ttl".to_owned(), "missing".to_owned()));
    }
    if verb == "change_protection" && body.get("change").and_then(Value::as_bool).is_none() {
        wrong.push(("change".to_owned(), "must be true or false".to_owned()));
    }
    let ttl = read_ttl(body.get("ttl"), &mut wrong);
    let records = if allowed.contains(&"records") {
        read_records(body.get("records"), &kind, &mut wrong)
    } else {
        Vec::new()
    };
    if !wrong.is_empty() {
        return Err(Refusal::fields(&wrong));
    }
    if verb == "add_records" {
        return add(&api, &caller, effects, (&key, &name, &kind), ttl, records);
    }
    let command = match verb.as_str() {
        "set_records" => "set_rrset_records",
        "remove_records" => "remove_rrset_records",
        "change_ttl" => "change_rrset_ttl",
        _ => "change_rrset_protection",
    };
    change(
        &api,
        &caller,
        effects,
        (&key, &name, &kind),
        command,
        |mut set| {
            match verb.as_str() {
                "set_records" => set.records = records,
                "change_ttl" => set.ttl = ttl,
                "change_protection" => set.protected = body["change"] == true,
                _ => {
                    for (value, _) in &records {
                        if set.records.iter().all(|(stands, _)| stands != value) {
                            let why = format!("record '{value}' not found");
                            return Err(Refusal::field("records", why));
                        }
                    }
                    set.records
                        .retain(|(stands, _)| records.iter().all(|(value, _)| value != stands));
                }
            }
            Ok((!set.records.is_empty()).then_some(set))
        },
    )
}

/// Adds to a set, which is made if there is none.
fn add(
    api: &Hetzner,
    caller: &Caller,
    effects: Effects,
    place: (&str, &str, &str),
    ttl: Option<u32>,
    records: Vec<(String, String)>,
) -> Answer {
    let (key, name, kind) = place;
    let zone = primary(&api.cloud(), caller, key)?;
    if set_of(&zone, name, kind).is_err() {
        let body: Map<String, Value> = [
            ("name", json!(name)),
            ("type", json!(kind)),
            ("ttl", json!(ttl)),
        ]
        .into_iter()
        .map(|(field, value)| (field.to_owned(), value))
        .chain([(
            "records".to_owned(),
            records
                .iter()
                .map(|(value, comment)| json!({ "value": value, "comment": comment }))
                .collect(),
        )])
        .collect();
        let mut wrong = Vec::new();
        let Some((own, set)) = check_set(&body, &zone.name, &mut wrong) else {
            return Err(Refusal::fields(&wrong));
        };
        let mut cloud = api.cloud();
        let action = cloud.begin_on(&caller.project, "zone", zone.id, "add_rrset_records");
        if let Some(zone) = cloud.zones.get_mut(&zone.id) {
            zone.sets.insert(own.clone(), set);
        }
        drop(cloud);
        api.publish(action.id, zone.id, Change::Set(own.0, own.1, None), effects);
        let body = json!({ "action": action.json() });
        return Ok((StatusCode::CREATED, Json(body)).into_response());
    }
    change(
        api,
        caller,
        effects,
        place,
        "add_rrset_records",
        |mut set| {
            if ttl.is_some() && ttl != set.ttl {
                return Err(Refusal::field("ttl", "differs from the set's own"));
            }
            for (value, comment) in records {
                if set.records.iter().any(|(stands, _)| *stands == value) {
                    let why = format!("record '{value}' exists already");
                    return Err(Refusal::field("records", why));
                }
                set.records.push((value, comment));
            }
            Ok(Some(set))
        },
    )
}

/// Changes one set; `None` takes it away.
fn change(
    api: &Hetzner,
    caller: &Caller,
    effects: Effects,
    (key, name, kind): (&str, &str, &str),
    command: &'static str,
    how: impl FnOnce(Set) -> Result<Option<Set>, Refusal>,
) -> Answer {
    let mut cloud = api.cloud();
    let zone = primary(&cloud, caller, key)?;
    let before = set_of(&zone, name, kind)?;
    if before.protected && command != "change_rrset_protection" {
        return Err(Refusal::new(423, "protected", "RRSet is change protected"));
    }
    if kind == "SOA" {
        return Err(Refusal::field("type", "SOA cannot be changed"));
    }
    let after = how(before.clone())?;
    let own = (name.to_owned(), kind.to_owned());
    let action = cloud.begin_on(&caller.project, "zone", zone.id, command);
    if let Some(zone) = cloud.zones.get_mut(&zone.id) {
        match after {
            Some(set) => zone.sets.insert(own.clone(), set),
            None => zone.sets.remove(&own),
        };
    }
    drop(cloud);
    let what = if command == "change_rrset_protection" {
        Change::Nothing
    } else {
        Change::Set(own.0, own.1, Some(before))
    };
    api.publish(action.id, zone.id, what, effects);
    let body = json!({ "action": action.json() });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
