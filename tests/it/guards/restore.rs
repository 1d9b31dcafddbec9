//! What a restore refuses: to write over anything, and to take what is not a whole backup.

use super::shop::{Ran, Shop, name_of, wait_for};

const RESTORE: &str = "
version: 1
name: restore
inventory: ../inventories/sandbox.yaml
steps:
  restore:
    uses: dataset.restore
    with: { dataset: shop-db, host: db-1 }
    # A closed road is not waited out here.
    retry: { attempts: 2 }
    verify:
      - rows: { table: orders, expect: \">= 1\" }
";

#[test]
fn a_restore_writes_over_nothing_and_takes_no_half_backup() {
    let shop = Shop::up();
    let chosen = name_of(0);
    shop.backup(&chosen);
    let plan = shop.plan("restore", RESTORE);
    let original = std::fs::read_to_string(shop.home().join("inventories/sandbox.yaml")).unwrap();
    let with = |database: &str, folder: &str| {
        shop.inventory(|_| {
            let text = original.replace("database: shop,", &format!("database: {database},"));
            let text = text.replace("\"postgres/shop-", &format!("\"{folder}/shop-"));
            match folder {
                "cut" => text.replace("form: custom                #", "form: plain #"),
                _ => text,
            }
        });
        shop.run(&plan, &[])
    };
    let refused = |ran: &Ran, codes: &[i32], words: &[&str]| {
        let said = ran.said();
        assert!(codes.contains(&ran.code.unwrap()), "{:?}: {said}", ran.code);
        for word in words {
            assert!(said.contains(word), "`{word}` is not said: {said}");
        }
    };
    let sql = |database: &str, words: &str| {
        shop.on(
            "shop-db-1",
            &format!("cd /; runuser -u postgres -- psql -X -At {database} -c \"{words}\""),
        )
    };
    let databases = "select string_agg(datname, ' ' order by datname) from pg_database";
    let rows = sql("shop", "select count(*) from orders");

    // Nothing can come from the store: whoever fetches before he looks fails of that, with other words.
    shop.on("shop-db-1", "ip route add blackhole 198.18.255.2");
    let before = sql("postgres", databases);
    refused(
        &with("shop", "postgres"),
        &[5],
        &["`shop`", "replace: true"],
    );
    sql("postgres", "create database other owner shop");
    sql(
        "other",
        "create table precious (what text); insert into precious values ('mine')",
    );
    refused(
        &with("other", "postgres"),
        &[5],
        &["`other`", "replace: true"],
    );
    assert_eq!(sql("other", "select what from precious"), "mine\n");
    sql("postgres", "drop database other");
    let disk = "/run/dr-plan/machines/shop-db-1/disk";
    shop.inside(&format!(
        "used=$(df --output=used -k {disk} | tail -n 1); mount -o remount,size=$((used + 4096))k {disk}"
    ));
    refused(&with("third", "postgres"), &[4, 5], &["room"]);
    shop.inside(&format!("mount -o remount,size=8g {disk}"));
    // The road really is closed.
    let barred = with("third", "postgres");
    refused(&barred, &[4, 5], &["fetch"]);
    shop.on("shop-db-1", "ip route del blackhole 198.18.255.2");
    assert_eq!(sql("postgres", databases), before);

    // Whole sentences of SQL, whole layers around them, half of the data.
    let dump = "ssh -q -i $S/login -o UserKnownHostsFile=/run/dr-plan/known_hosts root@198.18.1.1 \
                'cd /; runuser -u postgres -- pg_dump shop' | sed '/^\\\\\\.$/q' | gzip";
    shop.store("cut", &name_of(0), dump, "$S/backup_passphrase");
    refused(
        &with("third", "cut"),
        &[4],
        &["cut/shop-", "the dump is cut"],
    );
    assert_eq!(
        sql("postgres", databases),
        before,
        "something of the half backup stayed"
    );

    shop.inside("echo another-passphrase > /run/dr-plan/another");
    let dump = "ssh -q -i $S/login -o UserKnownHostsFile=/run/dr-plan/known_hosts root@198.18.1.1 \
                'cd /; runuser -u postgres -- pg_dump -Fc shop'";
    shop.store("wrong", &name_of(0), dump, "/run/dr-plan/another");
    refused(&with("third", "wrong"), &[4, 5], &["passphrase"]);
    assert_eq!(sql("postgres", databases), before);

    // The run that found the road closed had chosen its backup. By now retention has taken that away, and the next one is cut.
    let (cut, whole) = (name_of(3600), name_of(7200));
    let road = "ssh -q -i $S/login -o UserKnownHostsFile=/run/dr-plan/known_hosts root@198.18.1.1 \
                'cd /; runuser -u postgres -- pg_dump -Fc shop'";
    let pass = "$S/backup_passphrase";
    shop.store("postgres", &cut, &format!("{road} | head -c -20"), pass);
    shop.store("postgres", &whole, road, pass);
    shop.inside(&format!(
        "rm /run/dr-plan/services/store/shop-backups/postgres/shop-{chosen}.dump.gpg"
    ));
    let yes = || {
        wait_for("the question for an older backup", || {
            let words = ["approve", barred.id(), "restore", "--as", "Ada"];
            let said = shop.dr(&words).output().unwrap();
            said.status.success().then_some(())
        });
    };
    let resumed = std::thread::scope(|both| {
        let resumed = both.spawn(|| shop.resume(&barred));
        yes();
        yes();
        resumed.join().unwrap()
    });
    assert_eq!(resumed.code, Some(0), "{}", resumed.said());
    let events = resumed.events();
    let asked: Vec<_> = events
        .iter()
        .filter(|what| what["event"] == "asked")
        .map(|what| what["ask"]["name"].as_str().unwrap())
        .collect();
    let named = |of: &str| format!("older-backup-{of}");
    assert_eq!(asked, [named(&cut), named(&whole)]);
    assert!(
        resumed.said().contains("does not have it any more"),
        "{}",
        resumed.said()
    );
    assert_eq!(sql("third", "select count(*) from orders"), rows);
    assert_eq!(sql("shop", "select count(*) from orders"), rows);
}
