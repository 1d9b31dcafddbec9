//! Servers once they are there: looking, renaming, labelling, power, deletion, and their actions.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::Hetzner;
use super::cloud::{Action, Cloud, Server};
use super::gate::{Caller, Effects};
use super::listing::{Query, page, sort};
use super::order::{is_host_name, object, read_labels};
use super::refusal::Refusal;
use super::work::Job;

type Answer = Result<Response, Refusal>;

/// The server of that id, if the caller's project has it and no fault hides it.
fn find<'a>(cloud: &'a Cloud, caller: &Caller, id: &str) -> Result<&'a Server, Refusal> {
    id.parse()
        .ok()
        .and_then(|id: i64| cloud.servers.get(&id))
        .filter(|server| server.project == caller.project && !server.is_hidden(false))
        .ok_or_else(|| Refusal::not_found("server"))
}

pub async fn list(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let selector = query.selector()?;
    api.look().await;
    let mut items: Vec<Value> = {
        let cloud = api.cloud();
        cloud
            .servers
            .values()
            .filter(|server| {
                server.project == caller.project
                    && !server.is_hidden(true)
                    && query.lets("name", &server.name)
                    && query.lets("status", server.status)
                    && selector.picks(&server.labels)
            })
            .map(|server| cloud.server_json(server, &api))
            .collect()
    };
    sort(&query, &["id", "name", "created"], &mut items)?;
    page(&query, "/v1/servers", "servers", items)
}

pub async fn get(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    api.look().await;
    let cloud = api.cloud();
    let server = find(&cloud, &caller, &id)?;
    Ok(Json(json!({ "server": cloud.server_json(server, &api) })).into_response())
}

pub async fn update(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let mut cloud = api.cloud();
    let id = find(&cloud, &caller, &id)?.id;
    let mut wrong = Vec::new();
    for field in body.keys() {
        if !["name", "labels"].contains(&field.as_str()) {
            wrong.push((field.clone(), "is not a known field".to_owned()));
        }
    }
    let labels = read_labels(body.get("labels"), &mut wrong);
    let name = body
        .get("name")
        .map(|name| name.as_str().unwrap_or_default());
    if name.is_some_and(|name| !is_host_name(name)) {
        wrong.push((
            "name".to_owned(),
            "is not a valid host name (RFC 1123)".to_owned(),
        ));
    }
    if !wrong.is_empty() {
        return Err(Refusal::fields(&wrong));
    }
    let taken = name.is_some_and(|name| {
        cloud.servers.values().any(|other| {
            other.id != id
                && other.project == caller.project
                && other.name.eq_ignore_ascii_case(name)
        })
    });
    if taken {
        return Err(Refusal::taken("name", "server name is already used"));
    }
    if let Some(server) = cloud.servers.get_mut(&id) {
        if let Some(name) = name {
            server.name = name.to_owned();
        }
        if body.contains_key("labels") {
            server.labels = labels;
        }
    }
    let server = find(&cloud, &caller, &id.to_string())?;
    Ok(Json(json!({ "server": cloud.server_json(server, &api) })).into_response())
}

/// The server leaves the account at once, so its name is free again; its machine goes after it.
pub async fn delete(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    Path(id): Path<String>,
) -> Answer {
    let mut cloud = api.cloud();
    let server = find(&cloud, &caller, &id)?.clone();
    if server.protected {
        return Err(Refusal::new(
            423,
            "protected",
            "server deletion is protected",
        ));
    }
    if cloud.locked(server.id) {
        return Err(Refusal::locked("server"));
    }
    cloud.servers.remove(&server.id);
    for address in cloud.floating_ips.values_mut() {
        if address.server == Some(server.id) {
            address.server = None;
        }
    }
    for firewall in cloud.firewalls.values_mut() {
        firewall.servers.retain(|id| *id != server.id);
    }
    let action = cloud.begin(&caller.project, server.id, "delete_server");
    drop(cloud);
    let job = if server.made {
        Job::Delete(server.machine)
    } else {
        Job::Reserve
    };
    api.carry_out(server.id, vec![(action.id, job)], effects);
    Ok(Json(json!({ "action": action.json() })).into_response())
}

