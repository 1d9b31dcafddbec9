//! A preview of doubles: they are looked at, and nothing else is asked of the world.

use std::sync::Arc;
use std::time::Duration;

use dr_plan::engine::{Basis, Estimate, Would, differences, longest_way, predict, preview};
use dr_plan::event::BoundStep;
use dr_plan::kind::{Reason, Surety};
use dr_plan::program::Work;

use super::doubles::Doubles;
use super::harness::{Scene, header, health_rule, services};
use super::shape::{id, real_region_failover, step};
use super::world::{Cue, Line, Stage, Thing, World};

async fn foreseen(steps: &[BoundStep], world: &Arc<World>) -> dr_plan::engine::Preview {
    let work: Arc<dyn Work> = Arc::new(Doubles::new(steps, Line::Direct(world.clone())));
    let header = header(steps, Some(health_rule()));
    preview(&work, header, Vec::new(), &services(), &[])
        .await
        .unwrap()
}

#[tokio::test]
async fn nothing_but_looks_is_asked_of_the_world() {
    let world = Arc::new(World::default());
    let steps = real_region_failover();
    let found = foreseen(&steps, &world).await;
    let heard = world.heard();
    assert!(!heard.is_empty());
    assert!(heard.iter().all(|(_, verb)| verb == "look"), "{heard:?}");
    assert_eq!(found.steps.len(), steps.len());
    let asked = found
        .steps
        .iter()
        .filter(|step| step.bound.kind == "host.run");
    for step in asked {
        assert_eq!(step.surety, Surety::CannotBeChecked, "{step:?}");
        assert!(!heard.iter().any(|(id, _)| *id == step.bound.id.as_str()));
    }
}

#[tokio::test]
async fn what_was_seen_decides_what_would_happen() {
    let steps = [
        step("done", "server.power", &[]),
        step("half", "host.put", &[]),
        step("foreign", "dns.switch", &[]),
        step("silent", "server.power", &[]),
        step("dark", "host.put", &[]),
    ];
    let world = Arc::new(World::default());
    world.put(
        "done",
        Thing {
            stage: Stage::Done,
            ..Thing::default()
        },
    );
    world.put(
        "half",
        Thing {
            stage: Stage::Half,
            ..Thing::default()
        },
    );
    world.cue(
        "foreign",
        "look",
        [Cue::Foreign, Cue::Foreign, Cue::Foreign],
    );
    world.cue("silent", "look", [Cue::Fail(Reason::Unreachable)]);
    world.cue("dark", "look", [Cue::CannotTell]);
    let found = foreseen(&steps, &world).await;
    let saw: Vec<(Would, Surety)> = found.steps.iter().map(|s| (s.would, s.surety)).collect();
    assert_eq!(
        saw,
        [
            (Would::Nothing, Surety::Verified),
            (Would::Act, Surety::Verified),
            (Would::Stop, Surety::Verified),
            (Would::Act, Surety::CannotBeChecked),
            (Would::Stop, Surety::CannotBeChecked),
        ]
    );
    assert_eq!(found.against().count(), 2);

    world.forget_cues();
    let later = foreseen(&steps, &world).await;
    let names: Vec<String> = differences(&found, &later);
    for id in ["foreign", "silent", "dark"] {
        assert!(
            names
                .iter()
                .any(|one| one.starts_with(&format!("`{id}`: "))),
            "{names:?}"
        );
    }
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(differences(&later, &foreseen(&steps, &world).await).is_empty());
    let fewer = foreseen(&steps[1..], &world).await;
    assert_eq!(differences(&later, &fewer), ["`done`: is no step any more"]);
    assert_eq!(differences(&fewer, &later), ["`done`: is a new step"]);
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_neither_verified_nor_clear() {
    let steps = [
        step("fine", "host.put", &[]),
        step("slow", "server.power", &[]),
        step("gone", "server.power", &[]),
        step("denied", "host.put", &[]),
        step("bug", "host.put", &[]),
        step("unchecked", "host.put", &[]),
    ];
    let world = Arc::new(World::default());
    world.cue("slow", "look", [Cue::Fail(Reason::RateLimited)]);
    world.cue("gone", "look", [Cue::Unseen]);
    world.cue("denied", "look", [Cue::Fail(Reason::Denied)]);
    world.cue("bug", "look", [Cue::Panic]);
    world.cue("unchecked", "precheck", [Cue::Fail(Reason::RateLimited)]);
    let found = foreseen(&steps, &world).await;
    assert!(!found.is_clear());
    assert_eq!(found.against().count(), 0);
    let unseen: Vec<&str> = found
        .unseen()
        .map(|(step, _)| step.bound.id.as_str())
        .collect();
    assert_eq!(unseen, ["slow", "gone", "denied", "bug", "unchecked"]);
    for (step, why) in found.unseen() {
        assert!(!why.is_empty());
        if step.bound.id.as_str() == "unchecked" {
            let warned = &step.findings[0];
            assert!(warned.warning && warned.surety == Surety::CannotBeChecked);
        } else {
            let saw = (step.would, step.surety);
            assert_eq!(saw, (Would::Act, Surety::CannotBeChecked), "{step:?}");
        }
    }
    let bug = found.steps.iter().find(|s| s.bound.id.as_str() == "bug");
    assert!(bug.unwrap().what.contains("fault of dr-plan"), "{bug:?}");

    let clear = foreseen(&steps, &world).await;
    assert!(clear.is_clear(), "{clear:#?}");
}

#[tokio::test]
async fn predictions_come_from_runs_before_the_plan_and_from_the_plan_before_the_kind() {
    let mut scene = Scene::new(real_region_failover());
    scene.health = Some(health_rule());
    let (_, state, _, _) = scene.play().await;
    let estimate = Estimate {
        arguments: None,
        kind: Duration::from_secs(7),
    };
    let known = state.step(&id("restore-db")).unwrap();
    let learned = predict(&known.bound, estimate, std::slice::from_ref(&state));
    assert_eq!(learned.basis, Basis::Runs(1));
    assert!(learned.time().abs_diff(known.took().unwrap()) < Duration::from_millis(2));
    let mut new = step("new", "server.create", &[]);
    assert_eq!(predict(&new, estimate, &[]).basis, Basis::Kind);
    new.expect = Some(Duration::from_secs(9));
    let planned = predict(&new, estimate, &[state]);
    assert_eq!((planned.seconds, planned.basis), (9.0, Basis::Plan));
}

#[test]
fn the_longest_way_takes_what_can_run_side_by_side_once() {
    let steps = [
        step("a", "server.create", &[]),
        step("b", "server.create", &[]),
        step("c", "dns.switch", &["a", "b"]),
        super::shape::finally(step("d", "notify", &["c"])),
    ];
    let seconds = |id_: &str, time: u64| (id(id_), Duration::from_secs(time));
    let times = [
        seconds("a", 3),
        seconds("b", 5),
        seconds("c", 2),
        seconds("d", 9),
    ]
    .into();
    let (total, way) = longest_way(&steps, &times);
    assert_eq!(total, Duration::from_secs(7));
    assert_eq!(way, [id("b"), id("c")]);
}
