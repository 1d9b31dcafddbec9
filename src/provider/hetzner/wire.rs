//! What the Hetzner Cloud API says, as far as it is used. Everything but ids may be missing and every word may be new:
//! the API changes monthly, and a field that is not needed must never stop a recovery.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::http::hetzner::{Action, lenient};

#[derive(Debug, Deserialize)]
pub(super) struct Server {
    pub id: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub status: String,
    #[serde(default, deserialize_with = "lenient")]
    pub public_net: PublicNet,
    #[serde(default, deserialize_with = "lenient")]
    pub server_type: Named,
    #[serde(default, deserialize_with = "lenient")]
    pub location: Named,
    #[serde(default, deserialize_with = "lenient")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "lenient")]
    pub protection: Protection,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PublicNet {
    pub ipv4: Option<Address>,
    pub ipv6: Option<Address>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Address {
    pub ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Named {
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Protection {
    #[serde(default, deserialize_with = "lenient")]
    pub delete: bool,
}

/// The 201 also holds `root_password`, which is left where it is: nobody logs in with it.
#[derive(Debug, Deserialize)]
pub(super) struct CreateReply {
    pub server: Server,
    pub action: Option<Action>,
    #[serde(default, deserialize_with = "lenient")]
    pub next_actions: Vec<Action>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerType {
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub cores: f64,
    /// GB, of 2^30 bytes.
    #[serde(default, deserialize_with = "lenient")]
    pub memory: f64,
    /// GB, of 10^9 bytes.
    #[serde(default, deserialize_with = "lenient")]
    pub disk: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub architecture: String,
    #[serde(default, deserialize_with = "lenient")]
    pub prices: Vec<Price>,
    pub locations: Option<Vec<Offer>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Offer {
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    pub available: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Price {
    #[serde(default, deserialize_with = "lenient")]
    pub location: String,
    pub price_monthly: Option<Net>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Net {
    pub net: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub id: i64,
    pub name: Option<String>,
    #[serde(rename = "type", default, deserialize_with = "lenient")]
    pub kind: String,
    #[serde(default, deserialize_with = "lenient")]
    pub description: String,
    #[serde(default, deserialize_with = "lenient")]
    pub architecture: String,
    #[serde(default, deserialize_with = "lenient")]
    pub status: String,
    #[serde(default, deserialize_with = "lenient")]
    pub created: String,
    pub created_from: Option<Origin>,
    /// GB, of 10^9 bytes.
    #[serde(default, deserialize_with = "lenient")]
    pub disk_size: f64,
    #[serde(default, deserialize_with = "lenient")]
    pub labels: BTreeMap<String, String>,
}

/// The server that an image was made of.
#[derive(Debug, Deserialize)]
pub(super) struct Origin {
    pub id: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ImageReply {
    pub image: Image,
    pub action: Option<Action>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Location {
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub network_zone: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct FloatingIp {
    pub id: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    /// An address, or a network with its length.
    #[serde(default, deserialize_with = "lenient")]
    pub ip: String,
    pub server: Option<i64>,
    #[serde(default, deserialize_with = "lenient")]
    pub home_location: Named,
}

#[derive(Debug, Deserialize)]
pub(super) struct Firewall {
    pub id: i64,
    #[serde(default, deserialize_with = "lenient")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "lenient")]
    pub rules: Vec<Rule>,
    #[serde(default, deserialize_with = "lenient")]
    pub applied_to: Vec<AppliedTo>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    #[serde(default, deserialize_with = "lenient")]
    pub direction: String,
    #[serde(default, deserialize_with = "lenient")]
    pub protocol: String,
    pub port: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub source_ips: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub destination_ips: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AppliedTo {
    pub server: Option<Numbered>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Numbered {
    pub id: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct FirewallReply {
    pub firewall: Firewall,
    #[serde(default, deserialize_with = "lenient")]
    pub actions: Vec<Action>,
}
