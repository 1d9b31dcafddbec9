//! In what a second preview is another one than the saved one.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Foreseen, Preview};
use crate::action::Cost;
use crate::kind::Finding;

/// In what a second preview is another one than the saved one. Ages are not compared: time passes.
pub fn differences(saved: &Preview, now: &Preview) -> Vec<String> {
    let mut found = Vec::new();
    let mut differs = |place: &str, was: &str, is: &str| {
        if was != is {
            found.push(format!("{place}: was {was}, is {is}"));
        }
    };
    differs("estate", &saved.estate, &now.estate);
    differs("plan", &saved.plan, &now.plan);
    differs("version of dr-plan", &saved.version, &now.version);
    for (name, was, is) in both(
        saved.files.iter().map(|file| (&file.path, &file.sha256)),
        now.files.iter().map(|file| (&file.path, &file.sha256)),
    ) {
        let path = name.strip_prefix("files").unwrap_or(name);
        match (was, is) {
            (Some(was), Some(is)) if was != is => {
                found.push(format!("{path}: its content was changed"));
            }
            (Some(_), None) => found.push(format!("{path}: is no longer part of it")),
            (None, Some(_)) => found.push(format!("{path}: was not part of it")),
            _ => {}
        }
    }
    let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    for (name, was, is) in both(saved.inputs.iter(), now.inputs.iter()) {
        if was != is {
            found.push(format!("input {name}: was {}, is {}", text(was), text(is)));
        }
    }
    for (id, was, is) in both(
        saved.steps.iter().map(|step| (&step.bound.id, step)),
        now.steps.iter().map(|step| (&step.bound.id, step)),
    ) {
        match (was, is) {
            (Some(was), Some(is)) => found.extend(
                step_differences(was, is)
                    .into_iter()
                    .map(|words| format!("`{id}`: {words}")),
            ),
            (Some(_), None) => found.push(format!("`{id}`: is no step any more")),
            _ => found.push(format!("`{id}`: is a new step")),
        }
    }
    found
}

fn step_differences(was: &Foreseen, is: &Foreseen) -> Vec<String> {
    let mut found = Vec::new();
    if was.bound != is.bound {
        found.push(if was.bound.title == is.bound.title {
            "was written differently".to_string()
        } else {
            format!("was \"{}\", is \"{}\"", was.bound.title, is.bound.title)
        });
    }
    if (was.would, was.surety) != (is.would, is.surety) || steady(&was.what) != steady(&is.what) {
        found.push(format!("was \"{}\", is \"{}\"", was.what, is.what));
    }
    let words = |findings: &[Finding]| -> Vec<(String, String)> {
        let all = findings.iter();
        all.map(|finding| (steady(&finding.what), finding.what.clone()))
            .collect()
    };
    let (before, after) = (words(&was.findings), words(&is.findings));
    let lacks = |list: &[(String, String)], one: &str| !list.iter().any(|(known, _)| known == one);
    for (one, shown) in &before {
        if lacks(&after, one) {
            found.push(format!("found no more: {shown}"));
        }
    }
    for (one, shown) in &after {
        if lacks(&before, one) {
            found.push(format!("found now: {shown}"));
        }
    }
    for (key, old, new) in both(was.seen.iter(), is.seen.iter()) {
        if old != new {
            let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
            found.push(format!("{key}: was {}, is {}", text(old), text(new)));
        }
    }
    if was.message != is.message {
        found.push("its message is another one".into());
    }
    if was.costs != is.costs {
        let words = |costs: &[Cost]| -> String {
            let all = costs.iter().map(|cost| match cost.monthly {
                Some(price) => format!("{} for {price:.2} a month", cost.what),
                None => cost.what.clone(),
            });
            all.collect::<Vec<_>>().join(", ")
        };
        found.push(format!(
            "was {}, is {}",
            words(&was.costs),
            words(&is.costs)
        ));
    }
    found
}

/// Both sides by name, in the order of the first, then what only the second has.
fn both<'a, K: std::hash::Hash + Eq + 'a, V>(
    left: impl Iterator<Item = (&'a K, V)>,
    right: impl Iterator<Item = (&'a K, V)>,
) -> Vec<(&'a K, Option<V>, Option<V>)> {
    let right: Vec<(&K, V)> = right.collect();
    let mut order: Vec<&K> = right.iter().map(|(name, _)| *name).collect();
    let mut there: HashMap<&K, V> = right.into_iter().collect();
    let mut all = Vec::new();
    let mut met = HashSet::new();
    for (name, value) in left {
        met.insert(name);
        all.push((name, Some(value), there.remove(name)));
    }
    order.retain(|name| !met.contains(name));
    for name in order {
        if let Some(value) = there.remove(name) {
            all.push((name, None, Some(value)));
        }
    }
    all
}

/// A text without its ages: `12m07s` and `2d04h` say when it was looked, not what was there.
fn steady(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest
            .find(|c: char| {
                !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_' | '/'))
            })
            .unwrap_or(rest.len());
        let word = &rest[..end];
        out.push_str(if is_age(word) { "~" } else { word });
        rest = &rest[end..];
    }
    out.push_str(rest);
    // Told from now as long as nobody says what is lost.
    out.replace("~ before the loss", "~ old")
}

/// Digits and units of time by turns: `7s`, `3h20m`, `1.5s`, `30ms`.
fn is_age(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':']);
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(0);
        let unit = &rest[digits..];
        let Some(unit) = ["ms", "s", "m", "h", "d"].iter().find(|known| {
            unit.strip_prefix(**known).is_some_and(|after| {
                after.is_empty() || after.starts_with(|c: char| c.is_ascii_digit())
            })
        }) else {
            return false;
        };
        if digits == 0 {
            return false;
        }
        rest = &rest[digits + unit.len()..];
    }
    !word.is_empty()
}

#[cfg(test)]
mod tests {
    use super::{is_age, steady};

    #[test]
    fn ages_are_told_from_everything_else() {
        for age in ["7s", "12m07s", "3h20m", "2d04h", "1.5s", "30ms", "5s."] {
            assert!(is_age(age), "{age}");
        }
        for other in [
            "",
            "s",
            "5",
            "15.2",
            "cx33",
            "4GiB",
            "2026-01-01T00:00:00Z",
            "5sec",
            "md5s",
        ] {
            assert!(!is_age(other), "{other}");
        }
        assert_eq!(
            steady(
                "v:shop-20261121T125103Z.dump (taken 2026-11-21T12:51:03Z, 5m03s before the loss), 38.5 KiB"
            ),
            "v:shop-20261121T125103Z.dump (taken 2026-11-21T12:51:03Z, ~ old), 38.5 KiB"
        );
    }
}
