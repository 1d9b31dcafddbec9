//! The one door: what stands on disk before anybody goes on, what happens when the disk says no, and
//! who may be lost on the way (a reporter) and who not (a record).

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dr_plan::clock::FixedClock;
use dr_plan::event::{Ask, AskKind, BoundStep, Event, What};
use dr_plan::journal::{
    Estates, FileEstates, Journal, JournalError, Ledger, Owner, Parts, RunFolder,
};
use dr_plan::kind::{Effect, Failure, Output, Reason, Resource};
use dr_plan::report::{Detail, Lines, Style};
use dr_plan::secret::{Mask, Secret};
use dr_plan::state::{Reporter, RunState, Status};
use futures::FutureExt;
use futures::future::join_all;

use super::disks::{Disk, Seen, SmallDisk};
use super::journal::folder;
use super::night::{self, at, id};
use super::reports::Paper;

fn parts(journal: impl Journal + 'static) -> Parts {
    Parts {
        journal: Box::new(journal),
        reporters: Vec::new(),
        mask: Mask::default(),
        clock: Arc::new(FixedClock::at(at(0))),
        estate: None,
    }
}

fn many(count: usize) -> Vec<BoundStep> {
    (0..count)
        .map(|n| night::step(&format!("s{n}"), "nothing", Effect::Write, &[]))
        .collect()
}

fn begin(disk: &Disk, steps: usize) -> Ledger {
    Ledger::begin(parts(disk.clone()), night::header(many(steps))).unwrap()
}

fn log(line: &str) -> What {
    What::Log {
        step: id("s0"),
        line: line.into(),
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_or_visible_before_it_is_on_disk() {
    let disk = Disk::gated();
    let ledger = begin(&disk, 2);
    let mut changes = ledger.subscribe();
    let mut record = Box::pin(ledger.record(night::intent("s0")));
    assert!(record.as_mut().now_or_never().is_none());
    disk.stands_in_sync();
    // It is written, and nobody may know yet.
    assert_eq!(disk.0.seen.lock().unwrap().events.len(), 2);
    assert!(record.as_mut().now_or_never().is_none());
    assert_eq!(ledger.state(|s| s.seq), 1);
    assert!(!changes.has_changed().unwrap());
    disk.let_pass(9);
    assert_eq!(record.await.unwrap(), 2);
    assert_eq!(
        ledger.state(|s| s.step(&id("s0")).unwrap().status.clone()),
        Status::Running
    );
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), 2);
}

