//! What a run would do, found out by looking only: every precheck and every observe, and nothing else. Nothing reaches a
//! journal; what steps would note stays in memory and is shown, for a run that must not differ from it.

mod differences;
mod look;
mod reading;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prediction::{Estimate, Predicted, longest_way, predict};
use crate::action::{Cost, Services};
use crate::event::{BoundStep, Event, FileHash, Header, What};
use crate::ids::StepId;
use crate::kind::{Finding, Surety};
use crate::program::{Placeholder, Work};
use crate::secret::Mask;
use crate::state::{RunState, StateError};

pub use differences::differences;
use look::{foresee, look_at_what_stands};
pub(super) use reading::reading;

/// The format of a saved preview.
pub const PREVIEW_FORMAT: u32 = 1;

/// What a step would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Would {
    /// It only looks.
    Look,
    /// It asks a person, or lets time pass.
    Wait,
    /// It sends a message.
    Tell,
    /// It acts.
    Act,
    /// It is only looked at, for a drill may not touch it.
    Probe,
    /// Nothing: the wanted state holds.
    Nothing,
    /// It is not part of the run.
    LeftOut,
    /// A person would have to look: something foreign is there, or nobody can tell.
    Stop,
    /// Its precheck refuses: the run would not start.
    Refuse,
}

/// One step, foreseen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Foreseen {
    /// The step as it was bound.
    #[serde(flatten)]
    pub bound: BoundStep,
    /// What it would do.
    pub would: Would,
    /// How sure that is.
    pub surety: Surety,
    /// The same in words.
    pub what: String,
    /// Why its state could not be seen, where it should be known before the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Values that it uses and nobody has yet.
    pub unknown: Vec<Placeholder>,
    /// What its checks found.
    pub findings: Vec<Finding>,
    /// What it saw and would hold the world against later.
    pub seen: BTreeMap<String, Value>,
    /// What it would say to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it would create.
    pub costs: Vec<Cost>,
    /// How long it would take.
    pub predicted: Predicted,
}

/// What a month of everything that would be created costs at one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Monthly {
    /// The account.
    pub account: String,
    /// Net, in the account's currency.
    pub monthly: f64,
    /// Things without a price, which are not in the sum.
    pub without_price: usize,
}

/// A run that was only looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The format of this document.
    pub format: u32,
    /// When it was made.
    pub made: Timestamp,
    /// By whom.
    pub by: String,
    /// The version of dr-plan.
    pub version: String,
    /// The plan's name.
    pub plan: String,
    /// Where it was read from.
    pub plan_path: String,
    /// The estate.
    pub estate: String,
    /// When the service was lost, as far as the preview was told.
    pub lost_at: Timestamp,
    /// The plan, the inventory, the provider files and all files of the plan.
    pub files: Vec<FileHash>,
    /// Inputs.
    pub inputs: serde_json::Map<String, Value>,
    /// Every step.
    pub steps: Vec<Foreseen>,
    /// The longest way through the steps until health has held, in seconds, without the time that people need.
    pub predicted_seconds: f64,
    /// Who is on it.
    pub longest_way: Vec<StepId>,
    /// What it would cost.
    pub monthly: Vec<Monthly>,
}

impl Preview {
    /// Steps for which the run would not start, or would stop.
    pub fn against(&self) -> impl Iterator<Item = &Foreseen> {
        self.steps
            .iter()
            .filter(|step| matches!(step.would, Would::Refuse | Would::Stop))
    }

    /// Steps whose state could not be seen: nobody knows whether something speaks against them. With why.
    pub fn unseen(&self) -> impl Iterator<Item = (&Foreseen, &str)> {
        self.steps
            .iter()
            .filter(|step| !matches!(step.would, Would::Refuse | Would::Stop))
            .filter_map(|step| Some((step, step.unseen.as_deref()?)))
    }

    /// Cleans what providers, hosts and programs said. What `run --preview` compares stays as it is: a word of the plan may be
    /// somebody's password.
    pub fn clean(&mut self, mask: &Mask) {
        for step in &mut self.steps {
            let findings = step.findings.iter_mut().map(|finding| &mut finding.what);
            let asides = [&mut step.unseen, &mut step.hint, &mut step.message];
            findings
                .chain([&mut step.what])
                .chain(asides.into_iter().flatten())
                .for_each(|text| mask.clean_in(text));
        }
    }

    /// All was seen that can be, and nothing of it speaks against the run.
    pub fn is_clear(&self) -> bool {
        self.against().next().is_none() && self.unseen().next().is_none()
    }
}

/// Looks. `known` is what steps of an older run noted that this one would go on with; `earlier` are runs of the same plan,
/// for the predictions.
///
/// # Errors
/// The header cannot be the beginning of a run.
pub async fn preview(
    work: &Arc<dyn Work>,
    header: Header,
    known: Vec<(StepId, String, Value)>,
    services: &Arc<Services>,
    earlier: &[RunState],
) -> Result<Preview, StateError> {
    let now = services.clock.now();
    let event = Event {
        seq: 1,
        at: now,
        ms: 0,
        what: What::Header(Box::new(header)),
    };
    let mut state = RunState::begin(&event)?;
    for (step, key, value) in known {
        let event = Event {
            seq: state.seq + 1,
            at: now,
            ms: 0,
            what: What::Note { step, key, value },
        };
        state.fold(&event)?;
    }
    let looked = look_at_what_stands(work, &mut state, services).await;
    let ids: Vec<StepId> = state.header.steps.iter().map(|s| s.id.clone()).collect();
    let (state, looked) = (&state, &looked);
    let all = ids.into_iter().map(|id| async move {
        let foreseen = foresee(work, state, services, looked.get(&id), &id).await;
        (id, foreseen)
    });
    let mut came: HashMap<StepId, (Foreseen, Estimate)> = futures::stream::iter(all)
        .buffer_unordered(16)
        .collect()
        .await;
    let mut steps = Vec::new();
    for bound in &state.header.steps {
        if let Some((mut step, estimate)) = came.remove(&bound.id) {
            step.predicted = predict(bound, estimate, earlier);
            steps.push(step);
        }
    }
    let times = steps
        .iter()
        // What holds already is looked at and left alone.
        .filter(|step| !matches!(step.would, Would::Nothing | Would::LeftOut))
        .map(|step| (step.bound.id.clone(), step.predicted.time()))
        .collect();
    let (mut total, way) = longest_way(&state.header.steps, &times);
    if let Some(health) = &state.header.health {
        total += health.hold;
    }
    let header = &state.header;
    Ok(Preview {
        format: PREVIEW_FORMAT,
        made: now,
        by: header.by.clone(),
        version: header.version.clone(),
        plan: header.plan.clone(),
        plan_path: header.plan_path.clone(),
        estate: header.estate.clone(),
        lost_at: header.lost_at,
        files: header.files.clone(),
        inputs: header.inputs.clone(),
        predicted_seconds: (total.as_secs_f64() * 1000.0).round() / 1000.0,
        longest_way: way,
        monthly: monthly(&steps),
        steps,
    })
}

fn monthly(steps: &[Foreseen]) -> Vec<Monthly> {
    let mut accounts: BTreeMap<&str, Monthly> = BTreeMap::new();
    for cost in steps.iter().flat_map(|step| &step.costs) {
        let sum = accounts.entry(&cost.account).or_insert_with(|| Monthly {
            account: cost.account.clone(),
            monthly: 0.0,
            without_price: 0,
        });
        match cost.monthly {
            Some(price) => sum.monthly += price,
            None => sum.without_price += 1,
        }
    }
    accounts.into_values().collect()
}
