//! A run that is killed at one record after the other and taken up each time.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::guards::shop::{Ran, Shop};

/// Kills the run at each accident (`crash:STEP`: its intent is on disk and nothing is done; `crash-after:STEP`: the effect is
/// there and nobody has looked), in their order, and resumes it to its end. `between` sees the run after each death.
/// Gives back the last run and the kinds that were hit.
pub fn killed(
    shop: &Shop,
    plan: &Path,
    accidents: &[&str],
    mut between: impl FnMut(&str, &Ran),
) -> (Ran, BTreeSet<String>) {
    let mut kinds = BTreeSet::new();
    let mut ran: Option<Ran> = None;
    for accident in accidents {
        let now = match &ran {
            None => shop.run(plan, &["--inject", accident]),
            Some(ran) => shop.resume_with(ran, &["--inject", accident]),
        };
        // Ended by a signal: there is no exit code.
        assert_eq!(now.code, None, "{accident}: {}", now.said());
        let (word, step) = accident.split_once(':').unwrap();
        let header = &now.events()[0];
        let steps = header["steps"].as_array().unwrap();
        let bound = steps.iter().find(|bound| bound["id"] == step).unwrap();
        if word == "crash" && bound["effect"] != "read" {
            assert_eq!(last_event_of(&now, step), "intent", "{accident}");
        } else {
            assert_ne!(last_event_of(&now, step), "done", "{accident}");
        }
        kinds.insert(bound["kind"].as_str().unwrap().to_owned());
        between(accident, &now);
        ran = Some(now);
    }
    let ran = shop.resume(&ran.expect("there is an accident"));
    assert!(matches!(ran.code, Some(0 | 8)), "{}", ran.said());
    (ran, kinds)
}

/// The last record of a step that says how far it is.
fn last_event_of(ran: &Ran, step: &str) -> String {
    let told = ["observed", "log", "progress", "prechecked", "note", "made"];
    let events = ran.events();
    let said = |what: &&Value| {
        what["step"] == step && !told.contains(&what["event"].as_str().unwrap_or_default())
    };
    let last = events.iter().rev().find(said);
    last.map_or(String::new(), |what| {
        what["event"].as_str().unwrap().to_owned()
    })
}
