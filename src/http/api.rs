//! The transport of every JSON API: address, token, tries, limits, and texts that are safe to show.

use std::time::{Duration, Instant};

use backon::Retryable;
use bytes::{Bytes, BytesMut};
use reqwest::Method;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::client::fresh_connections;
use super::policy::{asked_to_wait, changing, repeatable};
use super::text::SafeText;
use super::{Answer, CallError, HttpError, HttpOptions, Policy, Refusal, http_client};
use crate::kind::{Reason, chain};
use crate::secret::{Mask, Secret};

/// How the token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer TOKEN`.
    Bearer,
    /// A header of its own, such as `X-API-Key`.
    Header(&'static str),
}

/// What an API client is made of.
pub struct ApiSettings {
    /// The account's name, for messages.
    pub account: String,
    /// The address under which all paths lie.
    pub base: Url,
    /// The token.
    pub token: Secret,
    /// How it travels.
    pub credential: Credential,
    /// Masks what the service says.
    pub mask: Mask,
    /// Trust and proxies. Time limits of one try come from the policy.
    pub http: HttpOptions,
    /// Tries and limits.
    pub policy: Policy,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Call {
    /// A request of `method` to the path made of `segments`; each is percent-encoded, so no value can leave its place.
    pub fn new(method: Method, segments: &[&str]) -> Self {
        Self {
            method,
            path: segments.iter().map(|s| (*s).to_string()).collect(),
            query: Vec::new(),
            body: None,
        }
    }

    /// `GET`.
    pub fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    /// `POST`.
    pub fn post(segments: &[&str]) -> Self {
        Self::new(Method::POST, segments)
    }

    /// `DELETE`.
    pub fn delete(segments: &[&str]) -> Self {
        Self::new(Method::DELETE, segments)
    }

    /// Adds a query parameter; the same name may come again.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Sets the JSON body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

/// A client of one account's API.
pub struct Api {
    account: String,
    base: Url,
    header: HeaderName,
    credential: HeaderValue,
    text: SafeText,
    policy: Policy,
    /// Keeps connections open: for requests that may be sent again.
    pooled: reqwest::Client,
    /// Opens one for each request: for those that may not.
    single: reqwest::Client,
}

/// A try that failed: the error if it was the last, and whether another may follow.
struct Failed {
    error: CallError,
    again: bool,
    wait: Option<Duration>,
}

impl Api {
    /// Makes the client; nothing is sent.
    ///
    /// # Errors
    /// A base address without a host, a token that no header can hold, or TLS that cannot be set up.
    pub fn new(settings: ApiSettings) -> Result<Self, HttpError> {
        let base = settings.base;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(HttpError::Address {
                address: format!("{}://{}", base.scheme(), base.host_str().unwrap_or("")),
                why: "it must begin with https:// and name a host".into(),
            });
        }
        let token = || HttpError::Token {
            account: settings.account.clone(),
        };
        let (header, text) = match settings.credential {
            Credential::Bearer => (AUTHORIZATION, format!("Bearer {}", settings.token.expose())),
            Credential::Header(name) => (
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| token())?,
                settings.token.expose().to_string(),
            ),
        };
        let mut credential = HeaderValue::from_str(&text).map_err(|_| token())?;
        credential.set_sensitive(true);
        let http = HttpOptions {
            total: settings.policy.one_try,
            connect: settings.http.connect.min(settings.policy.one_try),
            ..settings.http
        };
        Ok(Self {
            account: settings.account,
            base,
            header,
            credential,
            text: SafeText::new(settings.mask, settings.token),
            policy: settings.policy,
            pooled: http_client(&http)?,
            single: fresh_connections(&http)?,
        })
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Sends the request, and sends it again where that cannot do harm: reads, PUT and DELETE after 429, 408, 5xx, lost
    /// answers and failed connections; POST and PATCH only when the connection failed before anything was sent,
    /// or after a 429.
    ///
    /// # Errors
    /// The last try's end, as one of the three outcomes.
    pub async fn send(&self, call: &Call) -> Result<Answer, CallError> {
        if self.policy.looks_only && changing(&call.method) {
            return Err(CallError::Unreached {
                message: format!(
                    "{} was not sent: this run only looks at what stands there",
                    call.method
                ),
                reason: Reason::Other,
            });
        }
        let end = Instant::now() + self.policy.overall;
        (|| self.once(call, end))
            .retry(self.policy.backoff())
            .when(|failed: &Failed| failed.again)
            .adjust(|failed: &Failed, wait| {
                // `None` from the backoff means that the tries are used up.
                let wait = failed.wait.map_or(wait?, |asked| asked.max(Duration::from_millis(10)));
                (wait < end.saturating_duration_since(Instant::now())).then_some(wait)
            })
            .notify(|failed: &Failed, wait| {
                tracing::debug!(account = %self.account, method = %call.method, path = %call.path.join("/"),
                    error = %failed.error, ?wait, "asking again");
            })
            .await
            .map_err(|failed| failed.error)
    }

    async fn once(&self, call: &Call, end: Instant) -> Result<Answer, Failed> {
        let repeatable = repeatable(&call.method);
        let client = if repeatable {
            &self.pooled
        } else {
            &self.single
        };
        let left = end.saturating_duration_since(Instant::now());
        let mut request = client
            .request(call.method.clone(), self.address(call))
            .header(self.header.clone(), self.credential.clone())
            .header(ACCEPT, "application/json")
            .timeout(self.policy.one_try.min(left));
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let mut response = request
            .send()
            .await
            .map_err(|error| self.no_answer(call, error.without_url()))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let body = match self.read(&mut response).await {
            Ok(body) => body,
            Err(Cut::Long) if status.is_success() => {
                return Err(self.cut(call, status.as_u16(), "is longer than any real one", false));
            }
            Err(Cut::Lost(why)) if status.is_success() => {
                return Err(self.cut(call, status.as_u16(), &why, repeatable));
            }
            // The status of a refusal says what matters; its text is lost.
            Err(_) => Bytes::new(),
        };
        if status.is_success() {
            return Ok(Answer {
                status: status.as_u16(),
                headers,
                body,
                changing: changing(&call.method),
            });
        }
        let status = status.as_u16();
        let asked = asked_to_wait(status, &headers, self.policy.longest_reset);
        let refusal = Refusal {
            status,
            text: self.text.safe(&String::from_utf8_lossy(&body)),
            json: self.text.safe_json(&body),
            headers,
            retry_after: asked.map(|(told, _)| told),
        };
        let passing = matches!(status, 408 | 500..=599);
        let error = if passing && changing(&call.method) {
            CallError::Unknown {
                message: format!("HTTP {status}: {}", refusal.words()),
                refusal: Some(Box::new(refusal)),
            }
        } else {
            CallError::Refused(Box::new(refusal))
        };
        Err(Failed {
            error,
            again: status == 429 || (passing && repeatable),
            wait: asked.map(|(_, waited)| waited),
        })
    }

    fn address(&self, call: &Call) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&call.path);
        }
        url
    }

    fn no_answer(&self, call: &Call, error: reqwest::Error) -> Failed {
        let repeatable = repeatable(&call.method);
        let host = self.base.host_str().unwrap_or("");
        let mut message = format!("{host}: {}", self.text.safe(&chain(&error)));
        if message.contains("UnknownIssuer") {
            message.push_str(
                " (no trusted authority signed it: install ca-certificates, or name its authority with --ca-file)",
            );
        }
        let reason = if error.is_timeout() {
            Reason::Timeout
        } else {
            Reason::Unreachable
        };
        // No connection, no request: also for a POST nothing can have happened.
        let unsent = error.is_connect() || error.is_builder();
        Failed {
            error: if unsent || !changing(&call.method) {
                CallError::Unreached { message, reason }
            } else {
                CallError::Unknown {
                    message,
                    refusal: None,
                }
            },
            again: error.is_connect() || (repeatable && !error.is_builder()),
            wait: None,
        }
    }

    fn cut(&self, call: &Call, status: u16, why: &str, again: bool) -> Failed {
        let message = format!("HTTP {status}, but its body {}", self.text.safe(why));
        Failed {
            error: if changing(&call.method) {
                CallError::Unknown {
                    message,
                    refusal: None,
                }
            } else {
                CallError::Unreached {
                    message,
                    reason: Reason::Unreachable,
                }
            },
            again,
            wait: None,
        }
    }

    async fn read(&self, response: &mut reqwest::Response) -> Result<Bytes, Cut> {
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    if body.len() + chunk.len() > self.policy.longest_answer {
                        return Err(Cut::Long);
                    }
                    body.extend_from_slice(&chunk);
                }
                Ok(None) => return Ok(body.freeze()),
                Err(error) => return Err(Cut::Lost(format!("was lost: {}", chain(&error)))),
            }
        }
    }
}

