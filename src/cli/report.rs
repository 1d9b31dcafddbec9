//! `dr-plan report`, and the reporters that watch a run while it goes. Both tell from the same events.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use clap::Args;

use super::conduct::code_of_state;
use super::failure::{CliError, Outcome};
use super::here::state_folder;
use super::{Common, print, say};
use crate::event::{Event, Header, What};
use crate::ids::StepId;
use crate::journal::{CapturedOutput, RunFolder};
use crate::kind::chain;
use crate::report::{Detail, Json, Lines, Outlet, Report, Reporter, Style, html, markdown};
use crate::secret::Mask;
use crate::state::RunState;

/// Say what a run was: result, RTO, RPO, every step with its time
#[derive(Debug, Args)]
pub struct ReportOf {
    /// The run: its id, its beginning or end, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Markdown.
    Md,
    /// JSON.
    Json,
    /// One HTML page.
    Html,
}

impl ReportOf {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let folder = RunFolder::find(&state_folder(common.state.clone())?, &self.run)?;
        let (report, state) = report_of(&folder)?;
        match self.format {
            Format::Json => print(&report.json()),
            Format::Md if common.json => print(&report.json()),
            Format::Html => print(&html(&report)),
            Format::Md => print(&markdown(&report)),
        }
        Ok(code_of_state(&state))
    }
}

/// The report of a run, from its journal. A damage is said, and stands in it.
pub fn report_of(folder: &RunFolder) -> Result<(Report, RunState), CliError> {
    let (state, head, bad) = folder.sound_sum()?;
    let damaged = bad.map(|bad| chain(&bad));
    if let Some(bad) = &damaged {
        say(&format!(
            "the journal is damaged: {bad}\nwhat follows is what stands before that; it cannot be gone on with\n"
        ));
    }
    let report = Report::new(&state)
        .of_journal(head.seq, head.hash)
        .of_damaged(damaged);
    Ok((report, state))
}

/// Who watches a run: lines for a person or JSON for a machine, and the steps' own words kept in files.
pub fn reporters(
    common: &Common,
    folder: &RunFolder,
    header: &Header,
    mask: &Mask,
) -> Result<Vec<Box<dyn Reporter>>, CliError> {
    let thread = |error: std::io::Error| {
        CliError::new(super::failure::BUG, format!("starting a reporter: {error}"))
    };
    let mut reporters: Vec<Box<dyn Reporter>> = Vec::new();
    if common.json {
        let outlet = Outlet::new(Box::new(std::io::stdout())).map_err(thread)?;
        reporters.push(Box::new(Json::new(Box::new(outlet))));
    } else {
        let detail = match (common.quiet, common.verbose) {
            (true, _) => Detail::Quiet,
            (_, true) => Detail::Verbose,
            _ => Detail::Normal,
        };
        let color = match common.color {
            super::Colour::Always => true,
            super::Colour::Never => false,
            super::Colour::Auto => {
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
            }
        };
        let outlet = Outlet::new(Box::new(std::io::stderr())).map_err(thread)?;
        reporters.push(Box::new(Lines::new(
            Box::new(outlet),
            Style { detail, color },
        )));
    }
    let ids = header.steps.iter().map(|step| step.id.clone()).collect();
    reporters.push(Box::new(Captured {
        folder: folder.clone(),
        mask: mask.clone(),
        ids,
        open: HashMap::new(),
    }));
    Ok(reporters)
}

/// Keeps what each step says in `output/STEP.log`, for `dr-plan logs`.
struct Captured {
    folder: RunFolder,
    mask: Mask,
    ids: Vec<StepId>,
    open: HashMap<StepId, CapturedOutput>,
}

impl Reporter for Captured {
    fn show(&mut self, event: &Event, _state: &RunState) {
        let (step, line) = match &event.what {
            What::Log { step, line } => (step, line.clone()),
            What::Failed { step, failure } | What::Retry { step, failure, .. } => {
                (step, format!("failed: {failure}"))
            }
            What::Intent { step, attempt, on } => (step, format!("attempt {attempt}: {on}")),
            _ => return,
        };
        if !self.ids.contains(step) {
            return;
        }
        // A log that cannot be kept stops no recovery: the journal holds the line as well.
        if !self.open.contains_key(step)
            && let Ok(file) = self.folder.capture(step, self.mask.clone())
        {
            self.open.insert(step.clone(), file);
        }
        if let Some(file) = self.open.get_mut(step) {
            let _ = writeln!(file, "{} {line}", event.at.strftime("%H:%M:%S"));
        }
    }

    fn close(&mut self) {
        for file in self.open.values_mut() {
            let _ = file.finish();
        }
    }
}
