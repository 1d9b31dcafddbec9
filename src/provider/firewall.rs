//! Packet filters that a cloud keeps before its servers, behind one port: whole rule sets, told by a mark of ours.

use std::net::IpAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::ProviderError;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the server. What no rule lets in is dropped.
    In,
    /// From the server. With no rule at all everything may leave.
    Out,
}

/// What is let through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// Which way.
    pub direction: Direction,
    /// `tcp`, `udp`, `icmp`, ...
    pub protocol: String,
    /// `443`, `80-85` or `any`; none for protocols without ports.
    pub port: Option<String>,
    /// Networks on the other side, sorted: `10.0.0.0/8`.
    pub networks: Vec<String>,
}

impl Rule {
    /// In the spelling that is compared.
    #[must_use]
    pub fn normal(mut self) -> Self {
        for network in &mut self.networks {
            if let Ok(plain) = plain_network(network) {
                *network = plain;
            }
        }
        self.networks.sort();
        self.networks.dedup();
        self.protocol.make_ascii_lowercase();
        self
    }
}

/// Rules in one order, each once.
pub fn normal(rules: impl IntoIterator<Item = Rule>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = rules.into_iter().map(Rule::normal).collect();
    rules.sort();
    rules.dedup();
    rules
}

/// One spelling of a network; an address alone is a network of one.
///
/// # Errors
/// What is wrong with it, with the right one where that can be told.
pub fn plain_network(text: &str) -> Result<String, String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| {
        format!("`{text}` is no network: write it like 10.0.0.0/8 or 2001:db8::/32")
    })?;
    let most: u32 = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(length) => match length.parse() {
            Ok(length) if length <= most => length,
            _ => {
                return Err(format!(
                    "`{text}`: the length must be a number from 0 to {most}"
                ));
            }
        },
    };
    let first: IpAddr = match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            std::net::Ipv4Addr::from(u32::from(ip) & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            std::net::Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    };
    if first == address {
        Ok(format!("{first}/{length}"))
    } else {
        Err(format!(
            "`{text}` is an address within {first}/{length}: write one or the other"
        ))
    }
}

/// A firewall as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// The provider's id.
    pub id: String,
    /// Its name there.
    pub name: String,
    /// In the spelling that is compared.
    pub rules: Vec<Rule>,
    /// Ids of the servers it stands before by name, sorted; those that a selector picks are not among them.
    pub servers: Vec<String>,
    /// Whether it carries our mark with its own name.
    pub ours: bool,
}

/// What an account can do with firewalls.
#[async_trait]
pub trait Firewalls: Send + Sync {
    /// All of that name, and all that carry our mark with it.
    async fn named(&self, name: &str) -> Result<Vec<Firewall>, ProviderError>;

    /// Makes one with our mark. Sends one request; `reconcile::firewall_once` is the way to it.
    async fn create(&self, name: &str, rules: &[Rule]) -> Result<Firewall, ProviderError>;

    /// Replaces all its rules, and waits until they hold.
    async fn set_rules(&self, id: &str, rules: &[Rule]) -> Result<(), ProviderError>;

    /// Puts it before servers (`on`) or takes it away from them, and waits until that is so.
    async fn apply(&self, id: &str, servers: &[String], on: bool) -> Result<(), ProviderError>;

    /// Deletes it, proved by a 404. Already gone is success.
    async fn delete(&self, id: &str) -> Result<(), ProviderError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_one_spelling() {
        for (text, plain) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:DB8:0::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
        ] {
            assert_eq!(plain_network(text).as_deref(), Ok(plain), "{text}");
        }
        for bad in ["10.0.0.1/8", "10.0.0.0/33", "web", "10.0.0.0/x", "::1/64"] {
            assert!(plain_network(bad).is_err(), "{bad}");
        }
    }
}
