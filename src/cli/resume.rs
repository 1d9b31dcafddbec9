//! `dr-plan resume`: goes on with a run from its journal: attaches to what still runs on hosts, settles what is in doubt
//! by looking, and tries failed steps again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;

use super::conduct::{Conduct, code_of_state};
use super::enter::enter_world_of;
use super::failure::{CliError, JOURNAL, Outcome, USAGE};
use super::here::{person, state_folder};
use super::inject::{self, Inject};
use super::sources::Reader;
use super::{Common, report, runtime, say, services};
use crate::clock::{Clock, SystemClock};
use crate::event::{Header, RunResult, What};
use crate::journal::{
    Estates, FileEstates, FileJournal, Hash, JournalError, Ledger, Owner, Parts, RunFolder,
};
use crate::program::Program;
use crate::secret::Mask;
use crate::state::RunState;

/// Go on with a run that stopped, was killed, or failed
#[derive(Debug, Args)]
pub struct Resume {
    /// The run: its id, its beginning or end, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// Steps at work side by side
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// Push aside whoever holds the estate; needs the id of their run, typed out
    #[arg(long, value_name = "RUN")]
    take_over: Option<String>,
    /// An accident, in a sandbox
    #[arg(long, value_name = "ACCIDENT:STEP", hide = true)]
    inject: Vec<Inject>,
}

impl Resume {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let state_path = state_folder(common.state.clone())?;
        let folder = RunFolder::find(&state_path, &self.run)?;
        let (state, texts) = read_back(&folder, common)?;
        let header = state.header.clone();
        let is_drill = header.drill.is_some();
        if is_drill && self.take_over.is_some() {
            let words = "a drill holds no estate: there is nothing to take over";
            return Err(CliError::new(USAGE, words));
        }
        if !goes_on(&state, &state_path)? {
            return Ok(code_of_state(&state));
        }
        enter_world_of(&texts.sources.inventory)?;
        for path in changed_since(&header) {
            say(&format!(
                "{} has changed since this run began, which goes on with the text of then; a new text is a new run (`dr-plan run ... --adopt {}`)\n",
                path.display(),
                header.run.short()
            ));
        }
        let program = bind_again(texts, &header)?;
        let work = inject::work(program.clone(), &self.inject)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let estates = FileEstates::new(&state_path);
        let owner = Owner::this_process(header.run.clone(), &person(), clock.now());
        let held = match &self.take_over {
            _ if is_drill => None,
            Some(typed) => Some(estates.take_over(&header.estate, &owner, typed)?),
            None => Some(estates.take(&header.estate, &owner)?),
        };
        if let Some(before) = held.as_ref().and_then(|held| held.before()) {
            let words = match (&self.take_over, folder.is_live()?) {
                (Some(_), true) => "pushed aside",
                _ => "the last owner did not let go in peace",
            };
            say(&format!("{words}: {before}\n"));
        }
        // Read and judged again behind the lock: whoever had it may have ended the run, or taken it back, until a moment ago.
        let (journal, state) = open_when_free(&folder, self.take_over.is_some())?;
        if !goes_on(&state, &state_path)? {
            return Ok(code_of_state(&state));
        }
        let mask = Mask::default();
        let runtime = runtime()?;
        runtime.block_on(async {
            let wanted = services::Wanted {
                inventory: program.inventory().clone(),
                plan: program.text(),
                accounts: program.accounts(),
                folder: folder.path().to_path_buf(),
                state: Some(&state),
                mask: mask.clone(),
                clock: clock.clone(),
                drill: header
                    .drill
                    .clone()
                    .map(|drill| (header.run.clone(), drill)),
            };
            let services = Arc::new(services::build(wanted).await?);
            let approved = header
                .approved
                .iter()
                .map(|step| (step.clone(), header.by.clone()))
                .collect();
            let parts = Parts {
                journal: Box::new(journal),
                reporters: report::reporters(common, &folder, &header, &mask)?,
                mask: mask.clone(),
                clock,
                estate: held,
            };
            let ledger = Ledger::go_on(parts, state)?;
            // A drill that has its result is only taken down; taking it up would take the result back.
            if !(is_drill && ledger.state(|state| state.result.is_some())) {
                ledger
                    .record(What::Resumed {
                        by: person(),
                        version: env!("CARGO_PKG_VERSION").into(),
                    })
                    .await?;
            }
            let conduct = Conduct {
                work,
                ledger,
                services,
                folder,
                parallel: usize::from(self.parallel),
                approved,
                json: common.json,
                mask,
                interactive: std::io::IsTerminal::is_terminal(&std::io::stdin()),
            };
            conduct.carry_through().await
        })
    }
}

