//! The sweep: one run of the region failover, killed with SIGKILL at every journal record and inside
//! every effect, each time resumed to its end.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dr_plan::event::RunResult;
use dr_plan::journal::read_all;
use dr_plan::kind::Effect;

use super::child::{DEATHS, Death, Order, assert_journal_agrees, assert_world_is_whole};
use super::harness::{ended, resume_from};
use super::shape::real_region_failover;
use super::world::{Cue, Line, Served, Thing, World};

/// A world of its own with a folder for one journal.
struct Place {
    /// Ends before its folder goes.
    served: Served,
    world: Arc<World>,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Arc::new(World::default());
        let served = world.serve(folder.path());
        Self {
            folder,
            world,
            served,
        }
    }

    fn order(&self) -> Order {
        Order::new(self.folder.path(), &self.served.path)
    }

    /// Brings the run to its end in this process and holds the world against an undisturbed one.
    fn resume_and_judge(&self, about: &str, undisturbed: &BTreeMap<String, String>) {
        let line = Line::Direct(self.world.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (ending, state) = runtime.block_on(resume_from(self.folder.path(), line));
        assert_eq!(ending, ended(RunResult::Met), "{about}: {:?}", state.result);
        self.judge(about, undisturbed);
    }

    fn judge(&self, about: &str, undisturbed: &BTreeMap<String, String>) {
        let things = self.world.things();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_world_is_whole(&real_region_failover(), &things);
            assert_eq!(&data(&things), undisturbed);
            assert_journal_agrees(&self.order().journal(), &self.world);
        }));
        if let Err(panic) = caught {
            eprintln!("{about}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// What is left in the world by all that may change it.
fn data(things: &BTreeMap<String, Thing>) -> BTreeMap<String, String> {
    let steps = real_region_failover();
    let kept = steps
        .iter()
        .filter(|step| !matches!(step.effect, Effect::Read | Effect::Tell));
    kept.map(|step| {
        let thing = things.get(step.id.as_str()).cloned().unwrap_or_default();
        (step.id.to_string(), thing.data)
    })
    .collect()
}

/// An undisturbed run: how many records it has, and what it leaves.
fn undisturbed() -> (u64, BTreeMap<String, String>) {
    let place = Place::new();
    assert!(place.order().carry_out().success());
    let things = place.world.things();
    assert_world_is_whole(&real_region_failover(), &things);
    let events = read_all(&place.order().journal()).unwrap().events;
    (events.len() as u64, data(&things))
}

/// Takes numbers from 0 on, several at a time (they wait for the disk more than they compute), until `one` says that there are no more.
fn side_by_side(one: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| while one(next.fetch_add(1, Ordering::SeqCst)) {});
        }
    });
}

#[test]
fn a_run_that_is_killed_at_any_record_is_resumed_to_the_same_end() {
    let (records, expected) = undisturbed();
    let kills = AtomicU64::new(0);
    side_by_side(|turn| {
        let (at, death) = (turn / 4 + 1, DEATHS[(turn % 4) as usize]);
        let place = Place::new();
        let about = format!("killed at record {at}, {death:?}");
        let mut order = place.order();
        order.death = Some((at, death));
        if order.carry_out().signal().is_none() {
            // The run was over before; one may have a record more or less than another.
            place.judge(&about, &expected);
            assert!(at + 8 > records, "{about}: nothing was killed");
            return at <= records;
        }
        kills.fetch_add(1, Ordering::SeqCst);
        if !std::fs::read(order.journal()).unwrap().contains(&b'\n') {
            // Not even the header is whole: that run never began, and nothing was done.
            assert!(read_all(&order.journal()).unwrap().events.is_empty());
            assert!(place.world.heard().is_empty());
            return true;
        }
        place.resume_and_judge(&about, &expected);
        true
    });
    let kills = kills.into_inner();
    println!("{kills} runs were killed at one of {records} records and resumed");
    assert!(kills >= records * 4 - 32, "{kills}");
}

#[test]
fn a_resume_that_is_killed_is_resumed() {
    let (records, expected) = undisturbed();
    let kills = AtomicU64::new(0);
    side_by_side(|turn| {
        // Each run is killed once, its resume a few records later, and the next resume once more.
        let first = turn * 3 + 2;
        if first > records {
            return false;
        }
        let place = Place::new();
        let mut order = place.order();
        let mut about = String::new();
        for (after, death) in [
            (0, Death::Kept),
            (1 + turn % 7, Death::Written),
            (3 + turn % 11, Death::Kept),
        ] {
            let there = match order.resume {
                true => read_all(&order.journal()).unwrap().events.len() as u64,
                false => first,
            };
            order.death = Some((there + after, death));
            about.push_str(&format!("killed at record {}, {death:?}; ", there + after));
            if order.carry_out().signal().is_none() {
                place.judge(&about, &expected);
                return true;
            }
            kills.fetch_add(1, Ordering::SeqCst);
            order.resume = true;
        }
        place.resume_and_judge(&about, &expected);
        true
    });
    let kills = kills.into_inner();
    println!("{kills} runs and resumes were killed");
    assert!(kills >= records / 2, "{kills}");
}

#[test]
fn a_run_that_is_killed_inside_an_effect_is_resumed_to_the_same_end() {
    let (_, expected) = undisturbed();
    let mut points = Vec::new();
    for step in real_region_failover() {
        let verbs: &[&str] = match step.kind.as_str() {
            "server.create" => &["create", "finish"],
            "dataset.restore" => &["start", "poll"],
            "approve" | "wait" => &[],
            _ if step.effect == Effect::Read => &["look"],
            _ if step.effect == Effect::Tell => &["tell"],
            _ => &["stage", "finish"],
        };
        for verb in verbs {
            points.push((step.id.to_string(), *verb, vec![Cue::KillBefore]));
            points.push((step.id.to_string(), *verb, vec![Cue::KillAfter]));
            if *verb == "poll" {
                points.push((step.id.to_string(), *verb, vec![Cue::Pass, Cue::KillAfter]));
            }
        }
    }
    let kills = AtomicU64::new(0);
    side_by_side(|turn| {
        let Some((step, verb, cues)) = points.get(turn as usize) else {
            return false;
        };
        let place = Place::new();
        let about = format!("killed inside `{step}`, {verb}: {cues:?}");
        place.world.cue(step, verb, cues.clone());
        assert!(place.order().carry_out().signal().is_some(), "{about}");
        kills.fetch_add(1, Ordering::SeqCst);
        place.resume_and_judge(&about, &expected);
        true
    });
    let kills = kills.into_inner();
    println!("{kills} runs were killed inside an effect and resumed");
    assert_eq!(kills, points.len() as u64);
}