pub async fn act(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    Path((id, verb)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let mut cloud = api.cloud();
    let server = find(&cloud, &caller, &id)?.clone();
    let (command, job) = match verb.as_str() {
        "poweron" => ("start_server", Job::Start),
        "poweroff" => ("stop_server", Job::Stop),
        "shutdown" => ("shutdown_server", Job::Shutdown),
        "reboot" => ("reboot_server", Job::Reboot { graceful: true }),
        "reset" => ("reset_server", Job::Reboot { graceful: false }),
        "change_protection" => ("change_protection", Job::Reserve),
        "create_image" => {
            if cloud.locked(server.id) {
                return Err(Refusal::locked("server"));
            }
            drop(cloud);
            return super::images::create(&api, &caller, effects, &server, &body);
        }
        _ => {
            return Err(Refusal::new(
                501,
                "not_simulated",
                format!("the sandbox does not simulate the action `{verb}`"),
            ));
        }
    };
    if cloud.locked(server.id) {
        return Err(Refusal::locked("server"));
    }
    if command == "change_protection" {
        let body = object(&body)?;
        let delete = body.get("delete").and_then(Value::as_bool);
        let rebuild = body.get("rebuild").and_then(Value::as_bool);
        match (delete, rebuild) {
            (Some(delete), Some(rebuild)) if delete == rebuild => {
                if let Some(server) = cloud.servers.get_mut(&server.id) {
                    server.protected = delete;
                }
            }
            _ => {
                return Err(Refusal::field(
                    "delete",
                    "delete and rebuild must have the same value",
                ));
            }
        }
    }
    if server.status != "running" && matches!(job, Job::Shutdown | Job::Reboot { .. }) {
        return Err(Refusal::new(
            422,
            "unsupported_error",
            "server must be running for this action",
        ));
    }
    let action = cloud.begin(&caller.project, server.id, command);
    drop(cloud);
    api.carry_out(server.id, vec![(action.id, job)], effects);
    Ok((
        StatusCode::CREATED,
        Json(json!({ "action": action.json() })),
    )
        .into_response())
}

/// The actions of one server. They outlive it.
pub async fn actions(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let mut items: Vec<Value> = api
        .cloud()
        .actions
        .values()
        .filter(|action| {
            action.project == caller.project
                && action.of == "server"
                && action.server.to_string() == id
                && query.lets("status", action.status)
        })
        .map(Action::json)
        .collect();
    if items.is_empty() {
        find(&api.cloud(), &caller, &id)?;
    }
    let fields = ["id", "command", "status", "started", "finished"];
    sort(&query, &fields, &mut items)?;
    page(
        &query,
        &format!("/v1/servers/{id}/actions"),
        "actions",
        items,
    )
}

pub async fn action(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path((server, id)): Path<(String, String)>,
) -> Answer {
    one(&api, &caller, &id, Some(&server))
}

pub async fn any_action(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    one(&api, &caller, &id, None)
}

fn one(api: &Hetzner, caller: &Caller, id: &str, server: Option<&str>) -> Answer {
    let cloud = api.cloud();
    let action = id
        .parse()
        .ok()
        .and_then(|id: i64| cloud.actions.get(&id))
        .filter(|action| action.project == caller.project)
        .filter(|action| server.is_none_or(|server| action.server.to_string() == server))
        .ok_or_else(|| Refusal::not_found("action"))?;
    Ok(Json(json!({ "action": action.json() })).into_response())
}

/// `GET /actions` lost its listing of everything: the ids have to be named. Unknown ones are left
/// out of the answer.
pub async fn actions_by_id(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let mut ids: Vec<i64> = Vec::new();
    for id in query.all("id") {
        let id = id
            .parse()
            .map_err(|_| Refusal::field("id", "must be a number"))?;
        ids.push(id);
    }
    if ids.is_empty() {
        return Err(Refusal::field("id", "missing"));
    }
    let cloud = api.cloud();
    let items: Vec<Value> = ids
        .iter()
        .filter_map(|id| cloud.actions.get(id))
        .filter(|action| action.project == caller.project)
        .map(Action::json)
        .collect();
    Ok(Json(json!({ "actions": items })).into_response())
}
