//! One event after the other into the sum: what each means for its step, for those that need it, and for the run.

use std::time::Duration;

use jiff::Timestamp;

use super::transition;
use super::{Answered, Newest, Progress, RunState, StateError, Status, TakenAsUtc, between};
use crate::event::{Ask, Event, Mark, OnFailure, Was, What};
use crate::ids::StepId;
use crate::kind::Resource;

impl RunState {
    /// Adds one event. An event that cannot be leaves the sum as it was.
    pub fn fold(&mut self, event: &Event) -> Result<(), StateError> {
        transition::follows(self.seq, event)?;
        let at = transition::find(&self.index, event)?;
        if let Some(at) = at {
            let step = &self.steps[at];
            transition::next(step.stand(), step.attempt, event)?;
        }
        let before = self.last;
        self.seq = event.seq;
        self.last = event.at;
        match at {
            Some(at) => self.fold_step(at, event),
            None => self.fold_run(event, before),
        }
        Ok(())
    }

    fn fold_run(&mut self, event: &Event, before: Timestamp) {
        match &event.what {
            What::Resumed { .. } => self.reopen(event.at, before),
            What::Prechecked { finding, .. } => self.findings.push((None, finding.clone())),
            What::Refused { failure, .. } => self.refused.push((None, failure.clone())),
            What::Health { green, evidence } => {
                self.health = Some((*green, event.at));
                self.health_evidence = evidence.clone();
            }
            What::Healthy { since } => {
                self.healthy_since = Some(*since);
                self.unhealthy = None;
            }
            What::Unhealthy { why } => self.unhealthy = Some(why.clone()),
            What::Stopped { why, hint } => {
                self.stopped = Some((why.clone(), hint.clone()));
                // A question dies with the process that asked it.
                for at in 0..self.steps.len() {
                    self.close_question(at, event.at);
                }
            }
            What::Ended { result, because } => {
                self.result = Some((*result, because.clone()));
                self.stopped = None;
            }
            What::Back(back) => self.back.fold(back, event.at),
            _ => {}
        }
    }

