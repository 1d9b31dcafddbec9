//! A server is copied and made again elsewhere: with its data, without its host key, and once.

use super::shop::Shop;

const PLAN: &str = "
version: 1
name: copies
inventory: ../inventories/sandbox.yaml
steps:
  snap:
    uses: server.snapshot
    with: { server: db-1 }
  copy:
    uses: server.from_snapshot
    with: { role: copy, place: hetzner/nbg1, size: { cpus: 2 }, snapshot: \"{{steps.snap.image}}\" }
  look:
    uses: host.run
    with: { host: \"{{steps.copy.host}}\", run: 'test \"$(cat /srv/mark)\" = before', repeatable: true }
";

const AGAIN: &str = "
version: 1
name: again
inventory: ../inventories/sandbox.yaml
steps:
  copy:
    uses: server.from_snapshot
    with: { role: again, place: hetzner/nbg1/cx33, of: db-1 }
  look:
    uses: host.run
    with: { host: \"{{steps.copy.host}}\", run: 'test \"$(cat /srv/mark)\" = before', repeatable: true }
";

#[test]
fn a_server_comes_back_from_its_snapshot_with_its_data_and_a_key_of_its_own() {
    let shop = Shop::without_servers();
    shop.inside(
        r#"curl -sSf -H "Authorization: Bearer $(cat /run/dr-plan/secrets/hcloud_token)" -H 'content-type: application/json' \
           -d '{"name":"shop-db-1","location":"fsn1","server_type":"cx23","image":"debian-12","user_data":""}' \
           http://198.18.255.1/v1/servers"#,
    );
    // The first boot makes the host key that the copy must not have.
    shop.inside(
        "i=0; until ssh-keyscan -t ed25519 198.18.1.1 2> /dev/null | grep -q ed25519; do i=$((i+1)); test $i -lt 300; sleep 0.1; done",
    );
    shop.on(
        "shop-db-1",
        "echo before > /srv/mark; rm -f /etc/hostname.bak",
    );
    shop.inside(
        r#"curl -sSf -H 'content-type: application/json' \
           -d '{"method":"POST","path":"*/create_image","when":"after","kind":"reset"}' http://127.0.0.1:8000/_sandbox/faults"#,
    );
    let plan = shop.plan("copies", PLAN);
    let ran = shop.run(&plan, &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    shop.on("shop-db-1", "echo after > /srv/mark");
    let copy = shop.machine("dr-copies-copy");
    assert_eq!(shop.on(&copy.name, "cat /srv/mark"), "before\n");
    let key = "cut -d ' ' -f 2 /etc/ssh/ssh_host_ed25519_key.pub";
    assert_ne!(shop.on(&copy.name, key), shop.on("shop-db-1", key));
    let state = shop.lever("state");
    assert_eq!(state["snapshots"].as_array().unwrap().len(), 1, "{state}");
    let labels = &state["snapshots"][0]["labels"];
    assert_eq!(labels["dr-plan/step"], "snap");
    let seen = ran.report().to_string();
    assert!(seen.contains("of `shop-db-1`, taken"), "{seen}");

    // The region and the server are gone; what was copied is not.
    shop.lose();
    let plan = shop.plan("again", AGAIN);
    let ran = shop.run(&plan, &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    assert!(
        ran.said().contains("starts on the copy as well"),
        "{}",
        ran.said()
    );

    // Nothing was copied of this one, and its disk would be too small for what was copied of the other.
    for (words, what) in [
        (
            AGAIN.replace("of: db-1", "of: web-1"),
            "no snapshot of a server `shop-web-1`",
        ),
        (
            AGAIN.replace("of: db-1", "snapshot: \"12345\""),
            "no snapshot 12345",
        ),
    ] {
        let plan = shop.plan("refused", &words);
        let ran = shop.run(&plan, &[]);
        assert_eq!(ran.code, Some(5), "{}", ran.said());
        assert!(ran.said().contains(what), "{}", ran.said());
    }
    let plan = shop.plan(
        "both",
        &AGAIN.replace("of: db-1", "of: db-1, snapshot: \"1\""),
    );
    let said = shop
        .dr(&["validate", plan.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("which-snapshot"), "{said}");
}
