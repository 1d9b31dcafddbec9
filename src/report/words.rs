//! Sentences that more than one face of a run uses: the terminal, the Markdown, the page.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::model::{DatasetLoss, Recovery, Report, Seconds, Status, StillOpen};
use crate::event::RunResult;
use crate::ids::StepId;
use crate::kind::Surety;
use crate::state::Progress;
use crate::units::{bytes, duration};

/// What is said of a journal that cannot be read to its end.
pub(super) const DAMAGED: &str = "the journal is damaged, what follows is what stands before that, and it cannot be gone on with";

/// Something that stays open, with when it settles by itself.
pub(super) fn open(open: &StillOpen) -> String {
    match open.until {
        Some(until) => format!("{}, until {}", open.what, moment(until)),
        None => open.what.clone(),
    }
}

/// `2026-11-21 02:14:07 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `02:14:07`, UTC.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// Text from elsewhere without what could drive a terminal: no escape sequences, and of the control
/// characters only line breaks and tabs.
pub(super) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text)
        .to_string()
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// A duration that a person chose, without the noughts that they did not write: `15m`, `1h30m`.
pub(super) fn round(time: std::time::Duration) -> String {
    let text = duration(time);
    let text = match text.strip_suffix("00s") {
        Some(minutes) if minutes.ends_with('m') => minutes,
        _ => return text,
    };
    match text.strip_suffix("00m") {
        Some(hours) if hours.ends_with('h') => hours.to_string(),
        _ => text.to_string(),
    }
}

pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

/// The result as a person is told it.
pub(super) fn result(result: Option<RunResult>) -> String {
    result.map_or("NO RESULT YET".into(), |result| result.to_string())
}

/// The first words of a report. What a run came to is not all that is to be said once it was taken back; a drill always is.
pub(super) fn heading(report: &Report) -> String {
    let result = result(report.result);
    let back = report.back.as_ref().and_then(|back| back.word.as_ref());
    match back {
        Some(word) if report.mode != crate::kind::Mode::Drill => format!("{result}, {word}"),
        _ => result,
    }
}

pub(super) fn surety(surety: Surety) -> &'static str {
    match surety {
        Surety::Verified => "verified",
        Surety::Assumed => "assumed",
        Surety::CannotBeChecked => "cannot be checked",
    }
}

/// `met`, `missed`, or nothing to say.
pub(super) fn met(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    }
}

/// `12m 30s of at most 60m: met`.
pub(super) fn against(
    measured: Option<Seconds>,
    objective: Option<Seconds>,
    is_met: Option<bool>,
) -> String {
    match (measured, objective) {
        (Some(measured), Some(objective)) => {
            format!(
                "{measured} of at most {}: {}",
                round(objective.0),
                met(is_met)
            )
        }
        (Some(measured), None) => format!("{measured} (the plan sets no objective)"),
        (None, Some(objective)) => format!("not measured (at most {})", round(objective.0)),
        (None, None) => "no RPO was promised, and none was measured".into(),
    }
}

/// The recovery time, or how long the service is away already.
pub(super) fn rto(report: &Report) -> String {
    let Recovery {
        measured,
        objective,
        met,
        since_the_loss,
        ..
    } = &report.rto;
    let mut text = match (measured, objective) {
        (None, Some(objective)) => format!(
            "health not proved, {since_the_loss} after the loss (at most {})",
            round(objective.0)
        ),
        (None, None) if report.health.is_none() => {
            return "no RTO was promised, and the plan proves no health".into();
        }
        (None, None) => {
            format!("no RTO was promised; health not proved, {since_the_loss} after the loss")
        }
        _ => against(*measured, *objective, *met),
    };
    if report.drill.is_some() {
        text.push_str(" (counted from the start of the drill)");
    } else if report.lost_at_is_default {
        text.push_str(
            " (counted from the start of the run: nobody said when the service was lost)",
        );
    }
    text
}

/// What is to be said of one dataset's data loss, in clauses.
pub(super) fn loss(dataset: &DatasetLoss) -> String {
    let mut text = format!(
        "`{}` newest record {}, {} before the loss",
        dataset.dataset,
        moment(dataset.newest),
        dataset.lost
    );
    if let Some(after) = dataset.after_the_loss {
        text = format!(
            "`{}` newest record {}, {after} AFTER the loss (a clock is wrong, or the loss was later)",
            dataset.dataset,
            moment(dataset.newest),
        );
    }
    if let Some(limit) = dataset.limit {
        let _ = write!(text, "; its limit is {}", round(limit.0));
    }
    if dataset.met == Some(false) {
        text.push_str(": MISSED");
    }
    if let Some(newer) = dataset.backup_claims_newer_by.filter(|s| s.0.as_secs() > 0) {
        let _ = write!(text, "; the backup claims to be {newer} newer than that");
    }
    for query in &dataset.taken_as_utc {
        let _ = write!(
            text,
            "; WARNING: `{}` gave a time without a zone, it was taken as UTC and may be wrong by hours: write `zone:` beside the query",
            plain(first_line(query))
        );
    }
    text
}

/// The status in one or two words.
pub(super) fn status(status: &Status) -> &'static str {
    match status {
        Status::Waiting => "not begun",
        Status::Running => "running",
        Status::Blocked { .. } => "blocked",
        Status::Done { probed: true, .. } => "probed",
        Status::Done { already: true, .. } => "done already",
        Status::Done { .. } => "done",
        Status::Failed { .. } => "failed",
        Status::Doomed { .. } => "not run",
        Status::LeftOut { .. } => "left out",
        Status::Skipped { .. } => "skipped",
    }
}

