//! What servers of a drill may reach. What is restored believes that it is the real shop: its mail must go nowhere.

use std::fs;

use super::shop::{Shop, wait_for};

/// Ports outside that count who comes: mail, a payment service, a webhook of a partner.
const LISTENER: &str = r#"
use strict; use IO::Socket::INET; use IO::Select;
my $file = "/run/dr-plan/services/came";
open(my $made, ">", $file) or die; close $made;
my %by; my $select = IO::Select->new;
for my $port (25, 443, 8443) {
  my $socket = IO::Socket::INET->new(LocalAddr => "198.18.255.9", LocalPort => $port, Listen => 8, ReuseAddr => 1) or die "$port: $!";
  $by{$socket} = $port; $select->add($socket);
}
$| = 1; print "listening\n";
while (1) {
  for my $socket ($select->can_read) {
    my $came = $socket->accept or next;
    open(my $out, ">>", $file) or die; print $out "$by{$socket}\n"; close $out; close $came;
  }
}
"#;

const PLAN: &str = r#"
version: 1
name: closed
inventory: ../inventories/sandbox.yaml
drill: { expires: 1h, allow: ["198.18.255.9:8443"] }
steps:
  a:
    uses: server.create
    with: { role: a, place: hetzner/nbg1/cx23, image: debian-12, packages: [curl] }
  b:
    uses: server.create
    with: { role: b, place: hetzner/nbg1/cx23, image: debian-12 }
  # As a restored application would, from the host itself: TCP 4 and 6, and UDP.
  mail:
    host: "{{steps.a.host}}"
    repeatable: true
    env: { PEER: "{{steps.b.ipv4}}" }
    run: |
      reach() { timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null; }
      for try in 1 2 3; do ! reach 198.18.255.9 25 || { echo "mail left"; exit 1; }; done
      ! reach 198.18.255.9 443 || { echo "money left"; exit 1; }
      ! curl -sS -m 3 -d '{"text":"paid"}' http://198.18.255.5/hook || { echo "a webhook left"; exit 1; }
      ip -6 route add 2001:db8:9::/48 dev eth0
      ! reach 2001:db8:9::25 25 || { echo "mail left by IPv6"; exit 1; }
      bash -c 'echo x > /dev/udp/198.18.255.9/514' 2>/dev/null || true
      # A backup job of the shop would write to the store, or prune it; only our own fetching gets there.
      ! reach 198.18.255.2 80 || { echo "the store is open to everybody"; exit 1; }
      curl -sS -m 9 -o /dev/null --local-port 61000-65535 http://198.18.255.2/ || { echo "no store"; exit 1; }
      # What it needs: names, the other server, and what the plan allows.
      getent hosts shop.example || { echo "no names"; exit 1; }
      reach "$DR_PEER" 22 || { echo "no peer"; exit 1; }
      reach 198.18.255.9 8443 || { echo "what is allowed is closed"; exit 1; }
  back:
    host: "{{steps.b.host}}"
    repeatable: true
    env: { PEER: "{{steps.a.ipv4}}" }
    run: timeout 3 bash -c "exec 3<>/dev/tcp/$DR_PEER/22"
"#;

fn came(shop: &Shop) -> Vec<String> {
    let text = shop.inside("sort /run/dr-plan/services/came | uniq");
    text.lines().map(String::from).collect()
}

#[test]
fn servers_of_a_drill_are_closed_and_stay_closed() {
    let shop = Shop::up("closed");
    nothing_leaves_but_to_where_it_may(&shop);
    a_drill_whose_servers_were_opened_is_not_met(&shop);
    a_server_that_would_be_open_after_a_reboot_is_closed_again(&shop);
}

