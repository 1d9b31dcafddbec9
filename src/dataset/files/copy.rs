//! A tree of files behind the ports that all kinds of data share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{BACK, DROP, RELEASE, Restoration, SOON, SWAP};
use crate::codec::Form;
use crate::dataset::{Artifact, DataCopy, JobReport, Progress, Question, Restore, Stand};
use crate::kind::{Failure, Finding, Reason};
use crate::transport::{Script, Transport};

/// A question may take so long: a large tree is walked.
const PATIENCE: Duration = Duration::from_secs(600);

/// A tree that can be asked: `files`, `bytes`, `newest`, `present PATH`, `sha256 PATH`.
pub struct Tree {
    transport: Arc<dyn Transport>,
    /// What it is called.
    name: String,
    /// Finds the folder on the host and puts it into `$dr_tree`.
    find: Script,
}

const ASK: &str = r#"
[ -d "$dr_tree" ] || { echo "there is no folder $dr_tree" >&2; exit 7; }
cd -- "$dr_tree"
case "$DR_QUESTION" in
  files) find . -type f -printf 'x\n' | wc -l ;;
  bytes) find . -type f -printf '%D:%i %s\n' | sort -u | awk '{ sum += $2 } END { printf "%.0f\n", sum }' ;;
  newest) find . -type f -printf '%T@\n' | sort -n | tail -n 1 ;;
  present) if [ -f "./$DR_FILE" ]; then echo yes; else echo no; fi ;;
  sha256) if [ -f "./$DR_FILE" ]; then sha256sum <"./$DR_FILE" | cut -d ' ' -f 1; fi ;;
esac
"#;

impl Tree {
    /// The live folder of a dataset.
    pub fn live(transport: Arc<dyn Transport>, path: &str) -> Self {
        Self {
            transport,
            name: path.to_string(),
            find: Script::new("dr_tree=$DR_PATH")
                .ours()
                .value("PATH", path)
                .run_as(Some("root")),
        }
    }
}

#[async_trait]
impl DataCopy for Tree {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Failure> {
        let number = |value: Option<String>| value.and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let files = number(self.value(&Question::new("files")).await?);
        let bytes = number(self.value(&Question::new("bytes")).await?);
        if files == 0 {
            return Err(Failure::new(
                Reason::Verify,
                format!("{}: there is no file in it", self.name),
            ));
        }
        Ok(vec![Finding::verified(format!(
            "{files} file(s), {}",
            crate::units::bytes(bytes)
        ))])
    }

    async fn value(&self, question: &Question) -> Result<Option<String>, Failure> {
        let (word, file) = question
            .words
            .split_once(' ')
            .unwrap_or((&question.words, ""));
        let mut script = self
            .find
            .clone()
            .value("QUESTION", word)
            .value("FILE", file);
        script.text = format!("{}\n{ASK}", script.text);
        let answer = self.transport.leashed(&script, PATIENCE).await?;
        if !answer.ok() {
            let reason = match answer.status {
                7 => Reason::Verify,
                _ => Reason::ExitCode,
            };
            let host = self.transport.host();
            return Err(Failure::new(
                reason,
                format!(
                    "asking {} on `{host}` for `{}`: {}",
                    self.name,
                    question.words,
                    answer.said()
                ),
            ));
        }
        let said = answer.stdout.trim();
        Ok((!said.is_empty()).then(|| said.to_string()))
    }
}

#[async_trait]
impl Restore for Restoration {
    fn live(&self) -> String {
        self.spec.path.clone()
    }

    fn staged(&self) -> String {
        format!("the staged copy of {}", self.spec.path)
    }

    fn delivery(&self) -> (Option<&str>, Option<&str>) {
        (Some("root"), None)
    }

    async fn stand(&self) -> Result<Stand, Failure> {
        self.observe().await
    }

    async fn stage(
        &self,
        artifact: &Artifact,
        declared: Option<Form>,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure> {
        self.extract(artifact, declared, deadline, progress).await
    }

    fn copy(&self, live: bool) -> Box<dyn DataCopy + '_> {
        if live {
            return Box::new(Tree::live(self.jobs.transport().clone(), &self.spec.path));
        }
        Box::new(Tree {
            transport: self.jobs.transport().clone(),
            name: self.staged(),
            find: self.script("dr_tree=$(dr_root)"),
        })
    }

    async fn swap(&self, progress: &mut dyn Progress) -> Result<Option<String>, Failure> {
        let script = self.script(SWAP);
        let report = self.jobs.carry("swap", &script, SOON, progress).await?;
        Ok(report.facts.get("kept").cloned())
    }

    async fn swap_back(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let script = self.script(BACK);
        self.jobs
            .carry("back", &script, SOON, progress)
            .await
            .map(drop)
    }

    async fn drop_staged(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let script = self.script(DROP);
        self.jobs
            .carry("drop", &script, SOON, progress)
            .await
            .map(drop)
    }

    async fn kept(&self, name: &str) -> Result<Option<u64>, Failure> {
        crate::dataset::kept_bytes(&**self.jobs.transport(), name).await
    }

    async fn release(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let script = self.script(RELEASE);
        self.jobs
            .carry("release", &script, SOON, progress)
            .await
            .map(drop)
    }
}
