//! Hetzner Cloud: servers of one project, through its API of version 1.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::address::Addresses;
use super::firewall::Firewalls;
use super::leftover::Leftovers;
use super::snapshot::Snapshots;
use super::wait::{self, Pace};
use super::{Power, Provider, ProviderError, Server, ServerSpec, SizeOffer};
use crate::http::HttpError;
use crate::http::hetzner::{check_label, passing};
use crate::kind::Reason;

pub use crate::http::hetzner::Settings;

mod addresses;
mod client;
mod firewalls;
mod leftovers;
mod map;
mod snapshots;
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
    /// Actions of servers and snapshots that this process created, for `created`: after a crash the thing itself is asked.
    going_on: Mutex<HashMap<i64, Vec<i64>>>,
    patience: Duration,
    labels: BTreeMap<String, String>,
}

impl Hetzner {
    /// Makes the client; nothing is sent.
    ///
    /// # Errors
    /// See `HttpError`.
    pub fn new(settings: Settings) -> Result<Self, HttpError> {
        let labels = settings.labels.clone();
        Ok(Self {
            labels,
            client: client::Client(settings.connect(&["actions"])?),
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
        self.client.refused(doing, reason, message)
    }
}

#[async_trait]
impl Provider for Hetzner {
    fn account(&self) -> &str {
        self.client.account()
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
            check_label(value).map_err(|why| self.refused(&doing, Reason::Refused, why))?;
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
        let id = self.client.id(&doing, id)?;
        Ok(self.client.server(&doing, id).await?.map(map::server))
    }

    async fn create(&self, spec: &ServerSpec) -> Result<Server, ProviderError> {
        let doing = format!(
            "creating server `{}` ({} in {})",
            spec.name, spec.size, spec.region
        );
        map::check_spec(spec).map_err(|why| self.refused(&doing, Reason::Refused, why))?;
        let labels = map::labels(&spec.tags, &self.labels);
        let reply = self.client.create(&doing, spec, labels).await?;
        let actions = reply.action.iter().chain(&reply.next_actions);
        self.going_on
            .lock()
            .expect("no holder panics")
            .insert(reply.server.id, actions.map(|action| action.id).collect());
        Ok(map::server(reply.server))
    }

    async fn created(&self, id: &str, within: Duration) -> Result<Server, ProviderError> {
        let doing = format!("waiting for server {id}");
        let number = self.client.id(&doing, id)?;
        let known = self
            .going_on
            .lock()
            .expect("no holder panics")
            .get(&number)
            .cloned();
        let mut pace = Pace::new(within);
        if let Some(actions) = known {
            self.client.wait_for(&doing, &actions, &mut pace).await?;
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
        let number = self.client.id(&doing, id)?;
        let mut pace = Pace::new(self.patience);
        // Asked for until it is accepted: a server that is being made is locked, and must still not stay behind.
        loop {
            let path = ["servers", &number.to_string()];
            match self.client.delete(&doing, &path).await {
                Ok(None) => return Ok(()),
                Ok(Some(begun)) => {
                    match self.client.wait_for(&doing, &begun.ids(), &mut pace).await {
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

    fn addresses(&self) -> Result<&dyn Addresses, ProviderError> {
        Ok(self)
    }

    fn firewalls(&self) -> Result<&dyn Firewalls, ProviderError> {
        Ok(self)
    }

    fn leftovers(&self) -> Result<&dyn Leftovers, ProviderError> {
        Ok(self)
    }

    fn snapshots(&self) -> Result<&dyn Snapshots, ProviderError> {
        Ok(self)
    }

    async fn set_power(&self, id: &str, on: bool) -> Result<(), ProviderError> {
        let word = if on { "on" } else { "off" };
        let doing = format!("powering server {id} {word}");
        let number = self.client.id(&doing, id)?;
        let wanted = if on { Power::On } else { Power::Off };
        let mut pace = Pace::new(self.patience);
        let mut sent: Option<std::time::Instant> = None;
        loop {
            let mut trouble = None;
            match self.client.server(&doing, number).await {
                Ok(Some(server)) if map::server_power(&server) == wanted => return Ok(()),
                Ok(Some(_)) if sent.is_none_or(|at| at.elapsed() > SEND_AGAIN) => {
                    match self.client.power(&doing, number, on).await {
                        Ok(begun) => {
                            sent = Some(std::time::Instant::now());
                            self.client
                                .wait_for(&doing, &begun.ids(), &mut pace)
                                .await?;
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
