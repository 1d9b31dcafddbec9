//! How this API says no: one envelope, a status and a code for each reason
//! (<https://docs.hetzner.cloud/#errors>).

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer that is not a success.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
    details: Value,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            code,
            message: message.into(),
            details: Value::Null,
        }
    }

    /// Fields of a request that will not do, each with what is wrong with it.
    pub fn fields(wrong: &[(String, String)]) -> Refusal {
        let message = match wrong.first() {
            Some((field, why)) => format!("invalid input in field '{field}': {why}"),
            None => "invalid input".to_owned(),
        };
        let fields: Vec<Value> = wrong
            .iter()
            .map(|(field, why)| json!({ "name": field, "messages": [why] }))
            .collect();
        Refusal {
            details: json!({ "fields": fields }),
            ..Refusal::new(422, "invalid_input", message)
        }
    }

    pub fn field(field: &str, why: impl Into<String>) -> Refusal {
        Refusal::fields(&[(field.to_owned(), why.into())])
    }

    pub fn taken(field: &str, message: &str) -> Refusal {
        Refusal {
            details: json!({ "fields": [{ "name": field }] }),
            ..Refusal::new(409, "uniqueness_error", message)
        }
    }

    pub fn not_found(what: &str) -> Refusal {
        Refusal::new(404, "not_found", format!("{what} not found"))
    }

    pub fn locked(what: &str) -> Refusal {
        Refusal::new(423, "locked", format!("{what} is locked"))
    }

    pub fn no_capacity() -> Refusal {
        Refusal::new(412, "resource_unavailable", "error during placement")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        envelope(self.status, self.code, &self.message, self.details)
    }
}

/// The envelope alone, for faults that bring their own words.
pub fn envelope(status: u16, code: &str, message: &str, details: Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({ "error": { "code": code, "message": message, "details": details } });
    (status, Json(body)).into_response()
}
