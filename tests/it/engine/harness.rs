//! Puts an engine together for the tests: services that reach nothing, a journal, a desk, and the ways
//! in which a run is begun and gone on with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dr_plan::action::{HostFacts, Hosts, Reach, Secrets, Services};
use dr_plan::clock::{Clock, SystemClock};
use dr_plan::engine::{Desk, Ending, Engine, Stop, StopHandle};
use dr_plan::event::{BoundStep, Header, HealthRule, Objectives, RunResult, What};
use dr_plan::ids::RunId;
use dr_plan::journal::{FileJournal, Journal, JournalError, Ledger, Parts};
use dr_plan::kind::{Failure, Mode, Output, Reason};
use dr_plan::program::Work;
use dr_plan::secret::{Mask, Secret, SecretRef};
use dr_plan::state::{Reporter, RunState};
use dr_plan::transport::Transport;

use super::doubles::Doubles;
use super::shape::id;
use super::world::{Line, World};
use crate::memory::disks::Disk;

struct Nowhere;

impl Reach for Nowhere {
    fn transport(&self, _facts: &HostFacts) -> Result<Arc<dyn Transport>, Failure> {
        Err(Failure::new(Reason::NotFound, "doubles have no hosts"))
    }
}

#[async_trait::async_trait]
impl Secrets for Nowhere {
    async fn fetch(&self, _reference: &SecretRef) -> Result<Secret, Failure> {
        Err(Failure::new(Reason::NotFound, "doubles have no secrets"))
    }
}

pub fn services() -> Arc<Services> {
    let source = Arc::new(dr_plan::problem::Source {
        name: "estate.yaml".into(),
        text: "version: 1\nname: estate\n".into(),
    });
    let inventory = dr_plan::inventory::read(&source, Path::new("/")).unwrap();
    Arc::new(Services {
        providers: BTreeMap::new(),
        dns: BTreeMap::new(),
        stores: BTreeMap::new(),
        hosts: Hosts::new(Box::new(Nowhere)),
        secrets: Box::new(Nowhere),
        mask: Mask::default(),
        http: no_http(),
        clock: Arc::new(SystemClock::new()),
        login_keys: Vec::new(),
        login_user: "root".into(),
        inventory: Arc::new(inventory),
        planned: Default::default(),
        rehearsal: Default::default(),
        folder: "/nonexistent".into(),
    })
}

/// A client that trusts nobody: reading the machine's certificates would be half of a child's life.
fn no_http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
        .build()
        .unwrap()
}

pub fn run_id() -> RunId {
    RunId::parse("01jd5xq3w8k2m9x7q4r6t8v0zz").unwrap()
}

pub fn header(steps: &[BoundStep], health: Option<HealthRule>) -> Header {
    Header {
        format: dr_plan::journal::FORMAT,
        run: run_id(),
        plan: "region-failover".into(),
        description: String::new(),
        mode: Mode::Failover,
        estate: "shop".into(),
        by: "ada@bastion".into(),
        version: "0.1.0".into(),
        lost_at: "2026-03-14T02:10:00Z".parse().unwrap(),
        lost_at_is_default: false,
        objectives: Objectives::default(),
        health,
        files: Vec::new(),
        inputs: Output::new(),
        steps: steps.to_vec(),
        approved: Vec::new(),
        adopts: None,
        drill: None,
        plan_path: "plans/region-failover.yaml".into(),
        inventory_path: "inventories/sandbox.yaml".into(),
        provider_paths: Vec::new(),
    }
}

pub fn health_rule() -> HealthRule {
    HealthRule {
        hold: Duration::from_millis(20),
        within: Duration::from_secs(20),
        checks: vec!["double".into()],
    }
}

pub fn parts(journal: Box<dyn Journal>, reporters: Vec<Box<dyn Reporter>>) -> Parts {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Parts {
        journal,
        reporters,
        mask: Mask::default(),
        clock,
        estate: None,
    }
}

/// A run in this process.
pub struct Run {
    pub ledger: Ledger,
    pub desk: Arc<Desk>,
    pub stop: StopHandle,
    engine: Engine,
}

impl Run {
    pub fn new(ledger: Ledger, work: Arc<dyn Work>, approved: &[&str], parallel: usize) -> Self {
        let approved = approved
            .iter()
            .map(|step| (id(step), "ada".to_string()))
            .collect();
        let desk = Desk::new(ledger.clone(), approved);
        let (handle, stop) = Stop::new();
        let engine = Engine::new(
            work,
            ledger.clone(),
            services(),
            desk.clone(),
            stop,
            parallel,
        );
        Self {
            ledger,
            desk,
            stop: handle,
            engine,
        }
    }

