//! Makes the report from the sum alone: right after the run or years later from the journal, by the
//! same function.

use jiff::Timestamp;

use super::model::{
    Approval, DataLoss, DatasetLoss, Health, JournalHead, Made, Moment, People, Recovery, Refusal,
    Report, Retried, Seconds, Status, StepReport, StillOpen, Warned,
};
use super::path::critical_path;
use crate::event::Header;
use crate::ids::StepId;
use crate::kind::Observation;
use crate::state::{self, RunState, StepState, between};

/// The format of `report.json`.
const FORMAT: u32 = 1;

impl Report {
    /// The report of a run as far as it went.
    pub fn new(state: &RunState) -> Self {
        let Header {
            objectives, run, ..
        } = &state.header;
        let (result, because) = match &state.result {
            Some((result, because)) => (Some(*result), because.clone()),
            None => (None, Vec::new()),
        };
        let rto = state.rto();
        Self {
            format: FORMAT,
            result,
            because,
            still_open: still_open(state),
            run: run.clone(),
            plan: state.header.plan.clone(),
            description: state.header.description.clone(),
            estate: state.header.estate.clone(),
            mode: state.header.mode,
            by: state.header.by.clone(),
            version: state.header.version.clone(),
            inputs: state.header.inputs.clone(),
            lost_at: state.header.lost_at,
            lost_at_is_default: state.header.lost_at_is_default,
            started: state.started,
            last: state.last,
            took: Seconds(between(state.started, state.last)),
            resumes: state.resumes,
            rto: Recovery {
                measured: rto.map(Seconds),
                objective: objectives.rto.map(Seconds),
                met: Option::zip(rto, objectives.rto).map(|(measured, limit)| measured <= limit),
                since_the_loss: Seconds(between(state.header.lost_at, state.last)),
                healthy_since: state.healthy_since,
            },
            rpo: data_loss(state),
            people: People {
                waited: Seconds(state.waited_for_people()),
                asked: state
                    .steps
                    .iter()
                    .flat_map(|s| asked(s, state.last))
                    .collect(),
            },
            health: state.health.map(|(green, at)| Health {
                green,
                at,
                evidence: state.health_evidence.clone(),
            }),
            stopped: state.stopped.as_ref().map(|(why, _)| why.clone()),
            next: next(state),
            steps: state.steps.iter().map(|one| step(state, one)).collect(),
            critical_path: critical_path(state),
            resources: state.resources.iter().map(made).collect(),
            findings: findings(state),
            refused: state
                .refused
                .iter()
                .map(|(step, failure)| Refusal {
                    step: step.clone(),
                    failure: failure.clone(),
                })
                .collect(),
            drill: super::drill::DrillReport::of(state),
            back: super::back::BackReport::of(state),
            damaged: None,
            timeline: timeline(state),
            journal: None,
        }
    }

    /// Names the journal that it was made from.
    #[must_use]
    pub fn of_journal(mut self, records: u64, sha256: impl std::fmt::Display) -> Self {
        self.journal = Some(JournalHead {
            records,
            sha256: sha256.to_string(),
        });
        self
    }

    /// Says what is wrong with the journal. Nothing is built on it any more, so nothing that goes on with it is to be typed.
    #[must_use]
    pub fn of_damaged(mut self, what: Option<String>) -> Self {
        if what.is_some() {
            self.next.clear();
        }
        self.damaged = what;
        self
    }

    /// `report.json`.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("names, numbers and texts can always be written as JSON");
        text.push('\n');
        text
    }
}

fn data_loss(state: &RunState) -> DataLoss {
    let objective = state.header.objectives.rpo;
    let lost_at = state.header.lost_at;
    let datasets: Vec<DatasetLoss> = state
        .newest
        .iter()
        .map(|newest| {
            let lost = between(newest.at, lost_at);
            let limit = [newest.limit, objective].into_iter().flatten().min();
            DatasetLoss {
                dataset: newest.dataset.clone(),
                newest: newest.at,
                lost: Seconds(lost),
                after_the_loss: (newest.at > lost_at).then(|| Seconds(between(lost_at, newest.at))),
                backup_taken: newest.backup_taken,
                backup_claims_newer_by: newest
                    .backup_taken
                    .map(|taken| Seconds(between(newest.at, taken))),
                limit: newest.limit.map(Seconds),
                met: limit.map(|limit| lost <= limit),
                measured_by: newest.step.clone(),
                taken_as_utc: state
                    .taken_as_utc(&newest.dataset)
                    .into_iter()
                    .map(str::to_string)
                    .collect(),
            }
        })
        .collect();
    let measured = datasets.iter().map(|d| d.lost).max();
    DataLoss {
        measured,
        objective: objective.map(Seconds),
        met: Option::zip(measured, objective).map(|(measured, limit)| measured.0 <= limit),
        datasets,
    }
}

