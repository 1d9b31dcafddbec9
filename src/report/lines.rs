//! A run as plain lines: time, step, what. One line for each thing that a person wants to know and
//! none for the rest, so that what went wrong stands out at three in the morning. It reads the same
//! on a terminal, in a pipe, in colour and without.

use std::collections::{HashMap, VecDeque};
use std::io::Write;

use anstyle::{AnsiColor, Style as Paint};

use super::model::Report;
use super::words::{clock, closing, mode, moment, plain, progress, result, round, surety};
use crate::event::{Back, Event, Header, Mark, NOT_YET, RunResult, What};
use crate::ids::StepId;
use crate::kind::{Failure, Observation, Surety};
use crate::state::{Progress, Reporter, RunState, StepState};
use crate::units::duration;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// What went wrong, questions, and the end.
    Quiet,
    /// What people want to know.
    Normal,
    /// Also what programs say, and what was looked at.
    Verbose,
}

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// How much.
    pub detail: Detail,
    /// With ANSI colours.
    pub color: bool,
}

/// A step's progress is shown again after so many milliseconds, or when its phase changes.
const PROGRESS_EVERY: u64 = 10_000;
/// So many of its last lines are shown with a failure.
const LAST_WORDS: usize = 12;
/// Step names are not padded beyond this.
const WIDEST_NAME: usize = 24;

/// The reporter.
pub struct Lines {
    out: Box<dyn Write + Send>,
    style: Style,
    width: usize,
    run: String,
    shown: HashMap<StepId, (String, u64)>,
    said: HashMap<StepId, VecDeque<String>>,
    health: Option<bool>,
    counted: Counted,
}

/// Prechecks that nobody needs to read one by one.
#[derive(Default)]
struct Counted {
    verified: usize,
    assumed: usize,
    unknown: usize,
}

impl Counted {
    fn add(&mut self, surety: Surety) {
        match surety {
            Surety::Verified => self.verified += 1,
            Surety::Assumed => self.assumed += 1,
            Surety::CannotBeChecked => self.unknown += 1,
        }
    }

    /// In words, once.
    fn take(&mut self) -> Option<String> {
        let Self {
            verified,
            assumed,
            unknown,
        } = std::mem::take(self);
        (verified + assumed + unknown > 0)
            .then(|| format!("before the start: {verified} verified, {assumed} assumed, {unknown} cannot be checked"))
    }
}

#[derive(Clone, Copy)]
enum Tone {
    Calm,
    Faint,
    Good,
    Ask,
    Bad,
}

impl Lines {
    /// Onto a writer, standard error as a rule; put an `Outlet` before a terminal.
    pub fn new(out: Box<dyn Write + Send>, style: Style) -> Self {
        Self {
            out,
            style,
            width: 0,
            run: String::new(),
            shown: HashMap::new(),
            said: HashMap::new(),
            health: None,
            counted: Counted::default(),
        }
    }

