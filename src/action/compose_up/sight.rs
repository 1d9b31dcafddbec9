//! What a host says of a deployment: the lines that `look.sh` and `kept.sh` print.

use std::collections::BTreeMap;

/// What the host says.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// Hash, `absent` or `other`, by key.
    pub(super) files: BTreeMap<String, String>,
    pub(super) units: BTreeMap<String, UnitState>,
    /// What was kept of before is let go of.
    pub(super) released: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitState {
    pub(super) active: String,
    pub(super) enabled: String,
    pub(super) pending: bool,
    /// Another one for each start (systemd.exec(5), INVOCATION_ID).
    pub(super) start: String,
}

impl Sight {
    /// `file KEY HASH`, `unit NAME ACTIVE ENABLED PENDING INVOCATION` and `released`; other lines are of no meaning here.
    pub(super) fn read(said: &str) -> Self {
        let mut sight = Self::default();
        for line in said.lines() {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["file", key, hash] => {
                    sight.files.insert((*key).to_string(), (*hash).to_string());
                }
                ["released"] => sight.released = true,
                ["unit", unit, active, rest @ ..] => {
                    let word = |at: usize| rest.get(at).copied().unwrap_or_default().to_string();
                    let state = UnitState {
                        active: (*active).to_string(),
                        enabled: word(0),
                        pending: word(1) == "yes",
                        start: word(2),
                    };
                    sight.units.insert((*unit).to_string(), state);
                }
                _ => {}
            }
        }
        sight
    }
}
