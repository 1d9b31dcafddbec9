//! Random plans and random events, possible and impossible ones: what the sum keeps up to date must
//! be what counting from nothing gives, and an impossible event must change nothing.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{RunState, Status};
use crate::event::{
    Ask, AskKind, BoundNeed, BoundStep, Event, Header, Mark, OnFailure, RunResult, Was, What,
};
use crate::ids::StepId;
use crate::kind::{Effect, Failure, Observation, Output, Reason};

fn id(at: usize) -> StepId {
    StepId::new(&format!("s{at}")).unwrap()
}

fn was(byte: u8) -> Was {
    // Mostly the ordinary need, as in real plans.
    match byte % 8 {
        0 => Was::Failed,
        1 => Was::Skipped,
        2 => Was::Finished,
        _ => Was::Succeeded,
    }
}

/// A plan of up to twelve steps; edges only lead back, so there is no ring.
fn header() -> impl Strategy<Value = Header> {
    let step = (
        prop::collection::vec((any::<u8>(), any::<u8>()), 0..4),
        any::<u8>(),
        any::<bool>(),
    );
    (prop::collection::vec(step, 1..12), 0usize..4).prop_map(|(steps, last)| {
        let ordinary = steps.len().saturating_sub(last);
        let steps = steps
            .into_iter()
            .enumerate()
            .map(|(at, (needs, flags, critical))| BoundStep {
                id: id(at),
                kind: "wait".into(),
                effect: Effect::Read,
                needs: match at {
                    0 => Vec::new(),
                    _ => needs
                        .into_iter()
                        .map(|(on, how)| BoundNeed {
                            step: id(usize::from(on) % at),
                            was: was(how),
                        })
                        .collect(),
                },
                critical,
                on_failure: match flags % 7 {
                    0 => OnFailure::Stop,
                    _ => OnFailure::Contain,
                },
                finally: at >= ordinary,
                left_out: (flags % 11 == 0).then(|| "another mode".into()),
                probe: None,
                title: String::new(),
                asks: Vec::new(),
                expect: None,
                phase: None,
                owner: None,
                notes: None,
                runbook_url: None,
            })
            .collect();
        super::sample::header(steps)
    })
}

fn time(second: u64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + i64::try_from(second).unwrap()).unwrap()
}

/// One of the things that can be said of a step, chosen by a byte.
fn what(state: &RunState, kind: u8, pick: u8) -> What {
    // Half of the time a step that may begin, else any; so runs get somewhere and surprises happen.
    let ready: Vec<StepId> = state.ready().map(|s| s.bound.id.clone()).collect();
    let step = match ready.get(usize::from(pick / 2) % ready.len().max(1)) {
        Some(step) if pick.is_multiple_of(2) => step.clone(),
        _ => id(usize::from(pick) % state.steps.len()),
    };
    let failure = Failure::new(Reason::Other, "no");
    match kind % 16 {
        0 | 1 => What::Intent {
            attempt: state.step(&step).unwrap().attempt + 1,
            step,
            on: String::new(),
        },
        2..=4 => What::Done {
            step,
            already: false,
            output: Output::new(),
            evidence: Vec::new(),
            open: Vec::new(),
        },
        5 => What::Failed { step, failure },
        6 | 7 => match state.doomed().first() {
            Some((step, cause)) => What::Doomed {
                step: step.clone(),
                cause: cause.clone(),
            },
            None => What::Doomed {
                cause: step.clone(),
                step,
            },
        },
        8 => What::Blocked {
            step,
            observation: Observation::Absent,
        },
        9 | 10 => What::Marked {
            step,
            mark: if kind % 16 == 9 {
                Mark::Skip
            } else {
                Mark::Done
            },
            by: "me".into(),
            because: "so".into(),
        },
        11 => What::Retry {
            step,
            attempt: 1,
            failure,
            after: Duration::ZERO,
        },
        12 => What::Asked {
            step,
            ask: Ask {
                name: "approve".into(),
                kind: AskKind::Approval,
                question: "go?".into(),
                details: Vec::new(),
                timeout: None,
                by: Vec::new(),
            },
        },
        13 => What::Answered {
            step,
            name: "approve".into(),
            yes: true,
            by: "me".into(),
            because: None,
            how: "command".into(),
        },
        14 => What::Observed {
            step,
            observation: Observation::Absent,
        },
        _ => What::Resumed {
            by: "me".into(),
            version: "0".into(),
        },
    }
}

fn begun(header: Header) -> (RunState, Vec<Event>) {
    let first = Event {
        seq: 1,
        at: time(0),
        ms: 0,
        what: What::Header(Box::new(header)),
    };
    (RunState::begin(&first).unwrap(), vec![first])
}

proptest! {
    #[test]
    fn what_is_kept_up_to_date_is_what_counting_from_nothing_gives(
        header in header(),
        moves in prop::collection::vec((any::<u8>(), any::<u8>()), 0..80),
    ) {
        let (mut state, mut events) = begun(header);
        let mut transitions = state.transitions();
        for (kind, pick) in moves {
            let event = Event {
                seq: state.seq + 1,
                at: time(state.seq),
                ms: 0,
                what: what(&state, kind, pick),
            };
            let before = state.clone();
            let folded = state.fold(&event);
            // The writer's judge and the sum say the same.
            prop_assert_eq!(transitions.admit(&event), folded.clone());
            match folded {
                Ok(()) => events.push(event),
                Err(_) => prop_assert_eq!(&state, &before),
            }
            let mut counted = state.clone();
            counted.recount();
            prop_assert_eq!(&state, &counted, "after {:?}", events.last());
        }
        // Each prefix is a journal that a crash could leave.
        for length in 1..=events.len() {
            prop_assert!(RunState::replay(&events[..length]).is_ok());
        }
        prop_assert_eq!(RunState::replay(&events).unwrap(), state);
    }

    #[test]
    fn an_engine_that_does_what_it_is_told_comes_to_an_end(
        header in header(),
        fails in prop::collection::vec(any::<bool>(), 64),
    ) {
        let (mut state, _) = begun(header);
        let mut fails = fails.into_iter().cycle();
        loop {
            let doomed = state.doomed().into_iter().next();
            let ready = state.ready().next().map(|s| s.bound.id.clone());
            let what = match (doomed, ready) {
                (Some((step, cause)), _) => What::Doomed { step, cause },
                (None, Some(step)) if fails.next().unwrap() => What::Failed {
                    step,
                    failure: Failure::new(Reason::Other, "no"),
                },
                (None, Some(step)) => What::Done {
                    step,
                    already: false,
                    output: Output::new(),
                    evidence: Vec::new(),
                    open: Vec::new(),
                },
                (None, None) => break,
            };
            let event = Event { seq: state.seq + 1, at: time(0), ms: 0, what };
            state.fold(&event).unwrap();
        }
        let stopped = state.stopping.is_some();
        prop_assert!(state.finished() || stopped);
        // Nobody succeeded over a need that was not kept.
        for step in state.steps.iter().filter(|s| s.status == Status::Done) {
            for need in &step.bound.needs {
                prop_assert!(super::fold::satisfied(need.was, &state.step(&need.step).unwrap().status));
            }
        }
        let (result, because) = super::judge(&state);
        prop_assert_eq!(result == RunResult::Met, because.is_empty());
        let bad = |s: &super::StepState| s.bound.critical && !s.status.good();
        prop_assert_eq!(state.steps.iter().any(bad), result == RunResult::Failed);
    }
}
