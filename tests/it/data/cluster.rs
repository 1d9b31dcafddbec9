//! A PostgreSQL cluster of a test's own, on a unix socket only, gone with the test; and the shop that lives in it.

use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use dr_plan::dataset::postgres::{MissingRoles, Restoration, Site, Spec};
use dr_plan::ids::{RunId, StepId};

use dr_plan::transport::Local;

use super::doubles::this_machine;

const BIN: &str = "/usr/lib/postgresql/15/bin";

pub struct Cluster {
    folder: tempfile::TempDir,
    pub host: Arc<Local>,
}

/// A program as the user that may run PostgreSQL.
pub fn as_postgres(program: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--init-groups",
        ]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn good(what: &str, output: Output) -> Vec<u8> {
    assert!(
        output.status.success(),
        "{what}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs a program with bytes on its standard input; gives back its output.
pub fn through(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    good(&format!("{command:?}"), output)
}

/// How clusters are made; a part of the name of the one that is kept.
const FLAGS: [&str; 8] = [
    "-N",
    "-A",
    "trust",
    "-U",
    "postgres",
    "--locale=C.UTF-8",
    "-E",
    "UTF8",
];

/// An empty cluster. The first one is made and kept, the others are copies of it: initdb computes for longer than most tests.
fn lay(data: &Path) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = format!("{BIN}/initdb");
    let of = std::fs::metadata(&program).unwrap();
    let us = rustix::process::geteuid().as_raw();
    let first = kept.join(format!(
        "cluster{}-{us}-{}-{}",
        FLAGS.concat().replace('/', ""),
        of.mtime(),
        of.len()
    ));
    let copy = |from: &Path, to: &Path| {
        let command = Command::new("cp").arg("-a").args([from, to]).output();
        good("cp", command.unwrap());
    };
    let lock = std::fs::File::create(kept.join("cluster.lock")).unwrap();
    lock.lock().unwrap();
    if first.exists() {
        drop(lock);
        return copy(&first, data);
    }
    let mut command = as_postgres(&program);
    command.args(FLAGS).arg("-D").arg(data).current_dir("/");
    good("initdb", command.output().unwrap());
    let part = kept.join("cluster.part");
    let _ = std::fs::remove_dir_all(&part);
    copy(data, &part);
    std::fs::rename(&part, &first).unwrap();
}

impl Cluster {
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("dr-pg")
            .tempdir_in("/tmp")
            .unwrap();
        let owned = Command::new("chown")
            .arg("postgres")
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(owned.success() || !rustix::process::geteuid().is_root());
        let data = folder.path().join("data");
        lay(&data);
        let cluster = Self {
            host: this_machine(folder.path()),
            folder,
        };
        cluster.launch("");
        cluster
    }

    fn launch(&self, more: &str) {
        let log = self.folder.path().join("log");
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories={} -c fsync=off -c max_prepared_transactions=2 {more}",
            self.folder.path().display()
        );
        let started = self
            .control("start")
            .args(["-t", "60", "-l"])
            .arg(&log)
            .args(["-o", &options])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(
            started.success(),
            "{}",
            std::fs::read_to_string(&log).unwrap_or_default()
        );
    }

    fn control(&self, verb: &str) -> Command {
        let mut command = as_postgres(&format!("{BIN}/pg_ctl"));
        command
            .args([verb, "-w", "-D"])
            .arg(self.folder.path().join("data"))
            .current_dir("/");
        command
    }

    /// From now on the server lets nobody in, as it does while it starts: a standby that answers nobody.
    pub fn let_nobody_in(&self) {
        good(
            "stop",
            self.control("stop").args(["-m", "fast"]).output().unwrap(),
        );
        let signal = self.folder.path().join("data/standby.signal");
        good("touch", as_postgres("touch").arg(&signal).output().unwrap());
        self.launch("-c hot_standby=off");
    }

    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    pub fn staging(&self) -> PathBuf {
        self.folder.path().join("staging")
    }

    fn client(&self, program: &str) -> Command {
        let mut command = as_postgres(&format!("{BIN}/{program}"));
        command
            .env("PGHOST", self.socket())
            .env("PGUSER", "postgres")
            .current_dir("/");
        command
    }

    /// Runs statements; gives back what psql printed.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let mut command = self.client("psql");
        command.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database]);
        String::from_utf8(through(&mut command, statements.as_bytes()))
            .unwrap()
            .trim()
            .to_string()
    }

    /// Names of all databases but the server's own.
    pub fn databases(&self) -> Vec<String> {
        let text = self.sql(
            "postgres",
            "select datname from pg_database where datname not in ('postgres', 'template0', 'template1') order by 1",
        );
        text.lines().map(str::to_string).collect()
    }

    pub fn dump(&self, database: &str, options: &[&str]) -> Vec<u8> {
        // To a pipe, as people do: such a custom dump has no offsets in its table of contents.
        through(self.client("pg_dump").args(options).arg(database), b"")
    }

    /// A shop with what makes restores hard: owners, grants, extensions, sequences, views, functions, odd texts.
    pub fn make_shop(&self, orders: u32) {
        self.sql(
            "postgres",
            "create role shop login; create role reader nologin; create role \"Odd \"\"Role\" nologin;
             create database shop owner shop;",
        );
        self.sql("shop", include_str!("shop.sql"));
        self.sql(
            "shop",
            &format!(
                "set role shop;
                 insert into customers (name) select 'customer ' || i from generate_series(1, 50) i;
                 insert into orders (customer, total, created_at)
                   select 1 + i % 50, i * 1.25, timestamptz '2026-11-20 00:00:00+00' + i * interval '1 second'
                   from generate_series(1, {orders}) i;
                 refresh materialized view totals;"
            ),
        );
    }

    /// Rows and an order-independent hash of each table.
    pub fn fingerprint(&self, database: &str) -> String {
        self.sql(
            database,
            "select format('select %L, count(*), coalesce(sum((''x'' || substr(md5(t::text), 1, 12))::bit(48)::bigint), 0) from %s t', c.oid::regclass, c.oid::regclass)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
              where relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema') order by 1 \\gexec",
        )
    }

    pub fn spec(&self) -> Spec {
        Spec {
            database: "shop".into(),
            owner: "shop".into(),
            version: 15,
            missing_roles: MissingRoles::ToOwner,
            replace: false,
            site: Site {
                run_as: Some("postgres".into()),
                socket: Some(self.socket().display().to_string()),
                port: 5432,
                folder: Some(self.staging().display().to_string()),
            },
        }
    }

    /// A first attempt whose host knows no earlier job.
    pub fn fresh(&self, spec: Spec, backup: &str) -> Restoration {
        let host = this_machine(self.folder.path());
        Restoration::new(
            host,
            spec,
            run(),
            StepId::new("restore-db").unwrap(),
            1,
            backup,
        )
        .unwrap()
    }

    pub fn restoration(&self, spec: Spec, attempt: u32, backup: &str) -> Restoration {
        Restoration::new(
            self.host.clone(),
            spec,
            run(),
            StepId::new("restore-db").unwrap(),
            attempt,
            backup,
        )
        .unwrap()
    }
}

