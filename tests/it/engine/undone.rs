//! A run of doubles is taken back: in which order, what a failure keeps, and killed with SIGKILL anywhere on the way.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dr_plan::action::kind_of;
use dr_plan::engine::{Stop, UndoEnding, Undoing, Way, on_the_way_back, way_back};
use dr_plan::event::{Back, BoundStep, What};
use dr_plan::ids::StepId;
use dr_plan::journal::{FileJournal, Ledger, read_all};
use dr_plan::kind::{Effect, Reason, Undo};
use dr_plan::program::Work;
use dr_plan::state::{Return, RunState};

use super::child::{DEATHS, Order};
use super::doubles::Doubles;
use super::harness::{Scene, parts, run_id, services};
use super::shape::{id, real_region_failover, region_failover, step};
use super::world::{Cue, Line, Served, Stage, Thing, World};
use crate::memory::disks::Disk;

/// Takes the whole run back, as `dr-plan undo RUN` does.
pub async fn take_back(ledger: &Ledger, line: Line) -> (UndoEnding, RunState) {
    let steps = ledger.state(|state| state.header.steps.clone());
    take_back_with(ledger, Doubles::new(&steps, line), None, &[]).await
}

async fn take_back_with(
    ledger: &Ledger,
    work: Doubles,
    only: Option<&str>,
    leave: &[&str],
) -> (UndoEnding, RunState) {
    let only: Option<StepId> = only.map(id);
    let steps = ledger.state(|state| way_back(&work, state, only.as_ref()));
    let begun = Back::Begun {
        by: "ada".into(),
        version: "0.1.0".into(),
        steps: steps.iter().map(|step| step.step.clone()).collect(),
    };
    ledger.record(What::Back(begun)).await.unwrap();
    let (_handle, stop) = Stop::new();
    let work: Arc<dyn Work> = Arc::new(work);
    let undoing = Undoing {
        work,
        ledger: ledger.clone(),
        services: services(),
        person: dr_plan::engine::Desk::new(ledger.clone(), Vec::new()),
        stop,
        leave: leave.iter().map(|step| (id(step), "ada".into())).collect(),
        ungated: false,
        regardless: false,
    };
    let limit = std::time::Duration::from_secs(60);
    let ending = tokio::time::timeout(limit, undoing.carry_out(steps))
        .await
        .expect("the undo hangs")
        .unwrap();
    (ending, ledger.state(RunState::clone))
}

/// Opens a journal in memory again.
fn again(disk: &Disk) -> Ledger {
    let events = disk.0.seen.lock().unwrap().events.clone();
    let state = RunState::replay(&events).unwrap();
    Ledger::go_on(parts(Box::new(disk.clone()), Vec::new()), state).unwrap()
}

async fn carried_out(steps: Vec<BoundStep>) -> (Ledger, Arc<World>, Disk) {
    let (_, _, world, disk) = Scene::new(steps).play().await;
    (again(&disk), world, disk)
}

#[tokio::test]
async fn a_panic_of_an_undo_fails_it_in_the_journal_and_the_same_command_goes_on() {
    let steps = vec![step("bug", "host.put", &[]), step("fine", "host.put", &[])];
    let (ledger, world, disk) = carried_out(steps).await;
    world.cue("bug", "undo", [Cue::Panic]);
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Failed);
    match &state.back.steps[&id("bug")] {
        Return::Failed(failure) => {
            assert!(failure.message.contains("fault of dr-plan"), "{failure}");
        }
        other => panic!("{other:?}"),
    }
    drop(ledger);
    let (ending, _) = take_back(&again(&disk), Line::Direct(world)).await;
    assert!(matches!(ending, UndoEnding::Ended { .. }), "{ending:?}");
}

