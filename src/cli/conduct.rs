//! Carries a run through from the moment its header is on disk: signals, messages from other terminals, questions to
//! the person at this one, and the last words. `run` and `resume` differ only in what comes before.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::ask::ask_at_terminal;
use super::failure::{CliError, EXCEPTIONS, OK, Outcome, STOPPED, code_of};
use super::taking_down::{Down, take_down};
use super::tell;
use crate::action::{Person, Services};
use crate::engine::{
    Answer, Desk, Ending, Engine, Stop, StopHandle, Wish, look_at_egress, precheck,
};
use crate::event::{Mark, RunResult, What, is_one_of};
use crate::ids::StepId;
use crate::journal::{JournalError, Ledger, Letter, RunFolder, Word};
use crate::kind::chain;
use crate::program::Work;
use crate::report::{Report, html, markdown};
use crate::secret::Mask;
use crate::state::RunState;

/// A run that can go.
pub struct Conduct {
    /// What is to be done.
    pub work: Arc<dyn Work>,
    /// The journal's door.
    pub ledger: Ledger,
    /// The estate's services.
    pub services: Arc<Services>,
    /// The run's folder.
    pub folder: RunFolder,
    /// Steps at work side by side.
    pub parallel: usize,
    /// Steps approved beforehand, and by whom.
    pub approved: Vec<(StepId, String)>,
    /// `--json`: nothing but events on standard output.
    pub json: bool,
    /// What must not be seen.
    pub mask: Mask,
    /// Questions may be put to this terminal.
    pub interactive: bool,
}

impl Conduct {
    /// Prechecks, runs, reports; the exit code is the result's.
    pub async fn carry_through(self) -> Outcome {
        let desk = Desk::new(self.ledger.clone(), self.approved.clone());
        let (handle, stop) = Stop::new();
        let signals = tokio::spawn(listen_to_signals(handle.clone(), self.ledger.clone()));
        let letters = tokio::spawn(read_letters(
            self.folder.clone(),
            self.ledger.clone(),
            desk.clone(),
        ));
        let questions = self
            .interactive
            .then(|| tokio::spawn(ask_at_terminal(desk.clone())));
        let waits = tokio::spawn(tell::questions(
            self.services.clone(),
            self.ledger.clone(),
            desk.standing(),
        ));
        let came = self.go(&desk, stop.clone()).await;
        letters.abort();
        waits.abort();
        if let Some(questions) = questions {
            questions.abort();
        }
        let came = match came {
            Ok(ending) => self.end_drill(ending, &desk, &stop).await,
            Err(error) => Err(error),
        };
        // Signals are heard until everybody is told: a channel that does not answer keeps nobody.
        let mut leave = stop.clone();
        tokio::select! {
            () = tell::the_end(&self.services, &self.ledger) => {}
            () = left_alone(&mut leave) => super::say("left before every channel was told\n"),
        }
        signals.abort();
        for host in self.services.hosts.all() {
            host.disconnect().await;
        }
        let (ending, down) = came?;
        let code = match ending {
            Some(Ending::Ended(result)) => code_of(result),
            Some(Ending::Stopped) | None => STOPPED,
        };
        let code = match (code, down) {
            (OK, Down::Left) => EXCEPTIONS,
            (code, _) => code,
        };
        write_reports(&self.folder, &self.ledger, &self.mask, self.json);
        self.ledger.close()?;
        Ok(code)
    }

    /// A drill has a result whatever stopped it, and leaves nothing behind: unless it was told to, or had to leave at once.
    async fn end_drill(
        &self,
        ending: Option<Ending>,
        desk: &Arc<Desk>,
        stop: &Stop,
    ) -> Result<(Option<Ending>, Down), CliError> {
        let is_drill = self.ledger.state(|state| state.header.drill.is_some());
        if !is_drill {
            return Ok((ending, Down::Gone));
        }
        let made = self
            .ledger
            .state(|state| !crate::engine::way_back(&*self.work, state, None).is_empty());
        if stop.now() == Wish::Leave && made {
            let run = self
                .ledger
                .state(|state| state.header.run.short().to_string());
            super::say(&format!(
                "
what the drill made still stands
 hint: dr-plan resume {run} goes on with it; dr-plan reap --run {run} takes it away
"
            ));
            return Ok((ending, Down::Left));
        }
        let mut ending = ending;
        if matches!(ending, Some(Ending::Stopped)) {
            look_at_egress(&self.ledger, &self.services).await?;
            let (result, because) = match stop.now() {
                Wish::Go => self.ledger.state(crate::state::judge),
                _ => (RunResult::Aborted, vec!["stopped on request".to_string()]),
            };
            let ended = What::Ended { result, because };
            self.ledger.record(ended).await?;
            ending = Some(Ending::Ended(result));
        }
        let person: Arc<dyn Person> = desk.clone();
        let down = take_down(&self.work, &self.ledger, &self.services, &person, stop).await?;
        Ok((ending, down))
    }

