//! `dr-plan undo`: takes a run back through its actions' own undo, in reverse order, fences first, then traffic. What it did is in the run's
//! journal; killed anywhere, the same command goes on.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use clap::Args;

use super::afterwards::Afterwards;
use super::failure::{CliError, EXCEPTIONS, FAILED, OK, Outcome, PROBLEMS, STOPPED};
use super::here::person;
use super::inject::{self, Inject};
use super::logs::step_of;
use super::start::agreed;
use super::{Common, print, say};
use crate::engine::{BackStep, UndoEnding, Undoing, Way, look_at_egress, way_back};
use crate::event::{Back, What};
use crate::ids::StepId;
use crate::kind::{Effect, Undo};
use crate::program::Work;
use crate::state::{Return, RunState};

/// Take a run back: each step's undo, in reverse order; what was fenced comes first, then users go back
#[derive(Debug, Args)]
pub struct UndoRun {
    /// The run: its id, its beginning or end, or `last`
    run: String,
    /// Only this step and what was built on it
    step: Option<String>,
    /// Only list what would be done
    #[arg(long)]
    dry_run: bool,
    /// Answer the start question with yes
    #[arg(long)]
    yes: bool,
    /// Leave a step as it is, so that what it was built on can be taken back all the same
    #[arg(long, value_name = "STEP")]
    leave: Vec<String>,
    /// Move users back although what they would come back to does not answer
    #[arg(long)]
    ungated: bool,
    /// An accident, in a sandbox
    #[arg(long, value_name = "ACCIDENT:STEP", hide = true)]
    inject: Vec<Inject>,
}

impl UndoRun {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let run = Afterwards::of(&self.run, common)?;
        let only = match &self.step {
            Some(step) => Some(step_of(&run.state, step)?),
            None => None,
        };
        let mut leave = BTreeMap::new();
        for step in &self.leave {
            leave.insert(step_of(&run.state, step)?, person());
        }
        let asked = AskedBack {
            work: inject::work(run.program.clone(), &self.inject)?,
            only,
            leave,
        };
        let short = run.state.header.run.short().to_string();
        if self.dry_run {
            let steps = way_back(&*asked.work, &run.state, asked.only.as_ref());
            show(&run.state, &steps, &asked.leave, common);
            return Ok(OK);
        }
        let steps = match asked.judge(&run.state) {
            ControlFlow::Continue(steps) => steps,
            // Whoever is at work on it may change that at any moment: then the lock says who it is.
            ControlFlow::Break(nothing) if !run.folder.is_live()? => return Ok(nothing.said()),
            ControlFlow::Break(_) => Vec::new(),
        };
        let shown = match (self.yes, steps.is_empty()) {
            (true, _) => None,
            (false, true) => Some(Vec::new()),
            (false, false) => {
                say(&text_of(&run.state, &steps, &asked.leave));
                warn_of_loss(&run.state, &steps);
                agreed(run.word_to_agree())?;
                Some(asked.lines(&run.state, &steps))
            }
        };
        let plan = run.state.header.plan_path.clone();
        let is_drill = run.state.header.drill.is_some();
        let again = match &self.step {
            Some(step) => format!("dr-plan undo {short} {step}"),
            None => format!("dr-plan undo {short}"),
        };
        let judge = |state: &RunState| {
            let steps = match asked.judge(state) {
                ControlFlow::Continue(steps) => steps,
                ControlFlow::Break(nothing) => return Ok(ControlFlow::Break(nothing.said())),
            };
            match &shown {
                Some(shown) => as_shown(shown, &asked.lines(state, &steps), &short, &again)?,
                // Also to those who have agreed beforehand: a log of theirs says then what was lost, and why.
                None => warn_of_loss(state, &steps),
            }
            Ok(ControlFlow::Continue(steps))
        };
        run.carry_out(common, judge, async |opened, steps| {
            let begun = Back::Begun {
                by: person(),
                version: env!("CARGO_PKG_VERSION").into(),
                steps: steps.iter().map(|step| step.step.clone()).collect(),
            };
            if is_drill {
                look_at_egress(&opened.ledger, &opened.services).await?;
            }
            opened.ledger.record(What::Back(begun)).await?;
            let undoing = Undoing {
                work: Arc::clone(&asked.work),
                ledger: opened.ledger.clone(),
                services: opened.services,
                person: opened.person,
                stop: opened.stop,
                leave: asked.leave.clone(),
                ungated: self.ungated,
                regardless: is_drill,
            };
            let ending = undoing.carry_out(steps).await?;
            Ok(match ending {
                UndoEnding::Ended { people } => code(people),
                UndoEnding::Failed => {
                    say(&format!(
                        " hint: when the cause is mended, `dr-plan undo {short}` goes on; `--leave STEP` leaves a step as it is\n hint: to go forward again with what stands: dr-plan run {plan} --adopt {short}\n"
                    ));
                    FAILED
                }
                UndoEnding::Stopped => {
                    say(&format!(" hint: dr-plan undo {short}\n"));
                    STOPPED
                }
            })
        })
    }
}

