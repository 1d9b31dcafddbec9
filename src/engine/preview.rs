//! What a run would do, found out by looking only: every precheck and every observe, and nothing else. Nothing reaches a
//! journal; what steps would note stays in memory and is shown, for a run that must not differ from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prediction::{Estimate, Predicted, longest_way, predict};
use crate::action::{Action, Context, Cost, Given, Person, Record, Services, StepNotes, kind_of};
use crate::event::{Ask, BoundStep, Event, FileHash, Header, What};
use crate::ids::StepId;
use crate::kind::{Effect, Failure, Finding, Mode, Observation, Reason, Surety};
use crate::program::{Placeholder, Work};
use crate::state::{RunState, StateError};
use crate::units::duration;

/// The format of a saved preview.
pub const PREVIEW_FORMAT: u32 = 1;
/// A look that takes longer than this says nothing to a person who waits at the screen.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// Looks that nothing comes before that would change anything are made now: the world stands as they will find it. What
/// they give is known to those after them.
async fn look_at_what_stands(
    work: &Arc<dyn Work>,
    state: &mut RunState,
    services: &Arc<Services>,
) -> HashMap<StepId, Result<(), Failure>> {
    let mut looked: HashMap<StepId, Result<(), Failure>> = HashMap::new();
    loop {
        let next = state.header.steps.iter().find(|step| {
            step.effect == Effect::Read
                && step.left_out.is_none()
                && !step.finally
                && !looked.contains_key(&step.id)
                && !kind_of(&step.kind).is_some_and(|kind| kind.waits)
                && !work.own_script(&step.id, &step.kind)
                && step
                    .needs
                    .iter()
                    .all(|need| matches!(looked.get(&need.step), Some(Ok(()))))
        });
        let Some(id) = next.map(|step| step.id.clone()) else {
            return looked;
        };
        let (cx, _) = context(state, services, &id);
        let came = match work.rehearse(&id, state) {
            Ok(action) => within(action.verify(&cx)).await,
            Err(failure) => Err(failure),
        };
        let came = came.map(|verified| {
            let event = Event {
                seq: state.seq + 1,
                at: state.last,
                ms: 0,
                what: What::Done {
                    step: id.clone(),
                    already: false,
                    output: verified.output,
                    evidence: Vec::new(),
                    open: Vec::new(),
                },
            };
            // It was waiting, so it can be done.
            let _ = state.fold(&event);
        });
        looked.insert(id, came);
    }
}

async fn within<T>(look: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(came) => came,
        Err(_) => {
            let words = format!("no answer within {}", duration(PATIENCE));
            Err(Failure::new(Reason::Timeout, words))
        }
    }
}

/// A context that writes nothing, and what it was told.
fn context(state: &RunState, services: &Arc<Services>, step: &StepId) -> (Context, Arc<Unwritten>) {
    let record = Arc::new(Unwritten::default());
    let cx = Context {
        run: state.header.run.clone(),
        step: step.clone(),
        attempt: 0,
        mode: Mode::Preview,
        plan: state.header.plan.clone(),
        lost_at: state.header.lost_at,
        rpo: state.header.objectives.rpo,
        services: services.clone(),
        record: record.clone(),
        person: Arc::new(Nobody),
        story: "<what the run has come to by then>".into(),
        notes: StepNotes::from(
            state
                .step(step)
                .map(|step| step.notes.clone())
                .unwrap_or_default(),
        ),
    };
    (cx, record)
}

