//! The service manager of a machine: starts, watches and stops what unit files describe, as far
//! as an estate without systemd needs it. It lives in PID 1, so a service outlives the session
//! that started it and its state comes from the real process.

pub mod answers;
mod enabling;
mod processes;
pub mod reaper;
mod start;
mod unit;
mod unit_text;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{sync::Mutex as Queue, time::timeout};

use reaper::{Exit, Reaper};
use unit::{Kind, Restart, Unit, UnitError};

pub use processes::end_everybody;

/// Where a service's output goes, one file per unit.
pub const LOGS: &str = "/var/log/services";

/// What systemd calls ActiveState.
#[expect(clippy::enum_variant_names, reason = "the words are those of systemd")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Active {
    #[default]
    Inactive,
    Activating,
    Active,
    Deactivating,
    Failed,
}

impl Active {
    pub fn word(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Deactivating => "deactivating",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error("Job for {name} failed: {why}")]
    Failed { name: String, why: String },
    #[error("{name} has no way to reload")]
    NoReload { name: String },
    #[error("{name} is not active, cannot reload.")]
    NotActive { name: String },
}

/// What is known of one unit.
#[derive(Debug, Clone, Default)]
pub struct Service {
    pub unit: Unit,
    pub active: Active,
    pub main_pid: Option<u32>,
    /// Marks every process of this start: systemd's INVOCATION_ID.
    pub invocation: String,
    /// Why it is where it is: `exit-code 1 from ...`, or empty.
    pub result: String,
    starts: Vec<Instant>,
    /// Counts starts and stops, so that a watcher of an older start keeps still.
    turn: u64,
}

/// Handle on the manager; cheap to copy, one thread.
#[derive(Clone)]
pub struct Services {
    reaper: Reaper,
    known: Rc<RefCell<BTreeMap<String, Service>>>,
    /// One job at a time per unit, in the order of asking.
    queues: Rc<RefCell<BTreeMap<String, Rc<Queue<()>>>>>,
}

impl Services {
    pub fn new(reaper: Reaper) -> Self {
        Self {
            reaper,
            known: Rc::default(),
            queues: Rc::default(),
        }
    }

    /// State and unit file as they are now.
    pub fn look(&self, name: &str) -> Result<Service, UnitError> {
        let unit = unit::load(Path::new("/"), name)?;
        let mut service = self
            .known
            .borrow()
            .get(&unit.name)
            .cloned()
            .unwrap_or_default();
        service.unit = unit;
        Ok(service)
    }

    /// Names of all units that were ever touched since boot.
    pub fn touched(&self) -> Vec<String> {
        self.known.borrow().keys().cloned().collect()
    }

