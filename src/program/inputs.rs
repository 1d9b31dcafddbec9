//! The inputs' values: given on the command line, or the plan's defaults.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::Plan;
use crate::problem::{Place, Problem, nearest};

/// All of them. A name that the plan does not know, or a value of the wrong type, is a problem. What has none gets a
/// sample, and is named in `without`: nothing that only follows is held against those who refer to it.
pub(super) fn of(
    plan: &Plan,
    given: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
    without: &mut BTreeSet<String>,
) -> serde_json::Map<String, serde_json::Value> {
    let mut values = serde_json::Map::new();
    for input in &plan.inputs {
        let value = match given.get(&input.name) {
            Some(text) => input.read(text),
            None => input
                .default
                .clone()
                .ok_or_else(|| "it has no default and was not given".to_string()),
        };
        match value {
            Ok(value) => {
                values.insert(input.name.clone(), value);
            }
            Err(why) => {
                problems.push(
                    Problem::error(
                        "bad-input",
                        &input.place,
                        format!("input `{}`: {why}", input.name),
                    )
                    .help(format!("--input {}=...", input.name)),
                );
                values.insert(input.name.clone(), input.sample());
                without.insert(input.name.clone());
            }
        }
    }
    let start = Place {
        source: plan.source.clone(),
        start: 0,
        end: 0,
    };
    for name in given
        .keys()
        .filter(|name| !plan.inputs.iter().any(|input| input.name == **name))
    {
        let problem = Problem::error(
            "unknown-input",
            &start,
            format!("`--input {name}=...`: the plan has no such input"),
        );
        problems.push(
            match nearest(name, plan.inputs.iter().map(|input| input.name.as_str())) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            },
        );
    }
    values
}