/// What is to be taken back, of whatever a run has done by then.
struct AskedBack {
    work: Arc<dyn Work>,
    only: Option<StepId>,
    leave: BTreeMap<StepId, String>,
}

/// There is nothing to do.
enum Nothing {
    /// The run changed nothing.
    Changed { run: String },
    /// All of it is taken back; something may be left for people.
    Left { run: String, people: bool },
}

impl Nothing {
    /// Says it, and gives the exit code.
    fn said(&self) -> u8 {
        match self {
            Self::Changed { run } => {
                say(&format!(
                    "run {run} changed nothing: there is nothing to take back\n"
                ));
                OK
            }
            Self::Left { run, people } => {
                say(&format!("run {run} is taken back already\n"));
                code(*people)
            }
        }
    }
}

impl AskedBack {
    /// The steps to take back of a run as it stands.
    fn judge(&self, state: &RunState) -> ControlFlow<Nothing, Vec<BackStep>> {
        let run = state.header.run.short().to_string();
        let steps = way_back(&*self.work, state, self.only.as_ref());
        if steps.is_empty() {
            return ControlFlow::Break(Nothing::Changed { run });
        }
        let mut each = steps.iter();
        if state.back.ended && each.all(|step| undone(state, &step.step).is_some()) {
            let people = state.back.people().next().is_some();
            return ControlFlow::Break(Nothing::Left { run, people });
        }
        ControlFlow::Continue(steps)
    }

    /// What would be done with each step, in the order of the deeds.
    fn lines(&self, state: &RunState, steps: &[BackStep]) -> Vec<(StepId, String)> {
        let line = |step: &BackStep| (step.step.clone(), words(step, state, &self.leave).1);
        steps.iter().map(line).collect()
    }
}

/// Refuses if other things would be done than those that a person has agreed to.
fn as_shown(
    shown: &[(StepId, String)],
    now: &[(StepId, String)],
    run: &str,
    again: &str,
) -> Result<(), CliError> {
    if shown == now {
        return Ok(());
    }
    let of = |list: &[(StepId, String)], step: &StepId| {
        let found = list.iter().find(|(id, _)| id == step);
        found.map(|(_, words)| words.clone())
    };
    let mut changes: Vec<String> = Vec::new();
    for (step, words) in now {
        match of(shown, step) {
            None => changes.push(format!("`{step}` comes in addition: {words}")),
            Some(before) if before != *words => {
                changes.push(format!("`{step}`: {words} (before: {before})"));
            }
            Some(_) => {}
        }
    }
    let gone = shown.iter().filter(|(step, _)| of(now, step).is_none());
    changes.extend(gone.map(|(step, _)| format!("`{step}`: no longer among them")));
    if changes.is_empty() {
        changes.push("the order is another one".into());
    }
    let list: String = changes.iter().map(|one| format!("\n  - {one}")).collect();
    let words = format!(
        "run {run} has changed since you were shown what would be taken back; nothing was touched{list}"
    );
    Err(CliError::new(PROBLEMS, words).hint(format!("{again} shows anew what would be taken back")))
}

