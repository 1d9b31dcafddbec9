//! The process that is killed: this test binary, started again with one test and an order in its
//! environment. It runs the region failover with doubles on a real journal in a folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dr_plan::engine::{Ending, UndoEnding};
use dr_plan::event::{BoundStep, Event, RunResult, What};
use dr_plan::journal::{FileJournal, Head, Journal, JournalError, Ledger, read_all};
use dr_plan::state::{Reporter, RunState};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use super::doubles::Doubles;
use super::harness::{self, Run, Scene, header, health_rule, parts, resumed, run_id};
use super::shape::real_region_failover;
use super::world::Line;

const ORDER: &str = "DR_PLAN_TEST_ORDER";

/// What a child is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Holds the journal.
    pub folder: PathBuf,
    /// Where the world answers.
    pub socket: PathBuf,
    /// The record at which it dies, and how.
    pub death: Option<(u64, Death)>,
    /// The journal is there already.
    pub resume: bool,
    /// The run has ended: it is taken back.
    pub undo: bool,
    /// What a new run consists of, so that not every child reads the plan again.
    pub steps: Vec<BoundStep>,
}

/// In what moment of a record's way the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// On disk and folded; whoever waits for it has not been told.
    Kept,
    /// Written, not synced.
    Written,
    /// Half of it is written.
    Torn,
    /// The machine lost its power: nothing is there that was not synced before.
    PowerLost,
}

pub const DEATHS: [Death; 4] = [Death::Kept, Death::Written, Death::Torn, Death::PowerLost];

impl Order {
    pub fn new(folder: &Path, socket: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            socket: socket.to_path_buf(),
            death: None,
            resume: false,
            undo: false,
            steps: real_region_failover(),
        }
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.join("journal.jsonl")
    }

    /// The command that starts the child.
    pub fn command(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "engine::child::a_failover_of_doubles_is_met"])
            .arg("--nocapture")
            .env(ORDER, serde_json::to_string(self).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn about(&self) -> String {
        let (death, resume, undo) = (self.death, self.resume, self.undo);
        format!("death {death:?}, resume {resume}, undo {undo}")
    }

    /// Runs the child to its end, which must come within a minute.
    pub fn carry_out(&self) -> ExitStatus {
        let mut child = self.command().spawn().unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                if std::os::unix::process::ExitStatusExt::signal(&status).is_none() {
                    assert!(status.success(), "{}: {}", self.about(), said(child));
                }
                return status;
            }
            if Instant::now() > limit {
                child.kill().unwrap();
                panic!("{} hangs: {}", self.about(), said(child));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    out + &err
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    unreachable!("nobody survives that");
}

/// A journal in whose middle the process dies.
struct Deadly {
    inner: FileJournal,
    path: PathBuf,
    at: u64,
    how: Death,
    synced: u64,
}

impl Journal for Deadly {
    fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let here = events.iter().position(|event| event.seq == self.at);
        let Some(here) = here.filter(|_| self.how != Death::Kept) else {
            return self.inner.append(events);
        };
        let length = || std::fs::metadata(&self.path).unwrap().len();
        let file = || {
            std::fs::OpenOptions::new()
                .write(true)
                .open(&self.path)
                .unwrap()
        };
        match self.how {
            Death::Written => self.inner.append(&events[..=here]).unwrap(),
            Death::Torn => {
                self.inner.append(&events[..here]).unwrap();
                let before = length();
                self.inner.append(&events[here..=here]).unwrap();
                file().set_len((before + length()) / 2).unwrap();
            }
            Death::PowerLost | Death::Kept => file().set_len(self.synced).unwrap(),
        }
        die();
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.inner.sync()?;
        self.synced = std::fs::metadata(&self.path).unwrap().len();
        Ok(())
    }

    fn head(&self) -> Head {
        self.inner.head()
    }
}

struct DeadlyReporter(u64);

impl Reporter for DeadlyReporter {
    fn show(&mut self, event: &Event, _state: &RunState) {
        if event.seq == self.0 {
            die();
        }
    }
}

