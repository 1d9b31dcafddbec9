//! Runs that are taken back, and what they kept of before, in the real sandbox.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use jiff::Timestamp;
use serde_json::Value;

use super::shop::{FINGERPRINT, KILLED, Shop, wait_for};

pub fn names(shop: &Shop) -> Vec<(String, String)> {
    let servers = shop.servers().into_iter();
    servers.map(|(name, _, status)| (name, status)).collect()
}

/// The addresses that the zone holds, by name.
pub fn zone(shop: &Shop) -> Vec<String> {
    let text = shop.inside(
        "curl -sS --fail -H \"X-API-Key: $(cat /run/dr-plan/secrets/powerdns_key)\" \
         http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example",
    );
    let zone: Value = serde_json::from_str(&text).unwrap();
    let sets = zone["rrsets"].as_array().unwrap().iter();
    let mut found: Vec<String> = sets
        .filter(|set| set["type"] == "A")
        .map(|set| format!("{} {} {}", set["name"], set["ttl"], set["records"]))
        .collect();
    found.sort();
    found
}

#[test]
fn a_failover_is_taken_back_although_the_undo_is_killed_on_its_way() {
    let shop = Shop::up("back");
    // Beside passwords such files name what stands in plans and zones: none of it may be lost to the mask.
    let words = shop.path("plans/files/words.env");
    fs::write(
        &words,
        "PUBLIC_HOST=shop.example\nOLD_ADDRESS=198.18.1.2\nDATABASE_USER=postgres\n",
    )
    .unwrap();
    let put = "  words:\n    uses: host.put\n    with: { host: \"{{steps.web.host}}\", from: files/words.env, to: /etc/words.env, \
               secret: true }\n    phase: web\n";
    shop.edit(
        "plans/region-failover.yaml",
        "  web-certificate:\n",
        &format!("{put}  web-certificate:\n"),
    );
    // The old side will not come up by itself.
    shop.on_source("198.18.1.2", "systemctl disable nginx 2>/dev/null");
    shop.order();
    shop.back_up(Timestamp::now(), false);
    shop.order();
    let newest = shop.newest();
    let before = zone(&shop);
    let now = Timestamp::now().to_string();
    // A secret that others can read keeps the run from beginning.
    fs::set_permissions(&words, fs::Permissions::from_mode(0o644)).unwrap();
    shop.do_it(&shop.failover(&now, &["--approve", "go"]))
        .ended(5, &shop)
        .says("can be read by others");
    fs::set_permissions(&words, fs::Permissions::from_mode(0o600)).unwrap();
    shop.do_it(&shop.failover(&now, &["--approve", "go"]))
        .ended(0, &shop);
    assert_ne!(zone(&shop), before);
    assert_ne!(
        shop.newest()["id"],
        newest["id"],
        "the new shop has no order after the backup"
    );
    let standing = shop.servers();
    let messages = shop.messages().len();

    // Only a list, and it changes nothing.
    let listed = shop
        .do_it(&["undo", "last", "--dry-run", "--json"])
        .ended(0, &shop);
    let rows: Value = serde_json::from_str(&listed.out).unwrap();
    let rows = rows.as_array().unwrap();
    let at = |step: &str| rows.iter().position(|row| row["step"] == step);
    assert_eq!(at("dns"), Some(2), "fences first: {rows:#?}");
    assert!(at("fence-db") < at("dns") && at("fence-web") < at("dns"));
    let would = |step: &str| {
        let row = rows.iter().find(|row| row["step"] == step).unwrap();
        row["would"].as_str().unwrap().to_owned()
    };
    assert_eq!(would("dns"), "restore");
    assert_eq!(would("restore-db"), "goes_with");
    assert_eq!(would("db"), "delete");
    assert_eq!(would("fence-db"), "restore");
    assert_eq!(would("tell"), "nothing");
    let text = shop
        .do_it(&["undo", "last", "--dry-run"])
        .ended(0, &shop)
        .out;
    assert!(
        text.contains("only goes forward: nothing is taken back"),
        "{text}"
    );
    assert_eq!(shop.servers(), standing);
    let standing: Vec<String> = standing.into_iter().map(|one| one.0).collect();

    let mut killed = 0;
    let moved = zone(&shop);
    for row in rows {
        let step = row["step"].as_str().unwrap();
        if ["restore", "delete"].contains(&would(step).as_str()) {
            for accident in [format!("crash:{step}"), format!("crash-after:{step}")] {
                let words = ["undo", "last", "--yes", "--inject", &accident];
                if step == "dns" {
                    // Users do not go back before the old side serves; then they do without anybody's word.
                    let moves = accident.starts_with("crash-after");
                    if moves {
                        shop.on_source("198.18.1.2", "systemctl stop nginx");
                    }
                    let undo = shop.begin(&words);
                    undo.wait_for_words("waiting until 198.18.1.2 serves again", &shop);
                    assert_eq!(zone(&shop), moved);
                    let names: Vec<String> = names(&shop).into_iter().map(|one| one.0).collect();
                    assert_eq!(names, standing, "the new servers stand until then");
                    shop.on_source("198.18.1.2", "systemctl start nginx");
                    undo.wait().ended_after(&accident, KILLED, &shop);
                    assert_eq!(zone(&shop) == before, moves, "{accident}");
                } else {
                    shop.do_it(&words).ended_after(&accident, KILLED, &shop);
                }
                killed += 1;
            }
        }
    }
    assert_eq!(killed, 10, "dns, two servers, two fences: {rows:#?}");
    // A run that is half taken back goes back only.
    shop.do_it(&["resume", "last"])
        .ended(2, &shop)
        .says("it does not go forward again");
    shop.do_it(&["undo", "last", "--yes"])
        .ended(0, &shop)
        .says("all that was wanted is taken back");

    assert_eq!(zone(&shop), before);
    let expected = [("shop-db-1", "running"), ("shop-web-1", "running")];
    let expected = expected.map(|(name, status)| (name.to_owned(), status.to_owned()));
    assert_eq!(names(&shop), expected);
    // By name, through the caching resolver, from the old database: also the order that was in no backup.
    wait_for(
        || {
            let answer = shop.inside("curl -sS http://shop.example/orders/newest || true");
            let answer: Value = serde_json::from_str(&answer).ok()?;
            (answer["id"] == newest["id"]).then_some(())
        },
        || format!("the old shop\n{}", shop.story()),
    );
    assert_eq!(shop.messages().len(), messages);
    let report = shop.report();
    assert_eq!(report["result"], "MET");
    assert_eq!(report["back"]["word"], "taken back", "{:#}", report["back"]);
    let gone = report["resources"].as_array().unwrap().iter();
    for made in gone {
        assert!(made["gone"].as_str().unwrap().contains("404"), "{made}");
    }
    assert_eq!(report["still_open"], serde_json::json!([]));
    let status = shop.do_it(&["status", "last"]).says("MET, taken back");
    let dns = status.out.lines().find(|line| line.contains(" dns "));
    assert!(
        dns.is_some_and(|dns| dns.contains("undone")),
        "{}",
        status.out
    );
    shop.do_it(&["report", "last"])
        .says("# MET, taken back: failover of");
    shop.do_it(&["undo", "last", "--yes"])
        .ended(0, &shop)
        .says("is taken back already");
    shop.do_it(&["ssh", "last", "db", "true"])
        .ended(2, &shop)
        .says("the server `db` was deleted when ");
    assert_eq!(shop.creations().len(), 2);
}

