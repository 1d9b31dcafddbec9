//! The grammar of record sets, as the reference words it
//! (<https://docs.hetzner.cloud/reference/cloud#zone-rrsets>).

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::labels::Labels;
use super::order::read_labels;

type Wrong = Vec<(String, String)>;

pub const KINDS: [&str; 16] = [
    "A", "AAAA", "CAA", "CNAME", "DS", "HINFO", "HTTPS", "MX", "NS", "PTR", "RP", "SOA", "SRV",
    "SVCB", "TLSA", "TXT",
];

const LEAST_TTL: u64 = 60;
const LONGEST_TTL: u64 = 2_147_483_647;
const MOST_RECORDS: usize = 50;

/// A record set.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// `None`: the zone's.
    pub ttl: Option<u32>,
    /// Value and comment.
    pub records: Vec<(String, String)>,
    pub labels: Labels,
    pub protected: bool,
}

impl Set {
    pub fn json(&self, zone: i64, name: &str, kind: &str) -> Value {
        let records: Vec<Value> = self
            .records
            .iter()
            .map(|(value, comment)| json!({ "value": value, "comment": comment }))
            .collect();
        json!({
            "id": format!("{name}/{kind}"),
            "name": name,
            "type": kind,
            "ttl": self.ttl,
            "labels": self.labels,
            "protection": { "change": self.protected },
            "records": records,
            "zone": zone,
        })
    }
}

/// Labels in lower case, `*` as the first one if one likes.
pub fn is_name(name: &str) -> bool {
    let label = |(at, label): (usize, &str)| {
        (at == 0 && label == "*")
            || ((1..=63).contains(&label.len())
                && label.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
                }))
    };
    name.len() <= 253 && name.split('.').enumerate().all(label)
}

/// Null and absence both mean the zone's.
pub fn read_ttl(value: Option<&Value>, wrong: &mut Wrong) -> Option<u32> {
    match value {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64() {
            Some(ttl) if (LEAST_TTL..=LONGEST_TTL).contains(&ttl) => u32::try_from(ttl).ok(),
            _ => {
                let why = format!("must be a number from {LEAST_TTL} to {LONGEST_TTL}");
                wrong.push(("ttl".to_owned(), why));
                None
            }
        },
    }
}

/// Reads `records`: some, distinct, each of its type's grammar.
pub fn read_records(value: Option<&Value>, kind: &str, wrong: &mut Wrong) -> Vec<(String, String)> {
    let mut read: Vec<(String, String)> = Vec::new();
    let mut no = |why: String| wrong.push(("records".to_owned(), why));
    let items = value.and_then(Value::as_array).cloned().unwrap_or_default();
    if items.is_empty() || items.len() > MOST_RECORDS {
        no(format!("must hold 1 to {MOST_RECORDS} records"));
    }
    for item in &items {
        let unknown = item.as_object().is_none_or(|fields| {
            fields
                .keys()
                .any(|field| !["value", "comment"].contains(&field.as_str()))
        });
        let comment = item.get("comment").map_or(Some(""), Value::as_str);
        match (item.get("value").and_then(Value::as_str), comment) {
            (Some(value), Some(comment)) if !unknown && fits(kind, value) => {
                if read.iter().any(|(other, _)| other == value) {
                    no(format!("'{value}' comes twice"));
                }
                read.push((value.to_owned(), comment.to_owned()));
            }
            _ => no(format!("{item} is no {kind} record")),
        }
    }
    if kind == "CNAME" && read.len() > 1 {
        no("a CNAME set holds one record".to_owned());
    }
    read
}

fn fits(kind: &str, value: &str) -> bool {
    let host = |name: &str| is_name(name.strip_suffix('.').unwrap_or(name));
    match kind {
        "A" => value.parse::<Ipv4Addr>().is_ok(),
        "AAAA" => value.parse::<Ipv6Addr>().is_ok(),
        "CNAME" | "NS" | "PTR" => host(value),
        "MX" => value
            .split_once(' ')
            .is_some_and(|(rank, name)| rank.parse::<u16>().is_ok() && host(name)),
        "TXT" => value.len() > 1 && value.starts_with('"') && value.ends_with('"'),
        _ => !value.trim().is_empty(),
    }
}

/// Reads a set that is to be created in `zone`, with its name and type.
pub fn check_set(
    body: &Map<String, Value>,
    zone: &str,
    wrong: &mut Wrong,
) -> Option<((String, String), Set)> {
    for field in body.keys() {
        if !["name", "type", "ttl", "records", "labels"].contains(&field.as_str()) {
            wrong.push((field.clone(), "is not a known field".to_owned()));
        }
    }
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    let (name, kind) = (text("name"), text("type"));
    let inside = name == zone || name.ends_with(&format!(".{zone}"));
    if name != "@" && (!is_name(name) || inside) {
        let why = "must be in lower case, without a final dot or the zone's name; @ is the zone";
        wrong.push(("name".to_owned(), why.to_owned()));
    }
    if !KINDS.contains(&kind) || kind == "SOA" {
        wrong.push(("type".to_owned(), "cannot be created".to_owned()));
    }
    let set = Set {
        ttl: read_ttl(body.get("ttl"), wrong),
        records: read_records(body.get("records"), kind, wrong),
        labels: read_labels(body.get("labels"), wrong),
        protected: false,
    };
    wrong
        .is_empty()
        .then(|| ((name.to_owned(), kind.to_owned()), set))
}
