//! What actions do: the machines behind the servers change, and each action ends when its change
//! is there, or says why it is not.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::Hetzner;
use super::cloud::Cloud;
use super::gate::Effects;
use crate::sandbox::api::faults::{FaultKind, Struck, When};
use crate::sandbox::machines::{MachineError, MachineSpec, MachineState};

/// One piece of work on the machine of a server.
#[derive(Clone, Debug)]
pub enum Job {
    /// Makes the machine, which starts it.
    Create,
    /// Changes only the cloud's own records: a server that is not to be started has no machine
    /// until its first power-on.
    Reserve,
    Start,
    Stop,
    /// Its action ends when the request was sent, whatever the machine makes of it.
    Shutdown,
    Reboot {
        graceful: bool,
    },
    /// Sends packets for the address to the machine of that server, or nowhere.
    Route(Ipv4Addr, Option<i64>),
    /// What was to be done is in the records.
    Nothing,
    /// Copies its disk into the snapshot of that id.
    Capture(i64),
    /// Takes the machine of that name away.
    Delete(String),
}

/// Longest wait for a deleted machine's name to be free again.
const NAME_DEADLINE: Duration = Duration::from_secs(30);

impl Hetzner {
    /// Runs the jobs of a server one after another, each ending its action. When one fails, those
    /// after it fail with it. The faults that came with the call strike the first of them.
    pub(super) fn carry_out(&self, server: i64, jobs: Vec<(i64, Job)>, effects: Effects) {
        let api = self.clone();
        tokio::spawn(async move {
            let mut faults = effects.0;
            let mut failed: Option<(String, String)> = None;
            for (action, job) in jobs {
                let capture = match job {
                    Job::Capture(snapshot) => Some(snapshot),
                    _ => None,
                };
                let result = match failed.clone() {
                    Some(error) => Err(error),
                    None => {
                        api.work(action, server, job, std::mem::take(&mut faults))
                            .await
                    }
                };
                failed = result.clone().err();
                if let (Some(snapshot), Some(_)) = (capture, &failed)
                    && let Some(snapshot) = api.cloud().snapshots.get_mut(&snapshot)
                {
                    snapshot.status = "unavailable";
                }
                api.end(action, result);
            }
            if failed.is_some() {
                // Half-way words such as `stopping` would stay for ever; the next look says better.
                let made = api
                    .cloud()
                    .servers
                    .get(&server)
                    .is_some_and(|server| server.made);
                api.set_status(server, if made { "unknown" } else { "off" });
            }
        });
    }

    async fn work(
        &self,
        action: i64,
        server: i64,
        job: Job,
        faults: Vec<Struck>,
    ) -> Result<(), (String, String)> {
        self.strike(action, When::Before, &faults).await?;
        if let Job::Shutdown = job {
            self.strike(action, When::After, &faults).await?;
            let api = self.clone();
            tokio::spawn(async move {
                let _ = api.change(server, Job::Shutdown).await;
            });
            return Ok(());
        }
        self.change(server, job)
            .await
            .map_err(|error| (code(&error).to_owned(), error.to_string()))?;
        self.strike(action, When::After, &faults).await
    }