    async fn go(&self, desk: &Arc<Desk>, stop: Stop) -> Result<Option<Ending>, CliError> {
        let over = self.ledger.state(|state| match &state.result {
            Some((result, _)) if state.header.drill.is_some() => Some(*result),
            _ => None,
        });
        // Taken up after its end: what it made is all that is left of it.
        if let Some(result) = over {
            return Ok(Some(Ending::Ended(result)));
        }
        let work = self.work.clone();
        let mut asked_to_stop = stop.clone();
        let checks = tokio::select! {
            checks = precheck(&work, &self.ledger, &self.services, desk.clone()) => checks?,
            _ = asked_to_stop.changed() => {
                let why = "stopped on request before the start; nothing was touched".to_string();
                let run = self.ledger.state(|state| state.header.run.short().to_string());
                self.ledger.record(What::Stopped { why, hint: Some(format!("dr-plan resume {run}")) }).await?;
                return Ok(None);
            }
        };
        if !checks.refused.is_empty() {
            let steps: Vec<String> = checks
                .refused
                .iter()
                .map(|(step, _)| format!("`{step}`"))
                .collect();
            let why = format!("nothing was touched: {} would not work", steps.join(", "));
            let run = self
                .ledger
                .state(|state| state.header.run.short().to_string());
            let hint = Some(format!(
                "mend what is wrong outside, then `dr-plan resume {run}`; if a plan, inventory or provider file is wrong, mend it and begin anew with `dr-plan run`"
            ));
            self.ledger.record(What::Stopped { why, hint }).await?;
            return Ok(None);
        }
        let engine = Engine::new(
            work,
            self.ledger.clone(),
            self.services.clone(),
            desk.clone(),
            stop,
            self.parallel,
        );
        Ok(Some(engine.run().await?))
    }
}

/// Writes the reports. They are made of the journal, which has everything already: a full disk here takes nothing from the
/// result, and its exit code stays.
pub fn write_reports(folder: &RunFolder, ledger: &Ledger, mask: &Mask, json: bool) {
    match try_to_write(folder, ledger, mask) {
        Ok(_) if json => {}
        Ok(path) => {
            let path = path.with_file_name("report.md");
            super::say(&format!(
                "\nreport: {} (and report.html, to look at)\n",
                path.display()
            ));
        }
        Err(error) => {
            let run = ledger.state(|state| state.header.run.short().to_string());
            super::say(&format!(
                "\nwarning: the report could not be written: {}\n hint: dr-plan report {run} prints it from the journal, which is whole\n",
                chain(&error)
            ));
        }
    }
}

fn try_to_write(
    folder: &RunFolder,
    ledger: &Ledger,
    mask: &Mask,
) -> Result<std::path::PathBuf, JournalError> {
    let head = folder.read()?.head;
    let report = ledger.state(Report::new).of_journal(head.seq, head.hash);
    folder.write("report.md", mask.clean(&markdown(&report)).as_bytes())?;
    folder.write("report.html", mask.clean(&html(&report)).as_bytes())?;
    folder.write("report.json", mask.clean(&report.json()).as_bytes())
}

/// When a last message is no longer waited for: as soon as somebody wants to leave, or a little later if that is why the run has stopped.
async fn left_alone(stop: &mut Stop) {
    const LAST_WORDS: Duration = Duration::from_secs(5);
    if stop.now() == Wish::Leave {
        return tokio::time::sleep(LAST_WORDS).await;
    }
    while stop.changed().await != Wish::Leave {}
}