    fn fold_step(&mut self, at: usize, event: &Event) {
        let step = &mut self.steps[at];
        match &event.what {
            What::Back(back) => self.back.fold(back, event.at),
            What::Prechecked { finding, .. } => self
                .findings
                .push((Some(step.bound.id.clone()), finding.clone())),
            What::Refused { failure, .. } => self
                .refused
                .push((Some(step.bound.id.clone()), failure.clone())),
            What::Observed { .. } => self.take_up(at, event.at),
            What::Intent { attempt, .. } => {
                step.attempt = *attempt;
                step.in_doubt = true;
                // The time between two attempts says nothing about how fast the second one is.
                step.progress = None;
                self.take_up(at, event.at);
            }
            What::Note { key, value, .. } => {
                step.notes.insert(key.clone(), value.clone());
            }
            What::Made { resource, .. } => {
                let id = step.bound.id.clone();
                self.account_for(id, resource, None);
            }
            What::Gone {
                resource, proof, ..
            } => {
                let id = step.bound.id.clone();
                self.account_for(id, resource, Some(proof));
            }
            What::Progress {
                phase,
                done,
                total,
                unit,
                ..
            } => {
                let last = step.progress.take();
                step.progress = Some(Progress::after(last, event.at, phase, *done, *total, unit));
            }
            What::Log { .. } => {}
            What::Retry {
                attempt, failure, ..
            } => {
                step.retries.push((*attempt, failure.clone()));
                step.in_doubt = false;
                step.started.get_or_insert(event.at);
            }
            What::Done {
                already,
                output,
                evidence,
                open,
                ..
            } => {
                step.left_open = open.clone();
                step.already = *already;
                step.output = output.clone();
                step.evidence = evidence.clone();
                step.started.get_or_insert(event.at);
                self.end(at, Status::Done, event.at);
            }
            What::Failed { failure, .. } => {
                step.started.get_or_insert(event.at);
                self.end(at, Status::Failed(failure.clone()), event.at);
            }
            What::Blocked { observation, .. } => {
                self.set(at, Status::Blocked(observation.clone()));
                self.unready(at);
                self.doomed.remove(&at);
            }
            What::Doomed { cause, .. } => {
                self.end(at, Status::Doomed(cause.clone()), event.at);
            }
            What::Marked {
                mark, by, because, ..
            } => {
                let words = (by.clone(), because.clone());
                match mark {
                    Mark::Skip => {
                        step.skipped = Some(words);
                        self.end(at, Status::Skipped, event.at);
                    }
                    Mark::Done => {
                        step.marked_done = Some(words);
                        step.skipped = None;
                        // A step that is at work goes on: made ready again, it would be begun twice.
                        if step.status != Status::Running {
                            step.ended = None;
                            self.set(at, Status::Waiting);
                            self.recount();
                        }
                    }
                }
            }
            What::Asked { ask, .. } => {
                self.close_question(at, event.at);
                // An approval asks before it does anything else: from then on it is at work.
                if self.steps[at].status == Status::Waiting {
                    self.take_up(at, event.at);
                }
                self.steps[at].asking = Some((ask.clone(), event.at));
                self.questions += 1;
                self.questions_since.get_or_insert(event.at);
            }
            What::Answered {
                name,
                yes,
                by,
                because,
                how,
                ..
            } => {
                if step
                    .asking
                    .as_ref()
                    .is_some_and(|(ask, _)| ask.name == *name)
                    && let Some((ask, after)) = self.close_question(at, event.at)
                {
                    self.steps[at].answers.push(Answered {
                        ask,
                        yes: *yes,
                        by: by.clone(),
                        because: because.clone(),
                        how: how.clone(),
                        after,
                    });
                }
            }
            What::Newest {
                dataset,
                at: time,
                backup_taken,
                limit,
                taken_as_utc,
                ..
            } => {
                let by = &step.bound.id;
                // Kept for every step that measured: a doubtful time may be the oldest of all although it does not look so.
                self.taken_as_utc
                    .retain(|old| (&old.step, &old.dataset) != (by, dataset));
                self.taken_as_utc
                    .extend(taken_as_utc.iter().map(|query| TakenAsUtc {
                        step: by.clone(),
                        dataset: dataset.clone(),
                        query: query.clone(),
                    }));
                let newest = Newest {
                    step: step.bound.id.clone(),
                    dataset: dataset.clone(),
                    at: *time,
                    backup_taken: *backup_taken,
                    limit: *limit,
                };
                // Who measures again is believed again. A second step that finds newer records must not hide the loss: it
                // may have looked after users had come back and written.
                let another_is_older = |old: &Newest| {
                    old.dataset == *dataset && old.step != newest.step && old.at <= newest.at
                };
                if !self.newest.iter().any(another_is_older) {
                    self.newest.retain(|old| old.dataset != *dataset);
                    self.newest.push(newest);
                }
            }
            _ => {}
        }
    }

    /// One line for each thing at a provider, however often it is spoken of.
    fn account_for(&mut self, step: StepId, resource: &Resource, proof: Option<&String>) {
        let key = (
            resource.account.clone(),
            resource.kind.clone(),
            resource.id.clone(),
        );
        let at = *self.resource_index.entry(key).or_insert_with(|| {
            self.resources.push((step, resource.clone(), None));
            self.resources.len() - 1
        });
        if let Some(proof) = proof {
            self.resources[at].2 = Some(proof.clone());
        }
    }

    /// Closes the step's open question, if there is one: what it was and how long it stood.
    fn close_question(&mut self, at: usize, when: Timestamp) -> Option<(Ask, Duration)> {
        let (ask, since) = self.steps[at].asking.take()?;
        let after = between(since, when);
        self.steps[at].waited += after;
        self.questions -= 1;
        if self.questions == 0
            && let Some(since) = self.questions_since.take()
        {
            self.waited += between(since, when);
        }
        Some((ask, after))
    }

    /// The one place where a status changes while events are folded, so that the counts stay true.
    fn set(&mut self, at: usize, status: Status) {
        let step = &mut self.steps[at];
        if !step.bound.finally {
            self.ordinary_running -= usize::from(step.status == Status::Running);
            self.ordinary_running += usize::from(status == Status::Running);
        }
        step.status = status;
    }

    fn unready(&mut self, at: usize) {
        self.ready.remove(&at);
        self.ready_finally.remove(&at);
    }

    fn make_ready(&mut self, at: usize) {
        if self.steps[at].bound.finally {
            self.ready_finally.insert(at);
        } else {
            self.ready.insert(at);
        }
    }

    fn take_up(&mut self, at: usize, when: Timestamp) {
        self.set(at, Status::Running);
        self.steps[at].started.get_or_insert(when);
        self.unready(at);
        self.doomed.remove(&at);
    }

