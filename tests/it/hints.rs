//! What a person is told who has nothing yet, or types what is nearly right: the way on, once, and nothing that only follows.

use std::process::{Command, Output, Stdio};

const ASK: &str =
    "version: 1\nname: ask\ninventory: desk.yaml\nsteps:\n  go: { manual: Shall it go on? }\n";
const DESK: &str = "version: 1\nname: desk\nssh: { key: { file: ~/.ssh/id_desk } }\n";

/// A folder with a plan that only asks, and its inventory.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("ask.yaml", ASK);
        folder.write("desk.yaml", DESK);
        std::fs::create_dir(folder.0.path().join(".ssh")).unwrap();
        folder.write(".ssh/id_desk.pub", "ssh-ed25519 AAAA desk\n");
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(assert_cmd::cargo::cargo_bin!("dr-plan"))
            .current_dir(self.0.path())
            .env("XDG_STATE_HOME", self.0.path().join("state"))
            .env("HOME", self.0.path())
            .env_remove("DR_PLAN_STATE")
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .args(words)
            .output()
            .unwrap()
    }

    /// Both streams, of a command with this exit code.
    #[track_caller]
    fn says(&self, words: &[&str], code: i32) -> String {
        let output = self.run(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{said}");
        said
    }

    #[track_caller]
    fn json(&self, words: &[&str], code: i32) -> serde_json::Value {
        let output = self.run(words);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{words:?}\n{said}");
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }
}

#[track_caller]
fn has(said: &str, words: &str) {
    assert!(said.contains(words), "`{words}` is not in\n{said}");
}

#[track_caller]
fn lacks(said: &str, words: &str) {
    assert!(!said.contains(words), "`{words}` is in\n{said}");
}

#[test]
fn a_plan_that_cannot_be_tried_is_named_with_its_inventory_and_takes_nothing_from_the_others() {
    let folder = Folder::new();
    folder.write("far.yaml", &ASK.replace("desk.yaml", "keyless.yaml"));
    folder.write(
        "keyless.yaml",
        "version: 1\nname: far\nssh: { key: { file: ~/.ssh/id_of_nobody } }\n",
    );
    folder.write("wrong.yaml", &ASK.replace("?", "?, needs: [nobody]"));
    let all = ["check", "far.yaml", "wrong.yaml", "ask.yaml"];
    let said = folder.says(&all, 3);
    has(&said, "plan far.yaml (inventory keyless.yaml)\n  NOT TRIED");
    has(&said, "`ssh: { key }` in keyless.yaml");
    has(&said, "id_of_nobody.pub");
    has(&said, "plan wrong.yaml\n  error[");
    has(&said, "wrong.yaml:5");
    has(&said, "plan ask\n  ok      step     go");
    has(&said, "NOT READY: 2 plans could not be tried");

    let quiet = folder.says(&["--quiet", "check", "far.yaml", "ask.yaml"], 3);
    has(&quiet, "plan far.yaml (inventory keyless.yaml)");
    lacks(&quiet, "plan ask");
    assert_eq!(folder.says(&["--quiet", "check", "ask.yaml"], 0), "");

    folder.write("away.yaml", &ASK.replace("desk.yaml", "nowhere.yaml"));
    folder.write("nowhere.yaml", &format!("{DESK}sandbox: nowhere\n"));
    for plans in [&["away.yaml"][..], &["away.yaml", "ask.yaml"]] {
        let away = folder.says(&[&["--quiet", "check"], plans].concat(), 3);
        has(&away, "plan away.yaml (inventory nowhere.yaml)");
        has(&away, "dr-plan sandbox up nowhere");
    }

    let found = folder.json(&[&all[..], &["--json"]].concat(), 3);
    assert_eq!(found["stand"], "missing");
    let parts = found["parts"].as_array().unwrap();
    let of = |name: &str| {
        let mut parts = parts.iter();
        let part = parts.find(|part| part["of"].as_str().unwrap().starts_with(name));
        part.unwrap_or_else(|| panic!("{name} is not in {found:#}"))
    };
    assert_eq!(of("plan far.yaml")["untried"]["code"], 3);
    assert_eq!(of("plan wrong.yaml")["untried"]["problems"]["errors"], 1);
    assert_eq!(of("plan ask")["checks"][0]["stand"], "ready");
}

