//! What all parts of the Hetzner Cloud API have in common: pages, actions, and how it says no
//! (<https://docs.hetzner.cloud/reference/cloud>). Servers and zones are services of their own, which know nothing of
//! each other.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

use super::{
    Answer, Api, ApiSettings, Call, CallError, Credential, HttpError, HttpOptions, Pace, Policy,
    Refusal, ServiceError,
};
use crate::kind::Reason;
use crate::secret::{Mask, Secret};

/// The API gives at most this many entries on a page.
const PER_PAGE: u32 = 50;

/// More pages than any account has: a list that never ends is an error, not a loop.
const MOST_PAGES: u32 = 200;

/// Ids in one `GET /actions?id=...&id=...`.
const MOST_IDS: usize = 25;

/// A field that is missing, null or not there at all is its default: the API changes monthly, and what is not
/// needed must never stop a recovery.
pub fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Something that takes its time.
#[derive(Debug, Clone, Deserialize)]
pub struct Action {
    /// Does not fit 32 bits.
    pub id: i64,
    /// What it does.
    #[serde(default, deserialize_with = "lenient")]
    pub command: String,
    /// `running`, `success` or `error`.
    #[serde(default, deserialize_with = "lenient")]
    pub status: String,
    error: Option<Said>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Said {
    #[serde(default, deserialize_with = "lenient")]
    code: String,
    #[serde(default, deserialize_with = "lenient")]
    message: String,
}

/// The answer to a change: one action, or several.
#[derive(Debug, Default, Deserialize)]
pub struct Begun {
    action: Option<Action>,
    #[serde(default, deserialize_with = "lenient")]
    actions: Vec<Action>,
    #[serde(default, deserialize_with = "lenient")]
    next_actions: Vec<Action>,
}

impl Begun {
    /// The ids of all that was begun.
    pub fn ids(&self) -> Vec<i64> {
        let one = self.action.iter();
        let all = one.chain(&self.actions).chain(&self.next_actions);
        all.map(|action| action.id).collect()
    }
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default, deserialize_with = "lenient")]
    pagination: Pagination,
}

#[derive(Debug, Default, Deserialize)]
struct Pagination {
    next_page: Option<u64>,
}

/// What a client is made of.
#[derive(Clone)]
pub struct Settings {
    /// The account's name: the name of its provider file.
    pub account: String,
    /// The real address, or a sandbox.
    pub endpoint: Url,
    /// A token of the project that can read and write.
    pub token: Secret,
    /// Masks what the API says.
    pub mask: Mask,
    /// Trust and proxies.
    pub http: HttpOptions,
    /// Tries and limits of one call.
    pub policy: Policy,
    /// Put on everything that is made, besides what each kind of thing carries.
    pub labels: BTreeMap<String, String>,
}

impl Settings {
    /// Makes the transport; nothing is sent. `actions`: the path under which this part's actions are asked for.
    ///
    /// # Errors
    /// See `HttpError`.
    pub fn connect(self, actions: &'static [&'static str]) -> Result<HetznerApi, HttpError> {
        Ok(HetznerApi {
            actions,
            api: Api::new(ApiSettings {
                account: self.account,
                base: self.endpoint,
                token: self.token,
                credential: Credential::Bearer,
                mask: self.mask,
                http: self.http,
                policy: self.policy,
            })?,
        })
    }
}

/// One project of one account.
pub struct HetznerApi {
    /// The transport.
    pub api: Api,
    /// Where actions are asked for by their ids.
    actions: &'static [&'static str],
}

impl HetznerApi {
    /// The account's name.
    pub fn account(&self) -> &str {
        self.api.account()
    }

    /// A refusal of our own.
    pub fn refused(&self, doing: &str, reason: Reason, message: impl Into<String>) -> ServiceError {
        ServiceError::refused(self.account(), doing, reason, message)
    }

