//! Between Hetzner's words and ours: labels, states, sizes and error codes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::wire;
use crate::http::hetzner::check_label;
use crate::provider::firewall::{Direction, Firewall, Rule, normal};
use crate::provider::snapshot::{Snapshot, State};
use crate::provider::{Power, Server, ServerSpec, SizeOffer, Tags};

pub(super) const RUN: &str = "dr-plan/run";
pub(super) const STEP: &str = "dr-plan/step";

/// The most bytes of user data that the API takes.
const LONGEST_USER_DATA: usize = 32 * 1024;

/// The marks of a step, and what else the client puts on all that it makes.
pub(super) fn labels(tags: &Tags, more: &BTreeMap<String, String>) -> Value {
    let mut all = more.clone();
    all.insert(RUN.to_string(), tags.run.clone());
    all.insert(STEP.to_string(), tags.step.clone());
    json!(all)
}

pub(super) fn selector(run: &str, step: Option<&str>) -> String {
    match step {
        Some(step) => format!("{RUN}={run},{STEP}={step}"),
        None => format!("{RUN}={run}"),
    }
}

/// What the API would refuse, found before anything is sent.
pub(super) fn check_spec(spec: &ServerSpec) -> Result<(), String> {
    check_label(&spec.tags.run)?;
    check_label(&spec.tags.step)?;
    let name = &spec.name;
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !(1..=63).contains(&name.len()) || !plain || name.starts_with('-') || name.ends_with('-') {
        return Err(format!(
            "`{name}` cannot be a server's name: 1 to 63 of `a-z`, `0-9` and `-`, no `-` at its ends (RFC 1123)"
        ));
    }
    if spec.user_data.len() > LONGEST_USER_DATA {
        return Err(format!(
            "the user data has {} bytes, at most {LONGEST_USER_DATA} are taken",
            spec.user_data.len()
        ));
    }
    Ok(())
}

/// Our marks, if both are there.
fn tags(labels: &BTreeMap<String, String>) -> Option<Tags> {
    let tag = |key: &str| labels.get(key).cloned();
    tag(RUN)
        .zip(tag(STEP))
        .map(|(run, step)| Tags { run, step })
}

pub(super) fn snapshot(wire: wire::Image) -> Snapshot {
    Snapshot {
        id: wire.id.to_string(),
        name: wire.description,
        state: match wire.status.as_str() {
            "available" => State::Ready,
            "unavailable" => State::Broken,
            _ => State::Making,
        },
        of: wire.created_from.as_ref().map(|of| of.id.to_string()),
        of_name: wire.created_from.map(|of| of.name),
        taken: wire.created.parse().ok(),
        disk: (wire.disk_size * 1e9) as u64,
        architecture: wire.architecture,
        tags: tags(&wire.labels),
    }
}

pub(super) fn firewall(wire: wire::Firewall, ours: bool) -> Firewall {
    let rule = |rule: wire::Rule| {
        let outward = rule.direction == "out";
        Rule {
            direction: if outward {
                Direction::Out
            } else {
                Direction::In
            },
            protocol: rule.protocol,
            port: rule.port,
            networks: if outward {
                rule.destination_ips
            } else {
                rule.source_ips
            },
        }
    };
    let applied = wire.applied_to.into_iter().filter_map(|one| one.server);
    let mut servers: Vec<String> = applied.map(|server| server.id.to_string()).collect();
    servers.sort();
    Firewall {
        id: wire.id.to_string(),
        name: wire.name,
        rules: normal(wire.rules.into_iter().map(rule)),
        servers,
        ours,
    }
}

pub(super) fn server(wire: wire::Server) -> Server {
    let tags = tags(&wire.labels);
    Server {
        id: wire.id.to_string(),
        power: power(&wire.status),
        ipv4: wire
            .public_net
            .ipv4
            .and_then(|a| a.ip)
            .and_then(|ip| ip.parse::<Ipv4Addr>().ok()),
        ipv6: wire
            .public_net
            .ipv6
            .and_then(|a| a.ip)
            .and_then(|ip| ipv6(&ip)),
        name: wire.name,
        region: wire.location.name,
        size: wire.server_type.name,
        tags,
        protected: wire.protection.delete,
    }
}

