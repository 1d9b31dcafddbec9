//! `dr-plan check`: could this estate be recovered tonight? For cron: it says nothing that is as it should be with `--quiet`,
//! and its exit code tells the rest. Only reads. A plan that cannot be tried takes nothing from the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::bound::{Asked, Bound, inputs};
use super::checked::{Checked, Part, tell};
use super::enter::enter_world_of;
use super::failure::{BUG, CHECK_CODES, CliError, Outcome, USAGE};
use super::sources::{Reader, shorter};
use super::{Common, earlier, preview, runtime, services};
use crate::account::Account;
use crate::clock::SystemClock;
use crate::engine::{Foreseen, Preview, Readiness, Stand, Would, readiness};
use crate::ids::RunId;
use crate::inventory::Inventory;
use crate::kind::{Failure, Finding, Mode, Reason};
use crate::program::Program;
use crate::sandbox::world::World;
use crate::secret::Mask;
use crate::units::duration;

/// Say whether a recovery could go through tonight: backups, credentials, room, names, and every step of the plans
#[derive(Debug, Args)]
#[command(after_help = CHECK_CODES)]
pub struct Check {
    /// Plans to try; without one, the estate of `--inventory` alone
    plans: Vec<PathBuf>,
    /// An input of the plans
    #[arg(long, value_name = "NAME=VALUE")]
    input: Vec<String>,
}

impl Check {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let given = inputs(&self.input)?;
        let parts = match (&common.inventory, self.plans.as_slice()) {
            (Some(path), []) => {
                let (inventory, accounts) = Reader::of_person().inventory(path, common)?;
                enter_world_of(&inventory)?;
                let name = format!("estate {}", inventory.name);
                vec![Part::of(name, estate(inventory, &accounts)?)]
            }
            (None, []) => {
                return Err(
                    CliError::new(USAGE, "nothing is named that could be checked")
                        .hint("dr-plan check plans/*.yaml, or dr-plan check --inventory FILE"),
                );
            }
            (_, plans) => self.plans(plans, &given, common)?,
        };
        Ok(tell(parts, common))
    }

    /// All plans, in their order as far as they live in one world. A process lives in one world only: plans of others are
    /// tried by a process each.
    fn plans(
        &self,
        plans: &[PathBuf],
        given: &BTreeMap<String, String>,
        common: &Common,
    ) -> Result<Vec<Part>, CliError> {
        let mut parts = Vec::new();
        let mut sound: Vec<Sound> = Vec::new();
        for plan in plans {
            match Sound::read(plan, given, common) {
                Ok(read) => sound.push(read),
                Err(error) => parts.push(Part::untried(plan, None, error)),
            }
        }
        let worlds: BTreeSet<Option<String>> =
            sound.iter().map(|plan| plan.world.clone()).collect();
        let current = World::current();
        let mut estates: BTreeSet<PathBuf> = BTreeSet::new();
        for world in &worlds {
            let of_world: Vec<&Sound> = sound.iter().filter(|plan| plan.world == *world).collect();
            // The only world is entered by this very process, which then begins anew.
            if world.is_none() || worlds.len() == 1 || *world == current {
                for plan in of_world {
                    parts.extend(of_plan(plan, given, common, &mut estates));
                }
                continue;
            }
            match self.in_a_process(&of_world, common) {
                Ok(found) => parts.extend(found),
                Err(error) => {
                    parts.extend(of_world.iter().map(|plan| {
                        Part::untried(&plan.path, Some(&plan.inventory), error.again())
                    }))
                }
            }
        }
        Ok(parts)
    }

    /// The same command for some of the plans.
    fn in_a_process(&self, plans: &[&Sound], common: &Common) -> Result<Vec<Part>, CliError> {
        let program = std::env::current_exe()
            .map_err(|error| CliError::new(BUG, format!("finding this program: {error}")))?;
        let mut command = Command::new(program);
        command.args(["--json", "check"]);
        for (flag, path) in [
            ("--state", &common.state),
            ("--inventory", &common.inventory),
            ("--providers", &common.providers),
        ] {
            if let Some(path) = path {
                command.arg(flag).arg(path);
            }
        }
        if common.quiet {
            command.arg("--quiet");
        }
        for input in &self.input {
            command.arg("--input").arg(input);
        }
        command.arg("--").args(plans.iter().map(|plan| &plan.path));
        let failed = |why: &dyn std::fmt::Display| {
            CliError::new(BUG, format!("checking in another process: {why}"))
        };
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| failed(&error))?;
        let checked: Result<Checked, _> = serde_json::from_slice(&output.stdout);
        match checked {
            Ok(checked) => Ok(checked.parts),
            Err(error) => Err(failed(&error)),
        }
    }
}

