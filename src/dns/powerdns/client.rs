//! The requests that are sent to the PowerDNS HTTP API (<https://doc.powerdns.com/authoritative/http-api/>).

use serde_json::json;

use super::wire::{Record, Set, Zone};
use crate::http::{Api, Call, CallError, Refusal, ServiceError};
use crate::kind::Reason;

/// Which record sets of a zone are read.
#[derive(Clone, Copy)]
pub(super) enum Part<'a> {
    None,
    /// Name and type; without the records that are disabled.
    Set(&'a str, &'a str),
    /// All, with the records that are disabled.
    All,
}

pub(super) struct Client {
    pub(super) api: Api,
    /// The server's id: `localhost`, unless somebody runs a proxy for several.
    pub(super) server: String,
}

impl Client {
    fn failed(&self, doing: &str, error: CallError) -> ServiceError {
        ServiceError::from_call(self.api.account(), doing, error, said)
    }

    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["servers", self.server.as_str()];
        path.extend(rest);
        path
    }

    /// The zone, with as many of its record sets as were asked for.
    pub(super) async fn zone(
        &self,
        doing: &str,
        zone: &str,
        part: Part<'_>,
    ) -> Result<Zone, ServiceError> {
        let zone = canonical(zone);
        let mut call = Call::get(&self.path(&["zones", &zone]));
        call = match part {
            Part::None => call.query("rrsets", false),
            Part::Set(name, kind) => call
                .query("rrset_name", canonical(name))
                .query("rrset_type", kind),
            Part::All => call,
        };
        let answer = self.api.send(&call).await;
        answer
            .and_then(|answer| answer.json())
            .map_err(|error| self.failed(doing, error))
    }

    /// Replaces a whole record set; without records it is removed.
    pub(super) async fn replace(
        &self,
        doing: &str,
        zone: &str,
        set: &Set,
    ) -> Result<(), ServiceError> {
        let zone = canonical(zone);
        let records: Vec<&Record> = set.records.iter().collect();
        let call = Call::new(reqwest::Method::PATCH, &self.path(&["zones", &zone])).body(json!({
            "rrsets": [{
                "name": canonical(&set.name),
                "type": set.kind,
                "ttl": set.ttl,
                "changetype": "REPLACE",
                "records": records,
            }]
        }));
        match self.api.send(&call).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// Makes the server forget the answer it gave for the name so far.
    pub(super) async fn flush(&self, doing: &str, name: &str) -> Result<(), ServiceError> {
        let call = Call::new(reqwest::Method::PUT, &self.path(&["cache", "flush"]))
            .query("domain", canonical(name));
        match self.api.send(&call).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// Tells the secondaries that there is something new.
    pub(super) async fn notify(&self, doing: &str, zone: &str) -> Result<(), ServiceError> {
        let zone = canonical(zone);
        let call = Call::new(
            reqwest::Method::PUT,
            &self.path(&["zones", &zone, "notify"]),
        );
        match self.api.send(&call).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failed(doing, error)),
        }
    }
}

/// The API takes names only with their final dot, in lower case.
pub(super) fn canonical(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

/// Reads `{"error": "..."}`; 401, 404 and 409 come as plain text.
fn said(refusal: &Refusal) -> (String, Option<Reason>) {
    let error = refusal.json.as_ref().and_then(|json| json.get("error"));
    let message = error
        .and_then(|error| error.as_str())
        .map_or_else(|| refusal.words(), str::to_string);
    // Older versions answer 422 for a zone that they do not have.
    let missing = refusal.status == 422 && message.starts_with("Could not find domain");
    let reason = match refusal.status {
        _ if missing => Some(Reason::NotFound),
        // A conflict with other records does not pass by itself.
        409 | 422 => Some(Reason::Refused),
        _ => None,
    };
    (message, reason)
}
