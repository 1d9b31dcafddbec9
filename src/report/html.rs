//! `report.html`: one file that needs nothing else and may run nothing, so it can be mailed, kept for
//! years and opened beside an incident. Every text in it comes from elsewhere and is escaped.

use std::fmt::Write;

use super::chart::chart;
use super::model::{Report, Status};
use super::words::{
    DAMAGED, against, clock, counts, heading, loss, mode, moment, open, plain, result, round, rto,
    status, surety, why,
};
use crate::event::RunResult;

/// No script, no image, no font, no connection: what stands in the file is all there is.
const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
"#;

const STYLE: &str = include_str!("report.css");

/// The report as a page.
pub fn html(report: &Report) -> String {
    let mut page = HEAD.to_string();
    let word = heading(report);
    let _ = write!(
        page,
        "<title>{} · {} · {}</title>\n<style>\n{STYLE}</style>\n<body class=\"{}\">\n<main>\n",
        escape(&report.estate),
        escape(&report.plan),
        word,
        tone(report),
    );
    top(report, &mut page);
    tiles(report, &mut page);
    next(report, &mut page);
    still_open(report, &mut page);
    drill(report, &mut page);
    section(&mut page, "Timeline", &chart(report));
    steps(report, &mut page);
    data(report, &mut page);
    people(report, &mut page);
    proofs(report, &mut page);
    resources(report, &mut page);
    way_back(report, &mut page);
    findings(report, &mut page);
    moments(report, &mut page);
    origin(report, &mut page);
    page.push_str("</main>\n");
    page
}

fn tone(report: &Report) -> &'static str {
    match report.result {
        Some(RunResult::Met) if heading(report) != result(report.result) => "fair",
        Some(RunResult::Met) => "good",
        Some(RunResult::MetWithExceptions) | None => "fair",
        Some(_) => "bad",
    }
}

fn top(report: &Report, page: &mut String) {
    let _ = write!(
        page,
        "<header><p class=\"kind\">{} of <b>{}</b> with plan {}</p><h1>{}</h1>",
        mode(report.mode),
        escape(&report.estate),
        escape(&report.plan),
        heading(report),
    );
    if !report.description.is_empty() {
        let _ = write!(
            page,
            "<p class=\"faint\">{}</p>",
            escape(&report.description)
        );
    }
    let stopped = report
        .stopped
        .iter()
        .map(|why| format!("stopped without a result: {why}"));
    let damaged = report
        .damaged
        .iter()
        .map(|what| format!("{DAMAGED}: {what}"));
    let because = report.because.iter().cloned();
    let reasons: Vec<String> = damaged.chain(because).chain(stopped).collect();
    list(page, "reasons", reasons.iter().map(|reason| named(reason)));
    page.push_str("</header>\n");
}

fn tiles(report: &Report, page: &mut String) {
    page.push_str("<div class=\"tiles\">");
    let mut tile = |name: &str, big: String, small: String, tone: &str| {
        let _ = write!(
            page,
            "<div class=\"tile {tone}\"><span>{name}</span><b>{}</b><small>{}</small></div>",
            escape(&big),
            escape(&small)
        );
    };
    let met = |met: Option<bool>| match met {
        Some(true) => "good",
        Some(false) => "bad",
        None => "",
    };
    let dash = || "–".to_string();
    tile(
        "RTO",
        report.rto.measured.map_or_else(dash, |s| s.to_string()),
        match (report.rto.measured, report.rto.objective) {
            (Some(_), Some(objective)) => format!("of at most {}", round(objective.0)),
            _ => rto(report),
        },
        met(report.rto.met),
    );
    tile(
        "RPO",
        report.rpo.measured.map_or_else(dash, |s| s.to_string()),
        match (report.rpo.measured, report.rpo.objective) {
            (Some(_), Some(objective)) => format!("of at most {}", round(objective.0)),
            (measured, objective) => against(measured, objective, report.rpo.met),
        },
        met(report.rpo.met),
    );
    tile(
        "Waited for people",
        report.people.waited.to_string(),
        "at least one question open".into(),
        "",
    );
    tile("The run", report.took.to_string(), counts(report), "");
    page.push_str("</div>\n");
    let lost = match report.lost_at_is_default {
        true if report.drill.is_some() => {
            format!("not at all: a drill, as if at {}", moment(report.lost_at))
        }
        true => format!(
            "{}, the start of the run: nobody said when",
            moment(report.lost_at)
        ),
        false => moment(report.lost_at),
    };
    let _ = write!(page, "<dl><dt>Service lost</dt><dd>{lost}</dd>");
    if let Some(at) = report.rto.healthy_since {
        let _ = write!(page, "<dt>Healthy since</dt><dd>{}</dd>", moment(at));
    }
    let _ = writeln!(
        page,
        "<dt>Begun</dt><dd>{} by {}</dd><dt>Run</dt><dd><code>{}</code></dd></dl>",
        moment(report.started),
        escape(&report.by),
        report.run
    );
}

