//! Redis behind the ports that all kinds of data share.

use std::time::Duration;

use async_trait::async_trait;

use super::client::{ALL_KEYS, Client, read_answer, wrong};
use super::{ASK, BACK, DROP, RELEASE, Restoration, SOON, SWAP, SWAP_WITHIN};
use crate::codec::Form;
use crate::dataset::{Artifact, DataCopy, JobReport, Progress, Question, Restore, Silent, Stand};
use crate::kind::{Failure, Finding, Reason};

impl Question {
    /// Keys of all databases of a Redis server.
    pub fn all_keys() -> Self {
        Self::new(ALL_KEYS)
    }
}

/// The live server.
#[async_trait]
impl DataCopy for Client {
    fn name(&self) -> String {
        format!("Redis at {}", self.place())
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Failure> {
        let health = self.health().await?;
        let fail = |why: &str| {
            Err(Failure::new(
                Reason::Verify,
                format!("{}: {why}", self.name()),
            ))
        };
        if !health.loaded {
            return fail("it is still loading");
        }
        if !health.append_only {
            return fail("it keeps no append-only file: what it holds does not survive a restart");
        }
        if !health.master {
            return fail("it is a replica");
        }
        Ok(vec![Finding::verified(format!(
            "{} key(s), append-only file on",
            health.keys
        ))])
    }

    async fn value(&self, question: &Question) -> Result<Option<String>, Failure> {
        Client::value(self, question).await
    }
}

/// The staged copy: its answers were written down while it was loaded.
struct Staged<'a>(&'a Restoration);

const ANSWERS: &str = r#"
dr_recall || exit 0
printf 'keys %s\n' "$(sed -n 's/^keys //p' "$dr_work/expected")"
if [ -e "$dr_work/answers" ] && [ "$(cat "$dr_work/questions"; echo x)" = "$(printf '%s' "$DR_QUESTIONS"; echo x)" ]; then
  sed 's/^/answer /' "$dr_work/answers"
fi
"#;

impl Staged<'_> {
    /// Keys of the RDB file, and the answer to each question; none when others were asked.
    async fn read(&self) -> Result<(u64, Vec<String>), Failure> {
        let script = self.0.script(ANSWERS);
        let answer = self.0.transport().leashed(&script, SOON).await?;
        if !answer.ok() {
            return Err(Failure::new(
                Reason::ExitCode,
                format!(
                    "reading answers on `{}`: {}",
                    self.0.transport().host(),
                    answer.said()
                ),
            ));
        }
        let (mut keys, mut answers) = (0, Vec::new());
        for line in answer.stdout.lines() {
            match line.split_once(' ') {
                Some(("keys", count)) => keys = count.parse().unwrap_or(0),
                Some(("answer", hex)) => answers.push(from_hex(hex)),
                _ => {}
            }
        }
        Ok((keys, answers))
    }
}

fn from_hex(text: &str) -> String {
    let bytes: Vec<u8> = text
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[async_trait]
impl DataCopy for Staged<'_> {
    fn name(&self) -> String {
        self.0.staged()
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Failure> {
        let (keys, _) = self.read().await?;
        if keys == 0 {
            return Err(Failure::new(
                Reason::Verify,
                format!("{}: there is no key in it", self.name()),
            ));
        }
        Ok(vec![Finding::verified(format!(
            "{keys} key(s), every one loaded"
        ))])
    }

    async fn value(&self, question: &Question) -> Result<Option<String>, Failure> {
        let asked = &self.0.spec.questions;
        let at = asked.iter().position(|one| one == question);
        let (keys, mut answers) = self.read().await?;
        if question.words == ALL_KEYS {
            return Ok(Some(keys.to_string()));
        }
        if answers.len() != asked.len() {
            let script = self.0.script(ASK);
            self.0
                .jobs
                .carry("ask", &script, SWAP_WITHIN, &mut Silent)
                .await?;
            answers = self.read().await?.1;
        }
        let said = at.and_then(|at| answers.get(at)).ok_or_else(|| {
            Failure::new(
                Reason::Other,
                format!("`{}` was not asked of the staged copy", question.words),
            )
        })?;
        read_answer(said).map_err(|why| wrong(&question.words, &why))
    }
}

#[async_trait]
impl Restore for Restoration {
    fn live(&self) -> String {
        format!("Redis at {}", self.client.place())
    }

    fn staged(&self) -> String {
        "the staged copy of Redis".into()
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
        self.load(artifact, declared, deadline, progress).await
    }

    fn copy(&self, live: bool) -> Box<dyn DataCopy + '_> {
        if live {
            Box::new(self.client.clone())
        } else {
            Box::new(Staged(self))
        }
    }

    async fn swap(&self, progress: &mut dyn Progress) -> Result<Option<String>, Failure> {
        let script = self.script(SWAP);
        let report = self
            .jobs
            .carry("swap", &script, SWAP_WITHIN, progress)
            .await?;
        Ok(report.facts.get("kept").cloned())
    }

    async fn swap_back(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let script = self.script(BACK);
        self.jobs
            .carry("back", &script, SWAP_WITHIN, progress)
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
        crate::dataset::kept_bytes(self.transport(), name).await
    }

    async fn release(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let script = self.script(RELEASE);
        self.jobs
            .carry("release", &script, SOON, progress)
            .await
            .map(drop)
    }
}
