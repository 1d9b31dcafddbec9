//! What the engine costs: ten thousand independent steps that do nothing but count as writes, so that
//! the intent of each is on disk before its apply; and a plan of that size, loaded and bound.
//!
//! `cargo bench --bench steps` (the journal lies in `TMPDIR`, which should be on a real disk).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dr_plan::action::{Action, Context, HostFacts, Hosts, Reach, Secrets, Services, Verified};
use dr_plan::clock::{Clock, SystemClock, Timestamp};
use dr_plan::engine::{Desk, Ending, Engine, Stop};
use dr_plan::event::{BoundStep, Header, Objectives, OnFailure, RunResult};
use dr_plan::ids::{RunId, StepId};
use dr_plan::inventory::Inventory;
use dr_plan::journal::{FileJournal, Ledger, Parts};
use dr_plan::kind::{Effect, Evidence, Failure, Mode, Observation, Output, Reason};
use dr_plan::plan::Kinds;
use dr_plan::problem::{Problem, Source};
use dr_plan::program::{Policy, Program, Sources, Work};
use dr_plan::secret::{Mask, Secret, SecretRef};
use dr_plan::state::RunState;
use dr_plan::transport::Transport;

const STEPS: usize = 10_000;

fn main() {
    // Cargo also starts benchmarks when it runs tests with `--all-targets`.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the journal");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("{STEPS} independent steps, each with its intent on disk before it acts:");
    for parallel in [16, 64, 256] {
        let path = folder.path().join(format!("journal-{parallel}.jsonl"));
        let (took, syncs) = runtime.block_on(run(&path, parallel));
        println!("  {parallel:>3} at work side by side: {took:>8.1?}, {syncs} syncs");
    }
    let sync = one_sync(folder.path());
    println!("  one sync of this disk: {sync:.1?}");
    plan_of(STEPS);
}

async fn run(path: &Path, parallel: usize) -> (Duration, u64) {
    let run = RunId::generate();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let begun = Instant::now();
    let parts = Parts {
        journal: Box::new(FileJournal::create(path, &run).expect("a journal")),
        reporters: Vec::new(),
        mask: Mask::default(),
        clock,
        estate: None,
    };
    let ledger = Ledger::begin(parts, header(run)).expect("a header");
    let desk = Desk::new(ledger.clone(), Vec::new());
    let (_handle, stop) = Stop::new();
    let engine = Engine::new(
        Arc::new(Nothing),
        ledger.clone(),
        services(),
        desk,
        stop,
        parallel,
    );
    let ending = engine.run().await.expect("a journal that can be written");
    ledger.close().expect("a journal that can be written");
    assert_eq!(ending, Ending::Ended(RunResult::Met));
    (begun.elapsed(), ledger.syncs())
}

/// The measure of the disk under the journal: the middle one of some `fdatasync` of a small record.
fn one_sync(folder: &Path) -> Duration {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("sync")).expect("a file");
    let mut all: Vec<Duration> = (0..99)
        .map(|_| {
            file.write_all(&[b'x'; 300]).expect("room for a record");
            let begun = Instant::now();
            file.sync_data().expect("a disk that syncs");
            begun.elapsed()
        })
        .collect();
    all.sort();
    all[all.len() / 2]
}

fn header(run: RunId) -> Header {
    let steps = (0..STEPS).map(|at| BoundStep {
        id: StepId::new(&format!("step-{at}")).expect("a sound name"),
        kind: "host.run".into(),
        effect: Effect::Write,
        needs: Vec::new(),
        critical: true,
        on_failure: OnFailure::Contain,
        finally: false,
        left_out: None,
        probe: None,
        title: "nothing".into(),
        asks: Vec::new(),
        expect: None,
        phase: None,
        owner: None,
        notes: None,
        runbook_url: None,
    });
    Header {
        format: dr_plan::journal::FORMAT,
        run,
        plan: "bench".into(),
        description: String::new(),
        mode: Mode::Failover,
        estate: "bench".into(),
        by: "bench".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        lost_at: Timestamp::now(),
        lost_at_is_default: true,
        objectives: Objectives::default(),
        health: None,
        files: Vec::new(),
        inputs: Output::new(),
        steps: steps.collect(),
        approved: Vec::new(),
        adopts: None,
        drill: None,
        plan_path: "bench.yaml".into(),
        inventory_path: "inventories/sandbox.yaml".into(),
        provider_paths: Vec::new(),
    }
}

/// Steps that want nothing of the world.
struct Nothing;

impl Work for Nothing {
    fn action(&self, _: &StepId, _: &RunState) -> Result<Box<dyn Action>, Failure> {
        Ok(Box::new(Nothing))
    }

    fn rehearse(&self, _: &StepId, _: &RunState) -> Result<Box<dyn Action>, Failure> {
        Ok(Box::new(Nothing))
    }

