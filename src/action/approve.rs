//! `approve`: a person says yes before the graph goes on. A no, or nobody in time, is a failure.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Bind, Context, Look, Verb, Verified};
use crate::event::{Ask, AskKind};
use crate::kind::{Effect, Failure, Reason, Undo};
use crate::problem::Problem;
use crate::units::Span;
use crate::yaml::Node;

/// Arguments of `approve`; `manual:` with `approval:` is its short form.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The question.
    message: String,
    /// Names of people or groups who may answer; shown to them.
    #[serde(default)]
    by: Vec<String>,
    /// Nobody answered within this time: no.
    timeout: Option<Span>,
}

impl Verb for Approve {
    const NAME: &'static str = "approve";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Asks a person and waits for a yes.";
    /// The question's own time-out rules; a step's clock stands still while a person thinks.
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
    const WAITS: bool = true;

    fn bind(self, _args: &Node, _bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        Ok(Box::new(self))
    }
}

#[async_trait]
impl Look for Approve {
    fn title(&self) -> String {
        format!("ask: {}", self.message)
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let mut details = Vec::new();
        if !self.by.is_empty() {
            details.push(format!("for: {}", self.by.join(", ")));
        }
        let ask = Ask {
            name: "approve".into(),
            kind: AskKind::Approval,
            question: self.message.clone(),
            details,
            timeout: self.timeout.map(|span| span.0),
        };
        let given = cx.ask(ask).await?;
        let because = given
            .because
            .clone()
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        if given.yes {
            Ok(
                Verified::seen("approval", format!("yes by {}{because}", given.by))
                    .with("by", given.by),
            )
        } else {
            let words = format!(
                "\"{}\" was answered no by {}{because}",
                self.message, given.by
            );
            Err(Failure::new(Reason::Declined, words)
                .hint(format!("dr-plan resume {} asks again", cx.run.short())))
        }
    }
}
