//! `dr-plan run`: the failover.

use std::path::PathBuf;

use clap::Args;

use super::adopt::Older;
use super::begin::{Start, Told};
use super::bound::{Asked, Bound, inputs};
use super::failure::{CliError, Outcome, USAGE};
use super::here::person;
use super::{Common, adopt, earlier, preview, say, start};
use crate::clock::Timestamp;
use crate::journal::{Estates, FileEstates, Owner};
use crate::kind::Mode;

/// Carry a plan out: the real thing
#[derive(Debug, Args)]
pub struct Run {
    /// When the service was lost (RFC 3339); the clocks for RTO and RPO start there [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    lost_at: Option<Timestamp>,
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
    #[command(flatten)]
    told: Told,
}

impl Run {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let told = &self.told;
        let bound = Bound::read(&told.plan, &inputs(&told.input)?, Mode::Failover, common)?;
        let way = told.way(&bound.program)?;
        if self.lost_at.is_some_and(|at| at > bound.now) {
            return Err(CliError::new(
                USAGE,
                format!(
                    "--lost-at lies in the future: this machine's clock says {}",
                    bound.now.strftime("%Y-%m-%d %H:%M:%S UTC")
                ),
            )
            .hint("if that is wrong: `timedatectl`; times here are compared with those of backups and records"));
        }
        let inventory = bound.program.inventory();
        let older = self.earlier(&bound)?;
        // The loss is that of the run which is gone on with, unless somebody knows better now.
        let known = older.as_ref().and_then(|older| older.lost_at());
        let lost_at = self.lost_at.or(known);
        let header = bound.header(Asked {
            lost_at,
            approved: way.approved(),
            adopts: older.as_ref().map(|older| older.run().clone()),
            drill: None,
        });
        if self.dry_run {
            let found = preview::look(bound.to_look_at(&header, older))?;
            let came = preview::show_and_keep(found, &bound.run, &bound.state, common);
            // The run itself would refuse to begin, whatever the preview says of the world.
            if let (false, None, Err(error)) = (self.anew, &self.adopt, earlier::check(&bound)) {
                let ways = error.way_on().into_iter().flat_map(str::lines);
                let hints: String = ways.map(|way| format!(" hint: {way}\n")).collect();
                say(&format!(
                    "\nas it stands `run` will not begin: {error}\n{hints}"
                ));
            }
            return came;
        }
        let saved = match &self.preview {
            Some(path) => Some((preview::read(path)?, path)),
            None => None,
        };
        if !told.yes {
            start::somebody_is_there()?;
            let looked = preview::look_at_start(bound.to_look_at(&header, older.clone()))?;
            start::ask(&bound.program, &looked.0, &looked.1, lost_at)?;
        }
        let owner = Owner::this_process(bound.run.clone(), &person(), bound.now);
        let held = FileEstates::new(&bound.state).take(&inventory.name, &owner)?;
        // Behind the lock no other run can change the estate any more; until then another one could.
        let now = self.earlier(&bound)?;
        if let (Some(now), Some(older), false) = (&now, &older, told.yes) {
            now.as_shown(older)?;
        }
        if let Some((saved, path)) = &saved {
            let now = preview::look(bound.to_look_at(&header, None))?;
            preview::compare(saved, &now, path)?;
        }
        let start = Start {
            bound,
            header,
            way,
            estate: Some(held),
            older: now,
        };
        start.go(common)
    }

    /// What earlier runs of the estate mean for this one: nothing, a refusal, or the run that it goes on with.
    fn earlier(&self, bound: &Bound) -> Result<Option<Older>, CliError> {
        if let Some(run) = &self.adopt {
            return adopt::older(run, &bound.state, &bound.program).map(Some);
        }
        if !(self.anew || self.dry_run) {
            earlier::check(bound)?;
        }
        Ok(None)
    }
}

/// A moment as people can be asked to write it: with its zone, for at night everybody means another one.
fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        format!("a moment with its zone is needed, such as {now} (which is now)")
    })
}
