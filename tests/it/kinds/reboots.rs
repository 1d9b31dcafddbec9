//! A host that starts anew under the feet of others: their jobs died, and that is seen; and one that does not want to.

use std::fs;

use crate::guards::shop::Shop;

const PLAN: &str = "
version: 1
name: reboots
inventory: ../inventories/sandbox.yaml
steps:
  long:
    host: web-1
    repeatable: true
    run: |
      echo begun >> /srv/long
      while [ -e /srv/hold ]; do sleep 0.1; done
      echo ended >> /srv/long
  once:
    host: web-1
    run: |
      echo begun >> /srv/once
      while [ -e /srv/hold ]; do sleep 0.1; done
      echo ended >> /srv/once
    verify:
      - command: { host: web-1, command: tail -n 1 /srv/once, expect: = ended }
  begun:
    uses: host.wait
    with: { host: web-1, for: { path: /srv/long } }
  begun-once:
    uses: host.wait
    with: { host: web-1, for: { path: /srv/once } }
  reboot:
    needs: [begun, begun-once]
    uses: host.reboot
    with: { host: web-1 }
  after:
    needs: [reboot]
    uses: host.wait
    with: { host: web-1, for: { service: nginx } }
";

#[test]
fn waits_say_what_they_saw_and_what_a_reboot_ended_is_seen_to_have_died() {
    let shop = Shop::up();
    waits_and_commands_that_do_not_agree_say_what_they_saw(&shop);
    jobs_that_a_reboot_ended_are_seen_to_have_died_and_only_repeatable_ones_run_again(&shop);
}

fn jobs_that_a_reboot_ended_are_seen_to_have_died_and_only_repeatable_ones_run_again(shop: &Shop) {
    let plan = shop.plan("reboots", PLAN);
    let web = "shop-web-1";
    shop.on(web, "touch /srv/hold; printf '%s\\n' '[Service]' 'Type=oneshot' 'ExecStart=/bin/rm -f /srv/hold' '[Install]' 'WantedBy=multi-user.target' \
        > /etc/systemd/system/unhold.service; systemctl enable unhold 2>/dev/null");
    let before = shop.on(web, "cat /proc/sys/kernel/random/boot_id");
    let ran = shop.run(&plan, &[]);
    let said = ran.said();
    // The one that nobody may run again waits for a person.
    assert_eq!(ran.code, Some(5), "{said}");
    assert!(said.contains("the script is not repeatable"), "{said}");
    assert_ne!(
        shop.on(web, "cat /proc/sys/kernel/random/boot_id"),
        before,
        "{said}"
    );
    assert_eq!(
        shop.on(web, "cat /srv/long"),
        "begun\nbegun\nended\n",
        "{said}"
    );
    assert_eq!(shop.on(web, "cat /srv/once"), "begun\n", "{said}");
    // The shop came up again by itself, and its disk is what it was.
    let page = shop.inside(
        "i=0; until curl -sSf http://shop.example/health 2>/dev/null; do i=$((i+1)); test $i -lt 200; sleep 0.1; done",
    );
    assert!(!page.is_empty());

    // A host that says that it will not.
    let alone = "version: 1\nname: refuses\ninventory: ../inventories/sandbox.yaml\nsteps:\n  reboot:\n    uses: host.reboot\n    with: { host: web-1 }\n";
    let plan = shop.plan("refuses", alone);
    shop.on(
        web,
        "cd /usr/local/bin; mv systemctl systemctl.true; printf '%s\\n' '#!/bin/sh' \
         '[ \"$1\" != reboot ] || { echo \"Operation inhibited\" >&2; exit 1; }' 'exec -a systemctl /usr/local/bin/systemctl.true \"$@\"' | sed 's/exec -a systemctl/exec/' > systemctl
         chmod 755 systemctl; mv shutdown shutdown.true; printf '%s\\n' '#!/bin/sh' 'exit 1' > shutdown; chmod 755 shutdown",
    );
    let now = shop.on(web, "cat /proc/sys/kernel/random/boot_id");
    let begun = std::time::Instant::now();
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(4), "{}", ran.said());
    assert!(
        ran.said().contains("does not restart") && ran.said().contains("Operation inhibited"),
        "{}",
        ran.said()
    );
    assert!(begun.elapsed().as_secs() < 60, "it was waited for in vain");
    assert_eq!(shop.on(web, "cat /proc/sys/kernel/random/boot_id"), now);
}

fn waits_and_commands_that_do_not_agree_say_what_they_saw(shop: &Shop) {
    let plan = shop.plan("waits", "");
    for (step, words) in [
        (
            "uses: host.wait\n    with: { host: web-1, for: { port: 5433 } }",
            "port 5433 of web-1: nothing listens",
        ),
        (
            "uses: host.wait\n    with: { host: web-1, for: { port: 80 }, gone: true }",
            "something listens",
        ),
        (
            "uses: host.wait\n    with: { host: web-1, for: { service: nobody } }",
            "service nobody of web-1: inactive",
        ),
        (
            "uses: host.wait\n    with: { host: web-1, for: { path: /srv/never } }",
            "it is not there",
        ),
        (
            "uses: check.command\n    with: { host: web-1, command: echo 7, expect: \">= 8\" }",
            "it says `7`, expected >= 8",
        ),
        (
            "uses: check.command\n    with: { host: web-1, command: \"echo no >&2; exit 3\" }",
            "status 3: no",
        ),
        (
            "uses: check.command\n    with: { host: web-1, command: echo one two, contains: three }",
            "does not contain `three`",
        ),
        (
            "uses: check.command\n    with: { host: web-1, command: id -un, as: www-data, expect: = root }",
            "it says `www-data`, expected = root",
        ),
    ] {
        let text = format!(
            "version: 1\nname: waits\ninventory: ../inventories/sandbox.yaml\nsteps:\n  look:\n    timeout: 4s\n    {step}\n"
        );
        fs::write(&plan, text).unwrap();
        let ran = shop.run(&plan, &[]);
        assert_eq!(ran.code, Some(4), "{step}: {}", ran.said());
        assert!(ran.said().contains(words), "`{words}`: {}", ran.said());
    }
}