/// Ctrl-C once: nothing new; twice, or SIGTERM: leave now. A lost terminal stops nothing.
pub async fn listen_to_signals(handle: StopHandle, ledger: Ledger) {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => match handle.press() {
                Wish::Drain => {
                    let running = ledger.state(running_steps);
                    let words = if running.is_empty() { "nothing runs".to_string() } else { format!("waiting for {}", running.join(", ")) };
                    let _ = writeln!(anstream::stderr(), "\nstopping: nothing new is started; {words}. Ctrl-C again leaves at once.");
                }
                _ => {
                    let _ = writeln!(anstream::stderr(), "\nleaving now; what runs on hosts goes on there");
                }
            },
            _ = terminate.recv() => handle.wish(Wish::Leave),
            _ = hangup.recv() => {}
        }
    }
}

fn running_steps(state: &RunState) -> Vec<String> {
    let undone = state.back.steps.iter();
    let undone: Vec<String> = undone
        .filter(|(_, stand)| **stand == crate::state::Return::InDoubt)
        .map(|(step, _)| format!("`{step}`"))
        .collect();
    if state.back.begun.is_some() {
        return undone;
    }
    let running = state
        .steps
        .iter()
        .filter(|step| step.status == crate::state::Status::Running);
    running
        .map(|step| {
            let since = step
                .started
                .map(|at| state.last.duration_since(at))
                .and_then(|d| Duration::try_from(d).ok());
            match since {
                Some(since) => format!(
                    "`{}` (for {})",
                    step.bound.id,
                    crate::units::duration(since)
                ),
                None => format!("`{}`", step.bound.id),
            }
        })
        .collect()
}

/// Answers and marks from other terminals. A letter leaves the box when the journal has it.
async fn read_letters(folder: RunFolder, ledger: Ledger, desk: Arc<Desk>) {
    let mut watch = folder.inbox().watch(Duration::from_millis(200));
    loop {
        let letters = match watch.next().await {
            Ok(letters) => letters,
            Err(error) => {
                tracing::warn!("reading the run's inbox: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        for letter in letters {
            match take(&letter, &ledger, &desk).await {
                Ok(Taken::Kept) => {
                    if let Err(error) = letter.settled() {
                        tracing::warn!("a message to the run: {}", chain(&error));
                    }
                }
                Ok(Taken::NotNow) => watch.put_back(&letter),
                Err(error) => tracing::warn!("a message to the run: {error}"),
            }
        }
    }
}

/// What became of a letter.
enum Taken {
    /// What it says is in the journal.
    Kept,
    /// Its question does not stand, or not yet: `asked` is on disk a moment before the desk has it.
    NotNow,
}

async fn take(letter: &Letter, ledger: &Ledger, desk: &Desk) -> Result<Taken, String> {
    let message = match &letter.message {
        Ok(message) => message.clone(),
        Err(why) => return Err(why.clone()),
    };
    match message.word {
        Word::Answer { name, yes, because } => {
            let answer = Answer {
                yes,
                by: message.by,
                because,
                how: "command".into(),
            };
            if !desk.answer(&message.step, name.as_deref(), answer).await {
                return Ok(Taken::NotNow);
            }
        }
        Word::Mark { mark, because } => {
            mark_step(ledger, &message.step, mark, &message.by, &because).await?
        }
    }
    Ok(Taken::Kept)
}

/// Whether this person's word counts for the step: one that asks certain people can be called needless or done only by
/// them, or a mark would be a way around the question.
pub fn may_mark(state: &RunState, step: &StepId, by: &str) -> Result<(), String> {
    match state.step(step) {
        None => Err(format!("the run has no step `{step}`")),
        Some(known) if !is_one_of(by, &known.bound.asks) => Err(format!(
            "`{step}` is not for {by} to mark, but for {}",
            known.bound.asks.join(", ")
        )),
        Some(_) => Ok(()),
    }
}

/// Records a person's word about a step.
pub async fn mark_step(
    ledger: &Ledger,
    step: &StepId,
    mark: Mark,
    by: &str,
    because: &str,
) -> Result<(), String> {
    ledger.state(|state| may_mark(state, step, by))?;
    let what = What::Marked {
        step: step.clone(),
        mark,
        by: by.to_string(),
        because: because.to_string(),
    };
    ledger
        .record(what)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

/// The exit code of a run that is looked at later.
pub fn code_of_state(state: &RunState) -> u8 {
    match &state.result {
        Some((result, _)) => code_of(*result),
        None if state.finished() => OK,
        None => STOPPED,
    }
}