    fn policy(&self, _: &StepId) -> Policy {
        Policy {
            timeout: Duration::from_secs(600),
            patience: std::time::Duration::ZERO,
            attempts: 3,
            backoff: Duration::from_secs(1),
            within: None,
            on: Vec::new(),
            effect: Effect::Write,
            waits: false,
        }
    }

    fn health(&self, _: &RunState) -> Result<Vec<Box<dyn Action>>, Failure> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Action for Nothing {
    fn title(&self) -> String {
        "nothing".into()
    }

    async fn observe(&self, _: &Context) -> Result<Observation, Failure> {
        Ok(Observation::Absent)
    }

    async fn apply(&self, _: &Context) -> Result<(), Failure> {
        Ok(())
    }

    async fn verify(&self, _: &Context) -> Result<Verified, Failure> {
        Ok(Verified::default())
    }

    async fn undo(&self, _: &Context) -> Result<Vec<Evidence>, Failure> {
        Ok(Vec::new())
    }
}

/// Nothing can be reached, and nobody tries.
#[async_trait]
impl Secrets for Nothing {
    async fn fetch(&self, _: &SecretRef) -> Result<Secret, Failure> {
        Err(Failure::new(Reason::NotFound, "there are no secrets here"))
    }
}

impl Reach for Nothing {
    fn transport(&self, _: &HostFacts) -> Result<Arc<dyn Transport>, Failure> {
        Err(Failure::new(Reason::NotFound, "there are no hosts here"))
    }
}

fn inventory() -> Arc<Inventory> {
    let mut text = "version: 1\nname: bench\nhosts:\n".to_string();
    for at in 0..100 {
        let _ = writeln!(text, "  host-{at}: {{ address: 192.0.2.{at} }}");
    }
    let source = Arc::new(Source {
        name: "inventory.yaml".into(),
        text,
    });
    Arc::new(
        dr_plan::inventory::read(&source, Path::new("/"))
            .unwrap_or_else(|found| panic!("{}", words(&found))),
    )
}

fn words(problems: &[Problem]) -> String {
    let words: Vec<&str> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    words.join("\n")
}

fn services() -> Arc<Services> {
    Arc::new(Services {
        providers: BTreeMap::new(),
        dns: BTreeMap::new(),
        stores: BTreeMap::new(),
        hosts: Hosts::new(Box::new(Nothing)),
        secrets: Box::new(Nothing),
        mask: Mask::default(),
        http: dr_plan::http::http_client(&dr_plan::http::HttpOptions::default())
            .expect("an HTTP client"),
        clock: Arc::new(SystemClock::new()),
        login_keys: Vec::new(),
        login_user: "root".into(),
        inventory: inventory(),
        planned: Default::default(),
        rehearsal: Default::default(),
        folder: "/nonexistent".into(),
    })
}

/// A plan with chains of ten: services that begin on a hundred hosts, each chain with a reference.
fn plan_of(count: usize) {
    let mut text = "version: 1\nname: bench\ninventory: inventory.yaml\nsteps:\n".to_string();
    for at in 0..count {
        let host = at % 100;
        let _ = match at % 10 {
            0 => writeln!(
                text,
                "  step-{at}:\n    uses: host.service\n    with: {{ host: host-{host}, service: shop, state: started }}"
            ),
            _ => writeln!(
                text,
                "  step-{at}:\n    needs: [step-{}]\n    uses: host.put\n    with: {{ host: host-{host}, to: /etc/shop-{at}.conf, content: \"database={{{{hosts.host-{host}.address}}}}\" }}",
                at - 1
            ),
        };
    }
    let source = Arc::new(Source {
        name: "plan.yaml".into(),
        text,
    });
    let known: Vec<&str> = dr_plan::action::kind_names().collect();
    let kinds = Kinds {
        known: &known,
        later: dr_plan::action::LATER,
    };
    let begun = Instant::now();
    let plan = dr_plan::plan::read(&source, Path::new("/"), &kinds)
        .unwrap_or_else(|found| panic!("{}", words(&found)))
        .plan;
    let loaded = begun.elapsed();
    let sources = Sources {
        plan,
        folder: "/".into(),
        copies: Default::default(),
        inventory: inventory(),
        accounts: BTreeMap::new(),
        unread: Default::default(),
    };
    let begun = Instant::now();
    let program = Program::bind(sources, Mode::Failover, RunId::generate(), &BTreeMap::new())
        .unwrap_or_else(|found| panic!("{}", words(&found)));
    let bound = begun.elapsed();
    let names: BTreeSet<&str> = program
        .steps()
        .iter()
        .map(|step| step.id.as_str())
        .collect();
    assert_eq!(names.len(), count);
    println!(
        "a plan of {count} steps ({} KiB): loaded in {loaded:.1?}, bound in {bound:.1?}",
        source.text.len() / 1024
    );
}
