//! The shop's application, run as the hidden command of the real binary over a real PostgreSQL 15.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dr_plan::sandbox::shop::{COMMAND, SCHEMA, SEED};
use serde_json::Value;

use super::http::client;

const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const PASSWORD: &str = "shop-database-password-of-the-test";

/// A cluster in a folder of its own, stopped and removed when dropped.
struct Postgres {
    home: tempfile::TempDir,
    port: u16,
}

/// PostgreSQL refuses to run as root: then everything goes through the `postgres` user.
fn as_postgres(program: &str) -> Command {
    let path = format!("{BINARIES}/{program}");
    if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(path);
        command
    } else {
        Command::new(path)
    }
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

impl Postgres {
    fn start() -> Postgres {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let port = free_port();
        let postgres = Postgres { home, port };
        let data = postgres.data();
        run(as_postgres("initdb")
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--pgdata",
            ])
            .arg(&data));
        let rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        postgres.launch();
        postgres.sql(
            "postgres",
            &format!("create role shop login password '{PASSWORD}'"),
        );
        postgres.sql("postgres", "create database shop owner shop");
        for (file, text) in [("schema.sql", SCHEMA), ("seed.sql", SEED)] {
            let path = postgres.home.path().join(file);
            fs::write(&path, format!("set role shop;\n{text}")).unwrap();
            run(postgres.psql("shop").arg("-f").arg(path));
        }
        postgres
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn launch(&self) {
        let home = self.home.path().display();
        let options = format!(
            "-k {home} -p {} -c listen_addresses=127.0.0.1 -c fsync=off",
            self.port
        );
        run(as_postgres("pg_ctl")
            .args(["start", "-w", "-D"])
            .arg(self.data())
            .arg("-l")
            .arg(self.home.path().join("log"))
            .args(["-o", &options]));
    }

    fn stop(&self) {
        let _ = as_postgres("pg_ctl")
            .args(["stop", "-w", "-m", "immediate", "-D"])
            .arg(self.data())
            .output();
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = as_postgres("psql");
        command
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "postgres",
                "-h",
            ])
            .arg(self.home.path())
            .args(["-p", &self.port.to_string(), "-d", database]);
        command
    }

    fn sql(&self, database: &str, text: &str) -> String {
        run(self.psql(database).args(["-c", text]))
            .trim()
            .to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

struct Shop {
    process: Child,
    port: u16,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Shop {
    async fn start(folder: &Path, database_port: u16) -> Shop {
        let port = free_port();
        let settings = folder.join("shop.env");
        let secret = folder.join("secret.env");
        fs::write(
            &settings,
            format!(
                "SHOP_LISTEN=127.0.0.1:{port}\nSHOP_DATABASE_HOST=127.0.0.1\nSHOP_DATABASE_PORT={database_port}\n"
            ),
        )
        .unwrap();
        fs::write(&secret, format!("SHOP_DATABASE_PASSWORD={PASSWORD}\n")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_dr-plan"))
            .arg(COMMAND)
            .args([&settings, &secret])
            .spawn()
            .unwrap();
        let shop = Shop { process, port };
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "the shop does not listen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shop
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let response = client().get(url).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        let (status, text) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn order(&self, body: &'static str) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}/orders", self.port);
        let response = client().post(url).body(body).send().await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_str(&response.text().await.unwrap()).unwrap(),
        )
    }
}

#[tokio::test]
async fn the_shop_shows_what_its_database_says_at_that_moment() {
    let postgres = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let shop = Shop::start(folder.path(), postgres.port).await;
    assert!(
        postgres
            .sql("shop", "select count(*) from users")
            .parse::<u32>()
            .unwrap()
            >= 1000
    );
    assert_eq!(shop.json("/health").await["status"], "ok");

    let (status, written) = shop.order(r#"{"cents": 1234}"#).await;
    assert_eq!(status, 201);
    assert_eq!(written["total"], 12.34);
    let newest = shop.json("/orders/newest").await;
    assert_eq!(newest, written);
    assert_eq!(
        newest["id"].to_string(),
        postgres.sql("shop", "select max(id) from orders")
    );
    let said: jiff::Timestamp = newest["created_at"].as_str().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(said).as_secs();
    assert!((-1..60).contains(&age), "{age}");
    assert_eq!(shop.order("").await.0, 201);
    assert_eq!(shop.order(r#"{"cents": -1}"#).await.0, 422);
    assert_eq!(shop.order("nonsense").await.0, 422);

    let orders = shop.json("/orders?limit=3").await;
    assert_eq!(orders.as_array().unwrap().len(), 3);
    assert_eq!(orders[1], newest);
    postgres.sql("shop", "update users set name = '<b>x</b>' where id = (select user_id from orders order by id desc limit 1)");
    let (_, page) = shop.get("/").await;
    assert!(
        page.contains("&lt;b&gt;x&lt;/b&gt;") && !page.contains("<b>x"),
        "{page}"
    );
    assert!(
        page.contains(&format!("<td>{}</td>", newest["id"])),
        "{page}"
    );
    postgres.sql("shop", "delete from orders");
    assert_eq!(
        shop.get("/orders/newest").await.0,
        404,
        "nothing is kept in memory"
    );
}

#[tokio::test]
async fn the_shop_is_unavailable_without_its_database_and_comes_back_with_it() {
    let postgres = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let shop = Shop::start(folder.path(), postgres.port).await;
    assert_eq!(shop.get("/health").await.0, 200);
    postgres.stop();
    for path in ["/health", "/", "/orders", "/orders/newest"] {
        let (status, text) = shop.get(path).await;
        assert_eq!(status, 503, "{path}");
        assert!(
            text.contains("because") && !text.contains(PASSWORD),
            "{text}"
        );
    }
    postgres.launch();
    assert_eq!(shop.get("/health").await.0, 200);
    let environment = fs::read(format!("/proc/{}/environ", shop.process.id())).unwrap();
    let arguments = fs::read(format!("/proc/{}/cmdline", shop.process.id())).unwrap();
    for shown in [environment, arguments] {
        assert!(!String::from_utf8_lossy(&shown).contains(PASSWORD));
    }
}

/// nginx in the foreground with the site of the runbooks, on ports of the test's own.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn nginx(folder: &Path, application: u16) -> (Nginx, u16) {
    let site = include_str!("../../../plans/files/shop/nginx-shop.conf");
    let port = free_port();
    let mut text = site.to_owned();
    for (as_written, here) in [
        ("listen 80;", format!("listen 127.0.0.1:{port};")),
        // Without a certificate: what is asked here is what it passes on.
        ("    listen 443 ssl;\n", String::new()),
        (
            "    ssl_certificate /etc/shop/tls/shop.crt;\n",
            String::new(),
        ),
        (
            "    ssl_certificate_key /etc/shop/tls/shop.key;\n",
            String::new(),
        ),
        ("127.0.0.1:8080", format!("127.0.0.1:{application}")),
        ("/var/log/nginx", folder.display().to_string()),
    ] {
        assert!(text.contains(as_written), "the site has no `{as_written}`");
        text = text.replace(as_written, &here);
    }
    fs::write(folder.join("site"), text).unwrap();
    let home = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {home}/{kind};\n"))
        .concat();
    let main = format!(
        "daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;\n\
         events {{}}\nhttp {{ {temporary} include {home}/site; }}\n"
    );
    fs::write(folder.join("nginx.conf"), main).unwrap();
    let process = Command::new("nginx")
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let nginx = Nginx(process);
    let deadline = Instant::now() + Duration::from_secs(20);
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "nginx does not listen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (nginx, port)
}

#[tokio::test]
async fn the_site_of_the_runbooks_passes_everything_on_and_keeps_nothing() {
    let postgres = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let shop = Shop::start(folder.path(), postgres.port).await;
    let (_nginx, port) = nginx(folder.path(), shop.port).await;
    let get = async |path: &str| {
        let request = client()
            .get(format!("http://127.0.0.1:{port}{path}"))
            .header("host", "shop.example");
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get("/health").await.0, 200);
    let (_, before) = shop.order("").await;
    let newest = get("/orders/newest").await.1;
    assert_eq!(serde_json::from_str::<Value>(&newest).unwrap(), before);
    let (_, after) = shop.order("").await;
    let newest = get("/orders/newest").await.1;
    assert_eq!(serde_json::from_str::<Value>(&newest).unwrap(), after);
    postgres.stop();
    assert_eq!(get("/health").await.0, 503);
    drop(shop);
    assert_eq!(get("/health").await.0, 502);
}

#[test]
fn the_unit_of_the_runbooks_starts_the_command_that_exists() {
    let unit = include_str!("../../../plans/files/shop/shop.service");
    assert!(unit.contains(&format!(
        "/dr-plan {COMMAND} /etc/shop/shop.env /etc/shop/secret.env"
    )));
    assert!(!unit.contains("\nEnvironmentFile"));
}

#[test]
fn the_shop_says_which_setting_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.env");
    fs::write(&file, "SHOP_DATABASE_HOST=127.0.0.1\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dr-plan"))
        .arg(COMMAND)
        .arg(&file)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("SHOP_DATABASE_PASSWORD"), "{said}");
}
