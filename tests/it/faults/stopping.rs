//! What no waiting mends: a full disk, a wrong key, a host that dies, a clock that is wrong, a full disk of one's own. Each
//! stops or is refused with the words that lead on, touches nothing that it should not, and goes on afterwards.

use jiff::Timestamp;

use crate::failover::shop::{FINGERPRINT, HOLD_PG_RESTORE, Shop};

/// What stands in the new cluster.
const DATABASES: &str = "cd / && runuser -u postgres -- psql -XAtq postgres -c 'select datname from pg_database where not datistemplate order by 1'";

/// Every picture with its content, in a line.
const MEDIA: &str = "cd /srv/shop/media && find . -type f -exec sha256sum {} + | sort | sha256sum";

/// Every key with its value and time, in a line.
const KEYS: &str = "{ sed 's/^requirepass/AUTH/' /etc/redis/password.conf; cat <<'END'
EVAL \"local keys = redis.call('keys', '*'); table.sort(keys); local all = ''; for _, key in ipairs(keys) do all = redis.sha1hex(all .. key .. redis.call('dump', key)) end; return all .. ' ' .. #keys\" 0
END
} | redis-cli | sed 1d";

/// The restores of the plan wait for each other.
fn one_after_the_other(shop: &Shop) {
    for (needs, before) in [
        ("fence-db, cache-restart", "restore-db"),
        ("fence-web", "restore-cache"),
    ] {
        shop.edit(
            "plans/region-failover.yaml",
            &format!("    needs: [{needs}]\n    uses: dataset.restore"),
            &format!("    needs: [{needs}, {before}]\n    uses: dataset.restore"),
        );
    }
}

#[test]
fn a_clock_that_is_an_hour_off_is_noticed_and_a_full_disk_takes_no_half_restore() {
    let shop = Shop::up("full");
    shop.order();
    let kept = shop.newest();
    let fingerprint = shop.ask_source(FINGERPRINT);
    let pictures = shop.on_source("198.18.1.2", MEDIA);
    let carts = shop.on_source("198.18.1.1", KEYS);
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();
    // An hour slow: the loss would lie in the future, and so would the backup.
    let with_clock = |off: &str, lost_at: &[&str]| {
        let words = [
            &[
                "run",
                "plans/region-failover.yaml",
                "--yes",
                "--approve",
                "go",
            ],
            lost_at,
        ]
        .concat();
        let words = words.join(" ");
        shop.do_it(&[
            "sandbox",
            "exec",
            "--world",
            &shop.world,
            "--",
            "sh",
            "-c",
            &format!(
                "exec faketime -f {off} {} {words}",
                env!("CARGO_BIN_EXE_dr-plan")
            ),
        ])
    };
    with_clock("-1h", &["--lost-at", &lost_at])
        .ended(2, &shop)
        .says("this machine's clock");
    let ran = with_clock("-1h", &[]).ended(5, &shop);
    let ran = ran.says("the clock of this machine is wrong");
    ran.says("nothing was touched");
    assert_eq!(shop.creations(), Vec::<String>::new());

    // The targets' disks are full: small ones of their own, for the machine's is everybody's. A little room is left, so that each
    // restore ends in the middle.
    one_after_the_other(&shop);
    let words = shop.failover(
        &lost_at,
        &["--approve", "go", "--inject", "crash:restore-db"],
    );
    shop.do_it(&words).ended(128 + 9, &shop);
    let small_disk = |host: &str, service: &str, folder: &str, size: &str, left: u64| {
        shop.on_restored(
            host,
            &format!(
                "systemctl stop {service}; mkdir -p {folder}; cp -a {folder} /var/tmp/small
                 mount -t tmpfs -o size={size},mode=755 none {folder}
                 cp -a /var/tmp/small/. {folder}/; chown --reference=/var/tmp/small {folder}; rm -r /var/tmp/small
                 systemctl start {service}
                 room=$(df --output=avail -B1 {folder} | tail -n 1)
                 head -c $((room - {left})) /dev/zero > {folder}/filler"
            ),
        );
    };
    let stopped = |step: &str, host: &str, folder: &str, left: &str, nothing: &str| {
        let ran = shop.do_it(&["resume", "last"]).ended(4, &shop);
        let ran = ran.says("no room");
        ran.says("dr-plan resume");
        let report = shop.report();
        let mut steps = report["steps"].as_array().unwrap().iter();
        let status = steps.find(|one| one["id"] == step).unwrap();
        assert_eq!(status["status"], "failed", "{status:#}");
        let found = shop.on_restored(host, left);
        assert_eq!(found, nothing, "{step} left something half done");
        shop.on_restored(host, &format!("rm {folder}/filler"));
    };
    let data = "/var/lib/postgresql";
    small_disk("db", "postgresql", data, "700m", 1_000_000);
    stopped("restore-db", "db", data, DATABASES, "postgres");
    small_disk("db", "redis-server", "/var/lib/redis", "300m", 8192);
    // What needs no database has gone on meanwhile: the web server is there.
    small_disk("web", "nginx", "/srv/shop", "300m", 700_000);
    let size = "{ sed s/^requirepass/AUTH/ /etc/redis/password.conf; echo DBSIZE; } | redis-cli | tail -n 1";
    stopped("restore-cache", "db", "/var/lib/redis", size, "0");
    let tree = "[ -e /srv/shop/media ] || echo nothing";
    stopped("restore-media", "web", "/srv/shop", tree, "nothing");
    shop.do_it(&["resume", "last"]).ended(0, &shop).says("MET");
    assert_eq!(shop.ask_restored(FINGERPRINT), fingerprint);
    assert_eq!(shop.on_restored("db", KEYS), carts);
    assert_eq!(shop.on_restored("web", MEDIA), pictures);
    assert_eq!(shop.newest()["id"], kept["id"]);

    // An hour fast: every backup would seem an hour older than it is.
    let ran = with_clock("+1h", &["--anew"]).ended(5, &shop);
    let ran = ran.says("the clock of this machine is wrong");
    ran.says("nothing was touched");
}

