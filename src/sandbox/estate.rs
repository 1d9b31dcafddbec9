//! The demonstration estate: a small shop in the first region, as it stood before the night of the
//! story. Its servers are ordered from the cloud like any others; what runs on them was set up long
//! ago, which here means: through the back door of their machines, and not by a runbook.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::enter::nsenter_machine;
use super::hosts::Hosts;
use super::machines::Machines as _;
use super::names::{NamesError, TTL};
use super::places;
use super::secrets::{FOLDER, WorldSecrets};
use super::shop::{REDIS_SEED, SCHEMA, SEED};
use super::shop_tls;
use super::surroundings::{Services, ZONE};

/// The estate's name.
pub const NAME: &str = "shop";

/// The server with PostgreSQL. It is the first that the cloud is asked for, so it always has the
/// first address, and `inventories/sandbox.yaml` can name it.
const DATABASE: &str = "shop-db-1";
/// The server with nginx and the shop's application; the second.
const WEB: &str = "shop-web-1";

/// A script on a machine ends or is ended within this time.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(120);

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estate {
    pub name: String,
    /// Its web site, by its name.
    pub site: String,
    /// Address by server.
    pub servers: BTreeMap<String, Ipv4Addr>,
    /// The file with the servers' host keys, in the world.
    pub known_hosts: String,
}

