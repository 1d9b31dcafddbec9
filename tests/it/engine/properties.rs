//! Random plans with random outcomes through the real engine: every step ends exactly once, and none
//! begins before its needs have ended well.

use std::collections::{BTreeMap, HashMap};

use dr_plan::event::{BoundStep, Event, OnFailure, Was, What};
use dr_plan::kind::Reason;
use dr_plan::state::{RunState, Status};
use proptest::prelude::*;

use super::harness::Scene;
use super::shape::{need, step};
use super::world::Cue;

#[derive(Debug, Clone)]
struct Drawn {
    steps: Vec<BoundStep>,
    cues: BTreeMap<String, Vec<u8>>,
    parallel: usize,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let one = (
        prop::collection::vec((any::<u8>(), any::<u8>()), 0..4),
        any::<u8>(),
        prop::collection::vec(0u8..6, 0..4),
    );
    (prop::collection::vec(one, 1..14), 0usize..3, 1usize..6).prop_map(|(drawn, last, parallel)| {
        let ordinary = drawn.len().saturating_sub(last);
        let mut cues = BTreeMap::new();
        let steps = drawn
            .into_iter()
            .enumerate()
            .map(|(at, (needs, flags, outcomes))| {
                let kind =
                    ["host.put", "server.create", "check.tcp", "notify"][usize::from(flags % 4)];
                let name = format!("s{at}");
                let mut step = step(&name, kind, &[]);
                for (on, how) in needs.iter().filter(|_| at > 0) {
                    let on = format!("s{}", usize::from(*on) % at);
                    let was = match how % 8 {
                        0 => Was::Failed,
                        1 => Was::Finished,
                        _ => Was::Succeeded,
                    };
                    if !step.needs.iter().any(|need| need.step.as_str() == on) {
                        step.needs.push(need(&on, was));
                    }
                }
                step.finally = at >= ordinary;
                step.critical = flags & 4 == 0;
                step.left_out = (flags % 11 == 0).then(|| "another mode".into());
                if flags % 13 == 0 {
                    step.on_failure = OnFailure::Stop;
                }
                cues.insert(name, outcomes);
                step
            })
            .collect();
        Drawn {
            steps,
            cues,
            parallel,
        }
    })
}

fn cue(byte: u8) -> Cue {
    match byte {
        0 => Cue::Fail(Reason::Denied),
        1 => Cue::Fail(Reason::Busy),
        2 => Cue::LoseAnswer,
        3 => Cue::Panic,
        _ => Cue::Pass,
    }
}

fn play(drawn: &Drawn) -> (RunState, Vec<Event>, HashMap<String, u32>) {
    let mut scene = Scene::new(drawn.steps.clone());
    scene.parallel = drawn.parallel;
    for (step, outcomes) in &drawn.cues {
        for verb in ["create", "stage", "finish", "tell"] {
            scene
                .world
                .cue(step, verb, outcomes.iter().map(|byte| cue(*byte)));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_, state, world, disk) = runtime.block_on(scene.play());
    let events = disk.0.seen.lock().unwrap().events.clone();
    let born = world
        .things()
        .into_iter()
        .map(|(step, thing)| (step, thing.born))
        .collect();
    (state, events, born)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_step_ends_exactly_once_and_begins_only_when_its_needs_have_ended_so(drawn in drawn()) {
        let (state, events, born) = play(&drawn);
        prop_assert!(state.finished(), "{:?}", super::harness::statuses(&state));
        let mut ended: HashMap<&str, &What> = HashMap::new();
        for event in &events {
            let Some(id) = event.what.step() else { continue };
            match &event.what {
                What::Done { .. } | What::Failed { .. } | What::Doomed { .. } => {
                    prop_assert!(ended.insert(id.as_str(), &event.what).is_none(), "`{}` ended twice", id);
                }
                What::Observed { .. } | What::Intent { .. } => {
                    prop_assert!(!ended.contains_key(id.as_str()), "`{}` was begun after its end", id);
                    let step = state.step(id).unwrap();
                    for need in &step.bound.needs {
                        let on = need.step.as_str();
                        let left_out = state.step(&need.step).unwrap().bound.left_out.is_some();
                        let well = match (ended.get(on), need.was) {
                            (None, _) => left_out && need.was != Was::Failed,
                            (Some(What::Done { .. }), was) => was != Was::Failed,
                            (Some(What::Failed { .. }), was) => was != Was::Succeeded,
                            (Some(_), was) => was == Was::Finished,
                        };
                        prop_assert!(well, "`{}` began before `{}` had ended as it must", id, on);
                    }
                }
                _ => {}
            }
        }
        for step in &state.steps {
            let left_out = matches!(step.status, Status::LeftOut(_));
            prop_assert_eq!(left_out, !ended.contains_key(step.bound.id.as_str()), "`{}`", step.bound.id);
        }
        for (step, born) in born {
            prop_assert!(born <= 1, "`{}` was created {} times", step, born);
        }
        let came_to_its_end = matches!(events.last().unwrap().what, What::Ended { .. });
        prop_assert!(came_to_its_end);
    }
}
