//! What a sound inventory becomes, and which mistakes in it are found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::problem::Source;

const SHOP: &str = r#"version: 1
name: shop
providers: [../providers/hetzner.yaml, ../providers/powerdns.yaml]
ssh: { user: root, key: { file: ~/.ssh/id_ed25519 }, known_hosts: ./known_hosts }
hosts:
  gate:  { address: 203.0.113.9 }
  db-1:  { address: 203.0.113.10, at: hetzner/fsn1, server: shop-db-1, roles: [db], protected: true, ssh: { jump: gate, user: admin } }
  web-1: { address: 203.0.113.11, at: hetzner/fsn1, server: shop-web-1, roles: [web], ssh: { key: { file: keys/web }, port: 2222 } }
stores:
  vault: { s3: { bucket: shop-backups, endpoint: "https://s3.eu.example", region: eu, access_key: { env: S3_KEY }, secret_key: { file: s3.key } }, at: other/eu }
  shelf: { local: { path: ../backups } }
keys:
  pass: { gpg: { passphrase: { file: ~/.dr/gpg_passphrase } } }
  mine: { age: { identity: { command: [pass, show, age] } } }
datasets:
  shop-db:
    postgres: { host: db-1, version: 15, database: shop, owner: shop }
    backups:
      - { store: vault, path: "postgres/shop-{time:%Y%m%d}.sql.gz.gpg", form: plain, compressed: gzip, key: pass, checksums: manifest.ndjson }
      - { store: shelf, path: "shop-{time}.dump", form: custom, zone: Europe/Berlin }
    max_age: 25h
domains:
  shop.example: { dns: powerdns, ttl: 300 }
notify:
  ops: { webhook: { url: { env: HOOK } } }
  log: { webhook: { url: "http://127.0.0.1:9/x" } }
people:
  ops: [ { name: ada, reach: "+49 30 1" } ]
"#;

fn read_text(text: &str) -> Result<Inventory, Vec<Problem>> {
    let source = Arc::new(Source {
        name: "shop.yaml".into(),
        text: text.into(),
    });
    read(&source, Path::new("/estate/inventories"))
}

fn messages(text: &str) -> Vec<String> {
    read_text(text)
        .unwrap_err()
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}

/// The shop with one part of its text replaced.
fn with(old: &str, new: &str) -> String {
    assert!(SHOP.contains(old), "{old}");
    SHOP.replacen(old, new, 1)
}

#[test]
fn a_whole_inventory_is_read_and_its_paths_are_resolved() {
    let inventory = read_text(SHOP).unwrap();
    assert_eq!(
        inventory.providers[0].0,
        PathBuf::from("/estate/inventories/../providers/hetzner.yaml")
    );
    assert_eq!(
        inventory.ssh.public,
        Some(PathBuf::from("~/.ssh/id_ed25519.pub"))
    );
    let db = &inventory.hosts["db-1"];
    assert_eq!(
        (db.ssh.user.as_str(), db.ssh.jump.as_deref(), db.ssh.port),
        ("admin", Some("gate"), 22)
    );
    assert_eq!(
        db.ssh.known_hosts,
        Some(PathBuf::from("/estate/inventories/./known_hosts"))
    );
    assert_eq!(db.at.as_ref().unwrap().to_string(), "hetzner/fsn1");
    let web = &inventory.hosts["web-1"];
    assert_eq!(
        web.ssh.key,
        Some(SecretRef::File("/estate/inventories/keys/web".into()))
    );
    assert_eq!(
        web.ssh.public,
        Some(PathBuf::from("/estate/inventories/keys/web.pub"))
    );
    assert_eq!((web.ssh.user.as_str(), web.ssh.port), ("root", 2222));
    let StoreKind::S3(s3) = &inventory.stores["vault"].kind else {
        panic!()
    };
    assert_eq!(
        s3.secret_key,
        SecretRef::File("/estate/inventories/s3.key".into())
    );
    assert_eq!(s3.style, UrlStyle::Path);
    assert_eq!(
        inventory.stores["shelf"].kind,
        StoreKind::Local("/estate/inventories/../backups".into())
    );
    assert_eq!(
        inventory.keys["pass"],
        Key::GpgPassphrase(SecretRef::File("~/.dr/gpg_passphrase".into()))
    );
    let backups = &inventory.datasets["shop-db"].backups;
    assert_eq!(
        (backups[0].form, backups[0].compressed),
        (Form::Plain, Compression::Gzip)
    );
    assert_eq!(
        (backups[1].form, backups[1].zone.as_deref()),
        (Form::Custom, Some("Europe/Berlin"))
    );
    assert_eq!(
        inventory.notify["ops"].kind,
        ChannelKind::Webhook(Address::Secret(SecretRef::Env("HOOK".into())))
    );
    assert_eq!(
        inventory.notify["log"].kind,
        ChannelKind::Webhook(Address::Text("http://127.0.0.1:9/x".into()))
    );
    assert_eq!(inventory.people["ops"][0].name, "ada");
    assert_eq!(inventory.check_accounts(&["hetzner", "powerdns"]), []);
}