pub fn run() -> RunId {
    RunId::parse("01k8x0000000000000abcdefgh").unwrap()
}

impl Cluster {
    pub fn stop(&self) {
        let _ = as_postgres(&format!("{BIN}/pg_ctl"))
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.folder.path().join("data"))
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Closes bytes as a person would, with a passphrase.
pub fn gpg(passphrase: &str, content: &[u8]) -> Vec<u8> {
    closed(passphrase, content, &[])
}

/// The same with a key that is stretched less, for tests that open many. 1024 would be written as 0, which is read as the default.
pub fn gpg_quick(passphrase: &str, content: &[u8]) -> Vec<u8> {
    closed(passphrase, content, &["--s2k-count", "65536"])
}

fn closed(passphrase: &str, content: &[u8], options: &[&str]) -> Vec<u8> {
    let home = tempfile::Builder::new()
        .prefix("dr-gpg")
        .tempdir_in("/tmp")
        .unwrap();
    let words = home.path().join("words");
    std::fs::write(&words, passphrase).unwrap();
    let closed = through(
        Command::new("gpg")
            .arg("--homedir")
            .arg(home.path())
            .args([
                "--batch",
                "--quiet",
                "--no-tty",
                "--pinentry-mode",
                "loopback",
                "--passphrase-file",
            ])
            .arg(&words)
            .args(["--symmetric", "--cipher-algo", "AES256"])
            .args(options),
        content,
    );
    let _ = Command::new("gpgconf")
        .arg("--homedir")
        .arg(home.path())
        .args(["--kill", "all"])
        .status();
    closed
}