fn nothing_leaves_but_to_where_it_may(shop: &Shop) {
    fs::write(shop.path("listener.pl"), LISTENER).unwrap();
    let script = shop.path("listener.pl").to_string_lossy().into_owned();
    let words = [
        "sandbox",
        "exec",
        "--world",
        &shop.world,
        "--",
        "perl",
        &script,
    ];
    let listener = shop.begin(&words);
    listener.wait_for_words("listening", shop);
    shop.inside("timeout 3 bash -c 'exec 3<>/dev/tcp/198.18.255.9/25'");
    wait_for(
        || (came(shop) == ["25"]).then_some(()),
        || "the listener does not count".into(),
    );
    shop.inside(": > /run/dr-plan/services/came");

    fs::write(shop.path("plans/closed.yaml"), PLAN).unwrap();
    let ran = shop.do_it(&["drill", "plans/closed.yaml", "--yes", "--keep"]);
    ran.ended(0, shop).says("packets kept from leaving");
    assert_eq!(came(shop), ["8443"], "{}", shop.story());
    assert!(shop.told("/hook").is_empty());

    let report = shop.report();
    let egress = report["drill"]["egress"].as_array().unwrap();
    let host = |name: &str| egress.iter().find(|one| one["host"] == name).unwrap();
    let tried = host("a")["asked"]["tried"].as_array().unwrap();
    let places: Vec<&str> = tried.iter().map(|one| one[0].as_str().unwrap()).collect();
    for place in [
        "198.18.255.9 tcp 25",
        "198.18.255.9 tcp 443",
        "198.18.255.5 tcp 80",
        "198.18.255.2 tcp 80",
        "2001:db8:9::25 tcp 25",
        "198.18.255.9 udp 514",
    ] {
        assert!(places.contains(&place), "{place} is not in {places:?}");
    }
    assert!(
        host("a")["asked"]["packets"].as_u64().unwrap() >= 7,
        "{tried:?}"
    );
    assert_eq!(host("b")["asked"]["packets"], 0, "{egress:#?}");

    // A reboot opens nothing, and the others are still known.
    let mode = shop.on_restored(
        "a",
        "stat -c %a /etc/dr-plan/drill.nft /etc/dr-plan/drill-peers.nft",
    );
    assert_eq!(mode, "600\n600");
    let steps = report["steps"].as_array().unwrap();
    let a = steps.iter().find(|step| step["id"] == "a").unwrap();
    let peer = &steps.iter().find(|step| step["id"] == "b").unwrap()["output"]["ipv4"];
    let power = |verb: &str| {
        shop.inside(&format!(
            "curl -sS --fail -X POST -H \"Authorization: Bearer $(cat /run/dr-plan/secrets/hcloud_token)\" \
             http://198.18.255.1/v1/servers/{}/actions/{verb}",
            a["output"]["id"].as_str().unwrap()
        ))
    };
    let booted = shop.on_restored("a", "cat /proc/sys/kernel/random/boot_id");
    power("reset");
    let again = [
        "ssh",
        "last",
        "a",
        "--",
        "cat /proc/sys/kernel/random/boot_id",
    ];
    wait_for(
        || {
            let ran = shop.do_it(&again);
            (ran.code == 0 && ran.out.trim() != booted).then_some(())
        },
        || "the server does not come back".into(),
    );
    let tries = format!(
        "systemctl is-active dr-plan-drill; timeout 3 bash -c 'exec 3<>/dev/tcp/198.18.255.9/25' || echo closed; \
         timeout 3 bash -c 'exec 3<>/dev/tcp/{}/22' && echo peer",
        peer.as_str().unwrap()
    );
    let said = shop.on_restored("a", &tries);
    assert!(
        said.ends_with("closed\npeer") && said.starts_with("active"),
        "{said}"
    );
    assert_eq!(came(shop), ["8443"]);

    // Rules that somebody takes away are told.
    shop.on_restored("b", "nft delete table inet dr_plan_drill");
    let ran = shop.do_it(&["undo", "last", "--yes"]).ended(0, shop);
    ran.says("b: its rules were gone or changed at the end")
        .says("all that it made is deleted");
    assert_eq!(shop.servers().len(), 2);
}

/// What a restored machine may do to its own rules: the one as `nftables.service` does when it is reloaded.
const OPENED: &str = r#"
version: 1
name: opened
inventory: ../inventories/sandbox.yaml
steps:
  a:
    uses: server.create
    with: { role: a, place: hetzner/nbg1/cx23, image: debian-12 }
  b:
    uses: server.create
    with: { role: b, place: hetzner/nbg1/cx23, image: debian-12 }
  flush: { needs: [b], host: "{{steps.a.host}}", repeatable: true, run: nft flush ruleset }
  accept: { needs: [a], host: "{{steps.b.host}}", repeatable: true, run: nft insert rule inet dr_plan_drill judge counter accept }
"#;

fn a_drill_whose_servers_were_opened_is_not_met(shop: &Shop) {
    fs::write(shop.path("plans/opened.yaml"), OPENED).unwrap();
    let ran = shop.do_it(&["drill", "plans/opened.yaml", "--yes"]);
    ran.ended(4, shop).says("FAILED");
    let report = shop.report();
    assert_eq!(report["result"], "FAILED", "{report:#}");
    let because = report["because"].to_string();
    for host in ["a", "b"] {
        let words = format!("the rules of `{host}` were gone or changed at the end");
        assert!(because.contains(&words), "{because}");
    }
    assert_eq!(report["drill"]["standing"], 0, "{report:#}");
    assert_eq!(shop.servers().len(), 2);
}

fn a_server_that_would_be_open_after_a_reboot_is_closed_again(shop: &Shop) {
    let plan = OPENED.split("  flush").next().unwrap();
    fs::write(shop.path("plans/halfway.yaml"), plan).unwrap();
    let words = [
        "drill",
        "plans/halfway.yaml",
        "--yes",
        "--keep",
        "--parallel",
        "1",
        "--inject",
        "crash-after:a",
    ];
    shop.do_it(&words).ended(128 + 9, shop);
    let unit = "systemctl is-enabled dr-plan-drill";
    shop.on_restored("a", "systemctl disable dr-plan-drill");
    shop.do_it(&["resume"]).ended(0, shop);
    assert_eq!(shop.on_restored("a", unit), "enabled");
    let order = "grep After= /etc/systemd/system/dr-plan-drill.service";
    assert_eq!(shop.on_restored("a", order), "After=nftables.service");
}
