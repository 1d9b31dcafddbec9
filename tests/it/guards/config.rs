//! Configuration: what its service cannot work with never gets to it, nothing but the listed files is taken, and every way back.

use std::path::Path;

use super::shop::{Ran, Shop, name_of, wait_for};

const WEB: &str = "shop-web-1";
const SITE: &str = "/etc/nginx/sites-enabled/shop.conf";
const JOB: &str = "/etc/cron.d/shop";

const RESTORE: &str = "
version: 1
name: restore
inventory: ../inventories/sandbox.yaml
steps:
  restore:
    uses: dataset.restore
    with: { dataset: shop-config, host: web-1, replace: true }
    verify:
      - file: { path: /etc/cron.d/shop }
";

/// The shop, a plan, and the inventory as it was.
fn begin() -> (Shop, std::path::PathBuf, String) {
    let shop = Shop::up();
    let plan = shop.plan("restore", RESTORE);
    let original = std::fs::read_to_string(shop.home().join("inventories/sandbox.yaml")).unwrap();
    (shop, plan, original)
}

/// A backup of its own, made of what a script prints on the web server in a copy of its configuration, and the inventory for it.
fn store(shop: &Shop, original: &str, folder: &str, command: &str) {
    let script = format!(
        "cat > /root/archive.sh <<'END'\nrm -rf /root/copy; mkdir -p /root/copy/etc; cp -a /etc/nginx /etc/cron.d /root/copy/etc/; cd /root/copy\n{command}\nEND\n"
    );
    shop.on(WEB, &script);
    let command = "ssh -q -n -i $S/login -o UserKnownHostsFile=/run/dr-plan/known_hosts root@198.18.1.2 'sh -eu /root/archive.sh'";
    shop.store(folder, &name_of(0), command, "$S/backup_passphrase");
    from(shop, original, folder, "nginx -t");
}

fn from(shop: &Shop, original: &str, folder: &str, check: &str) {
    shop.inventory(|_| {
        let text = original
            .replace("\"config/config-", &format!("\"{folder}/shop-"))
            .replace("check: nginx -t", &format!("check: '{check}'"));
        let at = text.find(&format!("\"{folder}/")).unwrap();
        format!(
            "{}{}",
            &text[..at],
            text[at..].replacen(".tar.gz.gpg", ".dump.gpg", 1)
        )
    });
}

fn stand(shop: &Shop) -> String {
    shop.on(
        WEB,
        &format!("sha256sum {SITE} {JOB}; stat -c '%u:%g %a %y' {SITE} {JOB}; ls -A /etc/nginx/sites-enabled /etc/cron.d"),
    )
}

fn says(ran: &Ran, code: i32, words: &[&str]) {
    let said = ran.said();
    assert_eq!(ran.code, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not said: {said}");
    }
}