/// Why the estate could not be built. No error shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum EstateError {
    #[error("the cloud refused {what} of the estate: {answer}")]
    Cloud { what: String, answer: String },
    #[error("the estate's server `{0}` has no machine")]
    NoMachine(String),
    #[error("setting up `{server}`: {why}")]
    Server { server: String, why: String },
    #[error("pointing the estate's names at their server")]
    Names(#[from] NamesError),
    #[error("the estate's name server was taken away")]
    NoNames,
    #[error("making the shop's certificate")]
    Certificate(#[from] shop_tls::TlsError),
    #[error("writing {}", places::KNOWN_HOSTS)]
    KnownHosts(#[source] std::io::Error),
}

/// Orders the servers, sets them up side by side, and points the names at them. Returns when the
/// shop answers on its web server.
///
/// # Errors
/// The first thing that did not work; what was built until then stays, to be looked at.
pub async fn build(
    hosts: &Arc<Hosts>,
    services: &Mutex<Services>,
    secrets: &WorldSecrets,
) -> Result<Estate, EstateError> {
    let certified = tokio::task::spawn_blocking(|| {
        shop_tls::certify(Path::new(FOLDER), Path::new(places::SHOP_AUTHORITY))
    });
    let cloud = services.lock().await.hetzner.clone();
    let ask = async |what: &str, path: &str, body: Value| {
        let (status, answer) = cloud.ask("default", Method::POST, path, Some(body)).await;
        match status {
            201 => Ok(answer),
            _ => Err(EstateError::Cloud {
                what: what.to_owned(),
                answer: format!("{status}: {answer}"),
            }),
        }
    };
    let key = json!({ "name": "shop-login", "public_key": secrets.login_public() });
    ask("the login key", "/ssh_keys", key).await?;
    let mut servers = BTreeMap::new();
    // One after the other: the order decides who gets which address.
    for (name, size, first_boot) in [
        (DATABASE, "cx33", database_first_boot()),
        (WEB, "cx23", json!({ "packages": ["nginx", "cron"] })),
    ] {
        let order = json!({
            "name": name,
            "location": "fsn1",
            "server_type": size,
            "image": "debian-12",
            "ssh_keys": ["shop-login"],
            "labels": { "estate": NAME },
            // JSON is YAML.
            "user_data": format!("#cloud-config\n{first_boot}\n"),
        });
        let answer = ask(name, "/servers", order).await?;
        let address = answer["server"]["public_net"]["ipv4"]["ip"].as_str();
        let address = address.and_then(|text| text.parse::<Ipv4Addr>().ok());
        servers.insert(
            name.to_owned(),
            address.ok_or_else(|| EstateError::Cloud {
                what: name.to_owned(),
                answer: answer.to_string(),
            })?,
        );
    }
    cloud.settled().await;

    let database = servers[DATABASE];
    match certified.await {
        Ok(done) => done?,
        Err(error) => return Err(shop_tls::TlsError::OpenSsl(error.to_string()).into()),
    }
    let web = web_script(database, secrets)?;
    let (database_key, web_key) = tokio::try_join!(
        set_up(hosts, DATABASE, database_script(secrets)),
        set_up(hosts, WEB, web),
    )?;
    let known = format!(
        "{database} {}\n{} {}\n",
        database_key.trim(),
        servers[WEB],
        web_key.trim()
    );
    write_known_hosts(&known).map_err(EstateError::KnownHosts)?;
    point_names(services, servers[WEB]).await?;
    Ok(Estate {
        name: NAME.to_owned(),
        site: format!("https://{ZONE}/"),
        servers,
        known_hosts: places::KNOWN_HOSTS.to_owned(),
    })
}

/// Runs a script as root of a machine, without SSH, and returns what it printed: the public half of
/// the machine's host key. The script holds the password, so it travels on standard input.
async fn set_up(hosts: &Hosts, server: &str, script: String) -> Result<String, EstateError> {
    let machine = hosts.find(server).await;
    let init = machine
        .and_then(|machine| machine.init_pid)
        .ok_or_else(|| EstateError::NoMachine(server.to_owned()))?;
    let failed = |why: String| EstateError::Server {
        server: server.to_owned(),
        why,
    };
    let words = nsenter_machine(init);
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .args(["sh", "-eu"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("entering its machine: {error}")))?;
    let mut stdin = child
        .stdin
        .take()
        .ok_or_else(|| failed("no input".into()))?;
    let work = async {
        stdin.write_all(script.as_bytes()).await?;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(SCRIPT_DEADLINE, work)
        .await
        .map_err(|_| failed(format!("not done after {} s", SCRIPT_DEADLINE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, said.trim())))
}

/// What a shell writes to a file, letter by letter.
fn file(path: &str, text: &str) -> String {
    format!("cat > {path} <<'END_OF_FILE'\n{text}END_OF_FILE\n")
}

/// The settings are there before the server starts for the first time: a restart takes seconds.
fn database_first_boot() -> Value {
    json!({
        "write_files": [{
            "path": "/etc/postgresql/15/main/conf.d/shop.conf",
            "content": include_str!("../../plans/files/shop/postgresql-shop.conf"),
        }],
        "packages": ["postgresql-15", "redis-server"],
    })
}

fn database_script(secrets: &WorldSecrets) -> String {
    [
        include_str!("estate/wait.sh").to_owned(),
        file(
            "/etc/postgresql/15/main/pg_hba.conf",
            include_str!("../../plans/files/shop/pg_hba.conf"),
        ),
        file(
            "/etc/redis/redis.conf",
            include_str!("../../plans/files/shop/redis.conf"),
        ),
        "umask 077\n".to_owned(),
        file(
            "/etc/redis/password.conf",
            &format!("requirepass {}\n", secrets.shop_redis_password()),
        ),
        "umask 022\n".to_owned(),
        include_str!("estate/database.sh").to_owned(),
        // Carts and sessions, as an application leaves them; redis-cli reads the password with the commands.
        format!(
            "redis-cli <<'END_OF_REDIS' | grep -qx 502\nAUTH {}\n{}END_OF_REDIS\n",
            secrets.shop_redis_password(),
            REDIS_SEED
        ),
        // Letters and digits only, as all secrets of a world.
        format!(
            "sql postgres <<'END_OF_SQL'\n\
             create role shop login password '{}';\n\
             create database shop owner shop;\n\
             END_OF_SQL\n\
             sql shop <<'END_OF_SQL'\n\
             set client_min_messages = error;\n\
             set role shop;\n{SCHEMA}\n{SEED}\n\
             END_OF_SQL\n",
            secrets.shop_database_password()
        ),
        "cat /etc/ssh/ssh_host_ed25519_key.pub\n".to_owned(),
    ]
    .concat()
}

fn web_script(database: Ipv4Addr, secrets: &WorldSecrets) -> Result<String, EstateError> {
    let password = secrets.shop_database_password();
    let secret_file = |name: &str| {
        let path = Path::new(FOLDER).join(name);
        std::fs::read_to_string(&path).map_err(|source| shop_tls::TlsError::Write { path, source })
    };
    let certificate = secret_file(shop_tls::CERTIFICATE)?;
    let key = secret_file(shop_tls::KEY)?;
    Ok([
        include_str!("estate/wait.sh").to_owned(),
        "mkdir -p /etc/shop/tls\n".to_owned(),
        file(
            "/etc/shop/shop.env",
            &format!("SHOP_DATABASE_HOST={database}\n"),
        ),
        "umask 077\n".to_owned(),
        file(
            "/etc/shop/secret.env",
            &format!("SHOP_DATABASE_PASSWORD={password}\n"),
        ),
        file("/etc/shop/tls/shop.crt", &certificate),
        file("/etc/shop/tls/shop.key", &key),
        "umask 022\nchown www-data: /etc/shop/secret.env\n".to_owned(),
        file(
            "/etc/systemd/system/shop.service",
            include_str!("../../plans/files/shop/shop.service"),
        ),
        file(
            "/etc/nginx/sites-enabled/shop.conf",
            include_str!("../../plans/files/shop/nginx-shop.conf"),
        ),
        file(
            "/etc/cron.d/shop",
            include_str!("../../plans/files/shop/cron-shop"),
        ),
        include_str!("estate/web.sh").to_owned(),
        "cat /etc/ssh/ssh_host_ed25519_key.pub\n".to_owned(),
    ]
    .concat())
}

fn write_known_hosts(text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(places::KNOWN_HOSTS)?
        .write_all(text.as_bytes())
}

async fn point_names(services: &Mutex<Services>, web: Ipv4Addr) -> Result<(), EstateError> {
    let set = |name: String| {
        json!({
            "name": name, "type": "A", "ttl": TTL, "changetype": "REPLACE",
            "records": [{ "content": web.to_string(), "disabled": false }],
        })
    };
    let body = json!({ "rrsets": [set(format!("{ZONE}.")), set(format!("www.{ZONE}."))] });
    let services = services.lock().await;
    let names = services.names.as_ref().ok_or(EstateError::NoNames)?;
    let zone = format!("/api/v1/servers/localhost/zones/{ZONE}.");
    names.call(Method::PATCH, &zone, Some(body)).await?;
    Ok(())
}
