//! Hetzner Cloud: servers of one project, through its API of version 1.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use url::Url;

use super::wait::{self, Pace};
use super::{Power, Provider, ProviderError, Server, ServerSpec, SizeOffer};
use crate::http::{Api, ApiSettings, Credential, HttpError, HttpOptions, Policy};
use crate::kind::Reason;
use crate::secret::{Mask, Secret};

mod client;
mod map;
mod wire;

/// Where the API lives.
pub const ENDPOINT: &str = "https://api.hetzner.cloud/v1";

/// How long one action of the provider (deletion, power) is waited for.
const ACTION: Duration = Duration::from_secs(300);

/// After this a power request that shows no effect is sent again; switching off twice is switching off.
const SEND_AGAIN: Duration = Duration::from_secs(15);

/// One project of one account.
pub struct Hetzner {
    client: client::Client,
    /// Actions of servers that this process created, for `created`: after a crash the server itself is asked.
    going_on: Mutex<HashMap<i64, Vec<i64>>>,
    patience: Duration,
}

/// What a client is made of.
pub struct Settings {
    /// The account's name: the name of its provider file.
    pub account: String,
    /// `ENDPOINT`, or a sandbox.
    pub endpoint: Url,
    /// A token of the project that can read and write.
    pub token: Secret,
    /// Masks what the API says.
    pub mask: Mask,
    /// Trust and proxies.
    pub http: HttpOptions,
    /// Tries and limits of one call.
    pub policy: Policy,
}

impl Hetzner {
    /// Makes the client; nothing is sent.
    ///
    /// # Errors
    /// See `HttpError`.
    pub fn new(settings: Settings) -> Result<Self, HttpError> {
        Ok(Self {
            client: client::Client {
                api: Api::new(ApiSettings {
                    account: settings.account,
                    base: settings.endpoint,
                    token: settings.token,
                    credential: Credential::Bearer,
                    mask: settings.mask,
                    http: settings.http,
                    policy: settings.policy,
                })?,
            },
            going_on: Mutex::default(),
            patience: ACTION,
        })
    }

