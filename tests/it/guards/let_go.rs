//! What is kept of before: a full disk and a release that is broken off half way leave it, or leave what is live, and never neither.

use super::shop::{Ran, Shop, name_of};

const WEB: &str = "shop-web-1";
const DB: &str = "shop-db-1";

const PUT: &str = "
version: 1
name: put
inventory: ../inventories/sandbox.yaml
steps:
  note:
    uses: host.put
    with: { host: web-1, content: \"new\\n\", to: /srv/small/note }
";

const CONFIG: &str = "
version: 1
name: config
inventory: ../inventories/sandbox.yaml
steps:
  config:
    uses: dataset.restore
    with: { dataset: shop-config, host: web-1, replace: true }
";

const BOTH: &str = "
version: 1
name: both
inventory: ../inventories/sandbox.yaml
steps:
  note:
    uses: host.put
    with: { host: web-1, content: \"new\\n\", to: /etc/shop/note }
  config:
    uses: dataset.restore
    with: { dataset: shop-config, host: web-1, replace: true }
  cache:
    uses: dataset.restore
    with: { dataset: shop-cache, host: db-1, replace: true }
";

fn after(shop: &Shop, ran: &Ran, words: &[&str]) -> (Option<i32>, String) {
    let all = [&words[..1], &[ran.id()], &words[1..], &["--yes"]].concat();
    let output = shop.dr(&all).output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), said)
}

#[test]
fn what_is_kept_of_before_is_never_lost_and_never_half_put_back() {
    let shop = Shop::up();
    shop.backup(&name_of(0));
    an_undo_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(&shop);
    what_a_failed_undo_still_has_to_put_back_is_not_let_go_of(&shop);
    what_is_half_let_go_of_is_never_put_back(&shop);
}

fn an_undo_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(shop: &Shop) {
    let plan = shop.plan("put", PUT);
    shop.on(
        WEB,
        "mkdir -p /srv/small; mount -t tmpfs -o size=64k small /srv/small; head -c 40000 /dev/urandom > /srv/small/note; chmod 640 /srv/small/note",
    );
    let note = "sha256sum < /srv/small/note; stat -c %a /srv/small/note; ls -A /srv/small";
    let before = shop.on(WEB, note);
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    shop.on(
        WEB,
        "cat /dev/zero > /srv/small/filler 2>/dev/null || :; [ \"$(stat -f -c %a /srv/small)\" = 0 ]",
    );
    let full = shop.on(WEB, note);
    let kept = format!(
        "stat -c %s /var/lib/dr-plan/{}/note.kept/previous",
        ran.id()
    );

    let (code, said) = after(shop, &ran, &["undo"]);
    assert_eq!(code, Some(4), "{said}");
    assert_eq!(shop.on(WEB, &kept), "40000\n");
    assert_eq!(shop.on(WEB, note), full, "something was put or left");
    assert!(said.contains("stays as it is"), "{said}");

    shop.on(WEB, "rm /srv/small/filler");
    let (code, said) = after(shop, &ran, &["undo"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(shop.on(WEB, note), before);
}

fn what_a_failed_undo_still_has_to_put_back_is_not_let_go_of(shop: &Shop) {
    let plan = shop.plan("config", CONFIG);
    shop.on(WEB, "echo '# of before' >> /etc/cron.d/shop");
    let stand = || {
        shop.on(
            WEB,
            "sha256sum /etc/cron.d/shop /etc/nginx/sites-enabled/shop.conf",
        )
    };
    let before = stand();
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let live = stand();
    assert_ne!(live, before);
    let state = format!("/var/lib/dr-plan/{}", ran.id());

    // A file that is lost from what was kept does not count as one that was not there.
    let lost = format!("{state}/config.data/kept/etc/cron.d/shop");
    shop.on(WEB, &format!("mv {lost} /root/lost"));
    let (code, said) = after(shop, &ran, &["undo", "config"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("/etc/cron.d/shop before is not kept any more"),
        "{said}"
    );
    assert_eq!(stand(), live);

    // What is left of it is all that the undo has, and what it puts back once the rest is found.
    for words in [&["release"][..], &["release", "--not-met"]] {
        let (code, said) = after(shop, &ran, words);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("half taken back"), "{said}");
    }
    shop.on(WEB, &format!("mv /root/lost {lost}"));
    let (code, said) = after(shop, &ran, &["undo"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(stand(), before);
    let (code, said) = after(shop, &ran, &["release"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("keeps nothing of before"), "{said}");
}

fn what_is_half_let_go_of_is_never_put_back(shop: &Shop) {
    let plan = shop.plan("both", BOTH);
    shop.on(
        WEB,
        "echo old > /etc/shop/note; echo '# of before' >> /etc/cron.d/shop",
    );
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let stand = || {
        shop.on(
            WEB,
            "sha256sum /etc/shop/note /etc/cron.d/shop /etc/nginx/sites-enabled/shop.conf",
        )
    };
    let live = stand();
    let state = format!("/var/lib/dr-plan/{}", ran.id());

    // What is mounted cannot be removed: both releases end half way.
    let held = [
        format!("{state}/config.data/kept/etc/nginx"),
        format!("{state}/note.kept/previous"),
    ];
    for path in &held {
        shop.on(WEB, &format!("mount --bind {path} {path}"));
    }
    let old = ran.noted("cache", "kept").unwrap();
    let old = format!("{}/appendonlydir", old.as_str().unwrap());
    shop.on(DB, &format!("mount --bind {old} {old}"));
    let cache = || shop.on(DB, "cat /var/lib/redis/appendonlydir/dr-plan.mark");
    let restored = cache();
    let (code, said) = after(shop, &ran, &["release"]);
    assert_eq!(code, Some(4), "{said}");
    let left = shop.on(WEB, &format!("find {state} -name shop -o -name done"));
    assert_eq!(left, "", "not half way");
    assert_eq!(shop.on(DB, &format!("ls -A {old}")), "", "not half way");
    for step in ["config", "note", "cache"] {
        let (code, said) = after(shop, &ran, &["undo", step]);
        assert_eq!(code, Some(4), "{step}: {said}");
        assert!(said.contains("let go of"), "{step}: {said}");
        assert_eq!(
            (stand(), cache()),
            (live.clone(), restored.clone()),
            "{step}"
        );
    }

    shop.on(
        WEB,
        &format!("umount {state}/config.data/kept.gone/etc/nginx {state}/note.kept/previous"),
    );
    shop.on(DB, &format!("umount {old}"));
    let (code, said) = after(shop, &ran, &["release"]);
    assert_eq!(code, Some(0), "{said}");
    let left = shop.on(
        WEB,
        &format!("ls -d {state}/note.kept {state}/config.data/kept* 2>/dev/null || :"),
    );
    assert_eq!(left, "");
    let (code, said) = after(shop, &ran, &["undo"]);
    assert_eq!(code, Some(8), "{said}");
    assert!(
        said.contains("a person must see to it") || said.contains("was let go of"),
        "{said}"
    );
    assert_eq!(stand(), live);
}
