//! Configuration behind the ports that all kinds of data share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{BACK, DROP, RELEASE, Restoration, SOON, SWAP};
use crate::codec::Form;
use crate::dataset::{Artifact, DataCopy, JobReport, Progress, Question, Restore, Stand};
use crate::kind::{Failure, Finding, Reason};
use crate::transport::{Script, Transport};

/// A checker may read a large configuration.
const PATIENCE: Duration = Duration::from_secs(300);

/// Files that can be asked: `present PATH`, `sha256 PATH`, below `$dr_root`.
const ASK: &str = r#"
dr_at=$dr_root$DR_FILE
case "$DR_QUESTION" in
  present) if [ -f "$dr_at" ]; then echo yes; else echo no; fi ;;
  sha256) if [ -f "$dr_at" ]; then sha256sum <"$dr_at" | cut -d ' ' -f 1; fi ;;
esac
"#;

/// All of them are plain files.
const THERE: &str = r#"
printf '%s\n' "$DR_FILES" | while IFS= read -r dr_one; do
  if [ -L "$dr_root$dr_one" ] || [ ! -f "$dr_root$dr_one" ]; then echo "$dr_one is no plain file" >&2; exit 7; fi
done
"#;

/// They are what was staged, and the checker lets them through where they are.
const LIVE: &str = r#"
dr_wrong=$(dr_each dr_stands_at | grep -v '^ours ' | head -n 1 || :)
if [ -n "$dr_wrong" ]; then echo "${dr_wrong#* } is not what was restored" >&2; exit 7; fi
if [ -n "$DR_CHECK" ]; then
  dr_said=$(cd / && sh -eu -c "$DR_CHECK" </dev/null 2>&1) || { echo "the check refuses them: $dr_said" >&2; exit 7; }
fi
"#;

/// The files of a dataset where they are, or where they are staged.
pub struct InPlace {
    transport: Arc<dyn Transport>,
    name: String,
    files: Vec<String>,
    /// Puts what stands before each path into `$dr_root`.
    find: Script,
    /// Whether they are whole; status 7 says no.
    inspect: String,
    /// What lets them through.
    check: Option<String>,
}

impl InPlace {
    /// In their places.
    pub fn live(transport: Arc<dyn Transport>, files: &[String]) -> Self {
        Self {
            transport,
            name: files.join(", "),
            files: files.to_vec(),
            find: Script::new("dr_root=''")
                .ours()
                .value("FILES", files.join("\n"))
                .run_as(Some("root")),
            inspect: THERE.to_string(),
            check: None,
        }
    }

    async fn ask(&self, mut script: Script, text: &str) -> Result<String, Failure> {
        script.text = format!("{}\n{text}", script.text);
        let answer = self.transport.leashed(&script, PATIENCE).await?;
        if answer.ok() {
            return Ok(answer.stdout.trim().to_string());
        }
        let reason = match answer.status {
            7 => Reason::Verify,
            _ => Reason::ExitCode,
        };
        let host = self.transport.host();
        let words = format!("asking {} on `{host}`: {}", self.name, answer.said());
        Err(Failure::new(reason, words))
    }
}

#[async_trait]
impl DataCopy for InPlace {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Failure> {
        self.ask(self.find.clone(), &self.inspect).await?;
        let mut words = format!("{} file(s)", self.files.len());
        if let Some(check) = &self.check {
            words = format!("{words}, `{}` lets them through", check.trim());
        }
        Ok(vec![Finding::verified(words)])
    }

    async fn value(&self, question: &Question) -> Result<Option<String>, Failure> {
        let (word, file) = question
            .words
            .split_once(' ')
            .unwrap_or((&question.words, ""));
        let script = self
            .find
            .clone()
            .value("QUESTION", word)
            .value("FILE", file);
        let said = self.ask(script, ASK).await?;
        Ok((!said.is_empty()).then_some(said))
    }
}

#[async_trait]
impl Restore for Restoration {
    fn live(&self) -> String {
        self.spec.name()
    }

    fn staged(&self) -> String {
        format!("the staged copy of {}", self.spec.name())
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
        let (root, inspect, check) = match live {
            true => ("dr_root=''", LIVE, self.spec.check.clone()),
            false => ("dr_root=$dr_new", THERE, None),
        };
        let mut find = self.script(root);
        // The checker is a person's text.
        find.ours = check.is_none();
        Box::new(InPlace {
            transport: self.jobs.transport().clone(),
            name: if live { self.live() } else { self.staged() },
            files: self.spec.files.clone(),
            find,
            inspect: inspect.to_string(),
            check,
        })
    }

    async fn swap(&self, progress: &mut dyn Progress) -> Result<Option<String>, Failure> {
        let script = self.script(SWAP);
        let report = self.jobs.carry("swap", &script, SOON, progress).await?;
        Ok(report.facts.get("kept").cloned())
    }

    async fn swap_back(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let script = self.script(BACK);
        let report = self.jobs.carry("back", &script, SOON, progress).await;
        report.map(drop)
    }

    async fn drop_staged(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let script = self.script(DROP);
        let report = self.jobs.carry("drop", &script, SOON, progress).await;
        report.map(drop)
    }

    async fn kept(&self, name: &str) -> Result<Option<u64>, Failure> {
        crate::dataset::kept_bytes(&**self.jobs.transport(), name).await
    }

    async fn release(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let script = self.script(RELEASE);
        let report = self.jobs.carry("release", &script, SOON, progress).await;
        report.map(drop)
    }
}
