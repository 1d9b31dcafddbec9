//! PowerDNS Authoritative Server through its HTTP API. It has no compare-and-set, so a change is read, compare,
//! replace the whole set in one request, read back: a record set is never absent in between.

use std::net::SocketAddr;

use async_trait::async_trait;
use url::Url;

use super::record::{content, has_key, normal};
use super::{Dns, RecordSet, Swap, halfway};
use crate::http::{Api, ApiSettings, Credential, HttpError, HttpOptions, Policy, ServiceError};
use crate::kind::Reason;
use crate::resolve::plain_value;
use crate::secret::{Mask, Secret};

mod client;
mod wire;

use client::Part;
use wire::{Record, Set};

/// Requests that are lost are looked after and made again so often.
const TRIES: usize = 3;

/// Bytes of a whole zone, some hundred thousand records.
const LONGEST_ZONE: usize = 64 << 20;

/// One server's zones.
pub struct PowerDns {
    client: client::Client,
    nameservers: Vec<SocketAddr>,
}

/// What a client is made of.
pub struct Settings {
    /// The account's name: the name of its provider file.
    pub account: String,
    /// `http://host:8081`; the path `/api/v1` is added when there is none.
    pub endpoint: Url,
    /// The API key.
    pub key: Secret,
    /// `localhost`, unless a proxy serves several servers.
    pub server: String,
    /// The name servers to ask about the zones, where the delegation does not tell.
    pub nameservers: Vec<SocketAddr>,
    /// Masks what the API says.
    pub mask: Mask,
    /// Trust and proxies.
    pub http: HttpOptions,
    /// Tries and limits of one call.
    pub policy: Policy,
}

impl PowerDns {
    /// Makes the client; nothing is sent.
    ///
    /// # Errors
    /// See `HttpError`.
    pub fn new(settings: Settings) -> Result<Self, HttpError> {
        let mut base = settings.endpoint;
        if matches!(base.path(), "" | "/") {
            base.set_path("/api/v1");
        }
        Ok(Self {
            client: client::Client {
                api: Api::new(ApiSettings {
                    account: settings.account,
                    base,
                    token: settings.key,
                    credential: Credential::Header("x-api-key"),
                    mask: settings.mask,
                    http: settings.http,
                    policy: Policy {
                        longest_answer: settings.policy.longest_answer.max(LONGEST_ZONE),
                        ..settings.policy
                    },
                })?,
                server: settings.server,
            },
            nameservers: settings.nameservers,
        })
    }

    async fn read(
        &self,
        doing: &str,
        zone: &str,
        name: &str,
        kind: &str,
        part: Part<'_>,
    ) -> Result<(Option<Set>, String), ServiceError> {
        let found = self.client.zone(doing, zone, part).await?;
        // A server that does not know the filter (before 4.4) answers with the whole zone, too.
        let wanted = client::canonical(name);
        let set = found
            .rrsets
            .into_iter()
            .find(|set| set.kind == kind && client::canonical(&set.name) == wanted);
        Ok((set, found.kind))
    }

    fn refused(&self, doing: &str, reason: Reason, message: impl Into<String>) -> ServiceError {
        ServiceError::refused(self.client.api.account(), doing, reason, message)
    }

    /// What a change leaves alone is a warning, not a failure: the set itself is as it should be.
    async fn spread(&self, doing: &str, zone: &str, name: &str, zone_kind: &str) {
        if let Err(error) = self.client.flush(doing, name).await {
            tracing::warn!(%error, "the server may answer from its cache for some seconds more");
        }
        if is_primary(zone_kind)
            && let Err(error) = self.client.notify(doing, zone).await
        {
            tracing::warn!(%error, "secondaries learn of the change only when they ask");
        }
    }
}

fn is_primary(kind: &str) -> bool {
    matches!(
        kind.to_ascii_lowercase().as_str(),
        "master" | "primary" | "producer"
    )
}

fn is_secondary(kind: &str) -> bool {
    matches!(
        kind.to_ascii_lowercase().as_str(),
        "slave" | "secondary" | "consumer"
    )
}

