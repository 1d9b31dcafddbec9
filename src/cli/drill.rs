//! `dr-plan drill`: the same graph, carried out in servers that are thrown away afterwards. What stands is only looked at.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::SignedDuration;

use super::conduct::Conduct;
use super::enter::enter_world_of;
use super::failure::Outcome;
use super::here::state_folder;
use super::inject::{self, Inject};
use super::run::{approved, inputs};
use super::sources::{Reader, absolute};
use super::start::agreed;
use super::{Common, header, preview, problems, report, runtime, say, services};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::event::{Drill, Header};
use crate::ids::RunId;
use crate::journal::{Ledger, Parts, RunFolder};
use crate::kind::{Effect, Mode};
use crate::program::Program;
use crate::secret::Mask;

/// Rehearse a plan: in throw-away servers, touching nothing else
#[derive(Debug, Args)]
pub struct DrillPlan {
    /// The plan
    plan: PathBuf,
    /// An input of the plan
    #[arg(long, value_name = "NAME=VALUE")]
    input: Vec<String>,
    /// Only look: what would be made, what would only be looked at
    #[arg(long, conflicts_with_all = ["keep", "approve", "inject"])]
    dry_run: bool,
    /// Leave the servers standing at the end, until they expire, for looking around
    #[arg(long)]
    keep: bool,
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

impl DrillPlan {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let given = inputs(&self.input)?;
        let texts = Reader::of_person().plan(&self.plan, &given, common)?;
        enter_world_of(&texts.sources.inventory)?;
        let run = RunId::generate();
        let mut files = texts.files;
        let program = Program::bind(texts.sources, Mode::Drill, run.clone(), &given)?;
        let warnings = texts.warnings.into_iter().chain(program.warnings.clone());
        let warnings: Vec<_> = warnings.collect();
        if !warnings.is_empty() && !common.quiet {
            say(&problems::render(&warnings, true));
        }
        header::add_files_of(&program, &mut files)?;
        let approved = approved(&self.approve, &program)?;
        let program = Arc::new(program);
        let work = inject::work(program.clone(), &self.inject)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let now = clock.now();
        let rule = &program.plan().drill;
        let drill = Drill {
            expires: now + SignedDuration::try_from(rule.expires.0).unwrap_or(SignedDuration::MAX),
            allow: rule.allow.iter().map(ToString::to_string).collect(),
            keep: self.keep,
        };
        let state = state_folder(common.state.clone())?;
        let header = Header {
            mode: Mode::Drill,
            drill: Some(drill.clone()),
            ..header::of(
                &program,
                header::Beginning {
                    run: run.clone(),
                    // A drill asks what it would cost if it were lost now.
                    lost_at: None,
                    now,
                    approved: approved.iter().map(|(step, _)| step.clone()).collect(),
                    adopts: None,
                    plan: absolute(&self.plan)?,
                    named: &texts.named,
                    files: &files,
                },
            )
        };
        if self.dry_run {
            let wanted = preview::Wanted {
                program: &program,
                header,
                older: None,
                state: &state,
                clock,
            };
            return Ok(preview::show(&preview::look(wanted)?, common));
        }
        if !self.yes {
            say(&screen(&program, drill.expires));
            agreed(match program.inventory().sandbox {
                Some(_) => "yes",
                None => program.inventory().name.as_str(),
            })?;
        }
        let mask = Mask::default();
        let runtime = runtime()?;
        let wanted = services::Wanted {
            inventory: program.inventory().clone(),
            accounts: program.accounts(),
            folder: state.join("runs").join(run.as_str()),
            state: None,
            mask: mask.clone(),
            clock: clock.clone(),
            drill: Some((run.clone(), drill)),
        };
        let services = Arc::new(runtime.block_on(services::build(wanted))?);
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
                clock,
                // A drill changes nothing of the estate: it may run beside a failover.
                estate: None,
            };
            let ledger = Ledger::begin(parts, header)?;
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

/// What will be made, and what will only be looked at.
fn screen(program: &Program, expires: Timestamp) -> String {
    let mut text = format!(
        "\nDRILL    {} of {}\nexpires  {}: until then everything that it makes is deleted, by this command or by `dr-plan reap`\n",
        program.plan().name,
        program.inventory().name,
        expires.strftime("%Y-%m-%d %H:%M:%S UTC"),
    );
    let mut part = |words: &str, wanted: &dyn Fn(&crate::event::BoundStep) -> bool| {
        let steps = program
            .steps()
            .iter()
            .filter(|step| step.left_out.is_none());
        let steps: Vec<String> = steps
            .filter(|step| wanted(step))
            .map(|step| format!("    {:<18} {}\n", step.id.as_str(), step.title))
            .collect();
        if !steps.is_empty() {
            text.push_str(&format!("{words}\n{}", steps.concat()));
        }
    };
    part("will be created, and deleted", &|step| {
        step.effect == Effect::Create && step.probe.is_none()
    });
    part("will only be looked at", &|step| step.probe.is_some());
    text
}