async fn foresee(
    work: &Arc<dyn Work>,
    state: &RunState,
    services: &Arc<Services>,
    looked: Option<&Result<(), Failure>>,
    id: &StepId,
) -> (Foreseen, Estimate) {
    let mut bound = state
        .step(id)
        .map(|step| step.bound.clone())
        .expect("the id is one of the header's");
    let kind = kind_of(&bound.kind);
    let mut estimate = Estimate {
        arguments: None,
        kind: kind.map_or(Duration::ZERO, |kind| kind.takes),
    };
    // A question takes no time that is counted.
    if kind.is_some_and(|kind| kind.waits) {
        estimate.kind = Duration::ZERO;
    }
    let (cx, record) = context(state, services, id);
    if let Ok(picture) = work.picture(id, state) {
        bound.title = work.readable(&picture.title());
        estimate.arguments = picture.takes();
    }
    let mut foreseen = Foreseen {
        would: Would::Act,
        surety: Surety::Assumed,
        what: String::new(),
        hint: None,
        unknown: Vec::new(),
        findings: Vec::new(),
        seen: BTreeMap::new(),
        message: None,
        costs: Vec::new(),
        predicted: predict(&bound, estimate, &[]),
        bound,
    };
    if let Some(why) = &foreseen.bound.left_out {
        foreseen.what = format!("left out: {why}");
        foreseen.would = Would::LeftOut;
        foreseen.surety = Surety::Verified;
        return (foreseen, estimate);
    }
    foreseen.unknown = work.unknown(id, state);
    let action = match work.rehearse(id, state) {
        Ok(action) => action,
        Err(failure) => {
            foreseen.refuse(failure);
            return (foreseen, estimate);
        }
    };
    match within(action.precheck(&cx)).await {
        Ok(findings) => foreseen.findings = findings,
        Err(failure) if failure.reason.passes() || failure.reason == Reason::Timeout => {
            let words = format!("could not be checked: {}", failure.message);
            foreseen.findings.push(Finding {
                surety: Surety::CannotBeChecked,
                what: words,
                warning: true,
            });
        }
        Err(failure) => foreseen.refuse(failure),
    }
    match within(action.costs(&cx)).await {
        Ok(costs) => foreseen.costs = costs,
        // A refused precheck has said it already.
        Err(_) if foreseen.would == Would::Refuse => {}
        Err(failure) => foreseen.findings.push(Finding::cannot_be_checked(format!(
            "what it costs: {}",
            failure.message
        ))),
    }
    if foreseen.bound.effect == Effect::Tell {
        let picture = work.picture(id, state).ok();
        let message = picture.and_then(|picture| picture.message(&cx));
        foreseen.message = message.map(|text| work.readable(&text));
    }
    if let (Some(why), true) = (&foreseen.bound.probe, foreseen.would != Would::Refuse) {
        let words = format!("only looked at: {why}");
        foreseen.costs.clear();
        foreseen.is(Would::Probe, Surety::Verified, words);
    } else if foreseen.would != Would::Refuse {
        let own_script = work.own_script(id, &foreseen.bound.kind);
        foreseen.look(&*action, own_script, &cx, looked).await;
    }
    foreseen.seen = record.noted();
    foreseen.what = work.readable(&foreseen.what);
    for finding in &mut foreseen.findings {
        finding.what = work.readable(&finding.what);
    }
    (foreseen, estimate)
}

impl Foreseen {
    fn refuse(&mut self, failure: Failure) {
        self.would = Would::Refuse;
        self.surety = Surety::Verified;
        self.what = format!("the run would not start: {}", failure.message);
        self.hint = failure.hint;
    }

    fn is(&mut self, would: Would, surety: Surety, what: impl Into<String>) {
        (self.would, self.surety, self.what) = (would, surety, what.into());
    }

    /// Observes, if that can be done now and does nothing.
    async fn look(
        &mut self,
        action: &dyn Action,
        own_script: bool,
        cx: &Context,
        looked: Option<&Result<(), Failure>>,
    ) {
        use Surety::{Assumed, CannotBeChecked, Verified};
        let kind = kind_of(&self.bound.kind);
        let waits = kind.is_some_and(|kind| kind.waits);
        match self.bound.effect {
            Effect::Tell => {
                return self.is(Would::Tell, Assumed, "a message: printed here, not sent");
            }
            Effect::Read if waits => {
                let words = match self.bound.kind.as_str() {
                    "wait" => "time passes",
                    _ => "a person is asked, and their answer is not known before",
                };
                return self.is(Would::Wait, CannotBeChecked, words);
            }
            Effect::Read => {
                if own_script {
                    let words = "a look by a script of your own, which is not started here";
                    return self.is(Would::Look, CannotBeChecked, words);
                }
                return match looked {
                    Some(Ok(())) => self.is(Would::Look, Verified, "looked at now: it holds"),
                    Some(Err(failure))
                        if failure.reason.passes() || failure.reason == Reason::Timeout =>
                    {
                        let words = format!("could not be looked at: {}", failure.message);
                        self.is(Would::Look, CannotBeChecked, words);
                    }
                    Some(Err(failure)) => {
                        self.findings.push(Finding {
                            surety: Verified,
                            what: format!("does not hold now: {}", failure.message),
                            warning: true,
                        });
                        self.is(Would::Look, Verified, "looked at now: it does not hold yet");
                    }
                    None => self.is(
                        Would::Look,
                        CannotBeChecked,
                        "a look at what the run has made by then",
                    ),
                };
            }
            _ => {}
        }
        if own_script {
            let words = "a script of your own: only its run shows what it does";
            return self.is(Would::Act, CannotBeChecked, words);
        }
        if !self.unknown.is_empty() {
            let words = "what it acts on is made by the run; assumed that nothing of it is there";
            return self.is(Would::Act, Assumed, words);
        }
        match within(action.observe(cx)).await {
            Ok(Observation::Absent) => {
                self.is(
                    Would::Act,
                    Verified,
                    "looked: it is not so yet, and would be done",
                );
            }
            // It stands, and is paid for already.
            Ok(Observation::Partial { what }) if self.bound.effect == Effect::Create => {
                self.costs.clear();
                self.is(
                    Would::Act,
                    Verified,
                    format!("looked: would go on with {what}"),
                );
            }
            Ok(Observation::Partial { what }) => self.is(
                Would::Act,
                Verified,
                format!("looked: would be done, for {what}"),
            ),
            Ok(Observation::Done) => {
                self.costs.clear();
                self.is(Would::Nothing, Verified, "looked: it is so already");
            }
            Ok(Observation::Running { what }) => self.is(
                Would::Stop,
                Verified,
                format!("the run would meet something at work: {what}"),
            ),
            Ok(Observation::Foreign { what, hint }) => {
                self.is(Would::Stop, Verified, format!("the run would stop: {what}"));
                self.hint = hint;
            }
            Ok(Observation::CannotTell { why, hint }) => {
                let words = format!("the run would stop, for nobody can tell: {why}");
                self.is(Would::Stop, CannotBeChecked, words);
                self.hint = hint;
            }
            Err(failure) if failure.reason == Reason::NotFound => {
                self.is(Would::Act, Assumed, failure.message);
            }
            Err(failure) => self.is(
                Would::Act,
                CannotBeChecked,
                format!("could not be looked at: {}", failure.message),
            ),
        }
    }
}

