//! A plan that was read and bound to its estate: what a run, a drill, a preview and `check` begin with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::adopt::Older;
use super::enter::enter_world_of;
use super::failure::{CliError, PROBLEMS, USAGE};
use super::here::{person, state_folder};
use super::sources::{Named, Reader, absolute, inside};
use super::{Common, preview, problems, say};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::event::{Drill, Header};
use crate::ids::{RunId, StepId};
use crate::kind::Mode;
use crate::program::Program;

/// The plan, bound, and all that it was made of.
pub struct Bound {
    /// The run that it would be.
    pub run: RunId,
    /// The plan's steps, bound.
    pub program: Arc<Program>,
    /// The texts and the files that the steps read: `files/...` path within the run's folder, and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// When it was bound, by this machine's clock.
    pub now: Timestamp,
    /// Where runs are kept.
    pub state: PathBuf,
    /// The plan's file, absolute.
    plan: PathBuf,
    /// The other files that it is made of.
    named: Named,
}

/// What a program does not know of its run.
#[derive(Default)]
pub struct Asked {
    /// As the person gave it.
    pub lost_at: Option<Timestamp>,
    /// Steps approved beforehand.
    pub approved: Vec<StepId>,
    /// The run whose estate it goes on with.
    pub adopts: Option<RunId>,
    /// The rules of a drill.
    pub drill: Option<Drill>,
}

impl Bound {
    /// Reads the plan and what it names, enters its sandbox if it has one, and binds it. Warnings are said.
    pub fn read(
        plan: &Path,
        given: &BTreeMap<String, String>,
        mode: Mode,
        common: &Common,
    ) -> Result<Self, CliError> {
        let texts = Reader::of_person().plan(plan, given, common)?;
        enter_world_of(&texts.sources.inventory)?;
        let run = RunId::generate();
        let program = Program::bind(texts.sources, mode, run.clone(), given)?;
        let warnings = texts.warnings.into_iter().chain(program.warnings.clone());
        let warnings: Vec<_> = warnings.collect();
        if !warnings.is_empty() && !common.quiet {
            say(&problems::render(&warnings, true));
        }
        let mut files = texts.files;
        add_files_of(&program, &mut files)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Ok(Self {
            run,
            program: Arc::new(program),
            files,
            now: clock.now(),
            clock,
            state: state_folder(common.state.clone())?,
            plan: absolute(plan)?,
            named: texts.named,
        })
    }

    /// The first record of the run, or of what stands for it.
    pub fn header(&self, asked: Asked) -> Header {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let program = &self.program;
        Header {
            format: crate::journal::FORMAT,
            run: self.run.clone(),
            plan: program.plan().name.clone(),
            description: program.plan().description.clone().unwrap_or_default(),
            mode: match asked.drill {
                Some(_) => Mode::Drill,
                None => Mode::Failover,
            },
            estate: program.inventory().name.clone(),
            by: person(),
            version: env!("CARGO_PKG_VERSION").into(),
            lost_at: asked.lost_at.unwrap_or(self.now),
            lost_at_is_default: asked.lost_at.is_none(),
            objectives: program.objectives(),
            health: program.health_rule(),
            files: preview::hashes(&self.files),
            inputs: program.inputs().clone(),
            steps: program.steps().to_vec(),
            approved: asked.approved,
            adopts: asked.adopts,
            drill: asked.drill,
            plan_path: text(&self.plan),
            inventory_path: text(&self.named.inventory),
            provider_paths: self.named.providers.iter().map(text).collect(),
        }
    }

    /// What a preview of it looks at.
    pub fn to_look_at<'a>(&'a self, header: &Header, older: Option<Older>) -> preview::Wanted<'a> {
        preview::Wanted {
            program: &self.program,
            header: header.clone(),
            older,
            state: &self.state,
            clock: self.clock.clone(),
        }
    }

    /// The inventory's file.
    pub fn inventory_file(&self) -> &Path {
        &self.named.inventory
    }
}

/// Adds the local files that the steps read to those of the run.
fn add_files_of(program: &Program, files: &mut Vec<(String, Vec<u8>)>) -> Result<(), CliError> {
    for path in &program.files {
        let path = absolute(path)?;
        let bytes = std::fs::read(&path).map_err(|error| {
            CliError::new(PROBLEMS, format!("reading {}: {error}", path.display()))
        })?;
        let name = inside(&path);
        if !files.iter().any(|(known, _)| *known == name) {
            files.push((name, bytes));
        }
    }
    Ok(())
}

/// `NAME=VALUE`.
pub fn inputs(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut inputs = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            return Err(CliError::new(
                USAGE,
                format!("--input {text}: write NAME=VALUE"),
            ));
        };
        if inputs.insert(name.to_string(), value.to_string()).is_some() {
            return Err(CliError::new(
                USAGE,
                format!("--input {name} is given twice"),
            ));
        }
    }
    Ok(inputs)
}