#[test]
fn a_full_disk_of_one_s_own_stops_the_run_before_the_next_deed() {
    let shop = Shop::up("own");
    shop.order();
    let kept = shop.newest();
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();

    // The run's own state lies on a disk with hardly any room.
    let small = |words: &[&str]| {
        let words = words.join(" ");
        shop.do_it(&[
            "sandbox",
            "exec",
            "--world",
            &shop.world,
            "--",
            "sh",
            "-c",
            &format!(
                "XDG_STATE_HOME=/run/small exec {} {words}",
                env!("CARGO_BIN_EXE_dr-plan")
            ),
        ])
    };
    shop.inside("mkdir /run/small && mount -t tmpfs -o size=160k none /run/small");
    let ran = small(&shop.failover(&lost_at, &["--approve", "go"])).ended(6, &shop);
    let ran = ran.says("No space left on device");
    ran.says("dr-plan resume");
    let made = shop.creations().len();
    shop.inside("mount -o remount,size=64m /run/small");
    small(&["resume", "last"]).ended(0, &shop).says("MET");
    assert!(
        made <= 2 && shop.creations().len() == 2,
        "{made}: {:?}",
        shop.creations()
    );
    assert_eq!(shop.newest()["id"], kept["id"]);
}

/// A program of the host that stops for good where it is called with these words for the first time, when its own work there is
/// done: held in the middle, on any machine. `/usr/local` comes first in every PATH.
fn hold(program: &str, words: &str) -> String {
    format!(
        r#"real=$(PATH=/usr/sbin:/usr/bin command -v {program})
sed "s|REAL|$real|g" > /usr/local/bin/{program} <<'END'
#!/bin/sh
if [ ! -e /var/tmp/held-{program} ]; then
  case "$*" in {words})
    REAL "$@"
    : > /var/tmp/held-{program}
    exec sleep 300 ;;
  esac
fi
exec REAL "$@"
END
chmod 755 /usr/local/bin/{program}"#
    )
}

