//! PostgreSQL behind the ports that all kinds of data share.

use std::time::Duration;

use async_trait::async_trait;

use super::{Psql, Restoration};
use crate::codec::Form;
use crate::dataset::{Artifact, DataCopy, JobReport, Progress, Question, Restore, Stand};
use crate::kind::{Failure, Finding, Reason};

/// A question may take so long.
const PATIENCE: Duration = Duration::from_secs(600);

/// A whole database, staged or live.
pub struct Whole {
    /// How its cluster is asked.
    pub psql: Psql,
    /// Its name.
    pub database: String,
}

#[async_trait]
impl DataCopy for Whole {
    fn name(&self) -> String {
        format!("database `{}`", self.database)
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Failure> {
        let inventory = self.psql.inventory(&self.database, PATIENCE).await?;
        inventory.judge(&self.database)
    }

    async fn value(&self, question: &Question) -> Result<Option<String>, Failure> {
        self.psql
            .value(&self.database, &question.words, PATIENCE)
            .await
    }
}

#[async_trait]
impl Restore for Restoration {
    fn live(&self) -> String {
        self.names.live.clone()
    }

    fn staged(&self) -> String {
        format!("`{}`", self.names.staged)
    }

    fn delivery(&self) -> (Option<&str>, Option<&str>) {
        let site = &self.spec.site;
        (site.run_as.as_deref(), site.folder.as_deref())
    }

    async fn stand(&self) -> Result<Stand, Failure> {
        Ok(self.observe().await?.stand)
    }

    async fn stage(
        &self,
        artifact: &Artifact,
        declared: Option<Form>,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure> {
        Restoration::stage(self, artifact, declared, deadline, progress).await
    }

    fn copy(&self, live: bool) -> Box<dyn DataCopy + '_> {
        let name = if live {
            &self.names.live
        } else {
            &self.names.staged
        };
        Box::new(Whole {
            psql: self.psql(),
            database: name.clone(),
        })
    }

    async fn swap(&self, progress: &mut dyn Progress) -> Result<Option<String>, Failure> {
        Restoration::swap(self, progress).await
    }

    async fn swap_back(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        Restoration::swap_back(self, progress).await
    }

    async fn drop_staged(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        Restoration::drop_staged(self, progress).await
    }

    async fn kept(&self, _name: &str) -> Result<Option<u64>, Failure> {
        let seen = self.observe().await?;
        if let Stand::CannotTell { why } = seen.stand {
            return Err(Failure::new(Reason::Unreachable, why));
        }
        Ok(seen.kept.map(|database| database.bytes))
    }

    async fn release(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        Restoration::release(self, progress).await
    }
}
