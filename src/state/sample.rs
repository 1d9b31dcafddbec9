//! The least header that a run can have, for tests of what comes after it.

use super::*;
use crate::event::{Header, Objectives};
use crate::ids::RunId;
use crate::kind::Mode;

/// A failover of `steps` that was lost when it began, in the first second of `Timestamp::UNIX_EPOCH` plus 1.7e9.
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