#[tokio::test]
async fn an_undo_that_is_to_come_back_tomorrow_ends_and_does_not_sit_and_wait() {
    let (ledger, world, disk) = carried_out(vec![step("slow", "host.put", &[])]).await;
    for wait in [86_400, u64::MAX] {
        let wait = std::time::Duration::from_secs(wait);
        world.cue("slow", "undo", [Cue::TurnAway(wait)]);
        let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
        assert_eq!(ending, UndoEnding::Failed);
        assert!(matches!(
            &state.back.steps[&id("slow")],
            Return::Failed(failure) if failure.retry_after == Some(wait)
        ));
    }
    drop(ledger);
    let (ending, _) = take_back(&again(&disk), Line::Direct(world)).await;
    assert!(matches!(ending, UndoEnding::Ended { .. }), "{ending:?}");
}

fn undoable(step: &BoundStep) -> bool {
    let undo = kind_of(&step.kind).unwrap().undo;
    step.effect != Effect::Read && matches!(undo, Undo::DeleteOwn | Undo::RestorePrevious)
}

fn undone(world: &World) -> Vec<String> {
    let heard = world.heard().into_iter();
    heard
        .filter(|(_, verb)| verb == "undo")
        .map(|(step, _)| step)
        .collect()
}

/// All that can be taken back is gone, each taken back once; the rest stands.
#[track_caller]
fn assert_taken_back(steps: &[BoundStep], things: &BTreeMap<String, Thing>) {
    for step in steps {
        let thing = things.get(step.id.as_str()).cloned().unwrap_or_default();
        if undoable(step) {
            let seen = (thing.stage, thing.data.as_str(), thing.undone);
            assert_eq!(seen, (Stage::Nothing, "", 1), "`{}`", step.id);
        } else {
            assert_eq!(thing.undone, 0, "`{}`", step.id);
        }
    }
}

#[tokio::test]
async fn a_run_is_taken_back_in_reverse_order_fences_first_and_then_what_moved_users() {
    let mut steps = region_failover();
    // Built on the traffic, and begun after it: what users go back to comes first, and then they do.
    steps.insert(16, step("after", "host.put", &["dns"]));
    let (ledger, world, _) = carried_out(steps.clone()).await;
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Ended { people: true });
    assert_taken_back(&steps, &world.things());
    let order = undone(&world);
    assert_eq!(order[..3], ["fence-web", "fence-db", "dns"], "{order:?}");
    let at = |step: &StepId| order.iter().position(|known| known == step.as_str());
    let first = |step: &&BoundStep| step.effect == Effect::Traffic || step.kind == "server.power";
    for step in steps.iter().filter(|step| !first(step)) {
        for need in &step.needs {
            if let (Some(own), Some(before)) = (at(&step.id), at(&need.step)) {
                assert!(
                    own < before || before < 3,
                    "`{}` after `{}`",
                    step.id,
                    need.step
                );
            }
        }
    }
    // What nobody but a person can take back is said, and stops nothing.
    let people: Vec<&str> = state.back.people().map(|(step, _)| step.as_str()).collect();
    assert_eq!(people, ["app-service", "db-service"]);
    assert_eq!(
        state.back.steps[&id("tell")],
        Return::Left(
            false,
            "it only goes forward: there is nothing to take back".into()
        )
    );
    assert!(state.back.ended);
    assert_eq!(
        state.back.word().unwrap(),
        "taken back but for what people must do"
    );
    // Once more: nothing is done twice.
    let (ending, _) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Ended { people: true });
    assert_eq!(undone(&world), order);
}

#[tokio::test]
async fn one_step_is_taken_back_with_all_that_was_built_on_it() {
    let (ledger, world, _) = carried_out(region_failover()).await;
    let work = Doubles::new(&region_failover(), Line::Direct(world.clone()));
    let (ending, _) = take_back_with(&ledger, work, Some("db-conf"), &[]).await;
    assert_eq!(ending, UndoEnding::Ended { people: true });
    assert_eq!(undone(&world), ["dns", "db-conf"]);
    assert_eq!(world.thing("restore-db").stage, Stage::Done);
    // Then the rest.
    take_back(&ledger, Line::Direct(world.clone())).await;
    assert_taken_back(&region_failover(), &world.things());
}

fn ids(steps: &[&str]) -> Vec<StepId> {
    let mut ids: Vec<StepId> = steps.iter().map(|step| id(step)).collect();
    let place = |step: &StepId| region_failover().iter().position(|one| one.id == *step);
    ids.sort_by_key(place);
    ids
}