    pub(super) async fn strike(
        &self,
        action: i64,
        when: When,
        faults: &[Struck],
    ) -> Result<(), (String, String)> {
        for fault in faults.iter().filter(|fault| fault.when == when) {
            match &fault.kind {
                FaultKind::ActionStuck { seconds } => {
                    if let Some(action) = self.cloud().actions.get_mut(&action) {
                        action.progress = 50;
                    }
                    match seconds {
                        Some(seconds) => sleep(Duration::from_secs(*seconds)).await,
                        None => std::future::pending().await,
                    }
                }
                FaultKind::ActionError { code, message } => {
                    return Err((code.clone(), message.clone()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn change(&self, id: i64, job: Job) -> Result<(), MachineError> {
        let machines = &self.0.machines;
        if let Job::Delete(machine) = &job {
            return match machines.delete(machine).await {
                Err(MachineError::Absent { .. }) => Ok(()),
                result => result,
            };
        }
        if let Job::Route(address, to) = job {
            let to = to.and_then(|id| self.cloud().servers.get(&id).cloned());
            return machines
                .route(address, to.as_ref().map(|server| server.machine.as_str()))
                .await;
        }
        let Some(server) = self.cloud().servers.get(&id).cloned() else {
            return Ok(());
        };
        let name = &server.machine;
        match job {
            Job::Reserve => {
                if !server.made {
                    self.set_status(id, "off");
                }
            }
            Job::Create => {
                self.make(id).await?;
                self.set_status(id, "starting");
            }
            Job::Start => {
                if server.made {
                    machines.power_on(name).await?;
                } else {
                    self.make(id).await?;
                }
                self.set_status(id, "running");
            }
            Job::Stop | Job::Shutdown => {
                self.set_status(id, "stopping");
                let graceful = matches!(job, Job::Shutdown);
                match machines.power_off(name, graceful).await {
                    Err(MachineError::Absent { .. }) if !server.made => {}
                    result => result?,
                }
                self.set_status(id, "off");
            }
            Job::Reboot { graceful } => {
                machines.reboot(name, graceful).await?;
                self.set_status(id, "running");
            }
            Job::Capture(snapshot) => {
                let image = self.cloud().snapshots.get(&snapshot).map(|one| one.image());
                let done = match image {
                    Some(image) if server.made => machines.capture(name, &image).await,
                    _ => Ok(()),
                };
                if let Some(snapshot) = self.cloud().snapshots.get_mut(&snapshot) {
                    snapshot.status = if done.is_ok() {
                        "available"
                    } else {
                        "unavailable"
                    };
                }
                done?;
            }
            Job::Delete(_) | Job::Route(..) | Job::Nothing => {}
        }
        Ok(())
    }

    /// Makes the machine. A deleted server of the same name may still be on its way out.
    async fn make(&self, id: i64) -> Result<(), MachineError> {
        let Some(server) = self.cloud().servers.get(&id).cloned() else {
            return Ok(());
        };
        let deadline = Instant::now() + NAME_DEADLINE;
        while self.0.machines.find(&server.machine).await.is_some() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let spec = MachineSpec {
            name: server.machine,
            region: server.region,
            address: Some(server.address),
            mac: None,
            image: server.copy,
            disk_bytes: server.disk_bytes,
            user_data: server.user_data,
            authorized_keys: server.authorized_keys,
        };
        self.0.machines.create(spec).await?;
        if let Some(server) = self.cloud().servers.get_mut(&id) {
            server.made = true;
        }
        Ok(())
    }

    fn set_status(&self, id: i64, status: &'static str) {
        if let Some(server) = self.cloud().servers.get_mut(&id) {
            server.status = status;
            server.changes += 1;
        }
    }

    pub(super) fn end(&self, action: i64, result: Result<(), (String, String)>) {
        if let Some(action) = self.cloud().actions.get_mut(&action) {
            action.status = if result.is_ok() { "success" } else { "error" };
            action.progress = 100;
            action.finished = Some(Timestamp::now());
            action.error = result.err();
        }
        self.0.ended.notify_waiters();
    }

    /// Brings the records of servers at rest up to date with their machines: one may have been
    /// shut down from within.
    pub(super) async fn look(&self) {
        let at_rest = |cloud: &Cloud| -> BTreeMap<i64, u64> {
            let servers = cloud.servers.values();
            servers
                .filter(|server| {
                    server.made && server.status != "stopping" && !cloud.locked(server.id)
                })
                .map(|server| (server.id, server.changes))
                .collect()
        };
        let before = at_rest(&self.cloud());
        let machines = self.0.machines.list().await;
        let mut cloud = self.cloud();
        let after = at_rest(&cloud);
        for (id, changes) in before {
            if after.get(&id) != Some(&changes) {
                continue;
            }
            if let Some(server) = cloud.servers.get_mut(&id) {
                let machine = machines
                    .iter()
                    .find(|machine| machine.name == server.machine);
                server.status = match machine.map(|machine| machine.state) {
                    Some(MachineState::Running) => "running",
                    Some(MachineState::Off) => "off",
                    Some(MachineState::Absent) | None => "unknown",
                };
            }
        }
    }
}

fn code(error: &MachineError) -> &'static str {
    match error {
        MachineError::RegionLost { .. } | MachineError::NoAddress { .. } => "resource_unavailable",
        _ => "server_error",
    }
}
