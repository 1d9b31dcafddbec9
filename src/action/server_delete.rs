//! `server.delete`: takes a server of the inventory away for good, proved by a 404. A protected one never.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::server_named::Named;
use super::{Action, Bind, Context, Verb, Verified};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Resource, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `server.delete`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerDelete {
    /// A host of the inventory.
    server: String,
    #[serde(skip)]
    named: Option<Named>,
}

impl Verb for ServerDelete {
    const NAME: &'static str = "server.delete";
    const EFFECT: Effect = Effect::Destroy;
    const UNDO: Undo = Undo::NeedsHuman;
    const SUMMARY: &'static str = "Deletes a server for good, proved by a 404.";
    const TIMEOUT: Duration = Duration::from_secs(600);
    const TAKES: Duration = Duration::from_secs(30);

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let named = Named::bind(&self.server, args, bind).map_err(|problem| vec![problem])?;
        if named.protected {
            let words = format!("`{}` is protected by the inventory", self.server);
            return Err(vec![Problem::error(
                "protected",
                args.place_of("server"),
                words,
            )]);
        }
        self.named = Some(named);
        Ok(Box::new(self))
    }
}

impl ServerDelete {
    fn named(&self) -> &Named {
        self.named.as_ref().expect("bind filled it in")
    }
}

#[async_trait]
impl Action for ServerDelete {
    fn title(&self) -> String {
        format!(
            "delete server {} at {}",
            self.named().name,
            self.named().account
        )
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        // An earlier process of this run may have got as far as the deletion and no further.
        if let Some(id) = cx.noted_text("server") {
            let provider = cx.services.provider(&self.named().account)?;
            if provider.get(&id).await?.is_none() {
                let words = format!("server {id} was deleted by this run already");
                return Ok(vec![Finding::verified(words)]);
            }
        }
        let (_, server) = self.named().find(cx).await?;
        if server.protected {
            let words = format!(
                "{} is protected against deletion at {}",
                server.name,
                self.named().account
            );
            return Err(Failure::new(Reason::Refused, words));
        }
        Ok(vec![Finding::verified(format!(
            "{} ({}) will be deleted for good",
            server.name, server.id
        ))])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let provider = cx.services.provider(&self.named().account)?;
        // Gone counts only for the very server that this step looked at: no list that comes back empty is a proof.
        if let Some(id) = cx.noted_text("server") {
            return Ok(if provider.get(&id).await?.is_none() {
                Observation::Done
            } else {
                Observation::Absent
            });
        }
        self.named().find(cx).await?;
        Ok(Observation::Absent)
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let provider = cx.services.provider(&self.named().account)?;
        let id = match cx.noted_text("server") {
            Some(id) => id,
            None => {
                let (_, server) = self.named().find(cx).await?;
                cx.note("server", server.id.clone()).await?;
                server.id
            }
        };
        provider.delete(&id).await?;
        let resource = Resource {
            kind: "server".into(),
            account: self.named().account.clone(),
            id: id.clone(),
            name: self.named().name.clone(),
        };
        cx.gone(resource, format!("GET of {id} answers 404")).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let provider = cx.services.provider(&self.named().account)?;
        let id = cx.noted_text("server").unwrap_or_default();
        match provider.get(&id).await? {
            None => Ok(Verified::seen(format!("server {id}"), "GET answers 404")),
            Some(server) => Err(Failure::new(
                Reason::Verify,
                format!("{} still exists", server.name),
            )),
        }
    }

    async fn undo(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        Err(Failure::new(
            Reason::Refused,
            format!("{} is gone for good", self.named().name),
        ))
    }
}
