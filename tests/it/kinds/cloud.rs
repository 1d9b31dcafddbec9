//! Snapshots, copies, addresses and firewalls of the cloud, killed at each of their records: each is made once.

use super::sweep::killed;
use crate::guards::shop::Shop;

const PLAN: &str = "
version: 1
name: cloud
inventory: ../inventories/sandbox.yaml
steps:
  snap:
    uses: server.snapshot
    with: { server: db-1 }
  copy:
    uses: server.from_snapshot
    with: { role: copy, place: hetzner/nbg1, size: { cpus: 2 }, snapshot: \"{{steps.snap.image}}\" }
  guard:
    uses: firewall.apply
    with:
      account: hetzner
      name: web
      hosts: [\"{{steps.copy.host}}\"]
      rules: [ { port: 22, from: [198.18.0.0/15] } ]
  listen:
    needs: [guard]
    host: \"{{steps.copy.host}}\"
    run: ip address replace 198.51.100.1/32 dev eth0
    unless: ip address show dev eth0 | grep -q 198.51.100.1
  move:
    needs: [listen]
    uses: ip.assign
    with:
      account: hetzner
      address: 198.51.100.1
      host: \"{{steps.copy.host}}\"
      gate: none
      because: the test moves an address and serves nothing
    verify:
      - check.tcp: { address: 198.51.100.1, port: 22 }
";

const ACCIDENTS: [&str; 8] = [
    "crash:snap",
    "crash-after:snap",
    "crash:copy",
    "crash-after:copy",
    "crash:guard",
    "crash-after:guard",
    "crash:move",
    "crash-after:move",
];

#[test]
fn what_a_cloud_makes_is_made_once_whatever_kills_the_run() {
    let shop = Shop::without_servers();
    let api = |path: &str, body: &str| {
        shop.inside(&format!(
            "curl -sSf -X POST -H \"Authorization: Bearer $(cat /run/dr-plan/secrets/hcloud_token)\" \
             -H 'content-type: application/json' -d '{body}' http://198.18.255.1/v1{path}"
        ))
    };
    api(
        "/servers",
        r#"{"name":"shop-db-1","location":"fsn1","server_type":"cx23","image":"debian-12","user_data":""}"#,
    );
    // The first boot makes the host key that the copy must not have.
    shop.inside(
        "i=0; until ssh-keyscan -t ed25519 198.18.1.1 2> /dev/null | grep -q ed25519; do i=$((i+1)); test $i -lt 300; sleep 0.1; done",
    );
    let state = || shop.lever("state");
    let old = state()["servers"][0]["id"].as_i64().unwrap();
    let address = format!(r#"{{"type":"ipv4","server":{old},"name":"shop"}}"#);
    api("/floating_ips", &address);

    let plan = shop.plan("cloud", PLAN);
    let (ran, kinds) = killed(&shop, &plan, &ACCIDENTS, |_, _| {});
    for kind in [
        "server.snapshot",
        "server.from_snapshot",
        "firewall.apply",
        "ip.assign",
    ] {
        assert!(kinds.contains(kind), "{kind} was not killed: {kinds:?}");
    }
    let now = state();
    let count = |what: &str| now[what].as_array().unwrap().len();
    assert_eq!(
        (
            count("servers"),
            count("snapshots"),
            count("firewalls"),
            count("floating_ips")
        ),
        (2, 1, 1, 1),
        "{now}"
    );
    let calls = shop.lever("ledger?method=POST&path=/v1/servers");
    let calls = calls["calls"].as_array().unwrap().iter();
    let ordered = calls.filter(|call| call["body"]["server_type"].is_string());
    assert_eq!(ordered.count(), 2, "a server was ordered twice");
    let copy = shop.machine("dr-cloud-copy");
    let new = now["servers"].as_array().unwrap().iter();
    let new = new
        .into_iter()
        .find(|one| one["machine"] == copy.name.as_str());
    let new = new.unwrap()["id"].clone();
    assert_eq!(now["floating_ips"][0]["server"], new, "{now}");
    assert_eq!(
        now["firewalls"][0]["applied_to"][0]["server"]["id"], new,
        "{now}"
    );
    assert_eq!(ran.noted("move", "old"), Some(old.to_string().into()));
    assert_eq!(ran.report()["resumes"], ACCIDENTS.len());
}
