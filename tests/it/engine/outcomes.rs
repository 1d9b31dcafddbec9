//! What comes of failures, lost answers, hanging and panicking actions, and of things that nobody can
//! tell: what fails, what is doomed, what goes on, and what a resume makes of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dr_plan::engine::Ending;
use dr_plan::event::{BoundStep, Mark, OnFailure, RunResult, Was, What};
use dr_plan::journal::{Ledger, read_all};
use dr_plan::kind::{Effect, Reason};
use dr_plan::program::Work;
use dr_plan::state::{RunState, Status};

use super::child::assert_world_is_whole;
use super::doubles::{Doubles, policy};
use super::harness::{
    Run, Scene, ended, header, mark, parts, resume, resume_from, run_id, services, statuses, word,
};
use super::shape::{finally, id, need, region_failover, step};
use super::world::{Cue, Line, Stage, Thing, World};

/// The request that is a step's deed.
fn deed(step: &BoundStep) -> Option<&'static str> {
    match step.kind.as_str() {
        "server.create" => Some("create"),
        "dataset.restore" => Some("start"),
        "notify" => Some("tell"),
        "approve" | "wait" => None,
        _ if step.effect == Effect::Read => Some("look"),
        _ => Some("stage"),
    }
}

/// All that need this step, directly or not, without `finally`.
fn dependants(steps: &[BoundStep], of: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::from([of.to_string()]);
    loop {
        let before = found.len();
        for step in steps {
            if step
                .needs
                .iter()
                .any(|need| found.contains(need.step.as_str()))
            {
                found.insert(step.id.to_string());
            }
        }
        if found.len() == before {
            found.remove(of);
            return found;
        }
    }
}

#[tokio::test]
async fn a_failure_anywhere_is_contained_and_a_resume_brings_the_run_to_its_end() {
    for failing in region_failover() {
        let Some(verb) = deed(&failing) else { continue };
        let name = failing.id.as_str();
        let scene = Scene::new(region_failover());
        scene.world.cue(name, verb, [Cue::Fail(Reason::Denied)]);
        let steps = scene.steps.clone();
        let (ending, state, world, disk) = scene.play().await;
        assert_eq!(
            ending,
            ended(RunResult::Failed),
            "{name}: {:?}",
            state.result
        );
        let doomed = dependants(&steps, name);
        for step in &steps {
            let want = match step.id.as_str() {
                id if id == name => "failed",
                id if doomed.contains(id) => "doomed",
                _ => "done",
            };
            assert_eq!(word(&state, step.id.as_str()), want, "{name}: {}", step.id);
        }
        let (ending, state) = resume(&disk, &world, Vec::new(), &["go"]).await;
        assert_eq!(ending, ended(RunResult::Met), "{name}: {:?}", state.result);
        assert_world_is_whole(&steps, &world.things());
    }
}

#[tokio::test]
async fn a_failure_that_stops_lets_nothing_new_begin_and_finally_still_runs() {
    let mut steps = vec![
        step("first", "host.put", &[]),
        step("second", "host.put", &["first"]),
        step("beside", "host.put", &[]),
        step("third", "host.put", &["beside"]),
        finally(step("tell", "notify", &[])),
        finally(step("after", "host.put", &[])),
        finally(step("never", "host.put", &["third"])),
    ];
    steps[0].on_failure = OnFailure::Stop;
    steps[5].needs.push(need("third", Was::Finished));
    let mut scene = Scene::new(steps);
    scene.parallel = 1;
    scene
        .world
        .cue("first", "stage", [Cue::Fail(Reason::Denied)]);
    let (ending, state, world, disk) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Failed));
    let want = [
        ("first", "failed"),
        ("second", "doomed"),
        ("beside", "doomed"),
        ("third", "doomed"),
        ("tell", "done"),
        ("after", "done"),
        ("never", "doomed"),
    ];
    for (step, status) in want {
        assert_eq!(word(&state, step), status, "{step}");
    }
    assert_eq!(
        state.step(&id("beside")).unwrap().status,
        Status::Doomed(id("first"))
    );
    assert!(state.finished());
    assert_eq!(world.thing("beside"), Thing::default());
    assert!(
        world.thing("tell").data.contains("FAILED"),
        "{}",
        world.thing("tell").data
    );
    let (ending, state) = resume(&disk, &world, Vec::new(), &[]).await;
    assert_eq!(ending, ended(RunResult::Met), "{:?}", statuses(&state));
    assert_eq!(world.thing("after").made, 1, "finally is not done twice");
}

