//! Time zones by their IANA names. Their rules are the machine's own (Debian's `tzdata`), which is renewed when a parliament
//! changes the clocks; none are built in. UTC needs none.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::problem::{Place, Problem, nearest};

/// A zone by the name that was written at `place`, on this machine.
pub fn zone(name: &str, place: &Place) -> Result<TimeZone, Problem> {
    zone_of(jiff::tz::db(), name, place)
}

/// The same where nothing is to be said about the text.
pub fn zone_named(name: &str) -> Option<TimeZone> {
    known_as(jiff::tz::db(), name)
}

fn known_as(known: &TimeZoneDatabase, name: &str) -> Option<TimeZone> {
    match name.eq_ignore_ascii_case("UTC") {
        true => Some(TimeZone::UTC),
        false => known.get(name).ok(),
    }
}

fn zone_of(known: &TimeZoneDatabase, name: &str, place: &Place) -> Result<TimeZone, Problem> {
    if let Some(zone) = known_as(known, name) {
        return Ok(zone);
    }
    let names: Vec<String> = known.available().map(|name| name.to_string()).collect();
    if names.is_empty() {
        let words = format!("this machine has no time zones to look `{name}` up in");
        return Err(Problem::error("no-zones", place, words)
            .help("install `tzdata`, or let TZDIR name the folder that its zones lie in; `UTC` needs none"));
    }
    let problem = Problem::error(
        "unknown-zone",
        place,
        format!("there is no time zone `{name}`"),
    );
    Err(match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => problem.instead(near),
        None => problem.help("write an IANA name such as `Europe/Berlin`, or `UTC`"),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::problem::Source;

    fn place() -> Place {
        let source = Arc::new(Source {
            name: "plan.yaml".into(),
            text: "zone: X".into(),
        });
        Place {
            source,
            start: 6,
            end: 7,
        }
    }

    #[test]
    fn utc_needs_no_zones_and_all_else_says_what_is_missing() {
        let none = TimeZoneDatabase::none();
        assert_eq!(zone_of(&none, "UTC", &place()).unwrap(), TimeZone::UTC);
        assert_eq!(zone_of(&none, "utc", &place()).unwrap(), TimeZone::UTC);
        let problem = zone_of(&none, "Europe/Berlin", &place()).unwrap_err();
        assert_eq!(problem.code, "no-zones");
        assert!(problem.message.contains("`Europe/Berlin`"), "{problem:?}");
        assert!(problem.help.unwrap().contains("install `tzdata`"));
    }
}
