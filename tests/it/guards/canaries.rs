//! A whole failover, at its most talkative, and then a search for every secret that was in play.

use std::path::Path;
use std::process::Command;

use dr_plan::sandbox::secrets::WorldSecrets;
use serde_json::Value;

use super::sampler::{Sampler, Seen};
use super::search::{Canaries, forms, search};
use super::shop::{Ran, Shop, name_of};

/// Where passwords of applications and private keys belong: the 0600 files that a step declared. Secret, role, file, owner.
const DECLARED: [(&str, &str, &str, &str); 3] = [
    (
        "shop_database_password",
        "web",
        "etc/shop/secret.env",
        "www-data",
    ),
    (
        "shop_redis_password",
        "db",
        "etc/redis/password.conf",
        "redis",
    ),
    ("shop_tls.key", "web", "etc/shop/tls/shop.key", "root"),
];

#[test]
fn no_secret_is_seen_where_it_does_not_belong() {
    let shop = Shop::up();
    shop.backup(&name_of(0));
    let lost = shop.lose();
    let sampler = Sampler::start();
    // A script that says what it must not: a secret as a whole, and as an answer that other steps could refer to.
    let talks = "  talks:\n    needs: [web-secret]\n    uses: check.command\n    with: { host: \"{{steps.web.host}}\", \
                 command: \"tail -n 1 /etc/shop/secret.env | tee /dev/stderr\", contains: PASSWORD }\n    phase: web\n";
    let plan = shop.changed(|text| {
        text.replacen(
            "  web-certificate:\n",
            &format!("{talks}  web-certificate:\n"),
            1,
        )
    });
    let ran = shop.run(&plan, &["--lost-at", &lost, "--approve", "go"]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());

    // The searches can fail: a value is laid where they look, and found.
    let planted = "planted-canary-0123456789";
    shop.on(
        "dr-region-failover-web",
        &format!("echo x{planted} > /var/tmp/left; echo {planted} > /dev/shm/left"),
    );
    let shown = shop.machine("dr-region-failover-db");
    let mut child = shop
        .world
        .command_on(
            &shown,
            &["env", &format!("CANARY={planted}"), "sleep", "3600"],
        )
        .unwrap()
        .spawn()
        .unwrap();
    super::shop::wait_for("the planted process", || {
        let said = shop.on(
            "dr-region-failover-db",
            "cat /proc/[0-9]*/environ 2>/dev/null || true",
        );
        said.contains(planted).then_some(())
    });
    sampler.look_again();
    let seen = sampler.stop();
    shop.on("dr-region-failover-db", "kill $(pidof sleep)");
    let _ = child.wait();
    let control = Canaries::from([("planted".to_owned(), planted.to_owned())]);
    let found = on_hosts(&shop, &control);
    assert!(
        found
            .iter()
            .any(|place| place.ends_with("/upper/var/tmp/left")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|place| place.ends_with("/dev/shm/left")),
        "{found:?}"
    );
    assert!(!seen.with(planted).is_empty());

    let left = tempfile::Builder::new()
        .prefix("dr-canary-")
        .tempfile_in("/dev/shm")
        .unwrap();
    std::fs::write(left.path(), format!("x{planted}")).unwrap();
    let found = here(&control, &["/dev/shm".to_owned()]);
    let path = left.path().display().to_string();
    assert!(
        found.iter().any(|place| place.ends_with(&path)),
        "{found:?}"
    );
    drop(left);

    let (canaries, bootstrap) = canaries(&shop);
    let mut all = canaries.clone();
    all.extend(bootstrap.clone());
    on_the_orchestrator(&shop, &ran, &all);
    in_the_cloud(&shop, &canaries, &bootstrap);
    in_processes(&seen, &all);
    on_the_servers(&shop, &all);
    the_bootstrap_keys_are_dead(&shop, &ran);
}

/// The secrets of the estate; and of each new server the private half of the key that it began with.
fn canaries(shop: &Shop) -> (Canaries, Canaries) {
    let folder = format!("/proc/{}/root/run/dr-plan/secrets", shop.world.pid());
    let secrets = WorldSecrets::load(Path::new(&folder)).unwrap();
    let mut all: Canaries = secrets
        .canaries()
        .unwrap()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    all.insert("a presigned URL".to_owned(), "X-Amz-Signature=".to_owned());
    let mut bootstrap = Canaries::new();
    for call in made(shop) {
        let user_data = call["body"]["user_data"].as_str().unwrap();
        let (_, config) = user_data.split_once('\n').unwrap();
        let config: Value = serde_json::from_str(config).unwrap();
        let key = config["ssh_keys"]["ed25519_private"].as_str().unwrap();
        for (number, line) in key.lines().enumerate() {
            // The first two lines of all such keys are alike; the third begins to be its own.
            if number > 2 && !line.starts_with('-') && line.len() > 40 {
                let name = format!("bootstrap key of {}, line {number}", call["body"]["name"]);
                bootstrap.insert(name, line.to_owned());
            }
        }
    }
    assert!(bootstrap.len() >= 4, "{:?}", bootstrap.keys());
    (all, bootstrap)
}

/// The calls by which the run made servers.
fn made(shop: &Shop) -> Vec<Value> {
    let calls = shop.lever("ledger?method=POST&path=/v1/servers");
    let all = calls["calls"].as_array().unwrap().iter();
    let ours = |call: &&Value| {
        let name = call["body"]["name"].as_str().unwrap_or_default();
        name.starts_with("dr-region-failover-")
    };
    let ours: Vec<Value> = all.filter(ours).cloned().collect();
    assert_eq!(ours.len(), 2, "{calls}");
    ours
}

