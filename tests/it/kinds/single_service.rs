//! The example that installs one service on a new server, killed at each of its steps.

use std::fs;
use std::path::Path;

use super::sweep::killed;
use crate::guards::shop::Shop;

const ACCIDENTS: [&str; 15] = [
    "crash:packages",
    "crash-after:packages",
    "crash:prepare",
    "crash-after:prepare",
    "crash:site",
    "crash-after:site",
    "crash:service",
    "crash-after:service",
    "crash:reboot",
    "crash-after:reboot",
    "crash:port",
    "crash-after:port",
    "crash:fresh",
    "crash-after:fresh",
    "crash:page",
];

#[test]
fn a_service_is_installed_once_and_comes_back_after_a_reboot_whatever_kills_the_run() {
    let shop = Shop::without_servers();
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/single-service.yaml");
    // One after the other: what is killed at a step has done those before it and none after.
    let text = fs::read_to_string(text)
        .unwrap()
        .replace("  prepare:\n", "  prepare:\n    needs: [packages]\n")
        .replace("  site:\n", "  site:\n    needs: [prepare]\n")
        .replace("needs: [packages, prepare]", "needs: [site]");
    let plan = shop.plan("single-service", &text);
    let boot = || {
        shop.on(
            "dr-single-service-report",
            "cat /proc/sys/kernel/random/boot_id",
        )
    };
    let mut boots = Vec::new();
    let (ran, kinds) = killed(&shop, &plan, &ACCIDENTS, |accident, _| {
        if accident.ends_with(":reboot") {
            boots.push(boot());
        }
        // From here on the run has nothing but its own copies.
        let _ = fs::remove_dir_all(plan.with_file_name("files"));
    });
    for kind in [
        "host.packages",
        "host.script",
        "host.put",
        "compose.up",
        "host.reboot",
        "host.wait",
        "check.command",
        "check.http",
    ] {
        assert!(kinds.contains(kind), "{kind} was not killed: {kinds:?}");
    }

    // Started anew by the run that was killed right after, and not once more by the one that took it up.
    let before = ran.noted("reboot", "boot").unwrap();
    assert_eq!(boots[0].trim(), before, "nothing was asked for yet");
    assert_ne!(boots[1].trim(), before);
    assert_eq!(boot(), boots[1], "it was started anew twice");

    let on = |script: &str| shop.on("dr-single-service-report", script);
    assert_eq!(
        on("wc -l </srv/report/.prepared").trim(),
        "1",
        "prepared twice"
    );
    assert_eq!(on("cat /var/lib/shop-report/configured").trim(), "1.0");
    let installed = on("dpkg-query -W -f '${Status} ${Version}' shop-report");
    assert_eq!(installed, "install ok installed 1.0");
    assert_eq!(
        on("systemctl is-active shop-report; systemctl is-enabled shop-report"),
        "active\nenabled\n"
    );
    assert_eq!(
        on("ls -A /etc/systemd/system /etc/apt/keyrings | grep -c 'dr-plan$' || true").trim(),
        "0"
    );
    let report = ran.report().to_string();
    for words in ["shop-report 1.0", "has started anew", "steady for 2s"] {
        assert!(report.contains(words), "`{words}`: {report}");
    }
}