/// Binds a run's own copies as they were bound when it began.
pub fn bind_again(
    texts: super::sources::Texts,
    header: &crate::event::Header,
) -> Result<Arc<Program>, CliError> {
    let given = header
        .inputs
        .iter()
        .map(|(name, value)| {
            let text = value.as_str().map(str::to_string);
            (name.clone(), text.unwrap_or_else(|| value.to_string()))
        })
        .collect();
    let program = Program::bind(texts.sources, header.mode, header.run.clone(), &given)?;
    if program.steps() != header.steps.as_slice() {
        let differs =
            "this version of dr-plan reads the run's plan differently from the one that began it";
        let hint = match header.version == env!("CARGO_PKG_VERSION") {
            false => format!("go on with version {}", header.version),
            // Two builds may call themselves the same.
            true => format!(
                "go on with the very program that began it; or begin anew with what stands: dr-plan run {} --adopt {}",
                header.plan_path,
                header.run.short()
            ),
        };
        return Err(CliError::new(JOURNAL, differs).hint(hint));
    }
    Ok(Arc::new(program))
}

/// Whether there is anything to go on with in a run as it stands; said if not.
///
/// # Errors
/// It must not go on.
fn goes_on(state: &RunState, state_path: &Path) -> Result<bool, CliError> {
    let is_drill = state.header.drill.is_some();
    match is_drill {
        true => drill_goes_on(state)?,
        false => only_forward(state)?,
    }
    super::adopt::whole(state, state_path)?;
    if !is_drill && matches!(state.result, Some((RunResult::Met, _))) {
        say(&format!(
            "run {} ended as MET; there is nothing to resume\n",
            state.header.run.short()
        ));
        return Ok(false);
    }
    Ok(true)
}

/// A drill that is over and taken down has nothing left to go on with.
fn drill_goes_on(state: &RunState) -> Result<(), CliError> {
    let run = state.header.run.short();
    let there = state.resources.iter().any(|(_, _, gone)| gone.is_none());
    let keep = state
        .header
        .drill
        .as_ref()
        .filter(|drill| drill.keep && there);
    match (&state.result, keep) {
        (None, _) => only_forward(state),
        (Some(_), Some(drill)) => {
            let words = format!(
                "drill {run} is over, and is kept until {}",
                drill.expires.strftime("%Y-%m-%d %H:%M:%S UTC")
            );
            Err(CliError::new(USAGE, words).hint(format!("dr-plan undo {run} takes it down now")))
        }
        (Some(_), None) if state.back.ended && !there => {
            let words = format!("drill {run} is over, and all that it made is deleted");
            Err(CliError::new(USAGE, words).hint(format!("dr-plan report {run}")))
        }
        _ => Ok(()),
    }
}

/// A run that is being taken back, or whose estate another run has, does not go forward again.
fn only_forward(state: &RunState) -> Result<(), CliError> {
    let run = state.header.run.short();
    if let Some(to) = &state.back.handed_over {
        let words = format!("run {run} handed what it made over to run {}", to.short());
        return Err(CliError::new(USAGE, words).hint(format!("dr-plan resume {}", to.short())));
    }
    if state.back.begun.is_some() {
        let words =
            format!("run {run} is taken back, wholly or in part: it does not go forward again");
        return Err(CliError::new(USAGE, words).hint(format!(
            "`dr-plan undo {run}` takes all of it back; `dr-plan run {} --adopt {run}` goes on with what it left in a new run",
            state.header.plan_path
        )));
    }
    Ok(())
}

/// The files of the run that are not any more what they were when it began.
fn changed_since(header: &Header) -> Vec<PathBuf> {
    let originals = header.files.iter().filter_map(|file| {
        let path = Path::new("/").join(file.path.strip_prefix("files/")?);
        Some((path, file))
    });
    originals
        .filter(|(path, file)| {
            std::fs::read(path).is_ok_and(|now| Hash::of(&now).to_string() != file.sha256)
        })
        .map(|(path, _)| path)
        .collect()
}

/// Opens the journal. A process that was pushed aside still has it, until it looks and leaves.
fn open_when_free(folder: &RunFolder, pushed: bool) -> Result<(FileJournal, RunState), CliError> {
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut told = !pushed;
    loop {
        match folder.open_sum() {
            Err(JournalError::Busy { .. }) if pushed && Instant::now() < deadline => {
                if !told {
                    say("waiting for the old process to leave the run\n");
                    told = true;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error @ JournalError::Busy { .. }) if pushed => {
                let hint = "it was told to leave and does not: end that process, then type the same command again";
                return Err(CliError::from(error).hint(hint));
            }
            came => return Ok(came?),
        }
    }
}

/// Journal and texts of a run, as they stand.
pub fn read_back(
    folder: &RunFolder,
    common: &Common,
) -> Result<(RunState, super::sources::Texts), CliError> {
    if common.inventory.is_some() || common.providers.is_some() {
        return Err(CliError::new(
            USAGE,
            "a run keeps to the inventory and the provider files that it was begun with",
        )
        .hint("leave --inventory and --providers away; another estate is another run"));
    }
    let state = folder.sum()?;
    let plan = PathBuf::from(&state.header.plan_path);
    let texts = Reader::of_run(folder, &state.header)?.plan(&plan, &BTreeMap::new(), common)?;
    Ok((state, texts))
}