#[tokio::test]
async fn what_cannot_be_taken_back_keeps_what_it_was_built_on() {
    let (ledger, world, _) = carried_out(region_failover()).await;
    assert_eq!(ledger.state(on_the_way_back), []);
    world.cue("restore-db", "undo", [Cue::Fail(Reason::Denied)]);
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Failed);
    assert!(matches!(
        state.back.steps[&id("restore-db")],
        Return::Failed(_)
    ));
    assert!(
        state
            .back
            .stopped
            .as_ref()
            .unwrap()
            .contains("`restore-db`")
    );
    assert_eq!(world.thing("db").stage, Stage::Done);
    // What is deleted cannot come back: not while something is not settled.
    assert_eq!(world.thing("web").stage, Stage::Done);
    for gone in ["fence-db", "dns", "fence-web", "app-env"] {
        assert_eq!(world.thing(gone).stage, Stage::Nothing, "`{gone}`");
    }
    // What a step kept of before is still to be put back, of all that has not come to its end; not where letting go was begun.
    assert_eq!(on_the_way_back(&state), ids(&["restore-db"]));
    let releasing = Back::Releasing {
        step: id("restore-db"),
        attempt: 9,
    };
    ledger.record(What::Back(releasing)).await.unwrap();
    let open = ledger.state(on_the_way_back);
    assert_eq!(open, []);
    // The same command goes on, and a person may leave a step as it is.
    let work = Doubles::new(&region_failover(), Line::Direct(world.clone()));
    let (ending, state) = take_back_with(&ledger, work, None, &["restore-db"]).await;
    assert_eq!(ending, UndoEnding::Ended { people: true });
    assert_eq!(on_the_way_back(&state), []);
    assert_eq!(world.thing("restore-db").undone, 0);
    assert_eq!(world.thing("db").stage, Stage::Nothing);
    assert!(
        state
            .back
            .people()
            .any(|(step, _)| step.as_str() == "restore-db")
    );
}

#[tokio::test]
async fn while_users_cannot_be_moved_back_nothing_else_is_taken_away() {
    let (ledger, world, _) = carried_out(region_failover()).await;
    world.cue("dns", "undo", [Cue::Fail(Reason::Denied)]);
    let (ending, _) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Failed);
    assert_eq!(undone(&world), ["fence-web", "fence-db", "dns"]);
    assert_eq!(world.thing("web").stage, Stage::Done);
}

#[tokio::test]
async fn where_nobody_knows_what_users_came_from_nothing_that_serves_them_is_deleted() {
    let (ledger, world, _) = carried_out(region_failover()).await;
    world.cue("dns", "undo", [Cue::NotMine]);
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Failed);
    let Return::Failed(failure) = &state.back.steps[&id("dns")] else {
        panic!("{:?}", state.back.steps);
    };
    assert_eq!(failure.reason, Reason::Refused);
    assert!(failure.hint.as_ref().unwrap().ends_with("--leave dns"));
    for serves in ["web", "db"] {
        assert_eq!(world.thing(serves).stage, Stage::Done, "`{serves}`");
    }
    // A person says that they may go.
    let work = Doubles::new(&region_failover(), Line::Direct(world.clone()));
    let (ending, _) = take_back_with(&ledger, work, None, &["dns"]).await;
    assert_eq!(ending, UndoEnding::Ended { people: true });
    assert_eq!(world.thing("web").stage, Stage::Nothing);
}

#[tokio::test]
async fn users_stay_where_they_are_while_there_is_nothing_to_go_back_to() {
    let (ledger, world, _) = carried_out(region_failover()).await;
    // The old side does not answer.
    world.cue("dns", "ask the old side", [Cue::Fail(Reason::Verify)]);
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Failed);
    assert_eq!(undone(&world), ["fence-web", "fence-db"]);
    assert!(matches!(state.back.steps[&id("dns")], Return::Failed(_)));
    assert_eq!(world.thing("web").stage, Stage::Done);
    // It does: the same command goes on.
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Ended { people: true });
    let Return::Undone(seen) = &state.back.steps[&id("dns")] else {
        panic!("{:?}", state.back.steps);
    };
    assert!(
        seen.iter().any(|one| one.what == "the old side"),
        "{seen:?}"
    );

    // What was fenced does not come back at all.
    let (ledger, world, _) = carried_out(region_failover()).await;
    world.cue("fence-db", "undo", [Cue::Fail(Reason::NoCapacity)]);
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Failed);
    assert_eq!(undone(&world), ["fence-web", "fence-db"]);
    let why = state.back.stopped.unwrap();
    assert!(why.contains("users stay where they are"), "{why}");
}