#[tokio::test]
async fn a_step_whose_two_dependants_want_different_ends_starts_the_one_that_fits() {
    let mut steps = vec![
        step("try", "host.put", &[]),
        step("went-well", "host.put", &["try"]),
        step("rescue", "host.put", &[]),
    ];
    steps[2].needs.push(need("try", Was::Failed));
    steps[0].critical = false;
    steps[1].critical = false;
    let scene = Scene::new(steps);
    scene.world.cue("try", "stage", [Cue::Fail(Reason::Denied)]);
    let (ending, state, _, _) = scene.play().await;
    assert_eq!(ending, ended(RunResult::MetWithExceptions));
    assert_eq!(word(&state, "went-well"), "doomed");
    assert_eq!(word(&state, "rescue"), "done");
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again_and_each_attempt_has_its_number() {
    let scene = Scene::new(vec![step("put", "host.put", &[])]);
    scene.world.cue(
        "put",
        "stage",
        [Cue::Fail(Reason::Busy), Cue::Fail(Reason::Unreachable)],
    );
    let (ending, state, _, disk) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Met));
    assert_eq!(state.step(&id("put")).unwrap().attempt, 3);
    let retries: Vec<u32> = state
        .step(&id("put"))
        .unwrap()
        .retries
        .iter()
        .map(|(attempt, _)| *attempt)
        .collect();
    assert_eq!(retries, [1, 2]);
    let events = disk.0.seen.lock().unwrap().events.clone();
    let intents = events
        .iter()
        .filter(|event| matches!(event.what, What::Intent { .. }));
    assert_eq!(intents.count(), 3);
}

#[tokio::test]
async fn what_does_not_pass_is_not_tried_again_unless_the_plan_says_so() {
    let play = |on: Vec<Reason>, cues: Vec<Cue>| async move {
        let mut scene = Scene::new(vec![step("put", "host.put", &[])]);
        let rules = dr_plan::program::Policy {
            on,
            ..policy(Effect::Write)
        };
        scene.work.policies.insert("put".into(), rules);
        scene.world.cue("put", "stage", cues);
        let (ending, state, world, _) = scene.play().await;
        let stages = world
            .heard()
            .iter()
            .filter(|(_, verb)| verb == "stage")
            .count();
        (ending, state.step(&id("put")).unwrap().attempt, stages)
    };
    let failed = |reason| vec![Cue::Fail(reason)];
    let came = play(Vec::new(), failed(Reason::ExitCode)).await;
    assert_eq!(came, (ended(RunResult::Failed), 1, 1));
    let came = play(vec![Reason::ExitCode], failed(Reason::ExitCode)).await;
    assert_eq!(came, (ended(RunResult::Met), 2, 2));
    // A list in the plan replaces the rule.
    let came = play(vec![Reason::ExitCode], failed(Reason::Busy)).await;
    assert_eq!(came, (ended(RunResult::Failed), 1, 1));
    let came = play(Vec::new(), vec![Cue::Fail(Reason::Busy); 5]).await;
    assert_eq!(came, (ended(RunResult::Failed), 3, 3));
}