fn step(state: &RunState, step: &StepState) -> StepReport {
    StepReport {
        id: step.bound.id.clone(),
        kind: step.bound.kind.clone(),
        title: state.filled(&step.bound.title),
        effect: step.bound.effect,
        phase: step.bound.phase.clone(),
        owner: step.bound.owner.clone(),
        critical: step.bound.critical,
        finally: step.bound.finally,
        status: match &step.status {
            state::Status::Waiting => Status::Waiting,
            state::Status::Running => Status::Running,
            state::Status::Blocked(observation) => Status::Blocked {
                observation: observation.clone(),
            },
            state::Status::Done => Status::Done {
                already: step.already,
                probed: step.bound.probe.is_some(),
            },
            state::Status::Failed(failure) => Status::Failed {
                failure: failure.clone(),
            },
            state::Status::Doomed(cause) => Status::Doomed {
                cause: cause.clone(),
            },
            state::Status::LeftOut(why) => Status::LeftOut { why: why.clone() },
            state::Status::Skipped => {
                let (by, because) = step.skipped.clone().unwrap_or_default();
                Status::Skipped { by, because }
            }
        },
        started: step.started,
        ended: step.ended,
        took: step.took().map(Seconds),
        expect: step.bound.expect.map(Seconds),
        waited: Seconds(step.waited),
        attempts: step.attempt,
        retries: step
            .retries
            .iter()
            .map(|(attempt, failure)| Retried {
                attempt: *attempt,
                failure: failure.clone(),
            })
            .collect(),
        evidence: step.evidence.clone(),
        output: step.output.clone(),
    }
}

fn asked(step: &StepState, now: Timestamp) -> Vec<Approval> {
    let answered = step.answers.iter().map(|answer| Approval {
        step: step.bound.id.clone(),
        kind: answer.ask.kind,
        question: answer.ask.question.clone(),
        yes: Some(answer.yes),
        by: Some(answer.by.clone()),
        because: answer.because.clone(),
        how: Some(answer.how.clone()),
        waited: Seconds(answer.after),
    });
    let open = step.asking.iter().map(|(ask, since)| Approval {
        step: step.bound.id.clone(),
        kind: ask.kind,
        question: ask.question.clone(),
        yes: None,
        by: None,
        because: None,
        how: None,
        waited: Seconds(between(*since, now)),
    });
    answered.chain(open).collect()
}

fn made((step, resource, gone): &(StepId, crate::kind::Resource, Option<String>)) -> Made {
    Made {
        step: step.clone(),
        kind: resource.kind.clone(),
        account: resource.account.clone(),
        id: resource.id.clone(),
        name: resource.name.clone(),
        gone: gone.clone(),
    }
}

/// What good steps left, and what fences that were not set mean. Others that did not come about stand among the failures.
fn still_open(state: &RunState) -> Vec<StillOpen> {
    let mut all = Vec::new();
    for step in &state.steps {
        let id = &step.bound.id;
        let fence = matches!(step.bound.kind.as_str(), "server.power" | "server.delete");
        let not_set = matches!(
            step.status,
            state::Status::Failed(_) | state::Status::Doomed(_) | state::Status::Skipped
        );
        if fence && not_set && state.result.is_some() {
            all.push(StillOpen {
                step: id.clone(),
                what: format!(
                    "`{}` did not come about: what should have been fenced may still take writes",
                    state.filled(&step.bound.title)
                ),
                until: None,
            });
        }
        // What a drill made goes with it: only what a look at the estate found stays open.
        let thrown_away = state.header.drill.is_some() && step.bound.probe.is_none();
        // Nothing is left open by a step that was taken back, or that went with its server.
        let taken_back = matches!(
            state.back.steps.get(id),
            Some(state::Return::Undone(_) | state::Return::Left(false, _))
        );
        if step.status == state::Status::Done && !thrown_away && !taken_back {
            // And nothing is kept of before by a step that let go of it.
            let released = state.back.released.contains_key(id);
            let open = step.left_open.iter();
            let open = open.filter(|open| !released || open.until.is_some());
            all.extend(open.map(|open| StillOpen {
                step: id.clone(),
                what: open.what.clone(),
                until: open.until,
            }));
        }
    }
    all
}

