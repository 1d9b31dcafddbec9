//! PowerDNS, authoritative, over an SQLite database, changed through its HTTP API
//! (<https://doc.powerdns.com/authoritative/http-api/>).

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::program::{ask, make_folder, ready, spawn, usable, write_private};
use super::{NamesError, TTL};

/// Comes with the Debian package pdns-backend-sqlite3.
pub const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

/// A running PowerDNS. Dropping it kills the server.
#[derive(Debug)]
pub struct Authoritative {
    /// Where it answers questions, over UDP and TCP.
    pub address: SocketAddr,
    /// Where its HTTP API answers; the provider file's `endpoint` is `http://ADDRESS`.
    pub api: SocketAddr,
    key: Key,
    _child: Child,
}

/// A key that formatters do not see.
pub(super) struct Key(pub(super) String);

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key")
    }
}

/// Starts PowerDNS with the database in `folder` (an empty one is made if there is none) and waits until its API and its port 53 answer.
/// The key stands in a 0600 file there, not in an argument.
///
/// # Errors
/// A program or the schema is missing, an address is taken, or nothing answers in time.
pub async fn start_authoritative(
    folder: &Path,
    address: SocketAddr,
    api: SocketAddr,
    api_key: &str,
) -> Result<Authoritative, NamesError> {
    usable(address, "pdns_server")?;
    usable(api, "pdns_server")?;
    make_folder(folder)?;
    let database = folder.join("pdns.sqlite3");
    make_database(&database).await?;
    // https://doc.powerdns.com/authoritative/settings.html; without DNSSEC the backend needs less.
    let config = format!(
        "launch=gsqlite3\n\
         gsqlite3-database={database}\n\
         local-address={ip}\n\
         local-port={port}\n\
         api=yes\n\
         api-key={api_key}\n\
         webserver=yes\n\
         webserver-address={api_ip}\n\
         webserver-port={api_port}\n\
         webserver-allow-from=127.0.0.0/8,198.16.0.0/12\n\
         socket-dir={folder}\n\
         default-soa-content=ns1.@ hostmaster.@ 0 10800 3600 604800 {TTL}\n\
         default-ttl={TTL}\n\
         security-poll-suffix=\n\
         daemon=no\n\
         guardian=no\n",
        database = database.display(),
        folder = folder.display(),
        ip = address.ip(),
        port = address.port(),
        api_ip = api.ip(),
        api_port = api.port(),
    );
    write_private(&folder.join("pdns.conf"), &config)?;
    let mut command = Command::new("pdns_server");
    command.arg(format!("--config-dir={}", folder.display()));
    let mut child = spawn(command, "pdns_server", "pdns-server", folder)?;
    let key = Key(api_key.to_owned());
    ready(&mut child, "pdns_server", api, folder, || async {
        call(api, &key, Method::GET, "/api/v1/servers/localhost", None)
            .await
            .is_ok()
    })
    .await?;
    ready(&mut child, "pdns_server", address, folder, || async {
        ask(address, "ready.invalid").await.is_ok()
    })
    .await?;
    Ok(Authoritative {
        address,
        api,
        key,
        _child: child,
    })
}

impl Authoritative {
    /// Where its API answers, as a provider file wants it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Makes a zone (`shop.example`) with SOA, NS, the address of its name server and these A
    /// records (`@` for the zone itself), all with the sandbox's short lifetimes.
    ///
    /// # Errors
    /// The API does not answer or refuses: the zone exists, a name breaks the grammar.
    pub async fn create_zone(
        &self,
        zone: &str,
        records: &[(&str, Ipv4Addr)],
    ) -> Result<(), NamesError> {
        let zone = format!("{}.", zone.trim_end_matches('.'));
        let set = |name: &str, kind: &str, content: String| {
            let name = match name {
                "@" => zone.clone(),
                name => format!("{name}.{zone}"),
            };
            json!({
                "name": name, "type": kind, "ttl": TTL,
                "records": [{ "content": content, "disabled": false }],
            })
        };
        let soa = format!("ns1.{zone} hostmaster.{zone} 1 10800 3600 604800 {TTL}");
        let mut sets = vec![
            set("@", "SOA", soa),
            set("@", "NS", format!("ns1.{zone}")),
            set("ns1", "A", self.address.ip().to_string()),
        ];
        for (name, address) in records {
            sets.push(set(name, "A", address.to_string()));
        }
        let body = json!({
            "name": zone, "kind": "Native", "nameservers": [],
            "soa_edit_api": "INCREASE", "rrsets": sets,
        });
        self.call(Method::POST, "/api/v1/servers/localhost/zones", Some(body))
            .await
            .map(drop)
    }

    /// Calls the API: a path from `/api/v1` on, with a JSON body if there is one.
    ///
    /// # Errors
    /// The API does not answer, or refuses; its words are in the error.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, NamesError> {
        call(self.api, &self.key, method, path, body).await
    }
}

async fn make_database(path: &Path) -> Result<(), NamesError> {
    // A server that comes back finds its zones again.
    if path.exists() {
        return Ok(());
    }
    let failed = |why: String| NamesError::Database { why };
    let schema = File::open(SCHEMA)
        .map_err(|error| failed(format!("{error} (package pdns-backend-sqlite3)")))?;
    let output = Command::new("sqlite3")
        .arg("-bail")
        .arg(path)
        .stdin(Stdio::from(schema))
        .output()
        .await
        .map_err(|error| failed(format!("{error} (package sqlite3)")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

pub(super) async fn call(
    address: SocketAddr,
    key: &Key,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, NamesError> {
    let failed = |why: String| NamesError::Api { address, why };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-api-key", &key.0)
        .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
        .map_err(|error| failed(error.to_string()))?;
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let bytes = to_bytes(Body::new(response.into_body()), 1 << 24).await;
        Ok::<(StatusCode, _), hyper::Error>((status, bytes))
    };
    let answer = answer.await;
    connection.abort();
    let (status, bytes) = answer.map_err(|error| failed(error.to_string()))?;
    let bytes = bytes.map_err(|error| failed(error.to_string()))?;
    if !status.is_success() {
        let said = String::from_utf8_lossy(&bytes);
        return Err(failed(format!("{status}: {}", said.trim())));
    }
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}