#[tokio::test]
async fn no_attempt_begins_after_the_time_that_retries_have() {
    let mut scene = Scene::new(vec![step("put", "host.put", &[])]);
    let rules = dr_plan::program::Policy {
        attempts: u32::MAX,
        backoff: Duration::from_millis(40),
        within: Some(Duration::from_millis(100)),
        ..policy(Effect::Write)
    };
    scene.work.policies.insert("put".into(), rules);
    scene
        .world
        .cue("put", "stage", vec![Cue::Fail(Reason::Busy); 1000]);
    let (ending, state, _, _) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Failed));
    let attempts = state.step(&id("put")).unwrap().attempt;
    assert!((1..=3).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_looked_for_before_anything_is_done_again() {
    for (name, kind, verb) in [
        ("db", "server.create", "create"),
        ("db", "server.create", "finish"),
        ("restore", "dataset.restore", "start"),
        ("put", "host.put", "finish"),
    ] {
        let scene = Scene::new(vec![step(name, kind, &[])]);
        scene.world.cue(name, verb, [Cue::LoseAnswer]);
        let steps = scene.steps.clone();
        let (ending, _, world, _) = scene.play().await;
        assert_eq!(ending, ended(RunResult::Met), "{name} {verb}");
        assert_world_is_whole(&steps, &world.things());
    }
}

#[tokio::test]
async fn a_step_that_hangs_ends_with_its_time_and_the_others_go_on() {
    let mut scene = Scene::new(vec![
        step("hang", "host.put", &[]),
        step("beside", "host.put", &[]),
    ]);
    // Time enough to come to where it hangs, on a machine that has other things to do.
    let rules = dr_plan::program::Policy {
        timeout: Duration::from_secs(2),
        ..policy(Effect::Write)
    };
    scene.work.policies.insert("hang".into(), rules);
    scene.world.cue("hang", "finish", [Cue::Hang]);
    let (ending, state, world, disk) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Failed));
    match &state.step(&id("hang")).unwrap().status {
        Status::Failed(failure) => {
            assert_eq!(failure.reason, Reason::Timeout);
            assert!(failure.message.contains("2s"), "{}", failure.message);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(word(&state, "beside"), "done");
    let (ending, _) = resume(&disk, &world, Vec::new(), &[]).await;
    assert_eq!(ending, ended(RunResult::Met));
    assert_eq!(world.thing("hang").made, 1);
}

#[tokio::test]
async fn a_panic_of_an_action_fails_its_step_in_words_and_takes_nobody_with_it() {
    for verb in ["look", "stage", "finish"] {
        let scene = Scene::new(vec![
            step("bug", "host.put", &[]),
            step("after", "host.put", &["bug"]),
            step("beside", "host.put", &[]),
            finally(step("tell", "notify", &[])),
        ]);
        scene.world.cue("bug", verb, [Cue::Panic]);
        let (ending, state, world, disk) = scene.play().await;
        assert_eq!(ending, ended(RunResult::Failed));
        match &state.step(&id("bug")).unwrap().status {
            Status::Failed(failure) => assert!(
                failure.message.contains("fault of dr-plan")
                    && failure.message.contains("`bug` panics"),
                "{}",
                failure.message
            ),
            other => panic!("{other:?}"),
        }
        assert_eq!(word(&state, "after"), "doomed");
        assert_eq!(word(&state, "beside"), "done");
        assert_eq!(world.thing("tell").told, 1);
        let (ending, _) = resume(&disk, &world, Vec::new(), &[]).await;
        assert_eq!(ending, ended(RunResult::Met));
    }
}

#[tokio::test]
async fn a_step_that_is_to_come_back_after_its_time_fails_at_once_and_the_others_go_on() {
    for wait in [Duration::from_secs(3600), Duration::MAX] {
        let scene = Scene::new(vec![
            step("slow", "server.power", &[]),
            step("beside", "host.put", &[]),
        ]);
        scene.world.cue("slow", "look", [Cue::TurnAway(wait)]);
        let (ending, state, _, _) = scene.play().await;
        assert_eq!(ending, ended(RunResult::Failed));
        match &state.step(&id("slow")).unwrap().status {
            Status::Failed(failure) => assert_eq!(failure.reason, Reason::RateLimited),
            other => panic!("{other:?}"),
        }
        assert_eq!(word(&state, "beside"), "done");
    }
}

#[tokio::test]
async fn a_panic_of_a_check_before_the_start_refuses_its_step_and_asks_the_others() {
    let steps = vec![
        step("bug", "host.put", &[]),
        step("passing", "host.put", &[]),
        step("fine", "host.put", &[]),
    ];
    let scene = Scene::new(steps.clone());
    scene.world.cue("bug", "precheck", [Cue::Panic]);
    let passing = [Cue::Fail(dr_plan::kind::Reason::RateLimited)];
    scene.world.cue("passing", "precheck", passing);
    let work: Arc<dyn Work> = Arc::new(Doubles::new(&steps, Line::Direct(scene.world.clone())));
    let (run, _, disk) = scene.begin();
    let came = dr_plan::engine::precheck(&work, &run.ledger, &services(), run.desk.clone()).await;
    let came = came.unwrap();
    let refused: Vec<_> = came
        .refused
        .iter()
        .map(|(id, why)| (id.as_str(), why))
        .collect();
    assert_eq!(refused.len(), 1);
    let (step, why) = refused[0];
    assert_eq!(step, "bug");
    assert!(why.message.contains("fault of dr-plan"), "{why}");
    // What nobody could ask is not verified, and not a refusal.
    let [(step, finding)] = came.findings.as_slice() else {
        panic!("{:?}", came.findings)
    };
    assert_eq!(step.as_str(), "passing");
    assert!(finding.warning && finding.surety == dr_plan::kind::Surety::CannotBeChecked);
    let events = disk.0.seen.lock().unwrap().events.clone();
    let told = |event: &dr_plan::event::Event| matches!(event.what, What::Refused { .. });
    assert!(events.iter().any(told), "it is in the journal");
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_lets_no_effect_happen_any_more() {
    // The disk is full at each record in turn; what had its intent on disk before may have happened.
    for full_at in 2..20 {
        let scene = Scene::new(region_failover());
        let full = FullAt {
            inner: scene.disk.clone(),
            at: full_at,
        };
        let ledger = Ledger::begin(
            parts(Box::new(full), Vec::new()),
            header(&scene.steps, None),
        )
        .unwrap();
        let world = scene.world.clone();
        let run = Run::new(ledger, Arc::new(scene.work), &["go"], 4);
        let (came, _) = run.go().await;
        assert!(came.is_err(), "{full_at}: {came:?}");
        let events = scene.disk.0.seen.lock().unwrap().events.clone();
        assert!(events.len() < full_at as usize);
        let intents: BTreeSet<String> = events
            .iter()
            .filter_map(|event| match &event.what {
                What::Intent { step, .. } => Some(step.to_string()),
                _ => None,
            })
            .collect();
        for (step, verb) in world.heard() {
            assert!(
                verb == "look" || intents.contains(&step),
                "{full_at}: `{step}` did {verb}"
            );
        }
    }
}

/// A journal that takes no record with this number or a higher one.
struct FullAt {
    inner: crate::memory::disks::Disk,
    at: u64,
}

impl dr_plan::journal::Journal for FullAt {
    fn append(
        &mut self,
        events: &[dr_plan::event::Event],
    ) -> Result<(), dr_plan::journal::JournalError> {
        if events.iter().any(|event| event.seq >= self.at) {
            self.inner.0.seen.lock().unwrap().fail_append = true;
        }
        self.inner.append(events)
    }

    fn sync(&mut self) -> Result<(), dr_plan::journal::JournalError> {
        self.inner.sync()
    }

    fn head(&self) -> dr_plan::journal::Head {
        self.inner.head()
    }
}

#[tokio::test]
async fn what_is_foreign_or_unclear_stops_the_run_for_a_person_with_the_way_on() {
    for cue in [Cue::Foreign, Cue::CannotTell] {
        let scene = Scene::new(vec![
            step("db", "server.create", &[]),
            step("restore", "dataset.restore", &["db"]),
            step("beside", "host.put", &[]),
            finally(step("tell", "notify", &[])),
        ]);
        scene.world.cue("db", "look", [cue.clone()]);
        let (ending, state, world, disk) = scene.play().await;
        assert_eq!(ending, Ending::Stopped);
        assert_eq!(word(&state, "db"), "blocked");
        assert_eq!(word(&state, "restore"), "waiting");
        assert_eq!(word(&state, "beside"), "done");
        assert_eq!(word(&state, "tell"), "waiting", "finally waits for the end");
        let (why, hint) = state.stopped.clone().unwrap();
        assert!(why.contains("`db`"), "{why}");
        let hint = hint.unwrap();
        assert!(
            hint.contains("dr-plan resume") && hint.contains("dr-plan mark"),
            "{hint}"
        );
        // A resume that finds it settled goes on.
        let (ending, _) = resume(&disk, &world, Vec::new(), &[]).await;
        assert_eq!(ending, ended(RunResult::Met));
        assert_eq!(world.thing("db").born, 1);
    }
}

#[tokio::test]
async fn a_blocked_step_that_a_person_skips_lets_its_dependants_go_on_with_an_exception() {
    let scene = Scene::new(vec![
        step("db", "host.put", &[]),
        step("after", "host.put", &["db"]),
    ]);
    scene.world.cue("db", "look", [Cue::Foreign]);
    let (ending, _, world, disk) = scene.play().await;
    assert_eq!(ending, Ending::Stopped);
    let (ending, state) = resume(&disk, &world, vec![mark("db", Mark::Skip)], &[]).await;
    assert_eq!(ending, ended(RunResult::MetWithExceptions));
    assert_eq!(word(&state, "db"), "skipped");
    assert_eq!(word(&state, "after"), "done");
    assert_eq!(world.thing("db").made, 0);
}

#[tokio::test]
async fn a_blocked_step_that_a_person_calls_done_is_verified_and_not_applied() {
    let scene = Scene::new(vec![
        step("db", "host.put", &[]),
        step("after", "host.put", &["db"]),
    ]);
    scene.world.cue("db", "look", [Cue::Foreign]);
    let (_, _, world, disk) = scene.play().await;
    world.put(
        "db",
        Thing {
            stage: Stage::Done,
            ..Thing::default()
        },
    );
    let (ending, state) = resume(&disk, &world, vec![mark("db", Mark::Done)], &[]).await;
    assert_eq!(ending, ended(RunResult::Met));
    assert_eq!(world.thing("db").made, 0, "nothing was applied");
    let evidence = &state.step(&id("db")).unwrap().evidence;
    assert!(
        evidence.iter().any(|seen| seen.what.contains("ada marked")),
        "{evidence:?}"
    );
}

#[tokio::test]
async fn a_mark_that_the_world_contradicts_does_not_make_a_step_done() {
    let scene = Scene::new(vec![step("db", "host.put", &[])]);
    scene.world.cue("db", "look", [Cue::Foreign]);
    let (_, state, world, disk) = scene.play().await;
    // The marked step would be looked at until its time is up: here it has little.
    let mut work = Doubles::new(&state.header.steps, Line::Direct(world.clone()));
    let rules = dr_plan::program::Policy {
        timeout: Duration::from_millis(100),
        ..policy(Effect::Write)
    };
    work.policies.insert("db".into(), rules);
    let events = disk.0.seen.lock().unwrap().events.clone();
    let state = RunState::replay(&events).unwrap();
    let ledger = Ledger::go_on(parts(Box::new(disk), Vec::new()), state).unwrap();
    ledger.record(mark("db", Mark::Done)).await.unwrap();
    let (came, state) = Run::new(ledger, Arc::new(work), &[], 4).go().await;
    assert_eq!(came.unwrap(), ended(RunResult::Failed));
    assert_eq!(word(&state, "db"), "failed");
    assert_eq!(world.thing("db").made, 0);
}

#[tokio::test]
async fn every_action_applied_twice_leaves_the_same_world() {
    let mut scene = Scene::new(region_failover());
    let steps = scene.steps.clone();
    let (ending, _, once, _) = Scene::new(region_failover()).play().await;
    assert_eq!(ending, ended(RunResult::Met));
    scene.work.twice = true;
    let (ending, _, twice, _) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Met));
    for step in steps.iter().filter(|step| step.effect != Effect::Tell) {
        let (once, twice) = (once.thing(step.id.as_str()), twice.thing(step.id.as_str()));
        assert_eq!(
            (once.stage, &once.data, once.born),
            (twice.stage, &twice.data, twice.born),
            "{}",
            step.id
        );
    }
}