/// The set as it is answered: disabled records are not part of it.
fn answered(set: Option<&Set>) -> Option<RecordSet> {
    let set = set?;
    let mut values: Vec<String> = set
        .records
        .iter()
        .filter(|record| !record.disabled)
        .map(|record| plain_value(&set.kind, &record.content))
        .collect();
    values.sort();
    values.dedup();
    (!values.is_empty()).then(|| RecordSet {
        name: set.name.trim_end_matches('.').to_ascii_lowercase(),
        kind: set.kind.clone(),
        ttl: set.ttl,
        values,
    })
}

#[async_trait]
impl Dns for PowerDns {
    fn account(&self) -> &str {
        self.client.api.account()
    }

    async fn check_zone(&self, zone: &str) -> Result<Option<String>, ServiceError> {
        let doing = format!("looking for zone `{zone}`");
        let found = self.client.zone(&doing, zone, Part::None).await?;
        if is_secondary(&found.kind) {
            return Err(self.refused(
                &doing,
                Reason::Refused,
                "this server is a secondary for the zone: it must be changed where its primary is",
            ));
        }
        Ok(None)
    }

    async fn get(
        &self,
        zone: &str,
        name: &str,
        kind: &str,
    ) -> Result<Option<RecordSet>, ServiceError> {
        let kind = kind.to_ascii_uppercase();
        let doing = format!("reading {kind} of `{name}`");
        let part = Part::Set(name, &kind);
        let (set, _) = self.read(&doing, zone, name, &kind, part).await?;
        Ok(answered(set.as_ref()))
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
        let mut both = expected.into_iter().chain(wanted);
        if !both.all(|set| has_key(set, name, &kind)) {
            return Err(self.refused(
                &doing,
                Reason::Refused,
                "a set of another name or type was handed in",
            ));
        }
        let (expected, wanted) = (normal(expected), normal(wanted));
        let mut lost = None;
        for _ in 0..TRIES {
            // Asked for one set, the server (4.7.3) leaves its disabled records out, and a replacement would lose them.
            let (found, zone_kind) = self.read(&doing, zone, name, &kind, Part::All).await?;
            let stands = answered(found.as_ref());
            if stands == wanted {
                self.spread(&doing, zone, name, &zone_kind).await;
                return Ok(Swap::Done);
            }
            if stands != expected && !halfway(&stands, &expected, &wanted) {
                return Ok(Swap::Differs(stands));
            }
            let mut records: Vec<Record> = wanted
                .iter()
                .flat_map(|set| &set.values)
                .map(|value| Record {
                    content: content(&kind, value),
                    disabled: false,
                })
                .collect();
            // Somebody keeps a disabled record for later; it is not ours to throw away.
            let kept = found.iter().flat_map(|set| &set.records);
            for record in kept.filter(|record| record.disabled) {
                if records.iter().all(|new| new.content != record.content) {
                    records.push(record.clone());
                }
            }
            let old_ttl = found.as_ref().map_or(0, |set| set.ttl);
            let set = Set {
                name: name.to_string(),
                kind: kind.clone(),
                ttl: wanted.as_ref().map_or(old_ttl, |set| set.ttl),
                records,
            };
            match self.client.replace(&doing, zone, &set).await {
                Ok(()) => lost = None,
                Err(error @ ServiceError::Unknown { .. }) => lost = Some(error),
                Err(error) => return Err(error),
            }
            // What the server holds decides, also after a lost answer.
            let part = Part::Set(name, &kind);
            let (after, zone_kind) = self.read(&doing, zone, name, &kind, part).await?;
            if answered(after.as_ref()) == wanted {
                self.spread(&doing, zone, name, &zone_kind).await;
                return Ok(Swap::Done);
            }
        }
        Err(lost.unwrap_or_else(|| {
            self.refused(
                &doing,
                Reason::Verify,
                "the server took the change, but does not hold it when it is read back",
            )
        }))
    }

    async fn servers(&self, _zone: &str) -> Result<Vec<SocketAddr>, ServiceError> {
        Ok(self.nameservers.clone())
    }
}
