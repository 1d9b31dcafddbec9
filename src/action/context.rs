//! What an action may reach while it works: services, its notes, a person, and the one door to the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use super::services::Services;
use crate::event::{Ask, What};
use crate::ids::{RunId, StepId};
use crate::kind::{Failure, Mode, Reason, Resource};
use crate::transport::{JobId, Transport};

/// The note of a step that names the older runs whose work it goes on with.
pub const ADOPTED: &str = "adopted";
/// The note of how many attempts those made.
pub const ADOPTED_ATTEMPTS: &str = "adopted_attempts";

/// The door to the journal, as an action sees it.
#[async_trait]
pub trait Record: Send + Sync {
    /// Returns when the event is on disk. A failure means that nothing may be done any more.
    async fn durable(&self, what: What) -> Result<(), Failure>;

    /// Does not wait.
    fn passing(&self, what: What);
}

/// What a person answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Yes or no.
    pub yes: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub because: Option<String>,
}

/// People, as an action sees them. The answer is in the journal when it arrives here.
#[async_trait]
pub trait Person: Send + Sync {
    /// Waits for an answer, or for the question's time-out (a no).
    async fn ask(&self, step: &StepId, ask: Ask) -> Result<Given, Failure>;
}

/// A step's notes, shared by everything that works for it.
#[derive(Clone, Default)]
pub struct StepNotes(Arc<Mutex<HashMap<String, Value>>>);

impl StepNotes {
    /// What an earlier process noted.
    pub fn from(notes: HashMap<String, Value>) -> Self {
        Self(Arc::new(Mutex::new(notes)))
    }

    fn get(&self, key: &str) -> Option<Value> {
        self.0.lock().expect("no holder panics").get(key).cloned()
    }

    fn set(&self, key: &str, value: Value) {
        self.0
            .lock()
            .expect("no holder panics")
            .insert(key.to_string(), value);
    }
}

/// Handed to every call of an action.
#[derive(Clone)]
pub struct Context {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// The present attempt, from 1; in `observe` the last one that was begun (0: none was).
    pub attempt: u32,
    /// What the run is for.
    pub mode: Mode,
    /// The plan's name, which goes into the names of servers.
    pub plan: String,
    /// When the service was lost.
    pub lost_at: Timestamp,
    /// The promised data loss.
    pub rpo: Option<std::time::Duration>,
    /// Providers, hosts, stores, secrets.
    pub services: Arc<Services>,
    /// The journal's door.
    pub record: Arc<dyn Record>,
    /// People.
    pub person: Arc<dyn Person>,
    /// What the run has come to so far, in a few lines, for messages.
    pub story: String,
    /// The step is only looked at: what it sees decides nothing, so what stands may be asked.
    pub probe: bool,
    /// What this step noted, also before a crash.
    pub notes: StepNotes,
}

impl Context {
    /// Remembers a value beyond a crash; returns when it is on disk.
    pub async fn note(&self, key: &str, value: impl Into<Value>) -> Result<(), Failure> {
        let value = value.into();
        let what = What::Note {
            step: self.step.clone(),
            key: key.to_string(),
            value: value.clone(),
        };
        self.record.durable(what).await?;
        self.notes.set(key, value);
        Ok(())
    }

    /// Remembers words in which somebody is quoted: a provider, a program, a person. Unlike other notes they are cleaned of secrets,
    /// so nothing may be decided by them.
    pub async fn note_words(&self, key: &str, words: &str) -> Result<(), Failure> {
        self.note(key, self.services.mask.clean(words)).await
    }

    /// A value noted earlier by this step, in this process or before.
    pub fn noted(&self, key: &str) -> Option<Value> {
        self.notes.get(key)
    }

    /// A noted text.
    pub fn noted_text(&self, key: &str) -> Option<String> {
        self.noted(key)
            .and_then(|value| value.as_str().map(str::to_string))
    }

    /// The older runs whose work this step goes on with, the oldest first.
    pub fn adopted(&self) -> Vec<RunId> {
        let list = self.noted(ADOPTED);
        list.and_then(|value| serde_json::from_value::<Vec<String>>(value).ok())
            .unwrap_or_default()
            .iter()
            .filter_map(|run| RunId::parse(run).ok())
            .collect()
    }

    /// The run whose mark is on what this step makes: the oldest that it goes on with, or this one.
    pub fn owner(&self) -> RunId {
        let adopted = self.adopted().into_iter().next();
        adopted.unwrap_or_else(|| self.run.clone())
    }

    /// How many attempts the older runs made.
    pub fn adopted_attempts(&self) -> u32 {
        let noted = self.noted(ADOPTED_ATTEMPTS);
        let attempts = noted.and_then(|value| value.as_u64()).unwrap_or_default();
        u32::try_from(attempts).unwrap_or_default()
    }

    /// Enters something into the run's ledger of made things; returns when it is on disk.
    pub async fn made(&self, resource: Resource) -> Result<(), Failure> {
        self.record
            .durable(What::Made {
                step: self.step.clone(),
                resource,
            })
            .await
    }

    /// Enters a proof that it is gone.
    pub async fn gone(&self, resource: Resource, proof: impl Into<String>) -> Result<(), Failure> {
        self.record
            .durable(What::Gone {
                step: self.step.clone(),
                resource,
                proof: proof.into(),
            })
            .await
    }

    /// Enters the newest record of a dataset, read from the data itself. `taken_as_utc`: the questions whose answers had no zone.
    pub async fn newest(
        &self,
        dataset: &str,
        at: Timestamp,
        backup_taken: Option<Timestamp>,
        limit: Option<std::time::Duration>,
        taken_as_utc: Vec<String>,
    ) -> Result<(), Failure> {
        let what = What::Newest {
            step: self.step.clone(),
            dataset: dataset.to_string(),
            at,
            backup_taken,
            limit,
            taken_as_utc,
        };
        self.record.durable(what).await
    }

    /// Says how far it is. Does not wait.
    pub fn progress(&self, phase: &str, done: u64, total: Option<u64>, unit: &str) {
        self.record.passing(What::Progress {
            step: self.step.clone(),
            phase: phase.to_string(),
            done,
            total,
            unit: unit.to_string(),
        });
    }

    /// Says a line. Does not wait.
    pub fn log(&self, line: impl Into<String>) {
        self.record.passing(What::Log {
            step: self.step.clone(),
            line: line.into(),
        });
    }

    /// Asks a person and waits.
    pub async fn ask(&self, ask: Ask) -> Result<Given, Failure> {
        self.person.ask(&self.step, ask).await
    }

    /// A host by name.
    pub fn host(&self, name: &str) -> Result<Arc<dyn Transport>, Failure> {
        self.services.hosts.get(name)
    }

    /// This step's job on a host, or one of its parts (`fetch`, `swap`).
    pub fn job(&self, part: Option<&str>) -> JobId {
        let step = match part {
            Some(part) => format!("{}.{part}", self.step),
            None => self.step.to_string(),
        };
        JobId {
            run: self.run.to_string(),
            step,
            attempt: self.attempt.max(1),
        }
    }

    /// The failure for something that was asked of a service that the estate does not have.
    pub fn missing(what: impl Into<String>) -> Failure {
        Failure::new(Reason::NotFound, what)
    }
}
