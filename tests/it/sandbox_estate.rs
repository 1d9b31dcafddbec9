//! The sandbox as people type it: worlds with their services and the demonstration estate, the example files
//! of the repository, and the doors between inside and outside.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// A world with a state folder of its own; it goes with the test, also when that fails.
struct World {
    name: &'static str,
    state: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.run(&["sandbox", "down", self.name]);
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn words(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", words(output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl World {
    fn new(name: &'static str) -> World {
        let state = tempfile::tempdir().unwrap();
        World { name, state }
    }

    fn up(name: &'static str, more: &[&str]) -> World {
        let world = World::new(name);
        let output = world.run(&[&["sandbox", "up", name], more].concat());
        assert!(output.status.success(), "{}", words(&output));
        world
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr-plan"));
        command
            .args(arguments)
            .env("XDG_STATE_HOME", self.state.path())
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .current_dir(repository())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn inside(&self, words: &[&str]) -> Output {
        self.run(&[&["sandbox", "exec", "--world", self.name, "--"], words].concat())
    }

    /// What a script prints in the world.
    fn script(&self, text: &str) -> String {
        stdout(&self.inside(&["sh", "-euc", text]))
    }

    fn status(&self) -> Value {
        let output = self.run(&["--json", "sandbox", "status", self.name]);
        let all: Value = serde_json::from_str(&stdout(&output)).unwrap();
        all["worlds"][0].clone()
    }

    fn break_or_mend(&self, arguments: &[&str]) -> Output {
        self.run(&[&["sandbox"], arguments, &["--world", self.name]].concat())
    }

    fn folder(&self) -> PathBuf {
        self.state.path().join("dr-plan/sandbox").join(self.name)
    }
}

/// Asks until it is so, and fails with the last answer.
fn until(what: &str, mut so: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match so() {
            Ok(()) => return,
            Err(why) => assert!(Instant::now() < deadline, "{what}: {why}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_estate_serves_its_shop_until_its_region_is_lost() {
    let world = World::up("estate", &["--estate", "shop"]);
    let newest = world.script("curl -sS --fail http://www.shop.example/orders/newest");
    assert_eq!(serde_json::from_str::<Value>(&newest).unwrap()["id"], 3024);

    let status = world.status();
    assert_eq!(status["estate"]["servers"]["shop-db-1"], "198.18.1.1");
    assert_eq!(status["estate"]["servers"]["shop-web-1"], "198.18.1.2");
    assert_eq!(status["services"]["taken_away"], Value::Array(Vec::new()));

    // The login key of the inventory opens the hosts, and their keys are the known ones.
    let ssh = "ssh -F none -i /run/dr-plan/secrets/login -o UserKnownHostsFile=/run/dr-plan/known_hosts \
               -o StrictHostKeyChecking=yes -o BatchMode=yes";
    let script = format!(
        "for host in 198.18.1.1 198.18.1.2; do {ssh} root@$host 'hostname; getent hosts shop.example'; done"
    );
    let said = world.script(&script);
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        [
            "shop-db-1",
            "198.18.1.2",
            "shop.example",
            "shop-web-1",
            "198.18.1.2",
            "shop.example"
        ]
    );
    // The password is where the application reads it, and nobody else.
    let mode = format!("{ssh} root@198.18.1.2 'stat -c \"%U %a\" /etc/shop/secret.env'");
    assert_eq!(world.script(&mode), "www-data 600");

    // Built already: found, not built twice.
    let again = world.run(&["sandbox", "up", "estate", "--estate", "shop"]);
    assert!(words(&again).contains("runs already"), "{}", words(&again));
    assert_eq!(world.status()["machines"].as_array().unwrap().len(), 2);

    // Without power, without a cable: both come back with what they had.
    for what in ["host", "link"] {
        stdout(&world.break_or_mend(&["break", what, "shop-web-1"]));
        let ask = [
            "curl",
            "-sS",
            "--fail",
            "--max-time",
            "3",
            "http://shop.example/health",
        ];
        assert!(!world.inside(&ask).status.success(), "{what}");
        stdout(&world.break_or_mend(&["mend", what, "shop-web-1"]));
        until("the shop to answer again", || {
            let said = world.inside(&ask);
            said.status
                .success()
                .then_some(())
                .ok_or_else(|| words(&said))
        });
    }

    let typo = world.break_or_mend(&["break", "region", "fns1"]);
    assert_eq!(typo.status.code(), Some(2), "{}", words(&typo));
    assert!(
        words(&typo).contains("did you mean `fsn1`?"),
        "{}",
        words(&typo)
    );

    stdout(&world.break_or_mend(&["break", "region", "fsn1"]));
    let gone = world.inside(&[
        "curl",
        "-sS",
        "--max-time",
        "5",
        "http://shop.example/health",
    ]);
    assert!(!gone.status.success(), "{}", words(&gone));
    let token = "$(cat /run/dr-plan/secrets/hcloud_token)";
    let api =
        format!("curl -sS -H \"Authorization: Bearer {token}\" http://198.18.255.1/v1/servers");
    let list: Value = serde_json::from_str(&world.script(&api)).unwrap();
    for server in list["servers"].as_array().unwrap() {
        assert_eq!(
            server["status"], "running",
            "the provider's books outlive the hardware"
        );
    }
    let order = r#"{"name":"new","server_type":"cx23","image":"debian-12","location":"fsn1"}"#;
    let refused = world.script(&format!(
        "{api} -H 'Content-Type: application/json' -d '{order}'"
    ));
    assert!(refused.contains("resource_unavailable"), "{refused}");
}

#[test]
fn services_refuse_while_they_are_taken_away_and_come_back_with_what_they_kept() {
    let world = World::up("parts", &[]);
    let api = "curl -sS -o /dev/null http://198.18.255.1/v1/servers";
    let store = "curl -sS -o /dev/null http://198.18.255.2/shop-backups";
    let zone = "curl -sS --fail -H \"X-API-Key: $(cat /run/dr-plan/secrets/powerdns_key)\" \
                http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example. | grep -q hostmaster";
    for (part, question) in [("hetzner", api), ("store", store), ("dns", zone)] {
        let asked = || world.inside(&["sh", "-euc", question]);
        assert!(asked().status.success(), "{part}: {}", words(&asked()));
        stdout(&world.break_or_mend(&["break", "api", part]));
        assert_eq!(world.status()["services"]["taken_away"][0], part);
        until(&format!("{part} refuses"), || match asked().status.code() {
            Some(0) => Err("it answers".to_owned()),
            _ => Ok(()),
        });
        stdout(&world.break_or_mend(&["mend", "api", part]));
        assert!(asked().status.success(), "{part}: {}", words(&asked()));
    }
}

#[test]
fn a_message_to_the_world_is_kept() {
    let world = World::up("told", &[]);
    let kept = world.script(
        "curl -sS --fail -d '{\"text\":\"it is over\"}' http://198.18.255.5/ops; cat /run/dr-plan/services/messages.jsonl",
    );
    let line: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(
        (&line["path"], &line["body"]["text"]),
        (&"/ops".into(), &"it is over".into())
    );
}

#[test]
fn a_command_in_a_world_has_its_own_input_and_exit_code_and_folder() {
    let world = World::up("door", &["--bare"]);
    let mut cat = world
        .command(&[
            "sandbox",
            "exec",
            "--world",
            "door",
            "--",
            "sh",
            "-c",
            "pwd; cat; exit 7",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    cat.stdin
        .take()
        .unwrap()
        .write_all(b"through the door\n")
        .unwrap();
    let output = cat.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said,
        format!("{}\nthrough the door\n", repository().display())
    );
    assert_eq!(world.inside(&["no-such-program"]).status.code(), Some(127));
    // Inside, the same world is found from inside.
    let status = world.inside(&[env!("CARGO_BIN_EXE_dr-plan"), "--json", "sandbox", "status"]);
    assert!(stdout(&status).contains("\"door\""), "{}", words(&status));
    // A bare world has no cloud to break.
    let bare = world.break_or_mend(&["break", "api", "hetzner"]);
    assert!(words(&bare).contains("bare"), "{}", words(&bare));
}

#[test]
fn signals_reach_the_command_and_its_answer_comes_out() {
    let world = World::up("signals", &["--bare"]);
    let start = |script: &str| {
        let mut child = world
            .command(&[
                "sandbox", "exec", "--world", "signals", "--", "sh", "-c", script,
            ])
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        (child, lines)
    };
    let kill = |signal: &str, target: String| {
        let sent = Command::new("kill").args([signal, "--", &target]).status();
        assert!(sent.unwrap().success());
    };
    // Ctrl-C goes to everybody at the terminal: the command decides what it means.
    let (mut child, mut lines) =
        start("trap 'echo stopping; exit 5' INT; echo ready; while :; do sleep 0.05; done");
    kill("-INT", format!("-{}", child.id()));
    assert_eq!(lines.next().unwrap().unwrap(), "stopping");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    // SIGTERM to the outer process alone.
    let (mut child, mut lines) =
        start("trap 'echo leaving; exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    kill("-TERM", child.id().to_string());
    assert_eq!(lines.next().unwrap().unwrap(), "leaving");
    child.wait().unwrap();
}

#[test]
fn a_world_that_is_down_has_left_nothing() {
    let world = World::up("gone", &["--estate", "shop"]);
    let record = fs::read_to_string(world.folder().join("world.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let inside = format!("/proc/{}/root/run/dr-plan", record["pid"]);
    assert!(Path::new(&inside).is_dir());
    stdout(&world.run(&["sandbox", "down", "gone"]));
    assert!(!Path::new(&inside).exists(), "{inside}");
    assert!(
        !world.folder().exists(),
        "{:?}",
        fs::read_dir(world.folder()).unwrap().collect::<Vec<_>>()
    );
    // Its mounts lived in its own namespace: none is to be seen, here or anywhere.
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let mounts = fs::read_to_string(process.path().join("environ")).unwrap_or_default();
        let state = world.state.path().display().to_string();
        let ours = process.file_name().to_string_lossy() == std::process::id().to_string();
        assert!(
            ours || !mounts.contains(&state),
            "process {:?} is still there",
            process.file_name()
        );
    }
    // Down again is no error; what is not there cannot be entered, and the way is shown.
    stdout(&world.run(&["sandbox", "down", "gone"]));
    let absent = world.inside(&["true"]);
    assert_eq!(absent.status.code(), Some(2));
    assert!(
        words(&absent).contains("dr-plan sandbox up gone"),
        "{}",
        words(&absent)
    );
}

#[test]
fn a_bare_world_is_not_taken_for_a_furnished_one() {
    let world = World::up("plain", &["--bare", "--regions", "3"]);
    for arguments in [
        ["sandbox", "up", "plain"].as_slice(),
        &["sandbox", "up", "plain", "--bare"],
    ] {
        let output = world.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
        assert!(
            words(&output).contains("dr-plan sandbox down plain"),
            "{}",
            words(&output)
        );
    }
}

#[test]
fn the_example_files_have_no_problems() {
    let nowhere = World::new("nowhere");
    for inventory in ["sandbox.yaml", "production.example.yaml"] {
        let inventory = format!("inventories/{inventory}");
        let plan = "plans/region-failover.yaml";
        stdout(&nowhere.run(&["validate", plan, "--inventory", &inventory]));
    }
}

#[test]
fn editors_get_the_schemas_of_this_program() {
    let nowhere = World::new("nowhere");
    for which in ["plan", "inventory", "provider"] {
        let file = repository().join(format!("docs/schema/{which}.json"));
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let now = nowhere.run(&["schema", which]);
        // Not `assert_eq`: nobody reads two whole schemas.
        assert!(
            kept.trim() == stdout(&now),
            "{} is old: dr-plan schema {which} > docs/schema/{which}.json",
            file.display()
        );
    }
}