/// What steps say goes nowhere; what they note is remembered to be shown.
#[derive(Default)]
struct Unwritten(Mutex<BTreeMap<String, Value>>);

impl Unwritten {
    fn noted(&self) -> BTreeMap<String, Value> {
        self.0.lock().expect("no holder panics").clone()
    }
}

#[async_trait::async_trait]
impl Record for Unwritten {
    async fn durable(&self, what: What) -> Result<(), Failure> {
        match what {
            What::Note { key, value, .. } => {
                self.0.lock().expect("no holder panics").insert(key, value);
                Ok(())
            }
            // Measured, and measured again in the run.
            What::Newest { .. } => Ok(()),
            _ => Err(Failure::new(Reason::Refused, "a preview only looks")),
        }
    }

    fn passing(&self, _what: What) {}
}

/// Nobody is asked before the run.
struct Nobody;

#[async_trait::async_trait]
impl Person for Nobody {
    async fn ask(&self, _step: &StepId, _ask: Ask) -> Result<Given, Failure> {
        Err(Failure::new(Reason::Declined, "a preview asks nobody"))
    }
}

/// In what a second preview is another one than the saved one. Ages are not compared: time passes.
pub fn differences(saved: &Preview, now: &Preview) -> Vec<String> {
    let mut found = Vec::new();
    let mut differs = |place: &str, was: &str, is: &str| {
        if was != is {
            found.push(format!("{place}: was {was}, is {is}"));
        }
    };
    differs("estate", &saved.estate, &now.estate);
    differs("plan", &saved.plan, &now.plan);
    differs("version of dr-plan", &saved.version, &now.version);
    for (name, was, is) in both(
        saved.files.iter().map(|file| (&file.path, &file.sha256)),
        now.files.iter().map(|file| (&file.path, &file.sha256)),
    ) {
        let path = name.strip_prefix("files").unwrap_or(name);
        match (was, is) {
            (Some(was), Some(is)) if was != is => {
                found.push(format!("{path}: its content was changed"));
            }
            (Some(_), None) => found.push(format!("{path}: is no longer part of it")),
            (None, Some(_)) => found.push(format!("{path}: was not part of it")),
            _ => {}
        }
    }
    let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    for (name, was, is) in both(saved.inputs.iter(), now.inputs.iter()) {
        if was != is {
            found.push(format!("input {name}: was {}, is {}", text(was), text(is)));
        }
    }
    for (id, was, is) in both(
        saved.steps.iter().map(|step| (&step.bound.id, step)),
        now.steps.iter().map(|step| (&step.bound.id, step)),
    ) {
        match (was, is) {
            (Some(was), Some(is)) => found.extend(
                step_differences(was, is)
                    .into_iter()
                    .map(|words| format!("`{id}`: {words}")),
            ),
            (Some(_), None) => found.push(format!("`{id}`: is no step any more")),
            _ => found.push(format!("`{id}`: is a new step")),
        }
    }
    found
}

