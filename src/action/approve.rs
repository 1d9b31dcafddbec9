//! `approve`: a person says yes before the graph goes on. A no, or nobody in time, is a failure.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Bind, Context, Look, Verb, Verified};
use crate::event::{Ask, AskKind};
use crate::kind::{Effect, Failure, Reason, Undo};
use crate::problem::{Problem, nearest};
use crate::units::Span;
use crate::yaml::Node;

/// Arguments of `approve`; `manual:` with `approval:` is its short form.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The question.
    message: String,
    /// Who may answer: groups of the inventory's `people`, or names in them. Without it everybody may.
    #[serde(default)]
    by: Vec<String>,
    /// Nobody answered within this time: no.
    timeout: Option<Span>,
    /// The names behind `by`.
    #[serde(skip)]
    names: Vec<String>,
}

impl Verb for Approve {
    const NAME: &'static str = "approve";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Asks a person and waits for a yes.";
    /// The question's own time-out rules; a step's clock stands still while a person thinks.
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
    const WAITS: bool = true;

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let groups = &bind.inventory.people;
        let everybody = || groups.values().flatten().map(|person| person.name.as_str());
        let mut problems = Vec::new();
        for name in &self.by {
            if let Some(group) = groups.get(name) {
                self.names
                    .extend(group.iter().map(|person| person.name.clone()));
            } else if everybody().any(|known| known == name) {
                self.names.push(name.clone());
            } else {
                let words = format!("`{name}` is neither a group nor a person of the inventory");
                let problem = Problem::error("unknown-person", args.place_of("by"), words);
                let known = groups.keys().map(String::as_str).chain(everybody());
                problems.push(match nearest(name, known) {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => problem.help("groups and their names stand under `people:`"),
                });
            }
        }
        if problems.is_empty() && self.names.is_empty() && !self.by.is_empty() {
            let words = "nobody is in these groups: the question could never be answered";
            problems.push(Problem::error("nobody", args.place_of("by"), words));
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

#[async_trait]
impl Look for Approve {
    fn title(&self) -> String {
        format!("ask: {}", self.message)
    }

    fn asks(&self) -> Vec<String> {
        self.names.clone()
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let mut details = Vec::new();
        if !self.by.is_empty() {
            details.push(format!("for: {}", self.names.join(", ")));
        }
        let ask = Ask {
            name: "approve".into(),
            kind: AskKind::Approval,
            question: self.message.clone(),
            details,
            timeout: self.timeout.map(|span| span.0),
            by: self.names.clone(),
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
