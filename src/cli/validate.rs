//! `dr-plan validate`: everything that can be known of a plan without asking anybody.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::bound::inputs;
use super::failure::{CliError, OK, Outcome};
use super::sources::Reader;
use super::{Common, print, problems, say};
use crate::ids::RunId;
use crate::kind::Mode;
use crate::problem::Problem;
use crate::program::Program;

/// Read plans and say everything that is wrong with them; touches nothing
#[derive(Debug, Args)]
pub struct Validate {
    /// The plans
    #[arg(required = true)]
    plans: Vec<PathBuf>,
    /// An input of the plan
    #[arg(long, value_name = "NAME=VALUE")]
    input: Vec<String>,
}

impl Validate {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let given = inputs(&self.input)?;
        let mut wrong = Vec::new();
        let mut warnings = Vec::new();
        for plan in &self.plans {
            match check(plan, &given, common) {
                Ok((steps, found)) => {
                    if !common.quiet && !common.json {
                        if !found.is_empty() {
                            say(&problems::render(&found, true));
                        }
                        let steps = match steps {
                            1 => "1 step".to_string(),
                            _ => format!("{steps} steps"),
                        };
                        let count = problems::count(&found);
                        say(&format!("{}: {steps}, {count}\n", plan.display()));
                    }
                    warnings.extend(found);
                }
                // All plans at once, like all problems of a plan.
                Err(CliError::Problems(found)) => wrong.extend(found),
                Err(error) => return Err(error),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.into());
        }
        if common.json {
            print(&format!("{:#}\n", problems::json(&warnings)));
        }
        Ok(OK)
    }
}

/// How many steps a sound plan has, and its warnings.
fn check(
    plan: &Path,
    given: &BTreeMap<String, String>,
    common: &Common,
) -> Result<(usize, Vec<Problem>), CliError> {
    let texts = Reader::of_person().plan(plan, given, common)?;
    let program = Program::bind(texts.sources, Mode::Failover, RunId::generate(), given)?;
    let mut warnings = texts.warnings;
    warnings.extend(program.warnings.iter().cloned());
    Ok((program.steps().len(), warnings))
}
