//! `dr-plan run --adopt RUN`: goes on with what an older run left, instead of making everything anew. What is taken over is what
//! its steps noted about the world: which servers are theirs and by which keys they are known, which backup was staged, what
//! stood in the zone before. The new run looks at all of it before it does anything, as it would at its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::failure::{CliError, PROBLEMS, USAGE};
use super::here::person;
use crate::action::{ADOPTED, ADOPTED_ATTEMPTS, Services, kind_of};
use crate::clock::{Clock, Timestamp};
use crate::event::{Back, RunResult, What};
use crate::ids::{RunId, StepId};
use crate::journal::{Ledger, Parts, RunFolder};
use crate::kind::{Effect, Mode, Resource};
use crate::program::{Program, Work};
use crate::provider::Server;
use crate::secret::Mask;
use crate::state::{Return, RunState, StepState};

/// A run whose estate is to be gone on with.
#[derive(Clone)]
pub struct Older {
    folder: RunFolder,
    state: RunState,
}

/// What is taken over from it.
pub struct Adoption {
    older: Older,
    notes: Vec<(StepId, String, serde_json::Value)>,
    made: Vec<(StepId, Resource)>,
}

/// Finds the older run, and refuses one that this plan cannot go on with.
pub fn older(name: &str, state_path: &Path, program: &Program) -> Result<Older, CliError> {
    let folder = RunFolder::find(state_path, name)?;
    let state = folder.sum()?;
    let header = &state.header;
    let run = header.run.short();
    let refuse = |words: String| Err(CliError::new(USAGE, words));
    if header.estate != program.inventory().name || header.plan != program.plan().name {
        return refuse(format!(
            "run {run} was `{}` of `{}`, and this is `{}` of `{}`",
            header.plan,
            header.estate,
            program.plan().name,
            program.inventory().name
        ));
    }
    if header.mode != Mode::Failover {
        return refuse(format!(
            "run {run} was a {}: what it made is thrown away and is no part of a recovery",
            header.mode
        ));
    }
    if folder.is_live()? {
        return refuse(format!("run {run} is at work"));
    }
    if let Some(to) = &state.back.handed_over {
        return Err(CliError::new(
            USAGE,
            format!("run {run} handed over to run {}", to.short()),
        )
        .hint(format!("--adopt {}", to.short())));
    }
    if matches!(state.result, Some((RunResult::Met, _))) && state.back.begun.is_none() {
        return refuse(format!(
            "run {run} ended as MET: it left nothing to go on with"
        ));
    }
    Ok(Older { folder, state })
}

impl Older {
    /// When the service was lost, if somebody said so.
    pub fn lost_at(&self) -> Option<Timestamp> {
        let header = &self.state.header;
        (!header.lost_at_is_default).then_some(header.lost_at)
    }

    /// Which run it is.
    pub fn run(&self) -> &RunId {
        &self.state.header.run
    }

    /// Refuses if the run has moved on since it was shown to a person as `shown`.
    pub fn as_shown(&self, shown: &Self) -> Result<(), CliError> {
        if self.state == shown.state {
            return Ok(());
        }
        let run = self.run().short();
        let words = format!(
            "run {run} has changed since you were shown what would be done with it; not started, nothing was touched"
        );
        Err(CliError::new(PROBLEMS, words).hint(format!(
            "how it stands: dr-plan status {run}; the same command shows anew what would be done"
        )))
    }

    /// What can be taken over. Servers are looked for at every account, by the older run's tag.
    ///
    /// # Errors
    /// A server of the older run has no place in this plan: nobody would look after it any more.
    pub async fn survey(
        self,
        program: &Arc<Program>,
        services: &Services,
    ) -> Result<Adoption, CliError> {
        let old = &self.state;
        let mut owners: Vec<RunId> = Vec::new();
        for step in &old.steps {
            owners.extend(adopted_by(step));
        }
        owners.push(old.header.run.clone());
        owners.sort();
        owners.dedup();
        let mut standing: BTreeMap<String, Vec<(String, Server)>> = BTreeMap::new();
        for (account, provider) in &services.providers {
            for owner in &owners {
                for server in provider.find(owner.as_str(), None).await.map_err(|error| {
                    crate::kind::Failure::from(error)
                        .at(format!("looking for the servers of run {}", owner.short()))
                })? {
                    let step = server
                        .tags
                        .as_ref()
                        .map_or(String::new(), |t| t.step.clone());
                    standing
                        .entry(step)
                        .or_default()
                        .push((account.clone(), server));
                }
            }
        }
        let begun = |step: &&StepState| {
            let undone = matches!(old.back.steps.get(&step.bound.id), Some(Return::Undone(_)));
            (step.attempt > 0 || step.notes.contains_key(ADOPTED)) && !undone
        };
        let same = |step: &StepState| {
            program.steps().iter().any(|new| {
                new.id == step.bound.id
                    && new.kind == step.bound.kind
                    && new.left_out.is_none()
                    // Servers of another place or type are not what this plan wants.
                    && (new.effect != Effect::Create || new.title == step.bound.title)
            })
        };
        let mut creating: Vec<StepId> = Vec::new();
        let mut made = Vec::new();
        for step in old.steps.iter().filter(begun) {
            let Some(servers) = standing.get(step.bound.id.as_str()).filter(|_| same(step)) else {
                continue;
            };
            creating.push(step.bound.id.clone());
            for (account, server) in servers {
                let resource = Resource {
                    kind: "server".into(),
                    account: account.clone(),
                    id: server.id.clone(),
                    name: server.name.clone(),
                };
                made.push((step.bound.id.clone(), resource));
            }
        }
        let run = old.header.run.short();
        let lost: Vec<String> = standing
            .iter()
            .filter(|(step, _)| !creating.iter().any(|id| id.as_str() == step.as_str()))
            .flat_map(|(step, servers)| {
                servers
                    .iter()
                    .map(move |(_, s)| format!("`{}` of step `{step}`", s.name))
            })
            .collect();
        if !lost.is_empty() {
            let words = format!(
                "run {run} left servers that this plan has no place for: {}",
                lost.join(", ")
            );
            let hint = format!("take those steps back first: dr-plan undo {run} STEP");
            return Err(CliError::new(PROBLEMS, words).hint(hint));
        }
        let homes = homes(program, &creating);
        let mut notes = Vec::new();
        for step in old.steps.iter().filter(begun).filter(|step| same(step)) {
            let id = &step.bound.id;
            let keys = kind_of(&step.bound.kind).map_or(&[][..], |kind| kind.adopts);
            let creates = step.bound.effect == Effect::Create;
            // What lay on a server that is gone is gone.
            if keys.is_empty()
                || creates && !creating.contains(id)
                || !homes.stands(program, old, id)
            {
                continue;
            }
            let mut taken: Vec<(&String, &serde_json::Value)> = step
                .notes
                .iter()
                .filter(|(key, _)| keys.iter().any(|known| key.starts_with(known)))
                .collect();
            taken.sort_by_key(|(key, _)| key.as_str());
            for (key, value) in taken {
                notes.push((id.clone(), key.clone(), value.clone()));
            }
            let mut owners = adopted_by(step);
            owners.push(old.header.run.clone());
            let owners: Vec<&str> = owners.iter().map(RunId::as_str).collect();
            notes.push((id.clone(), ADOPTED.into(), owners.into()));
            // A job of an attempt that nobody saw the end of may be at work: the first look must find it.
            let attempts = step.attempt - u32::from(step.in_doubt && step.attempt > 0);
            let before = step
                .notes
                .get(ADOPTED_ATTEMPTS)
                .and_then(serde_json::Value::as_u64)
                .unwrap_or_default();
            let attempts = before + u64::from(attempts);
            notes.push((id.clone(), ADOPTED_ATTEMPTS.into(), attempts.into()));
        }
        Ok(Adoption {
            older: self,
            notes,
            made,
        })
    }
}

