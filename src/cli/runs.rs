//! `dr-plan runs`: what was run here.

use clap::Args;
use comfy_table::{Table, presets};

use super::failure::{HOW_TO_BEGIN, OK, Outcome};
use super::here::state_folder;
use super::{Common, print, say};
use crate::journal::{JournalError, RecordError, RunFolder};
use crate::kind::Mode;
use crate::state::RunState;

/// List the runs, the newest first
#[derive(Debug, Args)]
pub struct Runs {}

impl Runs {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let state = state_folder(common.state.clone())?;
        let found = RunFolder::list(&state)?;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["RUN", "STARTED (UTC)", "PLAN", "ESTATE", "MODE", "RESULT"]);
        let mut rows = Vec::new();
        for entry in &found {
            let run = entry.folder.run();
            let moment = match &entry.header {
                Ok(Some((at, _))) => Some(at.to_string()),
                _ => None,
            };
            let (started, plan, estate, mode) = match &entry.header {
                Ok(Some((at, header))) => (
                    at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
                    header.plan.clone(),
                    header.estate.clone(),
                    match header.mode {
                        Mode::Drill => "DRILL".to_string(),
                        mode => mode.to_string(),
                    },
                ),
                Ok(None) => (
                    "never began".into(),
                    String::new(),
                    String::new(),
                    String::new(),
                ),
                // Nothing is wrong with what a later version wrote.
                Err(
                    error @ JournalError::Bad {
                        what: RecordError::Newer { .. },
                        ..
                    },
                ) => (
                    error.to_string(),
                    String::new(),
                    String::new(),
                    String::new(),
                ),
                Err(error) => (
                    format!("damaged: {error}"),
                    String::new(),
                    String::new(),
                    String::new(),
                ),
            };
            let result = match entry.folder.sound_sum() {
                Ok((state, _, bad)) => {
                    let live = entry.folder.is_live().unwrap_or(false);
                    word(&state, live, bad.is_some())
                }
                Err(_) => "-".to_string(),
            };
            rows.push(serde_json::json!({ "run": run.as_str(), "started": moment, "plan": plan, "estate": estate, "mode": mode.to_lowercase(), "result": result }));
            table.add_row([run.short().to_string(), started, plan, estate, mode, result]);
        }
        if common.json {
            print(&format!("{:#}\n", serde_json::Value::from(rows)));
        } else if found.is_empty() {
            say(&format!(
                "no runs in {}\n hint: {HOW_TO_BEGIN}\n",
                state.display()
            ));
        } else {
            print(&format!("{table}\n"));
        }
        Ok(OK)
    }
}

/// Its checks refused the start, and no step was begun.
fn never_began(state: &RunState) -> bool {
    !state.refused.is_empty() && state.steps.iter().all(|step| step.started.is_none())
}

/// How a run stands, in a word or two.
pub fn word(state: &RunState, live: bool, damaged: bool) -> String {
    if damaged {
        let so_far = match &state.result {
            Some((result, _)) => result.to_string(),
            None => "no result".into(),
        };
        return format!("{so_far}, and its journal is damaged after that");
    }
    let forward = match (&state.result, live) {
        (Some((result, _)), _) => result.to_string(),
        (None, true) => "running".into(),
        (None, false) if state.back.word().is_some() => "stopped".into(),
        (None, false) if never_began(state) => "refused, nothing was touched".into(),
        (None, false) => "stopped, can be resumed".into(),
    };
    match state.back.word() {
        // A drill takes nothing back: what it made is thrown away.
        Some(back) if state.header.drill.is_some() => {
            format!("{forward}, {}", back.replace("taken back", "taken down"))
        }
        Some(back) => format!("{forward}, {back}"),
        None => forward,
    }
}
