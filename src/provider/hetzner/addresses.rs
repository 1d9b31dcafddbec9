//! Floating IPs. A primary IP is bound to one location and changes hands only while its servers are off, so it is no
//! way out of a region; a floating one moves within its network zone.

use std::net::IpAddr;

use async_trait::async_trait;
use serde_json::json;

use super::{Hetzner, wire};
use crate::http::Call;
use crate::http::hetzner::passing;
use crate::kind::Reason;
use crate::provider::ProviderError;
use crate::provider::address::{Address, Addresses, Moved};
use crate::provider::wait::Pace;

/// Whether the API's text (`192.0.2.1`, `2001:db8::/64`) is this address or the network that it lies in.
fn holds(text: &str, ip: IpAddr) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    match (first.parse(), ip) {
        (Ok(IpAddr::V4(have)), IpAddr::V4(ip)) => have == ip,
        (Ok(IpAddr::V6(have)), IpAddr::V6(ip)) => u128::from(have) >> 64 == u128::from(ip) >> 64,
        _ => false,
    }
}

fn address(wire: wire::FloatingIp) -> Option<Address> {
    Some(Address {
        id: wire.id.to_string(),
        name: wire.name,
        ip: wire.ip.split('/').next()?.parse().ok()?,
        server: wire.server.map(|id| id.to_string()),
        region: wire.home_location.name,
    })
}

#[async_trait]
impl Addresses for Hetzner {
    async fn by_ip(&self, ip: IpAddr) -> Result<Option<Address>, ProviderError> {
        let doing = format!("looking for floating IP {ip}");
        let call = Call::get(&["floating_ips"]);
        let all = self
            .client
            .list::<wire::FloatingIp>(&doing, call, "floating_ips");
        let found = all.await?.into_iter().find(|one| holds(&one.ip, ip));
        Ok(found.and_then(address))
    }

    async fn reaches(&self, address: &Address, region: &str) -> Result<bool, ProviderError> {
        let doing = format!("looking whether {} reaches {region}", address.ip);
        let call = Call::get(&["locations"]);
        let all = self
            .client
            .list::<wire::Location>(&doing, call, "locations")
            .await?;
        let zone = |name: &str| {
            let found = all.iter().find(|place| place.name == name);
            found.map(|place| place.network_zone.as_str())
        };
        Ok(zone(region).is_some() && zone(region) == zone(&address.region))
    }

    async fn assign(
        &self,
        ip: IpAddr,
        expected: Option<&str>,
        wanted: Option<&str>,
    ) -> Result<Moved, ProviderError> {
        let doing = match wanted {
            Some(server) => format!("assigning {ip} to server {server}"),
            None => format!("taking {ip} from its server"),
        };
        let number = match wanted {
            Some(server) => Some(self.client.id(&doing, server)?),
            None => None,
        };
        let mut pace = Pace::new(self.patience);
        let mut trouble = None;
        loop {
            match self.by_ip(ip).await {
                Ok(None) => {
                    let words = "there is no such floating IP";
                    return Err(self.refused(&doing, Reason::NotFound, words));
                }
                Ok(Some(now)) if now.server.as_deref() == wanted => return Ok(Moved::Done),
                Ok(Some(now)) if now.server.as_deref() != expected => {
                    return Ok(Moved::Differs(now.server));
                }
                Ok(Some(now)) => {
                    let verb = if wanted.is_some() {
                        "assign"
                    } else {
                        "unassign"
                    };
                    let mut call = Call::post(&["floating_ips", &now.id, "actions", verb]);
                    if let Some(number) = number {
                        call = call.body(json!({ "server": number }));
                    }
                    // Said twice it is the same, and the next look tells whether a lost request had its effect.
                    match self.client.begin(&doing, &call).await {
                        Ok(begun) => {
                            let ids = begun.ids();
                            self.client.wait_for(&doing, &ids, &mut pace).await?;
                        }
                        Err(error) if passing(&error) => trouble = Some(error),
                        Err(error) => return Err(error),
                    }
                }
                Err(error) if passing(&error) => trouble = Some(error),
                Err(error) => return Err(error),
            }
            if !pace.pause().await {
                return Err(trouble.unwrap_or_else(|| {
                    let words = "the provider took it, and does not show it";
                    self.refused(&doing, Reason::Timeout, words)
                }));
            }
        }
    }
}
