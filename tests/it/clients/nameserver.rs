//! A real `pdns_server` and a real `unbound`, on loopback, gone when they are dropped.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use dr_plan::http::HttpOptions;
use serde_json::json;
use tokio::process::{Child, Command};
use url::Url;

pub const KEY: &str = "canary-pdns-key-0123";
pub const ZONE: &str = "shop.example";
pub const SOON: Duration = Duration::from_secs(5);

/// Waits until it holds; a deadline that no working machine misses.
pub async fn wait_for<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < end, "it never came to hold");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A real authoritative server with an empty zone.
pub struct Pdns {
    _folder: tempfile::TempDir,
    _child: Child,
    pub api: Url,
    pub dns: SocketAddr,
}

/// A port that is free for both UDP and TCP at this moment.
pub fn free_port() -> u16 {
    loop {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Pdns {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("pdns.sqlite");
        let schema =
            std::fs::File::open("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
                .expect("package pdns-backend-sqlite3 is installed");
        let made = std::process::Command::new("sqlite3")
            .arg(&database)
            .stdin(schema)
            .status()
            .unwrap();
        assert!(made.success());
        let (dns, api) = (free_port(), free_port());
        let option = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let child = Command::new("/usr/sbin/pdns_server")
            .args([
                "--no-config",
                "--daemon=no",
                "--guardian=no",
                "--launch=gsqlite3",
                "--disable-syslog=yes",
            ])
            .args([
                option("gsqlite3-database", &database.display()),
                option("socket-dir", &folder.path().display()),
            ])
            .args([
                "--local-address=127.0.0.1".to_string(),
                option("local-port", &dns),
            ])
            .args([
                "--api=yes",
                "--webserver=yes",
                "--webserver-address=127.0.0.1",
                "--zone-cache-refresh-interval=0",
            ])
            .args([
                "--webserver-allow-from=127.0.0.0/8".to_string(),
                option("webserver-port", &api),
            ])
            .arg(option("api-key", &KEY))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let api: Url = format!("http://127.0.0.1:{api}").parse().unwrap();
        let pdns = Self {
            _folder: folder,
            _child: child,
            api,
            dns: ([127, 0, 0, 1], dns).into(),
        };
        wait_for(|| async {
            pdns.request("GET", "/zones", None)
                .await
                .is_some_and(|s| s == 200)
        })
        .await;
        let zone = json!({ "name": "shop.example.", "kind": "Native", "nameservers": ["ns1.shop.example."], "rrsets": [
            { "name": "shop.example.", "type": "SOA", "ttl": 5, "records": [
                { "content": "ns1.shop.example. host.shop.example. 1 10800 3600 604800 5", "disabled": false }] },
            { "name": "www.shop.example.", "type": "A", "ttl": 5, "records": [
                { "content": "192.0.2.1", "disabled": false }] },
        ] });
        assert_eq!(pdns.request("POST", "/zones", Some(zone)).await, Some(201));
        pdns
    }

    pub async fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Option<u16> {
        let client = dr_plan::http::http_client(&HttpOptions {
            direct: true,
            ..HttpOptions::default()
        })
        .unwrap();
        let url = format!("{}api/v1/servers/localhost{path}", self.api);
        let mut request = client
            .request(method.parse().unwrap(), url)
            .header("X-API-Key", KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        request
            .send()
            .await
            .ok()
            .map(|answer| answer.status().as_u16())
    }

    pub async fn patch(&self, sets: serde_json::Value) {
        let body = json!({ "rrsets": sets });
        assert_eq!(
            self.request("PATCH", "/zones/shop.example.", Some(body))
                .await,
            Some(204)
        );
    }
}

/// A real caching resolver that finds `shop.example` and `refused.example` at the given server.
pub async fn unbound(folder: &Path, upstream: SocketAddr) -> (Child, SocketAddr) {
    let port = free_port();
    let config = folder.join("unbound.conf");
    let text = format!(
        "server:\n  interface: 127.0.0.1\n  port: {port}\n  do-daemonize: no\n  chroot: \"\"\n  username: \"\"\n  \
         directory: \"{0}\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"{0}/log\"\n  do-not-query-localhost: no\n  \
         module-config: \"iterator\"\n  do-ip6: no\nremote-control:\n  control-enable: no\n\
         stub-zone:\n  name: \"shop.example\"\n  stub-addr: {1}@{2}\n\
         stub-zone:\n  name: \"refused.example\"\n  stub-addr: {1}@{2}\n",
        folder.display(),
        upstream.ip(),
        upstream.port()
    );
    std::fs::write(&config, text).unwrap();
    let child = Command::new("/usr/sbin/unbound")
        .arg("-d")
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    wait_for(|| async move { tokio::net::TcpStream::connect(address).await.is_ok() }).await;
    (child, address)
}