fn carry_out(order: Order) {
    let path = order.journal();
    let (file, reading) = match order.resume || order.undo {
        true => {
            let (file, reading) = FileJournal::open(&path, &run_id()).unwrap();
            (file, Some(reading))
        }
        false => (FileJournal::create(&path, &run_id()).unwrap(), None),
    };
    let mut reporters: Vec<Box<dyn Reporter>> = Vec::new();
    let journal: Box<dyn Journal> = match order.death {
        Some((at, how)) => {
            if how == Death::Kept {
                reporters.push(Box::new(DeadlyReporter(at)));
            }
            let synced = std::fs::metadata(&path).unwrap().len();
            Box::new(Deadly {
                inner: file,
                path,
                at,
                how,
                synced,
            })
        }
        None => Box::new(file),
    };
    let parts = parts(journal, reporters);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ledger = match reading {
            Some(reading) if order.undo => {
                let state = RunState::replay(&reading.events).unwrap();
                let ledger = Ledger::go_on(parts, state).unwrap();
                let (ending, _) =
                    super::undone::take_back(&ledger, Line::Socket(order.socket)).await;
                assert!(matches!(ending, UndoEnding::Ended { .. }), "{ending:?}");
                return ledger.close().unwrap();
            }
            Some(reading) => {
                let state = RunState::replay(&reading.events).unwrap();
                let ledger = Ledger::go_on(parts, state).unwrap();
                ledger.record(resumed()).await.unwrap();
                ledger
            }
            None => Ledger::begin(parts, header(&order.steps, Some(health_rule()))).unwrap(),
        };
        let steps = ledger.state(|state| state.header.steps.clone());
        let work = Arc::new(Doubles::new(&steps, Line::Socket(order.socket)));
        let (came, state) = Run::new(ledger.clone(), work, &["go"], 4).go().await;
        assert_eq!(came.unwrap(), Ending::Ended(RunResult::Met), "{state:#?}");
        ledger.close().unwrap();
    });
}

/// By itself it is an ordinary run in this process; with an order it is the child of another test.
#[test]
fn a_failover_of_doubles_is_met() {
    if let Ok(order) = std::env::var(ORDER) {
        return carry_out(serde_json::from_str(&order).unwrap());
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut scene = Scene::new(real_region_failover());
    scene.health = Some(health_rule());
    let steps = scene.steps.clone();
    let (ending, state, world, _) = runtime.block_on(scene.play());
    assert_eq!(ending, harness::ended(RunResult::Met), "{:?}", state.result);
    assert_world_is_whole(&steps, &world.things());
    let told = steps.iter().filter(|step| step.kind == "notify");
    for step in told {
        let said = world.thing(step.id.as_str()).data;
        assert!(said.contains(": MET\n"), "{said}");
    }
}

/// One server for each role, everything done exactly once, messages at least once.
pub fn assert_world_is_whole(
    steps: &[BoundStep],
    things: &std::collections::BTreeMap<String, super::world::Thing>,
) {
    use dr_plan::kind::Effect;
    for step in steps {
        let thing = things.get(step.id.as_str()).cloned().unwrap_or_default();
        match (step.kind.as_str(), step.effect) {
            ("server.create" | "dataset.restore", _) => {
                assert_eq!((thing.born, thing.made), (1, 1), "`{}`: {thing:?}", step.id);
            }
            (_, Effect::Tell) => assert!(thing.told >= 1, "`{}`: {thing:?}", step.id),
            (_, Effect::Read) => {}
            _ => assert_eq!(thing.made, 1, "`{}`: {thing:?}", step.id),
        }
    }
}

/// What a journal says of a run, checked against the world that it was about.
pub fn assert_journal_agrees(path: &Path, world: &super::world::World) {
    let events = read_all(path).unwrap().events;
    for event in &events {
        if let What::Note { step, key, value } = &event.what
            && key == "old"
        {
            // The value before the change, also when the change was begun before a crash.
            assert_eq!(value, "", "`{step}` noted its own change as the old value");
        }
    }
    let state = RunState::replay(&events).unwrap();
    for step in &state.steps {
        if let Some(attempt) = world.thing(step.bound.id.as_str()).job {
            let last = events.iter().rev().find_map(|event| match &event.what {
                What::Intent {
                    step: of, attempt, ..
                } if *of == step.bound.id => Some(*attempt),
                _ => None,
            });
            assert_eq!(
                last,
                Some(attempt),
                "`{}` took another attempt's job up",
                step.bound.id
            );
        }
    }
}