#[test]
fn whoever_has_no_run_is_told_how_to_begin_one() {
    let folder = Folder::new();
    for words in [&["status"][..], &["report"], &["resume"], &["undo", "last"]] {
        let said = folder.says(words, 2);
        has(&said, "no run has been begun yet");
        has(&said, "dr-plan run PLAN");
        lacks(&said, "dr-plan runs");
    }
    has(&folder.says(&["runs"], 0), "dr-plan run PLAN");
    has(&folder.says(&["explain"], 2), "dr-plan explain --kinds");
    let kind = folder.says(&["explain", "dataset.restore"], 2);
    has(&kind, "dr-plan explain --kind dataset.restore");
}

#[test]
fn help_shows_a_command_s_own_options_first_and_what_it_ends_with() {
    let folder = Folder::new();
    for command in ["run", "drill", "resume", "undo", "check"] {
        let help = folder.says(&[command, "--help"], 0);
        let at = |words: &str| {
            help.find(words)
                .unwrap_or_else(|| panic!("`{words}` is not in\n{help}"))
        };
        assert!(at("\nOptions:") < at("\nGlobal options:"), "{help}");
        assert!(at("--providers") > at("\nGlobal options:"), "{help}");
        assert!(at("\nExit codes") > at("--providers"), "{help}");
    }
}

#[test]
fn times_of_runs_have_a_zone_and_logs_are_objects_where_a_machine_reads() {
    let folder = Folder::new();
    folder.write(
        "ask.yaml",
        &ASK.replace("?", "?, approval: { timeout: 1s }"),
    );
    folder.says(&["run", "ask.yaml", "--yes"], 4);
    let runs = folder.json(&["runs", "--json"], 0);
    let started = runs[0]["started"].as_str().unwrap();
    started.parse::<jiff::Timestamp>().unwrap();
    let logs = folder.run(&["logs", "last", "go", "--json"]);
    let logs = String::from_utf8(logs.stdout).unwrap();
    for line in logs.lines() {
        let one: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(one["step"], "go");
    }
    assert!(logs.contains("failed: "), "{logs}");
}

#[test]
fn one_slip_is_one_problem() {
    let folder = Folder::new();
    let plan = |text: &str| {
        folder.write("plan.yaml", text);
        folder.says(&["validate", "plan.yaml"], 3)
    };
    folder.write(
        "cloud.yaml",
        "version: 1\nname: cloud\nkind: hetzner\ntoken: { env: T }\n",
    );
    folder.write(
        "estate.yaml",
        "version: 1\nname: estate\nproviders: [cloud.yaml]\nhosts:\n  db-1: { address: 192.0.2.1 }\nstores:\n  disk: { local: { path: /srv } }\ndatasets:\n  shop:\n    postgres: { host: db-1, version: 15, database: shop }\n    backups:\n      - { store: disk, path: \"{time}.dump\" }\n",
    );

    // A unit that is none: what is promised is promised all the same.
    let said = plan(
        "version: 1\nname: p\ninventory: estate.yaml\nobjectives: { rto: 1d, rpo: 15m }\nsteps:\n  look:\n    uses: dataset.verify\n    with: { dataset: shop, host: db-1 }\n    verify:\n      - newest: { query: select now(), within: rpo }\n",
    );
    has(&said, "1d");
    lacks(&said, "promises no");

    // A name that no step can have, and what refers to it.
    let server = |name: &str, field: &str| {
        format!(
            "version: 1\nname: p\ninventory: estate.yaml\nsteps:\n  {name}:\n    uses: server.create\n    with: {{ role: web, place: cloud/nbg1/cx23, image: debian-12 }}\n  wait:\n    needs: [{name}]\n    uses: check.tcp\n    with: {{ address: \"{{{{steps.{name}.{field}}}}}\", port: 22 }}\n  again:\n    uses: check.tcp\n    with: {{ address: \"{{{{steps.{}.{field}}}}}\", port: 22 }}\n",
            name.to_lowercase()
        )
    };
    let said = plan(&server("Web", "ipv4"));
    has(&said, "`Web` cannot be the name of a step");
    has(&said, "1 error");
    lacks(&said, "steps.Web");

    // `id` is one letter from `ip`, and not what was meant.
    let said = plan(&server("web", "ip"));
    has(&said, "`ipv4`");
    lacks(&said, "did you mean");

    // The line that names a file which is not there.
    let said = plan(&ASK.replace("desk.yaml", "deks.yaml"));
    has(&said, "plan.yaml:3:12");
    has(&said, "cannot read `deks.yaml`");

    for (file, sort) in [
        ("estate.yaml", "an inventory"),
        ("cloud.yaml", "a provider file"),
    ] {
        let said = folder.says(&["validate", file], 3);
        has(&said, &format!("this looks like {sort}"));
        has(&said, "1 error");
    }
}

