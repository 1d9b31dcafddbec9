//! The steps that the doubles play: those of the real region failover, its kinds, effects, needs and
//! `finally` as they are written, so that the sweep goes through what people will run.

use std::path::Path;
use std::sync::LazyLock;

use dr_plan::action::kind_of;
use dr_plan::event::{BoundNeed, BoundStep, OnFailure, Was};
use dr_plan::ids::StepId;
use dr_plan::kind::Effect;

pub fn id(text: &str) -> StepId {
    StepId::new(text).unwrap()
}

pub fn step(name: &str, kind: &str, needs: &[&str]) -> BoundStep {
    let effect = kind_of(kind).map_or(Effect::Write, |kind| kind.effect);
    BoundStep {
        id: id(name),
        kind: kind.into(),
        effect,
        needs: needs.iter().map(|on| need(on, Was::Succeeded)).collect(),
        critical: true,
        on_failure: OnFailure::Contain,
        finally: false,
        left_out: None,
        probe: None,
        title: format!("double `{name}`"),
        asks: Vec::new(),
        expect: None,
        phase: None,
        owner: None,
        notes: None,
        runbook_url: None,
    }
}

pub fn need(on: &str, was: Was) -> BoundNeed {
    BoundNeed { step: id(on), was }
}

pub fn finally(mut step: BoundStep) -> BoundStep {
    step.finally = true;
    step
}

/// A failover in small: what tests of single behaviours use.
pub fn region_failover() -> Vec<BoundStep> {
    vec![
        step("assess", "check.backups", &[]),
        step("fence-db", "server.power", &["assess"]),
        step("fence-web", "server.power", &["assess"]),
        step("db", "server.create", &["assess"]),
        step("web", "server.create", &["assess"]),
        step("restore-db", "dataset.restore", &["db", "fence-db"]),
        step("db-conf", "host.put", &["restore-db"]),
        step("db-service", "host.service", &["db-conf"]),
        step("app-env", "host.put", &["web", "db"]),
        step("app-site", "host.put", &["web"]),
        step(
            "app-service",
            "host.service",
            &["app-env", "app-site", "db-service"],
        ),
        step("app-check", "check.http", &["app-service"]),
        step("settle", "wait", &["app-service"]),
        step("go", "approve", &["app-check", "settle", "fence-web"]),
        step("dns", "dns.switch", &["go"]),
        step("dns-wait", "dns.wait", &["dns"]),
        finally(step("tell", "notify", &[])),
    ]
}

/// The steps of `plans/region-failover.yaml`. A sweep asks for them a thousand times: they are read once.
pub fn real_region_failover() -> Vec<BoundStep> {
    static STEPS: LazyLock<Vec<BoundStep>> = LazyLock::new(read_region_failover);
    STEPS.clone()
}

fn read_region_failover() -> Vec<BoundStep> {
    use dr_plan::plan::{Kinds, Verb, load};
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/region-failover.yaml");
    if !path.exists() {
        return region_failover();
    }
    let known: Vec<&str> = dr_plan::action::kind_names().collect();
    let kinds = Kinds {
        known: &known,
        later: dr_plan::action::LATER,
    };
    let plan = load(&path, &kinds).unwrap().plan;
    let bound = |from: &dr_plan::plan::Step, last: bool| {
        let kind = match &from.verb {
            Verb::Uses { kind, .. } => kind,
            Verb::Run(_) => "host.run",
            Verb::Manual { .. } => "approve",
        };
        let needs: Vec<&str> = from.needs.iter().map(|need| need.step.as_str()).collect();
        let mut step = step(from.id.as_str(), kind, &needs);
        step.finally = last;
        step
    };
    let steps = plan.steps.iter().map(|step| bound(step, false));
    let finally = plan.finally.iter().map(|step| bound(step, true));
    steps.chain(finally).collect()
}
