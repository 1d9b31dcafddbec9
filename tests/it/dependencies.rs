//! What may come into the tree, kept without cargo-deny too: its bans and sources are read from deny.toml and looked for in
//! Cargo.lock. And every dependency has its line in the README.

use std::collections::BTreeSet;

fn text_of(file: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The values of `key = "value"` lines.
fn values<'a>(text: &'a str, key: &str) -> BTreeSet<&'a str> {
    let value = |line: &'a str| {
        line.strip_prefix(key)?
            .trim_start()
            .strip_prefix('=')?
            .trim()
            .strip_prefix('"')?
            .strip_suffix('"')
    };
    text.lines().filter_map(value).collect()
}

/// `{ crate = "name", ...` of the bans.
fn banned(deny: &str) -> BTreeSet<&str> {
    deny.split("{ crate = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

#[test]
fn no_banned_crate_is_in_the_tree() {
    let (deny, lock) = (text_of("deny.toml"), text_of("Cargo.lock"));
    let (banned, used) = (banned(&deny), values(&lock, "name"));
    assert!(banned.contains("openssl-sys") && banned.contains("aws-lc-sys"));
    assert!(used.contains("tokio"), "the lock file is read");
    let both: Vec<_> = banned.intersection(&used).collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn every_crate_comes_from_the_one_registry() {
    let lock = text_of("Cargo.lock");
    let sources = values(&lock, "source");
    assert_eq!(
        sources,
        BTreeSet::from(["registry+https://github.com/rust-lang/crates.io-index"])
    );
}

#[test]
fn the_readme_says_what_each_dependency_is_for() {
    let (manifest, readme) = (text_of("Cargo.toml"), text_of("README.md"));
    let part = manifest
        .split("[dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next())
        .unwrap();
    let names: BTreeSet<&str> = part
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    assert!(names.contains("tokio"));
    let named: BTreeSet<&str> = readme.split('`').skip(1).step_by(2).collect();
    let missing: Vec<_> = names.difference(&named).collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?}");
}
