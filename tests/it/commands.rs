//! Commands beside a run at work: answers, a stop, another inventory, a takeover. The runs only ask, so they need no world.

mod between;
mod unreadable;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const PLAN: &str = "version: 1\nname: ask\ninventory: none.yaml\nsteps:\n  go: { manual: Shall it go on?, approval: { by: [ops] } }\n";
const INVENTORY: &str =
    "version: 1\nname: desk\npeople:\n  ops: [{ name: Ada Example }, { name: ben }]\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("plan.yaml"), PLAN).unwrap();
        std::fs::write(folder.path().join("desk.yaml"), INVENTORY).unwrap();
        Self(folder)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dr-plan"));
        command
            .current_dir(self.0.path())
            .env("XDG_STATE_HOME", self.0.path().join("state"))
            .env("USER", "carol")
            .stdin(Stdio::null())
            .args(words);
        command
    }

    fn says(&self, words: &[&str], code: i32) -> String {
        said(self.command(words).output().unwrap(), words, code)
    }

    fn begin(&self, words: &[&str]) -> Child {
        let err = std::fs::File::create(self.0.path().join("err")).unwrap();
        self.command(words)
            .stdout(Stdio::null())
            .stderr(err)
            .spawn()
            .unwrap()
    }

    fn run(&self) -> Child {
        let run = self.begin(&["run", "plan.yaml", "--inventory", "desk.yaml", "--yes"]);
        self.wait_for_question();
        run
    }

    fn wait_for_question(&self) {
        let asks = || {
            let status = self.command(&["status", "last"]).output().unwrap();
            String::from_utf8_lossy(&status.stdout).contains("dr-plan approve")
        };
        until("the question", asks);
    }

    fn err(&self) -> String {
        std::fs::read_to_string(self.0.path().join("err")).unwrap_or_default()
    }
}

fn said(output: Output, words: &[&str], code: i32) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{text}");
    text
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The exit code, waited for with a limit.
#[track_caller]
fn ended(child: &mut Child, folder: &Folder) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("it does not end: {}", folder.err());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

#[test]
fn only_those_who_are_named_can_answer_and_their_names_are_kept() {
    let folder = Folder::new();
    let mut run = folder.run();
    let refused = folder.says(&["approve", "last", "go"], 2);
    assert!(refused.contains("Ada Example, ben"), "{refused}");
    let refused = folder.says(&["approve", "last", "go", "--as", "Mallory"], 2);
    assert!(refused.contains("--as NAME"), "{refused}");
    // Names are words: neither capitals nor a machine behind them make another person.
    folder.says(&["approve", "last", "go", "--as", "Ben@desk"], 0);
    assert_eq!(ended(&mut run, &folder), Some(0), "{}", folder.err());
    let report = folder.says(&["report", "last"], 0);
    assert!(report.contains("Ben@desk"), "{report}");
}

#[test]
fn a_plan_that_asks_people_nobody_knows_is_refused() {
    let folder = Folder::new();
    let plan = PLAN.replace("[ops]", "[opps]");
    std::fs::write(folder.0.path().join("plan.yaml"), plan).unwrap();
    let words = ["validate", "plan.yaml", "--inventory", "desk.yaml"];
    let refused = folder.says(&words, 3);
    assert!(refused.contains("did you mean `ops`?"), "{refused}");
}

#[test]
fn one_interrupt_drops_the_question_and_a_resume_asks_again_with_the_run_s_own_inventory() {
    let folder = Folder::new();
    let mut run = folder.run();
    signal(&run, Signal::INT);
    assert_eq!(ended(&mut run, &folder), Some(5), "{}", folder.err());

    // The plan names another inventory, which does not exist: the run keeps to the one it was begun with.
    let refused = folder.says(&["resume", "last", "--inventory", "desk.yaml"], 2);
    assert!(refused.contains("begun with"), "{refused}");
    std::fs::remove_file(folder.0.path().join("desk.yaml")).unwrap();
    let mut resumed = folder.begin(&["resume", "last"]);
    folder.wait_for_question();
    folder.says(&["approve", "last", "go", "--as", "ada example"], 0);
    assert_eq!(ended(&mut resumed, &folder), Some(0), "{}", folder.err());
}

