//! The least header and step that a run can have, for tests of what comes after it.

use super::*;
use crate::event::{Header, Objectives, OnFailure};
use crate::ids::RunId;
use crate::kind::{Effect, Mode};

/// A failover of `steps`; the loss is at second 1,700,000,000 of Unix time.
pub fn header(steps: Vec<BoundStep>) -> Header {
    Header {
        format: 1,
        run: RunId::parse("01jd0000000000000000000000").unwrap(),
        plan: "p".into(),
        description: String::new(),
        mode: Mode::Failover,
        estate: "e".into(),
        by: "me@here".into(),
        version: "0".into(),
        lost_at: Timestamp::from_second(1_700_000_000).unwrap(),
        lost_at_is_default: true,
        objectives: Objectives::default(),
        health: None,
        files: Vec::new(),
        inputs: serde_json::Map::new(),
        steps,
        approved: Vec::new(),
        adopts: None,
        drill: None,
        plan_path: "p.yaml".into(),
        inventory_path: "inventories/sandbox.yaml".into(),
        provider_paths: Vec::new(),
    }
}

/// A step that only looks and needs nothing.
pub fn step(name: &str) -> BoundStep {
    BoundStep {
        id: StepId::new(name).unwrap(),
        kind: "wait".into(),
        effect: Effect::Read,
        needs: Vec::new(),
        critical: false,
        on_failure: OnFailure::Contain,
        finally: false,
        left_out: None,
        probe: None,
        title: String::new(),
        asks: Vec::new(),
        expect: None,
        phase: None,
        owner: None,
        notes: None,
        runbook_url: None,
    }
}