fn code(people: bool) -> u8 {
    if people { EXCEPTIONS } else { OK }
}

/// What has come of it already, if it need not be taken up again.
fn undone<'a>(state: &'a RunState, step: &StepId) -> Option<&'a Return> {
    let stand = state.back.steps.get(step);
    stand.filter(|stand| matches!(stand, Return::Undone(_) | Return::Left(..)))
}

fn warn_of_loss(state: &RunState, steps: &[BackStep]) {
    if destroys(state, steps) {
        say("\nWhat was written to these servers and databases since then goes with them.\n");
    }
}

fn destroys(state: &RunState, steps: &[BackStep]) -> bool {
    steps.iter().any(|step| {
        let kind = state
            .step(&step.step)
            .map(|s| (s.bound.effect, &s.bound.kind));
        kind.is_some_and(|(effect, kind)| effect == Effect::Create || kind.starts_with("dataset."))
    })
}

/// In words: what would be done with the step.
fn words(
    step: &BackStep,
    state: &RunState,
    leave: &BTreeMap<StepId, String>,
) -> (&'static str, String) {
    match undone(state, &step.step) {
        Some(Return::Undone(_)) => return ("nothing", "is taken back already".into()),
        Some(Return::Left(_, why)) if !matches!(step.way, Way::Undo(Undo::DeleteOwn)) => {
            return ("nothing", format!("was left: {why}"));
        }
        _ => {}
    }
    if leave.contains_key(&step.step) {
        return ("leave", "stays as it is, because you say so".into());
    }
    match &step.way {
        Way::Undo(Undo::DeleteOwn) => ("delete", "deletes what it made".into()),
        Way::Undo(Undo::RestorePrevious) => {
            let step = state.step(&step.step);
            let moves = step.is_some_and(|step| step.bound.effect == Effect::Traffic);
            let words = match moves {
                true => "puts back what was there before, once the old side serves",
                false => "puts back what was there before",
            };
            ("restore", words.into())
        }
        Way::Undo(Undo::ForwardOnly) => {
            ("nothing", "only goes forward: nothing is taken back".into())
        }
        Way::Undo(Undo::NeedsHuman) => ("person", "a person must see to it".into()),
        Way::GoesWith(server) => (
            "goes_with",
            format!("goes with the server that `{server}` made"),
        ),
        Way::Released => (
            "person",
            "what was there before was let go of: a person must see to it".into(),
        ),
    }
}

fn text_of(state: &RunState, steps: &[BackStep], leave: &BTreeMap<StepId, String>) -> String {
    let header = &state.header;
    let mut text = format!(
        "to take back {} of {} ({}), in this order\n",
        header.plan,
        header.estate,
        header.run.short()
    );
    for step in steps {
        let title = state
            .step(&step.step)
            .map_or(String::new(), |s| state.filled(&s.bound.title));
        // What it did stands under what is done to it: bare, `power off db-1` would read as what is about to come.
        text.push_str(&format!(
            "  {:<18}{}\n  {:<18}of: {title}\n",
            step.step.as_str(),
            words(step, state, leave).1,
            ""
        ));
    }
    text
}

fn show(state: &RunState, steps: &[BackStep], leave: &BTreeMap<StepId, String>, common: &Common) {
    if !common.json {
        print(&text_of(state, steps, leave));
        return;
    }
    let rows: Vec<serde_json::Value> = steps
        .iter()
        .map(|step| {
            let (word, text) = words(step, state, leave);
            let known = state.step(&step.step);
            serde_json::json!({
                "step": step.step,
                "kind": known.map(|s| s.bound.kind.as_str()),
                "title": known.map(|s| state.filled(&s.bound.title)),
                "would": word,
                "words": text,
            })
        })
        .collect();
    print(&format!("{:#}\n", serde_json::Value::from(rows)));
}