fn step_differences(was: &Foreseen, is: &Foreseen) -> Vec<String> {
    let mut found = Vec::new();
    if was.bound != is.bound {
        found.push(if was.bound.title == is.bound.title {
            "was written differently".to_string()
        } else {
            format!("was \"{}\", is \"{}\"", was.bound.title, is.bound.title)
        });
    }
    if (was.would, was.surety) != (is.would, is.surety) || steady(&was.what) != steady(&is.what) {
        found.push(format!("was \"{}\", is \"{}\"", was.what, is.what));
    }
    let words = |findings: &[Finding]| -> Vec<(String, String)> {
        let all = findings.iter();
        all.map(|finding| (steady(&finding.what), finding.what.clone()))
            .collect()
    };
    let (before, after) = (words(&was.findings), words(&is.findings));
    let lacks = |list: &[(String, String)], one: &str| !list.iter().any(|(known, _)| known == one);
    for (one, shown) in &before {
        if lacks(&after, one) {
            found.push(format!("found no more: {shown}"));
        }
    }
    for (one, shown) in &after {
        if lacks(&before, one) {
            found.push(format!("found now: {shown}"));
        }
    }
    for (key, old, new) in both(was.seen.iter(), is.seen.iter()) {
        if old != new {
            let text = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
            found.push(format!("{key}: was {}, is {}", text(old), text(new)));
        }
    }
    if was.message != is.message {
        found.push("its message is another one".into());
    }
    if was.costs != is.costs {
        let words = |costs: &[Cost]| -> String {
            let all = costs.iter().map(|cost| match cost.monthly {
                Some(price) => format!("{} for {price:.2} a month", cost.what),
                None => cost.what.clone(),
            });
            all.collect::<Vec<_>>().join(", ")
        };
        found.push(format!(
            "was {}, is {}",
            words(&was.costs),
            words(&is.costs)
        ));
    }
    found
}

/// Both sides by name, in the order of the first, then what only the second has.
fn both<'a, K: std::hash::Hash + Eq + 'a, V>(
    left: impl Iterator<Item = (&'a K, V)>,
    right: impl Iterator<Item = (&'a K, V)>,
) -> Vec<(&'a K, Option<V>, Option<V>)> {
    let right: Vec<(&K, V)> = right.collect();
    let mut order: Vec<&K> = right.iter().map(|(name, _)| *name).collect();
    let mut there: HashMap<&K, V> = right.into_iter().collect();
    let mut all = Vec::new();
    let mut met = HashSet::new();
    for (name, value) in left {
        met.insert(name);
        all.push((name, Some(value), there.remove(name)));
    }
    order.retain(|name| !met.contains(name));
    for name in order {
        if let Some(value) = there.remove(name) {
            all.push((name, None, Some(value)));
        }
    }
    all
}

/// A text without its ages: `12m07s` and `2d04h` say when it was looked, not what was there.
fn steady(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest
            .find(|c: char| {
                !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_' | '/'))
            })
            .unwrap_or(rest.len());
        let word = &rest[..end];
        out.push_str(if is_age(word) { "~" } else { word });
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Digits and units of time by turns: `7s`, `3h20m`, `1.5s`, `30ms`.
fn is_age(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ':']);
    let mut rest = word;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(0);
        let unit = &rest[digits..];
        let Some(unit) = ["ms", "s", "m", "h", "d"].iter().find(|known| {
            unit.strip_prefix(**known).is_some_and(|after| {
                after.is_empty() || after.starts_with(|c: char| c.is_ascii_digit())
            })
        }) else {
            return false;
        };
        if digits == 0 {
            return false;
        }
        rest = &rest[digits + unit.len()..];
    }
    !word.is_empty()
}

#[cfg(test)]
mod tests {
    use super::{is_age, steady};

    #[test]
    fn ages_are_told_from_everything_else() {
        for age in ["7s", "12m07s", "3h20m", "2d04h", "1.5s", "30ms", "5s."] {
            assert!(is_age(age), "{age}");
        }
        for other in [
            "",
            "s",
            "5",
            "15.2",
            "cx33",
            "4GiB",
            "2026-01-01T00:00:00Z",
            "5sec",
            "md5s",
        ] {
            assert!(!is_age(other), "{other}");
        }
        assert_eq!(
            steady(
                "v:shop-20261121T125103Z.dump (taken 2026-11-21T12:51:03Z, 5m03s before the loss), 38.5 KiB"
            ),
            "v:shop-20261121T125103Z.dump (taken 2026-11-21T12:51:03Z, ~ before the loss), 38.5 KiB"
        );
    }
}
