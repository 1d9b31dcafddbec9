//! `POST /servers`: the one call that costs money, and the one a client must never repeat blindly.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::json;

use super::Hetzner;
use super::catalogue::{LOCATIONS, Location};
use super::cloud::Server;
use super::gate::{Caller, Effects};
use super::order::{Order, Wanted, object, read};
use super::refusal::Refusal;
use super::work::Job;
use crate::sandbox::api::faults::FaultKind;
use crate::sandbox::machines::valid_name;

pub async fn create(
    State(api): State<Hetzner>,
    Extension(caller): Extension<Caller>,
    Extension(effects): Extension<Effects>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let order = read(&object(&body)?)?;
    let place = place(&api, &order)?;
    let region = api.region(place.name).ok_or_else(Refusal::no_capacity)?;

    let mut cloud = api.cloud();
    let mine = || {
        cloud
            .servers
            .values()
            .filter(|server| server.project == caller.project)
    };
    if mine().any(|server| server.name.eq_ignore_ascii_case(&order.name)) {
        return Err(Refusal::taken("name", "server name is already used"));
    }
    if mine().count() >= api.0.settings.server_limit {
        return Err(Refusal::new(
            403,
            "resource_limit_exceeded",
            "server limit exceeded",
        ));
    }
    let mut authorized_keys = Vec::new();
    for wanted in &order.ssh_keys {
        let found = cloud.keys.values().find(|key| {
            key.project == caller.project && (key.name == *wanted || key.id.to_string() == *wanted)
        });
        let key = found
            .ok_or_else(|| Refusal::field("ssh_keys", format!("SSH key '{wanted}' not found")))?;
        authorized_keys.push(key.public_key.clone());
    }

    let (image, copy) = match &order.image {
        Wanted::System(image) => (image.json(), None),
        Wanted::Snapshot(id) => {
            let number: i64 = id.parse().unwrap_or_default();
            let found = cloud.snapshots.get(&number);
            let snapshot = found
                .filter(|snapshot| snapshot.project == caller.project)
                .ok_or_else(|| Refusal::field("image", format!("image '{id}' not found")))?;
            if snapshot.status != "available" {
                return Err(Refusal::field(
                    "image",
                    format!("image '{id}' is not available"),
                ));
            }
            if snapshot.architecture != order.server_type.architecture {
                let why = "has another architecture than the server type";
                return Err(Refusal::field("image", format!("image '{id}' {why}")));
            }
            if snapshot.disk > order.server_type.disk {
                let why = "image disk is bigger than server type disk";
                return Err(Refusal::field("image", why));
            }
            (snapshot.json(), Some(snapshot.image()))
        }
    };
    let id = cloud.server_id();
    let address = cloud.address(region).ok_or_else(Refusal::no_capacity)?;
    // The world knows one machine of a name; another project's server of that name, or one with a
    // name that is no single label, goes by its id there.
    let usable = valid_name(&order.name)
        && cloud
            .servers
            .values()
            .all(|server| server.machine != order.name);
    let root_password = authorized_keys
        .is_empty()
        .then(|| password(id))
        .transpose()?;
    let mut disk_bytes = order.server_type.disk * 1_000_000_000;
    let mut hidden = None;
    for fault in &effects.0 {
        match fault.kind {
            FaultKind::Disk { bytes } => disk_bytes = bytes,
            FaultKind::HideAfterCreate { seconds, lists } => {
                let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
                hidden = Some((until, lists));
            }
            _ => {}
        }
    }
    let server = Server {
        id,
        project: caller.project.clone(),
        machine: if usable {
            order.name.clone()
        } else {
            format!("server-{id}")
        },
        name: order.name,
        status: "initializing",
        changes: 0,
        created: Timestamp::now(),
        labels: order.labels,
        location: place.name,
        region,
        server_type: order.server_type,
        image,
        copy,
        address,
        made: false,
        protected: false,
        user_data: order.user_data,
        authorized_keys,
        disk_bytes,
        hidden,
    };
    cloud.servers.insert(id, server.clone());
    let first = cloud.begin(&caller.project, id, "create_server");
    let mut jobs = vec![(
        first.id,
        if order.start {
            Job::Create
        } else {
            Job::Reserve
        },
    )];
    let mut next_actions = Vec::new();
    if order.start {
        let second = cloud.begin(&caller.project, id, "start_server");
        jobs.push((second.id, Job::Start));
        next_actions.push(second.json());
    }
    let reply = json!({
        "server": cloud.server_json(&server, &api),
        "action": first.json(),
        "next_actions": next_actions,
        "root_password": root_password,
    });
    drop(cloud);
    api.carry_out(id, jobs, effects);
    Ok((StatusCode::CREATED, Json(reply)).into_response())
}

/// Where the server goes: the place asked for, or the first with room.
fn place(api: &Hetzner, order: &Order) -> Result<&'static Location, Refusal> {
    let has_room = |place: &&Location| api.available(place.name, order.server_type);
    match order.location {
        Some(place) => Some(place).filter(has_room),
        None => LOCATIONS.iter().find(has_room),
    }
    .ok_or_else(Refusal::no_capacity)
}

/// A root password, given once and only to those who brought no key. The sandbox's machines take
/// no passwords at all, so it opens nothing.
fn password(id: i64) -> Result<String, Refusal> {
    crate::sandbox::secrets::random_word(20)
        .map_err(|error| Refusal::new(500, "server_error", format!("server {id}: {error}")))
}
