//! How a tree of files comes back from a tar archive: judged as a whole, extracted beside the live folder, compared with the archive, then
//! swapped in by rename. A folder is known again by its number on its disk.

mod copy;

use std::sync::Arc;
use std::time::Duration;

pub use copy::Tree;

use crate::codec::{DECODE, FETCH, Form, PRELUDE};
use crate::dataset::jobs::Jobs;
use crate::dataset::{ARCHIVE, Artifact, JobReport, OBTAIN, Progress, STATE, Stand};
use crate::ids::{RunId, StepId};
use crate::kind::{Failure, Reason};
use crate::transport::{Script, Transport};

const PREPARE: &str = include_str!("prepare.sh");
const STAGE: &str = include_str!("stage.sh");
const JUDGE: &str = concat!(include_str!("../members.awk"), include_str!("judge.awk"));
const SWAP: &str = include_str!("swap.sh");
const BACK: &str = include_str!("back.sh");

/// Drops what was staged, and nothing that is live or kept.
const DROP: &str = r#"
dr_alone
case "$(dr_words_of_mark)" in
  '') exit 0 ;;
  "$DR_OURS "*' state=staging' | "$DR_OURS "*' state=ready') ;;
  *) dr_fail refused "what this step restored is live: $(dr_words_of_mark)" ;;
esac
rm -rf -- "$dr_work"
rm -f -- "$dr_state/mark" "$dr_state/root" "$dr_state/tree"
"#;

/// Lets go of the old files.
const RELEASE: &str = r#"
dr_alone
case "$(dr_words_of_mark)" in
  "$DR_OURS "*' state=live' | "$DR_OURS "*' state=released') ;;
  *) dr_fail refused "$dr_kept was not kept by this step: $(dr_words_of_mark)" ;;
esac
dr_let_go "$dr_kept"
"#;

const OBSERVE: &str = r#"
echo "mark $(dr_words_of_mark)"
dr_seen=$(dr_stands)
echo "path $dr_seen"
if [ "$dr_seen" = full ]; then
  echo "holds $(ls -A -- "$DR_PATH" | wc -l)"
  echo "changed $(stat -c %y -- "$DR_PATH")"
fi
if [ "$(dr_number "$(dr_root)")" = "$(cat "$dr_state/tree" 2>/dev/null || echo unknown)" ]; then echo 'staged whole'; fi
"#;

const SOON: Duration = Duration::from_secs(600);
const ASK_WITHIN: Duration = Duration::from_secs(60);

/// What must come back.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The live folder: an absolute path.
    pub path: String,
    /// `user` or `user:group` that gets every file; `None`: as in the archive, by number.
    pub owner: Option<String>,
    /// The folder of the archive that becomes the live one; `None`: its top.
    pub within: Option<String>,
    /// A folder with files that this run did not restore may be set aside (it is kept).
    pub replace: bool,
    /// Where it is written down how far a restore is; `None`: beside the jobs of the step.
    pub folder: Option<String>,
}

/// One restore of one tree by one step of one run.
#[derive(Clone)]
pub struct Restoration {
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
            jobs: Jobs::new(transport, run, step, attempt, backup),
            spec,
        }
    }

    /// A script with everything that all parts need. It runs as root: nobody else can give files away.
    fn script(&self, text: &str) -> Script {
        let spec = &self.spec;
        let script = Script::new(format!("{PRELUDE}\n{STATE}\n{PREPARE}\n{text}")).ours();
        self.jobs
            .told(script, spec.replace)
            .value("PATH", &spec.path)
            .value("OWNER", spec.owner.clone().unwrap_or_default())
            .value("WITHIN", spec.within.clone().unwrap_or_default())
            .value("FOLDER", spec.folder.clone().unwrap_or_default())
            .run_as(Some("root"))
    }

    async fn extract(
        &self,
        artifact: &Artifact,
        declared: Option<Form>,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure> {
        let script = self
            .script(&format!("{FETCH}\n{DECODE}\n{OBTAIN}\n{ARCHIVE}\n{STAGE}"))
            .value("JUDGE", JUDGE);
        let script = artifact.hand_to(script, declared)?;
        self.jobs.carry("stage", &script, deadline, progress).await
    }

    /// Looks at jobs and at the folder.
    pub async fn observe(&self) -> Result<Stand, Failure> {
        let parts = ["stage", "swap", "back", "drop", "release"];
        if let Some(part) = self.jobs.running(&parts).await? {
            return Ok(Stand::Running { part });
        }
        let (script, transport) = (self.script(OBSERVE), self.jobs.transport());
        let answer = transport.leashed(&script, ASK_WITHIN).await?;
        let host = transport.host();
        if !answer.ok() {
            return Err(Failure::new(
                Reason::ExitCode,
                format!(
                    "looking at {} on `{host}`: {}",
                    self.spec.path,
                    answer.said()
                ),
            ));
        }
        let value = |name: &str| {
            let mut lines = answer.stdout.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_default()
        };
        let (found, path, mark) = (value("mark"), value("path"), self.jobs.mark());
        let foreign = |what: String| Ok(Stand::Foreign { what });
        if found == format!("{mark} state=closing") {
            return Ok(Stand::Closing);
        }
        if found == format!("{mark} state=live") || found == format!("{mark} state=released") {
            return match path {
                "ours" => Ok(Stand::Live),
                _ => foreign(format!(
                    "{} on `{host}` was restored by this step, and something else is in its place now",
                    self.spec.path
                )),
            };
        }
        if matches!(path, "link" | "other") {
            return foreign(format!("{} on `{host}` is no folder", self.spec.path));
        }
        if path == "full" && !self.spec.replace {
            return foreign(format!(
                "{} on `{host}` holds {} file(s) and folder(s) that this run did not restore, last changed {}",
                self.spec.path,
                value("holds"),
                value("changed")
            ));
        }
        Ok(match found {
            "" => Stand::Absent,
            found if found == format!("{mark} state=ready") && value("staged") == "whole" => {
                Stand::Ready
            }
            _ => Stand::Staging,
        })
    }
}
