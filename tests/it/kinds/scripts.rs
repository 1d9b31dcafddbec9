//! Scripts from files, with arguments, secrets and interpreters of their own; commands as checks; waits.

use std::fs;

use crate::guards::shop::Shop;

const PLAN: &str = "
version: 1
name: scripts
inventory: ../inventories/sandbox.yaml
steps:
  web:
    uses: server.create
    with: { role: web, place: hetzner/nbg1/cx23, image: debian-12 }
  shell:
    uses: host.script
    with:
      host: \"{{steps.web.host}}\"
      from: shell.sh
      args: [\"{{steps.web.ipv4}}\", \"two words; $(id)\"]
      env: { PLACE: \"{{steps.web.place}}\" }
      secrets: { WORD: { file: /run/dr-plan/secrets/shop_database_password } }
      unless: test -e /srv/shell
  other:
    needs: [shell]
    uses: host.script
    with: { host: \"{{steps.web.host}}\", from: other.bash, args: [a, b c], as: www-data, repeatable: true }
    verify:
      - command: { host: \"{{steps.web.host}}\", command: cat /tmp/other, expect: \"= 'www-data 2 b c'\" }
      - check.command: { host: \"{{steps.web.host}}\", command: exit 3, status: 3 }
  path:
    needs: [other]
    uses: host.wait
    with: { host: \"{{steps.web.host}}\", for: { path: /srv/later } }
  begin:
    needs: [other]
    host: \"{{steps.web.host}}\"
    run: sleep 1; touch /srv/later
    repeatable: true
  ssh:
    needs: [other]
    uses: host.wait
    with: { host: \"{{steps.web.host}}\", for: { service: ssh } }
  port:
    needs: [other]
    uses: host.wait
    with: { host: \"{{steps.web.host}}\", for: { port: 22 } }
  boot:
    needs: [other]
    uses: host.wait
    with: { host: \"{{steps.web.host}}\", for: { system: cloud-init } }
  up:
    needs: [other]
    uses: host.wait
    with: { host: \"{{steps.web.host}}\", for: { system: boot } }
  none:
    needs: [path]
    uses: host.wait
    with: { host: \"{{steps.web.host}}\", for: { port: 5433 }, gone: true }
";

#[test]
fn scripts_from_files_get_words_and_secrets_as_they_are_and_checks_read_what_commands_say() {
    let shop = Shop::without_servers();
    let text = PLAN;
    let plan = shop.plan("scripts", text);
    let beside = |name: &str, text: &str| fs::write(plan.with_file_name(name), text).unwrap();
    beside(
        "shell.sh",
        "# Without a first line of its own: for sh -eu.\nprintf '%s|' \"$1\" \"$2\" \"$#\" \"$DR_PLACE\" >/srv/shell\n\
         printf %s \"$DR_SECRET_WORD\" | sha256sum >>/srv/shell\nenv >/srv/env\n",
    );
    beside(
        "other.bash",
        "#!/usr/bin/env bash\nwords=(\"$@\")\necho \"$(id -un) ${#words[@]} ${words[1]}\" >/tmp/other\n[[ -n $BASH_VERSION ]]\n",
    );
    let ran = shop.run(&plan, &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    let web = shop.machine("dr-scripts-web");
    let word = shop.inside("cat /run/dr-plan/secrets/shop_database_password");
    let hash =
        shop.inside("printf %s \"$(cat /run/dr-plan/secrets/shop_database_password)\" | sha256sum");
    let said = shop.on(&web.name, "cat /srv/shell");
    assert_eq!(
        said,
        format!("{}|two words; $(id)|2|hetzner/nbg1|{hash}", web.address)
    );
    let there = shop.on(
        &web.name,
        "cat /srv/env; grep -r . /var/lib/dr-plan; ls /tmp",
    );
    assert!(!there.contains(word.trim()), "the secret lies on the host");
    assert!(!there.contains("tmp."), "a script was left behind: {there}");
    assert_eq!(ran.report()["result"], "MET");

    // A resumed run would run the text of then: it is in the run's own folder.
    let kept = ran
        .folder
        .join("files")
        .join(plan.with_file_name("shell.sh").strip_prefix("/").unwrap());
    assert!(fs::read_to_string(kept).unwrap().contains("DR_SECRET_WORD"));

    // What cannot be is a problem of the plan, or refused before anything is made.
    let servers = shop.lever("servers")["servers"].as_array().unwrap().len();
    for (from, to, words) in [
        ("      unless: test -e /srv/shell\n", "", "not-verified"),
        (
            "unless: test -e /srv/shell",
            "unless: test -e \"{{run.id}}\"",
            "template-in-script",
        ),
        (
            "command: exit 3",
            "command: \"test {{run.id}}\"",
            "template-in-script",
        ),
        ("from: shell.sh", "from: nothing.sh", "no-such-file"),
        ("for: { port: 22 }", "for: { port: 0 }", "bad-wait"),
        (
            "for: { service: ssh }",
            "for: { service: \"-H x\" }",
            "bad-wait",
        ),
        (
            "status: 3 }",
            "status: 3, expect: \"= 'a'b'\" }",
            "bad-expectation",
        ),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        fs::write(&plan, changed).unwrap();
        let said = shop
            .dr(&["validate", plan.to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains(words), "`{words}` is not said: {said}");
    }
    fs::write(&plan, text.replace("from: shell.sh", "from: other.bash")).unwrap();
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(5), "{}", ran.said());
    assert!(
        ran.said()
            .contains("secrets can be given to a script of `sh` only"),
        "{}",
        ran.said()
    );
    assert_eq!(
        shop.lever("servers")["servers"].as_array().unwrap().len(),
        servers
    );

    // A preview starts none of them.
    fs::write(&plan, text).unwrap();
    let said = shop
        .dr(&["run", plan.to_str().unwrap(), "--dry-run"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("a script of your own"), "{said}");
}
