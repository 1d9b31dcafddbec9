//! Questions to people: answers through each door, a no, nobody, and words about steps that are at work.

use std::sync::Arc;
use std::time::Duration;

use dr_plan::action::Person as _;
use dr_plan::engine::{Answer, Desk, Ending};
use dr_plan::event::{Ask, AskKind, Mark, RunResult};
use dr_plan::state::{RunState, Status};

use super::doubles::policy;
use super::harness::{Scene, ended, mark, resume, until, word};
use super::shape::{finally, id, step};
use super::world::{Cue, World};
use crate::memory::disks::Disk;

fn gated() -> Scene {
    let mut scene = Scene::new(vec![
        step("before", "host.put", &[]),
        step("go", "approve", &["before"]),
        step("dns", "dns.switch", &["go"]),
        finally(step("tell", "notify", &[])),
    ]);
    scene.approved = Vec::new();
    scene
}

/// Returns when the step's question lies on the desk.
async fn asked(desk: &Arc<Desk>, step: &str) {
    let mut standing = desk.standing();
    let step = id(step);
    let there = standing.wait_for(|list| list.iter().any(|one| one.step == step));
    let there = tokio::time::timeout(Duration::from_secs(20), there).await;
    drop(there.expect("the question never came").unwrap());
}

async fn answered(scene: Scene, yes: bool) -> (Ending, RunState, Arc<World>, Disk) {
    let (run, world, disk) = scene.begin();
    let (desk, seen) = (run.desk.clone(), world.clone());
    let someone = async {
        asked(&desk, "go").await;
        assert_eq!(seen.thing("dns").made, 0, "nothing moves before the answer");
        let answer = Answer {
            yes,
            by: "grace".into(),
            because: Some("so be it".into()),
            how: "command".into(),
        };
        assert!(desk.answer(&id("go"), None, answer).await);
    };
    let ((came, state), ()) = tokio::join!(run.go(), someone);
    (came.unwrap(), state, world, disk)
}

#[tokio::test]
async fn a_yes_opens_the_gate_and_is_on_disk() {
    let (ending, state, world, _) = answered(gated(), true).await;
    assert_eq!(ending, ended(RunResult::Met));
    assert_eq!(world.thing("dns").made, 1);
    let answers = &state.step(&id("go")).unwrap().answers;
    assert_eq!(
        (answers[0].by.as_str(), answers[0].how.as_str()),
        ("grace", "command")
    );
}

#[tokio::test]
async fn a_no_aborts_the_run_and_a_resume_asks_again() {
    let (ending, state, world, disk) = answered(gated(), false).await;
    assert_eq!(ending, ended(RunResult::Aborted), "{:?}", state.result);
    assert_eq!(word(&state, "dns"), "doomed");
    assert_eq!(world.thing("dns").made, 0);
    assert!(
        world.thing("tell").data.contains(": ABORTED"),
        "{}",
        world.thing("tell").data
    );
    // That end is none now: people are told of the other one.
    let (ending, _) = resume(&disk, &world, Vec::new(), &["go"]).await;
    assert_eq!(ending, ended(RunResult::Met));
    let told = world.thing("tell").data;
    assert!(told.contains(": MET"), "{told}");
}

#[tokio::test]
async fn a_no_to_a_step_that_is_not_critical_is_only_an_exception() {
    let mut scene = gated();
    for step in &mut scene.steps {
        step.critical = false;
    }
    let (ending, _, _, _) = answered(scene, false).await;
    assert_eq!(ending, ended(RunResult::MetWithExceptions));
}

#[tokio::test]
async fn nobody_in_time_is_a_no() {
    let mut scene = gated();
    scene.work.approval_timeout = Some(Duration::from_millis(30));
    let (ending, state, world, _) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Aborted));
    assert_eq!(world.thing("dns").made, 0);
    let (_, because) = state.result.unwrap();
    assert!(because[0].contains("nobody answered"), "{because:?}");
}

#[tokio::test]
async fn a_steps_clock_stands_still_while_a_person_thinks() {
    let mut scene = gated();
    let short = dr_plan::program::Policy {
        timeout: Duration::from_millis(40),
        ..policy(dr_plan::kind::Effect::Read)
    };
    scene.work.policies.insert("go".into(), short);
    // Five times the step's own time passes, as the question's time-out shows.
    scene.work.approval_timeout = Some(Duration::from_millis(200));
    let (ending, _, _, _) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Aborted), "declined, not timed out");
}

