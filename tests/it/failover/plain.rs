//! Nothing goes wrong: the figures of the report are those of the world.

use jiff::Timestamp;

use super::shop::Shop;

/// Every key of Redis with its value and its time to live, as one hash that no order changes.
const CARTS: &str = r#"{ sed s/^requirepass/AUTH/ /etc/redis/password.conf; cat; } <<'END' | redis-cli | sed 1d
EVAL "local keys = redis.call('keys', '*'); table.sort(keys); local all = ''; for _, key in ipairs(keys) do all = redis.sha1hex(all .. key .. redis.call('dump', key) .. redis.call('expiretime', key)) end; return all .. ' ' .. #keys" 0
CONFIG GET appendonly
END"#;

/// Every file with its owner, mode, time, link and content.
const PICTURES: &str = r"cd /srv/shop/media; find . -printf '%P %y %m %u:%g %s %T@ %l %n\n' | sed '/^ /d' | sort; find . -type f -exec sha256sum {} + | sort";

#[test]
fn a_lost_region_comes_back_in_another_one_with_the_orders_of_the_backup() {
    let shop = Shop::up("plain");
    shop.order();
    let kept = shop.newest();
    let carts = shop.on_source("198.18.1.1", CARTS);
    let pictures = shop.on_source("198.18.1.2", PICTURES);
    assert!(carts.contains("502") && carts.ends_with("yes"), "{carts}");
    assert!(pictures.lines().count() > 20, "{pictures}");
    shop.back_up(Timestamp::now(), false);
    shop.order();
    shop.order();
    assert_ne!(
        shop.newest()["id"],
        kept["id"],
        "these orders are in no backup"
    );
    let lost_at = shop.lose_region();

    let at = lost_at.to_string();
    let ran = shop
        .do_it(&shop.failover(&at, &["--approve", "go"]))
        .ended(0, &shop);
    assert!(ran.err.contains("MET"), "{}", ran.err);

    let report = shop.report();
    assert_eq!(report["result"], "MET", "{report:#}");
    let newest: Timestamp = kept["created_at"].as_str().unwrap().parse().unwrap();
    let truth = lost_at.duration_since(newest).as_secs_f64();
    let measured = report["rpo"]["measured"].as_f64().unwrap();
    assert!((measured - truth).abs() < 1.0, "{measured} is not {truth}");
    assert!(
        report["rto"]["measured"].as_f64().unwrap() > 0.0,
        "{report:#}"
    );

    // What a person still has to see to: two hosts that nothing backs up, and resolvers with old answers.
    let open = report["still_open"].as_array().unwrap();
    let left = |step: &str| open.iter().filter(|one| one["step"] == step).count();
    assert_eq!((left("db"), left("web")), (1, 1), "{report:#}");
    assert!(
        left("dns") >= 1 && open.iter().any(|one| !one["until"].is_null()),
        "{report:#}"
    );

    // As its users see it: by name, through the caching resolver.
    assert_eq!(shop.newest()["id"], kept["id"]);
    let run = report["run"].as_str().unwrap().to_lowercase();
    let short = &run[run.len() - 8..];
    let server = |name: &str, place: &str, status: &str| {
        (name.to_owned(), place.to_owned(), status.to_owned())
    };
    assert_eq!(
        shop.servers(),
        [
            server(&format!("dr-region-failover-db-{short}"), "nbg1", "running"),
            server(
                &format!("dr-region-failover-web-{short}"),
                "nbg1",
                "running"
            ),
            server("shop-db-1", "fsn1", "off"),
            server("shop-web-1", "fsn1", "off"),
        ]
    );
    // The plan's own word at the end, and the one that the pager asked for.
    let told = shop.told("/ops");
    assert!(told.len() == 1 && told[0].contains("MET"), "{told:?}");
    let told = shop.told("/bot/sendMessage");
    assert!(
        told.len() == 1 && told[0].contains("has ended: MET"),
        "{told:?}"
    );
    assert_eq!(shop.on_restored("db", CARTS), carts);
    shop.on_restored("db", "systemctl restart redis-server");
    assert_eq!(shop.on_restored("db", CARTS), carts, "after a restart");
    assert_eq!(shop.on_restored("web", PICTURES), pictures);
    // cron runs its job on the new server by itself, at the next full minute.
    shop.on_restored(
        "db",
        r#"rows() { cd /; runuser -u postgres -- psql -XAtq -d shop -c "select count(*) from takings"; }
        seen=$(rows)
        for round in $(seq 45); do
          sleep 2
          now=$(rows)
          if [ "$now" -gt "$seen" ]; then exit 0; fi
        done
        echo "no row that cron wrote, besides $seen"; exit 1"#,
    );
    // A second failover by mistake would put the backup over what customers write from now on.
    let words = shop.failover(&at, &["--approve", "go"]);
    let again = shop.do_it(&words).ended(2, &shop);
    again.says("has moved the users of `shop`").says("--anew");
    assert_eq!(shop.creations().len(), 2);

    let saved = std::fs::read_to_string(shop.run_folder().join("report.json")).unwrap();
    assert!(saved.contains("\"MET\""), "{saved}");
}