fn next(report: &Report, page: &mut String) {
    if !report.next.is_empty() {
        let mut text = String::new();
        list(
            &mut text,
            "next",
            report
                .next
                .iter()
                .map(|hint| format!("<code>{}</code>", escape(hint))),
        );
        section(page, "Next", &text);
    }
}

fn still_open(report: &Report, page: &mut String) {
    if !report.still_open.is_empty() {
        let mut text = String::new();
        list(
            &mut text,
            "open",
            report.still_open.iter().map(|one| {
                format!(
                    "{} <small>left by {}</small>",
                    named(&open(one)),
                    escape(one.step.as_str())
                )
            }),
        );
        section(page, "Still open", &text);
    }
}

fn drill(report: &Report, page: &mut String) {
    let Some(drill) = &report.drill else { return };
    let lines = std::iter::once(drill.what_stands()).chain(drill.reached());
    let mut text = String::new();
    list(&mut text, "open", lines.map(|line| named(&line)));
    section(page, "The drill", &text);
}

fn steps(report: &Report, page: &mut String) {
    let mut text =
        "<table><thead><tr><th>step<th>what<th>status<th>begun<th>took<th>attempts</thead><tbody>"
            .to_string();
    for step in &report.steps {
        let mut took = step.took.map_or(String::new(), |took| took.to_string());
        if let Some(expect) = step
            .expect
            .filter(|expect| step.took.is_some_and(|took| took > *expect))
        {
            let _ = write!(took, "<small>expected {}</small>", round(expect.0));
        }
        let mut about = String::new();
        let why = why(&step.status);
        if !why.is_empty() {
            let _ = write!(about, "<small>{}</small>", named(&why));
        }
        for retry in &step.retries {
            let _ = write!(
                about,
                "<small>attempt {} failed ({}): {}</small>",
                retry.attempt,
                retry.failure.reason,
                named(&retry.failure.message)
            );
        }
        if !step.critical {
            about.push_str("<small>not critical</small>");
        }
        let _ = write!(
            text,
            "<tr><td><code>{}</code><td>{}<td class=\"{}\">{}{about}<td>{}<td class=\"number\">{took}<td class=\"number\">{}",
            step.id,
            named(&step.title),
            step_tone(&step.status),
            status(&step.status),
            step.started.map(clock).unwrap_or_default(),
            step.attempts,
        );
        if let Status::Failed { failure } = &step.status {
            let _ = write!(
                text,
                "<tr><td><td colspan=\"5\"><pre>{}</pre>",
                escape(&failure.message)
            );
        }
    }
    text.push_str("</tbody></table>");
    section(page, "Steps", &text);
}

pub(super) fn step_tone(status: &Status) -> &'static str {
    match status {
        Status::Done { .. } => "good",
        Status::Failed { .. } => "bad",
        Status::Blocked { .. }
        | Status::Skipped { .. }
        | Status::Doomed { .. }
        | Status::Running => "fair",
        Status::Waiting | Status::LeftOut { .. } => "faint",
    }
}

fn data(report: &Report, page: &mut String) {
    if !report.rpo.datasets.is_empty() {
        let mut text = String::new();
        let one = |d| {
            format!(
                "{} (measured by <code>{}</code>)",
                named(&loss(d)),
                d.measured_by
            )
        };
        list(&mut text, "", report.rpo.datasets.iter().map(one));
        section(page, "Data", &text);
    }
}

fn people(report: &Report, page: &mut String) {
    if report.people.asked.is_empty() {
        return;
    }
    let mut text = "<table><thead><tr><th>step<th>question<th>answer<th>by<th>after</thead><tbody>"
        .to_string();
    for asked in &report.people.asked {
        let (tone, answer) = match asked.yes {
            Some(true) => ("good", "yes"),
            Some(false) => ("bad", "no"),
            None => ("fair", "not answered yet"),
        };
        let because = asked
            .because
            .as_ref()
            .map_or(String::new(), |b| format!("<small>{}</small>", escape(b)));
        let how = asked.how.as_ref().map_or(String::new(), |how| {
            format!("<small>{}</small>", escape(how))
        });
        let _ = write!(
            text,
            "<tr><td><code>{}</code><td>{}<td class=\"{tone}\">{answer}{because}<td>{}{how}<td class=\"number\">{}",
            asked.step,
            escape(&asked.question),
            escape(asked.by.as_deref().unwrap_or("")),
            asked.waited
        );
    }
    text.push_str("</tbody></table>");
    section(page, "People", &text);
}

