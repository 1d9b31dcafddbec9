//! What drills of a project have left, by their label.

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::{Hetzner, map, wire};
use crate::http::Call;
use crate::kind::Reason;
use crate::provider::firewall::Firewalls;
use crate::provider::leftover::{EXPIRES, Leftover, Leftovers};
use crate::provider::snapshot::Snapshots;
use crate::provider::{Provider, ProviderError};

/// What is asked for, by the names of the API.
trait Labelled {
    fn leftover(self) -> Leftover;
}

fn marked(
    kind: &'static str,
    (id, name): (i64, String),
    labels: &std::collections::BTreeMap<String, String>,
) -> Leftover {
    Leftover {
        kind,
        id: id.to_string(),
        name,
        run: labels.get(map::RUN).cloned(),
        step: labels.get(map::STEP).cloned(),
        expires: labels.get(EXPIRES).cloned(),
    }
}

impl Labelled for wire::Server {
    fn leftover(self) -> Leftover {
        marked("server", (self.id, self.name), &self.labels)
    }
}

impl Labelled for wire::Firewall {
    fn leftover(self) -> Leftover {
        marked("firewall", (self.id, self.name), &self.labels)
    }
}

impl Labelled for wire::Image {
    fn leftover(self) -> Leftover {
        marked("snapshot", (self.id, self.description), &self.labels)
    }
}

impl Hetzner {
    async fn labelled<T: Labelled + DeserializeOwned>(
        &self,
        call: Call,
        key: &str,
        label: &str,
    ) -> Result<Vec<Leftover>, ProviderError> {
        let doing = format!("looking for {key} with the label {label}");
        let call = call.query("label_selector", label);
        let found = self.client.list::<T>(&doing, call, key).await?;
        Ok(found.into_iter().map(Labelled::leftover).collect())
    }

    async fn one<T: Labelled + DeserializeOwned>(
        &self,
        leftover: &Leftover,
        (path, key): (&str, &str),
    ) -> Result<Option<Leftover>, ProviderError> {
        let doing = format!("reading {} {}", leftover.kind, leftover.id);
        let id = self.client.id(&doing, &leftover.id)?.to_string();
        let call = Call::get(&[path, &id]);
        let found = self.client.look::<T>(&doing, &call, key).await?;
        Ok(found.map(Labelled::leftover))
    }
}

#[async_trait]
impl Leftovers for Hetzner {
    async fn of_drills(&self) -> Result<Vec<Leftover>, ProviderError> {
        let servers = Call::get(&["servers"]);
        let firewalls = Call::get(&["firewalls"]);
        let images = Call::get(&["images"]).query("type", "snapshot");
        let mut all = self
            .labelled::<wire::Server>(servers, "servers", EXPIRES)
            .await?;
        all.extend(
            self.labelled::<wire::Firewall>(firewalls, "firewalls", EXPIRES)
                .await?,
        );
        all.extend(
            self.labelled::<wire::Image>(images, "images", EXPIRES)
                .await?,
        );
        // A filter that a service ignores would hand us strangers.
        all.retain(|one| one.expires.is_some());
        Ok(all)
    }

    async fn of_runs(&self) -> Result<Vec<Leftover>, ProviderError> {
        let servers = Call::get(&["servers"]);
        let mut all = self
            .labelled::<wire::Server>(servers, "servers", map::RUN)
            .await?;
        all.retain(|one| one.run.is_some() && one.expires.is_none());
        Ok(all)
    }

    async fn remove(&self, leftover: &Leftover) -> Result<(), ProviderError> {
        let now = match leftover.kind {
            "server" => {
                self.one::<wire::Server>(leftover, ("servers", "server"))
                    .await
            }
            "firewall" => {
                self.one::<wire::Firewall>(leftover, ("firewalls", "firewall"))
                    .await
            }
            _ => self.one::<wire::Image>(leftover, ("images", "image")).await,
        };
        match now? {
            None => return Ok(()),
            Some(now) if now.expires.is_none() => {
                let doing = format!("deleting {} {}", leftover.kind, leftover.id);
                let words = "it does not carry the label of a drill any more: left alone";
                return Err(self.refused(&doing, Reason::Refused, words));
            }
            Some(_) => {}
        }
        match leftover.kind {
            "server" => Provider::delete(self, &leftover.id).await,
            "firewall" => Firewalls::delete(self, &leftover.id).await,
            _ => Snapshots::delete(self, &leftover.id).await,
        }
    }
}
