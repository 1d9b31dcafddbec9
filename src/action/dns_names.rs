//! Records as a plan names them (`@`, `www`) and as name servers do.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Bind;
use crate::problem::{Problem, nearest};
use crate::yaml::Node;

/// A record set that should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The whole name, lower case, without a final dot.
    pub(super) name: String,
    /// `A` or `AAAA`, by the address.
    pub(super) kind: &'static str,
    /// The values, sorted.
    pub(super) values: Vec<String>,
}

/// The whole name of a relative one.
pub(super) fn whole(domain: &str, name: &str) -> String {
    let domain = domain.trim_end_matches('.').to_lowercase();
    match name {
        "@" | "" => domain,
        name => format!("{}.{domain}", name.to_lowercase()),
    }
}

/// Checks names and addresses.
pub(super) fn wanted_records(
    domain: &str,
    records: &BTreeMap<String, String>,
    args: &Node,
) -> Result<Vec<Wanted>, Vec<Problem>> {
    let place = args.place_of("records");
    let mut problems = Vec::new();
    let mut wanted = Vec::new();
    if records.is_empty() {
        problems.push(
            Problem::error("no-records", place, "no record is named")
                .help("for example `\"@\": \"{{steps.web.ipv4}}\"`"),
        );
    }
    for (name, value) in records {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
        if name != "@" && (name.is_empty() || !name.chars().all(plain) || name.ends_with('.')) {
            let words = format!(
                "`{name}` is no name within {domain}: write `@` for the domain itself, `www` for www.{domain}"
            );
            problems.push(Problem::error("bad-record-name", place, words));
        }
        match value.parse::<IpAddr>() {
            Ok(ip) => {
                let one = Wanted {
                    name: whole(domain, name),
                    kind: if ip.is_ipv4() { "A" } else { "AAAA" },
                    values: vec![ip.to_string()],
                };
                let same = |other: &&Wanted| other.name == one.name && other.kind == one.kind;
                if wanted.iter().find(same).is_some() {
                    let words = format!("`{name}` is named twice: capitals make no other name");
                    problems.push(Problem::error("same-name", place, words));
                }
                wanted.push(one);
            }
            Err(_) => problems.push(Problem::error(
                "bad-address",
                place,
                format!("`{value}` is not an IP address"),
            )),
        }
    }
    if problems.is_empty() {
        Ok(wanted)
    } else {
        Err(problems)
    }
}

/// The account that serves a domain of the inventory.
pub(super) fn account_of(domain: &str, args: &Node, bind: &Bind) -> Result<String, Problem> {
    match bind.inventory.domains.get(domain) {
        Some(found) => Ok(found.dns.clone()),
        None => {
            let place = args.place_of("domain");
            let problem = Problem::error(
                "unknown-domain",
                place,
                format!("the inventory has no domain `{domain}`"),
            );
            Err(
                match nearest(domain, bind.inventory.domains.keys().map(String::as_str)) {
                    Some(near) => problem.instead(near),
                    None => problem.help("add it under `domains:` of the inventory"),
                },
            )
        }
    }
}