fn proofs(report: &Report, page: &mut String) {
    let health = report.health.iter().flat_map(|health| {
        let word = if health.green { "green" } else { "red" };
        let place = format!("health, {word} at {}", clock(health.at));
        health
            .evidence
            .iter()
            .map(move |seen| (place.clone(), seen))
    });
    let steps = report.steps.iter().flat_map(|step| {
        let place = format!("<code>{}</code>", step.id);
        step.evidence.iter().map(move |seen| (place.clone(), seen))
    });
    let rows: Vec<_> = health.chain(steps).collect();
    if rows.is_empty() {
        return;
    }
    let mut text =
        "<table><thead><tr><th>where<th>what was looked at<th>what was seen</thead><tbody>"
            .to_string();
    for (place, seen) in rows {
        let _ = write!(
            text,
            "<tr><td>{place}<td>{}<td>{}",
            escape(&seen.what),
            escape(&seen.saw)
        );
    }
    text.push_str("</tbody></table>");
    section(page, "Evidence", &text);
}

fn resources(report: &Report, page: &mut String) {
    if report.resources.is_empty() {
        return;
    }
    let mut text =
        "<table><thead><tr><th>what<th>account<th>id<th>made by<th>now</thead><tbody>".to_string();
    for made in &report.resources {
        let now = match &made.gone {
            Some(proof) => format!("gone<small>{}</small>", escape(proof)),
            None => "still there".into(),
        };
        let _ = write!(
            text,
            "<tr><td>{} {}<td>{}<td>{}<td><code>{}</code><td>{now}",
            escape(&made.kind),
            escape(&made.name),
            escape(&made.account),
            escape(&made.id),
            made.step
        );
    }
    text.push_str("</tbody></table>");
    section(page, "Made at providers", &text);
}

fn way_back(report: &Report, page: &mut String) {
    let Some(back) = &report.back else { return };
    let mut text = String::new();
    let lines = back.lines();
    list(&mut text, "back", lines.iter().map(|line| escape(line)));
    section(page, "After its end", &text);
}

fn findings(report: &Report, page: &mut String) {
    let place = |step: &Option<crate::ids::StepId>| {
        step.as_ref()
            .map_or(String::new(), |id| format!("<code>{id}</code> "))
    };
    let refused = report.refused.iter().map(|refusal| {
        let what = named(&refusal.failure.message);
        format!(
            "{}<b class=\"bad\">refused</b> {what}",
            place(&refusal.step)
        )
    });
    let found = report.findings.iter().map(|finding| {
        let warning = if finding.warning {
            "<b class=\"fair\">warning</b> "
        } else {
            ""
        };
        let what = named(&finding.what);
        format!(
            "{}{warning}{what} <span class=\"faint\">{}</span>",
            place(&finding.step),
            surety(finding.surety)
        )
    });
    let all: Vec<String> = refused.chain(found).collect();
    if !all.is_empty() {
        let mut text = String::new();
        list(&mut text, "", all.into_iter());
        section(page, "Before the start", &text);
    }
}

fn moments(report: &Report, page: &mut String) {
    let mut text = "<details><summary>every moment, UTC</summary>".to_string();
    let each = report
        .timeline
        .iter()
        .map(|it| format!("<time>{}</time> {}", moment(it.at), named(&it.what)));
    list(&mut text, "moments", each);
    text.push_str("</details>");
    section(page, "Moment by moment", &text);
}

fn origin(report: &Report, page: &mut String) {
    let _ = write!(page, "<footer>dr-plan {}", escape(&report.version));
    if let Some(head) = &report.journal {
        let _ = write!(
            page,
            " · journal of {} records, the last with SHA-256 <code>{}</code>",
            head.records,
            escape(&head.sha256)
        );
    }
    page.push_str("</footer>\n");
}

fn section(page: &mut String, name: &str, what: &str) {
    let _ = writeln!(page, "<section><h2>{name}</h2>{what}</section>");
}

fn list(page: &mut String, class: &str, items: impl Iterator<Item = String>) {
    let items: String = items.map(|item| format!("<li>{item}")).collect();
    if !items.is_empty() {
        let _ = write!(page, "<ul class=\"{class}\">{items}</ul>");
    }
}

/// Text from elsewhere.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Text from elsewhere in which names stand in backticks.
fn named(text: &str) -> String {
    let text = escape(text);
    if !text.matches('`').count().is_multiple_of(2) {
        return text;
    }
    let mut out = String::new();
    for (at, part) in text.split('`').enumerate() {
        match at % 2 {
            0 => out.push_str(part),
            _ => {
                let _ = write!(out, "<code>{part}</code>");
            }
        }
    }
    out
}