#[tokio::test]
async fn what_waits_while_the_disk_is_busy_costs_one_sync_together() {
    let disk = Disk::gated();
    let ledger = begin(&disk, 100);
    let first = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.record(night::intent("s0")).await.unwrap() }
    });
    tokio::task::yield_now().await;
    disk.stands_in_sync();
    let names: Vec<String> = (1..100).map(|n| format!("s{n}")).collect();
    let mut rest: Vec<_> = names
        .iter()
        .map(|name| Box::pin(ledger.record(night::intent(name))))
        .collect();
    assert!(
        rest.iter_mut()
            .all(|record| record.now_or_never().is_none())
    );
    disk.let_pass(9);
    let numbers: Vec<u64> = join_all(rest)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(numbers, (3..=101).collect::<Vec<u64>>());
    first.await.unwrap();
    // The header, the first, and all the others.
    assert_eq!(disk.0.seen.lock().unwrap().batches, [1, 1, 99]);
    assert_eq!(ledger.syncs(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn from_many_tasks_each_record_is_synced_before_its_task_goes_on() {
    let disk = Disk::default();
    let ledger = begin(&disk, 64);
    let tasks = (0..64).map(|task| {
        let (ledger, disk) = (ledger.clone(), disk.clone());
        tokio::spawn(async move {
            for turn in 0..50 {
                ledger.note_it(log(&format!("{task}: before {turn}")));
                let seq = ledger
                    .record(What::Note {
                        step: id(&format!("s{task}")),
                        key: "turn".into(),
                        value: turn.into(),
                    })
                    .await
                    .unwrap();
                assert!(disk.0.synced.load(Ordering::SeqCst) >= seq);
                assert!(ledger.state(|s| s.seq) >= seq);
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    ledger.close().unwrap();
    let seen = disk.0.seen.lock().unwrap();
    assert_eq!(seen.events.len(), 1 + 64 * 50 * 2);
    assert!(
        seen.events
            .iter()
            .zip(1..)
            .all(|(event, seq)| event.seq == seq)
    );
    // A task's log line stands before the record that it made after it.
    for task in 0..64 {
        let mine: Vec<&What> = seen
            .events
            .iter()
            .map(|e| &e.what)
            .filter(|what| match what {
                What::Log { line, .. } => line.starts_with(&format!("{task}: ")),
                What::Note { step, .. } => *step == id(&format!("s{task}")),
                _ => false,
            })
            .collect();
        assert!(
            mine.chunks(2)
                .all(|two| matches!(two, [What::Log { .. }, What::Note { .. }]))
        );
    }
}

#[tokio::test]
async fn a_disk_that_says_no_ends_everything_and_folds_nothing() {
    for sync in [false, true] {
        let disk = Disk::default();
        let ledger = begin(&disk, 3);
        let mut changes = ledger.subscribe();
        {
            let mut seen = disk.0.seen.lock().unwrap();
            seen.fail_append = !sync;
            seen.fail_sync = sync;
        }
        let both = join_all(["s0", "s1"].map(|name| ledger.record(night::intent(name)))).await;
        for record in both {
            assert!(matches!(record, Err(JournalError::Io { .. })), "{record:?}");
        }
        // The disk has room again, but who was told no stays told.
        *disk.0.seen.lock().unwrap() = Seen::default();
        assert!(ledger.record(night::intent("s2")).await.is_err());
        assert!(ledger.dead().is_some());
        assert!(
            changes.has_changed().unwrap(),
            "whoever waits must wake up and see"
        );
        changes.mark_unchanged();
        assert_eq!(ledger.state(|s| s.seq), 1);
        assert!(ledger.close().is_err());
        assert!(disk.0.seen.lock().unwrap().events.is_empty());
    }
}

#[tokio::test]
async fn an_impossible_event_is_refused_before_it_is_kept() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let ledger = Ledger::begin(
        parts(folder.create_journal().unwrap()),
        night::header(many(2)),
    )
    .unwrap();
    // Both wait in the same batch: the second is judged by the first, which is not folded yet.
    let (done, again, other) = tokio::join!(
        ledger.record(night::done("s0", &[])),
        ledger.record(night::done("s0", &[])),
        ledger.record(night::intent("s1")),
    );
    assert_eq!(done.unwrap(), 2);
    assert!(matches!(again, Err(JournalError::Impossible(_))));
    assert_eq!(other.unwrap(), 3);
    assert!(matches!(
        ledger.record(night::intent("unknown")).await,
        Err(JournalError::Impossible(_))
    ));
    ledger.close().unwrap();
    assert_eq!(
        RunState::replay(&folder.read().unwrap().events)
            .unwrap()
            .seq,
        3
    );
}

#[tokio::test]
async fn a_reporter_that_panics_is_let_go_and_the_run_goes_on() {
    struct Panics;
    impl Reporter for Panics {
        fn show(&mut self, event: &Event, _: &RunState) {
            // Without the hook's noise: the payload is all there is.
            if event.seq > 1 {
                std::panic::resume_unwind(Box::new("closed"));
            }
        }
    }
    let paper = Paper::default();
    let disk = Disk::default();
    let style = Style {
        detail: Detail::Normal,
        color: false,
    };
    let mut parts = parts(disk);
    parts.reporters = vec![
        Box::new(Panics),
        Box::new(Lines::new(Box::new(paper.clone()), style)),
    ];
    let ledger = Ledger::begin(parts, night::header(many(1))).unwrap();
    ledger.record(night::intent("s0")).await.unwrap();
    ledger.record(night::done("s0", &[])).await.unwrap();
    ledger.close().unwrap();
    assert!(paper.text().contains("done"), "{}", paper.text());
}

#[tokio::test]
async fn a_replay_shows_what_was_shown_live() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let paper = Paper::default();
    let style = Style {
        detail: Detail::Verbose,
        color: true,
    };
    let mut parts = parts(folder.create_journal().unwrap());
    parts.reporters = vec![Box::new(Lines::new(Box::new(paper.clone()), style))];
    let clock = Arc::new(FixedClock::at(at(0)));
    parts.clock = clock.clone();
    let events = night::with_a_yes().events;
    let What::Header(header) = &events[0].what else {
        unreachable!()
    };
    let ledger = Ledger::begin(parts, (**header).clone()).unwrap();
    for event in &events[1..] {
        clock.advance(
            event
                .at
                .duration_since(clock_now(&clock))
                .try_into()
                .unwrap(),
        );
        ledger.record(event.what.clone()).await.unwrap();
    }
    let live = ledger.state(RunState::clone);
    ledger.close().unwrap();
    let read = folder.read().unwrap().events;
    assert_eq!(read, events);
    assert_eq!(RunState::replay(&read).unwrap(), live);
    let again = Paper::default();
    let mut lines = Lines::new(Box::new(again.clone()), style);
    let mut sum = RunState::begin(&read[0]).unwrap();
    lines.show(&read[0], &sum);
    for event in &read[1..] {
        sum.fold(event).unwrap();
        lines.show(event, &sum);
    }
    assert_eq!(again.text(), paper.text());
}

fn clock_now(clock: &FixedClock) -> dr_plan::clock::Timestamp {
    use dr_plan::clock::Clock;
    clock.now()
}

#[tokio::test]
async fn no_secret_reaches_the_file_or_the_terminal() {
    let canary = "canary \"quoted\" 0123456789";
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let paper = Paper::default();
    let mut parts = parts(folder.create_journal().unwrap());
    parts.mask.learn(&Secret::new(canary.into()));
    let style = Style {
        detail: Detail::Verbose,
        color: false,
    };
    parts.reporters = vec![Box::new(Lines::new(Box::new(paper.clone()), style))];
    let ledger = Ledger::begin(parts, night::header(many(2))).unwrap();
    let quoted = format!("psql: connection with {canary} refused");
    ledger.note_it(log(&quoted));
    ledger
        .record(What::Failed {
            step: id("s0"),
            failure: Failure::new(Reason::Denied, &quoted).hint(&quoted),
        })
        .await
        .unwrap();
    ledger.close().unwrap();
    let file = fs::read_to_string(folder.journal_path()).unwrap();
    for text in [&file, &paper.text()] {
        assert!(!text.contains("0123456789"), "{text}");
        assert!(text.contains("[secret]"), "{text}");
    }
    assert_eq!(file.matches("[secret]").count(), 3);
}

#[tokio::test]
async fn a_password_that_is_a_word_of_the_format_changes_nothing_that_happened() {
    let disk = Disk::default();
    let parts = parts(disk.clone());
    for word in ["failed", "denied", "header", "reason"] {
        parts.mask.learn(&Secret::new(word.into()));
    }
    let ledger = Ledger::begin(parts, night::header(many(1))).unwrap();
    ledger
        .record(night::failed("s0", Reason::Denied, "it failed"))
        .await
        .unwrap();
    let status = ledger.state(|s| s.step(&id("s0")).unwrap().status.clone());
    assert_eq!(
        status,
        Status::Failed(Failure::new(Reason::Denied, "it [secret]"))
    );
}

#[tokio::test]
async fn what_the_program_reads_back_is_kept_as_it_is_although_a_password_is_a_word_of_it() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let parts = parts(folder.create_journal().unwrap());
    for word in ["shop.example", "production", "198.18.1.2", "postgres"] {
        parts.mask.learn(&Secret::new(word.into()));
    }
    let mut header = night::header(many(2));
    header.estate = "shop-production".into();
    header.steps[0].title = "database postgres".into();
    header.inputs.insert("host".into(), "shop.example".into());
    let ledger = Ledger::begin(parts, header.clone()).unwrap();
    let mut output = Output::new();
    output.insert("name".into(), "shop.example".into());
    let exact = [
        night::intent("s0"),
        What::Note {
            step: id("s0"),
            key: "old shop.example A".into(),
            value: serde_json::json!({"values": ["198.18.1.2"]}),
        },
        What::Made {
            step: id("s0"),
            resource: Resource {
                kind: "server".into(),
                account: "production".into(),
                id: "198.18.1.2".into(),
                name: "dr-shop-production".into(),
            },
        },
        What::Asked {
            step: id("s0"),
            ask: Ask {
                name: "older-postgres".into(),
                kind: AskKind::Approval,
                question: "go?".into(),
                details: Vec::new(),
                timeout: None,
                by: Vec::new(),
            },
        },
        What::Done {
            step: id("s0"),
            already: false,
            output,
            evidence: Vec::new(),
            open: Vec::new(),
        },
    ];
    for what in exact.clone() {
        ledger.record(what).await.unwrap();
    }
    // While what somebody said is cleaned.
    ledger.note_it(log("connecting to shop.example as postgres"));
    ledger.close().unwrap();
    let mut kept: Vec<What> = folder
        .read()
        .unwrap()
        .events
        .into_iter()
        .map(|event| event.what)
        .collect();
    assert_eq!(kept.pop(), Some(log("connecting to [secret] as [secret]")));
    assert_eq!(kept.remove(0), What::Header(Box::new(header)));
    assert_eq!(kept, exact);
}

#[tokio::test]
async fn a_flood_of_log_lines_is_counted_where_it_cannot_be_kept() {
    let disk = Disk::gated();
    let ledger = begin(&disk, 2);
    let mut record = Box::pin(ledger.record(night::intent("s0")));
    assert!(record.as_mut().now_or_never().is_none());
    disk.stands_in_sync();
    for n in 0..30_000 {
        ledger.note_it(log(&format!("line {n}")));
    }
    // What matters finds a place in any flood.
    let mut other = Box::pin(ledger.record(night::intent("s1")));
    assert!(other.as_mut().now_or_never().is_none());
    disk.let_pass(9);
    record.await.unwrap();
    other.await.unwrap();
    ledger.close().unwrap();
    let seen = disk.0.seen.lock().unwrap();
    let lines: Vec<&str> = seen
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Log { line, .. } => Some(line.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(lines.len(), 10_001);
    assert!(
        lines[10_000].starts_with("(20000 lines"),
        "{}",
        lines[10_000]
    );
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_soon_all_the_same() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let ledger = Ledger::begin(
        parts(folder.create_journal().unwrap()),
        night::header(many(1)),
    )
    .unwrap();
    let mut changes = ledger.subscribe();
    ledger.note_it(log("a line"));
    tokio::time::timeout(Duration::from_secs(20), changes.changed())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(folder.read().unwrap().events.len(), 2);
    // Without a sync: only the header had one.
    assert_eq!(ledger.syncs(), 1);
}

#[tokio::test]
async fn a_run_that_was_pushed_aside_records_nothing_more() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let estates = FileEstates::new(state.path());
    let owner = Owner::this_process(night::run(), "ada@bastion", at(0));
    let mut parts = parts(folder.create_journal().unwrap());
    parts.estate = Some(estates.take("shop", &owner).unwrap());
    let ledger = Ledger::begin(parts, night::header(many(2))).unwrap();
    ledger.record(night::intent("s0")).await.unwrap();
    let other = Owner::this_process(dr_plan::ids::RunId::generate(), "grace@laptop", at(5));
    let held = estates
        .take_over("shop", &other, night::run().as_str())
        .unwrap();
    let error = ledger.record(night::intent("s1")).await.unwrap_err();
    assert!(matches!(error, JournalError::TakenOver(_)), "{error:?}");
    assert_eq!(folder.read().unwrap().events.len(), 2);
    drop(ledger);
    held.check().unwrap();
    assert_eq!(estates.owner("shop").unwrap(), Some(other));
}

/// Not a scenario of its own: the next test traces it.
#[tokio::test]
async fn three_records_each_followed_by_an_effect() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let ledger = Ledger::begin(
        parts(folder.create_journal().unwrap()),
        night::header(many(3)),
    )
    .unwrap();
    for name in ["s0", "s1", "s2"] {
        ledger.record(night::intent(name)).await.unwrap();
        fs::write(state.path().join(format!("effect-{name}")), "").unwrap();
    }
    ledger.close().unwrap();
}

#[test]
fn the_kernel_is_asked_to_sync_each_record_before_its_effect() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=write,fdatasync,openat", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "memory::ledger::three_records_each_followed_by_an_effect",
        ])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let text = fs::read_to_string(&trace).unwrap();
    let mut unsynced = false;
    let mut effects = 0;
    for line in text.lines() {
        let journal = line.contains("/journal.jsonl>");
        if journal && line.contains(" write(") {
            unsynced = true;
        }
        // An interrupted call ends on a line of its own, without the file's name.
        let synced = journal && line.contains("fdatasync(") && line.ends_with("= 0")
            || line.contains("<... fdatasync resumed>") && line.ends_with("= 0");
        if synced {
            unsynced = false;
        }
        if line.contains("/effect-s") {
            assert!(!unsynced, "an effect before its record was synced:\n{text}");
            effects += 1;
        }
    }
    assert_eq!(effects, 3);
    assert!(text.matches("fdatasync(").count() >= 4, "{text}");
}

