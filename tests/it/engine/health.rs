//! Health from the users' side: what counts as its beginning, a series that breaks, a time that runs
//! out, and what is said of it to people.

use std::time::Duration;

use dr_plan::event::{HealthRule, Mark, RunResult, What};
use dr_plan::kind::Reason;

use super::harness::{Scene, ended, health_rule, mark, resume, word};
use super::shape::{finally, id, step};
use super::world::Cue;

fn red() -> Cue {
    Cue::Fail(Reason::Verify)
}

fn moved() -> Scene {
    let mut scene = Scene::new(vec![
        step("dns", "dns.switch", &[]),
        finally(step("tell", "notify", &[])),
    ]);
    scene.health = Some(health_rule());
    scene
}

fn words(disk: &crate::memory::disks::Disk) -> Vec<String> {
    let events = disk.0.seen.lock().unwrap().events.clone();
    let said = events.iter().filter_map(|event| match &event.what {
        What::Health { green, .. } => Some(if *green { "green" } else { "red" }.to_string()),
        What::Healthy { .. } => Some("healthy".into()),
        What::Unhealthy { .. } => Some("unhealthy".into()),
        _ => None,
    });
    said.collect()
}

#[tokio::test]
async fn a_series_that_breaks_begins_anew_and_the_clock_stops_at_the_first_green_of_the_last() {
    let mut scene = moved();
    scene.health = Some(HealthRule {
        hold: Duration::from_millis(250),
        ..health_rule()
    });
    scene.world.cue("health", "look", [red(), Cue::Pass, red()]);
    let (ending, state, world, disk) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Met));
    assert_eq!(words(&disk), ["red", "green", "red", "green", "healthy"]);
    let events = disk.0.seen.lock().unwrap().events.clone();
    let last_red = events
        .iter()
        .rev()
        .find(|event| matches!(event.what, What::Health { green: false, .. }));
    let since = state.healthy_since.unwrap();
    assert!(since > last_red.unwrap().at);
    let said = world.thing("tell").data;
    assert!(
        said.contains("MET") && said.contains("after the loss"),
        "{said}"
    );
}

#[tokio::test]
async fn health_that_does_not_come_fails_the_run_and_finally_says_so() {
    let mut scene = moved();
    scene.health = Some(HealthRule {
        within: Duration::from_millis(250),
        ..health_rule()
    });
    scene.world.cue("health", "look", vec![red(); 1000]);
    let (ending, state, world, disk) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Failed));
    assert_eq!(words(&disk), ["red", "unhealthy"]);
    assert!(
        state
            .unhealthy
            .unwrap()
            .contains("not healthy within 250ms")
    );
    assert!(
        world.thing("tell").data.contains("FAILED"),
        "{}",
        world.thing("tell").data
    );
    world.forget_cues();
    let (ending, _) = resume(&disk, &world, Vec::new(), &[]).await;
    assert_eq!(ending, ended(RunResult::Met));
}

#[tokio::test]
async fn a_panic_of_a_check_is_a_health_that_never_came() {
    let scene = moved();
    scene.world.cue("health", "look", [Cue::Panic]);
    let (ending, state, _, _) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Failed));
    let why = state.unhealthy.unwrap();
    assert!(why.contains("fault of dr-plan"), "{why}");
}

#[tokio::test]
async fn health_is_not_asked_for_when_something_critical_is_lost_and_the_message_says_failed() {
    let mut scene = Scene::new(vec![
        step("db", "host.put", &[]),
        step("dns", "dns.switch", &["db"]),
        finally(step("tell", "notify", &[])),
    ]);
    scene.health = Some(health_rule());
    scene.world.cue("db", "stage", [Cue::Fail(Reason::Denied)]);
    let (ending, _, world, disk) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Failed));
    assert!(words(&disk).is_empty());
    assert!(
        world.thing("tell").data.contains("FAILED"),
        "{}",
        world.thing("tell").data
    );
}

#[tokio::test]
async fn a_traffic_step_that_was_skipped_beforehand_does_not_begin_the_watch_before_its_turn() {
    let mut scene = Scene::new(vec![
        step("gate", "approve", &[]),
        step("db", "host.put", &["gate"]),
        step("dns", "dns.switch", &["db"]),
    ]);
    scene.health = Some(health_rule());
    scene.approved = vec!["gate"];
    let (run, world, _) = scene.begin();
    run.ledger.record(mark("dns", Mark::Skip)).await.unwrap();
    let (came, state) = run.go().await;
    assert_eq!(came.unwrap(), ended(RunResult::MetWithExceptions));
    assert_eq!(word(&state, "dns"), "skipped");
    let heard = world.heard();
    let at = |step: &str, verb: &str| {
        heard
            .iter()
            .position(|(s, v)| s == step && v == verb)
            .unwrap()
    };
    assert!(at("db", "finish") < at("health", "look"), "{heard:?}");
    assert!(state.step(&id("db")).unwrap().ended.unwrap() <= state.healthy_since.unwrap());
}

#[tokio::test]
async fn a_plan_without_a_traffic_step_is_watched_when_its_steps_have_ended() {
    let mut scene = Scene::new(vec![step("db", "host.put", &[])]);
    scene.health = Some(health_rule());
    let (ending, _, world, disk) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Met));
    assert_eq!(words(&disk), ["green", "healthy"]);
    let heard = world.heard();
    assert_eq!(
        heard.iter().position(|(step, _)| step == "health"),
        heard
            .iter()
            .rposition(|(step, _)| step == "db")
            .map(|at| at + 1)
    );
}
