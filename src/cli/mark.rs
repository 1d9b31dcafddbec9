//! `dr-plan mark`: a person's word about a step, kept with their name. `--done` is verified all the same.

use clap::Args;

use super::approve::deliver;
use super::conduct::may_mark;
use super::failure::{CliError, OK, Outcome, USAGE};
use super::here::{NAMELESS, nameless, person, state_folder};
use super::logs::step_of;
use super::{Common, say};
use crate::clock::{SystemClock, Timestamp};
use crate::event::{Mark, What};
use crate::ids::StepId;
use crate::journal::{Estates, FileEstates, Ledger, Message, Owner, Parts, RunFolder, Word};
use crate::secret::Mask;
use crate::state::{RunState, Status, StepState};

/// Say of a step that it is done, or not needed
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("word").required(true)))]
pub struct MarkStep {
    /// The run: its id, its beginning or end, or `last`
    run: String,
    /// The step
    step: String,
    /// It is done; the run verifies it all the same
    #[arg(long, group = "word")]
    done: bool,
    /// It is not needed; its dependants go on, and a critical one is an exception in the result
    #[arg(long, group = "word")]
    skip: bool,
    /// Why: it stands in the report
    #[arg(long, value_name = "TEXT")]
    because: String,
    /// Who says so [default: you@this-machine]
    #[arg(long = "as", value_name = "NAME")]
    by: Option<String>,
}

impl MarkStep {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        if self.because.trim().is_empty() {
            return Err(CliError::new(
                USAGE,
                "--because is empty: whoever reads the report will want to know",
            ));
        }
        if self.by.as_deref().is_some_and(nameless) {
            return Err(CliError::new(USAGE, NAMELESS));
        }
        let state_path = state_folder(common.state.clone())?;
        let folder = RunFolder::find(&state_path, &self.run)?;
        let state = folder.sum()?;
        let step = step_of(&state, &self.step)?;
        let short = state.header.run.short().to_string();
        let by = self.by.clone().unwrap_or_else(person);
        self.judge(&state, &step, &by)?;
        let mark = if self.skip { Mark::Skip } else { Mark::Done };
        if folder.is_live()? {
            let word = Word::Mark {
                mark,
                because: self.because.clone(),
            };
            deliver(
                &folder,
                &Message {
                    by,
                    at: Timestamp::now(),
                    step: step.clone(),
                    word,
                },
            )?;
            say(&format!("`{step}` is marked; the run goes on with it\n"));
            return Ok(OK);
        }
        // Nobody is at work on it: the word is written behind the estate's lock, as the run itself would.
        let owner = Owner::this_process(state.header.run.clone(), &person(), Timestamp::now());
        let held = FileEstates::new(&state_path).take(&state.header.estate, &owner)?;
        let (journal, state) = folder.open_sum()?;
        // Whoever had the lock may have carried the step out until a moment ago.
        self.judge(&state, &step, &by)?;
        let parts = Parts {
            journal: Box::new(journal),
            reporters: Vec::new(),
            mask: Mask::default(),
            clock: std::sync::Arc::new(SystemClock::new()),
            estate: Some(held),
        };
        let ledger = Ledger::go_on(parts, state)?;
        ledger.record_blocking(What::Marked {
            step: step.clone(),
            mark,
            by,
            because: self.because,
        })?;
        ledger.close()?;
        say(&format!(
            "`{step}` is marked\n hint: dr-plan resume {short}\n"
        ));
        Ok(OK)
    }

    /// Whether the word can be kept, as the run stands.
    fn judge(&self, state: &RunState, step: &StepId, by: &str) -> Result<(), CliError> {
        let short = state.header.run.short();
        may_mark(state, step, by).map_err(|why| {
            CliError::new(USAGE, why).hint(format!(
                "dr-plan mark {short} {step} --as NAME, if that is you"
            ))
        })?;
        let taken_back = |step: &StepState| step.status == Status::Skipped && self.done;
        if state
            .step(step)
            .is_some_and(|step| step.status.good() && !taken_back(step))
        {
            return Err(
                CliError::new(USAGE, format!("`{step}` has ended well already"))
                    .hint(format!("dr-plan status {short}")),
            );
        }
        if self.done
            && state
                .step(step)
                .is_some_and(|step| step.bound.kind == "approve")
        {
            return Err(CliError::new(
                USAGE,
                format!("`{step}` is a question: an answer is what makes it done"),
            )
            .hint(format!("dr-plan approve {short} {step} --as NAME")));
        }
        Ok(())
    }
}