/// An estate with a host in a region, a provider file, and a dataset of each kind.
fn estate(folder: &Folder) {
    folder.write(
        "cloud.yaml",
        "version: 1\nname: cloud\nkind: hetzner\ntoken: { env: T }\nregions: { eu: [nbg1, hel1] }\n",
    );
    folder.write(
        "estate.yaml",
        r#"version: 1
name: estate
providers: [cloud.yaml]
hosts:
  db-1: { address: 192.0.2.1, at: cloud/fsn1, server: db-1 }
stores:
  disk: { local: { path: /srv }, at: office/cellar }
datasets:
  shop:
    postgres: { host: db-1, version: 15, database: shop }
    backups: [{ store: disk, path: "{time}.dump" }]
  carts:
    redis: { host: db-1 }
    backups: [{ store: disk, path: "{time}.rdb" }]
  media:
    files: { host: db-1, path: /srv/media }
    backups: [{ store: disk, path: "{time}.tar" }]
  plain:
    config: { host: db-1, files: [/etc/app.conf] }
    backups: [{ store: disk, path: "etc-{time}.tar" }]
  judged:
    config: { host: db-1, files: [/etc/nginx/nginx.conf], check: nginx -t }
    backups: [{ store: disk, path: "nginx-{time}.tar" }]
"#,
    );
}

/// What `validate` says of a plan of that estate with this text behind its head, and with this exit code.
#[track_caller]
fn validated(folder: &Folder, text: &str, code: i32) -> String {
    let head = "version: 1\nname: p\ninventory: estate.yaml\n";
    folder.write("plan.yaml", &format!("{head}{text}"));
    folder.says(&["validate", "plan.yaml"], code)
}

#[test]
fn a_key_that_the_step_never_reads_is_refused_with_what_to_write_instead() {
    let folder = Folder::new();
    estate(&folder);
    let steps = |step: &str| format!("steps:\n  go: {{ {step} }}\n");
    let ask = "uses: approve, with: { message: Go? }";
    for (step, key, words) in [
        (
            "uses: wait, with: { for: 1s }, if_source_lost: skip",
            "if_source_lost",
            [
                "`if_source_lost` belongs to `server.power`, and this step is `wait`",
                "`critical: false`",
            ],
        ),
        (
            "run: \"true\", host: db-1, repeatable: true, if_source_lost: attest",
            "if_source_lost",
            ["and this step has `run`", "take it out"],
        ),
        (
            "manual: Go?, timeout: 20m",
            "timeout",
            [
                "`timeout` has no effect on a question",
                "`approval: { timeout: 20m }`",
            ],
        ),
        (
            "manual: Go?, retry: { attempts: 3 }",
            "retry",
            ["`retry` has no effect on a question", "on: [declined]"],
        ),
        (
            &format!("{ask}, timeout: 20m"),
            "timeout",
            [
                "`timeout` has no effect on a question",
                "`with: { timeout: 20m }`",
            ],
        ),
    ] {
        let said = validated(&folder, &steps(step), 3);
        has(&said, "error[misplaced-key]");
        let column = "  go: { ".len() + step.find(key).unwrap() + 1;
        has(&said, &format!("plan.yaml:5:{column}\n"));
        has(&said, "1 error");
        for words in words {
            has(&said, words);
        }
    }
    for step in [
        "uses: server.power, with: { server: db-1, state: off }, if_source_lost: attest, timeout: 5m",
        "manual: Go?, approval: { timeout: 20m }, expect: 5m",
        // A no is asked again, and what is looked at besides has its time and its attempts.
        "manual: Go?, timeout: 5m, retry: { attempts: 2, on: [declined] }",
        "manual: Go?, timeout: 5m, retry: { attempts: 2 }, verify: [{ check.tcp: { address: 192.0.2.1, port: 22 } }]",
        "uses: wait, with: { for: 1s }, timeout: 5m, retry: { attempts: 2 }",
    ] {
        has(&validated(&folder, &steps(step), 0), "no problems");
    }
}

