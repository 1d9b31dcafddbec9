//! What every call passes: the ledger and the faults, then the token and the rate limit.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::Value;

use super::refusal::{Refusal, envelope};
use super::{Hetzner, Token};
use crate::sandbox::api::faults::{FaultKind, Struck, When};
use crate::sandbox::listen::Scissors;

/// Far above any body of this API, whose largest field has 32 KiB.
const BODY_LIMIT: usize = 1 << 20;

/// The project that a call acts in.
#[derive(Clone, Debug)]
pub struct Caller {
    pub project: String,
}

/// The faults that strike after the call itself: in the action it starts, or in what it made.
#[derive(Clone, Debug, Default)]
pub struct Effects(pub Vec<Struck>);

/// Marks an answer that must not leave.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Silence {
    Hang,
    Reset,
}

impl Silence {
    fn answer(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// Reads the body whole, so that the ledger, the faults and the handler see the same bytes, and
/// lets the call run on its own: a client that leaves in the middle does not undo what it asked for.
pub async fn bounded(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let scissors = parts.extensions.get::<Scissors>().cloned();
    let Ok(bytes) = to_bytes(body, BODY_LIMIT).await else {
        return envelope(413, "json_error", "request body too large", Value::Null);
    };
    let mut request = Request::from_parts(parts, Body::from(bytes.clone()));
    request.extensions_mut().insert(bytes);
    let response = tokio::spawn(next.run(request))
        .await
        .unwrap_or_else(|error| {
            envelope(
                500,
                "server_error",
                &format!("simulator: {error}"),
                Value::Null,
            )
        });
    match response.extensions().get::<Silence>() {
        None => return response,
        Some(Silence::Hang) => {}
        Some(Silence::Reset) => scissors.unwrap_or_default().cut(),
    }
    std::future::pending().await
}

/// Writes the call down and lets the faults do their work.
pub async fn witness(State(api): State<Hetzner>, mut request: Request, next: Next) -> Response {
    let method = request.method().as_str().to_owned();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = request
        .extensions()
        .get::<Bytes>()
        .cloned()
        .unwrap_or_default();
    let token = bearer(&request).unwrap_or_default().to_owned();
    let number = api.ledger().arrival(&method, &path, &query, &body);
    let struck = api.faults().meet(&method, &path, &body);
    if !struck.is_empty() {
        let met = struck
            .iter()
            .map(|fault| format!("{}: {:?} {:?}", fault.rule, fault.when, fault.kind));
        api.ledger().met(number, met.collect());
    }
    request.extensions_mut().insert(Effects(struck.clone()));

    let mut response = match strike(&api, When::Before, &struck, &token).await {
        Some(response) => response,
        None => {
            let real = next.run(request).await;
            let status = real.status().as_u16();
            api.ledger().ended(number, status, false);
            strike(&api, When::After, &struck, &token)
                .await
                .unwrap_or(real)
        }
    };
    if response.extensions().get::<Silence>().is_none() {
        api.ledger().ended(number, response.status().as_u16(), true);
    }
    if let Ok(value) = HeaderValue::from_str(&format!("{number:032x}")) {
        response.headers_mut().insert("x-correlation-id", value);
    }
    response
}

/// Lets the faults of one moment strike. `Some` is the answer that takes the place of the real one.
async fn strike(api: &Hetzner, when: When, struck: &[Struck], token: &str) -> Option<Response> {
    for fault in struck.iter().filter(|fault| fault.when == when) {
        match &fault.kind {
            FaultKind::Delay { milliseconds } => {
                tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
            }
            FaultKind::Hang => return Some(Silence::Hang.answer()),
            FaultKind::Reset => return Some(Silence::Reset.answer()),
            FaultKind::NoCapacity => return Some(Refusal::no_capacity().into_response()),
            FaultKind::Status {
                status,
                code,
                message,
                retry_after,
            } => {
                let mut response = usual(*status, code.as_deref(), message.as_deref(), api, token);
                if let Some(seconds) = retry_after {
                    response
                        .headers_mut()
                        .insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
                }
                return Some(response);
            }
            FaultKind::HideAfterCreate { .. }
            | FaultKind::ActionStuck { .. }
            | FaultKind::ActionError { .. }
            | FaultKind::Disk { .. } => {}
        }
    }
    None
}

/// The usual answer of a status. A bad gateway is the proxy's word, not the API's: no JSON.
fn usual(
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
    api: &Hetzner,
    token: &str,
) -> Response {
    if status == 502 && code.is_none() {
        let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";
        return (
            StatusCode::BAD_GATEWAY,
            [(header::CONTENT_TYPE, "text/html")],
            page,
        )
            .into_response();
    }
    let limited = too_many(api, token);
    let (usual_code, usual_message) = match status {
        401 => ("unauthorized", "the token you have provided is invalid"),
        403 => ("forbidden", "insufficient permissions"),
        404 => ("not_found", "server not found"),
        409 => (
            "conflict",
            "the resource has changed during the request, please retry",
        ),
        412 => ("resource_unavailable", "error during placement"),
        423 => ("locked", "server is locked"),
        429 => ("rate_limit_exceeded", limited.as_str()),
        503 => ("unavailable", "service unavailable"),
        504 => ("timeout", "request timeout"),
        _ => ("server_error", "internal server error"),
    };
    envelope(
        status,
        code.unwrap_or(usual_code),
        message.unwrap_or(usual_message),
        Value::Null,
    )
}

/// The real API quotes the first half of the caller's token here: whoever logs the text leaks it.
fn too_many(api: &Hetzner, token: &str) -> String {
    let limit = api.0.settings.hourly_requests;
    let half: String = token.chars().take(32).collect();
    format!("Limit of '{limit}' requests per hour for token '{half}...' reached.")
}

fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?;
    value.to_str().ok()?.strip_prefix("Bearer ")
}

/// What is left of a rate limit: it refills evenly, up to the limit.
#[derive(Debug)]
pub struct Bucket {
    left: f64,
    at: Instant,
}

/// Lets a call with a good token through, as long as its project has requests left.
pub async fn guard(State(api): State<Hetzner>, mut request: Request, next: Next) -> Response {
    let token = match admitted(&api, &request) {
        Ok(token) => token,
        Err(refusal) => return refusal.into_response(),
    };
    let polling = request.method() == Method::GET && request.uri().path().contains("/actions");
    let limit = api.0.settings.hourly_requests * if polling { 2 } else { 1 };
    let left = take(&api, &token.project, polling, f64::from(limit));
    let mut response = if left.is_none() {
        Refusal::new(429, "rate_limit_exceeded", too_many(&api, &token.value)).into_response()
    } else if token.read_only && request.method() != Method::GET {
        Refusal::new(
            401,
            "token_readonly",
            "token is only allowed to perform GET requests",
        )
        .into_response()
    } else {
        request.extensions_mut().insert(Caller {
            project: token.project,
        });
        next.run(request).await
    };
    let left = left.unwrap_or(0.0);
    let missing = f64::from(limit) - left;
    let seconds = (missing / f64::from(limit) * 3600.0).ceil() as i64;
    let headers = response.headers_mut();
    headers.insert("ratelimit-limit", HeaderValue::from(limit));
    headers.insert("ratelimit-remaining", HeaderValue::from(left as u64));
    headers.insert(
        "ratelimit-reset",
        HeaderValue::from(Timestamp::now().as_second() + seconds),
    );
    response
}

fn admitted(api: &Hetzner, request: &Request) -> Result<Token, Refusal> {
    let Some(value) = bearer(request) else {
        return Err(Refusal::new(401, "unauthorized", "token is required"));
    };
    let tokens = &api.0.settings.tokens;
    tokens
        .iter()
        .find(|token| token.value == value)
        .cloned()
        .ok_or_else(|| {
            Refusal::new(
                401,
                "unauthorized",
                "the token you have provided is invalid",
            )
        })
}

/// Takes one request out of the bucket; `None`: it is empty.
fn take(api: &Hetzner, project: &str, polling: bool, limit: f64) -> Option<f64> {
    let mut buckets = api.0.buckets.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let bucket = buckets
        .entry((project.to_owned(), polling))
        .or_insert(Bucket {
            left: limit,
            at: now,
        });
    let refilled = now.duration_since(bucket.at).as_secs_f64() * limit / 3600.0;
    bucket.left = (bucket.left + refilled).min(limit);
    bucket.at = now;
    if bucket.left < 1.0 {
        return None;
    }
    bucket.left -= 1.0;
    Some(bucket.left)
}
