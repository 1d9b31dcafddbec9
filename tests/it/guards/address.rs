//! Users that come by an address: it moves to a new server, which really answers there; and the firewall before it.

use super::shop::Shop;

const PLAN: &str = "
version: 1
name: moves
inventory: ../inventories/sandbox.yaml
steps:
  web:
    uses: server.create
    with: { role: web, place: hetzner/nbg1/cx23, image: debian-12 }
  guard:
    uses: firewall.apply
    with:
      account: hetzner
      name: web
      hosts: [\"{{steps.web.host}}\"]
      rules:
        - { port: 22, from: [198.18.0.0/15] }
        - { port: \"80-443\", from: [0.0.0.0/0, \"::/0\"] }
        - { protocol: icmp, from: [0.0.0.0/0] }
  listen:
    uses: host.run
    with:
      host: \"{{steps.web.host}}\"
      run: ip address replace 198.51.100.1/32 dev eth0
      unless: ip address show dev eth0 | grep -q 198.51.100.1
  move:
    needs: [listen, guard]
    uses: ip.assign
    with:
      account: hetzner
      address: 198.51.100.1
      host: \"{{steps.web.host}}\"
      gate: none
      because: the test moves an address and serves nothing
    verify:
      - check.tcp: { address: 198.51.100.1, port: 22 }
";

#[test]
fn an_address_moves_to_a_new_server_which_answers_there() {
    let shop = Shop::without_servers();
    let api = |method: &str, path: &str, body: &str| {
        shop.inside(&format!(
            "curl -sS -X {method} -H \"Authorization: Bearer $(cat /run/dr-plan/secrets/hcloud_token)\" \
             -H 'content-type: application/json' -d '{body}' http://198.18.255.1/v1{path}"
        ))
    };
    api(
        "POST",
        "/servers",
        r#"{"name":"shop-web-1","location":"fsn1","server_type":"cx23","image":"debian-12"}"#,
    );
    let state = || shop.lever("state");
    let old = state()["servers"][0]["id"].as_i64().unwrap();
    api(
        "POST",
        "/floating_ips",
        &format!(r#"{{"type":"ipv4","server":{old},"name":"shop"}}"#),
    );
    let hears = || {
        let said =
            shop.inside("ssh-keyscan -T 3 -t ed25519 198.51.100.1 2> /dev/null | cut -d ' ' -f 3");
        said.trim().to_owned()
    };
    let plan = shop.plan("moves", PLAN);
    let ran = shop.run(&plan, &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    assert_eq!(ran.noted("move", "old"), Some(old.to_string().into()));
    let now = state();
    let web = shop.machine("dr-moves-web");
    let new = now["servers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["machine"] == web.name.as_str());
    let new = new.unwrap()["id"].clone();
    assert_eq!(now["floating_ips"][0]["server"], new);
    let key = shop.on(
        &web.name,
        "cut -d ' ' -f 2 /etc/ssh/ssh_host_ed25519_key.pub",
    );
    assert_eq!(hears(), key.trim(), "another machine answers");
    let firewall = &now["firewalls"][0];
    assert_eq!(firewall["labels"]["dr-plan/firewall"], "web");
    assert_eq!(firewall["rules"].as_array().unwrap().len(), 3);
    assert_eq!(firewall["applied_to"][0]["server"]["id"], new);

    // A second run finds what the first one made, and an address that cannot come is refused before anything is touched.
    let far = PLAN
        .replace("name: moves", "name: far")
        .replace("address: 198.51.100.1\n", "address: 198.51.100.9\n");
    let plan = shop.plan("far", &far);
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(5), "{}", ran.said());
    assert!(
        ran.said().contains("no floating IP 198.51.100.9"),
        "{}",
        ran.said()
    );
    assert_eq!(state()["servers"].as_array().unwrap().len(), 2);

    // A stranger's firewall of that name is left alone, and a rule that means nothing is a problem of the plan.
    api("POST", "/firewalls", r#"{"name":"db"}"#);
    let plan = shop.plan(
        "stranger",
        &PLAN.replace("      name: web", "      name: db"),
    );
    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(5), "{}", ran.said());
    assert!(
        ran.said().contains("dr-plan did not make it"),
        "{}",
        ran.said()
    );
    let plan = shop.plan(
        "open",
        &PLAN.replace(
            "      because: the test moves an address and serves nothing\n",
            "",
        ),
    );
    let said = shop
        .dr(&["validate", plan.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("no-gate"));
    let wrong = PLAN.replace(
        "{ port: 22, from: [198.18.0.0/15] }",
        "{ port: 22, from: [198.18.0.1/15] }",
    );
    let plan = shop.plan("wrong", &wrong);
    let said = shop
        .dr(&["validate", plan.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("bad-rule") && said.contains("198.18.0.0/15"),
        "{said}"
    );
}
