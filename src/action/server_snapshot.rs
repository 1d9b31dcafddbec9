//! `server.snapshot`: a copy of a server's disk at its provider, from which `server.from_snapshot` makes new ones. Of a
//! server that runs, it holds what a power cut would leave: databases come up from it by their own recovery.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::server_named::Named;
use super::snapshot_choice::UNKNOWN;
use super::{Action, Bind, Context, Verb, Verified};
use crate::kind::{
    Effect, Evidence, Failure, Finding, Observation, Output, Reason, Resource, Undo,
};
use crate::problem::Problem;
use crate::provider::snapshot::{Snapshot, SnapshotSpec, State};
use crate::provider::{Power, Provider, Tags, reconcile};
use crate::units::bytes;
use crate::yaml::Node;

/// How long a snapshot may stay invisible after a request whose answer was lost.
const SETTLE: Duration = Duration::from_secs(90);

/// How long the provider may take to make it: minutes for each tens of gigabytes.
const MADE: Duration = Duration::from_secs(3 * 3600);

/// Arguments of `server.snapshot`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSnapshot {
    /// A host of the inventory.
    server: String,
    #[serde(skip)]
    named: Option<Named>,
}

impl Verb for ServerSnapshot {
    const NAME: &'static str = "server.snapshot";
    const EFFECT: Effect = Effect::Create;
    const UNDO: Undo = Undo::DeleteOwn;
    const SUMMARY: &'static str = "Makes a snapshot of a server at its provider.";
    const TIMEOUT: Duration = MADE;

    fn sample(&self) -> Output {
        [
            ("image", UNKNOWN),
            ("server", self.server.as_str()),
            ("taken", "2026-01-01T00:00:00Z"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.into()))
        .collect()
    }

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let named = Named::bind(&self.server, args, "server", bind);
        self.named = Some(named.map_err(|problem| vec![problem])?);
        Ok(Box::new(self))
    }
}

impl ServerSnapshot {
    fn named(&self) -> &Named {
        self.named.as_ref().expect("bind filled it in")
    }

    fn provider(&self, cx: &Context) -> Result<Arc<dyn Provider>, Failure> {
        cx.services.provider(&self.named().account)
    }

    fn resource(&self, snapshot: &Snapshot) -> Resource {
        Resource {
            kind: "snapshot".into(),
            account: self.named().account.clone(),
            id: snapshot.id.clone(),
            name: snapshot.name.clone(),
        }
    }

    async fn ours(&self, cx: &Context, provider: &dyn Provider) -> Result<Vec<Snapshot>, Failure> {
        let tags = tags(cx);
        let mut ours = provider.snapshots()?.find(&tags.run, &tags.step).await?;
        ours.retain(|snapshot| snapshot.tags.as_ref() == Some(&tags));
        ours.sort_by_key(|snapshot| (snapshot.id.len(), snapshot.id.clone()));
        Ok(ours)
    }

    async fn drop(
        &self,
        cx: &Context,
        provider: &dyn Provider,
        snapshot: &Snapshot,
    ) -> Result<Evidence, Failure> {
        provider.snapshots()?.delete(&snapshot.id).await?;
        let proof = format!("GET of {} answers 404", snapshot.id);
        cx.gone(self.resource(snapshot), &proof).await?;
        Ok(Evidence::new(
            format!("snapshot `{}`", snapshot.name),
            proof,
        ))
    }
}

fn tags(cx: &Context) -> Tags {
    Tags {
        run: cx.run.to_string(),
        step: cx.step.to_string(),
    }
}

#[async_trait]
impl Action for ServerSnapshot {
    fn title(&self) -> String {
        format!("snapshot of {} at {}", self.server, self.named().account)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let (provider, server) = self.named().find(cx).await?;
        provider.snapshots()?;
        let mut findings = vec![Finding::verified(format!(
            "{} ({}) is {} at {} and can be asked for a snapshot",
            server.name,
            server.id,
            server.power,
            provider.account()
        ))];
        if server.power == Power::On {
            findings.push(Finding::assumed(
                "it runs: the snapshot will hold what a power cut would leave",
            ));
        }
        Ok(findings)
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let ours = self.ours(cx, &*self.provider(cx)?).await?;
        Ok(match ours.as_slice() {
            [] => Observation::Absent,
            [one]
                if one.state == State::Ready && cx.noted_text("image") == Some(one.id.clone()) =>
            {
                Observation::Done
            }
            [one] => Observation::Partial {
                what: format!("snapshot {} is {:?}", one.id, one.state).to_lowercase(),
            },
            many => Observation::Partial {
                what: format!("{} snapshots carry the tag of this step", many.len()),
            },
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let provider = self.provider(cx)?;
        let noted = cx.noted_text("image");
        let mut kept: Option<Snapshot> = None;
        for snapshot in self.ours(cx, &*provider).await? {
            let ours = noted.as_deref().is_none_or(|id| id == snapshot.id);
            if kept.is_none() && ours && snapshot.state != State::Broken {
                kept = Some(snapshot);
                continue;
            }
            cx.log(format!(
                "snapshot {} is of no use or a second one; deleting it",
                snapshot.id
            ));
            cx.made(self.resource(&snapshot)).await?;
            self.drop(cx, &*provider, &snapshot).await?;
        }
        let snapshot = match kept {
            Some(snapshot) => snapshot,
            None => {
                let (_, server) = self.named().find(cx).await?;
                cx.note("of", server.id.clone()).await?;
                let spec = SnapshotSpec {
                    server: server.id,
                    name: format!("dr-plan {} {} {}", cx.run.short(), cx.step, server.name),
                    tags: tags(cx),
                };
                let made = reconcile::snapshot_once(&*provider, &spec, SETTLE).await?;
                if made.adopted {
                    cx.log("the answer was lost, and the snapshot was found by its tag");
                }
                made.it
            }
        };
        cx.made(self.resource(&snapshot)).await?;
        cx.note("image", snapshot.id.clone()).await?;
        provider.snapshots()?.created(&snapshot.id, MADE).await?;
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let wrong = |words: String| Err(Failure::new(Reason::Verify, words));
        let Some(id) = cx.noted_text("image") else {
            return wrong("no snapshot was noted".into());
        };
        let provider = self.provider(cx)?;
        let Some(snapshot) = provider.snapshots()?.get(&id).await? else {
            return wrong(format!("{} has no snapshot {id}", provider.account()));
        };
        if snapshot.state != State::Ready {
            return wrong(format!("snapshot {id} is {:?}", snapshot.state));
        }
        if snapshot.of != cx.noted_text("of") {
            return wrong(format!(
                "snapshot {id} is of another server ({})",
                snapshot.of.as_deref().unwrap_or("nobody knows which")
            ));
        }
        let taken = snapshot.taken.map(|at| at.to_string()).unwrap_or_default();
        let seen = Verified::seen(
            format!("snapshot {id} at {}", provider.account()),
            format!("available, {} disk, taken {taken}", bytes(snapshot.disk)),
        );
        Ok(seen
            .with("image", id)
            .with("server", self.server.clone())
            .with("taken", taken))
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let provider = self.provider(cx)?;
        let mut evidence = Vec::new();
        for snapshot in self.ours(cx, &*provider).await? {
            evidence.push(self.drop(cx, &*provider, &snapshot).await?);
        }
        Ok(evidence)
    }
}