const IN_PLACE: &str = r#"
version: 1
name: in-place
inventory: ../inventories/sandbox.yaml
steps:
  note:
    uses: host.put
    with: { host: web-1, content: "new\n", to: /etc/shop/note }
  fresh:
    needs: [note]
    uses: host.put
    with: { host: web-1, content: "fresh\n", to: /etc/shop/fresh }
  restore:
    needs: [note]
    uses: dataset.restore
    with: { dataset: shop-db, host: db-1, replace: true }
"#;

fn on_web(shop: &Shop, script: &str) -> String {
    shop.inside(&format!(
        "ssh -q -F none -i /run/dr-plan/secrets/login -o UserKnownHostsFile=/run/dr-plan/known_hosts -o BatchMode=yes \
         root@198.18.1.2 '{script}'"
    ))
}

fn databases(shop: &Shop) -> Vec<String> {
    let asked =
        shop.ask_source("select datname from pg_database where not datistemplate order by 1");
    asked.lines().map(str::to_owned).collect()
}

#[test]
fn what_was_replaced_is_put_back_or_let_go_of() {
    let shop = Shop::up("kept");
    fs::write(shop.path("plans/in-place.yaml"), IN_PLACE).unwrap();
    on_web(&shop, "echo old >/etc/shop/note");
    shop.back_up(Timestamp::now(), false);
    shop.order();
    let fingerprint = shop.ask_source(FINGERPRINT);
    let run = ["run", "plans/in-place.yaml", "--yes"];

    shop.do_it(&run).ended(0, &shop);
    assert_ne!(shop.ask_source(FINGERPRINT), fingerprint);
    assert_eq!(databases(&shop).len(), 3, "{:?}", databases(&shop));
    assert_eq!(
        on_web(&shop, "cat /etc/shop/note /etc/shop/fresh"),
        "new\nfresh"
    );

    // What is kept stands in the report for as long as it is: the fresh file had nothing before it.
    let open = |shop: &Shop| {
        let report = shop.report();
        let all = report["still_open"].as_array().unwrap().iter();
        let kept = all.filter(|one| one["what"].as_str().unwrap().contains("is kept until"));
        let mut steps: Vec<String> = kept
            .map(|one| {
                let what = one["what"].as_str().unwrap();
                assert!(what.contains("dr-plan release"), "{what}");
                one["step"].as_str().unwrap().to_owned()
            })
            .collect();
        steps.sort();
        steps
    };
    assert_eq!(open(&shop), ["note", "restore"]);

    // One step, then the rest. Whoever agreed beforehand is warned as well. Killed on its way, it needs what is kept: that is not let
    // go of, nor by somebody who was asked before.
    let mut release = shop.begin_at_terminal(&["release", "last"]);
    release.wait_for_words("type `yes`", &shop);
    shop.do_it(&[
        "undo",
        "last",
        "restore",
        "--yes",
        "--inject",
        "crash:restore",
    ])
    .ended(KILLED, &shop);
    release.types("yes");
    release.wait().ended(3, &shop).says("half taken back");
    for more in [&[][..], &["--not-met"]] {
        shop.do_it(&[&["release", "last", "--yes"], more].concat())
            .ended(3, &shop)
            .says("`restore`")
            .says("dr-plan undo");
    }
    assert_eq!(open(&shop), ["note", "restore"]);
    assert_eq!(databases(&shop).len(), 3, "{:?}", databases(&shop));
    shop.do_it(&["undo", "last", "restore", "--yes"])
        .ended(0, &shop)
        .says("What was written to these servers and databases since then goes with them.");
    assert_eq!(open(&shop), ["note"]);
    assert_eq!(shop.ask_source(FINGERPRINT), fingerprint);
    assert_eq!(databases(&shop), ["postgres", "shop"]);
    assert_eq!(on_web(&shop, "cat /etc/shop/note"), "new");
    for accident in ["crash-after:fresh", "crash:note", "crash-after:note"] {
        shop.do_it(&["undo", "last", "--yes", "--inject", accident])
            .ended_after(accident, KILLED, &shop);
    }
    shop.do_it(&["undo", "last", "--yes"]).ended(0, &shop);
    assert_eq!(
        on_web(&shop, "cat /etc/shop/note; ls /etc/shop/fresh 2>&1 || true")
            .lines()
            .next(),
        Some("old")
    );
    assert_eq!(
        on_web(&shop, "test -e /etc/shop/fresh || echo gone"),
        "gone"
    );

    // Once more, and this time for good.
    shop.do_it(&run).ended(0, &shop);
    shop.do_it(&["release", "last", "--yes"])
        .ended(0, &shop)
        .says("is gone");
    assert_eq!(databases(&shop), ["postgres", "shop"]);
    assert_eq!(open(&shop), [""; 0]);
    assert_ne!(shop.ask_source(FINGERPRINT), fingerprint);
    assert_eq!(
        on_web(
            &shop,
            "ls -d /var/lib/dr-plan/*/note.kept 2>/dev/null | wc -l"
        ),
        "0"
    );
    shop.do_it(&["release", "last", "--yes"])
        .ended(0, &shop)
        .says("keeps nothing of before");
    shop.do_it(&["undo", "last", "--dry-run"])
        .ended(0, &shop)
        .says("was let go of: a person must see to it");
    shop.do_it(&["undo", "last", "--yes"]).ended(8, &shop);
    assert_eq!(
        on_web(&shop, "cat /etc/shop/note"),
        "new",
        "what was let go of cannot come back"
    );
    assert_eq!(
        on_web(&shop, "test -e /etc/shop/fresh || echo gone"),
        "gone"
    );

    // A run that did not bring everything back keeps what it has, unless somebody says so.
    shop.edit(
        "plans/in-place.yaml",
        "  fresh:\n",
        "  bad:\n    uses: check.tcp\n    timeout: 1s\n    with: { address: 198.18.1.1, port: 9 }\n  fresh:\n",
    );
    on_web(&shop, "echo third >/etc/shop/note");
    shop.do_it(&run).ended(4, &shop);
    shop.do_it(&["release", "last", "--yes"])
        .ended(3, &shop)
        .says("may be the only good copy");
    assert_eq!(databases(&shop).len(), 3);
    shop.do_it(&["release", "last", "--yes", "--not-met"])
        .ended(0, &shop);
    assert_eq!(databases(&shop), ["postgres", "shop"]);

    // The old database is gone, and nobody was left to say so: the restored one is not taken away as well.
    shop.do_it(&run).ended(4, &shop);
    let live = shop.ask_source(FINGERPRINT);
    let kept = databases(&shop)
        .into_iter()
        .find(|name| name.contains("_pre_"));
    shop.ask_source(&format!("drop database {}", kept.unwrap()));
    shop.do_it(&["undo", "last", "restore", "--yes"])
        .ended(4, &shop)
        .says("was let go of: nothing is taken back");
    assert_eq!(shop.ask_source(FINGERPRINT), live);
}

