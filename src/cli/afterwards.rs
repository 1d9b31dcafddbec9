//! What `undo` and `release` share: a run that is opened again after its end, behind the estate's lock.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::conduct::{listen_to_signals, write_reports};
use super::enter::enter_world_of;
use super::failure::{CliError, Outcome, USAGE};
use super::here::{person, state_folder};
use super::resume::{bind_again, read_back};
use super::{Common, report, runtime, say, services};
use crate::action::{Person, Services};
use crate::clock::{Clock, SystemClock};
use crate::engine::{Desk, Stop};
use crate::journal::{Estates, FileEstates, Ledger, Owner, Parts, RunFolder};
use crate::program::Program;
use crate::secret::Mask;
use crate::state::RunState;

/// A run as it stands; nothing is held yet.
pub struct Afterwards {
    /// Its folder.
    pub folder: RunFolder,
    /// Its sum.
    pub state: RunState,
    /// Its plan, bound as it was.
    pub program: Arc<Program>,
    state_path: PathBuf,
}

/// A run that is open to be written to.
pub struct Opened {
    /// The journal's door.
    pub ledger: Ledger,
    /// The estate's services.
    pub services: Arc<Services>,
    /// People.
    pub person: Arc<dyn Person>,
    /// Wishes to stop.
    pub stop: Stop,
}

impl Afterwards {
    /// Finds the run and enters its world.
    pub fn of(run: &str, common: &Common) -> Result<Self, CliError> {
        let state_path = state_folder(common.state.clone())?;
        let folder = RunFolder::find(&state_path, run)?;
        let (state, texts) = read_back(&folder, common)?;
        enter_world_of(&texts.sources.inventory)?;
        let program = bind_again(texts, &state.header)?;
        still_its_own(&state)?;
        Ok(Self {
            folder,
            state,
            program,
            state_path,
        })
    }

    /// The word that a person types to agree: for a real estate its name.
    pub fn word_to_agree(&self) -> &str {
        match self.program.inventory().sandbox {
            Some(_) => "yes",
            None => &self.state.header.estate,
        }
    }

    /// Takes the estate's lock, opens the journal, judges the run as it stands now, carries `work` out, and writes the reports
    /// anew. What was known before the lock is old: another program may have gone on with the run, or taken it back. So whatever is
    /// done follows from what `judge` finds; a code from it ends the command.
    pub fn carry_out<T>(
        self,
        common: &Common,
        judge: impl FnOnce(&RunState) -> Result<ControlFlow<u8, T>, CliError>,
        work: impl AsyncFnOnce(Opened, T) -> Outcome,
    ) -> Outcome {
        let header = self.state.header.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let owner = Owner::this_process(header.run.clone(), &person(), clock.now());
        // A drill changes nothing of the estate: its own journal is all that it needs to itself.
        let held = match header.drill {
            Some(_) => None,
            None => Some(FileEstates::new(&self.state_path).take(&header.estate, &owner)?),
        };
        if let Some(before) = held.as_ref().and_then(|held| held.before()) {
            say(&format!(
                "the last owner did not let go in peace: {before}\n"
            ));
        }
        let (journal, state) = self.folder.open_sum()?;
        still_its_own(&state)?;
        let found = match judge(&state)? {
            ControlFlow::Continue(found) => found,
            ControlFlow::Break(code) => return Ok(code),
        };
        let mask = Mask::default();
        runtime()?.block_on(async {
            let wanted = services::Wanted {
                inventory: self.program.inventory().clone(),
                plan: self.program.text(),
                accounts: self.program.accounts(),
                folder: self.folder.path().to_path_buf(),
                state: Some(&state),
                mask: mask.clone(),
                clock: clock.clone(),
                drill: header
                    .drill
                    .clone()
                    .map(|drill| (header.run.clone(), drill)),
            };
            let services = Arc::new(services::build(wanted).await?);
            let parts = Parts {
                journal: Box::new(journal),
                reporters: report::reporters(common, &self.folder, &header, &mask)?,
                mask: mask.clone(),
                clock,
                estate: held,
            };
            let ledger = Ledger::go_on(parts, state)?;
            let (handle, stop) = Stop::new();
            let signals = tokio::spawn(listen_to_signals(handle, ledger.clone()));
            let opened = Opened {
                person: Desk::new(ledger.clone(), Vec::new()),
                ledger: ledger.clone(),
                services: services.clone(),
                stop,
            };
            let came = work(opened, found).await;
            signals.abort();
            for host in services.hosts.all() {
                host.disconnect().await;
            }
            let code = came?;
            write_reports(&self.folder, &ledger, &mask, common.json);
            ledger.close()?;
            Ok(code)
        })
    }
}

/// What another run goes on with is not this run's to change.
fn still_its_own(state: &RunState) -> Result<(), CliError> {
    let Some(to) = &state.back.handed_over else {
        return Ok(());
    };
    let words = format!(
        "run {} handed what it made over to run {}",
        state.header.run.short(),
        to.short()
    );
    Err(CliError::new(USAGE, words).hint(format!("dr-plan status {}", to.short())))
}