/// PostgreSQL: in the middle of `pg_restore`. Redis: once while a server of ours counts what it has loaded, once between the renames, when
/// the old data is aside and the new one not yet in its place. Files: once when they are extracted and nobody has compared them, once
/// between the renames.
#[test]
fn a_wrong_key_and_hosts_that_lose_their_power_in_each_restore_lose_nothing() {
    let shop = Shop::up("power");
    shop.slow_to_restore();
    shop.order();
    let kept = shop.newest();
    let fingerprint = shop.ask_source(FINGERPRINT);
    let pictures = shop.on_source("198.18.1.2", MEDIA);
    let carts = shop.on_source("198.18.1.1", KEYS);
    let configuration = "cat /etc/nginx/sites-enabled/shop.conf /etc/cron.d/shop | sha256sum";
    let site = shop.on_source("198.18.1.2", configuration);
    assert!(carts.contains(' '), "{carts}");
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();
    let server = |role: &str| {
        let start = format!("dr-region-failover-{role}-");
        let names = shop.servers().into_iter().map(|server| server.0);
        names
            .into_iter()
            .find(|name| name.starts_with(&start))
            .unwrap()
    };

    one_after_the_other(&shop);
    shop.edit(
        "plans/region-failover.yaml",
        "    needs: [web-certificate, web-key]\n    uses: dataset.restore",
        "    needs: [web-certificate, web-key, restore-media]\n    uses: dataset.restore",
    );
    // Asked when the folder has its name; before, there is none.
    shop.edit(
        "plans/region-failover.yaml",
        "      - file: { path: picture-7.bin }\n",
        "      - file: { path: picture-7.bin }\n      - command: { host: \"{{steps.web.host}}\", command: find /srv/shop/media -type f | wc -l, expect: \">= 13\" }\n",
    );

    // The key that opens the backups is another one than that which closed them.
    shop.inside("cd /run/dr-plan/secrets; cp backup_passphrase right; printf wrong-but-long-enough > backup_passphrase");
    let ran = shop.do_it(&shop.failover(&lost_at, &["--approve", "go"]));
    let ran = ran.ended(4, &shop);
    let ran = ran.says("the key does not open the backup");
    ran.says("dr-plan resume");
    let databases = || shop.on_restored("db", DATABASES);
    assert_eq!(databases(), "postgres", "nothing was begun");
    shop.inside("cd /run/dr-plan/secrets; mv right backup_passphrase");

    let holds = [
        // A question to the server that only loads: it has a socket of its own.
        ("db", "redis-cli", "*-s*/s"),
        ("db", "mv", "*/kept/*"),
        ("web", "tar", "*--extract*"),
        ("web", "mv", "*/srv/shop/media"),
        // The configuration, while its checker looks at what is not in place yet.
        ("web", "nginx", "-t*"),
    ];
    for (host, program, held) in holds {
        shop.on_restored(host, &hold(program, held));
    }
    let run = shop.begin(&["resume", "last"]);
    shop.inside(HOLD_PG_RESTORE);
    let lose_power = |machine: &str| {
        for word in ["break", "mend"] {
            let words = ["sandbox", word, "--world", &shop.world, "host", machine];
            shop.do_it(&words).ended(0, &shop);
        }
    };
    lose_power(&server("db"));
    for (host, program, _) in holds {
        let machine = server(host);
        shop.inside(&format!(
            "end=$(($(date +%s) + 80))
             until [ -e /run/dr-plan/machines/{machine}/disk/upper/var/tmp/held-{program} ]; do
               [ $(date +%s) -lt $end ] || {{ echo {program} was never held on {host}; ls /run/dr-plan/machines/{machine}/disk/upper/var/tmp; exit 1; }}; sleep 0.05
             done"
        ));
        lose_power(&machine);
    }
    run.wait().ended(0, &shop).says("MET");
    let report = shop.report().to_string();
    assert!(report.contains("find /srv/shop/media"), "{report}");
    assert_eq!(shop.ask_restored(FINGERPRINT), fingerprint);
    assert_eq!(databases(), "postgres\nshop", "nothing half done is left");
    assert_eq!(shop.on_restored("db", KEYS), carts);
    assert_eq!(shop.on_restored("web", MEDIA), pictures);
    assert_eq!(shop.on_restored("web", configuration), site);
    assert_eq!(shop.newest()["id"], kept["id"]);
}
