//! `dr-plan sandbox break` and `mend`: takes something away from a world, and brings back what can come back.

use clap::{Args, Subcommand};

use super::status::region_name;
use super::{DEFAULT, ask, status_of, talk, unexpected};
use crate::cli::Common;
use crate::cli::failure::{CliError, OK, Outcome, USAGE};
use crate::problem::nearest;
use crate::sandbox::control::{Answer, Ask, WorldStatus};
use crate::sandbox::surroundings::Part;

/// Take something away from a world
#[derive(Debug, Args)]
pub struct Break {
    #[command(flatten)]
    world: InWorld,
    #[command(subcommand)]
    what: Breakable,
}

/// Bring something back that `break` took away; a lost region never comes back
#[derive(Debug, Args)]
pub struct Mend {
    #[command(flatten)]
    world: InWorld,
    #[command(subcommand)]
    what: Mendable,
}

#[derive(Debug, Args)]
struct InWorld {
    /// The world
    // An id of its own: a server's `name` is another argument.
    #[arg(id = "world", long = "world", value_name = "NAME", default_value = DEFAULT, global = true)]
    name: String,
}

#[derive(Debug, Subcommand)]
enum Breakable {
    /// A region burns down, for good: its servers are gone at once, and the cloud still calls them running until they
    /// are powered off
    Region {
        /// Its name at the cloud, or its number, counted from 0
        region: String,
    },
    /// A server loses its power
    Host {
        /// The server
        name: String,
    },
    /// A server's network cable is pulled
    Link {
        /// The server
        name: String,
    },
    /// A service refuses connections
    Api {
        /// Which one
        #[arg(value_enum, default_value_t = Service::Hetzner)]
        service: Service,
    },
    /// The cloud has no room left
    Capacity {
        /// Where
        location: String,
        /// Only for this type of server
        server_type: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Mendable {
    /// A server is powered on again, with the disk it had
    Host {
        /// The server
        name: String,
    },
    /// The cable is put back
    Link {
        /// The server
        name: String,
    },
    /// A service answers again, with what it kept
    Api {
        /// Which one
        #[arg(value_enum, default_value_t = Service::Hetzner)]
        service: Service,
    },
    /// The cloud has room again
    Capacity {
        /// Where
        location: String,
        /// Only for this type of server
        server_type: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Service {
    /// The cloud's API
    Hetzner,
    /// The authoritative name server and its API
    Dns,
    /// The store of the backups
    Store,
    /// The caching resolver
    Resolver,
}

impl From<Service> for Part {
    fn from(service: Service) -> Self {
        match service {
            Service::Hetzner => Self::Hetzner,
            Service::Dns => Self::Dns,
            Service::Store => Self::Store,
            Service::Resolver => Self::Resolver,
        }
    }
}

impl Service {
    fn words(self) -> &'static str {
        match self {
            Self::Hetzner => "the cloud's API",
            Self::Dns => "the name server",
            Self::Store => "the store",
            Self::Resolver => "the resolver",
        }
    }
}

impl Break {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let status = status_of(&self.world.name)?;
        let (ask, told) = match self.what {
            Breakable::Region { region } => {
                let region = find_region(&status, &region)?;
                let name = region_name(&status, region);
                let gone = status
                    .machines
                    .iter()
                    .filter(|machine| machine.region == region)
                    .count();
                (
                    Ask::LoseRegion { region },
                    format!("{name} is lost, with {gone} servers"),
                )
            }
            Breakable::Host { name } => {
                find_host(&status, &name)?;
                let told = format!("`{name}` has no power");
                (
                    Ask::PowerOff {
                        name,
                        graceful: false,
                    },
                    told,
                )
            }
            Breakable::Link { name } => {
                find_host(&status, &name)?;
                let told = format!("`{name}` has no network");
                (Ask::SetLink { name, up: false }, told)
            }
            Breakable::Api { service } => {
                let told = format!("{} refuses connections", service.words());
                (
                    Ask::TakeAway {
                        part: service.into(),
                    },
                    told,
                )
            }
            Breakable::Capacity {
                location,
                server_type,
            } => capacity(&status, location, server_type, false)?,
        };
        carry_out(&self.world.name, &ask, &told, common)
    }
}

impl Mend {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let status = status_of(&self.world.name)?;
        let (ask, told) = match self.what {
            Mendable::Host { name } => {
                find_host(&status, &name)?;
                let told = format!("`{name}` has power");
                (Ask::PowerOn { name }, told)
            }
            Mendable::Link { name } => {
                find_host(&status, &name)?;
                let told = format!("`{name}` has its network");
                (Ask::SetLink { name, up: true }, told)
            }
            Mendable::Api { service } => {
                let told = format!("{} answers again", service.words());
                (
                    Ask::BringBack {
                        part: service.into(),
                    },
                    told,
                )
            }
            Mendable::Capacity {
                location,
                server_type,
            } => capacity(&status, location, server_type, true)?,
        };
        carry_out(&self.world.name, &ask, &told, common)
    }
}

fn carry_out(world: &str, question: &Ask, told: &str, common: &Common) -> Outcome {
    match ask(world, question)? {
        Answer::Done => {
            talk(common, &format!("{told}\n"));
            Ok(OK)
        }
        other => Err(unexpected(&other)),
    }
}

fn capacity(
    status: &WorldStatus,
    location: String,
    server_type: Option<String>,
    available: bool,
) -> Result<(Ask, String), CliError> {
    let known = status.locations.iter().map(String::as_str);
    if !status.locations.contains(&location) {
        return Err(unknown("location", &location, known));
    }
    let of = server_type
        .as_deref()
        .map(|name| format!(" for {name}"))
        .unwrap_or_default();
    let told = format!(
        "{location} has {}room{of}",
        if available { "" } else { "no " }
    );
    Ok((
        Ask::Capacity {
            location,
            server_type,
            available,
        },
        told,
    ))
}

fn find_region(status: &WorldStatus, text: &str) -> Result<usize, CliError> {
    let by_name = (0..status.regions).find(|region| region_name(status, *region) == text);
    let by_number = text
        .parse::<usize>()
        .ok()
        .filter(|region| *region < status.regions);
    by_name
        .or(by_number)
        .ok_or_else(|| unknown("region", text, status.locations.iter().map(String::as_str)))
}

fn find_host(status: &WorldStatus, name: &str) -> Result<(), CliError> {
    if status.machines.iter().any(|machine| machine.name == name) {
        return Ok(());
    }
    Err(unknown(
        "server",
        name,
        status.machines.iter().map(|machine| machine.name.as_str()),
    ))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> CliError {
    let all: Vec<&str> = known.clone().collect();
    let error = CliError::new(USAGE, format!("the world has no {what} `{name}`"));
    match nearest(name, known) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None if all.is_empty() => error,
        None => error.hint(format!("it has {}", all.join(", "))),
    }
}
