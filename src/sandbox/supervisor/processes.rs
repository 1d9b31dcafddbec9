//! Which processes belong to a service, and how they are ended (systemd.kill(5)). There are no
//! control groups here: a service's processes are found by the mark in their environment and by
//! their parents.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    Services,
    unit::{KillMode, Unit},
};
use crate::sandbox::enter::{self, Status};

impl Services {
    /// SIGTERM (or `KillSignal=`), then SIGKILL after `limit`, to what `KillMode=` names.
    pub(super) async fn kill_all(
        &self,
        unit: &Unit,
        invocation: &str,
        main: Option<u32>,
        limit: Duration,
    ) {
        let signal = match unit.kill_signal.as_deref() {
            Some("INT") => Signal::INT,
            Some("QUIT") => Signal::QUIT,
            Some("HUP") => Signal::HUP,
            Some("KILL") => Signal::KILL,
            _ => Signal::TERM,
        };
        let of_service = || match unit.kill_mode {
            KillMode::ControlGroup | KillMode::Mixed => members(invocation, main),
            KillMode::Process => main.into_iter().filter(|pid| is_alive(*pid)).collect(),
            KillMode::None => Vec::new(),
        };
        for pid in of_service() {
            if unit.kill_mode != KillMode::Mixed || Some(pid) == main || main.is_none() {
                send(pid, signal);
            }
        }
        let deadline = Instant::now() + limit;
        let mut patience = Duration::from_millis(1);
        while !of_service().is_empty() && Instant::now() < deadline {
            // The main process of a mixed unit is gone: its helpers go at once.
            if unit.kill_mode == KillMode::Mixed && main.is_none_or(|pid| !is_alive(pid)) {
                break;
            }
            tokio::time::sleep(patience).await;
            patience = (patience * 2).min(Duration::from_millis(20));
        }
        while !of_service().is_empty() {
            for pid in of_service() {
                send(pid, Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(super) fn is_alive(pid: u32) -> bool {
    Status::of(pid).is_some_and(|status| !status.is_dead())
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Live processes of one start: those that carry its INVOCATION_ID, the main one, and everything
/// below them (a program that rewrites its environment is found through its parent).
pub(super) fn members(invocation: &str, main: Option<u32>) -> Vec<u32> {
    let mark = format!("INVOCATION_ID={invocation}");
    let statuses: Vec<(u32, Status)> = enter::all()
        .into_iter()
        .filter_map(|pid| Some((pid, Status::of(pid)?)))
        .collect();
    let mut found: Vec<u32> = statuses
        .iter()
        .map(|(pid, _)| *pid)
        .filter(|pid| *pid != 1)
        .filter(|pid| {
            Some(*pid) == main
                || fs::read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| {
                    bytes
                        .split(|byte| *byte == 0)
                        .any(|entry| entry == mark.as_bytes())
                })
        })
        .collect();
    loop {
        let more: Vec<u32> = statuses
            .iter()
            .filter(|(pid, status)| {
                *pid != 1 && !found.contains(pid) && found.contains(&status.parent)
            })
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.retain(|pid| {
        statuses
            .iter()
            .any(|(other, status)| other == pid && !status.is_dead())
    });
    found
}

/// SIGTERM to every process but this one, and a bounded wait for their end.
pub async fn end_everybody(limit: Duration) {
    let others = || -> Vec<u32> {
        enter::all()
            .into_iter()
            .filter(|pid| *pid != 1 && is_alive(*pid))
            .collect()
    };
    for pid in others() {
        send(pid, Signal::TERM);
        // A stopped process would not hear it.
        send(pid, Signal::CONT);
    }
    let deadline = Instant::now() + limit;
    while !others().is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