#[test]
fn a_new_run_goes_on_with_what_older_ones_left() {
    let shop = Shop::up("adopted");
    shop.order();
    let kept = shop.newest();
    shop.back_up(Timestamp::now(), false);
    let zone_before = zone(&shop);
    let lost_at = Timestamp::now().to_string();
    let plan = "plans/region-failover.yaml";
    let run_of = |shop: &Shop| {
        shop.run_folder()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };

    // The first one is killed with its restore done and not looked at, the second fails at a unit that does not exist.
    let words = shop.failover(
        &lost_at,
        &["--approve", "go", "--inject", "crash-after:restore-db"],
    );
    shop.do_it(&words).ended(KILLED, &shop);
    let first = run_of(&shop);
    let servers = shop.servers();
    let right = "service: shop, state: started";
    let wrong = "service: shopp, state: started";
    shop.edit(plan, right, wrong);
    shop.do_it(&shop.failover(&lost_at, &["--approve", "go", "--adopt", &first]))
        .ended(4, &shop)
        .says("FAILED");
    let second = run_of(&shop);
    assert_ne!(first, second);
    assert_eq!(shop.servers(), servers, "no server was made or lost");
    shop.do_it(&["resume", &first])
        .ended(2, &shop)
        .says("handed what it made over");
    shop.do_it(&["undo", &first, "--yes"])
        .ended(2, &shop)
        .says("handed what it made over");

    // Killed before the older run knew of it, the new one may not have heard of everything: it is not gone on with.
    let runs = shop.path("state/dr-plan/runs");
    let older = runs.join(&first).join("journal.jsonl");
    let whole = fs::read_to_string(&older).unwrap();
    let (before, handed) = whole.trim_end().rsplit_once('\n').unwrap();
    assert!(handed.contains("handed_over"), "{handed}");
    fs::write(&older, format!("{before}\n")).unwrap();
    shop.do_it(&["resume", &second])
        .ended(2, &shop)
        .says("does not know all that is there");
    fs::write(&older, whole).unwrap();

    // A plan that has no place for a server of the older run does not take it over.
    shop.edit(plan, wrong, right);
    shop.edit(plan, "role: web", "role: front");
    shop.do_it(&shop.failover(&lost_at, &["--adopt", &second]))
        .ended(3, &shop)
        .says("left servers that this plan has no place for");
    assert_eq!(run_of(&shop), second, "no run was begun");
    shop.edit(plan, "role: front", "role: web");

    let looked = shop
        .do_it(&["run", plan, "--dry-run", "--json", "--adopt", &second])
        .ended(0, &shop);
    let looked: Value = serde_json::from_str(&looked.out).unwrap();
    let would = |id: &str| {
        let steps = looked["preview"]["steps"].as_array().unwrap();
        steps.iter().find(|step| step["id"] == id).unwrap()["would"].clone()
    };
    assert_eq!(
        [would("db"), would("web"), would("dns")],
        ["nothing", "nothing", "act"]
    );
    let monthly = looked["preview"]["monthly"].as_array().unwrap();
    assert!(monthly.is_empty(), "nothing new is paid for: {monthly:?}");

    let ran = shop.do_it(&shop.failover(&lost_at, &["--approve", "go", "--adopt", &second]));
    let ran = ran.ended(0, &shop).says("MET");
    assert!(ran.err.contains("goes on with what run"), "{}", ran.err);
    assert_eq!(
        shop.creations().len(),
        2,
        "one server for each role, by the first run"
    );
    assert_eq!(shop.servers(), servers);
    assert_eq!(shop.newest()["id"], kept["id"]);
    let report = shop.report();
    let restore = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["id"] == "restore-db");
    assert_eq!(restore.unwrap()["already"], true, "{:#}", restore.unwrap());
    shop.do_it(&["run", plan, "--yes", "--adopt", "last"])
        .ended(2, &shop)
        .says("nothing to go on with");

    // What it took over is its own: it takes it back, also what the first run had changed.
    shop.do_it(&["undo", "last", "--yes"]).ended(0, &shop);
    assert_eq!(zone(&shop), zone_before);
    let expected = [("shop-db-1", "running"), ("shop-web-1", "running")];
    let expected = expected.map(|(name, status)| (name.to_owned(), status.to_owned()));
    assert_eq!(names(&shop), expected);
}