/// A plan without problems of its own.
struct Sound {
    path: PathBuf,
    inventory: PathBuf,
    /// The world that its estate lives in.
    world: Option<String>,
}

impl Sound {
    fn read(
        path: &Path,
        given: &BTreeMap<String, String>,
        common: &Common,
    ) -> Result<Self, CliError> {
        let texts = Reader::of_person().plan(path, given, common)?;
        let world = texts.sources.inventory.sandbox.clone();
        let inventory = shorter(&texts.named.inventory);
        Program::bind(texts.sources, Mode::Failover, RunId::generate(), given)?;
        Ok(Self {
            path: path.to_path_buf(),
            inventory,
            world,
        })
    }
}

/// What stands in the way of one plan, and of its estate when it is the first that names it.
fn of_plan(
    plan: &Sound,
    given: &BTreeMap<String, String>,
    common: &Common,
    estates: &mut BTreeSet<PathBuf>,
) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Err(error) = look(plan, given, common, estates, &mut parts) {
        parts.push(Part::untried(&plan.path, Some(&plan.inventory), error));
    }
    parts
}

fn look(
    plan: &Sound,
    given: &BTreeMap<String, String>,
    common: &Common,
    estates: &mut BTreeSet<PathBuf>,
    parts: &mut Vec<Part>,
) -> Result<(), CliError> {
    let bound = Bound::read(&plan.path, given, Mode::Failover, common)?;
    let program = &bound.program;
    if !estates.contains(bound.inventory_file()) {
        let mut found = estate(program.inventory().clone(), program.accounts())?;
        found.extend(earlier_run(&bound));
        estates.insert(bound.inventory_file().to_path_buf());
        parts.push(Part::of(
            format!("estate {}", program.inventory().name),
            found,
        ));
    }
    let header = bound.header(Asked::default());
    let rto = header.objectives.rto;
    let foreseen = preview::look(bound.to_look_at(&header, None))?;
    parts.push(Part::of(
        format!("plan {}", foreseen.plan),
        of_preview(&foreseen, rto),
    ));
    Ok(())
}

/// What an earlier run means for the next one. A word for a person: `--anew` begins all the same.
fn earlier_run(bound: &Bound) -> Option<Readiness> {
    let error = earlier::check(bound).err()?;
    let warning = Finding::warning(format!("`run` will not begin: {error}"));
    let mut one = Readiness::of("run", "earlier", vec![warning]);
    one.hint = error.way_on().map(|lines| lines.replace('\n', "; "));
    Some(one)
}

/// Every step, and the time that all of them take.
fn of_preview(found: &Preview, rto: Option<Duration>) -> Vec<Readiness> {
    let steps = found
        .steps
        .iter()
        .filter(|step| step.would != Would::LeftOut);
    let mut ready: Vec<Readiness> = steps.map(of_step).collect();
    let time = Duration::try_from_secs_f64(found.predicted_seconds).unwrap_or_default();
    let words = format!("about {}, without what people need", duration(time));
    ready.push(Readiness::of(
        "time",
        "until health",
        vec![match rto {
            Some(rto) if time > rto => {
                Finding::warning(format!("{words}: more than the RTO of {}", duration(rto)))
            }
            Some(rto) => Finding::assumed(format!("{words}; the RTO is {}", duration(rto))),
            None => Finding::assumed(words),
        }],
    ));
    ready
}

fn of_step(step: &Foreseen) -> Readiness {
    let name = step.bound.id.as_str();
    let mut one = match step.would {
        Would::Refuse | Would::Stop => {
            Readiness::missing("step", name, Failure::new(Reason::Other, step.what.clone()))
        }
        _ => Readiness::of("step", name, step.findings.clone()),
    };
    one.hint = step.hint.clone().filter(|_| one.stand == Stand::Missing);
    one
}

/// Looks at the estate with services of its own.
fn estate(
    inventory: Arc<Inventory>,
    accounts: &BTreeMap<String, Account>,
) -> Result<Vec<Readiness>, CliError> {
    let mask = Mask::default();
    let folder = services::passing_folder()?;
    let mut found = runtime()?.block_on(async {
        let services = services::build(services::Wanted {
            inventory,
            plan: "",
            accounts,
            folder: folder.path().to_path_buf(),
            state: None,
            mask: mask.clone(),
            clock: Arc::new(SystemClock::new()),
            drill: None,
        });
        let mut services = services.await?;
        services.rehearsal.nothing_is_lost = true;
        Ok::<_, CliError>(readiness(&Arc::new(services), accounts).await)
    })?;
    found.iter_mut().for_each(|found| found.clean(&mask));
    Ok(found)
}