fn undone(shop: &Shop, ran: &Ran) {
    let run = ran.folder.file_name().unwrap().to_str().unwrap();
    let output = shop.dr(&["undo", run, "--yes"]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A change that shows which configuration serves.
const CHANGED: &str = "sed -i '/cron.d/,$s/once a minute/from the backup: &/' etc/cron.d/shop; sed -i 's/listen 80;/listen 80; add_header X-From backup;/' etc/nginx/sites-enabled/shop.conf";
const BOTH: &str = "etc/nginx/sites-enabled/shop.conf etc/cron.d/shop";

#[test]
fn what_its_service_cannot_work_with_is_not_put_in_place_and_a_swap_is_never_left_half_way() {
    let (shop, plan, original) = begin();
    what_its_service_cannot_work_with_is_not_put_in_place(&shop, &plan, &original);
    a_swap_that_was_broken_off_half_way_goes_on_or_goes_back(&shop, &plan, &original);
}

#[test]
fn configuration_comes_back_for_its_host_also_without_its_orchestrator() {
    let (shop, plan, original) = begin();
    configuration_comes_back_for_its_host_and_goes_back_again(&shop, &plan, &original);
    a_restore_that_is_being_judged_goes_on_without_its_orchestrator(&shop, &plan, &original);
}

fn what_its_service_cannot_work_with_is_not_put_in_place(shop: &Shop, plan: &Path, original: &str) {
    let before = stand(shop);
    let cases = [
        (
            "broken",
            format!(
                "sed -i s/proxy_pass/proxy_psas/ etc/nginx/sites-enabled/shop.conf; tar -cf - {BOTH}"
            ),
            vec![
                "the check refuses these files",
                "unknown directive",
                "proxy_psas",
            ],
        ),
        (
            "link",
            format!("ln -sf /etc/passwd etc/cron.d/shop; tar -cf - {BOTH}"),
            vec!["is no plain file"],
        ),
        (
            "twice",
            format!(
                "tar -cf a.tar {BOTH}; ln -sf /etc/shadow etc/cron.d/shop; tar -rf a.tar etc/cron.d/shop; cat a.tar"
            ),
            vec!["is in it twice"],
        ),
        (
            "missing",
            "tar -cf - etc/nginx".to_string(),
            vec!["/etc/cron.d/shop is not in the archive"],
        ),
        (
            "cut",
            format!(
                "tar -cf a.tar {BOTH}; head -c $(($(stat -c %s a.tar) - 10240 + 512 * 2)) a.tar"
            ),
            vec!["will not do"],
        ),
    ];
    for (name, command, words) in cases {
        store(shop, original, name, &command);
        says(&shop.run(plan, &[]), 4, &words);
        assert_eq!(stand(shop), before, "{name}");
    }
    shop.inside("curl -sSf http://shop.example/health");

    // What is there is not set aside unless the plan says so.
    store(
        shop,
        original,
        "whole",
        &format!("{CHANGED}; tar -cf - {BOTH}"),
    );
    let keep = shop.plan("keep", &RESTORE.replace(", replace: true", ""));
    from(shop, original, "whole", "nginx -t");
    says(
        &shop.run(&keep, &[]),
        5,
        &["this run did not restore it", "replace: true"],
    );
    assert_eq!(stand(shop), before);
}

fn configuration_comes_back_for_its_host_and_goes_back_again(
    shop: &Shop,
    plan: &Path,
    original: &str,
) {
    let before = stand(shop);
    // The whole of /etc/nginx and more, with names that lead elsewhere: nothing but what is listed is taken.
    store(
        shop,
        original,
        "whole",
        &format!(
            "{CHANGED}; ln -s /etc etc/nginx/way; printf evil > etc/nginx/conf.d/evil.conf; printf evil > ../evil
             tar -P -czf - etc ../evil"
        ),
    );
    let ran = shop.run(plan, &[]);
    says(
        &ran,
        0,
        &[
            "lets them through",
            "other file(s) of the archive are left alone",
        ],
    );
    shop.on(WEB, "systemctl reload nginx");
    wait_for("the restored site", || {
        let said = shop.inside("curl -sS -D - -o /dev/null http://shop.example/health");
        said.contains("X-From: backup").then_some(())
    });
    assert_eq!(
        shop.on(WEB, "ls /etc/nginx/conf.d /etc/nginx/way 2>/dev/null || :"),
        "/etc/nginx/conf.d:\n"
    );
    undone(shop, &ran);
    assert_eq!(stand(shop), before);

    // One of them from a template, with what the step says; the archive need not have it.
    let templates = shop.home().join("inventories/shop-config/etc/cron.d");
    let step = RESTORE.replace(
        "replace: true }",
        "replace: true, values: { minute: \"*/5\" } }",
    );
    let plan = shop.plan("templates", &step);
    std::fs::create_dir_all(&templates).unwrap();
    let job =
        "# {{word}} for {{host.name}} at {{host.address}}\\t\\n{{minute}} * * * * www-data true\n";
    std::fs::write(templates.join("shop"), job).unwrap();
    store(
        shop,
        original,
        "site",
        &format!("{CHANGED}; tar -czf - etc/nginx"),
    );
    from(
        shop,
        original,
        "site",
        "grep -q /5 /etc/cron.d/shop && nginx -t",
    );
    shop.inventory(|text| {
        text.replace(
            "/etc/cron.d/shop]",
            "/etc/cron.d/shop]\n      templates: shop-config\n      values: { word: job }",
        )
    });
    let ran = shop.run(&plan, &[]);
    says(&ran, 0, &[]);
    assert_eq!(
        shop.on(WEB, &format!("cat {JOB}; stat -c '%U:%G %a' {JOB}")),
        "# job for web-1 at 198.18.1.2\\t\\n*/5 * * * * www-data true\nroot:root 644\n"
    );
    let run = ran.folder.file_name().unwrap().to_str().unwrap().to_owned();
    let kept = format!("find /var/lib/dr-plan/{run}/restore.data -name shop.conf");
    assert!(shop.on(WEB, &kept).contains("/kept/etc/nginx/"));
    let released = shop
        .dr(&["release", &run, "--yes", "--not-met"])
        .output()
        .unwrap();
    assert!(
        released.status.success(),
        "{}",
        String::from_utf8_lossy(&released.stderr)
    );
    assert_eq!(shop.on(WEB, &kept), "");
}

fn a_swap_that_was_broken_off_half_way_goes_on_or_goes_back(
    shop: &Shop,
    plan: &Path,
    original: &str,
) {
    let before = stand(shop);
    store(
        shop,
        original,
        "half",
        &format!("{CHANGED}; tar -czf - {BOTH}"),
    );
    // The first of the two files can take its place, the second cannot.
    let closed = "mount --bind /etc/cron.d /etc/cron.d && mount -o remount,ro,bind /etc/cron.d";
    let half = |ran: &Ran| {
        assert_ne!(ran.code, Some(0), "{}", ran.said());
        let site = shop.on(
            WEB,
            &format!("grep -c X-From {SITE}; grep -c 'from the backup' {JOB} || :"),
        );
        assert_eq!(site, "1\n0\n", "not half way");
    };
    shop.on(WEB, closed);
    let ran = shop.run(plan, &[]);
    half(&ran);
    shop.on(WEB, "umount /etc/cron.d");
    undone(shop, &ran);
    assert_eq!(stand(shop), before);

    shop.on(WEB, closed);
    let ran = shop.run(plan, &[]);
    half(&ran);
    shop.on(WEB, "umount /etc/cron.d");
    let ran = shop.resume(&ran);
    says(&ran, 0, &["lets them through"]);
    let both = shop.on(
        WEB,
        &format!("grep -c X-From {SITE}; grep -c 'from the backup' {JOB}"),
    );
    assert_eq!(both, "1\n1\n");
    undone(shop, &ran);
    assert_eq!(stand(shop), before);
}

fn a_restore_that_is_being_judged_goes_on_without_its_orchestrator(
    shop: &Shop,
    plan: &Path,
    original: &str,
) {
    let before = stand(shop);
    store(
        shop,
        original,
        "judged",
        &format!("{CHANGED}; echo '# judged' >> etc/cron.d/shop; tar -czf - {BOTH}"),
    );
    let check = "echo x >> /tmp/judging; until [ -e /tmp/judged ]; do sleep 0.05; done; nginx -t";
    from(shop, original, "judged", check);
    let going = shop.begin(plan, &[]);
    wait_for("the check", || {
        (shop.on(WEB, "cat /tmp/judging 2>/dev/null || :") == "x\n").then_some(())
    });
    let card =
        std::fs::read_to_string(shop.home().join("state/dr-plan/estates/shop.lock")).unwrap();
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    shop.inside(&format!("kill -KILL {}", card["pid"]));
    let ran = going.ended(shop);
    assert_ne!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(
        stand(shop),
        before,
        "something was put in place before it was judged"
    );
    shop.on(WEB, "touch /tmp/judged");
    let ran = shop.resume(&ran);
    says(&ran, 0, &[]);
    assert!(shop.on(WEB, &format!("cat {JOB}")).contains("# judged"));
    // Once before, and once more of the files in their places.
    assert_eq!(shop.on(WEB, "cat /tmp/judging"), "x\nx\n");
}
