//! `notify`: tells people. At least once: after a crash a message may come twice, never not at all.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Bind, Context, Verb, Verified};
use crate::kind::{Effect, Evidence, Failure, Finding, Mode, Observation, Reason, Undo};
use crate::message::{self, Message};
use crate::problem::{Problem, nearest};
use crate::yaml::Node;

/// Arguments of `notify`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// A channel of the inventory's `notify:`.
    to: String,
    /// The text; what the run has come to, if nothing is said.
    message: Option<String>,
}

impl Verb for Notify {
    const NAME: &'static str = "notify";
    const EFFECT: Effect = Effect::Tell;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Sends a message to a channel of the inventory.";
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        if bind.inventory.notify.contains_key(&self.to) {
            return Ok(Box::new(self));
        }
        let words = format!("the inventory has no channel `{}` under `notify:`", self.to);
        let problem = Problem::error("unknown-channel", args.place_of("to"), words);
        Err(vec![
            match nearest(&self.to, bind.inventory.notify.keys().map(String::as_str)) {
                Some(near) => problem.instead(near),
                None => problem,
            },
        ])
    }
}

impl Notify {
    fn text(&self, cx: &Context) -> String {
        let told = self.message.clone().unwrap_or_else(|| cx.story.clone());
        // A rehearsal must never read like the real thing.
        if cx.mode == Mode::Drill {
            format!("DRILL: {told}")
        } else {
            told
        }
    }
}

#[async_trait]
impl Action for Notify {
    fn title(&self) -> String {
        format!("tell {}", self.to)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        cx.services.channel(&self.to).await?;
        if cx.mode == Mode::Drill {
            let words = format!("a message to {} is printed, not sent", self.to);
            return Ok(vec![Finding::verified(words)]);
        }
        Ok(vec![Finding::assumed(format!(
            "messages reach {}",
            self.to
        ))])
    }

    fn message(&self, cx: &Context) -> Option<String> {
        Some(self.text(cx))
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        Ok(if cx.noted("sent").is_some() {
            Observation::Done
        } else {
            Observation::Absent
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        if cx.mode == Mode::Drill {
            return cx.note_words("sent", &self.text(cx)).await;
        }
        let way = cx.services.channel(&self.to).await?;
        let message = Message {
            text: self.text(cx),
            run: cx.run.to_string(),
            plan: cx.plan.clone(),
            mode: cx.mode.to_string(),
            step: Some(cx.step.to_string()),
        };
        let said = message::send(&cx.services.http, &way, &message)
            .await
            .map_err(|failure| failure.at(format!("telling {}", self.to)))?;
        cx.note_words("sent", &said).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        match cx.noted("sent") {
            Some(text) if cx.mode == Mode::Drill => Ok(Verified::seen(
                format!("to {}, printed and not sent", self.to),
                text.as_str().unwrap_or_default(),
            )),
            Some(status) => Ok(Verified::seen(
                format!("the channel {}", self.to),
                format!("took the message ({status})"),
            )),
            None => Err(Failure::new(Reason::Verify, "the message was not taken")),
        }
    }

    async fn undo(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        Ok(vec![Evidence::new("a message", "cannot be unsaid")])
    }
}