/// A server is given a /64 and answers at its `::1`.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    match text.split_once('/') {
        Some((network, _)) => {
            let network: Ipv6Addr = network.parse().ok()?;
            Some(Ipv6Addr::from(u128::from(network) | 1))
        }
        None => text.parse().ok(),
    }
}

pub(super) fn server_power(wire: &wire::Server) -> Power {
    power(&wire.status)
}

fn power(status: &str) -> Power {
    match status {
        "running" => Power::On,
        "initializing" | "starting" => Power::Starting,
        "stopping" | "deleting" => Power::Stopping,
        "off" => Power::Off,
        _ => Power::Other,
    }
}

pub(super) fn offer(wire: wire::ServerType, region: &str) -> SizeOffer {
    let price = wire.prices.iter().find(|price| price.location == region);
    let available = match &wire.locations {
        Some(locations) => locations
            .iter()
            .find(|offer| offer.name == region)
            .is_some_and(|offer| offer.available != Some(false)),
        None => price.is_some(),
    };
    SizeOffer {
        cpus: wire.cores as u32,
        memory: (wire.memory * 1_073_741_824.0) as u64,
        disk: (wire.disk * 1e9) as u64,
        available,
        monthly: price
            .and_then(|price| price.price_monthly.as_ref())
            .and_then(|monthly| monthly.net.as_ref())
            .and_then(|net| net.parse().ok()),
        name: wire.name,
        architecture: wire.architecture,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_new_words_and_missing_fields_is_still_read() {
        let wire: wire::Server = serde_json::from_str(
            r#"{"id": 123456789012345, "status": "levitating", "labels": null, "public_net": {"ipv4": null,
                "ipv6": {"ip": "2001:db8:1:2::/64", "shape": "new"}}, "assignee_type": "unassigned"}"#,
        )
        .unwrap();
        let server = server(wire);
        assert_eq!(server.id, "123456789012345");
        assert_eq!(server.power, Power::Other);
        assert_eq!(server.ipv4, None);
        assert_eq!(server.ipv6, Some("2001:db8:1:2::1".parse().unwrap()));
        assert_eq!(server.tags, None);
    }

    #[test]
    fn a_server_is_ours_only_with_both_marks() {
        let with = |labels: &str| {
            let text = format!(r#"{{"id": 1, "labels": {labels}}}"#);
            server(serde_json::from_str(&text).unwrap()).tags
        };
        assert_eq!(with(r#"{"dr-plan/run": "r"}"#), None);
        assert_eq!(
            with(r#"{"dr-plan/run": "r", "dr-plan/step": "s", "more": ""}"#),
            Some(Tags {
                run: "r".into(),
                step: "s".into()
            })
        );
    }

    #[test]
    fn a_size_is_offered_only_where_the_api_says_so() {
        let wire = |locations: &str| -> wire::ServerType {
            serde_json::from_str(&format!(
                r#"{{"name": "cx23", "cores": 2, "memory": 4.0, "disk": 40, "architecture": "x86", "locations": {locations},
                "prices": [{{"location": "nbg1", "price_monthly": {{"net": "3.4900", "gross": "4.15"}}}}]}}"#
            ))
            .unwrap()
        };
        let here = r#"[{"name": "nbg1", "available": true}, {"name": "fsn1", "available": false}]"#;
        let offer_in = |region| offer(wire(here), region);
        assert!(offer_in("nbg1").available && offer_in("nbg1").monthly == Some(3.49));
        assert!(!offer_in("fsn1").available);
        assert!(!offer_in("hel1").available);
        assert_eq!(offer_in("nbg1").memory, 4 << 30);
        // Before the API told availability, a price was all there was.
        assert!(offer(wire("null"), "nbg1").available);
    }
}
