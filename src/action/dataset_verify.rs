//! `dataset.verify`: asks a dataset on a host the questions of the `verify:` list, without changing anything.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::check_backups::dataset_named;
use super::data_checks::{self, DataCheck, Newest};
use super::data_kinds::live_copy;
use super::{Action, Asked, Bind, Context, Look, Verb, Verified, host_named};
use crate::kind::{Effect, Failure, Reason, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `dataset.verify`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetVerify {
    /// A dataset of the inventory.
    dataset: String,
    /// The host that it lives on.
    host: String,
    #[serde(skip)]
    #[schemars(skip)]
    checks: Vec<DataCheck>,
}

impl Verb for DatasetVerify {
    const NAME: &'static str = "dataset.verify";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Asks a restored dataset questions about its content.";
    const TIMEOUT: Duration = Duration::from_secs(900);
    const TAKES_VERIFY: bool = true;

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(dataset_named(&self.dataset, args, "dataset", bind).err());
        problems.extend(host_named(&self.host, args, "host", bind).err());
        if let Some(dataset) = bind.inventory.datasets.get(&self.dataset) {
            match data_checks::read(bind, &dataset.kind) {
                Ok(checks) => self.checks = checks,
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

#[async_trait]
impl Look for DatasetVerify {
    fn title(&self) -> String {
        format!("{} on {}", self.dataset, self.host)
    }

    fn asked(&self) -> Asked {
        Asked::Host(self.host.clone())
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let copy = live_copy(cx, &self.dataset, &self.host).await?;
        let (evidence, newest) = data_checks::ask(&self.checks, &*copy, cx.lost_at)
            .await
            .map_err(|failure| {
                // Data that is wrong does not become right by asking again.
                if failure.reason == Reason::Verify {
                    Failure {
                        reason: Reason::Damaged,
                        ..failure
                    }
                } else {
                    failure
                }
            })?;
        let mut verified = Verified {
            evidence,
            ..Verified::default()
        };
        if let Some(newest) = newest {
            let Newest {
                at,
                limit,
                taken_as_utc,
            } = newest;
            cx.newest(&self.dataset, at, None, limit, taken_as_utc)
                .await?;
            verified = verified.with("newest", at.to_string());
        }
        Ok(verified)
    }
}
