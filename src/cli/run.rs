//! `dr-plan run`: the failover.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::conduct::Conduct;
use super::enter::enter_world_of;
use super::failure::{CliError, Outcome, USAGE};
use super::here::{person, state_folder};
use super::inject::{self, Inject};
use super::sources::{Reader, absolute};
use super::{Common, runtime, say};
use super::{adopt, earlier, header, preview, problems, report, services, start};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::event::Header;
use crate::ids::{RunId, StepId};
use crate::journal::{Estates, FileEstates, Ledger, Owner, Parts, RunFolder};
use crate::kind::Mode;
use crate::program::Program;
use crate::sandbox::world::World;
use crate::secret::Mask;

/// Carry a plan out: the real thing
#[derive(Debug, Args)]
pub struct Run {
    /// The plan
    plan: PathBuf,
    /// When the service was lost (RFC 3339); the clocks for RTO and RPO start there [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    lost_at: Option<Timestamp>,
    /// An input of the plan
    #[arg(long, value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Only look: run every check, change nothing, and print what would happen
    #[arg(long, conflicts_with_all = ["preview", "approve", "inject"])]
    dry_run: bool,
    /// Do what this saved preview says, or nothing: every difference is named
    #[arg(long, value_name = "FILE")]
    preview: Option<PathBuf>,
    /// Go on with the servers and the data that an older run of this plan left, instead of making them anew
    #[arg(long, value_name = "RUN", conflicts_with = "preview")]
    adopt: Option<String>,
    /// Begin although an earlier run of this estate is not finished, or has moved its users
    #[arg(long)]
    anew: bool,
    /// Answer the start question with yes; never an approval
    #[arg(long)]
    yes: bool,
    /// Approve a step beforehand; only in a sandbox
    #[arg(long, value_name = "STEP")]
    approve: Vec<String>,
    /// Steps at work side by side
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    parallel: u16,
    /// An accident, in a sandbox
    #[arg(long, value_name = "ACCIDENT:STEP", hide = true)]
    inject: Vec<Inject>,
}

