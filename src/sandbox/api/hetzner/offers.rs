//! The catalogue's pages, and the answers to paths that this API does not have.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Hetzner;
use super::catalogue::{self, LOCATIONS, SERVER_TYPES, ServerType};
use super::listing::{Query, page, sort};
use super::refusal::Refusal;

type Answer = Result<Response, Refusal>;

/// Parts of the real API that the sandbox leaves out.
pub const NOT_SIMULATED: [&str; 9] = [
    "certificates",
    "isos",
    "load_balancers",
    "load_balancer_types",
    "networks",
    "placement_groups",
    "pricing",
    "primary_ips",
    "volumes",
];

pub async fn locations(RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref());
    let mut items: Vec<Value> = LOCATIONS
        .iter()
        .filter(|place| query.lets("name", place.name))
        .map(catalogue::Location::json)
        .collect();
    sort(&query, &["id", "name"], &mut items)?;
    page(&query, "/v1/locations", "locations", items)
}

pub async fn location(Path(id): Path<String>) -> Answer {
    let found = LOCATIONS.iter().find(|place| place.id.to_string() == id);
    let place = found.ok_or_else(|| Refusal::not_found("location"))?;
    Ok(Json(json!({ "location": place.json() })).into_response())
}

pub async fn server_types(State(api): State<Hetzner>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref());
    let items = SERVER_TYPES
        .iter()
        .filter(|size| query.lets("name", size.name))
        .map(|size| offered(&api, size))
        .collect();
    page(&query, "/v1/server_types", "server_types", items)
}

pub async fn server_type(State(api): State<Hetzner>, Path(id): Path<String>) -> Answer {
    let found = SERVER_TYPES.iter().find(|size| size.id.to_string() == id);
    let size = found.ok_or_else(|| Refusal::not_found("server_type"))?;
    Ok(Json(json!({ "server_type": offered(&api, size) })).into_response())
}

fn offered(api: &Hetzner, size: &'static ServerType) -> Value {
    size.json(|place| api.available(place, size))
}

pub async fn removed() -> Refusal {
    Refusal::new(
        410,
        "deprecated_api_endpoint",
        "the API endpoint functionality was removed",
    )
}

pub async fn not_simulated(uri: Uri) -> Refusal {
    Refusal::new(
        501,
        "not_simulated",
        format!("the sandbox does not simulate `{}`", uri.path()),
    )
}

pub async fn unknown_path() -> Refusal {
    Refusal::new(404, "not_found", "api route not found")
}

pub async fn bad_method() -> Refusal {
    Refusal::new(
        405,
        "method_not_allowed",
        "the request method is not allowed",
    )
}
