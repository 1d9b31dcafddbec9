//! `assumes_lost`: nothing that the plan needs may live in what it takes for lost. A recovery that restores from the
//! burning building is found here, in peace.

use std::collections::BTreeSet;

use super::{Sources, args};
use crate::inventory::Location;
use crate::problem::{Place, Problem, nearest};
use crate::template::is_template;
use crate::yaml::Node;

/// Finds places, hosts and stores that the plan needs and takes for lost.
pub(super) fn check(sources: &Sources, problems: &mut Vec<Problem>) {
    let mut lost: Vec<(String, &Place)> = Vec::new();
    for (place, at) in &sources.plan.assumes_lost {
        problems.extend(unknown(sources, place, at));
        lost.extend(regions(sources, place).into_iter().map(|place| (place, at)));
    }
    let inside = |place: &str| {
        regions(sources, place).into_iter().find_map(|place| {
            lost.iter().find(|(lost, _)| {
                place == *lost
                    || place
                        .strip_prefix(lost.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
            })
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
        for value in hosts(&node) {
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

/// A place with a group of regions is each of them.
fn regions(sources: &Sources, place: &str) -> Vec<String> {
    let mut parts = place.splitn(3, '/');
    let (account, region, rest) = (parts.next(), parts.next(), parts.next());
    let group = account
        .and_then(|account| sources.accounts.get(account))
        .zip(region)
        .and_then(|(account, region)| account.regions.get(region));
    match (account, group) {
        (Some(account), Some(group)) => group
            .iter()
            .map(|region| match rest {
                Some(rest) => format!("{account}/{region}/{rest}"),
                None => format!("{account}/{region}"),
            })
            .collect(),
        _ => vec![place.to_string()],
    }
}

/// A place that nothing stands in and no account has is a slip of the pen, and would protect nothing.
fn unknown(sources: &Sources, place: &str, at: &Place) -> Option<Problem> {
    let (account, region) = place.split_once('/')?;
    let hosts = sources.inventory.hosts.values().map(|host| &host.at);
    let stores = sources.inventory.stores.values().map(|store| &store.at);
    let stand: Vec<&Location> = hosts.chain(stores).flatten().collect();
    let mut known: BTreeSet<&str> = stand.iter().map(|at| at.provider.as_str()).collect();
    known.extend(sources.accounts.keys().map(String::as_str));
    if !known.contains(account) {
        let words = format!("nothing stands at `{account}`, and no provider file has that name");
        let problem = Problem::error("unknown-place", at, words);
        return Some(match nearest(account, known) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => {
                problem.help("write provider/region as the hosts of the inventory have it in `at`")
            }
        });
    }
    // What stands there may be just what could not be read.
    if !sources.unread.names.is_empty() || !sources.unread.steps.is_empty() {
        return None;
    }
    let regions = known_regions(sources, account, &stand);
    if regions.contains(region) {
        return None;
    }
    let words = format!(
        "nothing stands in `{place}`: no host and no store, and neither the plan nor a provider file names it"
    );
    let problem = Problem::error("unknown-place", at, words);
    let near = nearest(region, regions.iter().map(String::as_str));
    Some(match near {
        Some(near) => problem.help(format!("did you mean `{account}/{near}`?")),
        None if regions.is_empty() => {
            problem.help("say in `at` of the inventory's hosts and stores where they stand")
        }
        None => {
            let regions: Vec<String> = regions
                .iter()
                .map(|region| format!("`{account}/{region}`"))
                .collect();
            problem.help(format!("known are {}", regions.join(", ")))
        }
    })
}

/// The regions of an account that a host, a store, the account's own file or a place in the plan names.
fn known_regions(sources: &Sources, account: &str, stand: &[&Location]) -> BTreeSet<String> {
    let stand = stand.iter().filter(|at| at.provider == account);
    let mut known: BTreeSet<String> = stand.map(|at| at.region.clone()).collect();
    for (group, regions) in sources
        .accounts
        .get(account)
        .iter()
        .flat_map(|a| &a.regions)
    {
        known.insert(group.clone());
        known.extend(regions.iter().cloned());
    }
    for step in sources.plan.steps.iter().chain(&sources.plan.finally) {
        let node = args::node(step);
        for place in texts(node.get("place")) {
            let text = place.as_str().filter(|text| !is_template(text));
            let mut parts = text.unwrap_or_default().split('/');
            if parts.next() == Some(account) {
                known.extend(parts.next().map(str::to_string));
            }
        }
    }
    known
}

/// Every host that a step names, however deep: its own, those of its gate and of its checks.
pub(super) fn hosts(node: &Node) -> Vec<&Node> {
    let mut found = Vec::new();
    for (key, value) in node.entries() {
        match key.as_str() {
            Some("host") => found.extend(texts(Some(value))),
            // Their keys are the person's own words.
            Some("env" | "secrets" | "records") => {}
            _ => found.extend(hosts(value)),
        }
    }
    for item in node.items() {
        found.extend(hosts(item));
    }
    found
}

/// A text or a list of texts.
pub(super) fn texts(node: Option<&Node>) -> Vec<&Node> {
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
