//! Stays beside a detached job: starts it or attaches to it, hands its progress on, and turns its end into a verdict.
//! The job says what happens in lines that [`crate::codec`]'s recipes describe; everything else in its log is for people.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kind::{Failure, Reason};
use crate::transport::{JobId, JobState, Script, Transport, run_job};

/// Who wants to know how far it is. Called often; must not block.
pub trait Progress: Send {
    /// A phase began or went on; bytes, or 0 of 0 when there is nothing to count; `total` 0 is not known.
    fn phase(&mut self, phase: &str, done: u64, total: u64);
    /// Something that a person should know although it stops nothing: it belongs into the report.
    fn note(&mut self, words: &str);
    /// A line of the job's log.
    fn log(&mut self, line: &str);
}

/// Nobody wants to know.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&mut self, _: &str, _: u64, _: u64) {}
    fn note(&mut self, _: &str) {}
    fn log(&mut self, _: &str) {}
}

/// What a job that ended well has told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobReport {
    /// `DR-FACT name value`; times are `seconds.PHASE`.
    pub facts: BTreeMap<String, String>,
    /// `DR-NOTE words`.
    pub notes: Vec<String>,
}

/// Runs `script` as `job`, or attaches to it when it runs already, or reads how it ended. `deadline` is kept by the host.
pub async fn follow(
    transport: &dyn Transport,
    job: &JobId,
    script: &Script,
    deadline: Duration,
    progress: &mut dyn Progress,
) -> Result<JobReport, Failure> {
    let mut reader = Reader::default();
    let mut heard = |text: &str| text.lines().for_each(|line| reader.line(line, progress));
    let end = run_job(transport, job, script, deadline, &mut heard)
        .await
        .map_err(|error| Failure::from(error).at(format!("following job {job}")))?;
    reader.verdict(transport.host(), job, end, deadline)
}

#[derive(Default)]
struct Reader {
    report: JobReport,
    failure: Option<(Reason, String)>,
    last: Vec<String>,
}

impl Reader {
    fn line(&mut self, line: &str, progress: &mut dyn Progress) {
        let words = |prefix: &str| line.strip_prefix(prefix).and_then(|l| l.strip_prefix(' '));
        if let Some(rest) = words("DR-PROGRESS") {
            let mut parts = rest.split_whitespace();
            if let (Some(phase), Some(done), Some(total)) =
                (parts.next(), parts.next(), parts.next())
                && let (Ok(done), Ok(total)) = (done.parse(), total.parse())
            {
                progress.phase(phase, done, total);
            }
        } else if let Some(note) = words("DR-NOTE") {
            self.report.notes.push(note.to_string());
            progress.note(note);
        } else if let Some((name, value)) = words("DR-FACT").and_then(|rest| rest.split_once(' ')) {
            self.report
                .facts
                .insert(name.to_string(), value.to_string());
        } else if let Some((reason, why)) = words("DR-FAIL").and_then(|rest| rest.split_once(' ')) {
            let reason =
                serde_json::from_value(serde_json::Value::from(reason)).unwrap_or(Reason::Other);
            // The first failure is the cause; clean-up may add others.
            self.failure.get_or_insert((reason, why.trim().to_string()));
            progress.log(line);
        } else {
            progress.log(line);
            if self.last.len() == 5 {
                self.last.remove(0);
            }
            self.last.push(line.to_string());
        }
    }

    fn verdict(
        self,
        host: &str,
        job: &JobId,
        end: JobState,
        deadline: Duration,
    ) -> Result<JobReport, Failure> {
        let said = if self.last.is_empty() {
            "it said nothing".to_string()
        } else {
            format!("its last words: {}", self.last.join(" / "))
        };
        match end {
            JobState::Exited { status: 0, .. } => Ok(self.report),
            JobState::Exited { deadline: true, .. } => Err(Failure::new(
                Reason::Timeout,
                format!(
                    "job {job} on `{host}` was ended after {}: {said}",
                    crate::units::duration(deadline)
                ),
            )),
            JobState::Exited { status, .. } => Err(match self.failure {
                Some((reason, why)) => Failure::new(reason, format!("on `{host}`: {why}")),
                // Somebody ended it: how far it came is for the next look to say.
                None if status > 128 => Failure::new(
                    Reason::Unknown,
                    format!(
                        "job {job} on `{host}` was ended by signal {}: {said}",
                        status - 128
                    ),
                ),
                None => Failure::new(
                    Reason::ExitCode,
                    format!("job {job} on `{host}` ended with status {status}: {said}"),
                ),
            }),
            JobState::Died { why } => Err(Failure::new(
                Reason::Unknown,
                format!("job {job} on `{host}` died half way ({why}): {said}"),
            )
            .hint("`dr-plan resume` looks at what is there and starts again")),
            JobState::Absent | JobState::Running { .. } => Err(Failure::new(
                Reason::Other,
                format!("job {job} on `{host}` has not ended"),
            )),
        }
    }
}