#[test]
fn the_zone_of_a_name_is_the_longest_domain_above_it() {
    let text = with(
        "domains:\n",
        "domains:\n  eu.shop.example: { dns: powerdns }\n",
    );
    let inventory = read_text(&text).unwrap();
    let zone = |name: &str| inventory.zone_of(name).map(|domain| domain.name.as_str());
    assert_eq!(zone("www.shop.example"), Some("shop.example"));
    assert_eq!(zone("www.eu.shop.example"), Some("eu.shop.example"));
    assert_eq!(zone("shop.example"), Some("shop.example"));
    assert_eq!(zone("workshop.example"), None);
}

#[test]
fn every_name_must_be_known() {
    assert_eq!(
        messages(&with("host: db-1", "host: db-2")),
        ["there is no host `db-2`"]
    );
    assert_eq!(
        messages(&with("store: vault", "store: valt")),
        ["there is no store `valt`"]
    );
    assert_eq!(
        messages(&with("key: pass", "key: paas")),
        ["there is no key `paas`"]
    );
    assert_eq!(
        messages(&with("jump: gate", "jump: gat")),
        ["there is no host `gat`"]
    );
    let accounts = read_text(SHOP).unwrap().check_accounts(&["hetzner-eu"]);
    let found: Vec<&str> = accounts
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(
        found,
        [
            "there is no provider file with the name `hetzner`",
            "there is no provider file with the name `hetzner`",
            "there is no provider file with the name `powerdns`",
        ]
    );
}

#[test]
fn hosts_that_are_only_reached_through_each_other_are_a_problem() {
    let text = with(
        "gate:  { address: 203.0.113.9 }",
        "gate:  { address: 203.0.113.9, ssh: { jump: db-1 } }",
    );
    assert_eq!(
        messages(&text),
        [
            "these hosts are only reached through each other: `gate` through `db-1` through `gate`",
            "these hosts are only reached through each other: `db-1` through `gate` through `db-1`",
        ]
    );
    assert_eq!(
        messages(&with("jump: gate", "jump: db-1")),
        ["a host cannot be reached through itself"]
    );
}

#[test]
fn what_is_not_carried_out_yet_says_so() {
    for (old, new, key) in [
        ("max_age: 25h", "keep: { daily: 7 }", "keep"),
        ("max_age: 25h", "copies: [mirror]", "copies"),
        ("max_age: 25h", "schedule: \"0 3 * * *\"", "schedule"),
        (
            "postgres: { host: db-1, version: 15, database: shop, owner: shop }",
            "redis: { host: db-1 }",
            "redis",
        ),
        ("local: { path: ../backups }", "sftp: { host: nas }", "sftp"),
        (
            "webhook: { url: { env: HOOK } }",
            "pagerduty: { key: { env: HOOK } }",
            "pagerduty",
        ),
        (
            "gpg: { passphrase: { file: ~/.dr/gpg_passphrase } }",
            "openssl: { cipher: x }",
            "openssl",
        ),
        ("form: custom", "form: basebackup", "basebackup"),
        ("{ env: S3_KEY }", "{ sops: x }", "sops"),
    ] {
        assert_eq!(
            messages(&with(old, new)),
            [format!("`{key}` is not carried out by this version yet")]
        );
    }
}

#[test]
fn a_thing_is_of_exactly_one_kind() {
    assert_eq!(
        messages(&with("local: { path: ../backups }", "at: x/y")),
        ["`shelf` does not say what it is"]
    );
    let both = with("at: other/eu }", "local: { path: x }, at: other/eu }");
    assert_eq!(messages(&both), ["it is `s3` or `local`, not both"]);
}

#[test]
fn mistakes_in_values_are_found_together() {
    let text = with("{ dns: powerdns, ttl: 300 }", "{ dns: powerdns, ttl: 0 }")
        .replace("at: other/eu", "at: eu")
        .replace("shop-{time}.dump", "shop.dump")
        .replace("Europe/Berlin", "Europe/Bärlin")
        .replace("max_age: 25h", "max_age: 1 day");
    let found = messages(&text);
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found[0], "`eu` is no place");
}

#[test]
fn a_secret_is_a_reference_and_never_a_value() {
    let found = messages(&with("{ env: S3_KEY }", "AKIAEXAMPLE"));
    assert_eq!(
        found,
        ["expected a group with one of `env`, `file`, `command`, found a text"]
    );
}
