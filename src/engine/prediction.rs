//! How long a run is going to take: from what its steps took in earlier runs, else from what the plan expects, else from
//! what their kinds usually take. Time that people need is in none of it.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::BoundStep;
use crate::ids::StepId;
use crate::state::{RunState, Status};

/// Where a prediction comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from", content = "runs")]
pub enum Basis {
    /// The middle of what it took in so many earlier runs.
    Runs(usize),
    /// The step's `expect`.
    Plan,
    /// Its arguments say it, as those of a `wait` do.
    Arguments,
    /// The kind's own estimate: nobody has measured it here.
    Kind,
}

/// How long a step is going to take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Seconds.
    pub seconds: f64,
    /// Why so.
    #[serde(flatten)]
    pub basis: Basis,
}

impl Predicted {
    /// As a duration.
    pub fn time(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds).unwrap_or_default()
    }
}

/// What is known of a step without runs.
#[derive(Debug, Clone, Copy)]
pub struct Estimate {
    /// From its arguments.
    pub arguments: Option<Duration>,
    /// From its kind.
    pub kind: Duration,
}

/// Predicts one step. `earlier` are runs of the same plan.
pub fn predict(step: &BoundStep, estimate: Estimate, earlier: &[RunState]) -> Predicted {
    let mut took: Vec<Duration> = earlier
        .iter()
        .filter_map(|run| run.step(&step.id))
        // What was done already took no time, and says nothing of the next run.
        .filter(|known| {
            known.bound.kind == step.kind
                && known.status == Status::Done
                && !known.already
                && known.bound.probe.is_none()
        })
        // A step that went on in a second process lay still between the two.
        .filter(|known| known.retries.is_empty())
        .filter_map(|known| Some(known.took()?.saturating_sub(known.waited)))
        .collect();
    took.sort();
    let (time, basis) = match (took.get(took.len() / 2), estimate.arguments, step.expect) {
        (_, Some(time), _) => (time, Basis::Arguments),
        (Some(middle), ..) => (*middle, Basis::Runs(took.len())),
        (None, _, Some(expect)) => (expect, Basis::Plan),
        (None, ..) => (estimate.kind, Basis::Kind),
    };
    Predicted {
        // Milliseconds are as fine as journals know them.
        seconds: (time.as_secs_f64() * 1000.0).round() / 1000.0,
        basis,
    }
}

/// The longest way through the steps, and who is on it: all side by side that can be. Steps of `finally` come after it and
/// are not counted, for users are back before.
pub fn longest_way(
    steps: &[BoundStep],
    time: &HashMap<StepId, Duration>,
) -> (Duration, Vec<StepId>) {
    let index: HashMap<&StepId, usize> = steps
        .iter()
        .enumerate()
        .map(|(at, s)| (&s.id, at))
        .collect();
    let mut ends: Vec<Option<(Duration, Option<usize>)>> = vec![None; steps.len()];
    let ordinary = |at: &usize| !steps[*at].finally;
    let mut left: Vec<usize> = (0..steps.len()).filter(ordinary).collect();
    while !left.is_empty() {
        let before = left.len();
        left.retain(|&at| {
            let needs = steps[at].needs.iter().map(|need| index[&need.step]);
            let mut start = (Duration::ZERO, None);
            for on in needs {
                match ends[on] {
                    None => return true,
                    Some((end, _)) if end > start.0 => start = (end, Some(on)),
                    Some(_) => {}
                }
            }
            let own = match &steps[at].left_out {
                Some(_) => Duration::ZERO,
                None => time.get(&steps[at].id).copied().unwrap_or_default(),
            };
            ends[at] = Some((start.0 + own, start.1));
            false
        });
        // A plan has no rings; a list that does not get shorter would be one.
        if left.len() == before {
            break;
        }
    }
    let last = (0..steps.len()).max_by_key(|&at| (ends[at].map(|(end, _)| end), steps.len() - at));
    let Some(last) = last else {
        return (Duration::ZERO, Vec::new());
    };
    let total = ends[last].map_or(Duration::ZERO, |(end, _)| end);
    let mut way = Vec::new();
    let mut at = Some(last);
    while let Some(here) = at {
        way.push(steps[here].id.clone());
        at = ends[here].and_then(|(_, before)| before);
    }
    way.reverse();
    (total, way)
}
