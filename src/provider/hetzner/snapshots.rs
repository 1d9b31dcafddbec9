//! Snapshots: images of the type `snapshot`, made by an action of their server.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::{Hetzner, map, wire};
use crate::http::Call;
use crate::http::hetzner::{check_label, passing};
use crate::kind::Reason;
use crate::provider::ProviderError;
use crate::provider::snapshot::{Snapshot, SnapshotSpec, Snapshots, State};
use crate::provider::wait::Pace;

fn all() -> Call {
    Call::get(&["images"]).query("type", "snapshot")
}

#[async_trait]
impl Snapshots for Hetzner {
    async fn find(&self, run: &str, step: &str) -> Result<Vec<Snapshot>, ProviderError> {
        let doing = format!("looking for snapshots of run {run} step `{step}`");
        for value in [run, step] {
            check_label(value).map_err(|why| self.refused(&doing, Reason::Refused, why))?;
        }
        let call = all().query("label_selector", map::selector(run, Some(step)));
        let found = self.client.list::<wire::Image>(&doing, call, "images");
        Ok(found.await?.into_iter().map(map::snapshot).collect())
    }

    async fn of_server(&self, name: &str) -> Result<Vec<Snapshot>, ProviderError> {
        let doing = format!("looking for snapshots of server `{name}`");
        let found = self.client.list::<wire::Image>(&doing, all(), "images");
        let mut found: Vec<Snapshot> = found.await?.into_iter().map(map::snapshot).collect();
        found.retain(|snapshot| snapshot.of_name.as_deref() == Some(name));
        Ok(found)
    }

    async fn get(&self, id: &str) -> Result<Option<Snapshot>, ProviderError> {
        let doing = format!("reading snapshot {id}");
        let id = self.client.id(&doing, id)?;
        let call = Call::get(&["images", &id.to_string()]);
        let found = self.client.look::<wire::Image>(&doing, &call, "image");
        // A system image or a backup that goes with its server is no snapshot, whatever its id.
        let own = found.await?.filter(|image| image.kind == "snapshot");
        Ok(own.map(map::snapshot))
    }

    async fn create(&self, spec: &SnapshotSpec) -> Result<Snapshot, ProviderError> {
        let doing = format!("asking for a snapshot of server {}", spec.server);
        let server = self.client.id(&doing, &spec.server)?;
        for value in [&spec.tags.run, &spec.tags.step] {
            check_label(value).map_err(|why| self.refused(&doing, Reason::Refused, why))?;
        }
        let path = ["servers", &server.to_string(), "actions", "create_image"];
        let call = Call::post(&path).body(json!({
            "type": "snapshot",
            "description": spec.name,
            "labels": map::labels(&spec.tags, &self.labels),
        }));
        let answer = self.client.send(&doing, &call).await?;
        let reply: wire::ImageReply = self.client.read(&doing, &answer)?;
        let actions = reply.action.iter().map(|action| action.id).collect();
        self.going_on
            .lock()
            .expect("no holder panics")
            .insert(reply.image.id, actions);
        Ok(map::snapshot(reply.image))
    }

    async fn created(&self, id: &str, within: Duration) -> Result<Snapshot, ProviderError> {
        let doing = format!("waiting for snapshot {id}");
        let number = self.client.id(&doing, id)?;
        let known = {
            let going_on = self.going_on.lock().expect("no holder panics");
            going_on.get(&number).cloned()
        };
        let mut pace = Pace::new(within);
        if let Some(actions) = known {
            self.client.wait_for(&doing, &actions, &mut pace).await?;
        }
        loop {
            let saw = match Snapshots::get(self, id).await {
                Ok(Some(snapshot)) if snapshot.state == State::Ready => {
                    self.going_on
                        .lock()
                        .expect("no holder panics")
                        .remove(&number);
                    return Ok(snapshot);
                }
                Ok(Some(snapshot)) if snapshot.state == State::Broken => {
                    let words = "the provider could not make it";
                    return Err(self.refused(&doing, Reason::Other, words));
                }
                Ok(Some(_)) => "it is being made".to_string(),
                Ok(None) => "it is not known there".to_string(),
                Err(error) if passing(&error) => error.to_string(),
                Err(error) => return Err(error),
            };
            if !pace.pause().await {
                let time = crate::units::duration(within);
                let words = format!("not ready after {time}: {saw}");
                return Err(self.refused(&doing, Reason::Timeout, words));
            }
        }
    }

    async fn delete(&self, id: &str) -> Result<(), ProviderError> {
        let doing = format!("deleting snapshot {id}");
        let number = self.client.id(&doing, id)?;
        let mut pace = Pace::new(self.patience);
        let path = ["images", &number.to_string()];
        loop {
            // Asked for until it is accepted: one that is being made is locked, and must still not stay behind.
            let trouble = match self.client.delete(&doing, &path).await {
                Ok(None) => return Ok(()),
                Ok(Some(begun)) => {
                    self.client
                        .wait_for(&doing, &begun.ids(), &mut pace)
                        .await?;
                    match Snapshots::get(self, id).await {
                        Ok(None) => return Ok(()),
                        Ok(Some(_)) => {
                            self.refused(&doing, Reason::Timeout, "accepted, but it is still there")
                        }
                        Err(error) if passing(&error) => error,
                        Err(error) => return Err(error),
                    }
                }
                Err(error) if passing(&error) => error,
                Err(error) => return Err(error),
            };
            if !pace.pause().await {
                return Err(trouble);
            }
        }
    }
}
