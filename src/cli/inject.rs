//! `--inject`: an accident on order, for rehearsals in a sandbox. It is hidden: nobody should find it on the worst night.

use std::str::FromStr;
use std::sync::Arc;

use super::failure::{CliError, USAGE};
use super::logs::unknown_step;
use crate::engine::{Accident, Injected};
use crate::program::{Program, Work};

/// `ACCIDENT:STEP`, as it is typed.
#[derive(Debug, Clone)]
pub struct Inject {
    accident: Accident,
    step: String,
}

impl FromStr for Inject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known: Vec<&str> = Accident::WORDS.iter().map(|(word, _)| *word).collect();
        let wanted = || format!("write ACCIDENT:STEP; accidents: {}", known.join(", "));
        let (word, step) = text.split_once(':').ok_or_else(wanted)?;
        let found = Accident::WORDS.iter().find(|(known, _)| *known == word);
        let (_, accident) = found.ok_or_else(wanted)?;
        Ok(Self {
            accident: *accident,
            step: step.to_string(),
        })
    }
}

/// The program with the accidents that were ordered. Errors: the estate is a real one; the plan has no such step.
pub fn work(program: Arc<Program>, ordered: &[Inject]) -> Result<Arc<dyn Work>, CliError> {
    if ordered.is_empty() {
        return Ok(program);
    }
    if program.inventory().sandbox.is_none() {
        let words = "--inject works only in a sandbox, and the inventory has no `sandbox:`";
        return Err(CliError::new(USAGE, words));
    }
    let mut accidents = Vec::new();
    for Inject { accident, step } in ordered {
        let ids = || program.steps().iter().map(|bound| &bound.id);
        match ids().find(|id| id.as_str() == step) {
            Some(id) => accidents.push((*accident, id.clone())),
            None => {
                let names = ids().map(|id| id.as_str());
                return Err(unknown_step(
                    &format!("--inject {step}: the plan"),
                    step,
                    names,
                ));
            }
        }
    }
    Ok(Arc::new(Injected::new(program, accidents)))
}

#[cfg(test)]
mod tests {
    use super::{Accident, Inject};

    #[test]
    fn an_accident_and_its_step_are_typed_with_a_colon_between_them() {
        let read: Inject = "crash-after:restore-db".parse().unwrap();
        assert_eq!(read.accident, Accident::CrashAfter);
        assert_eq!(read.step, "restore-db");
        for wrong in ["crash", "explode:dns", ""] {
            let why = wrong.parse::<Inject>().unwrap_err();
            assert!(why.contains("crash, crash-after, fail, repeat"), "{why}");
        }
    }
}
