//! `dr-plan approve`: answers a question of a run that goes on in another terminal, or waits without one.

use clap::Args;

use super::failure::{CliError, OK, Outcome, STOPPED, USAGE};
use super::here::{NAMELESS, nameless, person, state_folder};
use super::logs::step_of;
use super::{Common, say};
use crate::clock::Timestamp;
use crate::event::RunResult;
use crate::journal::{Message, RunFolder, Word};

/// Answer a question that a run asks
#[derive(Debug, Args)]
pub struct Approve {
    /// The run: its id, its beginning or end, or `last`
    run: String,
    /// The step that asks
    step: String,
    /// Who answers [default: you@this-machine]
    #[arg(long = "as", value_name = "NAME")]
    by: Option<String>,
    /// The answer is no
    #[arg(long)]
    no: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
}

impl Approve {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        if self.by.as_deref().is_some_and(nameless) {
            return Err(CliError::new(USAGE, NAMELESS));
        }
        let folder = RunFolder::find(&state_folder(common.state.clone())?, &self.run)?;
        let state = folder.sum()?;
        let step = step_of(&state, &self.step)?;
        let short = state.header.run.short().to_string();
        // What failed or was declined is tried, and asked, again; what came back is over.
        let over = state
            .result
            .as_ref()
            .filter(|(result, _)| !matches!(result, RunResult::Failed | RunResult::Aborted));
        if let Some((result, _)) = over {
            return Err(CliError::new(
                USAGE,
                format!("run {short} has ended as {result}; it asks nothing any more"),
            ));
        }
        if !folder.is_live()? {
            return Err(CliError::new(
                STOPPED,
                format!("run {short} is not at work: nobody would hear the answer"),
            )
            .hint(format!("dr-plan resume {short} asks again")));
        }
        let asking = state.step(&step).and_then(|step| step.asking.clone());
        let Some((ask, _)) = asking else {
            return Err(CliError::new(STOPPED, format!("`{step}` asks nothing now"))
                .hint(format!("dr-plan status {short}")));
        };
        let by = self.by.unwrap_or_else(person);
        if !ask.may_be_answered_by(&by) {
            let names = ask.by.join(", ");
            return Err(CliError::new(
                USAGE,
                format!("`{step}` is not for {by} to answer, but for {names}"),
            )
            .hint(format!(
                "dr-plan approve {short} {step} --as NAME, if that is you"
            )));
        }
        let message = Message {
            by,
            at: Timestamp::now(),
            step: step.clone(),
            word: Word::Answer {
                name: Some(ask.name.clone()),
                yes: !self.no,
                because: self.because,
            },
        };
        deliver(&folder, &message)?;
        say(&format!(
            "answered {} to: {}\n",
            if self.no { "no" } else { "yes" },
            ask.question
        ));
        Ok(OK)
    }
}

/// Puts a message into the run's inbox and waits until the run has taken it.
pub fn deliver(folder: &RunFolder, message: &Message) -> Result<(), CliError> {
    let path = folder.inbox().post(message)?;
    for _ in 0..100 {
        if !path.exists() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // Gone between two looks: it was taken after all.
    if std::fs::remove_file(&path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        return Ok(());
    }
    Err(CliError::new(
        STOPPED,
        "the run has not taken the message within ten seconds; it was withdrawn",
    )
    .hint(format!("dr-plan status {}", folder.run().short())))
}
