//! The run as a drawing: a bar for each step on one axis of time, with the loss, health and the
//! objective as lines. Plain SVG; colours come from the page's style.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::html::{escape, step_tone};
use super::model::{Report, Status, StepReport};
use super::words::{clock, round, status};
use crate::ids::StepId;
use crate::state::between;

/// In units of the drawing, which the page scales.
const NAMES: f64 = 190.0;
const WIDTH: f64 = 760.0;
const ROW: f64 = 24.0;
const TOP: f64 = 46.0;
/// Room for the name of a line.
const NAME_OF_LINE: f64 = 64.0;

struct Axis {
    start: Timestamp,
    length: f64,
}

impl Axis {
    fn x(&self, at: Timestamp) -> f64 {
        NAMES + (between(self.start, at).as_secs_f64() / self.length).clamp(0.0, 1.0) * WIDTH
    }
}

/// The drawing. The loss is on the axis unless it lies so
/// far back that the steps would shrink to nothing.
pub(super) fn chart(report: &Report) -> String {
    let critical: HashSet<&StepId> = report.critical_path.iter().map(|link| &link.step).collect();
    let (steps, left_out) = rows(report, &critical);
    let run = between(report.started, report.last).max(Duration::from_millis(1));
    let near = between(report.lost_at, report.started) <= run * 2;
    let start = if near {
        report.lost_at.min(report.started)
    } else {
        report.started
    };
    let axis = Axis {
        start,
        length: between(start, report.last).as_secs_f64().max(0.001),
    };
    let height = TOP + ROW * steps.len() as f64 + 10.0;
    let mut svg = format!(
        "<div class=\"wide\"><svg viewBox=\"0 0 {} {height}\" role=\"img\" aria-label=\"the steps in time\">",
        NAMES + WIDTH + 60.0
    );
    ticks(&axis, height, &mut svg);
    // Below the bars and their times, which have to stay legible.
    let mut marks: Vec<(Timestamp, &str, String)> = Vec::new();
    if near && !report.lost_at_is_default {
        marks.push((report.lost_at, "bad", "lost".into()));
    }
    if let Some(at) = report.rto.healthy_since {
        marks.push((at, "good", "healthy".into()));
    }
    if let Some(objective) = report.rto.objective
        && let Ok(span) = jiff::SignedDuration::try_from(objective.0)
        && let Ok(at) = report.lost_at.checked_add(span)
    {
        marks.push((at, "fair", format!("RTO {}", round(objective.0))));
    }
    marks.retain(|(at, ..)| *at >= axis.start && *at <= report.last);
    lines(marks, &axis, height, &mut svg);
    for (row, step) in steps.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let (Some(begun), ended) = (step.started, step.ended.unwrap_or(report.last)) else {
            continue;
        };
        let x = axis.x(begun);
        let width = (axis.x(ended) - x).max(2.0);
        let took = step.took.map_or(String::new(), |took| took.to_string());
        let path = if critical.contains(&step.id) {
            " path"
        } else {
            ""
        };
        let name: String = step.id.as_str().chars().take(26).collect();
        let _ = write!(
            svg,
            "<g class=\"{}{path}\"><title>{}: {}, {} to {}</title><text class=\"name\" x=\"{}\" y=\"{}\">{}</text><rect x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" rx=\"3\"/>",
            step_tone(&step.status),
            step.id,
            status(&step.status),
            clock(begun),
            clock(ended),
            NAMES - 12.0,
            y + 15.0,
            escape(&name),
            y + 4.0,
            ROW - 8.0,
        );
        waited(step.waited.0, &axis, ended, y, &mut svg);
        let _ = write!(
            svg,
            "<text class=\"took\" x=\"{:.1}\" y=\"{}\">{took}</text></g>",
            x + width + 6.0,
            y + 15.0
        );
    }
    svg.push_str("</svg></div><p class=\"faint\">Outlined steps are the chain that decided how long it took. Dashed parts waited for people.");
    if left_out > 0 {
        let _ = write!(svg, " {left_out} steps are not drawn.");
    }
    svg.push_str("</p>");
    svg
}

/// Lines across all steps, named above them; a name that would stand on the one before it goes up a lane.
fn lines(mut marks: Vec<(Timestamp, &str, String)>, axis: &Axis, height: f64, svg: &mut String) {
    const LANES: [f64; 2] = [21.0, 9.0];
    marks.sort_by_key(|(at, ..)| *at);
    let (mut before, mut lane) = (f64::NEG_INFINITY, 0);
    for (at, class, name) in marks {
        let x = axis.x(at);
        lane = if x - before < NAME_OF_LINE {
            (lane + 1) % LANES.len()
        } else {
            0
        };
        before = x;
        let _ = write!(
            svg,
            "<g class=\"mark {class}\"><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{height}\"/><text x=\"{x:.1}\" y=\"{}\">{name}</text></g>",
            TOP - 8.0,
            LANES[lane]
        );
    }
}

/// More rows than this are no drawing any more.
const ROWS: usize = 200;

/// Steps that were begun, in the order of their beginning, and how many found no place. What decided
/// and what went wrong comes first, then what took longest.
fn rows<'a>(report: &'a Report, critical: &HashSet<&StepId>) -> (Vec<&'a StepReport>, usize) {
    let mut steps: Vec<_> = report
        .steps
        .iter()
        .filter(|step| step.started.is_some())
        .collect();
    let begun = steps.len();
    if begun > ROWS {
        let calm = |step: &StepReport| {
            !critical.contains(&step.id) && matches!(step.status, Status::Done { .. })
        };
        steps.sort_by_key(|step| (calm(step), std::cmp::Reverse(step.took)));
        steps.truncate(ROWS);
    }
    steps.sort_by_key(|step| step.started);
    let left_out = begun - steps.len();
    (steps, left_out)
}

/// A question stands at the end of a step, as a rule: the answer is what ends it.
fn waited(waited: Duration, axis: &Axis, ended: Timestamp, y: f64, svg: &mut String) {
    if waited.is_zero() {
        return;
    }
    let width = waited.as_secs_f64() / axis.length * WIDTH;
    let end = axis.x(ended);
    let _ = write!(
        svg,
        "<rect class=\"waited\" x=\"{:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" rx=\"3\"/>",
        end - width,
        y + 4.0,
        ROW - 8.0
    );
}

/// About six ticks at round times.
fn ticks(axis: &Axis, height: f64, svg: &mut String) {
    const ROUND: [f64; 15] = [
        0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
        21_600.0,
    ];
    let step = ROUND
        .into_iter()
        .find(|round| axis.length / round <= 7.0)
        .unwrap_or(axis.length / 6.0);
    let mut at = 0.0;
    while at <= axis.length {
        let x = NAMES + at / axis.length * WIDTH;
        let label = round(Duration::from_secs_f64(at));
        let label = if at == 0.0 { "0".to_string() } else { label };
        let _ = write!(
            svg,
            "<g class=\"tick\"><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{height}\"/><text x=\"{x:.1}\" y=\"{}\">{label}</text></g>",
            TOP - 8.0,
            TOP - 14.0
        );
        at += step;
    }
}