    fn write(&mut self, text: &str) {
        // Whole lines in one call. The reader may be gone; the run goes on.
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        let paint = match tone {
            Tone::Calm => return text.to_string(),
            Tone::Faint => Paint::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Ask => AnsiColor::Yellow.on_default().bold(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        match self.style.color {
            true => format!("{}{text}{}", paint.render(), paint.render_reset()),
            false => text.to_string(),
        }
    }

    /// `02:14:07  restore-db  failed    what happened`, further lines beneath the first.
    fn line(&mut self, event: &Event, step: Option<&StepId>, tone: Tone, word: &str, what: &str) {
        let width = self.width;
        let name = format!("{:<width$}", step.map_or("", StepId::as_str));
        let lead = 8 + 2 + name.chars().count() + 2 + 9;
        let indent = format!("\n{:lead$}", "");
        let what = plain(what.trim_end()).replace('\n', &indent);
        let what = match tone {
            Tone::Faint => self.paint(tone, &what),
            _ => what,
        };
        let text = format!(
            "{}  {name}  {} {what}\n",
            self.paint(Tone::Faint, &clock(event.at)),
            self.paint(tone, &format!("{word:<8}")),
        );
        self.write(&text);
    }

    fn heading(&mut self, header: &Header) {
        self.run = header.run.short().to_string();
        self.width = header
            .steps
            .iter()
            .map(|step| step.id.as_str().len())
            .max()
            .unwrap_or(0)
            .min(WIDEST_NAME);
        if self.style.detail == Detail::Quiet {
            return;
        }
        let objective = |name, limit: Option<_>| limit.map(|l| format!("{name} {}", round(l)));
        let objectives: Vec<_> = [
            objective("RTO", header.objectives.rto),
            objective("RPO", header.objectives.rpo),
        ]
        .into_iter()
        .flatten()
        .collect();
        let objectives = match objectives.is_empty() {
            true => String::new(),
            false => format!("; objectives: {}", objectives.join(", ")),
        };
        let lost = match header.lost_at_is_default {
            true if header.drill.is_some() => "as if it were lost now".to_string(),
            true => format!(
                "loss counted from the start, {} (no --lost-at)",
                moment(header.lost_at)
            ),
            false => format!("lost {}", moment(header.lost_at)),
        };
        let text = format!(
            "{} of `{}` with plan `{}`, run {}\n{lost}{objectives}; times are UTC\n\n",
            mode(header.mode),
            header.estate,
            header.plan,
            self.run
        );
        self.write(&plain(&text));
    }

    fn progress(&mut self, event: &Event, step: &StepId, now: &Progress) {
        let due = self.shown.get(step).is_none_or(|(last, at)| {
            *last != now.phase || event.ms < *at || event.ms - at >= PROGRESS_EVERY
        });
        if due {
            self.shown
                .insert(step.clone(), (now.phase.clone(), event.ms));
            self.line(event, Some(step), Tone::Faint, "", &progress(now));
        }
    }

    fn heard(&mut self, event: &Event, step: &StepId, line: &str) {
        if self.style.detail == Detail::Verbose {
            self.line(event, Some(step), Tone::Faint, "|", line);
            return;
        }
        let said = self.said.entry(step.clone()).or_default();
        if said.len() == LAST_WORDS {
            said.pop_front();
        }
        said.push_back(line.to_string());
    }

    fn failed(&mut self, event: &Event, step: &StepState, failure: &Failure) {
        let id = &step.bound.id;
        let after = step
            .took()
            .map_or(String::new(), |t| format!("after {} ", duration(t)));
        let mut text = format!("{after}({}): {}", failure.reason, failure.message);
        for line in self.said.remove(id).into_iter().flatten() {
            text.push_str(&format!("\n| {line}"));
        }
        if let Some(hint) = &failure.hint {
            text.push_str(&format!("\nhint: {hint}"));
        }
        self.line(event, Some(id), Tone::Bad, "failed", &text);
    }

    fn blocked(&mut self, event: &Event, step: &StepId, observation: &Observation) {
        let hint = match observation {
            Observation::Foreign { hint, .. } | Observation::CannotTell { hint, .. } => {
                hint.clone()
            }
            _ => None,
        };
        let hint = hint.map_or(String::new(), |hint| format!("\nhint: {hint}"));
        let text = format!("a person must look: {observation}{hint}");
        self.line(event, Some(step), Tone::Ask, "blocked", &text);
    }

    fn done(&mut self, event: &Event, step: &StepState) {
        let took = step.took().unwrap_or_default();
        let mut text = match step.already {
            true => "already".to_string(),
            false => duration(took),
        };
        let shown = if self.style.detail == Detail::Verbose {
            usize::MAX
        } else {
            1
        };
        for (at, seen) in step.evidence.iter().take(shown).enumerate() {
            text.push_str(if at == 0 { "; " } else { "\n" });
            text.push_str(&format!("{}: {}", seen.what, seen.saw));
        }
        if step.evidence.len() > shown {
            text.push_str(&format!(" (and {} more)", step.evidence.len() - shown));
        }
        if let Some(expect) = step.bound.expect.filter(|expect| took > *expect) {
            text.push_str(&format!("; expected {}", round(expect)));
        }
        self.said.remove(&step.bound.id);
        let word = match step.bound.probe {
            Some(_) => "probed",
            None => "done",
        };
        self.line(event, Some(&step.bound.id), Tone::Good, word, &text);
    }

    fn show_health(&mut self, event: &Event, green: bool, evidence: &[crate::kind::Evidence]) {
        if self.health.replace(green) == Some(green) && self.style.detail != Detail::Verbose {
            return;
        }
        let seen: Vec<_> = evidence
            .iter()
            .map(|e| format!("{}: {}", e.what, e.saw))
            .collect();
        let (tone, word) = match green {
            true => (Tone::Good, "green"),
            false => (Tone::Ask, "red"),
        };
        self.line(
            event,
            None,
            tone,
            word,
            &format!("health: {}", seen.join("\n")),
        );
    }

    fn end(&mut self, state: &RunState) {
        let report = Report::new(state);
        let word = result(report.result);
        let tone = match report.result {
            Some(RunResult::Met) => Tone::Good,
            Some(RunResult::MetWithExceptions) | None => Tone::Ask,
            Some(_) => Tone::Bad,
        };
        let painted = self.paint(tone, &word);
        let text = format!("\n{}", closing(&report).replacen(&word, &painted, 1));
        self.write(&text);
    }

    /// A drill is taken down as a whole: what lay on its servers need not be told line by line.
    fn take_down(&mut self, event: &Event, back: &Back, state: &RunState) {
        let (good, word, text) = super::back::told(back);
        match back {
            Back::Begun { by, .. } => {
                let text = format!("all that the drill made is deleted now, by {by}");
                self.line(event, None, Tone::Calm, "down", &text);
            }
            Back::Ended => self.end(state),
            Back::Stopped { why } => {
                self.line(event, None, Tone::Bad, "stopped", why);
                self.end(state);
            }
            Back::Intent { .. } | Back::Left { person: false, .. }
                if self.style.detail != Detail::Verbose => {}
            _ => {
                let tone = match good {
                    Some(true) => Tone::Good,
                    Some(false) => Tone::Bad,
                    None => Tone::Calm,
                };
                self.line(event, back.step(), tone, word, &text);
            }
        }
    }

    /// What is shown whatever the detail: what went wrong, questions, and the end.
    fn important(&mut self, event: &Event, state: &RunState) -> bool {
        match &event.what {
            What::Header(header) => self.heading(header),
            What::Prechecked { step, finding } if finding.warning => {
                self.line(event, step.as_ref(), Tone::Ask, "warning", &finding.what);
            }
            What::Refused { step, failure } => {
                let hint = failure
                    .hint
                    .as_ref()
                    .map_or(String::new(), |h| format!("\nhint: {h}"));
                let text = format!("{}{hint}", failure.message);
                self.line(event, step.as_ref(), Tone::Bad, "refused", &text);
            }
            What::Retry {
                step,
                attempt,
                failure,
                after,
            } => {
                let text = format!(
                    "attempt {attempt} failed ({}): {}\nagain in {}",
                    failure.reason,
                    failure.message,
                    duration(*after)
                );
                self.line(event, Some(step), Tone::Ask, "retry", &text);
            }
            What::Failed { step, failure } => {
                if let Some(step) = state.step(step) {
                    self.failed(event, step, failure);
                }
            }
            What::Blocked { step, observation } => self.blocked(event, step, observation),
            What::Asked { step, ask } => {
                let mut text = ask.question.clone();
                for detail in &ask.details {
                    text.push_str(&format!("\n- {detail}"));
                }
                if let Some(timeout) = ask.timeout {
                    text.push_str(&format!("\nno answer within {} is a no", round(timeout)));
                }
                text.push_str(&format!(
                    "\nhint: dr-plan approve {} {step} --as NAME",
                    self.run
                ));
                self.line(event, Some(step), Tone::Ask, "asks", &text);
            }
            What::Unhealthy { why } => {
                self.line(
                    event,
                    None,
                    Tone::Bad,
                    "red",
                    &format!("health did not come: {why}"),
                );
            }
            // The last word about a drill is said when it is gone.
            What::Stopped { .. } | What::Ended { .. }
                if state.header.drill.as_ref().is_some_and(|drill| !drill.keep)
                    && !state.resources.is_empty() =>
            {
                if let What::Stopped { why, .. } = &event.what {
                    self.line(event, None, Tone::Ask, "stopped", why);
                }
            }
            What::Stopped { .. } | What::Ended { .. } => self.end(state),
            What::Back(back) if state.header.drill.is_some() => self.take_down(event, back, state),
            What::Back(back) => {
                let (good, word, text) = super::back::told(back);
                let tone = match good {
                    Some(true) => Tone::Good,
                    Some(false) => Tone::Bad,
                    None => Tone::Calm,
                };
                self.line(event, back.step(), tone, word, &text);
            }
            _ => return false,
        }
        true
    }

    fn usual(&mut self, event: &Event, state: &RunState) {
        let verbose = self.style.detail == Detail::Verbose;
        let calm = Tone::Calm;
        match &event.what {
            What::Resumed { by, .. } => {
                self.health = None;
                self.line(event, None, calm, "resumed", &format!("by {by}"));
            }
            What::Prechecked { finding, .. } if !verbose => self.counted.add(finding.surety),
            What::Prechecked { step, finding } => {
                self.line(
                    event,
                    step.as_ref(),
                    Tone::Faint,
                    surety_word(finding.surety),
                    &finding.what,
                );
            }
            What::Observed { step, observation } => {
                let found = matches!(
                    observation,
                    Observation::Partial { .. }
                        | Observation::Running { .. }
                        | Observation::Unseen { .. }
                );
                if found || verbose {
                    self.line(
                        event,
                        Some(step),
                        Tone::Faint,
                        "found",
                        &observation.to_string(),
                    );
                }
            }
            What::Intent { step, attempt, on } => {
                let title = state.step(step).map_or("", |s| s.bound.title.as_str());
                // What was a placeholder when the plan was bound is known by now.
                let title = if title.contains('<') && !on.is_empty() {
                    on
                } else {
                    title
                };
                let on = if verbose && !on.is_empty() {
                    format!("\non {on}")
                } else {
                    String::new()
                };
                let again = if *attempt > 1 {
                    format!(" (attempt {attempt})")
                } else {
                    String::new()
                };
                self.line(
                    event,
                    Some(step),
                    calm,
                    "begins",
                    &format!("{title}{again}{on}"),
                );
            }
            What::Note { step, key, value } if verbose => {
                self.line(
                    event,
                    Some(step),
                    Tone::Faint,
                    "note",
                    &format!("{key}: {value}"),
                );
            }
            What::Made { step, resource } => {
                self.line(event, Some(step), calm, "made", &resource.to_string());
            }
            What::Gone {
                step,
                resource,
                proof,
            } => self.line(
                event,
                Some(step),
                calm,
                "gone",
                &format!("{resource}; {proof}"),
            ),
            What::Progress { step, .. } => {
                if let Some(now) = state.step(step).and_then(|s| s.progress.as_ref()) {
                    self.progress(event, step, now);
                }
            }
            What::Done { step, .. } => {
                if let Some(step) = state.step(step) {
                    self.done(event, step);
                }
            }
            What::Doomed { step, cause } => {
                let text = format!("will not run, because of `{cause}`");
                self.line(event, Some(step), Tone::Ask, "doomed", &text);
            }
            What::Marked {
                step,
                mark,
                by,
                because,
            } => {
                let word = match mark {
                    Mark::Done => "done (verify has the last word)",
                    Mark::Skip => "not needed",
                };
                self.line(
                    event,
                    Some(step),
                    calm,
                    "marked",
                    &format!("{word} by {by}: {because}"),
                );
            }
            What::Answered {
                step,
                yes,
                by,
                because,
                how,
                ..
            } => {
                let because = because.as_ref().map_or(String::new(), |b| format!(": {b}"));
                let waited = state
                    .step(step)
                    .and_then(|s| s.answers.last())
                    .map(|a| a.after);
                let waited = duration(waited.unwrap_or_default());
                let (tone, word) = if *yes {
                    (Tone::Good, "yes")
                } else {
                    (Tone::Bad, "no")
                };
                let text = format!("{by} ({how}), after {waited}{because}");
                self.line(event, Some(step), tone, word, &text);
            }
            What::Newest {
                step,
                dataset,
                at,
                taken_as_utc,
                ..
            } => {
                let text = format!(
                    "record of `{dataset}` is from {}, {}",
                    moment(*at),
                    crate::units::beside(*at, state.header.lost_at)
                );
                let (tone, text) = match taken_as_utc.is_empty() {
                    true => (calm, text),
                    false => (
                        Tone::Ask,
                        format!("{text}; it has no time zone and was taken as UTC"),
                    ),
                };
                self.line(event, Some(step), tone, "newest", &text);
            }
            What::Health { green, evidence } => self.show_health(event, *green, evidence),
            What::Healthy { since } => {
                let text = format!("it held; the first green was at {}", clock(*since));
                self.line(event, None, Tone::Good, "healthy", &text);
            }
            _ => {}
        }
    }
}

fn surety_word(it: crate::kind::Surety) -> &'static str {
    match surety(it) {
        "cannot be checked" => "unknown",
        word => word,
    }
}

impl Reporter for Lines {
    fn show(&mut self, event: &Event, state: &RunState) {
        if !matches!(event.what, What::Prechecked { .. } | What::Refused { .. })
            && let Some(words) = self.counted.take()
            && self.style.detail != Detail::Quiet
        {
            self.line(event, None, Tone::Faint, "checked", &words);
        }
        if let What::Log { step, line } = &event.what {
            self.heard(event, step, line);
            // A check that is asked until its time is up would be silent for all of it.
            if self.style.detail == Detail::Normal
                && let Some(why) = line.strip_prefix(NOT_YET)
            {
                self.line(event, Some(step), Tone::Ask, "not yet", why);
            }
            return;
        }
        if self.width == 0 && !matches!(event.what, What::Header(_)) {
            // Taken up in the middle: a resumed run shows its heading again.
            self.heading(&state.header);
        }
        if !self.important(event, state) && self.style.detail != Detail::Quiet {
            self.usual(event, state);
        }
    }

    fn close(&mut self) {
        let _ = self.out.flush();
    }
}
