//! A shop in a sandbox of its own: backups, orders, a lost region, runs of plans that a test has changed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dr_plan::sandbox::control::{Answer, Ask};
use dr_plan::sandbox::machines::Machine;
use dr_plan::sandbox::world::{Contents, Folders, World};
use serde_json::Value;

use crate::failover::shop::as_it_grows;

/// One world of this kind at a time: each fills a small machine's processors.
static TURN: Mutex<()> = Mutex::new(());

/// A world with the estate in it; everything goes with it, also when the test fails.
pub struct Shop {
    pub world: World,
    home: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.world.down();
    }
}

/// What a run left.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Its folder.
    pub folder: PathBuf,
}

impl Ran {
    /// Both streams, for messages of tests and for looking into.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        self.folder.file_name().unwrap().to_str().unwrap()
    }

    /// All events of the journal: `what`, with `event`, `step` and the rest.
    pub fn events(&self) -> Vec<Value> {
        journal(&self.folder)
    }

    /// The value that a step noted last.
    pub fn noted(&self, step: &str, key: &str) -> Option<Value> {
        let events = self.events();
        let of = |event: &&Value| {
            event["event"] == "note" && event["step"] == step && event["key"] == key
        };
        events
            .iter()
            .rev()
            .find(of)
            .map(|event| event["value"].clone())
    }

    pub fn report(&self) -> Value {
        let text = fs::read_to_string(self.folder.join("report.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

fn journal(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("journal.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|mut record| record["what"].take())
        .collect()
}

/// A run that goes on beside the test.
pub struct Going {
    child: Child,
    before: Vec<PathBuf>,
}

impl Shop {
    /// Two regions; the shop stands in `fsn1`.
    pub fn up() -> Self {
        let shop = Self::without_servers();
        match shop.world.ask(&Ask::BuildEstate) {
            Ok(Answer::Estate { .. }) => shop,
            other => panic!("{other:?}"),
        }
    }

    /// The cloud, the names and the store, and no server yet.
    pub fn without_servers() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::tempdir().unwrap();
        let folders = Folders {
            state: Folders::below(&home.path().join("state"), Path::new("/")).state,
            cache: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sandbox-cache"),
        };
        for folder in ["tmp", "plans"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let program = Path::new(env!("CARGO_BIN_EXE_dr-plan"));
        let world = World::up("demo", 2, Contents::Services, &folders, program)
            .unwrap_or_else(|error| panic!("{error}"))
            .world();
        Self {
            world,
            home,
            _turn: turn,
        }
    }

    /// The folder that everything of the orchestrator lies in: its state, its temporary files.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs a script in the world, as its root.
    pub fn inside(&self, script: &str) -> String {
        let mut command = self.world.command(&["sh", "-eu"]);
        told("a script in the world", script, &mut command)
    }

    /// Runs a script on a machine, as its root, without SSH.
    pub fn on(&self, server: &str, script: &str) -> String {
        let machine = self.machine(server);
        let mut command = self.world.command_on(&machine, &["sh", "-eu"]).unwrap();
        told(server, script, &mut command)
    }

    /// The one machine whose name begins so.
    pub fn machine(&self, start: &str) -> Machine {
        let mut all = self.world.status().unwrap().machines;
        all.retain(|machine| machine.name.starts_with(start));
        assert_eq!(all.len(), 1, "`{start}`: {all:?}");
        all.remove(0)
    }

    /// Takes an order at the shop's name; the answer of the shop.
    pub fn order(&self) -> Value {
        let said = self.inside("curl -sSf --data '{\"cents\": 4200}' http://shop.example/orders");
        serde_json::from_str(&said).unwrap()
    }

    /// Backups as a person would make them, whose names say `named` (`%Y%m%dT%H%M%SZ`).
    pub fn backup(&self, named: &str) {
        let on = |address: &str, words: &str| {
            format!(
                "ssh -q -n -i $S/login -o UserKnownHostsFile=/run/dr-plan/known_hosts root@{address} '{words}'"
            )
        };
        let dumps = [
            (
                "postgres",
                format!("shop-{named}.dump.gpg"),
                on(
                    "198.18.1.1",
                    "cd /; runuser -u postgres -- pg_dump -Fc shop",
                ),
            ),
            (
                "redis",
                format!("cache-{named}.rdb.gpg"),
                on(
                    "198.18.1.1",
                    "{ sed s/^requirepass/AUTH/ /etc/redis/password.conf; echo SAVE; } | redis-cli >/dev/null; cat /var/lib/redis/dump.rdb",
                ),
            ),
            (
                "media",
                format!("media-{named}.tar.gz.gpg"),
                on("198.18.1.2", "tar -C /srv/shop/media -cf - . | gzip"),
            ),
            (
                "config",
                format!("config-{named}.tar.gz.gpg"),
                on(
                    "198.18.1.2",
                    "tar -C / -cf - etc/nginx/sites-enabled/shop.conf etc/cron.d/shop | gzip",
                ),
            ),
        ];
        for (folder, name, dump) in dumps {
            self.store_as(folder, &name, &dump, "$S/backup_passphrase");
        }
    }

    /// What a command prints, encrypted and stored in a folder of the bucket under the name of a database's dump.
    pub fn store(&self, folder: &str, named: &str, command: &str, passphrase: &str) {
        self.store_as(
            folder,
            &format!("shop-{named}.dump.gpg"),
            command,
            passphrase,
        );
    }

    /// The same under any name, with a line in the folder's manifest.
    fn store_as(&self, folder: &str, name: &str, command: &str, passphrase: &str) {
        self.inside(&format!(
            r#"
            S=/run/dr-plan/secrets; f={name}; d=$(mktemp -d)
            {command} > $d/dump
            gpg --batch --homedir $d --pinentry-mode loopback --passphrase-file {passphrase} \
                --symmetric --s2k-count 65536 --cipher-algo AES256 -o $d/$f $d/dump 2> /dev/null
            hash() {{ sha256sum "$1" | cut -d ' ' -f 1; }}
            put() {{ printf 'user = "%s:%s"\n' "$(cat $S/s3_access_key)" "$(cat $S/s3_secret_key)" |
                curl -sS --fail -K - --aws-sigv4 aws:amz:eu:s3 -H "x-amz-content-sha256: $(hash "$1")" \
                -T "$1" http://198.18.255.2/shop-backups/{folder}/$2; }}
            put $d/$f $f
            touch /run/dr-plan/manifest-{folder}
            printf '{{"artifact":"%s","bytes":%s,"sha256":"%s"}}\n' \
                $f $(stat -c %s $d/$f) $(hash $d/$f) >> /run/dr-plan/manifest-{folder}
            put /run/dr-plan/manifest-{folder} manifest.ndjson
            gpgconf --homedir $d --kill all; rm -rf $d
            "#
        ));
    }

    /// A region is gone from now on.
    pub fn lose(&self) -> String {
        let at = now();
        match self.world.ask(&Ask::LoseRegion { region: 0 }) {
            Ok(Answer::Done) => at,
            other => panic!("{other:?}"),
        }
    }

    /// A copy of the repository's plans with a change in the failover's text.
    pub fn changed(&self, change: impl FnOnce(String) -> String) -> PathBuf {
        let text = fs::read_to_string(repository().join("plans/region-failover.yaml")).unwrap();
        self.plan("changed", &change(text))
    }

    /// Another plan, beside the same inventory, accounts and files.
    pub fn plan(&self, name: &str, text: &str) -> PathBuf {
        for folder in ["plans", "inventories", "providers"] {
            copy(&repository().join(folder), &self.home().join(folder));
        }
        let path = self.home().join("plans").join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        path
    }

    /// Changes the copied inventory; after [`Shop::plan`], which copies it anew.
    pub fn inventory(&self, change: impl FnOnce(String) -> String) {
        let path = self.home().join("inventories/sandbox.yaml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, change(text)).unwrap();
    }

    /// `dr-plan WORDS`, with this test's own folders for state and temporary files.
    pub fn dr(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr-plan"));
        command
            .args(words)
            .current_dir(repository())
            .env("XDG_STATE_HOME", self.home().join("state"))
            .env("TMPDIR", self.home().join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Takes a run up again.
    pub fn resume(&self, ran: &Ran) -> Ran {
        self.resume_with(ran, &[])
    }

    /// The same, with more words.
    pub fn resume_with(&self, ran: &Ran, more: &[&str]) -> Ran {
        let words = [&["-v", "resume", ran.id()], more].concat();
        let output = self.dr(&words).output().unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: ran.folder.clone(),
        }
    }

    /// Runs a plan to its end.
    pub fn run(&self, plan: &Path, words: &[&str]) -> Ran {
        self.begin(plan, words).ended(self)
    }

    /// Begins a run.
    pub fn begin(&self, plan: &Path, words: &[&str]) -> Going {
        let before = self.runs();
        let mut all = vec!["-v", "run", plan.to_str().unwrap(), "--yes", "--anew"];
        all.extend(words);
        let child = self.dr(&all).spawn().unwrap();
        Going { child, before }
    }

    fn runs(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.home().join("state/dr-plan/runs"));
        folder.map_or_else(
            |_| Vec::new(),
            |all| all.flatten().map(|entry| entry.path()).collect(),
        )
    }

    /// Addresses of the shop's names, as its name server has them; each once for each name.
    pub fn names(&self) -> Vec<String> {
        let said = self.inside(
            "curl -sSf -H \"X-API-Key: $(cat /run/dr-plan/secrets/powerdns_key)\" \
             http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example.",
        );
        let zone: Value = serde_json::from_str(&said).unwrap();
        let sets = zone["rrsets"].as_array().unwrap().iter();
        let shop = sets.filter(|set| {
            set["type"] == "A"
                && ["shop.example.", "www.shop.example."].contains(&set["name"].as_str().unwrap())
        });
        shop.flat_map(|set| set["records"].as_array().unwrap().clone())
            .map(|record| record["content"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What the levers of the cloud answer.
    pub fn lever(&self, words: &str) -> Value {
        let said = self.inside(&format!("curl -sSf http://127.0.0.1:8000/_sandbox/{words}"));
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{words}: {said}"))
    }
}

impl Going {
    /// The run's folder, as soon as it is there.
    pub fn folder(&self, shop: &Shop) -> PathBuf {
        wait_for("the run's folder", || {
            shop.runs()
                .into_iter()
                .find(|path| !self.before.contains(path))
        })
    }

    /// Waits for an event of the journal.
    pub fn until(&self, shop: &Shop, what: &str, found: impl Fn(&Value) -> bool) {
        let folder = self.folder(shop);
        let length =
            || fs::metadata(folder.join("journal.jsonl")).map_or(0, |journal| journal.len());
        let come = || journal(&folder).iter().any(&found).then_some(());
        wait_for(what, as_it_grows(length, come));
    }

    pub fn ended(self, shop: &Shop) -> Ran {
        let folder = shop
            .runs()
            .into_iter()
            .find(|path| !self.before.contains(path));
        let output = self.child.wait_with_output().unwrap();
        let folder = folder.or_else(|| {
            shop.runs()
                .into_iter()
                .find(|path| !self.before.contains(path))
        });
        let ran = Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: folder.unwrap_or_default(),
        };
        assert!(ran.folder.is_absolute(), "no run was begun: {}", ran.said());
        ran
    }
}

/// RFC 3339, UTC.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// A moment as the names of backups say it, so many seconds ago.
pub fn name_of(seconds_ago: i64) -> String {
    let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds_ago);
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Asks until there is an answer, for at most a minute.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "a minute went by without {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn told(place: &str, script: &str, command: &mut Command) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(
        status.success(),
        "{place}: {status}: {stdout}{stderr}\n{script}"
    );
    stdout
}
