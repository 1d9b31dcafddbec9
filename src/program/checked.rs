//! An action and the `verify:` list that the plan adds to it: only all of them together make the step succeed.

use async_trait::async_trait;

use crate::action::{Action, Asked, Bind, Context, Cost, Kind, Move, Target, Verified, kind_of};
use crate::kind::{Evidence, Failure, Finding, Observation};
use crate::plan::template_in_script;
use crate::problem::{Place, Problem};
use crate::yaml::Node;

/// The pair.
pub(super) struct Checked {
    pub(super) action: Box<dyn Action>,
    pub(super) checks: Vec<Box<dyn Action>>,
}

/// Whether an entry of a `verify:` list is a check of its own, and not a question to the data of a dataset.
pub(super) fn is_check(word: &str) -> bool {
    word == "command" || word.starts_with("check.")
}

/// The kind behind an entry: `command` is short for `check.command`.
pub(super) fn kind_behind(word: &str) -> Option<&'static Kind> {
    match word {
        "command" => kind_of("check.command"),
        check if is_check(check) => kind_of(check),
        _ => None,
    }
}

/// The problems of arguments that are scripts and hold references: a value that becomes part of a script could become a
/// command.
pub(super) fn templates_in_scripts(kind: &Kind, args: &Node) -> Vec<Problem> {
    let scripts = kind.scripts.iter().filter_map(|key| args.get(key));
    scripts.filter_map(template_in_script).collect()
}

/// Binds one entry of a `verify:` or `health:` list.
pub(super) fn bind_one(
    kind: &str,
    with: &Node,
    bind: &Bind,
    place: &Place,
) -> Result<Box<dyn Action>, Vec<Problem>> {
    match kind_behind(kind) {
        Some(found) => (found.bind)(with, bind).map(|(action, _)| action),
        _ => Err(vec![
            Problem::error("not-a-check", place, format!("`{kind}` cannot be checked here"))
                .help("any `check.*` kind and `command` can; `sql`, `newest` and `rows` belong to the `verify` of a `dataset.restore`"),
        ]),
    }
}

#[async_trait]
impl Action for Checked {
    fn fences(&self) -> bool {
        self.action.fences()
    }

    async fn can_go_back(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        self.action.can_go_back(cx).await
    }

    fn title(&self) -> String {
        self.action.title()
    }

    fn asks(&self) -> Vec<String> {
        self.action.asks()
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        self.action.precheck(cx).await
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        self.action.observe(cx).await
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        self.action.apply(cx).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let mut verified = self.action.verify(cx).await?;
        for check in &self.checks {
            let seen = check
                .verify(cx)
                .await
                .map_err(|failure| failure.at("verify"))?;
            verified.evidence.extend(seen.evidence);
        }
        Ok(verified)
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        self.action.undo(cx).await
    }

    fn message(&self, cx: &Context) -> Option<String> {
        self.action.message(cx)
    }

    async fn costs(&self, cx: &Context) -> Result<Vec<Cost>, Failure> {
        self.action.costs(cx).await
    }

    fn takes(&self) -> Option<std::time::Duration> {
        self.action.takes()
    }

    fn host(&self) -> Option<&str> {
        self.action.host()
    }

    fn target(&self) -> Target {
        self.action.target()
    }

    fn asked(&self) -> Asked {
        self.action.asked()
    }

    fn decides(&self) -> Vec<Asked> {
        self.action.decides()
    }

    fn moves(&self) -> Vec<Move> {
        self.action.moves()
    }

    async fn probe(&self, cx: &Context) -> Result<Verified, Failure> {
        self.action.probe(cx).await
    }

    async fn kept(&self, cx: &Context) -> Result<Option<String>, Failure> {
        self.action.kept(cx).await
    }

    async fn release(&self, cx: &Context) -> Result<(), Failure> {
        self.action.release(cx).await
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let checks = self.checks.iter().flat_map(|check| check.files());
        self.action.files().into_iter().chain(checks).collect()
    }
}
