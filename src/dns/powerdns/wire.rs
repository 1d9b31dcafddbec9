//! What the PowerDNS HTTP API says and takes, as far as it is used.

use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
pub(super) struct Zone {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub rrsets: Vec<Set>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Set {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub ttl: u32,
    #[serde(default)]
    pub records: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Record {
    pub content: String,
    /// Kept in the zone, but not answered.
    #[serde(default)]
    pub disabled: bool,
}
