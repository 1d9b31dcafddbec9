//! `dr-plan status`: how a run stands, from its journal; with `--follow` as it goes on, also from another terminal.

use std::time::Duration;

use clap::Args;
use comfy_table::{Table, presets};

use super::conduct::code_of_state;
use super::failure::{CliError, JOURNAL, Outcome};
use super::here::state_folder;
use super::runs::word;
use super::{Common, print, report, runtime};
use crate::event::What;
use crate::journal::RunFolder;
use crate::kind::chain;
use crate::report::progress;
use crate::secret::Mask;
use crate::state::{Return, RunState, Status};
use crate::units::duration;

/// Show how a run stands
#[derive(Debug, Args)]
pub struct StatusOf {
    /// The run: its id, its beginning or end, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// Go on showing what happens until the run ends or stops
    #[arg(long, short)]
    follow: bool,
}

impl StatusOf {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let folder = RunFolder::find(&state_folder(common.state.clone())?, &self.run)?;
        if self.follow {
            // Nobody will ever write what it waits for.
            if !folder.is_live().unwrap_or(false) {
                folder.sound_sum()?;
            }
            return follow(&folder, common);
        }
        let (report, state) = report::report_of(&folder)?;
        if common.json {
            print(&report.json());
            return Ok(code_of_state(&state));
        }
        print(&table(
            &state,
            folder.is_live().unwrap_or(false),
            report.damaged.is_some(),
        ));
        Ok(code_of_state(&state))
    }
}

fn table(state: &RunState, live: bool, damaged: bool) -> String {
    let header = &state.header;
    let drill = match header.drill {
        Some(_) => "DRILL: ",
        None => "",
    };
    let mut text = format!(
        "{drill}{} of {} ({}): {}\n",
        header.plan,
        header.estate,
        header.run.short(),
        word(state, live, damaged)
    );
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for step in &state.steps {
        let back = state.back.steps.get(&step.bound.id);
        if let Some(back) = back.filter(|_| header.drill.is_none()) {
            let (word, more) = on_the_way_back(back);
            let more = more.lines().next().unwrap_or_default().to_string();
            table.add_row([
                format!("  {}", step.bound.id),
                word.into(),
                String::new(),
                more,
            ]);
            continue;
        }
        let more = match &step.status {
            Status::Failed(failure) => failure
                .message
                .lines()
                .next()
                .unwrap_or_default()
                .to_string(),
            Status::Blocked(seen) => seen.to_string(),
            Status::Doomed(cause) => format!("because of {cause}"),
            Status::LeftOut(why) => why.clone(),
            Status::Running if step.asking.is_some() => "waits for a person".into(),
            Status::Running => step.progress.as_ref().map(progress).unwrap_or_default(),
            _ => state.filled(&step.bound.title),
        };
        let took = step.took().map(duration).unwrap_or_default();
        table.add_row([
            format!("  {}", step.bound.id),
            step.word().to_string(),
            took,
            more,
        ]);
    }
    text.push_str(&format!("{table}\n"));
    for (step, failure) in &state.refused {
        let at = step.as_ref().map_or(String::new(), |id| format!("{id}: "));
        text.push_str(&format!("refused: {at}{}\n", failure.message));
        if let Some(hint) = &failure.hint {
            text.push_str(&format!(" hint: {hint}\n"));
        }
    }
    if damaged {
        text.push_str(&format!(
            " hint: dr-plan report {} tells what was made; go on by hand, or with a new run\n",
            header.run.short()
        ));
        return text;
    }
    if let Some((why, hint)) = &state.stopped {
        text.push_str(&format!("stopped: {why}\n"));
        for line in hint.iter().flat_map(|hint| hint.lines()) {
            text.push_str(&format!(" hint: {line}\n"));
        }
    } else if state.back.begun.is_some() && !state.back.ended && !live {
        let run = header.run.short();
        let why = state.back.stopped.as_deref().unwrap_or("it was cut short");
        text.push_str(&format!("the way back: {why}\n hint: dr-plan undo {run}\n"));
    } else if state.result.is_none() && !live {
        text.push_str(&format!(" hint: dr-plan resume {}\n", header.run.short()));
    }
    for step in &state.steps {
        if let (Some((ask, _)), true) = (&step.asking, live) {
            text.push_str(&format!(
                "? {}\n hint: dr-plan approve {} {} --as NAME\n",
                ask.question,
                header.run.short(),
                step.bound.id
            ));
        }
    }
    text
}

/// Where a step stands that was carried out and taken up again to be taken back.
fn on_the_way_back(stand: &Return) -> (&'static str, &str) {
    match stand {
        Return::InDoubt => ("in doubt", "it was being taken back"),
        Return::Undone(_) => ("undone", ""),
        Return::Left(true, why) => ("left", why),
        Return::Left(false, why) => ("gone", why),
        Return::Failed(failure) => ("not undone", &failure.message),
    }
}

/// Shows the run with the very reporter that its own process uses.
fn follow(folder: &RunFolder, common: &Common) -> Outcome {
    let mut follower = folder.follow(0)?;
    runtime()?.block_on(async {
        let mut state: Option<RunState> = None;
        let mut shown: Vec<Box<dyn crate::report::Reporter>> = Vec::new();
        loop {
            for event in follower.next(Duration::from_millis(200)).await? {
                match &mut state {
                    None => {
                        let begun = RunState::begin(&event)
                            .map_err(|error| CliError::new(JOURNAL, chain(&error)))?;
                        shown = report::reporters(common, folder, &begun.header, &Mask::default())?;
                        // Only looks: what the steps said is in their files already.
                        shown.truncate(1);
                        state = Some(begun);
                    }
                    Some(state) => state
                        .fold(&event)
                        .map_err(|error| CliError::new(JOURNAL, chain(&error)))?,
                }
                if let Some(state) = &state {
                    for reporter in &mut shown {
                        reporter.show(&event, state);
                    }
                    if matches!(event.what, What::Ended { .. } | What::Stopped { .. }) {
                        for reporter in &mut shown {
                            reporter.close();
                        }
                        return Ok(code_of_state(state));
                    }
                }
            }
            if let Some(state) = &state
                && !folder.is_live().unwrap_or(true)
            {
                return Ok(code_of_state(state));
            }
        }
    })
}
