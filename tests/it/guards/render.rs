//! Files that are rendered for a host: judged by their service's own checker before anybody else sees them.

use super::shop::{Ran, Shop};

const WEB: &str = "shop-web-1";
const SITE: &str = "/etc/nginx/sites-enabled/shop.conf";

/// One step, with a check in the place of CHECK.
const RENDER: &str = "
version: 1
name: render
inventory: ../inventories/sandbox.yaml
steps:
  site:
    uses: host.render
    with:
      host: web-1
      template: site.hbs
      to: TO
      values: { word: \"WORD\", old: true }
      check: |
        CHECK
";

/// The site as it is, with a line of its own for this host.
fn template(shop: &Shop) {
    let site = shop.on(WEB, &format!("cat {SITE}"));
    let text = format!("# for {{{{host.name}}}} at {{{{host.address}}}}{{{{#if old}}}}, as before{{{{/if}}}}\n{site}")
        .replace("server_name", "{{word}}");
    std::fs::write(shop.home().join("plans/site.hbs"), text).unwrap();
}

fn plan(shop: &Shop, name: &str, to: &str, word: &str, check: &str) -> std::path::PathBuf {
    let text = RENDER.replace("TO\n", &format!("{to}\n"));
    let text = text.replace("WORD", word).replace("CHECK", check);
    let path = shop.plan(name, &text);
    template(shop);
    path
}

fn hash(shop: &Shop) -> String {
    shop.on(WEB, &format!("sha256sum {SITE}; stat -c '%u:%g %a' {SITE}"))
}

fn says(ran: &Ran, code: i32, words: &[&str]) {
    let said = ran.said();
    assert_eq!(ran.code, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not said: {said}");
    }
}

#[test]
fn a_rendered_file_is_judged_before_it_is_seen_and_has_a_way_back() {
    let shop = Shop::up();
    a_file_that_its_checker_refuses_is_seen_by_nobody_else(&shop);
    a_rendered_file_is_taken_back_and_let_go_of(&shop);
    a_check_goes_on_without_its_orchestrator_and_is_asked_once(&shop);
}

fn a_file_that_its_checker_refuses_is_seen_by_nobody_else(shop: &Shop) {
    let before = hash(shop);
    let names = || {
        shop.on(WEB, "ls -A /etc/nginx/sites-enabled /etc/nginx/conf.d; cat /proc/mounts | grep -c dr-view || :")
    };
    let there = names();
    let bad = plan(shop, "bad", SITE, "server_nme", "nginx -t");
    says(
        &shop.run(&bad, &[]),
        4,
        &[
            "its check refuses",
            "unknown directive",
            "server_nme",
            "nothing was put in place",
        ],
    );
    assert_eq!(hash(shop), before);
    assert_eq!(names(), there, "something was left beside it");

    // In a folder that is not there yet: the check finds it there all the same, and it is not made.
    let new = "/etc/nginx/shop.d/more/site.conf";
    let refused = plan(
        shop,
        "refused",
        new,
        "server_name",
        &format!(
            "grep -q 'for web-1 at 198.18.1.2, as before' {new} && ls /etc/nginx/nginx.conf /etc/nginx/conf.d && false"
        ),
    );
    says(
        &shop.run(&refused, &[]),
        4,
        &["/etc/nginx/nginx.conf", "nothing was put in place"],
    );
    assert_eq!(shop.on(WEB, "ls -d /etc/nginx/shop.d 2>/dev/null || :"), "");

    // A name that the template does not find is a problem of the plan, shown in the template.
    let path = plan(shop, "typo", SITE, "server_name", "nginx -t");
    let text = std::fs::read_to_string(shop.home().join("plans/site.hbs")).unwrap();
    std::fs::write(
        shop.home().join("plans/site.hbs"),
        text.replace("{{word}}", "{{wrod}}"),
    )
    .unwrap();
    let said = shop
        .dr(&["validate", path.to_str().unwrap()])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(3), "{words}");
    for word in [
        "site.hbs:",
        "did you mean `word`?",
        "no template uses `word`",
    ] {
        assert!(words.contains(word), "`{word}` is not said: {words}");
    }
}

fn a_rendered_file_is_taken_back_and_let_go_of(shop: &Shop) {
    let before = hash(shop);
    let path = plan(shop, "good", SITE, "server_name", "nginx -t");
    let ran = shop.run(&path, &[]);
    says(&ran, 0, &["lets it through"]);
    let first = shop.on(WEB, &format!("head -n 1 {SITE}"));
    assert_eq!(first, "# for web-1 at 198.18.1.2, as before\n");
    let run = ran.folder.file_name().unwrap().to_str().unwrap().to_owned();
    let undone = shop.dr(&["undo", &run, "--yes"]).output().unwrap();
    assert!(
        undone.status.success(),
        "{}",
        String::from_utf8_lossy(&undone.stderr)
    );
    assert_eq!(hash(shop), before);

    let ran = shop.run(&path, &[]);
    says(&ran, 0, &[]);
    let run = ran.folder.file_name().unwrap().to_str().unwrap().to_owned();
    let kept = format!("ls /var/lib/dr-plan/{run}/site.kept 2>/dev/null || :");
    assert!(shop.on(WEB, &kept).contains("previous"));
    let released = shop.dr(&["release", &run, "--yes"]).output().unwrap();
    assert!(
        released.status.success(),
        "{}",
        String::from_utf8_lossy(&released.stderr)
    );
    assert_eq!(shop.on(WEB, &kept), "");
}

fn a_check_goes_on_without_its_orchestrator_and_is_asked_once(shop: &Shop) {
    let before = hash(shop);
    let check = "echo x >> /tmp/judging; until [ -e /tmp/judged ]; do sleep 0.05; done; nginx -t";
    let path = plan(shop, "slow", SITE, "server_name", check);
    let going = shop.begin(&path, &[]);
    super::shop::wait_for("the check", || {
        (shop.on(WEB, "cat /tmp/judging 2>/dev/null || :") == "x\n").then_some(())
    });
    let card =
        std::fs::read_to_string(shop.home().join("state/dr-plan/estates/shop.lock")).unwrap();
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    shop.inside(&format!("kill -KILL {}", card["pid"]));
    let ran = going.ended(shop);
    assert_ne!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(
        hash(shop),
        before,
        "the service saw a file that is not judged yet"
    );
    shop.on(WEB, "touch /tmp/judged");
    // The run has its own copy.
    std::fs::remove_file(shop.home().join("plans/site.hbs")).unwrap();
    let ran = shop.resume(&ran);
    says(&ran, 0, &[]);
    assert_ne!(hash(shop), before);
    // Once in its view, and once more of the file in place.
    assert_eq!(shop.on(WEB, "cat /tmp/judging"), "x\nx\n");
}
