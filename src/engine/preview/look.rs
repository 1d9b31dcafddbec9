//! Looks at one step after the other, without changing anything.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::reading::context;
use super::{Foreseen, Would};
use crate::action::{Action, Context, Services, kind_of};
use crate::engine::contained::contained;
use crate::engine::prediction::{Estimate, predict};
use crate::event::{Event, What};
use crate::ids::StepId;
use crate::kind::{Effect, Failure, Finding, Mode, Observation, Reason, Surety};
use crate::program::Work;
use crate::state::RunState;
use crate::units::duration;

/// A look that takes longer than this says nothing to a person who waits at the screen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks that nothing comes before that would change anything are made now: the world stands as they will find it. What
/// they give is known to those after them.
pub(super) async fn look_at_what_stands(
    work: &Arc<dyn Work>,
    state: &mut RunState,
    services: &Arc<Services>,
) -> HashMap<StepId, Result<(), Failure>> {
    if state.header.mode == Mode::Drill {
        crate::engine::names::learn(&**work, state, services);
    }
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
    match tokio::time::timeout(PATIENCE, contained(look)).await {
        Ok(came) => came.and_then(|came| came),
        Err(_) => {
            let words = format!("no answer within {}", duration(PATIENCE));
            Err(Failure::new(Reason::Timeout, words))
        }
    }
}

pub(super) async fn foresee(
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
        unseen: None,
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
            foreseen.findings.push(Finding::unseen(words));
            foreseen.unseen = Some(failure.message);
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
        let why = format!("only looked at: {why}");
        foreseen.costs.clear();
        foreseen.probe(&*action, &cx, looked, &why).await;
    } else if foreseen.would != Would::Refuse {
        let own_script = work.own_script(id, &foreseen.bound.kind);
        foreseen.look(&*action, own_script, &cx, looked).await;
    }
    foreseen.seen = record.noted();
    foreseen.what = work.readable(&foreseen.what);
    foreseen.unseen = foreseen.unseen.map(|why| work.readable(&why));
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

    /// Its state should be known now, and could not be looked at.
    fn unseen(&mut self, would: Would, before: &str, why: String) {
        let words = format!("{before}could not be looked at: {why}");
        self.is(would, Surety::CannotBeChecked, words);
        self.unseen = Some(why);
    }

    fn is(&mut self, would: Would, surety: Surety, what: impl Into<String>) {
        (self.would, self.surety, self.what) = (would, surety, what.into());
    }

    /// What a drill would see of it, if that can be seen now.
    async fn probe(
        &mut self,
        action: &dyn Action,
        cx: &Context,
        looked: Option<&Result<(), Failure>>,
        why_probed: &str,
    ) {
        use Surety::{Assumed, CannotBeChecked, Verified};
        let (surety, saw) = if self.bound.effect == Effect::Read {
            match looked {
                Some(Ok(())) => (Verified, "it holds now".to_string()),
                Some(Err(failure)) if failure.reason.passes() => {
                    if was_turned_away(failure) {
                        self.unseen = Some(failure.message.clone());
                    }
                    let words = format!("could not be looked at: {}", failure.message);
                    (CannotBeChecked, words)
                }
                Some(Err(failure)) => (
                    Verified,
                    format!("it does not hold now: {}", failure.message),
                ),
                None => (CannotBeChecked, "a look when its turn comes".into()),
            }
        } else if !self.unknown.is_empty() {
            (
                Assumed,
                "what it would be aimed at is made by the run".into(),
            )
        } else {
            match within(action.observe(cx)).await {
                Ok(Observation::Done) => (Verified, "it is so already".into()),
                Ok(Observation::Absent) => (Verified, "a failover would do it".into()),
                Ok(Observation::Partial { what }) => {
                    (Verified, format!("a failover would do it; {what}"))
                }
                Ok(
                    Observation::Running { what }
                    | Observation::Foreign { what, .. }
                    | Observation::CannotTell { why: what, .. },
                ) => {
                    let words = format!("a failover would stop here: {what}");
                    self.findings.push(Finding::warning(words.clone()));
                    (Verified, words)
                }
                Ok(Observation::Unseen { why }) => {
                    return self.unseen(Would::Probe, &format!("{why_probed}; "), why);
                }
                Err(failure) => {
                    return self.unseen(Would::Probe, &format!("{why_probed}; "), failure.message);
                }
            }
        };
        self.is(Would::Probe, surety, format!("{why_probed}; {saw}"));
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
                        if was_turned_away(failure) {
                            self.unseen = Some(failure.message.clone());
                        }
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
            Ok(Observation::Unseen { why }) => self.unseen(Would::Act, "", why),
            Err(failure) if failure.reason == Reason::NotFound => {
                self.is(Would::Act, Assumed, failure.message);
            }
            Err(failure) => self.unseen(Would::Act, "", failure.message),
        }
    }
}

/// A check that finds nobody has found something out; one that was turned away has not.
fn was_turned_away(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::RateLimited | Reason::Busy)
}
