//! `dr-plan sandbox status`: what there is in the worlds that run.

use std::time::Duration;

use clap::Args;

use super::{folders, status_of};
use crate::cli::failure::{FAILED, OK, Outcome};
use crate::cli::{Common, print, say, show};
use crate::sandbox::control::WorldStatus;
use crate::sandbox::machines::MachineState;
use crate::sandbox::surroundings::Part;
use crate::sandbox::world::World;

/// Show what there is in a world
#[derive(Debug, Args)]
pub struct StatusOf {
    /// The world; all that run, if none is named
    name: Option<String>,
}

impl StatusOf {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let names = match (self.name, World::current()) {
            (Some(name), _) | (None, Some(name)) => vec![name],
            (None, None) => World::list(&folders()?),
        };
        let mut worlds = Vec::new();
        let mut silent = Vec::new();
        for name in &names {
            match status_of(name) {
                Ok(status) => worlds.push(status),
                Err(error) if names.len() == 1 => return Err(error),
                // One that does not answer hides no other.
                Err(error) => silent.push((name, error)),
            }
        }
        if common.json {
            let silent: Vec<_> = silent
                .iter()
                .map(
                    |(name, error)| serde_json::json!({ "name": name, "error": error.to_string() }),
                )
                .collect();
            print(&format!(
                "{:#}\n",
                serde_json::json!({ "worlds": worlds, "silent": silent })
            ));
        } else if worlds.is_empty() && silent.is_empty() {
            say("no sandbox world is running\n");
        } else {
            print(&worlds.iter().map(render).collect::<Vec<_>>().join("\n"));
            for (_, error) in &silent {
                show(error, false);
            }
        }
        Ok(if silent.is_empty() { OK } else { FAILED })
    }
}

/// The name of a region in the words of the cloud, or its number.
pub fn region_name(status: &WorldStatus, region: usize) -> String {
    let name = status.locations.get(region).cloned();
    name.unwrap_or_else(|| format!("region {region}"))
}

/// A world for people.
pub fn render(status: &WorldStatus) -> String {
    let mut text = format!("\nworld {}\n", status.name);
    let mut row = |name: &str, what: String| text.push_str(&format!("  {name:<10} {what}\n"));
    let regions: Vec<String> = (0..status.regions)
        .map(|region| {
            let lost = if status.lost.contains(&region) {
                " (lost)"
            } else {
                ""
            };
            format!("{}{lost}", region_name(status, region))
        })
        .collect();
    row("regions", regions.join(", "));
    if let Some(services) = &status.services {
        let away = |part: Part| {
            if services.taken_away.contains(&part) {
                "  TAKEN AWAY"
            } else {
                ""
            }
        };
        row(
            "cloud",
            format!(
                "{}  the Hetzner API{}",
                services.hetzner,
                away(Part::Hetzner)
            ),
        );
        row(
            "store",
            format!("{}  S3{}", services.store, away(Part::Store)),
        );
        row(
            "names",
            format!(
                "{}  zone {}, its API at {}{}",
                services.names,
                services.zone,
                services.names_api,
                away(Part::Dns)
            ),
        );
        row(
            "resolver",
            format!("{}{}", services.resolver, away(Part::Resolver)),
        );
        row("packages", services.packages.clone());
        row(
            "messages",
            format!("{}  kept in {}", services.messages, services.messages_file),
        );
        row("secrets", services.secrets.clone());
        row("levers", services.levers.clone());
    }
    if let Some(estate) = &status.estate {
        row("estate", format!("{} at {}", estate.name, estate.site));
    }
    for machine in &status.machines {
        let state = match machine.state {
            MachineState::Absent => "absent",
            MachineState::Off => "off",
            MachineState::Running if machine.init_pid.is_none() => {
                "lost (the cloud calls it running)"
            }
            MachineState::Running => "running",
        };
        let region = region_name(status, machine.region);
        row(
            "server",
            format!(
                "{:<28} {region:<6} {:<15} {state}",
                machine.name, machine.address
            ),
        );
    }
    text
}

/// As people say it: `0.6 s`.
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