    /// With an end: a run that hangs fails its test.
    pub async fn go(self) -> (Result<Ending, JournalError>, RunState) {
        let came = tokio::time::timeout(Duration::from_secs(60), self.engine.run())
            .await
            .unwrap_or_else(|_| panic!("the run hangs: {:#?}", self.ledger.state(statuses)));
        let state = self.ledger.state(RunState::clone);
        (came, state)
    }
}

/// Where every step stands.
pub fn statuses(state: &RunState) -> Vec<(String, String)> {
    let steps = state.steps.iter();
    steps
        .map(|step| (step.bound.id.to_string(), step.status.word().to_string()))
        .collect()
}

pub fn word(state: &RunState, step: &str) -> &'static str {
    state.step(&id(step)).unwrap().status.word()
}

/// A run of doubles on a journal in memory.
pub struct Scene {
    pub steps: Vec<BoundStep>,
    pub world: Arc<World>,
    pub disk: Disk,
    pub health: Option<HealthRule>,
    pub approved: Vec<&'static str>,
    pub parallel: usize,
    pub work: Doubles,
}

impl Scene {
    pub fn new(steps: Vec<BoundStep>) -> Self {
        let world = Arc::new(World::default());
        Self {
            work: Doubles::new(&steps, Line::Direct(world.clone())),
            steps,
            world,
            disk: Disk::default(),
            health: None,
            approved: vec!["go"],
            parallel: 4,
        }
    }

    pub fn begin(self) -> (Run, Arc<World>, Disk) {
        let parts = parts(Box::new(self.disk.clone()), Vec::new());
        let ledger = Ledger::begin(parts, header(&self.steps, self.health)).unwrap();
        let run = Run::new(ledger, Arc::new(self.work), &self.approved, self.parallel);
        (run, self.world, self.disk)
    }

    pub async fn play(self) -> (Ending, RunState, Arc<World>, Disk) {
        let (run, world, disk) = self.begin();
        let (came, state) = run.go().await;
        (came.unwrap(), state, world, disk)
    }
}

/// Goes on with what stands in a journal in memory, after the marks that `marks` makes.
pub async fn resume(
    disk: &Disk,
    world: &Arc<World>,
    marks: Vec<What>,
    approved: &[&str],
) -> (Ending, RunState) {
    let events = disk.0.seen.lock().unwrap().events.clone();
    let state = RunState::replay(&events).unwrap();
    let work = Doubles::new(&state.header.steps, Line::Direct(world.clone()));
    let ledger = Ledger::go_on(parts(Box::new(disk.clone()), Vec::new()), state).unwrap();
    for mark in marks {
        ledger.record(mark).await.unwrap();
    }
    ledger.record(resumed()).await.unwrap();
    let (came, state) = Run::new(ledger, Arc::new(work), approved, 4).go().await;
    (came.unwrap(), state)
}

pub fn resumed() -> What {
    What::Resumed {
        by: "ada@bastion".into(),
        version: "0.1.0".into(),
    }
}

/// Goes on with a run whose journal lies in a folder, in this process.
pub async fn resume_from(folder: &Path, line: Line) -> (Ending, RunState) {
    let (journal, reading) = FileJournal::open(&folder.join("journal.jsonl"), &run_id()).unwrap();
    let state = RunState::replay(&reading.events).unwrap();
    let work = Arc::new(Doubles::new(&state.header.steps, line));
    let ledger = Ledger::go_on(parts(Box::new(journal), Vec::new()), state).unwrap();
    ledger.record(resumed()).await.unwrap();
    let (came, state) = Run::new(ledger.clone(), work, &["go"], 4).go().await;
    ledger.close().unwrap();
    (came.unwrap(), state)
}

pub fn ended(result: RunResult) -> Ending {
    Ending::Ended(result)
}

pub fn mark(step: &str, mark: dr_plan::event::Mark) -> What {
    What::Marked {
        step: id(step),
        mark,
        by: "ada".into(),
        because: "seen with my own eyes".into(),
    }
}

/// Waits for a condition, with a deadline.
pub async fn until(true_at_last: impl Fn() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while !true_at_last() {
        assert!(std::time::Instant::now() < limit, "it never came true");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