#[tokio::test]
async fn a_question_takes_no_place_from_those_at_work_and_is_asked_behind_a_full_house() {
    let mut scene = Scene::new(vec![
        step("long", "host.put", &[]),
        step("later", "host.put", &[]),
        step("go", "approve", &[]),
    ]);
    scene.parallel = 1;
    scene.approved = Vec::new();
    scene.world.cue("long", "stage", [Cue::Hang]);
    let (run, world, _) = scene.begin();
    let (desk, stop) = (run.desk.clone(), run.stop.clone());
    let someone = async {
        asked(&desk, "go").await;
        stop.wish(dr_plan::engine::Wish::Leave);
    };
    let ((came, _), ()) = tokio::join!(run.go(), someone);
    assert_eq!(came.unwrap(), Ending::Stopped);
    assert_eq!(world.thing("later").made, 0, "one at a time");
}

#[tokio::test]
async fn a_question_that_a_person_skips_holds_nobody_up() {
    let (run, world, _) = gated().begin();
    let (desk, ledger) = (run.desk.clone(), run.ledger.clone());
    let someone = async {
        asked(&desk, "go").await;
        ledger.record(mark("go", Mark::Skip)).await.unwrap();
    };
    let ((came, state), ()) = tokio::join!(run.go(), someone);
    assert_eq!(came.unwrap(), ended(RunResult::MetWithExceptions));
    assert_eq!(word(&state, "go"), "skipped");
    assert_eq!(world.thing("dns").made, 1);
}

#[tokio::test]
async fn a_step_at_work_that_a_person_skips_is_let_go() {
    let scene = Scene::new(vec![
        step("hang", "host.put", &[]),
        step("after", "host.put", &["hang"]),
    ]);
    scene.world.cue("hang", "stage", [Cue::Hang]);
    let (run, world, _) = scene.begin();
    let ledger = run.ledger.clone();
    let someone = async {
        until(|| world.heard().contains(&("hang".into(), "stage".into()))).await;
        ledger.record(mark("hang", Mark::Skip)).await.unwrap();
    };
    let ((came, state), ()) = tokio::join!(run.go(), someone);
    assert_eq!(came.unwrap(), ended(RunResult::MetWithExceptions));
    assert_eq!(state.step(&id("after")).unwrap().status, Status::Done);
}

#[tokio::test]
async fn a_mark_on_a_blocked_step_wakes_a_run_that_is_still_at_work() {
    let scene = Scene::new(vec![
        step("blocked", "host.put", &[]),
        step("after", "host.put", &["blocked"]),
        step("hang", "approve", &[]),
    ]);
    scene.world.cue("blocked", "look", [Cue::Foreign]);
    let (mut scene, world) = {
        let world = scene.world.clone();
        (scene, world)
    };
    scene.approved = Vec::new();
    let (run, _, _) = scene.begin();
    let (ledger, desk) = (run.ledger.clone(), run.desk.clone());
    let someone = async {
        asked(&desk, "hang").await;
        until(|| ledger.state(|state| word(state, "blocked") == "blocked")).await;
        ledger.record(mark("blocked", Mark::Skip)).await.unwrap();
        until(|| world.thing("after").made == 1).await;
        let yes = Answer {
            yes: true,
            by: "ada".into(),
            because: None,
            how: "terminal".into(),
        };
        assert!(desk.answer(&id("hang"), Some("approve"), yes).await);
    };
    let ((came, _), ()) = tokio::join!(run.go(), someone);
    assert_eq!(came.unwrap(), ended(RunResult::MetWithExceptions));
}

#[tokio::test]
async fn an_answer_counts_for_what_was_asked_and_for_nothing_else_of_that_name() {
    let (run, _, _) = gated().begin();
    let (desk, go) = (run.desk.clone(), id("go"));
    let ask = |backup: &str| Ask {
        name: "older-backup-1".into(),
        kind: AskKind::OlderBackup,
        question: format!("Restore from the next older backup, `{backup}`?"),
        details: Vec::new(),
        timeout: None,
        by: Vec::new(),
    };
    let put = async |backup: &str, yes: bool| {
        let someone = async {
            asked(&desk, "go").await;
            let answer = Answer {
                yes,
                by: "grace".into(),
                because: None,
                how: "command".into(),
            };
            assert!(desk.answer(&go, None, answer).await);
        };
        let both = async { tokio::join!(desk.ask(&go, ask(backup)), someone) };
        let both = tokio::time::timeout(Duration::from_secs(20), both).await;
        assert_eq!(both.expect("nobody asked").0.unwrap().yes, yes);
    };
    let known = async |backup: &str| {
        let given = tokio::time::timeout(Duration::from_secs(20), desk.ask(&go, ask(backup)));
        given.await.expect("it was asked again").unwrap().yes
    };
    put("20261120", true).await;
    put("20261119", false).await;
    assert!(known("20261120").await, "the no was to another one");
    put("20261119", true).await;
    assert!(known("20261119").await);
}
