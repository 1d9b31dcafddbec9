//! Nothing goes wrong: the figures of the report are those of the world.

use jiff::Timestamp;

use super::shop::Shop;

#[test]
fn a_lost_region_comes_back_in_another_one_with_the_orders_of_the_backup() {
    let shop = Shop::up("plain");
    shop.order();
    let kept = shop.newest();
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
    let saved = std::fs::read_to_string(shop.run_folder().join("report.json")).unwrap();
    assert!(saved.contains("\"MET\""), "{saved}");
}
