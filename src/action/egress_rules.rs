//! Reading what nft shows of the rules of a drill: whether they hold, and what they kept from leaving.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a server kept from leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The rules were still there when they were asked.
    pub closed: bool,
    /// Packets.
    pub packets: u64,
    /// Where to, each with its packets, the most first: `192.0.2.7 tcp 25`.
    pub tried: Vec<(String, u64)>,
}

fn objects<'a>(rules: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = rules["nftables"].as_array().into_iter().flatten();
    all.filter_map(move |one| one.get(kind))
}

/// Both ways out end in a drop, and are judged by our rules.
pub(super) fn is_closed(rules: &Value) -> bool {
    let both = ["output", "forward"].iter().all(|name| {
        objects(rules, "chain").any(|chain| {
            chain["name"] == *name && chain["hook"] == *name && chain["policy"] == "drop"
        })
    });
    // The last word of the rules is no: nobody has put an accept of everything before it.
    let open = objects(rules, "rule").any(|rule| {
        let said = rule["expr"].as_array();
        said.is_some_and(|said| said.len() == 1 && said[0].get("accept").is_some())
    });
    both && !open
}

/// All that decides what may leave, in a few letters. What the kernel counts, numbers and learns, and who the others are, is left out.
pub(super) fn fingerprint(rules: &Value) -> String {
    let mut all = String::new();
    for one in rules["nftables"].as_array().into_iter().flatten() {
        let Some((kind, object)) = one.as_object().and_then(|one| one.iter().next()) else {
            continue;
        };
        let fields = object.as_object().into_iter().flatten();
        // By name: the order of the fields is not promised.
        let mut fields: BTreeMap<&str, Value> = fields
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        fields.remove("handle");
        let name = fields.get("name").and_then(Value::as_str);
        let learned =
            name.is_some_and(|name| name.starts_with("tried") || name.starts_with("peers"));
        match kind.as_str() {
            "metainfo" => continue,
            "counter" => fields.retain(|name, _| !matches!(*name, "packets" | "bytes")),
            "set" if learned => fields.retain(|name, _| *name != "elem"),
            "set" => {
                // A set has no order.
                if let Some(Value::Array(elements)) = fields.get_mut("elem") {
                    elements.sort_by_cached_key(Value::to_string);
                }
            }
            _ => {}
        }
        let fields = serde_json::to_string(&fields).unwrap_or_default();
        let _ = writeln!(all, "{kind} {fields}");
    }
    super::sha256(all.as_bytes())
}

/// What was counted. `loaded`: what [`fingerprint`] said of the rules when they were loaded.
pub(super) fn counted(rules: &Value, loaded: Option<&str>) -> Dropped {
    let mut tried: Vec<(String, u64)> = Vec::new();
    for set in objects(rules, "set") {
        let name = set["name"].as_str().unwrap_or_default();
        if !name.starts_with("tried") {
            continue;
        }
        for one in set["elem"].as_array().into_iter().flatten() {
            let mut place = String::new();
            for part in one["elem"]["val"]["concat"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let between = if place.is_empty() { "" } else { " " };
                let _ = match part.as_str() {
                    Some(text) => write!(place, "{between}{text}"),
                    None => write!(place, "{between}{part}"),
                };
            }
            let packets = one["elem"]["counter"]["packets"].as_u64();
            tried.push((place, packets.unwrap_or_default()));
        }
    }
    tried.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    let counter = objects(rules, "counter").find(|counter| counter["name"] == "dropped");
    Dropped {
        closed: is_closed(rules) && loaded.is_none_or(|loaded| loaded == fingerprint(rules)),
        packets: counter
            .and_then(|counter| counter["packets"].as_u64())
            .unwrap_or_default(),
        tried,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"counter": {"name": "dropped", "packets": 6, "bytes": 400}},
        {"set": {"name": "tried4", "elem": [
            {"elem": {"val": {"concat": ["198.18.1.9", "udp", 53]}, "counter": {"packets": 1, "bytes": 60}}},
            {"elem": {"val": {"concat": ["198.18.1.9", "tcp", 25]}, "counter": {"packets": 4, "bytes": 240}}}]}},
        {"set": {"name": "tried6"}},
        {"set": {"name": "stores4", "elem": ["192.0.2.1", "192.0.2.2"]}},
        {"chain": {"name": "judge"}},
        {"chain": {"name": "output", "hook": "output", "policy": "drop"}},
        {"chain": {"name": "forward", "hook": "forward", "policy": "drop"}},
        {"rule": {"chain": "judge", "expr": [{"match": {}}, {"accept": null}]}},
        {"rule": {"chain": "output", "expr": [{"jump": {"target": "judge"}}]}}]}"#;

    #[test]
    fn what_was_tried_is_counted_for_each_place() {
        let found = counted(&serde_json::from_str(SHOWN).unwrap(), None);
        assert_eq!(
            found,
            Dropped {
                closed: true,
                packets: 6,
                tried: vec![
                    ("198.18.1.9 tcp 25".into(), 4),
                    ("198.18.1.9 udp 53".into(), 1)
                ],
            }
        );
    }

    #[test]
    fn rules_that_let_everything_through_are_not_closed() {
        for (from, to) in [
            (
                r#""hook": "output", "policy": "drop""#,
                r#""hook": "output", "policy": "accept""#,
            ),
            (r#""name": "forward", "hook""#, r#""name": "else", "hook""#),
            (
                r#"[{"match": {}}, {"accept": null}]"#,
                r#"[{"accept": null}]"#,
            ),
        ] {
            let text = SHOWN.replacen(from, to, 1);
            assert_ne!(text, SHOWN);
            assert!(
                !counted(&serde_json::from_str(&text).unwrap(), None).closed,
                "{to}"
            );
        }
    }

    #[test]
    fn rules_that_differ_from_those_that_were_loaded_are_not_closed() {
        let loaded = fingerprint(&serde_json::from_str(SHOWN).unwrap());
        let closed = |from: &str, to: &str| {
            let text = SHOWN.replacen(from, to, 1);
            assert_ne!(text, SHOWN);
            counted(&serde_json::from_str(&text).unwrap(), Some(&loaded)).closed
        };
        let rule = r#"{"rule": {"chain": "judge", "expr": [{"match": {}}"#;
        let first = |expr: &str| {
            closed(
                rule,
                &format!(r#"{{"rule": {{"chain": "judge", "expr": {expr}}}}}, {rule}"#),
            )
        };
        assert!(!first(r#"[{"counter": {}}, {"accept": null}]"#));
        assert!(!first(
            r#"[{"match": {"right": "0.0.0.0/0"}}, {"accept": null}]"#
        ));
        assert!(!closed(r#""name": "stores4""#, r#""name": "stores9""#));
        assert!(!closed(r#""192.0.2.1", "192.0.2.2""#, r#""192.0.2.1""#));
        // What the kernel does by itself.
        assert!(closed(
            r#""192.0.2.1", "192.0.2.2""#,
            r#""192.0.2.2", "192.0.2.1""#
        ));
        assert!(closed(r#""packets": 6"#, r#""packets": 7"#));
        assert!(closed(
            r#"{"chain": "judge", "#,
            r#"{"handle": 4, "chain": "judge", "#
        ));
        assert!(closed(
            r#""name": "tried6""#,
            r#""name": "tried6", "elem": [1]"#
        ));
    }
}
