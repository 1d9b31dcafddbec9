//! The keys of a plan as people write them, before anything is looked up. These types are the one source of truth:
//! the JSON Schema for editors and the check with its messages are made from them. Values that may hold templates are left
//! open here (`Value`) and read from the located tree later, when the templates have been filled in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::kind::{Mode, Reason};
pub use crate::kind::{OnFailure, Was};
use crate::secret::SecretRef;
use crate::units::Span;

/// A runbook: what has to happen, in which order, and how it is known to have worked.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["residency"]))]
#[allow(dead_code)] // only for the schema: the parts are read one by one, so that a broken one hides no other
pub(super) struct PlanText {
    /// The version of the format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The plan's name: lower-case letters, digits and `-`.
    pub name: String,
    /// What it is for, in a sentence.
    pub description: Option<String>,
    /// The inventory file, relative to this one.
    pub inventory: Option<String>,
    /// What is promised; measured in every run.
    pub objectives: Option<Objectives>,
    /// The places (`provider/region`) that are taken for lost.
    #[serde(default)]
    pub assumes_lost: Vec<String>,
    /// Values given when a run starts.
    #[serde(default)]
    pub inputs: BTreeMap<String, InputText>,
    /// When the service counts as recovered.
    pub health: Option<HealthText>,
    /// What holds in a drill.
    pub drill: Option<DrillText>,
    /// The steps by their ids. They run as soon as what they need is done.
    pub steps: BTreeMap<String, StepText>,
    /// Steps that run when all else has ended, also after a failure.
    #[serde(default)]
    pub finally: BTreeMap<String, StepText>,
}

/// What is promised to the people who use the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objectives {
    /// From the loss to health: recovery time objective.
    pub rto: Option<Span>,
    /// From the newest restored record to the loss: recovery point objective.
    pub rpo: Option<Span>,
}

/// What holds in a drill.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrillText {
    /// What a drill makes may be taken away after so long, whatever became of the drill. 4h if nothing is said.
    pub expires: Option<Span>,
    /// What its servers may reach besides stores, resolvers and each other: `host:port` (TCP).
    #[serde(default)]
    #[allow(dead_code)] // read from the tree, with their places
    pub allow: Vec<String>,
}

/// A value given when a run starts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputText {
    /// What it may be.
    #[serde(rename = "type")]
    pub kind: InputKind,
    /// Taken when nothing is given; without it the input must be given.
    pub default: Option<Value>,
    /// What it means, for the person who is asked.
    pub help: Option<String>,
}

/// What an input may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// Any text.
    String,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// An RFC 3339 time, or `latest`.
    Time,
    /// A duration such as `90s`.
    Duration,
}

/// When the service counts as recovered: all checks green, unbroken for a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthText {
    /// How long the checks must stay green.
    pub hold: Span,
    /// The run has failed when it is not so within this time of the last traffic step.
    pub within: Span,
    /// One `check.*: {...}` each.
    #[schemars(length(min = 1))]
    #[allow(dead_code)] // read from the tree
    pub checks: Vec<BTreeMap<String, Value>>,
}

/// One step. It is `uses` with `with`, or `run` with `host`, or `manual`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // what may hold templates is read from the tree, with its places
#[schemars(extend("x-later" = ["plan", "when", "for_each", "max_parallel", "watch", "undo"]))]
pub(super) struct StepText {
    /// A built-in action, such as `server.create`.
    pub uses: Option<String>,
    /// What the action is told.
    pub with: Option<BTreeMap<String, Value>>,
    /// A shell script that runs on `host`. Values reach it through `env` and `secrets`.
    pub run: Option<String>,
    /// Where the script runs: a host of the inventory, or the `host` output of a step.
    pub host: Option<String>,
    /// The user on the host; by default the one who logs in.
    #[serde(rename = "as")]
    pub run_as: Option<String>,
    /// A shell script that ends with 0 if there is nothing to do; asked again afterwards.
    pub unless: Option<String>,
    /// The script may run any number of times.
    #[serde(default)]
    pub repeatable: bool,
    /// Values for the script: `X` arrives as `$DR_X`.
    pub env: Option<BTreeMap<String, Value>>,
    /// Secrets for the script: `X` arrives as `$DR_SECRET_X`, unexported.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    /// A question that a person answers.
    pub manual: Option<String>,
    /// Who answers it.
    pub approval: Option<ApprovalText>,
    /// The steps that must be done before: ids, or `{ step: id, was: failed }`.
    #[serde(default)]
    #[schemars(with = "Vec<NeedText>")]
    pub needs: Vec<Value>,
    /// Only in these modes; in all others the step is left out.
    pub modes: Option<Vec<Mode>>,
    /// `false` leaves the step out.
    pub enabled: Option<bool>,
    /// The step has failed when it is not done within this time. A question has its own, in `approval`.
    pub timeout: Option<Span>,
    /// How long it should take.
    pub expect: Option<Span>,
    /// When and how often a failed attempt is made again.
    pub retry: Option<RetryText>,
    /// What a failure means for the others.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// `false`: its failure is an exception in the result, not the failure of the run.
    pub critical: Option<bool>,
    /// For `server.power`: what to do when the target was lost with its place.
    pub if_source_lost: Option<IfSourceLost>,
    /// What is looked at to call the step done: the words of its dataset (`sql`, `newest`, ...) or a `check.*`.
    #[serde(default)]
    pub verify: Vec<BTreeMap<String, Value>>,
    /// The part of the report that it stands in.
    pub phase: Option<String>,
    /// Who knows about it.
    pub owner: Option<String>,
    /// Shown to people beside the step.
    pub notes: Option<String>,
    /// Where people read more.
    pub runbook_url: Option<String>,
}

/// What a step needs, in its two forms. Only for the schema: needs are read from the tree with their places.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
pub(super) enum NeedText {
    Step(String),
    Outcome(NeedOutcome),
}

/// A step and how it must have ended.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
pub(super) struct NeedOutcome {
    /// The step's id.
    pub step: String,
    /// How it must have ended.
    pub was: Was,
}

/// Who answers a question, and for how long it is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalText {
    /// Groups of people from the inventory.
    #[serde(default)]
    pub by: Vec<String>,
    /// How many of them must say yes.
    pub minimum: Option<u32>,
    /// No answer within this time is a no.
    pub timeout: Option<Span>,
}

/// When and how often a failed attempt is made again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryText {
    /// All attempts together, the first one too.
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: Option<u32>,
    /// No attempt begins later than this.
    pub within: Option<Span>,
    /// The pause before the second attempt; it doubles each time.
    pub backoff: Option<Span>,
    /// Only after failures of these kinds.
    #[serde(default)]
    pub on: Vec<Reason>,
}

/// What to do when the target of a step was lost with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IfSourceLost {
    /// Leave the step out.
    Skip,
    /// A person states why it is safe to go on.
    Attest,
    /// The step has failed.
    Fail,
}