#[tokio::test]
async fn a_full_disk_stops_the_run_and_leaves_a_journal_that_can_be_resumed() {
    let disk = SmallDisk::mount();
    let (folder, _) = RunFolder::create(&disk.path(), &night::run(), Vec::new()).unwrap();
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, [0; 8192]).unwrap();
    let ledger = Ledger::begin(
        parts(folder.create_journal().unwrap()),
        night::header(many(1)),
    )
    .unwrap();
    let note = |value: u64| What::Note {
        step: id("s0"),
        key: "filler".into(),
        value: serde_json::json!([value, "x".repeat(900)]),
    };
    let mut acknowledged = 1;
    let error = loop {
        match ledger.record(note(acknowledged)).await {
            Ok(seq) => acknowledged = seq,
            Err(error) => break error,
        }
        assert!(acknowledged < 200, "64 KiB hold less than that");
    };
    let JournalError::Io { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(ledger.state(|s| s.seq), acknowledged);
    assert!(ledger.record(note(0)).await.is_err());
    drop(ledger);

    // Nothing half is left, and with room again the run goes on.
    let reading = folder.read().unwrap();
    assert_eq!(reading.events.len() as u64, acknowledged);
    assert!(reading.torn.is_empty());
    fs::remove_file(&ballast).unwrap();
    let (journal, reading) = folder.open_journal().unwrap();
    let ledger = Ledger::go_on(parts(journal), RunState::replay(&reading.events).unwrap()).unwrap();
    let resumed = What::Resumed {
        by: "ada".into(),
        version: "0.1.0".into(),
    };
    assert_eq!(ledger.record(resumed).await.unwrap(), acknowledged + 1);
    ledger.close().unwrap();
    assert_eq!(
        RunState::replay(&folder.read().unwrap().events)
            .unwrap()
            .resumes,
        1
    );
}