/// Why a step stands where it stands, in one line; empty when there is nothing to explain.
pub(super) fn why(status: &Status) -> String {
    match status {
        Status::Waiting | Status::Running | Status::Done { .. } => String::new(),
        Status::Blocked { observation } => observation.to_string(),
        Status::Failed { failure } => {
            format!("{}: {}", failure.reason, first_line(&failure.message))
        }
        Status::Doomed { cause } => cause_of(cause),
        Status::LeftOut { why } => why.clone(),
        Status::Skipped { by, because } => format!("by {by}: {because}"),
    }
}

fn cause_of(cause: &StepId) -> String {
    format!("because of `{cause}`")
}

/// `12 of 40 tables (30%)`, `1.2 GiB of 3.0 GiB (40%)`.
fn amount(done: u64, total: Option<u64>, unit: &str) -> String {
    let one = |count: u64| match unit {
        "bytes" => bytes(count),
        _ => count.to_string(),
    };
    let unit = match unit {
        "bytes" => String::new(),
        other => format!(" {other}"),
    };
    match total {
        Some(total) if total > 0 => {
            let percent = u128::from(done) * 100 / u128::from(total);
            format!("{} of {}{unit} ({percent}%)", one(done), one(total))
        }
        // A phase that counts nothing: its name says it all.
        _ if done == 0 => String::new(),
        _ => format!("{}{unit}", one(done)),
    }
}

/// How far a phase is, and about how long it will take: `restore 1.2 GiB of 3.4 GiB (35%), about 2m left`.
pub fn progress(progress: &Progress) -> String {
    let Progress {
        phase,
        done,
        total,
        unit,
        ..
    } = progress;
    let mut text = format!("{phase} {}", amount(*done, *total, unit));
    if let Some(left) = progress.left() {
        let _ = write!(text, ", about {} left", about(left));
    }
    text.trim_end().to_string()
}

/// No more precise than a forecast can be: `40s`, `12m`, `1h20m`.
fn about(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..55 => format!("{}s", (seconds / 5 + 1) * 5),
        55..3570 => format!("{}m", (seconds + 30) / 60),
        _ => {
            let minutes = (seconds + 300) / 600 * 10;
            format!("{}h{:02}m", minutes / 60, minutes % 60)
        }
    }
}

/// More reasons or hints than this are not read.
const MANY: usize = 20;

/// What the run was for, so that a rehearsal is never taken for the real thing.
pub(super) fn mode(mode: crate::kind::Mode) -> String {
    match mode {
        crate::kind::Mode::Drill => "DRILL".into(),
        mode => mode.to_string(),
    }
}

/// The end of a run for a terminal: the result, why, the two figures, and what to type next.
pub fn closing(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: &str| {
        let _ = writeln!(text, "  {name:<9} {what}");
    };
    line("result", &result(report.result));
    for reason in report.because.iter().take(MANY) {
        line("", &format!("- {}", plain(reason)));
    }
    if report.because.len() > MANY {
        let more = report.because.len() - MANY;
        line(
            "",
            &format!("- and {more} more: dr-plan report {}", report.run.short()),
        );
    }
    if let Some(why) = &report.stopped {
        line("stopped", &plain(why));
    }
    line("RTO", &rto(report));
    line(
        "RPO",
        &against(report.rpo.measured, report.rpo.objective, report.rpo.met),
    );
    for dataset in &report.rpo.datasets {
        line("", &format!("- {}", loss(dataset)));
    }
    if !report.people.asked.is_empty() {
        line(
            "people",
            &format!("waited {} for answers", report.people.waited),
        );
    }
    if let Some(drill) = &report.drill {
        line("drill", &drill.what_stands());
        for (at, host) in drill.reached().iter().enumerate() {
            line(if at == 0 { "egress" } else { "" }, &plain(host));
        }
    }
    line("took", &format!("{}, {}", report.took, counts(report)));
    let there: Vec<_> = report
        .resources
        .iter()
        .filter(|r| r.gone.is_none())
        .collect();
    if !there.is_empty() {
        let names: Vec<_> = there
            .iter()
            .map(|r| format!("{} `{}` ({} {})", r.kind, plain(&r.name), r.account, r.id))
            .collect();
        line("made", &names.join(", "));
    }
    for (at, one) in report.still_open.iter().take(MANY).enumerate() {
        line(
            if at == 0 { "open" } else { "" },
            &format!("- {}", plain(&open(one))),
        );
    }
    if report.still_open.len() > MANY {
        let more = report.still_open.len() - MANY;
        line("", &format!("- and {more} more in the report"));
    }
    for hint in report.next.iter().take(MANY) {
        for (at, part) in hint.lines().enumerate() {
            line(if at == 0 { "hint:" } else { "" }, &plain(part));
        }
    }
    text
}

/// `12 steps: 9 done, 1 failed, 2 not run`.
pub(super) fn counts(report: &Report) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for step in &report.steps {
        let word = match (&step.status, &report.stopped) {
            (Status::Running, Some(_)) => "unfinished",
            (stand, _) => status(stand),
        };
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let parts: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let all = report.steps.len();
    format!(
        "{all} step{}: {}",
        if all == 1 { "" } else { "s" },
        parts.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_is_no_more_precise_than_it_can_be() {
        let said = |seconds| about(Duration::from_secs(seconds));
        for (seconds, words) in [
            (1, "5s"),
            (37, "40s"),
            (54, "55s"),
            (55, "1m"),
            (125, "2m"),
            (3500, "58m"),
            (3570, "1h00m"),
            (4900, "1h20m"),
        ] {
            assert_eq!(said(seconds), words, "{seconds}");
        }
    }
}
