//! What the API says of zones and record sets, as far as it is used.

use serde::{Deserialize, Serialize};

use crate::http::hetzner::lenient;

#[derive(Debug, Deserialize)]
pub(super) struct Zone {
    #[serde(default, deserialize_with = "lenient")]
    pub mode: String,
    /// The lifetime of sets that have none of their own.
    #[serde(default, deserialize_with = "lenient")]
    pub ttl: u32,
    #[serde(default, deserialize_with = "lenient")]
    pub authoritative_nameservers: Nameservers,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Nameservers {
    #[serde(default, deserialize_with = "lenient")]
    pub assigned: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub delegated: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub delegation_status: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Set {
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    #[serde(rename = "type", default, deserialize_with = "lenient")]
    pub kind: String,
    /// Null: the zone's.
    pub ttl: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    pub records: Vec<Record>,
    #[serde(default, deserialize_with = "lenient")]
    pub protection: Protection,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Protection {
    #[serde(default, deserialize_with = "lenient")]
    pub change: bool,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Record {
    #[serde(default, deserialize_with = "lenient")]
    pub value: String,
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "String::is_empty"
    )]
    pub comment: String,
}