    fn end(&mut self, at: usize, status: Status, when: Timestamp) {
        self.close_question(at, when);
        let ended_before = self.steps[at].status.ended();
        self.set(at, status);
        let step = &mut self.steps[at];
        step.in_doubt = false;
        step.marked_done = None;
        step.ended = Some(when);
        if matches!(step.status, Status::Failed(_)) && step.bound.on_failure == OnFailure::Stop {
            self.stopping.get_or_insert(step.bound.id.clone());
        }
        if ended_before {
            // A failed or doomed step that a person skips: its end changes its meaning.
            self.recount();
        } else {
            self.settle(at);
        }
    }

    /// A step ended: its dependants come nearer, or can never begin.
    fn settle(&mut self, at: usize) {
        self.unready(at);
        self.doomed.remove(&at);
        self.unfinished -= 1;
        if !self.steps[at].bound.finally {
            self.ordinary_left -= 1;
        }
        // Taken out and put back: the list is not needed meanwhile, and a copy of a hub's list is not free.
        let dependants = std::mem::take(&mut self.dependants[at]);
        for &(dependant, was) in &dependants {
            self.open[dependant] -= 1;
            if self.steps[dependant].status != Status::Waiting {
                continue;
            }
            let forgiven = self.steps[dependant].marked_done.is_some();
            if !forgiven && !satisfied(was, &self.steps[at].status) {
                self.unready(dependant);
                let blame = self.doomed.entry(dependant).or_insert(at);
                *blame = at.min(*blame);
            } else if self.open[dependant] == 0 && !self.doomed.contains_key(&dependant) {
                self.make_ready(dependant);
            }
        }
        self.dependants[at] = dependants;
    }

    /// A resume tries failed steps again and forgets verdicts that follow from them. `before` is when
    /// the process before was last heard of.
    fn reopen(&mut self, when: Timestamp, before: Timestamp) {
        self.resumes += 1;
        self.taken_up = when;
        self.stopped = None;
        self.stopping = None;
        // People were told of an end that is none: they are told anew.
        let told_an_end = self.result.take().is_some();
        self.unhealthy = None;
        if self.healthy_since.is_none() {
            self.health = None;
        }
        self.refused.clear();
        for at in 0..self.steps.len() {
            // A question dies with the process that asked it; it is asked again.
            self.close_question(at, before);
            let step = &mut self.steps[at];
            if told_an_end && step.tells_the_end() {
                step.status = Status::Waiting;
                step.ended = None;
                step.notes.clear();
            }
            match step.status {
                Status::Failed(_) | Status::Doomed(_) | Status::Blocked(_) | Status::Running => {
                    step.status = Status::Waiting;
                    step.ended = None;
                }
                _ => {}
            }
        }
        self.recount();
    }

    /// Counts from nothing. Only at the beginning and when a person reopens something.
    pub(super) fn recount(&mut self) {
        self.ready.clear();
        self.ready_finally.clear();
        self.doomed.clear();
        self.unfinished = 0;
        self.ordinary_left = 0;
        self.ordinary_running = 0;
        for at in 0..self.steps.len() {
            let step = &self.steps[at];
            let left = usize::from(!step.status.ended());
            self.unfinished += left;
            if !step.bound.finally {
                self.ordinary_left += left;
                self.ordinary_running += usize::from(step.status == Status::Running);
            }
            let mut open = 0;
            let mut blame: Option<usize> = None;
            for need in &step.bound.needs {
                let on = self.index[&need.step];
                let status = &self.steps[on].status;
                if !status.ended() {
                    open += 1;
                } else if !satisfied(need.was, status) {
                    blame = Some(blame.map_or(on, |old| old.min(on)));
                }
            }
            self.open[at] = open;
            if step.status != Status::Waiting {
                continue;
            }
            // A person says that it is done in spite of what failed before it; verify has the last word.
            match blame.filter(|_| step.marked_done.is_none()) {
                Some(on) => {
                    self.doomed.insert(at, on);
                }
                None if open == 0 => self.make_ready(at),
                None => {}
            }
        }
    }
}

pub(super) fn satisfied(was: Was, status: &Status) -> bool {
    match was {
        Was::Succeeded => status.good(),
        Was::Failed => matches!(status, Status::Failed(_)),
        Was::Skipped => matches!(status, Status::Skipped),
        Was::Finished => status.ended(),
    }
}
