//! What stands between a broken shop and its users: the gate of `dns.switch`, on a web server that is broken
//! in one way after the other; and what a backup's name says against what is in it.

use super::shop::{Ran, Shop, name_of, now};

/// The failover up to the moment when the new shop is ready and nobody has moved.
fn until_ready(text: String) -> String {
    let cut = |text: String, from: &str, to: &str| {
        let start = text.find(from).unwrap();
        let end = start + text[start..].find(to).unwrap();
        format!("{}{}", &text[..start], &text[end..])
    };
    let text = cut(
        text,
        "  # ---- The last moment to say no.",
        "# Runs when all else",
    );
    cut(text, "health:\n", "steps:\n")
}

const SWITCH: &str = "
version: 1
name: switch
inventory: ../inventories/sandbox.yaml
steps:
  dns:
    uses: dns.switch
    with:
      domain: shop.example
      records: { \"@\": WEB, www: WEB }
      gate:
        url: http://shop.example/orders/newest
        at: WEB
        json: /id
        equals: { sql: \"select max(id) from orders\", host: db-2, database: shop }
";

#[test]
fn only_the_restored_shop_itself_opens_the_gate() {
    let shop = Shop::up();
    let order = shop.order();
    // An hour before the loss nobody ordered any more; the backup's name says that it is fresh.
    shop.on("shop-db-1", "cd /; echo \"update orders set created_at = created_at - interval '1 hour'\" | runuser -u postgres -- psql -X -q shop");
    shop.backup(&name_of(0));
    let lost_order = shop.order();
    assert_ne!(order["id"], lost_order["id"]);
    let lost = shop.lose();
    // Of its own limit for the dataset, so that not the restore refuses it but the result tells.
    let plan = shop.changed(|text| until_ready(text.replace("within: rpo", "within: 2h")));
    let ran = shop.run(&plan, &["--lost-at", &lost]);
    the_loss_is_measured_in_the_data(&ran);

    let before = shop.names();
    assert_eq!(before, ["198.18.1.2", "198.18.1.2"]);
    let web = shop.machine("dr-region-failover-web");
    let db = shop.machine("dr-region-failover-db");
    let key = ran.noted("db", "rotated").unwrap();
    shop.inside(&format!(
        "echo '{} {}' >> /run/dr-plan/known_hosts",
        db.address,
        key.as_str().unwrap()
    ));
    let plan = shop.plan("switch", &SWITCH.replace("WEB", &web.address.to_string()));
    shop.inventory(|text| {
        let host = format!(
            "  db-2: {{ address: {}, at: hetzner/nbg1, server: {} }}\n",
            db.address, db.name
        );
        text.replace(
            "\n# Where backups lie.",
            &format!("{host}\n# Where backups lie."),
        )
    });

    let on_web = |script: &str| shop.on(&web.name, script);
    // A database beside the restored one, with the same tables and nothing in them.
    shop.on(&db.name, "cd /; echo 'host empty shop 198.16.0.0/12 scram-sha-256' >> /etc/postgresql/15/main/pg_hba.conf
        as() { runuser -u postgres -- \"$@\"; }
        as createdb -O shop empty; as pg_dump -s shop | as psql -X -q -o /dev/null empty; as psql -X -q -c 'select pg_reload_conf()' > /dev/null");
    let site = "/etc/nginx/sites-enabled/shop.conf";
    let nginx = |change: &str| {
        on_web(&format!(
            "cp {site} /root/site; {change}; systemctl restart nginx"
        ))
    };
    let nginx_as_before = || on_web(&format!("mv /root/site {site}; systemctl restart nginx"));
    let refused = |how: &str, words: &[&str]| {
        let ran = shop.run(&plan, &[]);
        assert_eq!(ran.code, Some(4), "{how}: {}", ran.said());
        for word in words {
            assert!(
                ran.said().contains(word),
                "{how}: `{word}` is not said: {}",
                ran.said()
            );
        }
        assert_eq!(shop.names(), before, "{how}");
    };

    let (id, other) = (order["id"].to_string(), lost_order["id"].to_string());
    let page = |id: &str| {
        format!(
            "sed -i \"s|location / {{|location = /orders/newest {{ return 200 '{{\\\"id\\\":{id}}}'; }} location / {{|\" {site}"
        )
    };
    nginx(&page(&other));
    refused(
        "a page that was written into the web server",
        &[&id, &other, "nothing was moved"],
    );
    nginx_as_before();

    // The right page, kept while the shop worked; then the shop stops.
    let keep = format!(
        "printf 'proxy_cache_path /tmp/kept keys_zone=kept:1m;\\n' > /etc/nginx/conf.d/kept.conf
         sed -i 's|proxy_cache off;|proxy_cache kept; proxy_cache_valid 200 1h; proxy_ignore_headers Cache-Control;|' {site}"
    );
    nginx(&keep);
    let ask = "curl -sS -o /tmp/page -w '%{http_code}' -H 'Host: shop.example' http://127.0.0.1/orders/newest";
    super::shop::wait_for("a page in the cache", || {
        on_web(ask);
        let files = on_web("find /tmp/kept -type f | wc -l");
        (files.trim() != "0").then_some(())
    });
    on_web("systemctl stop shop");
    assert_eq!(on_web(ask), "200", "the page is not kept");
    refused(
        "a page that was kept while the shop worked",
        &["answered 502"],
    );
    on_web("rm -rf /etc/nginx/conf.d/kept.conf");
    nginx_as_before();
    refused("an open port with nothing behind it", &["answered 502"]);

    let database = |name: &str| {
        on_web(&format!(
            "sed -i '/DATABASE_NAME/d' /etc/shop/shop.env; echo SHOP_DATABASE_NAME={name} >> /etc/shop/shop.env; systemctl restart shop"
        ));
        super::shop::wait_for("the shop with another database", || {
            let code = on_web(
                "curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/health || true",
            );
            (code == "200").then_some(())
        });
    };
    database("empty");
    refused("a shop with an empty database", &["answered 404"]);
    shop.on(&db.name, "cd /; runuser -u postgres -- psql -X -q empty -c \"insert into users select 1, 'x', 'x@example.org'\" -c 'insert into orders (user_id, total) values (1, 1)' 2>/tmp/why || { cat /tmp/why >&2; runuser -u postgres -- psql -X -c '\\d users' -c '\\d orders' empty >&2; false; }");
    refused("a shop with other data", &["/id 1, ", &id]);
    database("shop");

    nginx(&format!(
        "sed -i 's|server_name .*|server_name new.example;|' {site}; printf 'server {{ listen 80 default_server; return 404; }}\\n' >> {site}; rm -f /etc/nginx/sites-enabled/default"
    ));
    assert_eq!(
        on_web(
            "curl -sS -o /dev/null -w '%{http_code}' -H 'Host: new.example' http://127.0.0.1/health"
        ),
        "200"
    );
    refused("a shop under another name only", &["answered 404"]);
    nginx_as_before();

    let ran = shop.run(&plan, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    let moved = web.address.to_string();
    assert_eq!(shop.names(), [moved.clone(), moved]);
}

/// The name says now; the rows say an hour before.
fn the_loss_is_measured_in_the_data(ran: &Ran) {
    assert_eq!(ran.code, Some(7), "{}", ran.said());
    let report = ran.report();
    let rpo = &report["rpo"];
    let measured = rpo["measured"].as_f64().unwrap();
    assert!((3600.0..3900.0).contains(&measured), "{rpo}");
    let claimed = rpo["datasets"][0]["backup_claims_newer_by"]
        .as_f64()
        .unwrap();
    assert!((3590.0..3900.0).contains(&claimed), "{rpo}");
    let page = std::fs::read_to_string(ran.folder.join("report.md")).unwrap();
    assert!(page.contains("MISSED"), "{page}");
    assert!(
        page.contains("newer"),
        "the report does not say that the name lies: {page}"
    );
}

#[test]
fn a_record_that_somebody_changed_while_the_question_waited_is_left_alone() {
    let shop = Shop::without_servers();
    let set = |address: &str| {
        shop.inside(&format!(
            r#"curl -sSf -X PATCH -H "X-API-Key: $(cat /run/dr-plan/secrets/powerdns_key)" \
            -d '{{"rrsets":[{{"name":"shop.example.","type":"A","ttl":5,"changetype":"REPLACE","records":[{{"content":"{address}","disabled":false}}]}}]}}' \
            http://198.18.255.3:8081/api/v1/servers/localhost/zones/shop.example."#
        ));
    };
    set("198.18.1.2");
    let plan = shop.plan(
        "ask",
        "
version: 1
name: ask
inventory: ../inventories/sandbox.yaml
steps:
  go:
    manual: Move?
    approval: { by: [ops], timeout: 20m }
  dns:
    needs: [go]
    uses: dns.switch
    with:
      domain: shop.example
      records: { \"@\": 198.19.1.1 }
      gate: none
      because: there is no shop in this world
",
    );
    let going = shop.begin(&plan, &["--lost-at", &now()]);
    going.until(&shop, "the question", |event| {
        event["event"] == "asked" && event["step"] == "go"
    });
    set("203.0.113.7");
    let approved = shop
        .dr(&["approve", "last", "go", "--as", "Ada"])
        .output()
        .unwrap();
    assert!(approved.status.success(), "{approved:?}");
    let ran = going.ended(&shop);
    let said = ran.said();
    assert_eq!(ran.code, Some(5), "{said}");
    for word in ["198.18.1.2", "203.0.113.7", "dr-plan resume"] {
        assert!(said.contains(word), "`{word}` is not said: {said}");
    }
    assert_eq!(shop.names(), ["203.0.113.7"]);

    // Put back by whoever did it: the run goes on from there.
    set("198.18.1.2");
    let ran = shop.resume(&ran);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    assert_eq!(shop.names(), ["198.19.1.1"]);
}
