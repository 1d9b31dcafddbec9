//! Where the messages of a runbook arrive: takes every POST and appends it to a file, one JSON line
//! each, so that a person (or a test) sees what would have been told to whom. Three kinds of address
//! answer as the services do that people use: `/services/...` as an incoming webhook of Slack,
//! `/bot<token>/sendMessage` as Telegram, everything else as a webhook that says nothing.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Json, Router};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::listen::{Listening, listen};

/// Serves until the result is dropped. Lines are `{at, path, body}`; a body that is not JSON is kept
/// as text.
///
/// # Errors
/// What binding the address or making the file says.
pub async fn serve(address: SocketAddr, file: &Path) -> io::Result<Listening> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    append(file, "")?;
    let file: Arc<Mutex<PathBuf>> = Arc::new(Mutex::new(file.to_owned()));
    let router = Router::new().fallback(any(take)).with_state(file);
    listen(address, TowerToHyperService::new(router)).await
}

async fn take(State(file): State<Arc<Mutex<PathBuf>>>, uri: Uri, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body)
        .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into());
    let (path, answer) = answer(uri.path(), &body);
    if !answer.status().is_success() {
        return answer;
    }
    let line = json!({ "at": Timestamp::now().to_string(), "path": path, "body": body });
    // One writer at a time: lines stay whole.
    let file = file.lock().unwrap_or_else(PoisonError::into_inner);
    match append(&file, &format!("{line}\n")) {
        Ok(()) => answer,
        Err(error) => {
            tracing::warn!(%error, "keeping a message");
            StatusCode::INSUFFICIENT_STORAGE.into_response()
        }
    }
}

/// The path as it is kept, without a bot's token, and what the service would say.
fn answer(path: &str, body: &Value) -> (String, Response) {
    let text = body["text"].as_str().is_some_and(|text| !text.is_empty());
    if path.starts_with("/services/") {
        let answer = match text {
            true => (StatusCode::OK, "ok").into_response(),
            false => (StatusCode::BAD_REQUEST, "no_text").into_response(),
        };
        return (path.to_owned(), answer);
    }
    if path.starts_with("/bot") && path.ends_with("/sendMessage") {
        let refused = |why: &str| {
            let said = json!({ "ok": false, "error_code": 400, "description": why });
            (StatusCode::BAD_REQUEST, Json(said)).into_response()
        };
        let answer = match (text, body["chat_id"].as_str()) {
            (false, _) => refused("Bad Request: message text is empty"),
            (_, None | Some("")) => refused("Bad Request: chat_id is empty"),
            _ => Json(json!({ "ok": true, "result": { "message_id": 1 } })).into_response(),
        };
        return ("/bot/sendMessage".to_owned(), answer);
    }
    (path.to_owned(), StatusCode::NO_CONTENT.into_response())
}

fn append(file: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn messages_are_kept_in_the_order_of_their_arrival() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("messages.jsonl");
        let server = serve("127.0.0.1:0".parse().unwrap(), &file).await.unwrap();
        for text in ["{\"text\":\"one\"}", "two"] {
            let mut stream = tokio::net::TcpStream::connect(server.address)
                .await
                .unwrap();
            let request = format!(
                "POST /ops HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        }
        let kept: Vec<Value> = std::fs::read_to_string(&file)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(kept[0]["body"]["text"], "one");
        assert_eq!(
            (&kept[1]["body"], &kept[1]["path"]),
            (&json!("two"), &json!("/ops"))
        );
    }
}
