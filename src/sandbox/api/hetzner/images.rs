//! Images: the system images of the catalogue, and the snapshots of a project
//! (<https://docs.hetzner.cloud/reference/cloud#images>).

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Hetzner;
use super::catalogue::{self, IMAGES};
use super::cloud::{Server, shown};
use super::gate::{Caller, Effects};
use super::labels::Labels;
use super::listing::{Query, labels_of, page, sort};
use super::order::{object, read_labels};
use super::refusal::Refusal;
use super::work::Job;

type Answer = Result<Response, Refusal>;

/// A copy of a server's disk, of one project.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub id: i64,
    pub project: String,
    pub status: &'static str,
    pub description: String,
    pub labels: Labels,
    pub created: Timestamp,
    /// The server's id and its name at that time.
    pub of: (i64, String),
    /// GB
    pub disk: u64,
    pub architecture: &'static str,
    pub protected: bool,
    /// Of the system that was copied.
    pub system: Value,
}

impl Snapshot {
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "type": "snapshot",
            "status": self.status,
            "name": null,
            "description": self.description,
            "image_size": if self.status == "available" { json!(0.4) } else { Value::Null },
            "disk_size": self.disk,
            "created": shown(self.created),
            "created_from": { "id": self.of.0, "name": self.of.1 },
            "bound_to": null,
            "os_flavor": self.system["os_flavor"],
            "os_version": self.system["os_version"],
            "rapid_deploy": false,
            "protection": { "delete": self.protected },
            "deprecated": null,
            "deleted": null,
            "labels": self.labels,
            "architecture": self.architecture,
        })
    }

    /// What the world calls the copy.
    pub fn image(&self) -> String {
        format!("snapshot-{}", self.id)
    }
}

fn find(api: &Hetzner, caller: &Caller, id: &str) -> Result<Snapshot, Refusal> {
    let cloud = api.cloud();
    id.parse()
        .ok()
        .and_then(|id: i64| cloud.snapshots.get(&id))
        .filter(|snapshot| snapshot.project == caller.project)
        .cloned()
        .ok_or_else(|| Refusal::not_found("image"))
}

pub async fn list(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    let query = Query::parse(query.as_deref());
    let selector = query.selector()?;
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let own: Vec<Value> = {
        let cloud = api.cloud();
        let mine = cloud.snapshots.values();
        mine.filter(|snapshot| snapshot.project == caller.project)
            .map(Snapshot::json)
            .collect()
    };
    let mut items: Vec<Value> = IMAGES
        .iter()
        .map(catalogue::Image::json)
        .chain(own)
        .filter(|item| {
            ["name", "type", "status", "architecture"]
                .iter()
                .all(|field| query.lets(field, &text(item, field)))
                && query.lets("bound_to", "")
                && selector.picks(&labels_of(item))
        })
        .collect();
    sort(&query, &["id", "name", "created"], &mut items)?;
    page(&query, "/v1/images", "images", items)
}

pub async fn get(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let system = IMAGES.iter().find(|image| image.id.to_string() == id);
    let image = match system {
        Some(image) => image.json(),
        None => find(&api, &caller, &id)?.json(),
    };
    Ok(Json(json!({ "image": image })).into_response())
}

pub async fn delete(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    if IMAGES.iter().any(|image| image.id.to_string() == id) {
        let why = "only snapshots and backups can be deleted";
        return Err(Refusal::new(403, "forbidden", why));
    }
    let snapshot = find(&api, &caller, &id)?;
    if snapshot.protected {
        let why = "image deletion is protected";
        return Err(Refusal::new(423, "protected", why));
    }
    if snapshot.status == "creating" {
        return Err(Refusal::locked("image"));
    }
    api.cloud().snapshots.remove(&snapshot.id);
    let _ = api.0.machines.drop_image(&snapshot.image()).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /servers/{id}/actions/create_image`
pub fn create(
    api: &Hetzner,
    caller: &Caller,
    effects: Effects,
    server: &Server,
    body: &Bytes,
) -> Answer {
    let body = if body.is_empty() {
        Default::default()
    } else {
        object(body)?
    };
    let mut wrong = Vec::new();
    for field in body.keys() {
        if !["type", "description", "labels"].contains(&field.as_str()) {
            wrong.push((field.clone(), "is not a known field".to_owned()));
        }
    }
    match body.get("type").map(Value::as_str) {
        None | Some(Some("snapshot")) => {}
        Some(Some("backup")) => {
            wrong.push(("type".to_owned(), "backups are not enabled".to_owned()))
        }
        Some(_) => wrong.push(("type".to_owned(), "must be snapshot or backup".to_owned())),
    }
    let description = match body.get("description") {
        None => format!("snapshot {}", shown(Timestamp::now())),
        Some(value) => value.as_str().map(str::to_owned).unwrap_or_else(|| {
            wrong.push(("description".to_owned(), "must be a string".to_owned()));
            String::new()
        }),
    };
    let labels = read_labels(body.get("labels"), &mut wrong);
    if !wrong.is_empty() {
        return Err(Refusal::fields(&wrong));
    }
    let mut cloud = api.cloud();
    let snapshot = Snapshot {
        id: cloud.image_id(),
        project: caller.project.clone(),
        status: "creating",
        description,
        labels,
        created: Timestamp::now(),
        of: (server.id, server.name.clone()),
        disk: server.server_type.disk,
        architecture: server.server_type.architecture,
        protected: false,
        system: server.image.clone(),
    };
    let (id, shown) = (snapshot.id, snapshot.json());
    cloud.snapshots.insert(id, snapshot);
    let action = cloud.begin(&caller.project, server.id, "create_image");
    drop(cloud);
    api.carry_out(server.id, vec![(action.id, Job::Capture(id))], effects);
    let body = json!({ "image": shown, "action": action.json() });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}
