//! `dr-plan explain`: a plan in the order in which it would run, and what an action kind does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use comfy_table::{Table, presets};

use super::failure::{CliError, OK, Outcome, USAGE};
use super::sources::Reader;
use super::{Common, print};
use crate::action::{KINDS, kind_of};
use crate::ids::RunId;
use crate::kind::Mode;
use crate::problem::nearest;
use crate::program::Program;

/// Tell what a plan would do and in which order; or what an action kind does
#[derive(Debug, Args)]
pub struct Explain {
    /// The plan
    plan: Option<PathBuf>,
    /// List the action kinds
    #[arg(long)]
    kinds: bool,
    /// One action kind with its arguments
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
}

impl Explain {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        if let Some(name) = &self.kind {
            return explain_kind(name);
        }
        if self.kinds {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            for kind in KINDS {
                table.add_row([
                    kind.name.to_string(),
                    kind.effect.to_string(),
                    kind.summary.to_string(),
                ]);
            }
            print(&format!("{table}\n"));
            return Ok(OK);
        }
        let Some(plan) = &self.plan else {
            return Err(
                CliError::new(USAGE, "nothing is named that could be explained").hint(
                    "dr-plan explain PLAN\ndr-plan explain --kinds lists the action kinds\ndr-plan explain --kind KIND tells of one",
                ),
            );
        };
        if let Some(kind) = plan.to_str().and_then(kind_of).filter(|_| !plan.exists()) {
            return Err(CliError::new(
                USAGE,
                format!("`{}` is no file, but an action kind", kind.name),
            )
            .hint(format!("dr-plan explain --kind {}", kind.name)));
        }
        let texts = Reader::of_person().plan(plan, &BTreeMap::new(), common)?;
        let program = Program::bind(
            texts.sources,
            Mode::Failover,
            RunId::generate(),
            &BTreeMap::new(),
        )?;
        if common.json {
            let steps = serde_json::to_value(program.steps()).unwrap_or_default();
            print(&format!("{steps:#}\n"));
            return Ok(OK);
        }
        print(&in_order(&program));
        Ok(OK)
    }
}

/// Wave by wave: everything in a wave can run side by side.
fn in_order(program: &Program) -> String {
    let steps = program.steps();
    let mut wave_of: BTreeMap<&str, usize> = BTreeMap::new();
    loop {
        let before = wave_of.len();
        for step in steps.iter().filter(|step| !step.finally) {
            let needs: Option<Vec<usize>> = step
                .needs
                .iter()
                .map(|need| wave_of.get(need.step.as_str()).copied())
                .collect();
            if let Some(needs) = needs {
                wave_of
                    .entry(step.id.as_str())
                    .or_insert_with(|| needs.iter().max().map_or(0, |wave| wave + 1));
            }
        }
        if wave_of.len() == before {
            break;
        }
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let waves = wave_of.values().max().map_or(0, |last| last + 1);
    for wave in 0..waves {
        for step in steps
            .iter()
            .filter(|step| wave_of.get(step.id.as_str()) == Some(&wave))
        {
            let needs: Vec<&str> = step.needs.iter().map(|need| need.step.as_str()).collect();
            let needs = if needs.is_empty() {
                String::new()
            } else {
                format!("after {}", needs.join(", "))
            };
            table.add_row([
                format!("{}", wave + 1),
                step.id.to_string(),
                step.effect.to_string(),
                step.title.clone(),
                needs,
            ]);
        }
    }
    for step in steps.iter().filter(|step| step.finally) {
        table.add_row([
            "at the end".to_string(),
            step.id.to_string(),
            step.effect.to_string(),
            step.title.clone(),
            String::new(),
        ]);
    }
    let mut text = format!("{table}\n");
    if let Some(health) = program.health_rule() {
        text.push_str(&format!(
            "\nhealthy when {}, for {} on end, within {}\n",
            health.checks.join(" and "),
            crate::units::duration(health.hold),
            crate::units::duration(health.within)
        ));
    }
    text
}

fn explain_kind(name: &str) -> Outcome {
    let Some(kind) = kind_of(name) else {
        let error = CliError::new(USAGE, format!("there is no action `{name}`"));
        return Err(match nearest(name, KINDS.iter().map(|kind| kind.name)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("dr-plan explain --kinds"),
        });
    };
    let schema = (kind.schema)();
    let mut text = format!(
        "{} ({})\n{}\n\narguments\n",
        kind.name, kind.effect, kind.summary
    );
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str())
        .collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (field, about) in schema["properties"].as_object().into_iter().flatten() {
        let must = if required.contains(&field.as_str()) {
            "required"
        } else {
            ""
        };
        table.add_row([
            format!("  {field}"),
            must.to_string(),
            about["description"]
                .as_str()
                .unwrap_or_default()
                .replace('\n', " "),
        ]);
    }
    text.push_str(&format!(
        "{table}\n\ntime limit {}; undo: {}\n",
        crate::units::duration(kind.timeout),
        undo_words(kind.undo)
    ));
    print(&text);
    Ok(OK)
}

fn undo_words(undo: crate::kind::Undo) -> &'static str {
    match undo {
        crate::kind::Undo::DeleteOwn => "deletes what it made",
        crate::kind::Undo::RestorePrevious => "puts back what was there before",
        crate::kind::Undo::ForwardOnly => "nothing needs to be taken back",
        crate::kind::Undo::NeedsHuman => "a person must do it",
    }
}
