//! How the configuration of a service comes back: the listed files out of an archive, templates rendered over them, all of them judged by
//! the service's own checker in a view of the host that only it sees, then put in their places by renames. A file is known again by its content,
//! owner and mode.

mod copy;

use std::sync::Arc;
use std::time::Duration;

pub use copy::InPlace;

use crate::codec::{DECODE, FETCH, Form, PRELUDE};
use crate::dataset::jobs::Jobs;
use crate::dataset::{ARCHIVE, Artifact, JobReport, OBTAIN, Progress, STATE, Stand, VIEW};
use crate::ids::{RunId, StepId};
use crate::kind::{Failure, Reason};
use crate::transport::{Script, Transport};

const PREPARE: &str = include_str!("prepare.sh");
const STAGE: &str = include_str!("stage.sh");
const PICK: &str = concat!(include_str!("../members.awk"), include_str!("pick.awk"));
const SWAP: &str = include_str!("swap.sh");
const BACK: &str = include_str!("back.sh");

/// Drops what was staged, and nothing that is in place or kept.
const DROP: &str = r#"
dr_alone
case "$(dr_words_of_mark)" in
  '') exit 0 ;;
  "$DR_OURS "*' state=staging' | "$DR_OURS "*' state=ready') ;;
  *) dr_fail refused "what this step restored is in place: $(dr_words_of_mark)" ;;
esac
rm -f -- "$dr_state/mark"
rm -rf -- "$dr_new" "$dr_work" "$dr_kept" "$dr_absent" "$dr_state/want" "$dr_state/want.new"
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
dr_each dr_stands_at | awk '{ print "file " $0 }'
dr_staged_wrong() { if [ "$(dr_identity "$dr_new$1")" != "$(dr_wanted "$1")" ]; then echo "$1"; fi; }
if [ -e "$dr_state/want" ] && [ -z "$(dr_each dr_staged_wrong)" ]; then echo 'staged whole'; fi
"#;

const SOON: Duration = Duration::from_secs(600);
const ASK_WITHIN: Duration = Duration::from_secs(60);

/// A text as `printf %b` writes it back.
fn on_one_line(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\t', "\\t")
}

/// What must come back.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Absolute paths.
    pub files: Vec<String>,
    /// What templates make of some of them: path and text.
    pub rendered: Vec<(String, String)>,
    /// The service's own checker: a script that ends with 0 where it can work with the files in their places.
    pub check: Option<String>,
    /// Files that this run did not restore may be set aside (they are kept).
    pub replace: bool,
}

impl Spec {
    /// What people call it.
    fn name(&self) -> String {
        match self.files.as_slice() {
            [one] => one.clone(),
            [one, rest @ ..] => format!("{one} and {} more", rest.len()),
            [] => "no file".into(),
        }
    }
}

/// One restore of one configuration by one step of one run.
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
        let script = Script::new(format!("{PRELUDE}\n{STATE}\n{PREPARE}\n{text}")).ours();
        self.jobs
            .told(script, self.spec.replace)
            .value("FILES", self.spec.files.join("\n"))
            .value("CHECK", self.spec.check.clone().unwrap_or_default())
            .run_as(Some("root"))
    }

    async fn extract(
        &self,
        artifact: &Artifact,
        declared: Option<Form>,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure> {
        let rendered = self.spec.rendered.iter();
        let rendered: Vec<String> = rendered
            .map(|(path, text)| format!("{path}\t{}", on_one_line(text)))
            .collect();
        let script = self
            .script(&format!(
                "{FETCH}\n{DECODE}\n{OBTAIN}\n{ARCHIVE}\n{VIEW}\n{STAGE}"
            ))
            .value("JUDGE", PICK)
            .value("RENDERED", rendered.join("\n"));
        let script = artifact.hand_to(script, declared)?;
        self.jobs.carry("stage", &script, deadline, progress).await
    }

    /// Looks at jobs and at the files.
    pub async fn observe(&self) -> Result<Stand, Failure> {
        let parts = ["stage", "swap", "back", "drop", "release"];
        if let Some(part) = self.jobs.running(&parts).await? {
            return Ok(Stand::Running { part });
        }
        let (script, transport) = (self.script(OBSERVE), self.jobs.transport());
        let answer = transport.leashed(&script, ASK_WITHIN).await?;
        let (host, name) = (transport.host(), self.spec.name());
        if !answer.ok() {
            let words = format!("looking at {name} on `{host}`: {}", answer.said());
            return Err(Failure::new(Reason::ExitCode, words));
        }
        Ok(self.read(&answer.stdout, host))
    }

    fn read(&self, said: &str, host: &str) -> Stand {
        let said_of = |name: &str| {
            let mut lines = said.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let (found, mark) = (said_of("mark").unwrap_or_default(), self.jobs.mark());
        let files: Vec<(&str, &str)> = said
            .lines()
            .filter_map(|line| line.strip_prefix("file ")?.split_once(' '))
            .collect();
        let one = |wanted: &[&str]| files.iter().find(|(word, _)| wanted.contains(word));
        if found == format!("{mark} state=closing") {
            return Stand::Closing;
        }
        if found == format!("{mark} state=live") || found == format!("{mark} state=released") {
            return match files.iter().find(|(word, _)| *word != "ours") {
                None => Stand::Live,
                Some((_, path)) => Stand::Foreign {
                    what: format!(
                        "{path} on `{host}` was restored by this step and was changed since"
                    ),
                },
            };
        }
        if let Some((_, path)) = one(&["link", "other"]) {
            let what = format!("{path} on `{host}` is no plain file");
            return Stand::Foreign { what };
        }
        if let Some((_, path)) = one(&["foreign"])
            && !self.spec.replace
        {
            let what = format!("{path} on `{host}` is there and this run did not restore it");
            return Stand::Foreign { what };
        }
        match found {
            "" => Stand::Absent,
            found if found == format!("{mark} state=ready") && said_of("staged").is_some() => {
                Stand::Ready
            }
            _ => Stand::Staging,
        }
    }
}
