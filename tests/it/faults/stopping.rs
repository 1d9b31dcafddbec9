//! What no waiting mends: a full disk, a wrong key, a host that dies, a clock that is wrong, a full disk of one's own. Each
//! stops or is refused with the words that lead on, touches nothing that it should not, and goes on afterwards.

use jiff::Timestamp;

use crate::failover::shop::{FINGERPRINT, Shop};

/// What stands in the new cluster.
const DATABASES: &str = "cd / && runuser -u postgres -- psql -XAtq postgres -c 'select datname from pg_database where not datistemplate order by 1'";

#[test]
fn a_wrong_key_and_a_host_that_dies_in_the_restore_lose_nothing() {
    let shop = Shop::up("stops");
    shop.order();
    let kept = shop.newest();
    let fingerprint = shop.ask_source(FINGERPRINT);
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();
    let on_db = |script: &str| {
        shop.do_it(&["ssh", "last", "db", "--", script])
            .ended(0, &shop)
    };

    // The key that opens the backups is another one than that which closed them.
    shop.inside("cd /run/dr-plan/secrets; cp backup_passphrase right; printf wrong-but-long-enough > backup_passphrase");
    let ran = shop.do_it(&shop.failover(&lost_at, &["--approve", "go"]));
    let ran = ran.ended(4, &shop);
    let ran = ran.says("the key does not open the backup");
    ran.says("dr-plan resume");
    assert_eq!(on_db(DATABASES).out.trim(), "postgres", "nothing was begun");
    shop.inside("cd /run/dr-plan/secrets; mv right backup_passphrase");

    // The host loses its power in the middle of the restore, and comes back.
    let run = shop.begin(&["resume", "last"]);
    shop.inside(
        "end=$(($(date +%s) + 80))
         until pids=$(pgrep -f '^[^ ]*pg_restore --exit-on-error'); do
           [ $(date +%s) -lt $end ] || exit 1; sleep 0.02
         done
         kill -STOP $pids",
    );
    let db = shop
        .servers()
        .into_iter()
        .map(|server| server.0)
        .find(|name| name.starts_with("dr-region-failover-db-"))
        .unwrap();
    for word in ["break", "mend"] {
        let words = ["sandbox", word, "--world", &shop.world, "host", &db];
        shop.do_it(&words).ended(0, &shop);
    }
    run.wait().ended(0, &shop).says("MET");

    assert_eq!(shop.ask_restored(FINGERPRINT), fingerprint);
    assert_eq!(shop.newest()["id"], kept["id"]);
    assert_eq!(
        on_db(DATABASES).out.trim(),
        "postgres\nshop",
        "nothing half done is left"
    );
}

#[test]
fn a_clock_that_is_an_hour_slow_is_noticed_and_a_full_disk_takes_no_half_restore() {
    let shop = Shop::up("clock");
    shop.order();
    let kept = shop.newest();
    let fingerprint = shop.ask_source(FINGERPRINT);
    shop.back_up(Timestamp::now(), false);
    let lost_at = shop.lose_region().to_string();

    // An hour slow: the loss would lie in the future, and so would the backup.
    let slow = |lost_at: &[&str]| {
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
                "exec faketime -f -1h {} {words}",
                env!("CARGO_BIN_EXE_dr-plan")
            ),
        ])
    };
    slow(&["--lost-at", &lost_at])
        .ended(2, &shop)
        .says("this machine's clock");
    let ran = slow(&[]).ended(5, &shop);
    let ran = ran.says("the clock of this machine is wrong");
    ran.says("nothing was touched");
    assert_eq!(shop.creations(), Vec::<String>::new());

    // The target's disk is full: a small one of its own, for the machine's is everybody's.
    let words = shop.failover(
        &lost_at,
        &["--approve", "go", "--inject", "crash:restore-db"],
    );
    shop.do_it(&words).ended(128 + 9, &shop);
    let on_db = |script: &str| {
        shop.do_it(&["ssh", "last", "db", "--", script])
            .ended(0, &shop)
    };
    on_db(
        "set -e; systemctl stop postgresql; cp -a /var/lib/postgresql /var/tmp/kept
         mount -t tmpfs -o size=700m none /var/lib/postgresql
         cp -a /var/tmp/kept/. /var/lib/postgresql/; chown postgres: /var/lib/postgresql; systemctl start postgresql
         room=$(df --output=avail -B1 /var/lib/postgresql | tail -n 1)
         head -c $((room - 1000000)) /dev/zero > /var/lib/postgresql/filler",
    );
    let ran = shop.do_it(&["resume", "last"]).ended(4, &shop);
    let ran = ran.says("no room");
    ran.says("dr-plan resume");
    assert_eq!(
        on_db(DATABASES).out.trim(),
        "postgres",
        "nothing is left half done"
    );
    on_db("rm /var/lib/postgresql/filler");
    shop.do_it(&["resume", "last"]).ended(0, &shop).says("MET");
    assert_eq!(shop.ask_restored(FINGERPRINT), fingerprint);
    assert_eq!(shop.newest()["id"], kept["id"]);
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
