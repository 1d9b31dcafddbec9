//! Zones of the Hetzner Cloud API (<https://docs.hetzner.cloud/reference/cloud#zones>).
//!
//! It has no compare-and-set but for absence: creating a set that exists is refused. Everything else is read, compare,
//! change, wait for the action, read back. Values and lifetime are changed by requests of their own, so a change of both
//! passes through *old values with the new lifetime*, which users do not notice; whoever finds a set so may go on from there.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Method;
use serde_json::json;

use super::record::{content, has_key, normal};
use super::{Dns, RecordSet, Swap, halfway};
use crate::http::hetzner::{Action, Begun, HetznerApi, passing};
use crate::http::{Call, HttpError, Pace, ServiceError};
use crate::kind::Reason;
use crate::resolve::{self, plain_name, plain_value};

pub use crate::http::hetzner::Settings;

mod wire;

use wire::{Record, Set, Zone};

/// The shortest lifetime that the API takes, in seconds.
pub const LEAST_TTL: u32 = 60;

/// Most values of one set.
const MOST_VALUES: usize = 50;

/// How long the actions of one change are waited for: they take 2 to 17 seconds on a good day.
const PATIENCE: Duration = Duration::from_secs(120);

/// Requests that change nothing for good are made again so often.
const TRIES: usize = 4;

/// The zones of one project.
pub struct HetznerDns {
    api: HetznerApi,
    nameservers: Vec<SocketAddr>,
    patience: Duration,
}

/// What stands in a zone under one name and type.
struct Found {
    /// In the words that are compared.
    set: Option<RecordSet>,
    /// As the API says it.
    wire: Option<Set>,
}

impl HetznerDns {
    /// Makes the client; nothing is sent. `nameservers`: whom to ask instead of the zone's assigned ones.
    ///
    /// # Errors
    /// See `HttpError`.
    pub fn new(settings: Settings, nameservers: Vec<SocketAddr>) -> Result<Self, HttpError> {
        Ok(Self {
            api: settings.connect(&["zones", "actions"])?,
            nameservers,
            patience: PATIENCE,
        })
    }