#[test]
fn a_report_that_cannot_be_written_takes_nothing_from_the_result() {
    let folder = Folder::new();
    let mut run = folder.run();
    let runs = folder.0.path().join("state/dr-plan/runs");
    let runs = runs.join(run_id(&runs));
    std::fs::create_dir(runs.join("report.md")).unwrap();
    folder.says(&["approve", "last", "go", "--as", "ben"], 0);
    assert_eq!(ended(&mut run, &folder), Some(0), "{}", folder.err());
    assert!(
        folder.err().contains("the report could not be written"),
        "{}",
        folder.err()
    );
    // The journal has everything.
    let report = folder.says(&["report", "last"], 0);
    assert!(
        report.contains("# MET") && report.contains("ben"),
        "{report}"
    );
}

#[test]
fn a_state_folder_that_is_none_is_said_to_be_none() {
    let folder = Folder::new();
    std::fs::write(folder.0.path().join("file"), "").unwrap();
    for words in [["--state", "file", "status"], ["--state", "file", "runs"]] {
        let refused = folder.says(&words, 2);
        assert!(refused.contains("is not a folder"), "{refused}");
    }
}

#[test]
fn a_takeover_goes_on_where_the_living_owner_has_to_leave() {
    let folder = Folder::new();
    let mut first = folder.run();
    let id = run_id(&folder.0.path().join("state/dr-plan/runs"));
    let refused = folder.says(&["resume", "last"], 6);
    assert!(refused.contains("is in the hands of"), "{refused}");
    folder.says(&["resume", "last", "--take-over", "01someother"], 6);
    assert!(first.try_wait().unwrap().is_none(), "{}", folder.err());

    let mut second = folder.begin(&["resume", "last", "--take-over", &id]);
    let left = ended(&mut first, &folder);
    assert!(left.is_some_and(|code| code != 0), "{left:?}");
    // The old question stands in the journal until the new process has taken the run up.
    until("the new process to hear the answer", || {
        let approve = ["approve", "last", "go", "--as", "ben"];
        folder.command(&approve).output().unwrap().status.success()
    });
    assert_eq!(ended(&mut second, &folder), Some(0), "{}", folder.err());
}

fn run_id(runs: &Path) -> String {
    let mut names = std::fs::read_dir(runs).unwrap();
    let name = names.next().unwrap().unwrap().file_name();
    name.into_string().unwrap()
}

/// What `validate` says of a plan that cannot be right.
fn wrong(plan: &str) -> String {
    let folder = Folder::new();
    let inventory = "version: 1\nname: desk\nproviders: [cloud.yaml, names.yaml]\nhosts:\n  old: { address: 192.0.2.1, at: cloud/fsn1 }\ndomains:\n  shop.example: { dns: names }\n";
    let cloud = "version: 1\nname: cloud\nkind: hetzner\ntoken: { env: T }\nregions: { eu: [fsn1, nbg1] }\n";
    let names = "version: 1\nname: names\nkind: powerdns\ntoken: { env: T }\nendpoint: http://127.0.0.1:9\n";
    for (name, text) in [("desk", inventory), ("cloud", cloud), ("names", names)] {
        std::fs::write(folder.0.path().join(format!("{name}.yaml")), text).unwrap();
    }
    let head = "version: 1\nname: wrong\ninventory: desk.yaml\n";
    std::fs::write(folder.0.path().join("plan.yaml"), format!("{head}{plan}")).unwrap();
    folder.says(&["validate", "plan.yaml"], 3)
}

