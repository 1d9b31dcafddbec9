//! What is to be said of a drill besides its result: whether all of it is gone, and what its servers tried to reach.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::words::moment;
use crate::ids::StepId;
use crate::state::RunState;

/// A drill.
#[derive(Debug, Clone, Serialize)]
pub struct DrillReport {
    /// From then on whatever still stands may be taken away.
    pub expires: Timestamp,
    /// It was left standing on purpose.
    pub kept: bool,
    /// Things made, and proved gone.
    pub deleted: usize,
    /// Things made that nobody has proved gone.
    pub standing: usize,
    /// Each server, as it was asked at the end.
    pub egress: Vec<EgressLine>,
}

/// What a server kept from leaving.
#[derive(Debug, Clone, Serialize)]
pub struct EgressLine {
    /// The server.
    pub host: String,
    /// The step that made it.
    pub step: StepId,
    /// What it said; none if it could not be asked at the end.
    pub asked: Option<Kept>,
}

/// Counted on the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The rules were still there.
    pub closed: bool,
    /// Packets that did not leave.
    pub packets: u64,
    /// Where to, and how many: `192.0.2.7 tcp 25`.
    pub tried: Vec<(String, u64)>,
}

/// So many places are named.
const MANY: usize = 8;

impl DrillReport {
    /// None if it is no drill.
    pub(super) fn of(state: &RunState) -> Option<Self> {
        let drill = state.header.drill.as_ref()?;
        let closed = state.steps.iter().filter_map(|step| {
            step.notes.get("egress")?;
            let host = step.notes.get("host")?.get("name")?.as_str()?.to_string();
            let asked = step.notes.get("dropped").cloned();
            Some(EgressLine {
                host,
                step: step.bound.id.clone(),
                asked: asked.and_then(|value| serde_json::from_value(value).ok()),
            })
        });
        let gone = state.resources.iter().filter(|(_, _, gone)| gone.is_some());
        let deleted = gone.count();
        Some(Self {
            expires: drill.expires,
            kept: drill.keep,
            deleted,
            standing: state.resources.len() - deleted,
            egress: closed.collect(),
        })
    }

    /// Whether what it made is gone.
    pub(super) fn what_stands(&self) -> String {
        let things = |count: usize| match count {
            1 => "1 thing".to_string(),
            count => format!("{count} things"),
        };
        match (self.standing, self.deleted) {
            (0, 0) => "it made nothing".into(),
            (0, deleted) => format!(
                "all that it made is deleted: {}, proved by a 404 each",
                things(deleted)
            ),
            (standing, _) => format!(
                "{} that it made still stand, until {}",
                things(standing),
                moment(self.expires)
            ),
        }
    }

    /// One line for each server.
    pub fn reached(&self) -> Vec<String> {
        self.egress.iter().map(EgressLine::words).collect()
    }
}

impl EgressLine {
    fn words(&self) -> String {
        let host = &self.host;
        match &self.asked {
            None => format!("{host}: could not be asked at the end what it tried to reach"),
            Some(Kept { closed: false, .. }) => format!(
                "{host}: its rules were gone or changed at the end: something on it opened the way out, and nobody knows what left it"
            ),
            Some(Kept { packets: 0, .. }) => format!("{host}: tried to reach nothing outside"),
            Some(Kept { packets, tried, .. }) => {
                let mut places: Vec<String> = tried
                    .iter()
                    .take(MANY)
                    .map(|(place, count)| format!("{place} ({count})"))
                    .collect();
                if tried.len() > MANY {
                    places.push(format!("and {} more", tried.len() - MANY));
                }
                format!(
                    "{host}: {packets} packets kept from leaving: {}",
                    places.join(", ")
                )
            }
        }
    }
}