    /// Waits for actions of the provider at most this long (default 5 minutes).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn refused(&self, doing: &str, reason: Reason, message: impl Into<String>) -> ProviderError {
        ProviderError::refused(self.client.api.account(), doing, reason, message)
    }

    /// Ids here are numbers. Anything else was never a server of this provider, and must not reach a path.
    fn id(&self, doing: &str, id: &str) -> Result<i64, ProviderError> {
        id.parse().ok().filter(|id| *id > 0).ok_or_else(|| {
            self.refused(
                doing,
                Reason::NotFound,
                format!("`{id}` is not an id of this provider"),
            )
        })
    }

    /// Waits for all these actions. An action that failed is `Refused`; one that is still running at the end too, with
    /// `Timeout` and its id. An action that the API does not know any more holds nobody up: every caller looks at the
    /// server itself afterwards.
    async fn wait_for(
        &self,
        doing: &str,
        ids: &[i64],
        pace: &mut Pace,
    ) -> Result<(), ProviderError> {
        let mut open: Vec<i64> = ids.to_vec();
        let mut last;
        while !open.is_empty() {
            match self.client.actions(doing, &open).await {
                Ok(actions) => {
                    if let Some(action) = actions.iter().find(|a| a.status == "error") {
                        return Err(self.action_failed(doing, action));
                    }
                    let running = |id: &i64| {
                        let known = actions.iter().find(|action| action.id == *id);
                        known.is_some_and(|action| action.status != "success")
                    };
                    open.retain(running);
                    let words =
                        |a: &wire::Action| format!("{} ({}) is {}", a.id, a.command, a.status);
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

    fn action_failed(&self, doing: &str, action: &wire::Action) -> ProviderError {
        let said = action.error.clone().unwrap_or_default();
        self.refused(
            doing,
            map::reason(&said.code).unwrap_or(Reason::Other),
            format!(
                "action {} ({}) failed: {}: {}",
                action.id, action.command, said.code, said.message
            ),
        )
    }
}

/// Errors after which the same request may be made again, since the provider was only busy or away.
fn passing(error: &ProviderError) -> bool {
    error.reason().passes() || matches!(error.reason(), Reason::Unknown | Reason::Timeout)
}

#[async_trait]
impl Provider for Hetzner {
    fn account(&self) -> &str {
        self.client.api.account()
    }

    async fn check_credentials(&self) -> Result<(), ProviderError> {
        self.client.one_server("checking the token").await
    }

    async fn sizes(&self, region: &str) -> Result<Vec<SizeOffer>, ProviderError> {
        let doing = format!("reading the sizes in `{region}`");
        let locations = self.client.locations(&doing).await?;
        if locations.iter().all(|location| location.name != region) {
            let names: Vec<String> = locations.into_iter().map(|l| l.name).collect();
            return Err(self.refused(
                &doing,
                Reason::NotFound,
                format!("there is no such region; there are {}", names.join(", ")),
            ));
        }
        let types = self.client.server_types(&doing).await?;
        Ok(types.into_iter().map(|t| map::offer(t, region)).collect())
    }

    async fn check_image(&self, image: &str, architecture: &str) -> Result<(), ProviderError> {
        let doing = format!("looking for image `{image}`");
        let images = self.client.images(&doing, image).await?;
        let fits = |i: &wire::Image| i.architecture.is_empty() || i.architecture == architecture;
        match images.iter().find(|i| fits(i)) {
            Some(found) if matches!(found.status.as_str(), "available" | "") => Ok(()),
            Some(found) => Err(self.refused(
                &doing,
                Reason::NotFound,
                format!(
                    "image {} ({}) is {}",
                    found.id,
                    found.name.as_deref().unwrap_or("no name"),
                    found.status
                ),
            )),
            None if images.is_empty() => {
                Err(self.refused(&doing, Reason::NotFound, "there is no such image"))
            }
            None => Err(self.refused(
                &doing,
                Reason::NotFound,
                format!("there is none for {architecture}"),
            )),
        }
    }

    async fn find(&self, run: &str, step: Option<&str>) -> Result<Vec<Server>, ProviderError> {
        let doing = match step {
            Some(step) => format!("looking for servers of run {run} step `{step}`"),
            None => format!("looking for servers of run {run}"),
        };
        for value in std::iter::once(run).chain(step) {
            map::check_label(value).map_err(|why| self.refused(&doing, Reason::Refused, why))?;
        }
        let selector = map::selector(run, step);
        let found = self
            .client
            .servers(&doing, Some(("label_selector", &selector)))
            .await?;
        Ok(found.into_iter().map(map::server).collect())
    }

    async fn servers(&self) -> Result<Vec<Server>, ProviderError> {
        let found = self.client.servers("listing all servers", None).await?;
        Ok(found.into_iter().map(map::server).collect())
    }

    async fn by_name(&self, name: &str) -> Result<Option<Server>, ProviderError> {
        let doing = format!("looking for server `{name}`");
        let found = self.client.servers(&doing, Some(("name", name))).await?;
        Ok(found
            .into_iter()
            .map(map::server)
            .find(|server| server.name == name))
    }

    async fn get(&self, id: &str) -> Result<Option<Server>, ProviderError> {
        let doing = format!("reading server {id}");
        let id = self.id(&doing, id)?;
        Ok(self.client.server(&doing, id).await?.map(map::server))
    }

    async fn create(&self, spec: &ServerSpec) -> Result<Server, ProviderError> {
        let doing = format!(
            "creating server `{}` ({} in {})",
            spec.name, spec.size, spec.region
        );
        map::check_spec(spec).map_err(|why| self.refused(&doing, Reason::Refused, why))?;
        let reply = self.client.create(&doing, spec).await?;
        let actions = reply.action.iter().chain(&reply.next_actions);
        self.going_on
            .lock()
            .expect("no holder panics")
            .insert(reply.server.id, actions.map(|action| action.id).collect());
        Ok(map::server(reply.server))
    }

    async fn created(&self, id: &str, within: Duration) -> Result<Server, ProviderError> {
        let doing = format!("waiting for server {id}");
        let number = self.id(&doing, id)?;
        let known = self
            .going_on
            .lock()
            .expect("no holder panics")
            .get(&number)
            .cloned();
        let mut pace = Pace::new(within);
        if let Some(actions) = known {
            self.wait_for(&doing, &actions, &mut pace).await?;
        }
        let server = wait::created(self, id, pace.left()).await?;
        self.going_on
            .lock()
            .expect("no holder panics")
            .remove(&number);
        Ok(server)
    }

    async fn delete(&self, id: &str) -> Result<(), ProviderError> {
        let doing = format!("deleting server {id}");
        let number = self.id(&doing, id)?;
        let mut pace = Pace::new(self.patience);
        // Asked for until it is accepted: a server that is being made is locked, and must still not stay behind.
        loop {
            match self.client.delete(&doing, number).await {
                Ok(None) => return Ok(()),
                Ok(Some(action)) => {
                    let ids: Vec<i64> = action.iter().map(|action| action.id).collect();
                    match self.wait_for(&doing, &ids, &mut pace).await {
                        Err(error) if !passing(&error) => return Err(error),
                        _ => break,
                    }
                }
                Err(error) if passing(&error) && pace.pause().await => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            let seen = self.client.server(&doing, number).await;
            match seen {
                Ok(None) => return Ok(()),
                Err(error) if !passing(&error) => return Err(error),
                Ok(Some(_)) | Err(_) if pace.pause().await => {}
                Err(error) => return Err(error),
                Ok(Some(server)) => {
                    return Err(self.refused(
                        &doing,
                        Reason::Timeout,
                        format!(
                            "accepted, but after {} it is still there ({})",
                            crate::units::duration(self.patience),
                            server.status
                        ),
                    ));
                }
            }
        }
    }

    async fn set_power(&self, id: &str, on: bool) -> Result<(), ProviderError> {
        let word = if on { "on" } else { "off" };
        let doing = format!("powering server {id} {word}");
        let number = self.id(&doing, id)?;
        let wanted = if on { Power::On } else { Power::Off };
        let mut pace = Pace::new(self.patience);
        let mut sent: Option<std::time::Instant> = None;
        loop {
            let mut trouble = None;
            match self.client.server(&doing, number).await {
                Ok(Some(server)) if map::server_power(&server) == wanted => return Ok(()),
                Ok(Some(_)) if sent.is_none_or(|at| at.elapsed() > SEND_AGAIN) => {
                    match self.client.power(&doing, number, on).await {
                        Ok(action) => {
                            sent = Some(std::time::Instant::now());
                            let ids: Vec<i64> = action.iter().map(|action| action.id).collect();
                            self.wait_for(&doing, &ids, &mut pace).await?;
                            // The state is looked at, not believed.
                            continue;
                        }
                        // The next look tells whether a lost request had its effect.
                        Err(error) if passing(&error) => trouble = Some(error),
                        Err(error) => return Err(error),
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Err(self.refused(&doing, Reason::NotFound, "there is no such server"));
                }
                Err(error) if passing(&error) => trouble = Some(error),
                Err(error) => return Err(error),
            }
            if !pace.pause().await {
                return Err(trouble.unwrap_or_else(|| {
                    let time = crate::units::duration(self.patience);
                    self.refused(
                        &doing,
                        Reason::Timeout,
                        format!("the provider does not call it {word} after {time}"),
                    )
                }));
            }
        }
    }
}