#[test]
fn what_would_act_on_the_wrong_machine_is_found_in_peace() {
    let server = |step: &str, role: &str, place: &str| {
        format!(
            "  {step}:\n    uses: server.create\n    with: {{ role: {role}, place: {place}, image: debian-12 }}\n"
        )
    };
    let two = format!(
        "steps:\n{}{}",
        server("one", "db", "cloud/nbg1/cx23"),
        server("two", "db", "cloud/nbg1/cx23")
    );
    let early = format!(
        "steps:\n{}  put:\n    uses: host.put\n    with: {{ host: db, to: /etc/x, content: y }}\n",
        server("one", "db", "cloud/nbg1/cx23")
    );
    let old = format!("steps:\n{}", server("one", "old", "cloud/nbg1/cx23"));
    let lost = |lost: &str, place: &str| {
        format!(
            "assumes_lost: [{lost}]\nsteps:\n{}",
            server("one", "db", place)
        )
    };
    let names = "steps:\n  dns:\n    uses: dns.switch\n    with: { domain: shop.example, records: { WWW: 192.0.2.7, www: 192.0.2.8 }, gate: none, because: a test }\n";
    let gate = "assumes_lost: [cloud/fsn1]\nsteps:\n  dns:\n    uses: dns.switch\n    with:\n      domain: shop.example\n      records: { www: 192.0.2.7 }\n      gate: { url: \"http://shop.example/\", at: 192.0.2.7, json: /id, equals: { sql: select 1, host: old, database: shop } }\n";
    for (plan, words) in [
        (two.as_str(), "two steps create `db`"),
        (&early, "this step does not wait for it"),
        (&old, "`old` is a host of the inventory already"),
        (
            &lost("cloud/fsn1", "cloud/eu/cx23"),
            "`cloud/eu/cx23` lies in `cloud/fsn1`",
        ),
        (
            &lost("cloud/eu", "cloud/nbg1/cx23"),
            "`cloud/nbg1/cx23` lies in `cloud/nbg1`",
        ),
        (
            &lost("clout/fsn1", "cloud/nbg1/cx23"),
            "did you mean `cloud`?",
        ),
        (
            &lost("cloud/fsn9", "cloud/nbg1/cx23"),
            "did you mean `cloud/fsn1`?",
        ),
        (
            &lost("cloud/atlantis", "cloud/hel1/cx23"),
            "known are `cloud/eu`, `cloud/fsn1`, `cloud/hel1`, `cloud/nbg1`",
        ),
        (gate, "host `old` stands in `cloud/fsn1`"),
        (names, "named twice"),
        (
            "steps:\n  go: { manual: Go?, timeout: 0s }\n",
            "`timeout` of 0s",
        ),
    ] {
        let said = wrong(plan);
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
}

/// Each line of the three texts with a `#!` has the problem that it names, and no other line has one.
#[test]
fn everything_wrong_in_plan_inventory_and_provider_file_is_shown_at_once_and_nothing_that_only_follows()
 {
    let plan = r##"version: 1
name: p
inventory: inv.yaml
inputs:
  size: { type: strng } #! unknown-word
steps:
  assess:
    uses: check.backups
    with: { datasets: [shop-db, shop-cahe] } #! unknown-dataset
  db:
    uses: server.create
    with: { role: db, place: [cloud/nbg1], imag: debian-12 } #! unknown-key
  web:
    uses: server.create
    retrry: 3 #! unknown-key
    with: { role: web, place: [cloud/nbg1], image: debian-12 }
  put:
    uses: host.put
    with:
      host: "{{steps.db.host}}"
      content: "{{inputs.size}} {{steps.web.ipv4}}"
      to: etc/x #! bad-path
  by-name: { needs: [db], uses: host.service, with: { host: db, service: nginx, state: started } }
  up:
    needs: [putt] #! unknown-step
    uses: host.service
    with: { host: "{{steps.db.host}}", service: nginx, state: startd } #! unknown-word
  restore: { uses: dataset.restore, with: { dataset: shop-db, host: "{{steps.db.host}}" } } #! not-verified
  broken: { needs: [db] } #! no-verb
  after:
    needs: [broken]
    uses: check.http
    with:
      url: "http://{{steps.broken.ipv4}}/"
      stat: 200 #! unknown-key
  here: { needs: [there], manual: Here? } #! ring
  there: { needs: [here], manual: There? }
  host:
    uses: host.service
    with: { host: db-9, service: nginx, state: started } #! unknown-host
"##;
    let inventory = r##"version: 1
name: shop
providers: [cloud.yaml]
hosts:
  db-1: { address: 192.0.2.1, at: cloud/fsn1, server: db-1 }
stores:
  vault:
    s3:
      bucket: b
      endpoint: "https://x.example"
      region: eu
      secret_key: { env: B }
      acces_key: { env: A } #! unknown-key
datasets:
  shop-db:
    postgres: { host: db-2, version: 15, database: shop } #! unknown-name
    backups: [{ store: vault, path: "x-{time}.dump", form: custom }]
  shop-cache:
    redis: { host: db-1 }
    max_ag: 3h #! unknown-key
    backups: [{ store: vault, path: "x-{time}.rdb" }]
"##;
    let cloud = "version: 1\nname: cloud\nkind: hetzner\ntokn: { env: H } #! unknown-key\n";
    let folder = Folder::new();
    let mut expected = Vec::new();
    for (name, text) in [
        ("plan.yaml", plan),
        ("inv.yaml", inventory),
        ("cloud.yaml", cloud),
    ] {
        for (at, line) in text.lines().enumerate() {
            if let Some((_, code)) = line.split_once("#! ") {
                expected.push(format!("{name}:{} {code}", at + 1));
            }
        }
        std::fs::write(folder.0.path().join(name), text).unwrap();
    }
    let output = folder
        .command(&["validate", "plan.yaml", "--json"])
        .output()
        .unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = said["problems"]
        .as_array()
        .unwrap_or_else(|| said.as_array().unwrap());
    let found: Vec<String> = found
        .iter()
        .map(|problem| {
            let place = &problem["labels"][0][0];
            let (file, code) = (
                place["file"].as_str().unwrap(),
                problem["code"].as_str().unwrap(),
            );
            format!("{file}:{} {code}", place["line"])
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn taking_a_question_out_does_not_take_out_what_it_waited_for() {
    let folder = Folder::new();
    let plan = "version: 1\nname: ask\ninventory: desk.yaml\nsteps:\n  ready: { manual: Ready? }\n  go: { needs: [ready], manual: Go?, enabled: false }\n  dns: { needs: [go], manual: Moved? }\n";
    std::fs::write(folder.0.path().join("plan.yaml"), plan).unwrap();
    let said = folder
        .command(&["explain", "plan.yaml", "--json"])
        .output()
        .unwrap();
    let steps: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let needs = steps[2]["needs"].as_array().unwrap().iter();
    let needs: Vec<&str> = needs.map(|need| need["step"].as_str().unwrap()).collect();
    assert_eq!(needs, ["go", "ready"]);
}

#[test]
fn a_mark_is_no_way_around_a_question_and_can_be_taken_back() {
    let folder = Folder::new();
    let mut run = folder.run();
    let mark = ["mark", "last", "go", "--skip", "--because", "in a hurry"];
    let refused = folder.says(&mark, 2);
    assert!(refused.contains("Ada Example, ben"), "{refused}");
    signal(&run, Signal::INT);
    assert_eq!(ended(&mut run, &folder), Some(5), "{}", folder.err());
    folder.says(&mark, 2);
    for nobody in ["", " ", "ben\n11:00 go done"] {
        let by_nobody = [&mark[..], &["--as", nobody]].concat();
        let refused = folder.says(&by_nobody, 2);
        assert!(refused.contains("--as is no name"), "{refused}");
    }
    let by_ben = [&mark[..], &["--as", "ben"]].concat();
    folder.says(&by_ben, 0);
    folder.says(&["resume", "last"], 8);
}

#[test]
fn a_damaged_journal_still_tells_what_stands_before_the_damage() {
    let folder = Folder::new();
    let mut run = folder.run();
    folder.says(&["approve", "last", "go", "--as", "ben"], 0);
    assert_eq!(ended(&mut run, &folder), Some(0), "{}", folder.err());
    let runs = folder.0.path().join("state/dr-plan/runs");
    let journal = runs.join(run_id(&runs)).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, text.replacen("\"yes\":true", "\"yes\":fals", 1)).unwrap();
    let said = folder.says(&["report"], 5);
    assert!(
        said.contains("the journal is damaged") && said.contains("Shall it go on?"),
        "{said}"
    );
    let said = folder.says(&["resume"], 6);
    assert!(said.contains("dr-plan report"), "{said}");
}

#[test]
fn a_folder_without_a_record_is_no_run() {
    let folder = Folder::new();
    let said = folder.says(&["status"], 2);
    assert!(said.contains("no run has been begun yet"), "{said}");
    let mut run = folder.run();
    folder.says(&["approve", "last", "go", "--as", "ben"], 0);
    assert_eq!(ended(&mut run, &folder), Some(0), "{}", folder.err());
    let runs = folder.0.path().join("state/dr-plan/runs");
    // What a process leaves that is killed before its first record; and a stray file.
    std::fs::create_dir(runs.join("7zzzzzzzzzzzzzzzzzzzzzzzzz")).unwrap();
    std::fs::write(runs.join("readme"), "").unwrap();
    let said = folder.says(&["report"], 0);
    assert!(said.contains("MET"), "{said}");
    folder.says(&["runs"], 0);
}

#[test]
fn a_refused_input_and_a_script_without_proof_are_one_problem_each() {
    let folder = Folder::new();
    let plan = "version: 1\nname: p\ninventory: desk.yaml\ninputs:\n  point: { type: time }\n  size: { type: int }\nsteps:\n  \
         first: { uses: wait, with: { for: \"{{inputs.size}}s\" } }\n  \
         second: { manual: \"Is {{inputs.point}} right?\" }\n  \
         third: { manual: \"Is {{inputs.point}} really right?\" }\n";
    std::fs::write(folder.0.path().join("plan.yaml"), plan).unwrap();
    let words = ["run", "plan.yaml", "--dry-run", "--input", "point=foo"];
    let text = folder.says(&words, 3);
    assert!(text.contains("input `point`: expected a time"), "{text}");
    assert!(text.contains("input `size`: it has no default"), "{text}");
    assert!(text.contains("\n2 errors"), "{text}");

    let plan = "version: 1\nname: p\ninventory: desk.yaml\nsteps:\n  first: { manual: Go? }\n  \
         second:\n    needs: [first]\n    run: \"true\"\n    host: here\n    retry: { attempts: 99999999999999999999 }\n";
    std::fs::write(folder.0.path().join("plan.yaml"), plan).unwrap();
    let inventory = format!("{INVENTORY}hosts:\n  here: {{ address: 127.0.0.1 }}\n");
    std::fs::write(folder.0.path().join("desk.yaml"), inventory).unwrap();
    let text = folder.says(&["validate", "plan.yaml"], 3);
    assert_eq!(text.matches("error[not-verified]").count(), 1, "{text}");
    assert_eq!(text.matches("error[number]").count(), 1, "{text}");
    assert!(text.contains("\n2 errors"), "{text}");
}

/// A provider that answers every request so. Ends with the test.
fn provider(answer: &'static str) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut seen, mut buffer): (Vec<u8>, _) = (Vec::new(), [0; 4096]);
            while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(count) if count > 0 => seen.extend(&buffer[..count]),
                    _ => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_preview_of_a_fence_says_verified_of_nothing_that_its_provider_did_not_show() {
    const END: &str = "Connection: close\r\nContent-Length: ";
    for (answer, lost) in [
        ("403 Forbidden\r\n", "fail"),
        ("403 Forbidden\r\n", "attest"),
        (
            "302 Found\r\nLocation: https://login.example/\r\n",
            "attest",
        ),
        ("200 OK\r\nContent-Type: text/html\r\n", "skip"),
        ("429 Too Many\r\nRetry-After: 3600\r\n", "skip"),
        (
            "429 Too Many\r\nRetry-After: 18446744073709551615\r\n",
            "attest",
        ),
    ] {
        let body = "<html>hello</html>";
        let text = format!("HTTP/1.1 {answer}{END}{}\r\n\r\n{body}", body.len());
        let address = provider(text.leak());
        let folder = Folder::new();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.0.path().join(name), text).unwrap();
        };
        write(
            "plan.yaml",
            &format!(
                "version: 1\nname: p\ninventory: desk.yaml\nsteps:\n  \
                 fence: {{ uses: server.power, with: {{ server: db, state: off }}, if_source_lost: {lost} }}\n"
            ),
        );
        write(
            "desk.yaml",
            "version: 1\nname: desk\nproviders: [cloud.yaml]\nhosts:\n  db: { address: 192.0.2.1, at: cloud/nbg1, server: db }\n",
        );
        write(
            "cloud.yaml",
            &format!(
                "version: 1\nname: cloud\nkind: hetzner\nsandbox: true\ntoken: {{ file: token }}\nendpoint: \"http://{address}/v1\"\n"
            ),
        );
        write("token", "0123456789abcdef0123456789abcdef");
        use std::os::unix::fs::PermissionsExt;
        let token = folder.0.path().join("token");
        std::fs::set_permissions(token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = folder.says(&["run", "plan.yaml", "--dry-run"], 5);
        assert!(text.contains("cannot be checked"), "{answer}: {text}");
        assert!(!text.contains("verified"), "{answer}: {text}");
        assert!(
            text.contains("nobody knows: `fence` could not be looked at"),
            "{answer}: {text}"
        );
    }
}