fn adopted_by(step: &StepState) -> Vec<RunId> {
    let list = step.notes.get(ADOPTED);
    list.and_then(|value| serde_json::from_value::<Vec<String>>(value.clone()).ok())
        .unwrap_or_default()
        .iter()
        .filter_map(|run| RunId::parse(run).ok())
        .collect()
}

/// Which hosts of the plan are made by it and do not stand.
struct Homes {
    gone: std::collections::BTreeSet<String>,
}

fn homes(program: &Arc<Program>, creating: &[StepId]) -> Homes {
    let mut gone = program.made_hosts();
    for id in creating {
        if let Some(host) = program.host_made_by(id) {
            gone.remove(host);
        }
    }
    Homes { gone }
}

impl Homes {
    fn stands(&self, program: &Arc<Program>, state: &RunState, step: &StepId) -> bool {
        let action = program.rehearse(step, state);
        action.is_ok_and(|action| action.host().is_none_or(|host| !self.gone.contains(host)))
    }
}

impl Adoption {
    /// What its steps noted, by step and name.
    pub fn notes(&self) -> Vec<(StepId, String, serde_json::Value)> {
        self.notes.clone()
    }

    /// For people: what is gone on with.
    pub fn words(&self) -> String {
        let mut text = format!(
            "goes on with what run {} left:\n",
            self.older.state.header.run.short()
        );
        for (step, resource) in &self.made {
            text.push_str(&format!("    {:<18} {resource}\n", step.as_str()));
        }
        let steps = self.notes.iter().filter(|(_, key, _)| key == ADOPTED);
        for (step, ..) in steps {
            if !self.made.iter().any(|(made, _)| made == step) {
                text.push_str(&format!("    {:<18} as far as it came\n", step.as_str()));
            }
        }
        text
    }

    /// Writes all of it into the new run's journal, and into the older one that it is another's now.
    pub async fn take_over(self, ledger: &Ledger, clock: &Arc<dyn Clock>) -> Result<(), CliError> {
        for (step, key, value) in self.notes {
            ledger.record(What::Note { step, key, value }).await?;
        }
        for (step, resource) in self.made {
            ledger.record(What::Made { step, resource }).await?;
        }
        let (journal, state) = self.older.folder.open_sum()?;
        let parts = Parts {
            journal: Box::new(journal),
            reporters: Vec::new(),
            mask: Mask::default(),
            clock: clock.clone(),
            // The new run holds it.
            estate: None,
        };
        let older = Ledger::go_on(parts, state)?;
        let to = ledger.state(|state| state.header.run.clone());
        let handed = Back::HandedOver { to, by: person() };
        older.record(What::Back(handed)).await?;
        older.close()?;
        Ok(())
    }
}

/// A run that was killed while it took over knows only a part of what there is: gone on with, it would make the rest anew.
pub fn whole(state: &RunState, state_path: &Path) -> Result<(), CliError> {
    let Some(older) = &state.header.adopts else {
        return Ok(());
    };
    let before = RunFolder::open(state_path, older)?.sum()?;
    if before.back.handed_over.as_ref() == Some(&state.header.run) {
        return Ok(());
    }
    let words = format!(
        "run {} was stopped while it took over from run {}: nothing was touched, and it does not know all that is there",
        state.header.run.short(),
        older.short()
    );
    Err(CliError::new(USAGE, words).hint(format!(
        "begin again: dr-plan run {} --adopt {}",
        state.header.plan_path,
        older.short()
    )))
}
