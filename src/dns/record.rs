//! Record sets in one spelling, so that two services' words for the same thing compare as equal.

use super::RecordSet;
use crate::resolve::{plain_name, plain_value};

/// The same set in the words that are compared.
pub(super) fn normal(set: Option<&RecordSet>) -> Option<RecordSet> {
    let set = set?;
    let mut values: Vec<String> = set
        .values
        .iter()
        .map(|value| plain_value(&set.kind, value))
        .collect();
    values.sort();
    values.dedup();
    Some(RecordSet {
        name: plain_name(&set.name),
        kind: set.kind.to_ascii_uppercase(),
        ttl: set.ttl,
        values,
    })
}

/// Whether a set that was handed in has just this name and type.
pub(super) fn has_key(set: &RecordSet, name: &str, kind: &str) -> bool {
    plain_name(&set.name) == plain_name(name) && set.kind.eq_ignore_ascii_case(kind)
}

/// In the APIs' words, host names inside a value end with a dot.
pub(super) fn content(kind: &str, value: &str) -> String {
    if matches!(kind, "CNAME" | "NS" | "PTR" | "DNAME" | "MX" | "SRV") && !value.ends_with('.') {
        format!("{value}.")
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_in_one_spelling() {
        let set = |values: &[&str]| RecordSet {
            name: "WWW.shop.example.".into(),
            kind: "aaaa".into(),
            ttl: 60,
            values: values.iter().map(|v| (*v).to_string()).collect(),
        };
        assert_eq!(
            normal(Some(&set(&["2001:DB8:0::2", "2001:db8::1", "2001:db8::1"]))),
            Some(RecordSet {
                name: "www.shop.example".into(),
                kind: "AAAA".into(),
                ttl: 60,
                values: vec!["2001:db8::1".into(), "2001:db8::2".into()],
            })
        );
    }

    #[test]
    fn a_host_name_goes_to_the_api_with_its_final_dot() {
        assert_eq!(content("CNAME", "web.shop.example"), "web.shop.example.");
        assert_eq!(content("A", "192.0.2.1"), "192.0.2.1");
    }
}