/// A resumed run checks again and finds the same again; once is enough.
fn findings(state: &RunState) -> Vec<Warned> {
    let mut seen = std::collections::HashSet::new();
    state
        .findings
        .iter()
        .filter(|(step, finding)| seen.insert((step.clone(), finding.what.clone())))
        .map(|(step, finding)| Warned {
            step: step.clone(),
            surety: finding.surety,
            what: finding.what.clone(),
            warning: finding.warning,
        })
        .collect()
}

/// Each hint once: of the stop first, then of what stands in the way.
fn next(state: &RunState) -> Vec<String> {
    let run = state.header.run.short();
    match &state.back {
        back if back.handed_over.is_some() => {
            return back
                .handed_over
                .iter()
                .map(|to| format!("dr-plan status {}", to.short()))
                .collect();
        }
        back if state.header.drill.is_some() && back.begun.is_some() && !back.ended => {
            return vec![
                format!("dr-plan resume {run}"),
                format!("dr-plan reap --run {run}"),
            ];
        }
        back if back.begun.is_some() && !back.ended => return vec![format!("dr-plan undo {run}")],
        back if back.begun.is_some() => return Vec::new(),
        _ => {}
    }
    let stop = state.stopped.iter().filter_map(|(_, hint)| hint.clone());
    let refused = state.refused.iter().filter_map(|(_, f)| f.hint.clone());
    let steps = state.steps.iter().filter_map(|step| match &step.status {
        state::Status::Failed(failure) => failure.hint.clone(),
        state::Status::Blocked(
            Observation::Foreign { hint, .. } | Observation::CannotTell { hint, .. },
        ) => hint.clone(),
        _ => None,
    });
    let mut seen = std::collections::HashSet::new();
    let mut all: Vec<String> = stop
        .chain(refused)
        .chain(steps)
        .filter(|hint| seen.insert(hint.clone()))
        .collect();
    let bad = |step: &StepState| !step.status.good() && step.bound.critical;
    if state.refused.is_empty() && state.stopped.is_none() && state.steps.iter().any(bad) {
        let resume = format!("dr-plan resume {}", state.header.run.short());
        if state.result.is_some() && !all.iter().any(|hint| hint.contains("dr-plan resume")) {
            all.push(resume);
        }
    }
    all
}

fn timeline(state: &RunState) -> Vec<Moment> {
    let mut all = Vec::new();
    let mut add = |at: Timestamp, what: String| all.push(Moment { at, what });
    for newest in &state.newest {
        add(
            newest.at,
            format!("newest record of `{}` that came back", newest.dataset),
        );
        if let Some(taken) = newest.backup_taken {
            add(
                taken,
                format!("backup of `{}`, by its own word", newest.dataset),
            );
        }
    }
    if !state.header.lost_at_is_default {
        add(state.header.lost_at, "service lost".into());
    }
    add(state.started, format!("run begun by {}", state.header.by));
    for step in &state.steps {
        let id = &step.bound.id;
        if let Some(at) = step.started {
            add(at, format!("`{id}` begun"));
        }
        if let Some(at) = step.ended {
            add(at, format!("`{id}` {}", step.status.word()));
        }
    }
    if state.resumes > 0 {
        add(state.taken_up, "taken up again (last time)".into());
    }
    if let Some(at) = state.healthy_since {
        add(at, "healthy: first green of the series that held".into());
    }
    if let Some((result, _)) = &state.result {
        add(state.last, format!("ended: {result}"));
    }
    // Stable: what happened at one moment stays in the order of the plan.
    all.sort_by_key(|moment| moment.at);
    all
}
