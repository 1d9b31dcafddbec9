//! `check.backups`: is there something to come back from? Found, young enough, of the right size, with the right first
//! bytes and in its manifest. What only the whole backup can show is checked on the host, before anything is applied.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::backups::{candidates, dataset, places};
use super::{Action, Bind, Context, Look, Verb, Verified};
use crate::kind::{Effect, Failure, Finding, Output, Reason, Undo};
use crate::problem::{Problem, nearest};
use crate::units::bytes;
use crate::yaml::Node;

/// Arguments of `check.backups`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckBackups {
    /// Datasets of the inventory.
    datasets: Vec<String>,
}

/// A dataset that an argument names must be in the inventory.
pub(super) fn dataset_named(
    name: &str,
    args: &Node,
    key: &str,
    bind: &Bind,
) -> Result<(), Problem> {
    if bind.inventory.datasets.contains_key(name) {
        return Ok(());
    }
    let problem = Problem::error(
        "unknown-dataset",
        args.place_of(key),
        format!("the inventory has no dataset `{name}`"),
    );
    Err(
        match nearest(name, bind.inventory.datasets.keys().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem,
        },
    )
}

impl Verb for CheckBackups {
    const NAME: &'static str = "check.backups";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Looks whether every dataset has a backup to come back from.";
    const TIMEOUT: Duration = Duration::from_secs(300);

    fn sample(&self) -> Output {
        self.datasets
            .iter()
            .map(|name| {
                (
                    name.clone(),
                    serde_json::json!({ "backup": "", "taken": "", "bytes": 0 }),
                )
            })
            .collect()
    }

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems: Vec<Problem> = self
            .datasets
            .iter()
            .filter_map(|name| dataset_named(name, args, "datasets", bind).err())
            .collect();
        if self.datasets.is_empty() {
            problems.push(Problem::error(
                "no-dataset",
                args.place_of("datasets"),
                "no dataset is named",
            ));
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

/// What a restore would take, and what was found.
type Examined = (serde_json::Value, Vec<Finding>);

impl CheckBackups {
    /// All datasets side by side, in the order in which they are named; the first failure of that order.
    async fn examined(&self, cx: &Context) -> Result<Vec<(&str, Examined)>, Failure> {
        let looks = self.datasets.iter().map(|name| async move {
            let examined = examine(cx, name, None).await?;
            Ok((name.as_str(), examined))
        });
        futures::future::join_all(looks).await.into_iter().collect()
    }
}

#[async_trait]
impl Look for CheckBackups {
    fn title(&self) -> String {
        format!("backups of {}", self.datasets.join(", "))
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let examined = self.examined(cx).await?;
        Ok(examined
            .into_iter()
            .flat_map(|(_, (_, findings))| findings)
            .collect())
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let mut seen = Verified::default();
        for (name, (value, findings)) in self.examined(cx).await? {
            for finding in findings {
                let what = if finding.warning {
                    format!("{name} (look at this)")
                } else {
                    name.to_string()
                };
                seen = seen.and(what, finding.what);
            }
            seen = seen.with(name, value);
        }
        Ok(seen)
    }
}

/// Judges a dataset's backups: the one that a restore would take, and what was found; a failure when none can be used.
pub async fn examine(
    cx: &Context,
    name: &str,
    point: Option<jiff::Timestamp>,
) -> Result<Examined, Failure> {
    let dataset = dataset(cx, name)?;
    let (places, silent) = places(cx, dataset, point).await?;
    let mut findings: Vec<Finding> = silent
        .into_iter()
        .map(|failure| Finding::warning(failure.message))
        .collect();
    for place in &places {
        findings.extend(place.assessment.findings.iter().cloned());
    }
    let all = candidates(&places, None);
    let mut passed_over = Vec::new();
    for candidate in &all {
        match candidate.refused() {
            Some(why) => passed_over.push(format!("{} is refused: {why}", candidate.label())),
            None => {
                let backup = &candidate.judged.backup;
                findings.extend(passed_over.into_iter().map(Finding::warning));
                findings.push(Finding::verified(format!(
                    "{}, {}",
                    candidate.words(cx),
                    bytes(backup.bytes)
                )));
                if candidate.after(cx.lost_at) {
                    findings.push(Finding::warning(format!(
                        "{} was taken after the loss and may hold what was broken or empty by then; `point:` with a moment before the loss takes an older one",
                        candidate.label()
                    )));
                }
                findings.extend(candidate.judged.findings.iter().cloned());
                let value = serde_json::json!({
                    "backup": candidate.label(), "taken": backup.taken.to_string(), "bytes": backup.bytes,
                });
                return Ok((value, findings));
            }
        }
    }
    let why = if passed_over.is_empty() {
        "none was found".to_string()
    } else {
        passed_over.join("; ")
    };
    Err(Failure::new(
        Reason::Damaged,
        format!("`{name}` has no backup that could be used: {why}"),
    ))
}
