//! A run that is asked to stop: politely, at once, and while it waits for health.

use dr_plan::engine::{Ending, Wish};
use dr_plan::event::{RunResult, What};

use super::harness::{Scene, ended, health_rule, resume, until, word};
use super::shape::{finally, step};
use super::world::Cue;

fn two_in_a_row() -> Scene {
    let mut scene = Scene::new(vec![
        step("restore", "dataset.restore", &[]),
        step("hold", "approve", &[]),
        step("after", "host.put", &["restore", "hold"]),
        finally(step("tell", "notify", &[])),
    ]);
    scene.approved = Vec::new();
    scene
}

#[tokio::test]
async fn a_polite_stop_waits_for_what_works_but_for_no_person_and_begins_nothing() {
    let (run, world, disk) = two_in_a_row().begin();
    let (stop, desk) = (run.stop.clone(), run.desk.clone());
    let someone = async {
        until(|| !desk.standing().borrow().is_empty()).await;
        assert_eq!(stop.press(), Wish::Drain);
        until(|| desk.standing().borrow().is_empty()).await;
    };
    let ((came, state), ()) = tokio::join!(run.go(), someone);
    assert_eq!(came.unwrap(), Ending::Stopped);
    assert_ne!(word(&state, "hold"), "done");
    assert!(
        state
            .step(&super::shape::id("hold"))
            .unwrap()
            .answers
            .is_empty()
    );
    assert_eq!(word(&state, "restore"), "done");
    assert_eq!(word(&state, "after"), "waiting");
    assert_eq!(word(&state, "tell"), "waiting");
    let (why, hint) = state.stopped.unwrap();
    assert!(why.contains("nothing goes on"), "{why}");
    assert_eq!(hint.unwrap(), "dr-plan resume r6t8v0zz");
    let (ending, _) = resume(&disk, &world, Vec::new(), &["hold"]).await;
    assert_eq!(ending, ended(RunResult::Met));
}

#[tokio::test]
async fn leaving_at_once_names_what_goes_on_and_a_resume_attaches_to_it() {
    let scene = two_in_a_row();
    scene.world.cue("restore", "poll", [Cue::Hang]);
    let (run, world, disk) = scene.begin();
    let (stop, seen) = (run.stop.clone(), world.clone());
    let someone = async {
        until(|| seen.heard().contains(&("restore".into(), "poll".into()))).await;
        assert_eq!(stop.press(), Wish::Drain);
        assert_eq!(stop.press(), Wish::Leave);
    };
    let ((came, state), ()) = tokio::join!(run.go(), someone);
    assert_eq!(came.unwrap(), Ending::Stopped);
    let (why, _) = state.stopped.unwrap();
    assert!(why.contains("restore"), "{why}");
    let (ending, _) = resume(&disk, &world, Vec::new(), &["hold"]).await;
    assert_eq!(ending, ended(RunResult::Met));
    assert_eq!(
        (world.thing("restore").born, world.thing("restore").job),
        (1, Some(1))
    );
}

#[tokio::test]
async fn a_stop_while_health_is_watched_gives_no_result_and_leaves_nobody_polling() {
    for with_finally in [false, true] {
        let mut steps = vec![step("dns", "dns.switch", &[])];
        if with_finally {
            steps.push(finally(step("tell", "notify", &[])));
        }
        let mut scene = Scene::new(steps);
        scene.health = Some(health_rule());
        scene.world.cue(
            "health",
            "look",
            vec![Cue::Fail(dr_plan::kind::Reason::Verify); 1000],
        );
        let (run, world, disk) = scene.begin();
        let (stop, ledger) = (run.stop.clone(), run.ledger.clone());
        let someone = async {
            until(|| ledger.state(|state| state.health.is_some())).await;
            stop.press();
        };
        let ((came, state), ()) = tokio::join!(run.go(), someone);
        assert_eq!(
            came.unwrap(),
            Ending::Stopped,
            "{with_finally}: {:?}",
            state.result
        );
        // The watch would record the next change that it sees.
        world.forget_cues();
        let asked = |world: &super::world::World| world.heard().len();
        until_it_rests(|| asked(&world)).await;
        let events = disk.0.seen.lock().unwrap().events.clone();
        assert!(matches!(events.last().unwrap().what, What::Stopped { .. }));
        let (ending, _) = resume(&disk, &world, Vec::new(), &[]).await;
        assert_eq!(ending, ended(RunResult::Met));
    }
}

/// Returns when two looks, further apart than two polls of health, see the same count.
async fn until_it_rests(count: impl Fn() -> usize) {
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let before = count();
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        if count() == before {
            return;
        }
        assert!(
            std::time::Instant::now() < limit,
            "somebody goes on polling"
        );
    }
}
