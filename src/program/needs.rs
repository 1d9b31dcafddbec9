//! Which steps are part of a run, and what each of them waits for.

use std::collections::HashMap;

use crate::event::BoundNeed;
use crate::ids::StepId;
use crate::kind::Mode;
use crate::plan::Step;

/// Why a step is not part of the run.
pub(super) fn left_out(step: &Step, mode: Mode) -> Option<String> {
    if !step.enabled {
        return Some("it is not enabled".to_string());
    }
    // A preview shows what a failover would do.
    let mode = if mode == Mode::Preview {
        Mode::Failover
    } else {
        mode
    };
    step.modes
        .as_ref()
        .filter(|modes| !modes.contains(&mode))
        .map(|_| format!("it is not part of a {mode}"))
}

fn own_needs(step: &Step) -> Vec<BoundNeed> {
    let mut needs: Vec<BoundNeed> = Vec::new();
    for need in &step.needs {
        // What a reference implies says nothing that a written need has not said better.
        if !needs.iter().any(|known| known.step == need.step) {
            needs.push(BoundNeed {
                step: need.step.clone(),
                was: need.was,
            });
        }
    }
    needs
}

/// With those of the steps between that are left out: whoever takes the question before the traffic out does not mean that
/// the traffic shall move before there is anything to move it to.
pub(super) fn needs_through(
    step: &Step,
    all: &[&Step],
    index: &HashMap<StepId, usize>,
    mode: Mode,
) -> Vec<BoundNeed> {
    let mut needs = own_needs(step);
    let mut next = 0;
    while let Some(need) = needs.get(next) {
        next += 1;
        let between = index.get(&need.step).map(|at| all[*at]);
        let Some(between) = between.filter(|between| left_out(between, mode).is_some()) else {
            continue;
        };
        for more in own_needs(between) {
            if !needs.iter().any(|known| known.step == more.step) {
                needs.push(more);
            }
        }
    }
    needs
}