enum Cut {
    Long,
    Lost(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(base: &str, token: &str) -> Result<Api, HttpError> {
        Api::new(ApiSettings {
            account: "here".into(),
            base: base.parse().unwrap(),
            token: Secret::new(token.into()),
            credential: Credential::Bearer,
            mask: Mask::default(),
            http: HttpOptions::default(),
            policy: Policy::default(),
        })
    }

    #[test]
    fn a_value_cannot_leave_its_place_in_the_path() {
        let api = api("https://api.example/v1/", "0123456789abcdef").unwrap();
        let url = api.address(&Call::get(&["servers", "../actions?x=1"]));
        assert_eq!(url.path(), "/v1/servers/..%2Factions%3Fx=1");
        assert_eq!(url.query(), None);
    }

    #[test]
    fn a_token_with_a_line_break_is_refused_without_being_shown() {
        let error = api("https://api.example/v1", "0123456789\nabcdef")
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("`here`") && !error.contains("0123456789"),
            "{error}"
        );
    }

    #[test]
    fn an_address_without_a_host_is_refused() {
        assert!(matches!(
            api("file:///etc", "0123456789"),
            Err(HttpError::Address { .. })
        ));
    }

    #[tokio::test]
    async fn a_client_that_only_looks_sends_nothing_that_could_have_an_effect() {
        // Nobody listens: what is sent fails otherwise.
        let mut api = api("http://127.0.0.1:1/v1", "0123456789abcdef").unwrap();
        api.policy.looks_only = true;
        api.policy.tries = 1;
        for call in [Call::post(&["servers"]), Call::delete(&["servers", "1"])] {
            let said = api.send(&call).await.unwrap_err().to_string();
            assert!(said.contains("only looks"), "{said}");
        }
        let said = api.send(&Call::get(&["servers"])).await.unwrap_err();
        assert!(!said.to_string().contains("only looks"), "{said}");
    }
}