    fn queue(&self, name: &str) -> Rc<Queue<()>> {
        self.queues
            .borrow_mut()
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Service)) {
        change(self.known.borrow_mut().entry(name.to_owned()).or_default());
    }

    /// Starts a unit and what it wants. Active already: only what it wants is looked at.
    pub async fn start(&self, name: &str) -> Result<(), ServiceError> {
        let unit = unit::load(Path::new("/"), name)?;
        for wanted in unit
            .needs
            .iter()
            .cloned()
            .chain(generated_wants(&unit.name))
        {
            // Wants= are pulled in, not insisted on.
            if let Err(error) = Box::pin(self.start(&wanted)).await {
                eprintln!("{}: wanted {wanted}: {error}", unit.name);
            }
        }
        let queue = self.queue(&unit.name);
        let _turn = queue.lock().await;
        if self.look(&unit.name)?.active == Active::Active {
            return Ok(());
        }
        self.start_now(unit).await
    }

    async fn start_now(&self, unit: Unit) -> Result<(), ServiceError> {
        let name = unit.name.clone();
        for (condition, insist) in &unit.conditions {
            let (wanted, path) = match condition.strip_prefix('!') {
                Some(path) => (false, path),
                None => (true, condition.as_str()),
            };
            if Path::new(path).exists() != wanted {
                if *insist {
                    return Err(self.fail(&name, format!("assertion failed: {condition}")));
                }
                self.change(&name, |service| {
                    service.result = format!("condition not met: {condition}")
                });
                return Ok(());
            }
        }
        let invocation = fresh_id();
        self.change(&name, |service| {
            service.unit = unit.clone();
            service.active = Active::Activating;
            service.invocation = invocation.clone();
            service.main_pid = None;
            service.result.clear();
            service.turn += 1;
            service.starts.push(Instant::now());
        });
        let limit = unit.start_timeout.unwrap_or(Duration::from_secs(24 * 3600));
        let outcome = match timeout(limit, self.run_start(&unit, &invocation)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("it did not start within {} s", limit.as_secs())),
        };
        match outcome {
            Ok(main) => {
                let stays = main.is_some() || unit.remain_after_exit || unit.kind == Kind::Forking;
                self.change(&name, |service| {
                    service.main_pid = main;
                    service.active = if stays {
                        Active::Active
                    } else {
                        Active::Inactive
                    };
                });
                if let Some(pid) = main {
                    self.guard(&name, pid);
                }
                Ok(())
            }
            Err(why) => {
                self.kill_all(&unit, &invocation, None, Duration::from_secs(2))
                    .await;
                Err(self.fail(&name, why))
            }
        }
    }

    fn fail(&self, name: &str, why: String) -> ServiceError {
        self.change(name, |service| {
            service.active = Active::Failed;
            service.main_pid = None;
            service.result = why.clone();
        });
        ServiceError::Failed {
            name: name.to_owned(),
            why,
        }
    }

    /// Waits in the background for the end of the main process.
    fn guard(&self, name: &str, pid: u32) {
        let dead = self.reaper.watch(pid);
        let this = self.clone();
        let name = name.to_owned();
        let turn = self
            .known
            .borrow()
            .get(&name)
            .map_or(0, |service| service.turn);
        tokio::task::spawn_local(async move {
            let exit = dead.await.unwrap_or(Exit::Unknown);
            let Some(service) = this.known.borrow().get(&name).cloned() else {
                return;
            };
            if service.turn != turn || service.active != Active::Active {
                return;
            }
            let clean = matches!(exit, Exit::Code(0) | Exit::Signal(1 | 2 | 13 | 15));
            let again = match service.unit.restart {
                Restart::Always => true,
                Restart::OnFailure => !clean,
                Restart::No => false,
            };
            this.kill_all(
                &service.unit,
                &service.invocation,
                None,
                Duration::from_secs(5),
            )
            .await;
            this.change(&name, |service| {
                service.main_pid = None;
                service.active = if clean && !again {
                    Active::Inactive
                } else {
                    Active::Failed
                };
                service.result = describe(exit);
            });
            // systemd's default limit: five starts in ten seconds.
            let recent = service
                .starts
                .iter()
                .filter(|start| start.elapsed() < Duration::from_secs(10))
                .count();
            if again && recent < 5 {
                tokio::time::sleep(service.unit.restart_delay).await;
                let still = this
                    .known
                    .borrow()
                    .get(&name)
                    .is_some_and(|service| service.turn == turn);
                if still && let Err(error) = this.start(&name).await {
                    eprintln!("{name}: starting it again: {error}");
                }
            }
        });
    }

    /// Stops a unit and what is part of it; no process of it is left. Not active: nothing to do.
    pub async fn stop(&self, name: &str) -> Result<(), ServiceError> {
        let unit = match unit::load(Path::new("/"), name) {
            Ok(unit) => unit,
            // The file may be gone while the service runs.
            Err(error) => self
                .known
                .borrow()
                .get(&unit::full_name(name))
                .map(|service| service.unit.clone())
                .ok_or(error)?,
        };
        for part in self.parts_of(&unit.name) {
            Box::pin(self.stop(&part)).await?;
        }
        let queue = self.queue(&unit.name);
        let _turn = queue.lock().await;
        self.stop_now(&unit.name).await;
        Ok(())
    }

    async fn stop_now(&self, name: &str) {
        let Some(service) = self.known.borrow().get(name).cloned() else {
            return;
        };
        if matches!(service.active, Active::Inactive | Active::Failed) {
            self.change(name, |service| {
                service.turn += 1;
                service.active = Active::Inactive;
            });
            return;
        }
        self.change(name, |service| {
            service.active = Active::Deactivating;
            service.turn += 1;
        });
        let unit = &service.unit;
        for exec in &unit.stop {
            let stopped = timeout(
                unit.stop_timeout,
                self.run(unit, exec, &service.invocation, service.main_pid, None),
            )
            .await;
            if let Ok(Err(why)) = stopped {
                eprintln!("{name}: stopping: {why}");
            }
        }
        self.kill_all(
            unit,
            &service.invocation,
            service.main_pid,
            unit.stop_timeout,
        )
        .await;
        for exec in &unit.stop_post {
            if let Err(why) = self.run(unit, exec, &service.invocation, None, None).await {
                eprintln!("{name}: after the stop: {why}");
            }
        }
        for (path, _) in unit
            .folders
            .iter()
            .filter(|(path, _)| path.starts_with("/run"))
        {
            let _ = fs::remove_dir_all(path);
        }
        self.change(name, |service| {
            service.active = Active::Inactive;
            service.main_pid = None;
        });
    }

    /// Reloads a running unit, and what is part of it.
    pub async fn reload(&self, name: &str) -> Result<(), ServiceError> {
        let service = self.look(name)?;
        let name = service.unit.name.clone();
        if service.active != Active::Active {
            return Err(ServiceError::NotActive { name });
        }
        let parts = self.parts_of(&name);
        for part in &parts {
            Box::pin(self.reload(part)).await?;
        }
        if service.unit.reload.is_empty() && parts.is_empty() {
            return Err(ServiceError::NoReload { name });
        }
        let queue = self.queue(&name);
        let _turn = queue.lock().await;
        for exec in &service.unit.reload {
            self.run(
                &service.unit,
                exec,
                &service.invocation,
                service.main_pid,
                None,
            )
            .await
            .map_err(|why| ServiceError::Failed {
                name: name.clone(),
                why,
            })?;
        }
        Ok(())
    }

    /// Stops and starts, together with the parts that ran.
    pub async fn restart(&self, name: &str) -> Result<(), ServiceError> {
        // The unit must be there before anything is stopped.
        let unit = unit::load(Path::new("/"), name)?;
        let parts = self.parts_of(&unit.name);
        self.stop(&unit.name).await?;
        for part in parts {
            self.start(&part).await?;
        }
        self.start(&unit.name).await
    }

    /// Units that run and say `PartOf=` this one.
    fn parts_of(&self, name: &str) -> Vec<String> {
        self.known
            .borrow()
            .values()
            .filter(|service| {
                service.active == Active::Active
                    && service.unit.part_of.iter().any(|whole| whole == name)
            })
            .map(|service| service.unit.name.clone())
            .collect()
    }

    /// Everything, last started first; for a machine that goes down.
    pub async fn stop_all(&self) {
        let mut running: Vec<(Option<Instant>, String)> = self
            .known
            .borrow()
            .values()
            .filter(|service| matches!(service.active, Active::Active | Active::Activating))
            .map(|service| (service.starts.last().copied(), service.unit.name.clone()))
            .collect();
        running.sort();
        for (_, name) in running.into_iter().rev() {
            self.stop_now(&name).await;
        }
    }
}

/// What a generator of systemd would make this unit want: postgresql-common has one that starts
/// every cluster whose start.conf says `auto`.
fn generated_wants(name: &str) -> Vec<String> {
    if name != "postgresql.service" {
        return Vec::new();
    }
    let list = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default()
    };
    let last = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    list(Path::new("/etc/postgresql"))
        .iter()
        .flat_map(|version| {
            list(version)
                .into_iter()
                .map(move |cluster| (version.clone(), cluster))
        })
        .filter(|(_, cluster)| cluster.join("postgresql.conf").exists())
        .filter(|(_, cluster)| {
            fs::read_to_string(cluster.join("start.conf"))
                .map(|text| {
                    text.lines()
                        .map(str::trim)
                        .find(|line| !line.is_empty() && !line.starts_with('#'))
                        .is_none_or(|line| line == "auto")
                })
                .unwrap_or(true)
        })
        .map(|(version, cluster)| {
            format!("postgresql@{}-{}.service", last(&version), last(&cluster))
        })
        .collect()
}

fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(0) => "ended".to_owned(),
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
        Exit::Unknown => "ended, nobody saw how".to_owned(),
    }
}

fn fresh_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/uuid")
        .unwrap_or_default()
        .trim()
        .replace('-', "")
}