#[tokio::test]
async fn only_a_look_says_that_a_step_is_taken_back() {
    let (ledger, world, _) = carried_out(region_failover()).await;
    world.cue("app-site", "undo", [Cue::Lie]);
    world.cue("web", "undo", [Cue::LoseAnswer]);
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Failed);
    let Return::Failed(failure) = &state.back.steps[&id("app-site")] else {
        panic!("{:?}", state.back.steps);
    };
    assert_eq!(failure.reason, Reason::Verify);
    assert_eq!(
        world.thing("web").undone,
        0,
        "nothing is deleted before that is settled"
    );
    // A lost answer is looked at, and not sent again.
    let (_, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert!(matches!(state.back.steps[&id("web")], Return::Undone(_)));
    assert_eq!(world.thing("web").undone, 1);
}

#[tokio::test]
async fn what_lies_on_a_server_goes_with_it() {
    let (ledger, world, _) = carried_out(region_failover()).await;
    let work = || {
        let mut work = Doubles::new(&region_failover(), Line::Direct(world.clone()));
        for (step, host) in [
            ("restore-db", "db"),
            ("db-service", "db"),
            ("app-env", "web"),
        ] {
            work.hosts.insert(step.into(), host.into());
        }
        work
    };
    let ways = ledger.state(|state| way_back(&work(), state, None));
    let way = |step: &str| &ways.iter().find(|back| back.step == id(step)).unwrap().way;
    assert_eq!(way("restore-db"), &Way::GoesWith(id("db")));
    assert_eq!(way("app-env"), &Way::GoesWith(id("web")));
    let alone = ledger.state(|state| way_back(&work(), state, Some(&id("app-env"))));
    assert!(
        alone
            .iter()
            .any(|back| back.way == Way::Undo(Undo::RestorePrevious)),
        "a server that stays takes nothing with it: {alone:?}"
    );
    let (_, state) = take_back_with(&ledger, work(), None, &[]).await;
    assert_eq!(world.thing("db").stage, Stage::Nothing);
    assert_eq!(world.thing("restore-db").undone, 0);
    assert!(matches!(
        state.back.steps[&id("db-service")],
        Return::Left(false, _)
    ));
}

#[tokio::test]
async fn what_never_began_is_not_taken_back() {
    let mut scene = Scene::new(region_failover());
    scene.work.twice = false;
    scene
        .world
        .cue("restore-db", "start", [Cue::Fail(Reason::Denied)]);
    let (_, _, world, disk) = scene.play().await;
    let ledger = again(&disk);
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Ended { people: false });
    assert!(!state.back.steps.contains_key(&id("dns")));
    assert_eq!(world.thing("dns").undone, 0);
    assert_eq!(world.thing("db").stage, Stage::Nothing);
}

/// A finished run in a folder, beside the world that it left.
struct Finished {
    journal: Vec<u8>,
    records: u64,
    things: BTreeMap<String, Thing>,
}

impl Finished {
    fn new() -> Self {
        let place = Place::empty();
        assert!(place.order().carry_out().success());
        let journal = std::fs::read(place.order().journal()).unwrap();
        Self {
            records: read_all(&place.order().journal()).unwrap().events.len() as u64,
            journal,
            things: place.world.things(),
        }
    }

    fn place(&self) -> Place {
        let place = Place::empty();
        std::fs::write(place.order().journal(), &self.journal).unwrap();
        for (step, thing) in &self.things {
            place.world.put(step, thing.clone());
        }
        place
    }
}