/// Journal, logs, reports, captured output, what was printed, what was left in temporary folders.
fn on_the_orchestrator(shop: &Shop, ran: &Ran, canaries: &Canaries) {
    let said = ran.said();
    for (name, value) in canaries {
        for form in forms(value) {
            assert!(!said.contains(&form), "{name} was printed");
        }
    }
    for file in ["journal.jsonl", "report.md", "report.json", "output"] {
        assert!(ran.folder.join(file).exists(), "{file}");
    }
    let folders = ["state", "tmp", "plans", "inventories", "providers"];
    let folders = folders.map(|folder| shop.home().join(folder).display().to_string());
    // What a process lays into the machine's shared memory outlives it as well.
    let folders = [&folders[..], &["/dev/shm".to_owned()]].concat();
    assert_eq!(here(canaries, &folders), Vec::<String>::new());
    // The operators' inbox, in the world.
    let inbox = ["/run/dr-plan/services/messages.jsonl".to_owned()];
    assert!(
        shop.inside("cat /run/dr-plan/services/messages.jsonl")
            .contains("region-failover")
    );
    let inside = |words: &[&str]| shop.world.command(words);
    assert_eq!(search(canaries, &inbox, inside), Vec::<String>::new());
}

/// A search on this machine itself.
fn here(canaries: &Canaries, folders: &[String]) -> Vec<String> {
    search(canaries, folders, |words| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    })
}

/// The cloud saw nothing but the key that each server begins with, and that only where it is made.
fn in_the_cloud(shop: &Shop, canaries: &Canaries, bootstrap: &Canaries) {
    let calls = shop.lever("ledger");
    let text = calls.to_string();
    for (name, value) in canaries {
        for form in forms(value) {
            assert!(!text.contains(&form), "the cloud was told {name}");
        }
    }
    for (name, value) in bootstrap {
        let holds = |call: &&Value| call.to_string().contains(value);
        let told: Vec<&Value> = calls["calls"]
            .as_array()
            .unwrap()
            .iter()
            .filter(holds)
            .collect();
        assert_eq!(told.len(), 1, "{name}");
        assert_eq!(told[0]["path"], "/v1/servers");
        assert!(
            told[0]["body"]["user_data"]
                .as_str()
                .unwrap()
                .contains(value)
        );
    }
}

/// Arguments and environments of all processes, as they were sampled.
fn in_processes(seen: &Seen, canaries: &Canaries) {
    eprintln!("{} sweeps, {} texts", seen.sweeps, seen.texts.len());
    // It looked while the steps worked: their jobs on the hosts are among what it saw.
    assert!(
        !seen.with("/var/lib/dr-plan/").is_empty(),
        "no job of a step was seen on any server"
    );
    for (name, value) in canaries {
        for form in forms(value) {
            assert_eq!(seen.with(&form), Vec::<String>::new(), "{name}");
        }
    }
}

fn on_the_servers(shop: &Shop, canaries: &Canaries) {
    let found = on_hosts(shop, canaries);
    let mut elsewhere: Vec<&String> = found.iter().collect();
    for (secret, role, file, owner) in DECLARED {
        let name = shop.machine(&format!("dr-region-failover-{role}")).name;
        // On the disk itself, and the same file through the root of the machine.
        let belongs = |place: &str| {
            place.starts_with(&format!("{secret} in "))
                && place.ends_with(file)
                && (place.contains(&name) || place.contains("/root/etc/"))
        };
        let before = elsewhere.len();
        elsewhere.retain(|place| !belongs(place));
        assert!(elsewhere.len() < before, "{secret} is not in {file}");
        let kept = shop.on(&name, &format!("stat -c '%U %a' /{file}"));
        assert_eq!(kept.trim(), format!("{owner} 600"));
    }
    assert_eq!(elsewhere, Vec::<&String>::new());
}

/// Everything that the new servers can write to: their disks, and what lies in memory.
fn on_hosts(shop: &Shop, canaries: &Canaries) -> Vec<String> {
    let mut folders = Vec::new();
    for role in ["db", "web"] {
        let machine = shop.machine(&format!("dr-region-failover-{role}"));
        folders.push(format!("/run/dr-plan/machines/{}/disk", machine.name));
        let root = format!("/proc/{}/root", machine.init_pid.unwrap());
        folders.extend(["run", "tmp", "dev/shm"].map(|place| format!("{root}/{place}")));
    }
    search(canaries, &folders, |words| shop.world.command(words))
}

/// What the run pinned at last is what the servers show; the first keys are shown by nobody.
fn the_bootstrap_keys_are_dead(shop: &Shop, ran: &Ran) {
    for role in ["db", "web"] {
        let noted = |key: &str| ran.noted(role, key).unwrap();
        let (first, own) = (noted("bootstrap_pins"), noted("rotated"));
        // One create request was sent, so one key was in user data.
        assert_eq!(first.as_array().unwrap().len(), 1);
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let (first, own) = (text(&first[0]), text(&own));
        assert_ne!(first, own);
        let address = shop.machine(&format!("dr-region-failover-{role}")).address;
        let shown = shop.inside(&format!("ssh-keyscan -T 10 {address} 2> /dev/null"));
        assert!(shown.contains(&own), "{role}: {shown}");
        assert!(!shown.contains(&first), "{role}: {shown}");
        assert_eq!(
            shown.lines().count(),
            1,
            "{role} has more keys than its own: {shown}"
        );
    }
}
