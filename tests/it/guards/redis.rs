//! Redis with an append-only file: never an empty, a cut or an overwritten dump, and what was there is kept.

use super::sampler::Sampler;
use super::shop::{Ran, Shop, name_of, wait_for};

const RESTORE: &str = "
version: 1
name: restore
inventory: ../inventories/sandbox.yaml
steps:
  restore:
    uses: dataset.restore
    with: { dataset: shop-cache, host: db-1 }
    verify:
      - keys: { expect: \">= 300\" }
      - redis: { query: \"hget cart:7 sku\", expect: \"= 7\" }
      - newest: { query: \"get shop:newest\" }
";

const REPLACE: &str = "host: db-1, replace: true }";

/// Asks for a time as an application keeps it that thinks in its own town's.
const AT: &str = "hget cart:7 at";

/// Words for the database server: a client that reads the password with its commands.
const CLI: &str = "redis() { { cat /etc/redis/password.conf | sed 's/^requirepass/AUTH/'; cat; } | redis-cli | sed 1d; }; ";

/// All keys with their values, as one hash that no order changes. Times to live stand apart.
const FINGERPRINT: &str = "EVAL \"local keys = redis.call('keys', '*'); table.sort(keys); local all = ''; \
    for _, key in ipairs(keys) do all = redis.sha1hex(all .. key .. redis.call('dump', key) .. (redis.call('expiretime', key))) end; \
    return all .. ' ' .. #keys\" 0";

fn redis(shop: &Shop, commands: &str) -> String {
    let said = shop.on(
        "shop-db-1",
        &format!("{CLI} redis <<'END'\n{commands}\nEND\n"),
    );
    said.trim().to_owned()
}

/// Stores what a command prints as a backup of the cache.
fn store(shop: &Shop, folder: &str, more: &str) {
    shop.on(
        "shop-db-1",
        &format!("cat > /root/rdb.sh <<'END'\nset -eu\n{CLI}\nprintf 'SAVE\\n' | redis >/dev/null; cat /var/lib/redis/dump.rdb\nEND\n"),
    );
    let command = format!(
        "ssh -q -i $S/login -o UserKnownHostsFile=/run/dr-plan/known_hosts root@198.18.1.1 'sh /root/rdb.sh' {more}"
    );
    shop.store(folder, &name_of(0), &command, "$S/backup_passphrase");
}

fn from(shop: &Shop, original: &str, folder: &str) {
    shop.inventory(|_| {
        original
            .replace("\"redis/cache-", &format!("\"{folder}/shop-"))
            .replace(".rdb.gpg", ".dump.gpg")
    });
}

fn refused(ran: &Ran, codes: &[i32], words: &[&str]) {
    let said = ran.said();
    assert!(codes.contains(&ran.code.unwrap()), "{:?}: {said}", ran.code);
    for word in words {
        assert!(said.contains(word), "`{word}` is not said: {said}");
    }
}

const RUN_ID: &str = "INFO server";

fn run_id(shop: &Shop) -> String {
    let said = redis(shop, RUN_ID);
    let line = said.lines().find(|line| line.starts_with("run_id:"));
    line.unwrap().trim().to_owned()
}

#[test]
fn a_redis_is_restored_whole_or_not_at_all_and_survives_a_restart() {
    let shop = Shop::up();
    let plan = shop.plan("restore", RESTORE);
    let original = std::fs::read_to_string(shop.home().join("inventories/sandbox.yaml")).unwrap();
    redis(&shop, "HSET cart:7 at \"2026-01-01 08:30:00\"");
    let good = redis(&shop, FINGERPRINT);
    store(&shop, "cache", "");
    store(&shop, "cut", "| head -c -9");
    store(&shop, "more", "| { cat; echo more; }");
    shop.store(
        "empty",
        &name_of(0),
        "{ redis-server --port 0 --unixsocket /run/empty.sock --dir $d --daemonize yes --logfile /dev/null >/dev/null; \
         until redis-cli -s /run/empty.sock save >/dev/null 2>&1; do sleep 0.05; done; cat $d/dump.rdb; \
         redis-cli -s /run/empty.sock shutdown nosave; }",
        "$S/backup_passphrase",
    );
    redis(&shop, "SET after-the-backup 1\nDEL cart:7");
    let (live, id) = (redis(&shop, FINGERPRINT), run_id(&shop));
    assert_ne!(live, good);

    // A server that holds keys is not written over, and nothing is fetched for it.
    shop.on("shop-db-1", "ip route add blackhole 198.18.255.2");
    from(&shop, &original, "cache");
    refused(
        &shop.run(&plan, &[]),
        &[5],
        &["holds 502 key(s)", "replace: true"],
    );
    shop.on("shop-db-1", "ip route del blackhole 198.18.255.2");
    let plan = shop.plan("replace", &RESTORE.replace("host: db-1 }", REPLACE));
    for (folder, words) in [
        ("cut", "cut or damaged"),
        ("more", "the RDB file ends at byte"),
        ("empty", "holds no key"),
    ] {
        from(&shop, &original, folder);
        refused(&shop.run(&plan, &[]), &[4], &[words]);
    }
    // What a plan asks is asked before the swap.
    let asks = RESTORE
        .replace("host: db-1 }", REPLACE)
        .replace("= 7\"", "= 8\"");
    let asks = shop.plan("asks", &asks);
    from(&shop, &original, "cache");
    refused(&shop.run(&asks, &[]), &[4], &["hget cart:7 sku", "gave 7"]);
    assert_eq!(redis(&shop, FINGERPRINT), live);
    assert_eq!(run_id(&shop), id, "the server was restarted for nothing");

    // The whole backup, into a server with an append-only file of its own. Of the time that the RPO is measured by nobody
    // knows the zone.
    let whole = RESTORE.replace("host: db-1 }", REPLACE);
    let plan = shop.plan("replace", &whole.replace("get shop:newest", AT));
    from(&shop, &original, "cache");
    let sampler = Sampler::start();
    let ran = shop.run(&plan, &[]);
    let seen = sampler.stop();
    refused(
        &ran,
        &[8],
        &["MET WITH EXCEPTIONS", AT, "taken as UTC", "`zone:`"],
    );
    assert_eq!(redis(&shop, FINGERPRINT), good);
    let password = shop.inside("cat /run/dr-plan/secrets/shop_redis_password");
    let shown = seen.texts.iter().filter(|text| {
        text.windows(password.len())
            .any(|part| part == password.as_bytes())
    });
    assert_eq!(
        shown.count(),
        0,
        "the password was in an argument or an environment"
    );
    let journal = std::fs::read_to_string(ran.folder.join("journal.jsonl")).unwrap();
    assert!(
        !journal.contains(&password),
        "the password is in the journal"
    );
    for phase in ["fetch", "decode", "restore"] {
        assert!(
            journal.contains(&format!("\"phase\":\"{phase}\"")),
            "{phase}"
        );
    }
    shop.on("shop-db-1", "systemctl restart redis-server");
    assert_eq!(redis(&shop, FINGERPRINT), good, "after a restart");
    assert_eq!(redis(&shop, "CONFIG GET appendonly"), "appendonly\nyes");
    // The old data is whole where it was kept.
    let kept = ran.noted("restore", "kept").unwrap();
    let kept = kept.as_str().unwrap();
    let old = shop.on(
        "shop-db-1",
        &format!(
            "cp -a {kept} /root/old; cd /root/old; redis-server --port 0 --unixsocket /run/old.sock --dir /root/old --appendonly yes \
             --daemonize yes --logfile /dev/null >/dev/null; \
             until redis-cli -s /run/old.sock ping 2>/dev/null | grep -q PONG; do sleep 0.05; done; \
             redis-cli -s /run/old.sock <<'END'\n{FINGERPRINT}\nSHUTDOWN NOSAVE\nEND\n"
        ),
    );
    assert_eq!(old.trim(), live);

    // A look at it, as a step of its own; twice: a restored server is left alone.
    let look = shop.plan(
        "look",
        "
version: 1
name: look
inventory: ../inventories/sandbox.yaml
steps:
  look:
    uses: check.redis
    with:
      host: db-1
      query: hget cart:7 sku
      expect: \"= 7\"
      append_only: true
      password: { file: /run/dr-plan/secrets/shop_redis_password }
  ask:
    uses: dataset.verify
    with: { dataset: shop-cache, host: db-1 }
    verify:
      - keys: { expect: \"= 502\" }
      - newest: { query: \"hget cart:7 at\", zone: Europe/Berlin }
",
    );
    let ran = shop.run(&look, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let journal = std::fs::read_to_string(ran.folder.join("journal.jsonl")).unwrap();
    assert!(journal.contains("\"at\":\"2026-01-01T07:30:00Z\""));
    let locked_out = std::fs::read_to_string(&look)
        .unwrap()
        .replace("shop_redis_password", "shop_database_password");
    let look = shop.plan("locked-out", &locked_out);
    refused(&shop.run(&look, &[]), &[4, 5], &["WRONGPASS"]);
}

#[test]
fn a_redis_swap_that_dies_with_its_server_stopped_is_finished_once() {
    let shop = Shop::up();
    let plan = shop.plan("replace", &RESTORE.replace("host: db-1 }", REPLACE));
    let original = std::fs::read_to_string(shop.home().join("inventories/sandbox.yaml")).unwrap();
    from(&shop, &original, "cache");
    let good = redis(&shop, FINGERPRINT);
    store(&shop, "cache", "");
    redis(&shop, "SET after-the-backup 1");
    // The service takes its time to start: the swap is met with the server down and the files moved.
    shop.on(
        "shop-db-1",
        "cp /lib/systemd/system/redis-server.service /etc/systemd/system/redis-server.service
         sed -i 's,^ExecStart=,ExecStartPre=/bin/sh -c \"until [ -e /run/go ]; do sleep 0.05; done\"\\nExecStart=,' /etc/systemd/system/redis-server.service
         systemctl daemon-reload",
    );
    let going = shop.begin(&plan, &[]);
    let folder = going.folder(&shop);
    let run = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let job = format!("/var/lib/dr-plan/{run}/restore.swap");
    wait_for("the server stopped and the files moved", || {
        let said = shop.on(
            "shop-db-1",
            "ls /var/lib/redis/dr-plan-*/kept/appendonlydir /var/lib/redis/appendonlydir/dr-plan.mark 2>/dev/null || :",
        );
        said.contains("dr-plan.mark").then_some(())
    });
    // Both sides die: the orchestrator, and the job without a word.
    let card =
        std::fs::read_to_string(shop.home().join("state/dr-plan/estates/shop.lock")).unwrap();
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    shop.inside(&format!("kill -KILL {}", card["pid"]));
    let ran = going.ended(&shop);
    assert_ne!(ran.code, Some(0), "{}", ran.said());
    let killed = shop.on(
        "shop-db-1",
        &format!(
            "set -- $(cat {job}/*/pids); keeper=$1; shift; kill -KILL $keeper; \
             for path in /proc/[0-9]*; do pid=${{path#/proc/}}; \
             if [ \"$(awk '{{ print $6 }}' $path/stat 2>/dev/null)\" = \"$3\" ]; then kill -KILL $pid && echo killed; fi; done"
        ),
    );
    assert!(killed.contains("killed"), "{killed}");
    shop.on("shop-db-1", "touch /run/go");
    let ran = shop.resume(&ran);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(redis(&shop, FINGERPRINT), good);
    shop.on("shop-db-1", "systemctl restart redis-server");
    assert_eq!(redis(&shop, FINGERPRINT), good);
    let stages = shop.on(
        "shop-db-1",
        &format!("ls /var/lib/dr-plan/{run}/restore.stage"),
    );
    assert_eq!(
        stages.lines().count(),
        1,
        "fetched and loaded once: {stages}"
    );
}
