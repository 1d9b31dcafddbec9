//! What is to be said of a run's way back: taken back, left to people, let go of, handed over.

use std::fmt::Write;

use serde::Serialize;

use crate::event::Back;
use crate::ids::{RunId, StepId};
use crate::kind::Evidence;
use crate::state::{Return, RunState};

/// The way back of a run.
#[derive(Debug, Clone, Serialize)]
pub struct BackReport {
    /// In a few words.
    pub word: Option<String>,
    /// Who began it.
    pub by: Option<String>,
    /// Why it stopped.
    pub stopped: Option<String>,
    /// Each step that was taken up.
    pub steps: Vec<BackLine>,
    /// The run that goes on with what this one made.
    pub handed_over: Option<RunId>,
}

/// A step on the way back.
#[derive(Debug, Clone, Serialize)]
pub struct BackLine {
    /// The step.
    pub step: StepId,
    /// `taken back`, `left`, `left to people`, `failed`, `in doubt`, `let go`.
    pub outcome: &'static str,
    /// In words.
    pub words: String,
    /// What was looked at.
    pub evidence: Vec<Evidence>,
}

impl BackReport {
    /// None if the run only went forward.
    pub(super) fn of(state: &RunState) -> Option<Self> {
        let back = &state.back;
        let mut steps: Vec<BackLine> = Vec::new();
        for (step, stand) in &back.steps {
            let (outcome, words, evidence) = match stand {
                Return::InDoubt => ("in doubt", "a look must settle it".to_string(), Vec::new()),
                Return::Undone(evidence) => ("taken back", seen(evidence), evidence.clone()),
                Return::Left(true, why) => ("left to people", why.clone(), Vec::new()),
                Return::Left(false, why) => ("left", why.clone(), Vec::new()),
                Return::Failed(failure) => ("failed", failure.message.clone(), Vec::new()),
            };
            steps.push(BackLine {
                step: step.clone(),
                outcome,
                words,
                evidence,
            });
        }
        for (step, evidence) in &back.released {
            steps.push(BackLine {
                step: step.clone(),
                outcome: "let go",
                words: seen(evidence),
                evidence: evidence.clone(),
            });
        }
        if steps.is_empty() && back.begun.is_none() && back.handed_over.is_none() {
            return None;
        }
        Some(Self {
            word: back.word(),
            by: back.begun.as_ref().map(|(_, by)| by.clone()),
            stopped: back.stopped.clone(),
            steps,
            handed_over: back.handed_over.clone(),
        })
    }

    /// For the Markdown, before it is escaped: a heading and its lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(word) = &self.word {
            let by = self
                .by
                .as_ref()
                .map_or(String::new(), |by| format!(", begun by {by}"));
            lines.push(format!("the run is {word}{by}"));
        }
        if let Some(why) = &self.stopped {
            lines.push(format!("it stopped: {why}"));
        }
        for line in &self.steps {
            lines.push(format!("{}: {}; {}", line.step, line.outcome, line.words));
        }
        lines
    }
}

fn seen(evidence: &[Evidence]) -> String {
    let mut text = String::new();
    for (at, seen) in evidence.iter().enumerate() {
        let between = if at == 0 { "" } else { "; " };
        let _ = write!(text, "{between}{}: {}", seen.what, seen.saw);
    }
    text
}

/// How a record of the way back is told: good or bad or neither, its word, and the text.
pub(super) fn told(back: &Back) -> (Option<bool>, &'static str, String) {
    match back {
        Back::Begun { by, steps, .. } => (
            None,
            "back",
            format!("{} step(s) are to be taken back, by {by}", steps.len()),
        ),
        Back::Intent { .. } => (None, "undoes", "is being taken back".into()),
        Back::Undone { evidence, .. } => (Some(true), "undone", seen(evidence)),
        Back::Left { why, person, .. } => match person {
            true => (
                Some(false),
                "left",
                format!("a person must see to it: {why}"),
            ),
            false => (None, "left", why.clone()),
        },
        Back::Failed { failure, .. } => {
            let hint = failure
                .hint
                .as_ref()
                .map_or(String::new(), |hint| format!("\nhint: {hint}"));
            let text = format!(
                "not taken back ({}): {}{hint}",
                failure.reason, failure.message
            );
            (Some(false), "failed", text)
        }
        Back::Stopped { why } => (Some(false), "stopped", why.clone()),
        Back::Ended => (
            Some(true),
            "back",
            "all that was wanted is taken back".into(),
        ),
        Back::Releasing { .. } => (None, "lets go", "of what it kept".into()),
        Back::Released { evidence, .. } => (Some(true), "let go", seen(evidence)),
        Back::HandedOver { to, by } => (
            None,
            "handed",
            format!("over to run {}, by {by}", to.short()),
        ),
    }
}
