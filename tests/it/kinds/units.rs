//! An application as systemd units: what changed starts anew and nothing else does, what does not stay up is no success, and what
//! stood there before comes back.

use std::fs;

use crate::guards::shop::Shop;

const PLAN: &str = "
version: 1
name: units
inventory: ../inventories/sandbox.yaml
steps:
  app:
    uses: compose.up
    with:
      host: web-1
      units: { clock.service: clock.service, quiet.service: quiet.service }
      files: { /etc/clock/clock.conf: clock.conf }
      steady: 1s
      health: test -s /srv/clock
";

fn unit(line: &str) -> String {
    format!(
        "[Service]\nRestart=always\nRestartSec=0\nExecStart={line}\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

const CLOCK: &str =
    "/bin/sh -c 'while :; do . /etc/clock/clock.conf; echo $WORD > /srv/clock; sleep 0.1; done'";

#[test]
fn units_start_anew_where_they_changed_and_old_ones_come_back() {
    let shop = Shop::up();
    units_that_changed_start_anew_those_that_fall_over_fail_and_undo_puts_the_old_ones_back(&shop);
    units_that_stood_there_before_come_back_as_they_were(&shop);
}

fn units_that_changed_start_anew_those_that_fall_over_fail_and_undo_puts_the_old_ones_back(
    shop: &Shop,
) {
    let plan = shop.plan("units", PLAN);
    let beside = |name: &str, text: &str| fs::write(plan.with_file_name(name), text).unwrap();
    beside("clock.service", &unit(CLOCK));
    beside("quiet.service", &unit("/bin/sleep 3600"));
    beside("clock.conf", "WORD=one\n");
    let first_run = shop.run(&plan, &[]);
    assert!(
        matches!(first_run.code, Some(0 | 8)),
        "{}",
        first_run.said()
    );
    let web = "shop-web-1";
    let starts = || {
        let of = |unit: &str| {
            shop.on(
                web,
                &format!("systemctl show -p InvocationID --value {unit}"),
            )
        };
        (of("clock"), of("quiet"))
    };
    let enabled = "systemctl is-enabled clock quiet";
    assert_eq!(shop.on(web, enabled), "enabled\nenabled\n");
    assert_eq!(shop.on(web, "cat /srv/clock"), "one\n");
    let first = starts();

    // Nothing changed: nothing starts anew. Then one unit's own file does.
    let ran = shop.run(&plan, &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    assert_eq!(starts(), first);
    beside("quiet.service", &unit("/bin/sleep 7200"));
    let ran = shop.run(&plan, &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    let second = starts();
    assert_eq!(
        second.0, first.0,
        "a unit that did not change was started anew"
    );
    assert_ne!(second.1, first.1, "a unit that changed was not");

    // A file that they read: all of them; killed between the file and the start, too.
    beside("clock.conf", "WORD=two\n");
    let dead = shop.run(&plan, &["--inject", "crash:app"]);
    assert_eq!(dead.code, None, "{}", dead.said());
    shop.on(
        web,
        &format!(
            "keep=/var/lib/dr-plan/{}/app.kept; mkdir -p $keep; touch $keep/pending.clock.service; echo WORD=two > /etc/clock/clock.conf",
            dead.id()
        ),
    );
    let ran = shop.resume(&dead);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    assert_ne!(
        starts().0,
        second.0,
        "the crash hid that it has to start anew"
    );
    assert_eq!(
        shop.on(
            web,
            "sleep 0.3; cat /srv/clock; ls /var/lib/dr-plan/*/app.kept | grep -c pending || true"
        ),
        "two\n0\n"
    );

    // Active at each look, and yet never up for long.
    beside("quiet.service", &unit("/bin/sleep 0.3"));
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(4), "{}", ran.said());
    assert!(
        ran.said().contains("quiet.service does not stay up")
            || ran.said().contains("quiet.service is "),
        "{}",
        ran.said()
    );
    // Taken back: the first run of all found nothing there.
    let said = shop
        .dr(&["undo", first_run.id(), "app", "--yes"])
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    let left = shop.on(
        web,
        "ls /etc/systemd/system /etc/clock; systemctl is-active clock quiet || true",
    );
    assert!(
        !left.contains("clock.service") && !left.contains("clock.conf"),
        "{left}\n{said}"
    );
    assert_eq!(left.matches("inactive").count(), 2, "{left}\n{said}");
    let kept = shop.on(web, &format!("ls /var/lib/dr-plan/*{}*", first_run.id()));
    assert!(!kept.contains("app.kept"), "{kept}\n{said}");
}

fn units_that_stood_there_before_come_back_as_they_were(shop: &Shop) {
    // What says that the clock is healthy, and is still there from the one before.
    shop.on("shop-web-1", "rm -f /srv/clock");
    let plan = shop.plan("units", "");
    let beside = |name: &str, text: &str| fs::write(plan.with_file_name(name), text).unwrap();
    beside("clock.service", &unit(CLOCK));
    beside("quiet.service", &unit("/bin/sleep 3600"));
    beside("clock.conf", "WORD=new\n");
    // The old deployment, by another hand: one unit runs, and none starts with the host.
    let old = "
  old:
    host: web-1
    repeatable: true
    run: |
      mkdir -p /etc/clock; echo WORD=old > /etc/clock/clock.conf
      printf '%s\\n' '[Service]' 'ExecStart=/bin/sleep 100' '[Install]' 'WantedBy=multi-user.target' > /etc/systemd/system/clock.service
      systemctl daemon-reload; systemctl start clock
";
    let text = PLAN.replace(
        "  app:\n",
        &format!("{}  app:\n    needs: [old]\n", old.trim_start_matches('\n')),
    );
    fs::write(&plan, &text).unwrap();
    let ran = shop.run(&plan, &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    let web = "shop-web-1";
    assert_eq!(shop.on(web, "cat /srv/clock"), "new\n");
    let report = ran.report();
    let open = report["still_open"].as_array().unwrap();
    let kept = open.iter().filter(|one| {
        let what = one["what"].as_str().unwrap();
        what.contains("/etc/clock/clock.conf") && what.contains("is kept until `dr-plan release")
    });
    assert_eq!(kept.count(), 1, "{open:#?}");
    // A release was begun: whatever of it came about, half of the old files do not come back.
    let mark = format!("/var/lib/dr-plan/{}/app.kept.released", ran.id());
    shop.on(web, &format!("touch {mark}"));
    let said = shop
        .dr(&["undo", ran.id(), "app", "--yes"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(4), "{text}");
    assert!(text.contains("was let go of"), "{text}");
    assert_eq!(shop.on(web, "cat /srv/clock"), "new\n");
    shop.on(web, &format!("rm {mark}"));
    // Killed when all is back and nobody has looked.
    for words in [&["--inject", "crash-after:app"][..], &[]] {
        let said = shop
            .dr(&[&["undo", ran.id(), "app", "--yes"], words].concat())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
        assert_eq!(said.status.code().is_none(), !words.is_empty(), "{text}");
        if words.is_empty() {
            assert_eq!(said.status.code(), Some(0), "{text}");
        }
    }
    let now = shop.on(
        web,
        "cat /etc/clock/clock.conf; grep ExecStart /etc/systemd/system/clock.service; systemctl is-active clock quiet || true
         systemctl is-enabled clock || true; ls /etc/systemd/system/quiet.service 2>&1 | grep -c 'No such' || true",
    );
    assert_eq!(
        now,
        "WORD=old\nExecStart=/bin/sleep 100\nactive\ninactive\ndisabled\n1\n"
    );
}
