//! `dr-plan release`: lets go of what a run kept of before: old databases, old files. After that there is no way back to them.

use std::ops::ControlFlow;
use std::sync::Arc;

use clap::Args;

use super::afterwards::Afterwards;
use super::failure::{CliError, FAILED, OK, Outcome, PROBLEMS};
use super::start::agreed;
use super::{Common, print, say};
use crate::engine::{keepers, on_the_way_back, release};
use crate::event::RunResult;
use crate::ids::StepId;
use crate::program::Work;
use crate::state::RunState;

/// Let go of what a run kept of before (old databases, old files)
#[derive(Debug, Args)]
pub struct ReleaseRun {
    /// The run: its id, its beginning or end, or `last`
    run: String,
    /// Also when the run did not end as MET
    #[arg(long)]
    not_met: bool,
    /// Answer the start question with yes
    #[arg(long)]
    yes: bool,
}

impl ReleaseRun {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let run = Afterwards::of(&self.run, common)?;
        let steps = self.judge(&run.state)?;
        let short = run.state.header.run.short().to_string();
        let mut shown = None;
        if !self.yes {
            say(&format!(
                "what {} ({short}) kept of before will be let go of; it may be kept by: {}\nThere is no way back to it.\n",
                run.state.header.plan,
                listed(&steps)
            ));
            agreed(run.word_to_agree())?;
            shown = Some(steps);
        }
        let judge = |state: &RunState| {
            let steps = self.judge(state)?;
            match &shown {
                Some(shown) if *shown != steps => {
                    let words = format!(
                        "run {short} has changed since you were shown what would be let go of; nothing was touched: it was kept by {}, and is now by {}",
                        listed(shown),
                        listed(&steps)
                    );
                    let hint = format!("dr-plan release {short} shows it anew");
                    Err(CliError::new(PROBLEMS, words).hint(hint))
                }
                _ => Ok(ControlFlow::Continue(steps)),
            }
        };
        let work: Arc<dyn Work> = run.program.clone();
        run.carry_out(common, judge, async |opened, steps| {
            let mut gone = Vec::new();
            let mut failed = false;
            for step in &steps {
                if opened.stop.now() != crate::engine::Wish::Go {
                    say(&format!("stopped\n hint: dr-plan release {short}\n"));
                    return Ok(super::failure::STOPPED);
                }
                match release(
                    &work,
                    &opened.ledger,
                    &opened.services,
                    &opened.person,
                    step,
                )
                .await?
                {
                    Ok(None) => {}
                    Ok(Some(what)) => gone.push((step.clone(), what)),
                    Err(failure) => {
                        failed = true;
                        say(&format!("`{step}`: {failure}\n"));
                        for line in failure.hint.iter().flat_map(|hint| hint.lines()) {
                            say(&format!(" hint: {line}\n"));
                        }
                    }
                }
            }
            if common.json {
                let rows: Vec<serde_json::Value> = gone
                    .iter()
                    .map(|(step, what)| serde_json::json!({ "step": step, "released": what }))
                    .collect();
                print(&format!("{:#}\n", serde_json::Value::from(rows)));
            } else {
                for seen in gone.iter().flat_map(|(_, seen)| seen) {
                    print(&format!("{} {}\n", seen.what, seen.saw));
                }
                if gone.is_empty() && !failed {
                    say(&format!("run {short} keeps nothing of before\n"));
                }
            }
            Ok(if failed { FAILED } else { OK })
        })
    }

    /// The steps that may have kept something, of a run as it stands.
    fn judge(&self, state: &RunState) -> Result<Vec<StepId>, CliError> {
        if let Some(error) = half_taken_back(state) {
            return Err(error);
        }
        match not_met(state) {
            Some(error) if !self.not_met => Err(error),
            _ => Ok(keepers(state)),
        }
    }
}

fn listed(steps: &[StepId]) -> String {
    let names: Vec<&str> = steps.iter().map(StepId::as_str).collect();
    match names.is_empty() {
        true => "no step".into(),
        false => names.join(", "),
    }
}

/// An undo that is not at its end needs what was kept: it is what it puts back.
fn half_taken_back(state: &RunState) -> Option<CliError> {
    let steps = on_the_way_back(state);
    let names: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
    let run = state.header.run.short();
    let words = format!(
        "run {run} is half taken back, and what it kept of before is what that puts back: {}",
        names.join(", ")
    );
    let hint = format!(
        "dr-plan undo {run} takes it back to the end; with `--leave STEP` a step stays as it is, and what it kept can be let go of then"
    );
    let half = !names.is_empty();
    half.then(|| CliError::new(PROBLEMS, words).hint(hint))
}

/// Only a run that brought everything back can do without what was there before it.
fn not_met(state: &RunState) -> Option<CliError> {
    let run = state.header.run.short();
    let result = match &state.result {
        Some((RunResult::Met, _)) => return None,
        Some((result, _)) => format!("ended as {result}"),
        None => "has no result yet".to_string(),
    };
    let words = format!("run {run} {result}: what it kept of before may be the only good copy");
    let hint = format!("when you are sure: dr-plan release {run} --not-met");
    Some(CliError::new(PROBLEMS, words).hint(hint))
}
