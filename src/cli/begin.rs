//! From a bound plan to a run that goes: what `run` and `drill` have in common.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::adopt::Older;
use super::bound::Bound;
use super::conduct::Conduct;
use super::failure::{CliError, Outcome, USAGE};
use super::here::person;
use super::inject::{self, Inject};
use super::{Common, report, runtime, say, services};
use crate::event::Header;
use crate::ids::StepId;
use crate::journal::{Held, Ledger, Parts, RunFolder};
use crate::program::{Program, Work};
use crate::secret::Mask;

/// What both are told.
#[derive(Debug, Args)]
pub struct Told {
    /// The plan
    pub plan: PathBuf,
    /// An input of the plan
    #[arg(long, value_name = "NAME=VALUE")]
    pub input: Vec<String>,
    /// Answer the start question with yes; never an approval
    #[arg(long)]
    pub yes: bool,
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

impl Told {
    /// How the program is to be carried out. What cannot be is refused here, before anything is looked at.
    pub fn way(&self, program: &Arc<Program>) -> Result<Way, CliError> {
        Ok(Way {
            approved: approved(&self.approve, program)?,
            work: inject::work(program.clone(), &self.inject)?,
            parallel: usize::from(self.parallel),
        })
    }
}

/// How a program is carried out.
pub struct Way {
    approved: Vec<(StepId, String)>,
    work: Arc<dyn Work>,
    parallel: usize,
}

impl Way {
    /// Steps approved beforehand.
    pub fn approved(&self) -> Vec<StepId> {
        self.approved.iter().map(|(step, _)| step.clone()).collect()
    }
}

/// A run that nothing stands in the way of any more.
pub struct Start {
    /// The plan.
    pub bound: Bound,
    /// Its first record.
    pub header: Header,
    /// How.
    pub way: Way,
    /// The lock on the estate; a drill changes nothing of it and may run beside a failover.
    pub estate: Option<Box<dyn Held>>,
    /// The run whose servers and data it goes on with.
    pub older: Option<Older>,
}

impl Start {
    /// Begins, and carries it through.
    pub fn go(self, common: &Common) -> Outcome {
        let Self {
            bound, header, way, ..
        } = self;
        let mask = Mask::default();
        let runtime = runtime()?;
        // Secrets and clients first: a run that cannot begin leaves nothing behind. And every secret is known to the mask
        // before the first event is written.
        let services = Arc::new(runtime.block_on(services::build(services::Wanted {
            inventory: bound.program.inventory().clone(),
            plan: bound.program.text(),
            accounts: bound.program.accounts(),
            folder: bound.state.join("runs").join(bound.run.as_str()),
            state: None,
            mask: mask.clone(),
            clock: bound.clock.clone(),
            drill: header.drill.clone().map(|drill| (bound.run.clone(), drill)),
        }))?);
        let adoption = match self.older {
            Some(older) => Some(runtime.block_on(older.survey(&bound.program, &services))?),
            None => None,
        };
        if let Some(adoption) = adoption.as_ref().filter(|_| !common.quiet) {
            say(&adoption.words());
        }
        let (folder, hashes) = RunFolder::create(&bound.state, &bound.run, bound.files)?;
        let header = Header {
            files: hashes,
            ..header
        };
        runtime.block_on(async {
            let parts = Parts {
                journal: Box::new(folder.create_journal()?),
                reporters: report::reporters(common, &folder, &header, &mask)?,
                mask: mask.clone(),
                clock: bound.clock.clone(),
                estate: self.estate,
            };
            let ledger = Ledger::begin(parts, header)?;
            if let Some(adoption) = adoption {
                adoption.take_over(&ledger, &bound.clock).await?;
            }
            let conduct = Conduct {
                work: way.work,
                ledger,
                services,
                folder,
                parallel: way.parallel,
                approved: way.approved,
                json: common.json,
                mask,
                interactive: std::io::IsTerminal::is_terminal(&std::io::stdin()),
            };
            conduct.carry_through().await
        })
    }
}

/// `--approve` exists for rehearsals: it must not be able to open a gate of a real estate.
fn approved(steps: &[String], program: &Program) -> Result<Vec<(StepId, String)>, CliError> {
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
