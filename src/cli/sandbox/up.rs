//! `dr-plan sandbox up`: brings a world up, with as much in it as is asked for. What runs already is left alone.

use std::time::Instant;

use clap::Args;

use super::status::{render, seconds};
use super::{DEFAULT, ask, failure, folders, status_of, talk, unexpected};
use crate::cli::failure::{BUG, CliError, OK, Outcome, USAGE};
use crate::cli::{Common, print};
use crate::sandbox::control::{Answer, Ask};
use crate::sandbox::needs::{self, For};
use crate::sandbox::world::{Contents, Up as Came, World, WorldError};

/// Bring a world up; one that runs already is left alone
#[derive(Debug, Args)]
pub struct Up {
    /// The world
    #[arg(default_value = DEFAULT)]
    name: String,
    /// How many regions it has: fsn1, nbg1, hel1, ash
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    regions: u8,
    /// Regions and cables only: no cloud, no names, no store
    #[arg(long)]
    bare: bool,
    /// What stands in its first region
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "bare")]
    estate: Option<EstateName>,
}

/// Estates that a world can begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum EstateName {
    /// A web server and a database server, as `inventories/sandbox.yaml` describes them
    Shop,
}

/// The simulated cloud sells so many locations.
const MOST_LOCATIONS: u8 = 4;

impl Up {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let name = &self.name;
        if !self.bare && self.regions > MOST_LOCATIONS {
            return Err(CliError::new(
                USAGE,
                format!(
                    "the cloud of a sandbox has {MOST_LOCATIONS} locations; only a `--bare` world has more regions"
                ),
            ));
        }
        if self.estate.is_some() {
            needs::check(For::Estate).map_err(|lacks| failure(name, &WorldError::Needs(lacks)))?;
        }
        let contents = if self.bare {
            Contents::Bare
        } else {
            Contents::Services
        };
        let program = std::env::current_exe()
            .map_err(|error| CliError::new(BUG, format!("finding this program: {error}")))?;
        let begun = Instant::now();
        let came = World::up(
            name,
            usize::from(self.regions),
            contents,
            &folders()?,
            &program,
        )
        .map_err(|error| failure(name, &error))?;
        let status = status_of(name)?;
        match came {
            Came::Made(_) => talk(
                common,
                &format!("world `{name}` is up after {}\n", seconds(begun.elapsed())),
            ),
            Came::Already(_) => {
                talk(common, &format!("world `{name}` runs already\n"));
                self.same(&status)?;
            }
        }
        if self.estate.is_some() && status.estate.is_none() {
            let begun = Instant::now();
            match ask(name, &Ask::BuildEstate)? {
                Answer::Estate { estate } => talk(
                    common,
                    &format!(
                        "estate `{}` stands after {}\n",
                        estate.name,
                        seconds(begun.elapsed())
                    ),
                ),
                other => return Err(unexpected(&other)),
            }
        }
        let status = status_of(name)?;
        if common.json {
            print(&format!("{}\n", serde_json::json!(status)));
        } else {
            talk(common, &render(&status));
            talk(
                common,
                &format!(
                    "\ndr-plan sandbox shell {name}   looks around in it\ndr-plan sandbox down {name}    takes it down\n"
                ),
            );
        }
        Ok(OK)
    }

    /// A world that runs already must be the one that is asked for.
    fn same(&self, status: &crate::sandbox::control::WorldStatus) -> Result<(), CliError> {
        let differs = |what: String| {
            Err(
                CliError::new(USAGE, format!("world `{}` runs already, {what}", self.name))
                    .hint(format!("dr-plan sandbox down {}", self.name)),
            )
        };
        if !self.bare && status.services.is_none() {
            return differs("and it is bare".into());
        }
        if status.regions != usize::from(self.regions) {
            return differs(format!("with {} regions", status.regions));
        }
        Ok(())
    }
}
