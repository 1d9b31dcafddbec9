//! Keys of a step that its kind never reads. Whoever wrote one relies on it, and would find out in the night.

use crate::action::{KINDS, Kind};
use crate::kind::Reason;
use crate::plan::{Step, Verb};
use crate::problem::Problem;

/// The problems of such keys.
pub(super) fn keys(step: &Step, kind: &Kind) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(place) = step.key("if_source_lost")
        && !kind.source_may_be_lost
    {
        let readers = KINDS.iter().filter(|kind| kind.source_may_be_lost);
        let readers: Vec<String> = readers.map(|kind| format!("`{}`", kind.name)).collect();
        let words = format!(
            "`if_source_lost` belongs to {}, and this step {}",
            readers.join(", "),
            what_it_is(step)
        );
        problems.push(Problem::error("misplaced-key", place, words).help(
            "take it out; `critical: false` makes a failure of this step an exception and not the run's failure",
        ));
    }
    if kind.name == "approve" {
        problems.extend(of_question(step));
    }
    problems
}

/// While a person thinks the step's clock stands still, and a no is no failure that passes by itself: only where the step looks
/// at something besides, or is told to ask again after a no, is there anything to limit or to repeat.
fn of_question(step: &Step) -> Vec<Problem> {
    let retry = step.retry.as_ref();
    let asks_again = retry.is_some_and(|retry| retry.on.contains(&Reason::Declined));
    if asks_again || !step.verify.is_empty() {
        return Vec::new();
    }
    let own_time = match &step.verb {
        Verb::Manual { .. } => "approval: { timeout: 20m }",
        _ => "with: { timeout: 20m }",
    };
    let keys = [
        (
            "timeout",
            "its clock stands still while a person thinks",
            format!("how long the question waits is said by `{own_time}`: no answer is a no then"),
        ),
        (
            "retry",
            "a no is not asked again",
            "`retry: { attempts: 2, on: [declined] }` asks again after a no".to_string(),
        ),
    ];
    let written = keys.into_iter().filter_map(|(key, why, help)| {
        let words = format!("`{key}` has no effect on a question: {why}");
        let problem = Problem::error("misplaced-key", step.key(key)?, words);
        Some(problem.help(help))
    });
    written.collect()
}

fn what_it_is(step: &Step) -> String {
    match &step.verb {
        Verb::Uses { kind, .. } => format!("is `{kind}`"),
        Verb::Run(_) => "has `run`".to_string(),
        Verb::Manual { .. } => "has `manual`".to_string(),
    }
}