    /// Waits for the actions of one change at most this long (default two minutes).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn zone(&self, doing: &str, zone: &str) -> Result<Zone, ServiceError> {
        let name = plain_name(zone);
        let call = Call::get(&["zones", &name]);
        let found = self.api.look(doing, &call, "zone").await?;
        found.ok_or_else(|| {
            let words = format!("there is no zone `{name}` in the project of this token");
            self.api.refused(doing, Reason::NotFound, words)
        })
    }

    /// Asked for as a list: an empty one is a set that does not exist, while a 404 is a zone that does not.
    async fn read(
        &self,
        doing: &str,
        zone: &str,
        name: &str,
        kind: &str,
    ) -> Result<Found, ServiceError> {
        let relative = self.relative(doing, zone, name)?;
        let call = Call::get(&["zones", &plain_name(zone), "rrsets"])
            .query("name", &relative)
            .query("type", kind);
        let sets: Vec<Set> = self.api.list(doing, call, "rrsets").await?;
        let wire = sets
            .into_iter()
            .find(|set| set.name == relative && set.kind == kind);
        let set = match &wire {
            Some(set) if !set.records.is_empty() => {
                let ttl = match set.ttl {
                    Some(ttl) => ttl,
                    None => self.zone(doing, zone).await?.ttl,
                };
                let values = set.records.iter().map(|record| record.value.clone());
                normal(Some(&RecordSet {
                    name: name.to_string(),
                    kind: kind.to_string(),
                    ttl,
                    values: values.collect(),
                }))
            }
            _ => None,
        };
        Ok(Found { set, wire })
    }

    /// A name as the API knows it: within its zone, `@` for the zone itself.
    fn relative(&self, doing: &str, zone: &str, name: &str) -> Result<String, ServiceError> {
        let (zone, name) = (plain_name(zone), plain_name(name));
        if name == zone {
            return Ok("@".into());
        }
        match name.strip_suffix(&format!(".{zone}")) {
            Some(relative) if !relative.is_empty() => Ok(relative.to_string()),
            _ => {
                let words = format!("`{name}` does not lie in the zone `{zone}`");
                Err(self.api.refused(doing, Reason::Refused, words))
            }
        }
    }

    /// The next request on the way from what stands to what is wanted.
    async fn step(
        &self,
        doing: &str,
        zone: &str,
        relative: &str,
        kind: &str,
        found: &Found,
        wanted: Option<&RecordSet>,
    ) -> Result<Begun, ServiceError> {
        let zone = plain_name(zone);
        let sets = ["zones", zone.as_str(), "rrsets"];
        let own = [&sets[..], &[relative, kind]].concat();
        let Some(wanted) = wanted else {
            return Ok(self.api.delete(doing, &own).await?.unwrap_or_default());
        };
        // What somebody wrote beside a value that stays is not ours to throw away.
        let beside = |value: &str| {
            let mut records = found.wire.iter().flat_map(|set| &set.records);
            records.find(|record| plain_value(kind, &record.value) == value)
        };
        let records: Vec<Record> = wanted
            .values
            .iter()
            .map(|value| Record {
                value: content(kind, value),
                comment: beside(value).map_or(String::new(), |old| old.comment.clone()),
            })
            .collect();
        let act =
            |action: &str| Call::new(Method::POST, &[&own[..], &["actions", action]].concat());
        let call = match &found.set {
            None => Call::post(&sets).body(json!({
                "name": relative, "type": kind, "ttl": wanted.ttl, "records": records,
            })),
            Some(stands) if stands.ttl != wanted.ttl => {
                act("change_ttl").body(json!({ "ttl": wanted.ttl }))
            }
            Some(_) => act("set_records").body(json!({ "records": records })),
        };
        self.api.begin(doing, &call).await
    }

    /// Waits until nothing is under way in the zone: what a request whose answer was lost has begun is one of these.
    async fn settle(&self, doing: &str, zone: &str, pace: &mut Pace) -> Result<(), ServiceError> {
        let path = ["zones", &plain_name(zone), "actions"];
        loop {
            let call = Call::get(&path).query("status", "running");
            let open = match self.api.list::<Action>(doing, call, "actions").await {
                Ok(open) if open.is_empty() => return Ok(()),
                Ok(open) => format!("{} ({}) is running", open[0].id, open[0].command),
                Err(error) if passing(&error) => error.to_string(),
                Err(error) => return Err(error),
            };
            if !pace.pause().await {
                let words = format!("the zone does not come to rest: {open}");
                return Err(self.api.refused(doing, Reason::Timeout, words));
            }
        }
    }
}

#[async_trait]
impl Dns for HetznerDns {
    fn account(&self) -> &str {
        self.api.account()
    }

    async fn check_zone(&self, zone: &str) -> Result<Option<String>, ServiceError> {
        let doing = format!("looking for zone `{zone}`");
        let found = self.zone(&doing, zone).await?;
        if found.mode == "secondary" {
            return Err(self.api.refused(
                &doing,
                Reason::Refused,
                "the zone is a secondary one here: it must be changed where its primary is",
            ));
        }
        let servers = found.authoritative_nameservers;
        Ok(match servers.delegation_status.as_str() {
            "valid" | "unknown" | "" => None,
            status => Some(format!(
                "the delegation of {zone} is `{status}`: it leads to {}, and changes are made at {}; users may never see them",
                if servers.delegated.is_empty() {
                    "nobody".to_string()
                } else {
                    servers.delegated.join(", ")
                },
                servers.assigned.join(", ")
            )),
        })
    }

    async fn check_set(&self, zone: &str, name: &str, kind: &str) -> Result<(), ServiceError> {
        let doing = format!("reading {kind} of `{name}`");
        let found = self.read(&doing, zone, name, kind).await?;
        if found.wire.is_some_and(|set| set.protection.change) {
            return Err(self.api.refused(
                &doing,
                Reason::Refused,
                "it is protected against changes; lift that in the console",
            ));
        }
        Ok(())
    }

