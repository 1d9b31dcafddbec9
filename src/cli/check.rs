//! `dr-plan check`: could this estate be recovered tonight? For cron: it says nothing that is as it should be with `--quiet`,
//! and its exit code tells the rest. Only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::bound::{Asked, Bound, inputs};
use super::enter::enter_world_of;
use super::failure::{CliError, EXCEPTIONS, FAILED, OK, Outcome, USAGE};
use super::sources::Reader;
use super::{Common, preview, print, runtime, services};
use crate::account::Account;
use crate::clock::SystemClock;
use crate::engine::{Foreseen, Preview, Readiness, Stand, Would, readiness};
use crate::inventory::Inventory;
use crate::kind::{Failure, Finding, Mode, Reason};
use crate::secret::Mask;
use crate::units::duration;

/// Say whether a recovery could go through tonight: backups, credentials, room, names, and every step of the plans
///
/// Exit codes: 0 ready; 8 ready, and something should be looked at (a backup too old, a lifetime too long, a prediction above
/// the RTO); 4 a recovery would not go through; 3 a text has problems.
#[derive(Debug, Args)]
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
        let mut estates: BTreeSet<PathBuf> = BTreeSet::new();
        let mut all: Vec<(String, Vec<Readiness>)> = Vec::new();
        match (&common.inventory, self.plans.as_slice()) {
            (Some(path), []) => {
                let (inventory, accounts) = Reader::of_person().inventory(path, common)?;
                enter_world_of(&inventory)?;
                all.push((
                    format!("estate {}", inventory.name),
                    estate(inventory, &accounts)?,
                ));
            }
            (None, []) => {
                return Err(
                    CliError::new(USAGE, "nothing is named that could be checked")
                        .hint("dr-plan check plans/*.yaml, or dr-plan check --inventory FILE"),
                );
            }
            (_, plans) => {
                for plan in plans {
                    all.extend(of_plan(plan, &given, common, &mut estates)?);
                }
            }
        }
        Ok(tell(&all, common))
    }
}

/// What stands in the way of one plan, and of its estate when it is the first that names it.
fn of_plan(
    path: &Path,
    given: &BTreeMap<String, String>,
    common: &Common,
    estates: &mut BTreeSet<PathBuf>,
) -> Result<Vec<(String, Vec<Readiness>)>, CliError> {
    let bound = Bound::read(path, given, Mode::Failover, common)?;
    let program = &bound.program;
    let mut found = Vec::new();
    if estates.insert(bound.inventory_file().to_path_buf()) {
        let name = format!("estate {}", program.inventory().name);
        found.push((
            name,
            estate(program.inventory().clone(), program.accounts())?,
        ));
    }
    let header = bound.header(Asked::default());
    let rto = header.objectives.rto;
    let foreseen = preview::look(bound.to_look_at(&header, None))?;
    found.push((
        format!("plan {}", foreseen.plan),
        of_preview(&foreseen, rto),
    ));
    Ok(found)
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
    let found = runtime()?.block_on(async {
        let services = services::build(services::Wanted {
            inventory,
            accounts,
            folder: folder.path().to_path_buf(),
            state: None,
            mask: mask.clone(),
            clock: Arc::new(SystemClock::new()),
            drill: None,
        });
        Ok::<_, CliError>(readiness(&Arc::new(services.await?), accounts).await)
    })?;
    let text = mask.clean(&serde_json::to_string(&found).unwrap_or_default());
    serde_json::from_str(&text)
        .map_err(|error| CliError::new(super::failure::BUG, format!("masking: {error}")))
}

/// Says it; the exit code is that of the worst.
fn tell(all: &[(String, Vec<Readiness>)], common: &Common) -> u8 {
    let worst = all
        .iter()
        .flat_map(|(_, found)| found)
        .map(|one| one.stand)
        .max()
        .unwrap_or(Stand::Ready);
    let verdict = match worst {
        Stand::Ready => "ready",
        Stand::Doubtful => "ready, and something should be looked at",
        Stand::Missing => "NOT READY: a recovery would not go through",
    };
    if common.json {
        let parts: Vec<serde_json::Value> = all
            .iter()
            .map(|(name, found)| serde_json::json!({ "of": name, "checks": found }))
            .collect();
        print(&format!(
            "{:#}\n",
            serde_json::json!({ "stand": worst, "parts": parts })
        ));
    } else {
        for (name, found) in all {
            let lines: String = found
                .iter()
                .filter(|one| !common.quiet || one.stand != Stand::Ready)
                .map(|one| lines_of(one, common))
                .collect();
            if !lines.is_empty() {
                print(&format!("{name}\n{lines}\n"));
            }
        }
        if !common.quiet || worst != Stand::Ready {
            print(&format!("{verdict}\n"));
        }
    }
    match worst {
        Stand::Ready => OK,
        Stand::Doubtful => EXCEPTIONS,
        Stand::Missing => FAILED,
    }
}

/// What is as it should be takes one line; the rest is told with what was seen.
fn lines_of(one: &Readiness, common: &Common) -> String {
    let word = match one.stand {
        Stand::Ready => "ok",
        Stand::Doubtful => "look",
        Stand::Missing => "MISSING",
    };
    let wanted: Vec<&str> = one
        .findings
        .iter()
        .filter(|finding| common.verbose || one.stand == Stand::Ready || finding.warning)
        .map(|finding| finding.what.as_str())
        .collect();
    let shown = if one.stand == Stand::Ready && !common.verbose {
        wanted.iter().take(1).copied().collect()
    } else {
        wanted
    };
    let head = format!("  {word:<8}{:<9}{:<18}", one.area, one.name);
    let mut text = match shown.first() {
        None => format!("{}\n", head.trim_end()),
        Some(first) => format!("{head}{first}\n"),
    };
    for more in shown.iter().skip(1) {
        text.push_str(&format!("{:37}{more}\n", ""));
    }
    if let Some(hint) = &one.hint {
        text.push_str(&format!("{:37}hint: {hint}\n", ""));
    }
    text
}
