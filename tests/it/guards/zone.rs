//! The names of an estate at a cloud's zones: moved, waited for, asked, and moved back.

use super::shop::Shop;

const PLAN: &str = "
version: 1
name: names
inventory: ../inventories/sandbox.yaml
steps:
  before:
    uses: check.dns
    timeout: 3s
    with: { name: shop-eu.example, server: 198.18.255.3, equals: [198.18.1.2] }
  dns:
    needs: [before]
    uses: dns.switch
    with:
      domain: shop-eu.example
      records: { \"@\": 198.19.1.7, www: 198.19.1.7 }
      gate: none
      because: the test moves names and serves nothing
  served:
    needs: [dns]
    uses: dns.wait
    with: { domain: shop-eu.example, records: { \"@\": 198.19.1.7, www: 198.19.1.7 } }
  after:
    needs: [served]
    uses: check.dns
    with: { name: www.shop-eu.example, server: 198.18.255.3, equals: [198.19.1.7] }
";

#[test]
fn names_at_a_clouds_own_zone_move_and_a_strangers_change_is_left_alone() {
    let shop = Shop::without_servers();
    let ask = |method: &str, path: &str, body: &str| {
        shop.inside(&format!(
            "curl -sS -X {method} -H \"Authorization: Bearer $(cat /run/dr-plan/secrets/hcloud_token)\" \
             -H 'content-type: application/json' {body} http://198.18.255.1/v1/zones/shop-eu.example{path}"
        ))
    };
    let set = r#"-d '{"name":"@","type":"A","ttl":300,"records":[{"value":"198.18.1.2"}]}'"#;
    ask("POST", "/rrsets", set);
    let plan = shop.plan("names", PLAN);
    let ran = shop.run(&plan, &[]);
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    let old = ran.noted("dns", "old shop-eu.example A").unwrap();
    assert_eq!(
        (&old["ttl"], &old["values"][0]),
        (&300.into(), &"198.18.1.2".into())
    );
    let shown = ask("GET", "/rrsets?name=www", "");
    assert!(shown.contains("198.19.1.7"), "{shown}");

    // A second run that wants to move them on, while somebody else has moved one of them.
    let further = PLAN
        .replace("198.19.1.7", "198.19.1.8")
        .replace("equals: [198.18.1.2]", "equals: [198.19.1.9]");
    let plan = shop.plan("further", &further);
    let wrong = shop.run(&plan, &[]);
    assert_eq!(wrong.code, Some(4), "{}", wrong.said());
    let shown = ask("GET", "/rrsets?name=www", "");
    assert!(
        shown.contains("198.19.1.7") && !shown.contains("198.19.1.8"),
        "{shown}"
    );

    // A lifetime that this service does not take is a problem of the plan.
    let short = PLAN.replace("      gate: none", "      ttl: 30\n      gate: none");
    let plan = shop.plan("short", &short);
    let said = shop
        .dr(&["validate", plan.to_str().unwrap()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("short-ttl") && said.contains("the least is 60s"),
        "{said}"
    );
}