    async fn get(
        &self,
        zone: &str,
        name: &str,
        kind: &str,
    ) -> Result<Option<RecordSet>, ServiceError> {
        let kind = kind.to_ascii_uppercase();
        let doing = format!("reading {kind} of `{name}`");
        Ok(self.read(&doing, zone, name, &kind).await?.set)
    }

    async fn swap(
        &self,
        zone: &str,
        name: &str,
        kind: &str,
        expected: Option<&RecordSet>,
        wanted: Option<&RecordSet>,
    ) -> Result<Swap, ServiceError> {
        let kind = kind.to_ascii_uppercase();
        let doing = format!("setting {kind} of `{name}`");
        let refused = |words: String| Err(self.api.refused(&doing, Reason::Refused, words));
        let mut both = expected.into_iter().chain(wanted);
        if !both.all(|set| has_key(set, name, &kind)) {
            return refused("a set of another name or type was handed in".into());
        }
        let (expected, wanted) = (normal(expected), normal(wanted));
        if let Some(wanted) = &wanted {
            if wanted.ttl < LEAST_TTL {
                let ttl = wanted.ttl;
                return refused(format!(
                    "a ttl of {ttl}s is not taken: the least is {LEAST_TTL}s"
                ));
            }
            if !(1..=MOST_VALUES).contains(&wanted.values.len()) {
                let count = wanted.values.len();
                return refused(format!(
                    "a set holds 1 to {MOST_VALUES} values, not {count}"
                ));
            }
        }
        let relative = self.relative(&doing, zone, name)?;
        let mut pace = Pace::new(self.patience);
        let mut trouble = None;
        let mut tries = 0;
        loop {
            let found = self.read(&doing, zone, name, &kind).await?;
            if found.set == wanted {
                // It may be an earlier request of ours whose action is still under way.
                self.settle(&doing, zone, &mut pace).await?;
                return Ok(Swap::Done);
            }
            if found.set != expected && !halfway(&found.set, &expected, &wanted) {
                return Ok(Swap::Differs(found.set));
            }
            // Values and lifetime are two requests; each may be lost.
            if tries >= 2 * TRIES {
                return Err(trouble.unwrap_or_else(|| {
                    let words =
                        "the service took the change, but does not hold it when it is read back";
                    self.api.refused(&doing, Reason::Verify, words)
                }));
            }
            tries += 1;
            let step = self.step(&doing, zone, &relative, &kind, &found, wanted.as_ref());
            match step.await {
                Ok(begun) => {
                    self.api.wait_for(&doing, &begun.ids(), &mut pace).await?;
                }
                // Never sent again before the zone has come to rest and was read.
                Err(error @ ServiceError::Unknown { .. }) => {
                    trouble = Some(error);
                    self.settle(&doing, zone, &mut pace).await?;
                }
                // Somebody else created it in this moment, or is at work: what stands there decides.
                Err(error)
                    if matches!(error.reason(), Reason::Busy)
                        || error.to_string().contains("uniqueness_error") =>
                {
                    trouble = Some(error);
                    pace.pause().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn servers(&self, zone: &str) -> Result<Vec<SocketAddr>, ServiceError> {
        if !self.nameservers.is_empty() {
            return Ok(self.nameservers.clone());
        }
        let doing = format!("looking for the name servers of `{zone}`");
        let found = self.zone(&doing, zone).await?;
        let mut servers = Vec::new();
        for name in found.authoritative_nameservers.assigned {
            // One that cannot be found is left out; with none at all the delegation is asked.
            let addresses = resolve::resolve(&plain_name(&name), Duration::from_secs(5)).await;
            let v4 = addresses.unwrap_or_default().into_iter();
            servers.extend(
                v4.filter(|ip| ip.is_ipv4())
                    .map(|ip| SocketAddr::new(ip, 53)),
            );
        }
        Ok(servers)
    }
}
