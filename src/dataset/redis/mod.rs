//! How a Redis server with an append-only file comes back from an RDB file: loaded by a server of our own into a new append-only
//! directory beside the live one, counted and asked there, then swapped in by renames while the service is stopped. What stands where
//! is written into the directories themselves, so that a crash at any point can be read from them.

mod client;
mod copy;
mod observe;

use std::sync::Arc;
use std::time::Duration;

pub use client::{Client, READING, Site, is_reading};

use crate::codec::{DECODE, FETCH, Form, PRELUDE};
use crate::dataset::jobs::Jobs;
use crate::dataset::{Artifact, JobReport, OBTAIN, Progress, Question};
use crate::ids::{RunId, StepId};
use crate::kind::Failure;
use crate::transport::{Script, Transport};

/// Words for speaking with the server, and what the parts share.
const PREPARE: &str = include_str!("prepare.sh");
const STAGE: &str = include_str!("stage.sh");
const ASK: &str = include_str!("ask.sh");
const SWAP: &str = include_str!("swap.sh");
const BACK: &str = include_str!("back.sh");

/// Drops what was staged, and nothing that is live or kept.
const DROP: &str = r#"
dr_alone
if ! dr_recall || [ ! -e "$dr_work" ]; then exit 0; fi
case "$(dr_words_of_mark "$dr_work/mark")" in
  "$DR_OURS "*' state=live' | "$DR_OURS "*' state=closing' | "$DR_OURS "*' state=released') dr_fail refused "$dr_work belongs to what is live" ;;
  "$DR_OURS "*) ;;
  *) dr_fail refused "$dr_work was not made by this step: $(dr_words_of_mark "$dr_work/mark")" ;;
esac
if [ -n "$(ls -A -- "$dr_kept" 2>/dev/null)" ]; then dr_fail refused "$dr_kept holds what a swap kept"; fi
dr_scratch_end
rm -rf -- "$dr_work"
"#;

/// Lets go of the old data. That it is so is on the disk before the first file of it goes, and the mark goes last: half of the old data must
/// never be put back for the whole.
const RELEASE: &str = r#"
dr_alone
if ! dr_recall || [ ! -e "$dr_work" ]; then dr_fact released already; exit 0; fi
case "$(dr_words_of_mark "$dr_work/mark")" in
  "$DR_OURS "*' state=live' | "$DR_OURS "*' state=released') ;;
  *) dr_fail refused "$dr_work was not kept by this step: $(dr_words_of_mark "$dr_work/mark")" ;;
esac
dr_mark released
find "$dr_work" -mindepth 1 -maxdepth 1 ! -name mark -exec rm -rf -- {} +
rm -rf -- "$dr_work"
dr_fact released now
"#;

/// A server that is stopped writes its memory to disk first, and one that starts reads it.
const SWAP_WITHIN: Duration = Duration::from_secs(3600);
/// Removing files.
const SOON: Duration = Duration::from_secs(600);

/// What must come back.
#[derive(Clone)]
pub struct Spec {
    /// How the server is spoken to.
    pub site: Site,
    /// A server that holds keys which this run did not restore may be set aside (its files are kept).
    pub replace: bool,
    /// What the plan asks of the data: answered while the staged copy is loaded.
    pub questions: Vec<Question>,
}

/// One restore of one server by one step of one run.
#[derive(Clone)]
pub struct Restoration {
    client: Client,
    jobs: Jobs,
    spec: Spec,
}

impl Restoration {
    /// `backup` is the label of the chosen backup (`store:path`), `attempt` counts the step's tries from 1.
    pub fn new(
        transport: Arc<dyn Transport>,
        spec: Spec,
        run: RunId,
        step: StepId,
        attempt: u32,
        backup: &str,
    ) -> Self {
        Self {
            client: Client::new(transport.clone(), spec.site.clone()),
            jobs: Jobs::new(transport, run, step, attempt, backup),
            spec,
        }
    }

    fn transport(&self) -> &dyn Transport {
        self.client.transport()
    }

    /// One line for each question: the number of a database and a command.
    fn questions(&self) -> String {
        // The keys are counted anyway.
        let words = |question: &Question| match question.words.trim() {
            client::ALL_KEYS => "dbsize".to_string(),
            words => words.to_string(),
        };
        let lines = self.spec.questions.iter();
        lines
            .map(|question| format!("{} {}\n", question.database, words(question)))
            .collect()
    }

    fn script(&self, text: &str) -> Script {
        let script = self.client.script(&format!("{PRELUDE}\n{PREPARE}\n{text}"));
        self.jobs
            .told(script, self.spec.replace)
            .value("QUESTIONS", self.questions())
            .value("FOLDER", "")
    }

    async fn load(
        &self,
        artifact: &Artifact,
        declared: Option<Form>,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure> {
        let script = self.script(&format!("{FETCH}\n{DECODE}\n{OBTAIN}\n{STAGE}"));
        let script = artifact.hand_to(script, declared)?;
        self.jobs.carry("stage", &script, deadline, progress).await
    }
}