struct Place {
    served: Served,
    world: Arc<World>,
    folder: tempfile::TempDir,
}

impl Place {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(World::default());
        Self {
            served: world.serve(folder.path()),
            world,
            folder,
        }
    }

    fn order(&self) -> Order {
        Order::new(self.folder.path(), &self.served.path)
    }

    fn undo(&self) -> Order {
        Order {
            undo: true,
            ..self.order()
        }
    }

    /// Goes on to the end in this process, and looks at what is left.
    fn go_on_and_judge(&self, about: &str) {
        let path: PathBuf = self.order().journal();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (journal, reading) = FileJournal::open(&path, &run_id()).unwrap();
            let state = RunState::replay(&reading.events).unwrap();
            let ledger = Ledger::go_on(parts(Box::new(journal), Vec::new()), state).unwrap();
            let line = Line::Direct(self.world.clone());
            let (ending, state) = take_back(&ledger, line).await;
            assert!(
                matches!(ending, UndoEnding::Ended { .. }),
                "{about}: {ending:?} {:?}",
                state.back
            );
            ledger.close().unwrap();
        });
        self.judge(about);
    }

    fn judge(&self, about: &str) {
        let things = self.world.things();
        let caught =
            std::panic::catch_unwind(|| assert_taken_back(&real_region_failover(), &things));
        if let Err(panic) = caught {
            eprintln!("{about}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn side_by_side(one: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| while one(next.fetch_add(1, Ordering::SeqCst)) {});
        }
    });
}

#[test]
fn an_undo_that_is_killed_at_any_record_or_inside_any_effect_goes_on() {
    let finished = Finished::new();
    let whole = finished.place();
    assert!(whole.undo().carry_out().success());
    whole.judge("undisturbed");
    let last = read_all(&whole.order().journal()).unwrap().events.len() as u64;
    let records = last - finished.records;
    let kills = AtomicU64::new(0);
    side_by_side(|turn| {
        let (at, death) = (turn / 4 + 1, DEATHS[(turn % 4) as usize]);
        if at > records {
            return false;
        }
        let place = finished.place();
        let about = format!("killed at record {at} of the undo, {death:?}");
        let mut order = place.undo();
        order.death = Some((finished.records + at, death));
        assert!(order.carry_out().signal().is_some(), "{about}");
        kills.fetch_add(1, Ordering::SeqCst);
        place.go_on_and_judge(&about);
        true
    });
    let mut points = Vec::new();
    for step in real_region_failover().into_iter().filter(undoable) {
        points.push((step.id.to_string(), Cue::KillBefore));
        points.push((step.id.to_string(), Cue::KillAfter));
    }
    side_by_side(|turn| {
        let Some((step, cue)) = points.get(turn as usize) else {
            return false;
        };
        let place = finished.place();
        let about = format!("killed while `{step}` is taken back: {cue:?}");
        place.world.cue(step, "undo", [cue.clone()]);
        assert!(place.undo().carry_out().signal().is_some(), "{about}");
        kills.fetch_add(1, Ordering::SeqCst);
        place.go_on_and_judge(&about);
        true
    });
    let kills = kills.into_inner();
    println!("{kills} undos were killed at one of {records} records or inside an effect");
    assert_eq!(kills, records * 4 + points.len() as u64);
}

/// A restore that died with its job at work: the undo must not pull the ground away under it.
#[tokio::test]
async fn a_job_that_is_still_at_work_is_not_taken_back() {
    let (ledger, world, _) = carried_out(region_failover()).await;
    let mut thing = world.thing("restore-db");
    thing.stage = Stage::Running;
    world.put("restore-db", thing);
    let (ending, state) = take_back(&ledger, Line::Direct(world.clone())).await;
    assert_eq!(ending, UndoEnding::Failed);
    assert_eq!(world.thing("restore-db").undone, 0);
    let Return::Failed(failure) = &state.back.steps[&id("restore-db")] else {
        panic!("{:?}", state.back.steps);
    };
    assert!(failure.message.contains("still at work"), "{failure}");
    assert_eq!(world.thing("db").stage, Stage::Done);
}
