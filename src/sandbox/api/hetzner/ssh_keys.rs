//! Public keys of a project, which new servers authorise for root.

use std::process::Stdio;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Hetzner;
use super::cloud::{Cloud, SshKey};
use super::gate::Caller;
use super::listing::{Query, page, sort};
use super::order::{object, read_labels};
use super::refusal::Refusal;

type Answer = Result<Response, Refusal>;

fn find<'a>(cloud: &'a Cloud, caller: &Caller, id: &str) -> Result<&'a SshKey, Refusal> {
    id.parse()
        .ok()
        .and_then(|id: i64| cloud.keys.get(&id))
        .filter(|key| key.project == caller.project)
        .ok_or_else(|| Refusal::not_found("SSH key"))
}

fn shown(key: &SshKey) -> Value {
    json!({ "ssh_key": key.json() })
}

pub async fn list(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let selector = query.selector()?;
    let mut items: Vec<Value> = api
        .cloud()
        .keys
        .values()
        .filter(|key| {
            key.project == caller.project
                && query.lets("name", &key.name)
                && query.lets("fingerprint", &key.fingerprint)
                && selector.picks(&key.labels)
        })
        .map(SshKey::json)
        .collect();
    sort(&query, &["id", "name"], &mut items)?;
    page(&query, "/v1/ssh_keys", "ssh_keys", items)
}

pub async fn get(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    Ok(Json(shown(find(&api.cloud(), &caller, &id)?)).into_response())
}

pub async fn create(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
    let mut wrong = Vec::new();
    for field in body.keys() {
        if !["name", "public_key", "labels"].contains(&field.as_str()) {
            wrong.push((field.clone(), "is not a known field".to_owned()));
        }
    }
    let mut required = |field: &str| match body.get(field).and_then(Value::as_str) {
        Some(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => {
            wrong.push((field.to_owned(), "missing or not a string".to_owned()));
            String::new()
        }
    };
    let name = required("name");
    let public_key = required("public_key");
    let labels = read_labels(body.get("labels"), &mut wrong);
    let fingerprint = match fingerprint(&public_key).await {
        Some(fingerprint) => fingerprint,
        None => {
            if !public_key.is_empty() {
                wrong.push((
                    "public_key".to_owned(),
                    "is not a valid public key".to_owned(),
                ));
            }
            String::new()
        }
    };
    if !wrong.is_empty() {
        return Err(Refusal::fields(&wrong));
    }
    let mut cloud = api.cloud();
    let mut mine = cloud
        .keys
        .values()
        .filter(|key| key.project == caller.project);
    if mine.any(|key| key.name == name || key.fingerprint == fingerprint) {
        return Err(Refusal::taken("public_key", "SSH key not unique"));
    }
    let key = SshKey {
        id: cloud.key_id(),
        project: caller.project,
        name,
        fingerprint,
        public_key,
        labels,
        created: Timestamp::now(),
    };
    cloud.keys.insert(key.id, key.clone());
    Ok((StatusCode::CREATED, Json(shown(&key))).into_response())
}

pub async fn update(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let body = object(&body)?;
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
    if name == Some("") {
        wrong.push(("name".to_owned(), "must be a string".to_owned()));
    }
    if !wrong.is_empty() {
        return Err(Refusal::fields(&wrong));
    }
    let mut cloud = api.cloud();
    let id = find(&cloud, &caller, &id)?.id;
    let taken = name.is_some_and(|name| {
        let mut others = cloud
            .keys
            .values()
            .filter(|key| key.project == caller.project);
        others.any(|key| key.id != id && key.name == name)
    });
    if taken {
        return Err(Refusal::taken("name", "SSH key name is already used"));
    }
    if let Some(key) = cloud.keys.get_mut(&id) {
        if let Some(name) = name {
            key.name = name.to_owned();
        }
        if body.contains_key("labels") {
            key.labels = labels;
        }
    }
    Ok(Json(shown(find(&cloud, &caller, &id.to_string())?)).into_response())
}

pub async fn delete(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let mut cloud = api.cloud();
    let id = find(&cloud, &caller, &id)?.id;
    cloud.keys.remove(&id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The MD5 fingerprint as OpenSSH prints it, without its `MD5:`; `None` when OpenSSH says that
/// this is no public key.
async fn fingerprint(public_key: &str) -> Option<String> {
    if public_key.is_empty() || public_key.contains('\n') {
        return None;
    }
    let mut child = Command::new("ssh-keygen")
        .args(["-l", "-E", "md5", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    input.write_all(public_key.as_bytes()).await.ok()?;
    drop(input);
    let output = child.wait_with_output().await.ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    let fingerprint = line.split_whitespace().nth(1)?.strip_prefix("MD5:")?;
    (output.status.success() && public_key.split_whitespace().count() >= 2)
        .then(|| fingerprint.to_owned())
}
