//! The services around the world's machines, each asked as its clients ask it: over the network,
//! with real programs on the other side.

mod hetzner;
mod hetzner_faults;
mod hetzner_refusals;
mod hetzner_zones;
pub mod http;
pub mod machines;
pub mod names;
mod shop;
mod side_by_side;
mod specification;
mod store;

/// A mistake in a client must not be repeated by its judge.
#[test]
fn the_simulators_use_no_part_of_the_clients_they_judge() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox");
    let clients = ["provider", "dns", "http", "store", "resolve", "account"];
    let mut waiting = vec![
        folder.join("api"),
        folder.join("names"),
        folder.join("shop"),
    ];
    let mut files = ["listen.rs", "secrets.rs", "surroundings.rs", "store.rs"]
        .map(|file| folder.join(file))
        .to_vec();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                Some(_) => files.push(path),
                None => waiting.push(path),
            }
        }
    }
    assert!(files.len() > 15, "the search went to the wrong place");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for client in clients {
            let path = format!("crate::{client}");
            let used = text.match_indices(&path).any(|(at, _)| {
                let next = text[at + path.len()..].chars().next();
                !next.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
            });
            assert!(!used, "{} uses {path}", file.display());
        }
    }
}
