//! What the kernel saw: each intent's `fdatasync` returned before the effect was asked for.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dr_plan::event::{Event, What};
use dr_plan::journal::read_all;
use dr_plan::kind::Effect;

use super::child::Order;
use super::shape::real_region_failover;
use super::world::{Request, World};

/// A system call of interest, by the line on which it began or returned.
#[derive(Debug, Clone, PartialEq)]
enum Call {
    /// Bytes of the journal were written.
    Kept(String),
    /// They are on disk.
    Synced,
    /// The world was asked for something.
    Asked(String),
}

/// Reads `strace -f -s 4096 -y`: calls count when they return for the journal, and when they begin for the
/// world, so that an overlap is on the wrong side.
fn calls(trace: &str) -> Vec<Call> {
    let mut open: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((pid, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        let begun = !rest.starts_with("<...");
        let returned = !rest.ends_with("<unfinished ...>");
        let sends = rest.starts_with("write") || rest.starts_with("sendto");
        if begun && sends && rest.contains("\\\"verb\\\"") {
            calls.push(Call::Asked(rest.to_string()));
        }
        let whole = match begun {
            true => rest,
            // The arguments stand where the call began.
            false => open.remove(pid).unwrap_or(""),
        };
        if !returned {
            open.insert(pid, rest);
        } else if whole.contains("journal.jsonl") {
            if whole.starts_with("write") {
                calls.push(Call::Kept(whole.to_string()));
            } else if whole.starts_with("fdatasync") {
                calls.push(Call::Synced);
            }
        }
    }
    calls
}

#[test]
fn each_intent_is_on_disk_before_its_effect_begins() {
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(World::default());
    let served = world.serve(folder.path());
    let order = Order::new(folder.path(), &served.path);
    let trace = folder.path().join("trace");
    let child = order.command();
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-y",
            "-s",
            "65536",
            "-e",
            "trace=fdatasync,fsync,write,connect,sendto",
        ])
        .arg("-o")
        .arg(&trace)
        .arg(child.get_program())
        .args(child.get_args())
        .stdin(Stdio::null());
    for (name, value) in child.get_envs() {
        strace.env(name, value.unwrap());
    }
    let output = strace
        .output()
        .expect("strace is needed for this test: `apt-get install strace`");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let calls = calls(&std::fs::read_to_string(&trace).unwrap());
    let events = read_all(&order.journal()).unwrap().events;
    let mut looked_at = 0;
    for step in real_region_failover() {
        if step.effect == Effect::Read {
            continue;
        }
        let id = step.id.as_str();
        let effect = position_of_effect(&calls, id);
        let kept = position_of_intent(&calls, &events, id);
        let synced = calls[kept..]
            .iter()
            .position(|call| *call == Call::Synced)
            .map(|after| kept + after)
            .unwrap_or_else(|| panic!("`{id}`: its intent was never synced"));
        assert!(
            kept < synced && synced < effect,
            "`{id}`: kept {kept}, synced {synced}, effect {effect}"
        );
        looked_at += 1;
    }
    assert!(looked_at >= 8, "{looked_at}");
}

/// The first request that changes something for the step.
fn position_of_effect(calls: &[Call], step: &str) -> usize {
    calls
        .iter()
        .position(|call| match call {
            Call::Asked(line) => {
                request(line).is_some_and(|it| it.step == step && it.verb != "look")
            }
            _ => false,
        })
        .unwrap_or_else(|| panic!("`{step}` asked the world for nothing"))
}

/// What was written: strace shows a JSON text with its quotes escaped.
fn request(line: &str) -> Option<Request> {
    let from = line.find('{')?;
    let to = line.rfind('}')?;
    serde_json::from_str(&line[from..=to].replace("\\\"", "\"")).ok()
}

/// The write that holds the step's first intent, found by the record's own number.
fn position_of_intent(calls: &[Call], events: &[Event], step: &str) -> usize {
    let event = events
        .iter()
        .find(|event| matches!(&event.what, What::Intent { step: of, .. } if of.as_str() == step))
        .unwrap_or_else(|| panic!("`{step}` has no intent"));
    let mark = format!("\\\"seq\\\":{},", event.seq);
    calls
        .iter()
        .position(|call| matches!(call, Call::Kept(line) if line.contains(&mark)))
        .unwrap_or_else(|| panic!("record {} was not seen to be written", event.seq))
}

#[test]
fn an_effect_that_overlaps_its_sync_is_found_out() {
    let trace = r#"
7 write(9</x/journal.jsonl>, "{\"seq\":5,}\n", 11) = 11
7 fdatasync(9</x/journal.jsonl> <unfinished ...>
8 write(4<UNIX-STREAM:[1->2]>, "{\"pid\":1,\"step\":\"db\",\"verb\":\"create\",\"data\":\"\",\"attempt\":1}\n", 60) = 60
7 <... fdatasync resumed>) = 0
"#;
    let calls = calls(trace);
    assert!(
        matches!(
            calls.as_slice(),
            [Call::Kept(_), Call::Asked(_), Call::Synced]
        ),
        "{calls:?}"
    );
    assert_eq!(position_of_effect(&calls, "db"), 1);
}
