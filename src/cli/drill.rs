//! `dr-plan drill`: the same graph, carried out in servers that are thrown away afterwards. What stands is only looked at.

use clap::Args;
use jiff::SignedDuration;

use super::begin::{Start, Told};
use super::bound::{Asked, Bound, inputs};
use super::failure::Outcome;
use super::start::agreed;
use super::{Common, preview, say};
use crate::clock::Timestamp;
use crate::event::Drill;
use crate::kind::{Effect, Mode};
use crate::program::Program;

/// Rehearse a plan: in throw-away servers, touching nothing else
#[derive(Debug, Args)]
pub struct DrillPlan {
    /// Only look: what would be made, what would only be looked at
    #[arg(long, conflicts_with_all = ["keep", "approve", "inject"])]
    dry_run: bool,
    /// Leave the servers standing at the end, until they expire, for looking around
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    told: Told,
}

impl DrillPlan {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let told = &self.told;
        let bound = Bound::read(&told.plan, &inputs(&told.input)?, Mode::Drill, common)?;
        let way = told.way(&bound.program)?;
        let rule = &bound.program.plan().drill;
        let lasts = SignedDuration::try_from(rule.expires.0).unwrap_or(SignedDuration::MAX);
        let expires = bound.now + lasts;
        let header = bound.header(Asked {
            // A drill asks what it would cost if it were lost now.
            lost_at: None,
            approved: way.approved(),
            adopts: None,
            drill: Some(Drill {
                expires,
                allow: rule.allow.iter().map(ToString::to_string).collect(),
                keep: self.keep,
            }),
        });
        if self.dry_run {
            let found = preview::look(bound.to_look_at(&header, None))?;
            return Ok(preview::show(&found, common));
        }
        if !told.yes {
            say(&screen(&bound.program, expires));
            agreed(match bound.program.inventory().sandbox {
                Some(_) => "yes",
                None => bound.program.inventory().name.as_str(),
            })?;
        }
        let start = Start {
            bound,
            header,
            way,
            estate: None,
            older: None,
        };
        start.go(common)
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