impl Run {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let given = inputs(&self.input)?;
        let texts = Reader::of_person().plan(&self.plan, &given, common)?;
        enter_world_of(&texts.sources.inventory)?;
        let run = RunId::generate();
        let mut files = texts.files;
        let program = Program::bind(texts.sources, Mode::Failover, run.clone(), &given)?;
        let warnings: Vec<_> = texts
            .warnings
            .into_iter()
            .chain(program.warnings.clone())
            .collect();
        if !warnings.is_empty() && !common.quiet {
            say(&problems::render(&warnings, true));
        }
        header::add_files_of(&program, &mut files)?;
        let approved = approved(&self.approve, &program)?;
        let program = Arc::new(program);
        let work = inject::work(program.clone(), &self.inject)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let now = clock.now();
        if self.lost_at.is_some_and(|at| at > now) {
            return Err(CliError::new(
                USAGE,
                format!(
                    "--lost-at lies in the future: this machine's clock says {}",
                    now.strftime("%Y-%m-%d %H:%M:%S UTC")
                ),
            )
            .hint("if that is wrong: `timedatectl`; times here are compared with those of backups and records"));
        }
        let state = state_folder(common.state.clone())?;
        if !(self.anew || self.dry_run || self.adopt.is_some()) {
            let world = program.inventory().sandbox.as_ref().and(World::since());
            earlier::check(&state, &program.inventory().name, world)?;
        }
        let older = match &self.adopt {
            Some(run) => Some(adopt::older(run, &state, &program)?),
            None => None,
        };
        let header = header::of(
            &program,
            header::Beginning {
                run: run.clone(),
                lost_at: self.lost_at,
                now,
                approved: approved.iter().map(|(step, _)| step.clone()).collect(),
                adopts: older.as_ref().map(|older| older.run().clone()),
                plan: absolute(&self.plan)?,
                named: &texts.named,
                files: &files,
            },
        );
        let wanted = |older| preview::Wanted {
            program: &program,
            header: header.clone(),
            older,
            state: &state,
            clock: clock.clone(),
        };
        if self.dry_run {
            return preview::show_and_keep(preview::look(wanted(older))?, &run, &state, common);
        }
        let saved = match &self.preview {
            Some(path) => Some((preview::read(path)?, path)),
            None => None,
        };
        if !self.yes {
            start::somebody_is_there()?;
            let (found, backups) = preview::look_at_start(wanted(older.clone()))?;
            start::ask(&program, &found, &backups, self.lost_at)?;
        }
        let estates = FileEstates::new(&state);
        let held = estates.take(
            &program.inventory().name,
            &Owner::this_process(run.clone(), &person(), now),
        )?;
        // Behind the lock: no other run can change the estate any more.
        if let Some((saved, path)) = &saved {
            preview::compare(saved, &preview::look(wanted(None))?, path)?;
        }
        let mask = Mask::default();
        let runtime = runtime()?;
        // Secrets and clients first: a run that cannot begin leaves nothing behind. And every secret is known to the mask
        // before the first event is written.
        let services = Arc::new(runtime.block_on(services::build(services::Wanted {
            inventory: program.inventory().clone(),
            accounts: program.accounts(),
            folder: state.join("runs").join(run.as_str()),
            state: None,
            mask: mask.clone(),
            clock: clock.clone(),
            drill: None,
        }))?);
        let adoption = match older {
            Some(older) => Some(runtime.block_on(older.survey(&program, &services))?),
            None => None,
        };
        if let Some(adoption) = adoption.as_ref().filter(|_| !common.quiet) {
            say(&adoption.words());
        }
        let (folder, hashes) = RunFolder::create(&state, &run, files)?;
        let header = Header {
            files: hashes,
            ..header
        };
        runtime.block_on(async {
            let parts = Parts {
                journal: Box::new(folder.create_journal()?),
                reporters: report::reporters(common, &folder, &header, &mask)?,
                mask: mask.clone(),
                clock: clock.clone(),
                estate: Some(held),
            };
            let ledger = Ledger::begin(parts, header)?;
            if let Some(adoption) = adoption {
                adoption.take_over(&ledger, &clock).await?;
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

/// `--approve` exists for rehearsals: it must not be able to open a gate of a real estate.
pub fn approved(steps: &[String], program: &Program) -> Result<Vec<(StepId, String)>, CliError> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let real: Vec<&str> = program
        .accounts()
        .values()
        .filter(|account| account.kind.has_servers() && !account.sandbox)
        .map(|account| account.name.as_str())
        .collect();
    if program.inventory().sandbox.is_none() || !real.is_empty() {
        let why = if real.is_empty() {
            "the inventory has no `sandbox:`".to_string()
        } else {
            format!("{} is not marked `sandbox: true`", real.join(", "))
        };
        return Err(CliError::new(
            USAGE,
            format!("--approve works only in a sandbox, and {why}"),
        )
        .hint("the question waits: `dr-plan approve RUN STEP --as NAME` answers it"));
    }
    let mut approved = Vec::new();
    for name in steps {
        let step = program.steps().iter().find(|step| step.id.as_str() == name);
        match step {
            Some(step) if step.kind == "approve" => approved.push((step.id.clone(), person())),
            Some(_) => {
                return Err(CliError::new(
                    USAGE,
                    format!("--approve {name}: that step asks nothing"),
                ));
            }
            None => {
                let near = crate::problem::nearest(
                    name,
                    program.steps().iter().map(|step| step.id.as_str()),
                );
                let error = CliError::new(
                    USAGE,
                    format!("--approve {name}: the plan has no such step"),
                );
                return Err(match near {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error,
                });
            }
        }
    }
    Ok(approved)
}

/// A moment as people can be asked to write it: with its zone, for at night everybody means another one.
fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        format!("a moment with its zone is needed, such as {now} (which is now)")
    })
}

/// `NAME=VALUE`.
pub fn inputs(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut inputs = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return Err(CliError::new(
                USAGE,
                format!("--input {text}: write NAME=VALUE"),
            ));
        };
        if inputs.insert(name.to_string(), value.to_string()).is_some() {
            return Err(CliError::new(
                USAGE,
                format!("--input {name} is given twice"),
            ));
        }
    }
    Ok(inputs)
}
