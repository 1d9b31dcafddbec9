//! `wait`: lets time pass. After a crash only what is left of it.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Bind, Context, Look, Verb, Verified};
use crate::kind::{Effect, Failure, Undo};
use crate::problem::Problem;
use crate::units::{Span, duration};
use crate::yaml::Node;

/// Arguments of `wait`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// How long.
    r#for: Span,
}

impl Verb for Wait {
    const NAME: &'static str = "wait";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Lets time pass.";
    /// The step's own time rules: a day is the longest anybody should wait in a plan.
    const TIMEOUT: Duration = Duration::from_secs(86_400);
    const WAITS: bool = true;

    fn bind(self, args: &Node, _bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        if self.r#for.0 >= Self::TIMEOUT {
            return Err(vec![Problem::error(
                "wait-too-long",
                &args.place,
                "a step that waits a day or longer holds up a recovery",
            )]);
        }
        Ok(Box::new(self))
    }
}

#[async_trait]
impl Look for Wait {
    fn title(&self) -> String {
        format!("wait {}", self.r#for)
    }

    fn takes(&self) -> Option<Duration> {
        Some(self.r#for.0)
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let now = cx.services.clock.now();
        let since = match cx.noted_text("since").and_then(|text| text.parse().ok()) {
            Some(since) => since,
            None => {
                cx.note("since", now.to_string()).await?;
                now
            }
        };
        let passed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
        tokio::time::sleep(self.r#for.0.saturating_sub(passed)).await;
        Ok(Verified::seen(
            "time",
            format!("{} passed", duration(self.r#for.0)),
        ))
    }
}
