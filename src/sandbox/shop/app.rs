//! The shop's pages.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::config::Config;
use super::database::Database;

type Shop = State<Arc<Config>>;
type Answer = Result<Response, Unavailable>;

/// Serves until the process ends.
///
/// # Errors
/// What binding the address says.
pub async fn serve(config: Config) -> std::io::Result<()> {
    let listener = TcpListener::bind(config.listen).await?;
    axum::serve(listener, router(config)).await
}

fn router(config: Config) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .route("/orders", get(orders).post(order))
        .route("/orders/newest", get(newest))
        .route("/takings", get(takings).post(take))
        .with_state(Arc::new(config))
}

/// The database did not answer: 503, with its words but no secret (the client library shows none).
struct Unavailable(String);

impl From<tokio_postgres::Error> for Unavailable {
    fn from(error: tokio_postgres::Error) -> Unavailable {
        use std::error::Error as _;
        Unavailable(match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        let body = json!({ "status": "unavailable", "because": self.0 });
        answer(
            StatusCode::SERVICE_UNAVAILABLE,
            "application/json",
            body.to_string(),
        )
    }
}

fn answer(status: StatusCode, kind: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

fn json_answer(status: StatusCode, body: String) -> Answer {
    Ok(answer(status, "application/json", body))
}

async fn health(State(config): Shop) -> Answer {
    Database::open(&config).await?.check().await?;
    json_answer(StatusCode::OK, json!({ "status": "ok" }).to_string())
}

async fn newest(State(config): Shop) -> Answer {
    match Database::open(&config).await?.newest(1).await?.pop() {
        Some(order) => json_answer(StatusCode::OK, order),
        None => json_answer(
            StatusCode::NOT_FOUND,
            json!({ "status": "there are no orders" }).to_string(),
        ),
    }
}

async fn takings(State(config): Shop) -> Answer {
    match Database::open(&config).await?.takings().await? {
        Some(newest) => json_answer(StatusCode::OK, newest),
        None => json_answer(
            StatusCode::NOT_FOUND,
            json!({ "status": "nothing was written down" }).to_string(),
        ),
    }
}

async fn take(State(config): Shop) -> Answer {
    let written = Database::open(&config).await?.take().await?;
    json_answer(StatusCode::CREATED, written)
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<i64>,
}

async fn orders(State(config): Shop, Query(query): Query<Limit>) -> Answer {
    let limit = query.limit.unwrap_or(20).clamp(0, 10_000);
    let orders = Database::open(&config).await?.newest(limit).await?;
    json_answer(StatusCode::OK, format!("[{}]", orders.join(",")))
}

/// Takes `{"cents": N}`; without a body an order of ten euros.
async fn order(State(config): Shop, body: Bytes) -> Answer {
    let cents = if body.is_empty() {
        Some(1000)
    } else {
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        parsed.and_then(|body| body.get("cents")?.as_i64())
    };
    match cents {
        Some(cents @ 0..=999_999_999) => {
            let order = Database::open(&config).await?.order(cents).await?;
            json_answer(StatusCode::CREATED, order)
        }
        _ => json_answer(
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({ "status": "`cents` must be a number from 0 to 999999999" }).to_string(),
        ),
    }
}

async fn page(State(config): Shop) -> Answer {
    let orders = Database::open(&config).await?.newest(20).await?;
    let mut rows = String::new();
    for order in &orders {
        let order: Value = serde_json::from_str(order).unwrap_or_default();
        rows.push_str("<tr>");
        for field in ["id", "user", "total", "created_at"] {
            let text = match &order[field] {
                Value::String(text) => escape(text),
                other => escape(&other.to_string()),
            };
            rows.push_str(&format!("<td>{text}</td>"));
        }
        rows.push_str("</tr>\n");
    }
    let body = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>The shop</title></head>\n\
         <body><h1>The shop</h1>\n<table>\n<tr><th>Order</th><th>Customer</th><th>Total</th><th>Placed</th></tr>\n\
         {rows}</table></body></html>\n"
    );
    Ok(answer(StatusCode::OK, "text/html; charset=utf-8", body))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
