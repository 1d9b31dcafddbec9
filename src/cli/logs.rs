//! `dr-plan logs`: what a step said.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use clap::Args;

use super::failure::{CliError, JOURNAL, OK, Outcome, USAGE};
use super::here::state_folder;
use super::{Common, print, report, say};
use crate::ids::StepId;
use crate::journal::RunFolder;
use crate::problem::nearest;
use crate::state::RunState;

/// Show what a step and its programs said
#[derive(Debug, Args)]
pub struct Logs {
    /// The run: its id, its beginning or end, or `last`
    run: String,
    /// The step
    step: String,
    /// Go on as more is said, until the step ends
    #[arg(long, short)]
    follow: bool,
}

impl Logs {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let folder = RunFolder::find(&state_folder(common.state.clone())?, &self.run)?;
        let (_, state) = report::report_of(&folder)?;
        let step = step_of(&state, &self.step)?;
        let path = folder.output_path(&step);
        let mut at = 0;
        let mut lines = JsonLines {
            step: step.to_string(),
            rest: Vec::new(),
        };
        loop {
            let ended = !self.follow || !folder.is_live().unwrap_or(false) || ended(&folder, &step);
            match std::fs::File::open(&path) {
                Ok(mut file) => {
                    let failed = |error: std::io::Error| {
                        CliError::new(JOURNAL, format!("reading {}: {error}", path.display()))
                    };
                    file.seek(SeekFrom::Start(at)).map_err(failed)?;
                    let mut bytes = Vec::new();
                    file.read_to_end(&mut bytes).map_err(failed)?;
                    at += bytes.len() as u64;
                    match common.json {
                        true => print(&lines.of(&bytes, ended)),
                        false => print(&String::from_utf8_lossy(&bytes)),
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(CliError::new(
                        JOURNAL,
                        format!("reading {}: {error}", path.display()),
                    ));
                }
            }
            if ended {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        if at == 0 && !common.json {
            say(&format!("`{step}` said nothing\n"));
        }
        Ok(OK)
    }
}

/// One JSON object for each whole line.
struct JsonLines {
    step: String,
    /// The beginning of a line whose end was not written yet.
    rest: Vec<u8>,
}

impl JsonLines {
    fn of(&mut self, bytes: &[u8], last: bool) -> String {
        self.rest.extend_from_slice(bytes);
        let whole = match (last, self.rest.iter().rposition(|byte| *byte == b'\n')) {
            (true, _) => self.rest.len(),
            (false, Some(end)) => end + 1,
            (false, None) => 0,
        };
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        let text = String::from_utf8_lossy(&lines);
        let objects = text.lines().map(|line| {
            format!(
                "{}\n",
                serde_json::json!({ "step": self.step, "line": line })
            )
        });
        objects.collect()
    }
}

fn ended(folder: &RunFolder, step: &StepId) -> bool {
    folder
        .sound_sum()
        .is_ok_and(|(state, ..)| state.step(step).is_some_and(|step| step.status.ended()))
}

/// A step of a run by what a person typed.
pub fn step_of(state: &RunState, typed: &str) -> Result<StepId, CliError> {
    if let Some(step) = state
        .steps
        .iter()
        .find(|step| step.bound.id.as_str() == typed)
    {
        return Ok(step.bound.id.clone());
    }
    let run = state.header.run.short();
    let names = state.steps.iter().map(|step| step.bound.id.as_str());
    let error = unknown_step(&format!("run {run}"), typed, names);
    Err(match &error {
        CliError::Plain { hint: None, .. } => {
            error.hint(format!("dr-plan status {run} lists them"))
        }
        _ => error,
    })
}

/// `owner` has no such step; the nearest name is the hint.
pub fn unknown_step<'a>(
    owner: &str,
    typed: &str,
    names: impl Iterator<Item = &'a str>,
) -> CliError {
    let error = CliError::new(USAGE, format!("{owner} has no step `{typed}`"));
    match nearest(typed, names) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}