#[test]
fn a_lost_region_that_nothing_stands_in_is_a_slip_of_the_pen_and_protects_nothing() {
    let folder = Folder::new();
    estate(&folder);
    let lost = |lost: &str| {
        format!(
            "assumes_lost: [{lost}]\nsteps:\n  db:\n    uses: server.create\n    with: {{ role: db, place: [cloud/ash/cx23], image: debian-12 }}\n"
        )
    };
    for (place, words) in [
        ("cloud/fsn9", "did you mean `cloud/fsn1`?"),
        ("cloud/nbg2", "did you mean `cloud/nbg1`?"),
        ("office/cella", "did you mean `office/cellar`?"),
        (
            "cloud/atlantis",
            "known are `cloud/ash`, `cloud/eu`, `cloud/fsn1`, `cloud/hel1`, `cloud/nbg1`",
        ),
    ] {
        let said = validated(&folder, &lost(place), 3);
        has(&said, "error[unknown-place]");
        has(&said, &format!("nothing stands in `{place}`"));
        has(&said, "plan.yaml:4:16");
        has(&said, words);
        has(&said, "1 error");
    }
    for place in ["cloud/fsn1", "cloud/nbg1", "cloud/eu", "office/cellar"] {
        has(&validated(&folder, &lost(place), 0), "no problems");
    }
    // The plan's own place is known, and is a problem of its own.
    let said = validated(&folder, &lost("cloud/ash"), 3);
    has(&said, "error[in-blast-radius]");
    lacks(&said, "unknown-place");
    // A host that cannot be read may stand there: mended first, and nothing is held against the plan for it.
    let estate = std::fs::read_to_string(folder.0.path().join("estate.yaml")).unwrap();
    folder.write(
        "estate.yaml",
        &estate.replace(
            "hosts:\n",
            "hosts:\n  db-2: { adress: 192.0.2.2, at: cloud/sin }\n",
        ),
    );
    let said = validated(&folder, &lost("cloud/sin"), 3);
    has(&said, "`adress`");
    lacks(&said, "unknown-place");
}

#[test]
fn a_restore_that_nothing_proves_is_a_warning_that_says_what_to_write() {
    let folder = Folder::new();
    estate(&folder);
    let restore = |dataset: &str, more: &str| {
        format!(
            "steps:\n  back:\n    uses: dataset.restore\n    with: {{ dataset: {dataset}, host: db-1 }}\n{more}"
        )
    };
    for (dataset, words) in [
        ("shop", "newest: { query:"),
        ("carts", "keys: { expect: \">= 1\" }"),
        ("media", "files: { expect: \">= 1\" }"),
        ("plain", "`check:` to the dataset in the inventory"),
    ] {
        let said = validated(&folder, &restore(dataset, ""), 0);
        has(&said, "warning[not-verified]");
        has(&said, &format!("nothing proves the data of `{dataset}`"));
        has(&said, "plan.yaml:6:11");
        has(&said, words);
        has(&said, "1 warning");
    }
    let asked = "[{ rows: { table: orders, expect: \">= 1\" } }]";
    let later = |needs: &str| {
        format!(
            "  ask:\n    needs: [{needs}]\n    uses: dataset.verify\n    with: {{ dataset: shop, host: db-1 }}\n    verify: {asked}\n  other: {{ uses: wait, with: {{ for: 1s }} }}\n"
        )
    };
    for (dataset, more) in [
        ("shop", format!("    verify: {asked}\n")),
        ("shop", later("back")),
        ("shop", "    enabled: false\n".to_string()),
        ("judged", String::new()),
    ] {
        let said = validated(&folder, &restore(dataset, &more), 0);
        has(&said, "no problems");
    }
    // Asked at another time, it was another copy that answered.
    let said = validated(&folder, &restore("shop", &later("other")), 0);
    has(&said, "warning[not-verified]");
}

#[test]
fn a_time_zone_that_is_none_is_found_when_the_plan_is_read() {
    let folder = Folder::new();
    estate(&folder);
    let look = |zone: &str| {
        format!(
            "steps:\n  look:\n    uses: dataset.verify\n    with: {{ dataset: carts, host: db-1 }}\n    verify:\n      - newest: {{ query: get newest, zone: {zone} }}\n"
        )
    };
    let said = validated(&folder, &look("Europe/Berln"), 3);
    has(&said, "there is no time zone `Europe/Berln`");
    has(&said, "plan.yaml:9:44");
    has(&said, "did you mean `Europe/Berlin`?");
    for zone in ["Europe/Berlin", "UTC"] {
        has(&validated(&folder, &look(zone), 0), "no problems");
    }
}