    /// Ids are numbers. Anything else was never an id of this provider, and must not reach a path.
    pub fn id(&self, doing: &str, id: &str) -> Result<i64, ServiceError> {
        id.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
            let words = format!("`{id}` is not an id of this provider");
            self.refused(doing, Reason::NotFound, words)
        })
    }

    /// A call's failure in this API's words.
    pub fn failed(&self, doing: &str, error: CallError) -> ServiceError {
        ServiceError::from_call(self.account(), doing, error, said)
    }

    /// Sends a request.
    pub async fn send(&self, doing: &str, call: &Call) -> Result<Answer, ServiceError> {
        let answer = self.api.send(call).await;
        answer.map_err(|error| self.failed(doing, error))
    }

    /// Reads an answer.
    pub fn read<T: DeserializeOwned>(
        &self,
        doing: &str,
        answer: &Answer,
    ) -> Result<T, ServiceError> {
        answer.json().map_err(|error| self.failed(doing, error))
    }

    /// Sends a request and reads what stands under `key` of its answer.
    pub async fn fetch<T: DeserializeOwned>(
        &self,
        doing: &str,
        call: &Call,
        key: &str,
    ) -> Result<T, ServiceError> {
        let answer = self.send(doing, call).await?;
        let mut body: Value = self.read(doing, &answer)?;
        let part = body.get_mut(key).map(Value::take).unwrap_or_default();
        serde_json::from_value(part).map_err(|_| {
            let words = format!("the answer holds no `{key}`");
            self.refused(doing, Reason::Other, words)
        })
    }

    /// As `fetch`; `None` when the API's own words prove that it is not there: a proxy or a wrong path answers 404 as well.
    pub async fn look<T: DeserializeOwned>(
        &self,
        doing: &str,
        call: &Call,
        key: &str,
    ) -> Result<Option<T>, ServiceError> {
        match self.api.send(call).await {
            Ok(answer) => {
                let mut body: Value = self.read(doing, &answer)?;
                let part = body.get_mut(key).map(Value::take).unwrap_or_default();
                serde_json::from_value(part).map(Some).map_err(|_| {
                    let words = format!("the answer holds no `{key}`");
                    self.refused(doing, Reason::Other, words)
                })
            }
            Err(CallError::Refused(refusal)) if proves_absence(&refusal) => Ok(None),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// Deletes something. `None`: it was gone already. The outcome is looked at anyway, so an answer without an action is
    /// no failure.
    pub async fn delete(&self, doing: &str, path: &[&str]) -> Result<Option<Begun>, ServiceError> {
        match self.api.send(&Call::delete(path)).await {
            Ok(answer) => Ok(Some(answer.json().unwrap_or_default())),
            Err(CallError::Refused(refusal)) if proves_absence(&refusal) => Ok(None),
            Err(error) => Err(self.failed(doing, error)),
        }
    }

    /// Asks for a change.
    pub async fn begin(&self, doing: &str, call: &Call) -> Result<Begun, ServiceError> {
        let answer = self.send(doing, call).await?;
        self.read(doing, &answer)
    }

    /// A whole list. One that cannot be read to its end is an error: a part of it, taken for the whole, would make
    /// something that exists look absent.
    pub async fn list<T: DeserializeOwned>(
        &self,
        doing: &str,
        call: Call,
        key: &str,
    ) -> Result<Vec<T>, ServiceError> {
        let mut items = Vec::new();
        let mut page = 1;
        for _ in 0..MOST_PAGES {
            let call = call.clone().query("per_page", PER_PAGE).query("page", page);
            let answer = self.send(doing, &call).await?;
            let mut body: Value = self.read(doing, &answer)?;
            let part = body.get_mut(key).map(Value::take).unwrap_or_default();
            let part: Vec<T> = serde_json::from_value(part).map_err(|_| {
                self.endless(doing, &format!("page {page} holds no list of `{key}`"))
            })?;
            items.extend(part);
            let meta = body.get_mut("meta").map(Value::take).unwrap_or_default();
            let meta: Meta = serde_json::from_value(meta).unwrap_or_default();
            match meta.pagination.next_page {
                None => return Ok(items),
                Some(next) if next > page => page = next,
                Some(next) => {
                    let why = format!("page {page} names page {next} as the next one");
                    return Err(self.endless(doing, &why));
                }
            }
        }
        Err(self.endless(doing, &format!("it has more than {MOST_PAGES} pages")))
    }

    fn endless(&self, doing: &str, why: &str) -> ServiceError {
        let message = format!("the list cannot be read to its end: {why}");
        self.refused(doing, Reason::Other, message)
    }

    /// The state of all these actions, in as few requests as the API allows.
    async fn actions(&self, doing: &str, ids: &[i64]) -> Result<Vec<Action>, ServiceError> {
        let mut actions = Vec::new();
        for ids in ids.chunks(MOST_IDS) {
            let mut call = Call::get(self.actions);
            for id in ids {
                call = call.query("id", id);
            }
            let answer = self.send(doing, &call).await?;
            let mut body: Value = self.read(doing, &answer)?;
            let part = body.get_mut("actions").map(Value::take).unwrap_or_default();
            actions.extend(
                serde_json::from_value::<Vec<Action>>(part)
                    .map_err(|_| self.endless(doing, "no list of `actions`"))?,
            );
        }
        Ok(actions)
    }

    /// Waits for all these actions. An action that failed is `Refused`; one that is still running at the end too, with
    /// `Timeout` and its id. An action that the API does not know any more holds nobody up: every caller looks at the
    /// thing itself afterwards.
    pub async fn wait_for(
        &self,
        doing: &str,
        ids: &[i64],
        pace: &mut Pace,
    ) -> Result<(), ServiceError> {
        let mut open: Vec<i64> = ids.to_vec();
        let mut last;
        while !open.is_empty() {
            match self.actions(doing, &open).await {
                Ok(actions) => {
                    if let Some(action) = actions.iter().find(|a| a.status == "error") {
                        return Err(self.action_failed(doing, action));
                    }
                    let running = |id: &i64| {
                        let known = actions.iter().find(|action| action.id == *id);
                        known.is_some_and(|action| action.status != "success")
                    };
                    open.retain(running);
                    let words = |a: &Action| format!("{} ({}) is {}", a.id, a.command, a.status);
                    let going_on = actions.iter().filter(|a| open.contains(&a.id));
                    last = going_on.map(words).collect::<Vec<_>>().join(", ");
                }
                Err(error) if error.reason() == Reason::NotFound => return Ok(()),
                Err(error) if passing(&error) => last = error.to_string(),
                Err(error) => return Err(error),
            }
            if !open.is_empty() && !pace.pause().await {
                let message = format!("the provider has not finished: action {last}");
                return Err(self.refused(doing, Reason::Timeout, message));
            }
        }
        Ok(())
    }

    fn action_failed(&self, doing: &str, action: &Action) -> ServiceError {
        let said = action.error.clone().unwrap_or_default();
        let words = format!(
            "action {} ({}) failed: {}: {}",
            action.id, action.command, said.code, said.message
        );
        self.refused(doing, reason(&said.code).unwrap_or(Reason::Other), words)
    }
}

/// Errors after which the same request may be made again, since the provider was only busy or away.
pub fn passing(error: &ServiceError) -> bool {
    error.reason().passes() || matches!(error.reason(), Reason::Unknown | Reason::Timeout)
}

/// Reads `{"error":{"code","message"}}`. The code stays visible: it is what people search for.
fn said(refusal: &Refusal) -> (String, Option<Reason>) {
    let Some(error) = refusal.json.as_ref().and_then(|json| json.get("error")) else {
        return (refusal.words(), None);
    };
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or("");
    let code = text("code");
    let mut message = format!("{code}: {}", text("message"));
    if let Some(fields) = error.pointer("/details/fields").and_then(Value::as_array) {
        for field in fields {
            let name = field.get("name").and_then(Value::as_str).unwrap_or("?");
            message.push_str(&format!("; field `{name}`"));
        }
    }
    (message, reason(code))
}

/// The error codes of the API's reference that tell more than their status.
fn reason(code: &str) -> Option<Reason> {
    Some(match code {
        "unauthorized" | "forbidden" | "token_readonly" => Reason::Denied,
        "resource_unavailable" | "placement_error" | "no_space_left_in_location" => {
            Reason::NoCapacity
        }
        "resource_limit_exceeded" => Reason::Quota,
        "rate_limit_exceeded" => Reason::RateLimited,
        "conflict" | "locked" | "resource_in_use" => Reason::Busy,
        "not_found" => Reason::NotFound,
        "maintenance" | "unavailable" | "service_error" | "server_error" | "bad_gateway" => {
            Reason::Unreachable
        }
        "timeout" => Reason::Timeout,
        "uniqueness_error"
        | "invalid_input"
        | "json_error"
        | "protected"
        | "incorrect_zone_mode"
        | "unsupported_error"
        | "deprecated_api_endpoint" => Reason::Refused,
        _ => return None,
    })
}

/// A 404 of the API about the thing that was asked for. `api route not found` is one about the address.
fn proves_absence(refusal: &Refusal) -> bool {
    let Some(error) = refusal.json.as_ref().and_then(|json| json.get("error")) else {
        return false;
    };
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or("");
    refusal.status == 404 && text("code") == "not_found" && !text("message").contains("route")
}

/// The grammar of label values: 1 to 63 of `[A-Za-z0-9._-]` that begin and end with a letter or digit. Anything else
/// would also change the meaning of a selector.
pub fn check_label(value: &str) -> Result<(), String> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if value.len() <= 63
        && value.chars().all(inside)
        && edge(value.chars().next())
        && edge(value.chars().next_back())
    {
        Ok(())
    } else {
        Err(format!(
            "`{value}` cannot be a label: it must be 1 to 63 letters, digits, `-`, `_` or `.`, and begin and end with a letter or digit"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_change_a_selector() {
        for bad in [
            "",
            "a,dr-plan/run",
            "a=b",
            "-a",
            "a-",
            "a_",
            "a b",
            &"a".repeat(64),
        ] {
            assert!(check_label(bad).is_err(), "{bad}");
        }
        assert!(check_label("restore-db_2").is_ok());
    }
}