#[test]
fn while_the_old_side_does_not_come_up_users_stay_and_nothing_of_the_new_one_is_deleted() {
    let shop = Shop::up("no-way-back");
    shop.only_database_and_pages();
    shop.order();
    let kept = shop.newest();
    shop.back_up(Timestamp::now(), false);
    let before = zone(&shop);
    let lost_at = shop.lose_region().to_string();
    shop.do_it(&shop.failover(&lost_at, &["--approve", "go"]))
        .ended(0, &shop);
    // Of the lost region's servers the provider says one thing now and another then.
    let new_ones = || {
        let mut servers = shop.servers();
        servers.retain(|(name, ..)| name.starts_with("dr-"));
        servers
    };
    let (after, servers) = (zone(&shop), new_ones());
    assert_eq!(servers.len(), 2, "{servers:?}");

    // The provider cannot power on what burned down.
    shop.do_it(&["undo", "last", "--yes"])
        .ended(4, &shop)
        .says("users stay where they are")
        .says("--adopt");
    shop.do_it(&["status", "last"])
        .says("not undone")
        .says("the way back: what was fenced does not come back");
    assert_eq!(new_ones(), servers);
    assert_eq!(zone(&shop), after);
    assert_eq!(shop.newest()["id"], kept["id"]);

    // Whoever knows better than what answers can move them all the same.
    let words = ["undo", "last", "dns", "--yes", "--ungated"];
    shop.do_it(&[&words[..], &["--inject", "crash-after:dns"]].concat())
        .ended(KILLED, &shop);
    assert_eq!(zone(&shop), before);
    // There is nobody left to be moved, so nobody has to serve.
    shop.do_it(&words[..4]).ended(0, &shop);
    assert_eq!(new_ones(), servers);
    assert_eq!(zone(&shop), before);

    // So forward again, with what stands.
    shop.do_it(&shop.failover(&lost_at, &["--approve", "go", "--adopt", "last"]))
        .ended(0, &shop)
        .says("MET");
    assert_eq!(zone(&shop), after);
    assert_eq!(new_ones(), servers);
    assert_eq!(shop.creations().len(), 2);
    assert_eq!(shop.newest()["id"], kept["id"]);
}