#[tokio::test]
async fn a_step_that_is_done_before_anything_was_begun_is_reported_as_already_done() {
    let scene = Scene::new(vec![step("put", "host.put", &[])]);
    scene.world.put(
        "put",
        Thing {
            stage: Stage::Done,
            ..Thing::default()
        },
    );
    let (ending, state, world, disk) = scene.play().await;
    assert_eq!(ending, ended(RunResult::Met));
    assert!(state.step(&id("put")).unwrap().already);
    assert_eq!(world.thing("put").made, 0);
    let events = disk.0.seen.lock().unwrap().events.clone();
    assert!(
        !events
            .iter()
            .any(|event| matches!(event.what, What::Intent { .. }))
    );
}

/// The numbering of jobs on hosts: what still runs keeps its attempt, all else begins the next one.
#[tokio::test]
async fn a_resumed_job_that_still_runs_keeps_its_attempt_and_any_other_begins_the_next() {
    let running = Thing {
        stage: Stage::Running,
        job: Some(1),
        born: 1,
        ..Thing::default()
    };
    let half = Thing {
        stage: Stage::Half,
        ..Thing::default()
    };
    for (left, attempt, already) in [
        (running, 1, false),
        (half, 2, false),
        (Thing::default(), 2, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let steps = vec![step("restore", "dataset.restore", &[])];
        let journal = dr_plan::journal::FileJournal::create(&path, &run_id()).unwrap();
        let ledger =
            Ledger::begin(parts(Box::new(journal), Vec::new()), header(&steps, None)).unwrap();
        let begun = What::Intent {
            step: id("restore"),
            attempt: 1,
            on: String::new(),
        };
        ledger.record(begun).await.unwrap();
        ledger.close().unwrap();
        drop(ledger);
        let world = Arc::new(World::default());
        world.put("restore", left.clone());
        let (ending, state) = resume_from(folder.path(), Line::Direct(world.clone())).await;
        assert_eq!(ending, ended(RunResult::Met), "{left:?}");
        let step = state.step(&id("restore")).unwrap();
        assert_eq!((step.attempt, step.already), (attempt, already), "{left:?}");
        assert_eq!(world.thing("restore").job, Some(attempt), "{left:?}");
        assert_eq!(world.thing("restore").born, 1, "{left:?}");
        assert!(read_all(&path).is_ok());
    }
}
