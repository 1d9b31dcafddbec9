//! `assumes_lost`: nothing that the plan needs may live in what it takes for lost. A recovery that restores from the
//! burning building is found here, in peace.

use super::{Sources, args};
use crate::problem::{Place, Problem};
use crate::template::is_template;
use crate::yaml::Node;

/// Finds places, hosts and stores that the plan needs and takes for lost.
pub(super) fn check(sources: &Sources, problems: &mut Vec<Problem>) {
    let lost: Vec<(&str, &Place)> = sources
        .plan
        .assumes_lost
        .iter()
        .map(|(place, at)| (place.as_str(), at))
        .collect();
    let inside = |place: &str| {
        lost.iter().find(|(lost, _)| {
            place == *lost
                || place
                    .strip_prefix(lost)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    };
    for step in sources.plan.steps.iter().chain(&sources.plan.finally) {
        let node = args::node(step);
        // Fencing what was lost is the one thing that is done there.
        if matches!(args::kind(step), "server.power" | "server.delete") {
            continue;
        }
        for value in texts(node.get("place")) {
            let text = value.as_str().unwrap_or_default();
            if let Some((lost, at)) = inside(text) {
                problems.push(
                    Problem::error(
                        "in-blast-radius",
                        &value.place,
                        format!("`{text}` lies in `{lost}`"),
                    )
                    .remark("the plan creates a server here")
                    .also(at, "and takes this for lost"),
                );
            }
        }
        for value in texts(node.get("host")) {
            let host = value
                .as_str()
                .filter(|text| !is_template(text))
                .and_then(|name| sources.inventory.hosts.get(name));
            let place = host
                .and_then(|host| host.at.as_ref())
                .map(ToString::to_string);
            if let Some((lost, at)) = place.as_deref().and_then(inside) {
                let words = format!(
                    "host `{}` stands in `{lost}`",
                    value.as_str().unwrap_or_default()
                );
                problems.push(
                    Problem::error("in-blast-radius", &value.place, words)
                        .remark("the plan needs it")
                        .also(at, "and takes this for lost"),
                );
            }
        }
        for value in texts(node.get("dataset"))
            .into_iter()
            .chain(texts(node.get("datasets")))
        {
            let Some(dataset) = value
                .as_str()
                .and_then(|name| sources.inventory.datasets.get(name))
            else {
                continue;
            };
            let stores: Vec<(&str, Option<String>)> = dataset
                .backups
                .iter()
                .map(|backup| {
                    (
                        backup.store.as_str(),
                        sources
                            .inventory
                            .stores
                            .get(&backup.store)
                            .and_then(|store| store.at.as_ref())
                            .map(ToString::to_string),
                    )
                })
                .collect();
            // One store outside is enough to come back from.
            let all_lost = !stores.is_empty()
                && stores
                    .iter()
                    .all(|(_, at)| at.as_deref().and_then(inside).is_some());
            if let (true, Some((lost, at))) = (
                all_lost,
                stores
                    .first()
                    .and_then(|(_, at)| at.as_deref())
                    .and_then(inside),
            ) {
                let names: Vec<&str> = stores.iter().map(|(name, _)| *name).collect();
                let words = format!(
                    "every backup of `{}` lies in `{lost}` ({})",
                    value.as_str().unwrap_or_default(),
                    names.join(", ")
                );
                problems.push(
                    Problem::error("in-blast-radius", &value.place, words)
                        .help("keep a copy of the backups in another place")
                        .also(at, "the plan takes this for lost"),
                );
            }
        }
    }
}

/// A text or a list of texts.
fn texts(node: Option<&Node>) -> Vec<&Node> {
    match node {
        Some(node) if node.as_str().is_some() => vec![node],
        Some(node) => node
            .items()
            .iter()
            .filter(|item| item.as_str().is_some())
            .collect(),
        None => Vec::new(),
    }
}
