//! A package repository of the world: signed, served over HTTP, with a package that the machine does not have. It is made
//! by Debian's own tools when the world starts.

use std::io;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use hyper_util::service::TowerToHyperService;

use super::listen::{Listening, listen};
use super::places;

const SCRIPT: &str = include_str!("repository.sh");

/// Serves `folder` until the result is dropped.
///
/// # Errors
/// What making the repository or binding the address says.
pub async fn serve(address: SocketAddr, folder: &Path) -> io::Result<Listening> {
    if !folder.join("key.asc").exists() {
        make(folder).await?;
    }
    let folder: Arc<PathBuf> = Arc::new(folder.to_owned());
    let router = Router::new().fallback(any(give)).with_state(folder);
    listen(address, TowerToHyperService::new(router)).await
}

async fn make(folder: &Path) -> io::Result<()> {
    let output = tokio::process::Command::new("sh")
        .args(["-c", SCRIPT, "sh"])
        .arg(folder)
        .env_clear()
        .env("PATH", places::PATH)
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{}: {said}", output.status)))
}

async fn give(State(folder): State<Arc<PathBuf>>, uri: Uri) -> Response {
    let path = Path::new(uri.path().trim_start_matches('/'));
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let read = inside.then(|| std::fs::read(folder.join(path)).ok());
    match read.flatten() {
        Some(bytes) => bytes.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
