//! `report.md`: the report for a ticket, a mail or a pull request.

use std::fmt::Write;

use super::model::{Report, Status, StepReport};
use super::words::{
    DAMAGED, against, clock, counts, first_line, heading, loss, mode, moment, open, plain, round,
    rto, status, surety, why,
};

/// The report as Markdown (CommonMark with tables).
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# {}: {} of `{}`\n",
        heading(report),
        mode(report.mode),
        cell(&report.estate)
    );
    if !report.description.is_empty() {
        let _ = writeln!(text, "{}\n", escape(&report.description));
    }
    if let Some(what) = &report.damaged {
        let _ = writeln!(text, "- {DAMAGED}: {}", escape(what));
    }
    for reason in &report.because {
        let _ = writeln!(text, "- {}", escape(reason));
    }
    if let Some(why) = &report.stopped {
        let _ = writeln!(text, "- stopped without a result: {}", escape(why));
    }
    if !report.because.is_empty() || report.stopped.is_some() || report.damaged.is_some() {
        text.push('\n');
    }
    figures(report, &mut text);
    next(report, &mut text);
    still_open(report, &mut text);
    drill(report, &mut text);
    data(report, &mut text);
    steps(report, &mut text);
    failures(report, &mut text);
    path(report, &mut text);
    people(report, &mut text);
    health(report, &mut text);
    evidence(report, &mut text);
    resources(report, &mut text);
    way_back(report, &mut text);
    findings(report, &mut text);
    timeline(report, &mut text);
    origin(report, &mut text);
    text
}

fn figures(report: &Report, text: &mut String) {
    let mut row = |name: &str, what: String| {
        let _ = writeln!(text, "| {name} | {} |", cell(&what));
    };
    row("", String::new());
    row("---", "---".into());
    row("RTO", rto(report));
    row(
        "RPO",
        against(report.rpo.measured, report.rpo.objective, report.rpo.met),
    );
    let lost = match report.lost_at_is_default {
        true if report.drill.is_some() => {
            format!("not at all: a drill, as if at {}", moment(report.lost_at))
        }
        true => format!(
            "{} (nobody said when: this is the start of the run)",
            moment(report.lost_at)
        ),
        false => moment(report.lost_at),
    };
    row("Service lost", lost);
    if let Some(at) = report.rto.healthy_since {
        row("Healthy since", moment(at));
    }
    row(
        "Run",
        format!(
            "`{}`, {} to {} ({})",
            report.run,
            moment(report.started),
            moment(report.last),
            report.took
        ),
    );
    if !report.people.asked.is_empty() {
        row("Waited for people", report.people.waited.to_string());
    }
    if report.resumes > 0 {
        row(
            "Taken up again",
            format!(
                "{} time{}",
                report.resumes,
                if report.resumes == 1 { "" } else { "s" }
            ),
        );
    }
    row("Steps", counts(report));
    row("Started by", report.by.clone());
    text.push('\n');
}

fn next(report: &Report, text: &mut String) {
    if report.next.is_empty() {
        return;
    }
    text.push_str("## Next\n\n");
    for hint in &report.next {
        let _ = writeln!(text, "- {}", escape(hint));
    }
    text.push('\n');
}

fn still_open(report: &Report, text: &mut String) {
    if report.still_open.is_empty() {
        return;
    }
    text.push_str("## Still open\n\n");
    for one in &report.still_open {
        let _ = writeln!(text, "- {} (left by `{}`)", escape(&open(one)), one.step);
    }
    text.push('\n');
}

fn drill(report: &Report, text: &mut String) {
    let Some(drill) = &report.drill else { return };
    let _ = writeln!(text, "## The drill\n\n- {}", escape(&drill.what_stands()));
    for host in drill.reached() {
        let _ = writeln!(text, "- {}", escape(&host));
    }
    text.push('\n');
}

fn data(report: &Report, text: &mut String) {
    if report.rpo.datasets.is_empty() {
        return;
    }
    text.push_str("## Data\n\n");
    for dataset in &report.rpo.datasets {
        let _ = writeln!(
            text,
            "- {} (measured by `{}`)",
            escape(&loss(dataset)),
            dataset.measured_by
        );
    }
    text.push('\n');
}

fn steps(report: &Report, text: &mut String) {
    text.push_str("## Steps\n\n| step | what | status | begun | took | attempts |\n| --- | --- | --- | --- | ---: | ---: |\n");
    for step in &report.steps {
        let mut state = status(&step.status).to_string();
        let why = why(&step.status);
        if !why.is_empty() {
            state = format!("{state}: {why}");
        }
        if !step.critical {
            state.push_str(" (not critical)");
        }
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            step.id,
            cell(&step.title),
            cell(&state),
            step.started.map(clock).unwrap_or_default(),
            took(step),
            step.attempts,
        );
    }
    text.push('\n');
}

fn took(step: &StepReport) -> String {
    let over = step
        .took
        .zip(step.expect)
        .is_some_and(|(took, expect)| took > expect);
    match (step.took, step.expect) {
        (Some(took), Some(expect)) if over => format!("{took} (expected {})", round(expect.0)),
        (Some(took), _) => took.to_string(),
        (None, _) => String::new(),
    }
}

fn failures(report: &Report, text: &mut String) {
    let troubled: Vec<_> = report
        .steps
        .iter()
        .filter(|s| matches!(s.status, Status::Failed { .. }) || !s.retries.is_empty())
        .collect();
    if troubled.is_empty() {
        return;
    }
    text.push_str("## What failed\n\n");
    for step in troubled {
        for retry in &step.retries {
            let _ = writeln!(
                text,
                "- `{}`, attempt {} ({}), tried again: {}",
                step.id,
                retry.attempt,
                retry.failure.reason,
                escape(first_line(&retry.failure.message))
            );
        }
        if let Status::Failed { failure } = &step.status {
            let _ = writeln!(
                text,
                "- `{}`, attempt {} ({}):\n",
                step.id, step.attempts, failure.reason
            );
            block(text, &failure.message);
            if let Some(hint) = &failure.hint {
                let _ = writeln!(text, "\n  hint: {}", escape(hint));
            }
        }
    }
    text.push('\n');
}

/// An indented code block within a list item: nothing in it can be markup.
fn block(text: &mut String, what: &str) {
    for line in plain(what).lines() {
        let _ = writeln!(text, "      {line}");
    }
}

fn path(report: &Report, text: &mut String) {
    if report.critical_path.is_empty() {
        return;
    }
    text.push_str("## Where the minutes went\n\nThe chain of steps that each waited for the one before:\n\n| step | idle before | took | of that, for people |\n| --- | ---: | ---: | ---: |\n");
    for link in &report.critical_path {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            link.step, link.idle_before, link.took, link.waited
        );
    }
    text.push('\n');
}

fn people(report: &Report, text: &mut String) {
    if report.people.asked.is_empty() {
        return;
    }
    text.push_str("## People\n\n");
    for asked in &report.people.asked {
        let answer = match asked.yes {
            Some(true) => "**yes**",
            Some(false) => "**no**",
            None => "not answered yet",
        };
        let by = asked
            .by
            .as_ref()
            .map_or(String::new(), |by| format!(", by {}", escape(by)));
        let how = asked
            .how
            .as_ref()
            .map_or(String::new(), |how| format!(" ({})", escape(how)));
        let because = asked
            .because
            .as_ref()
            .map_or(String::new(), |b| format!(": {}", escape(b)));
        let question = escape(first_line(&asked.question));
        let _ = writeln!(
            text,
            "- `{}`: {question} {answer}{by}{how}, after {}{because}",
            asked.step, asked.waited
        );
    }
    text.push('\n');
}

fn health(report: &Report, text: &mut String) {
    let Some(health) = &report.health else {
        return;
    };
    let word = if health.green { "green" } else { "red" };
    let _ = writeln!(
        text,
        "## Health\n\nLast looked at {}: {word}.\n",
        moment(health.at)
    );
    for seen in &health.evidence {
        let _ = writeln!(text, "- {}: {}", escape(&seen.what), escape(&seen.saw));
    }
    text.push('\n');
}

fn evidence(report: &Report, text: &mut String) {
    let steps: Vec<_> = report
        .steps
        .iter()
        .filter(|s| !s.evidence.is_empty())
        .collect();
    if steps.is_empty() {
        return;
    }
    text.push_str("## Evidence\n\nWhat was looked at before a step was called done:\n\n");
    for step in steps {
        for seen in &step.evidence {
            let _ = writeln!(
                text,
                "- `{}`: {}: {}",
                step.id,
                escape(&seen.what),
                escape(&seen.saw)
            );
        }
    }
    text.push('\n');
}

fn resources(report: &Report, text: &mut String) {
    if report.resources.is_empty() {
        return;
    }
    text.push_str("## Made at providers\n\n");
    for made in &report.resources {
        let gone = match &made.gone {
            Some(proof) => format!("gone: {}", escape(proof)),
            None => "still there".into(),
        };
        let (kind, name) = (escape(&made.kind), cell(&made.name));
        let _ = writeln!(
            text,
            "- {kind} `{name}` ({} {}), by `{}`: {gone}",
            escape(&made.account),
            escape(&made.id),
            made.step
        );
    }
    text.push('\n');
}

fn way_back(report: &Report, text: &mut String) {
    let Some(back) = &report.back else { return };
    text.push_str("## After its end\n\n");
    for line in back.lines() {
        let _ = writeln!(text, "- {}", escape(&line));
    }
    text.push('\n');
}

fn findings(report: &Report, text: &mut String) {
    if report.findings.is_empty() && report.refused.is_empty() {
        return;
    }
    text.push_str("## Before the start\n\n");
    let place = |step: &Option<crate::ids::StepId>| {
        step.as_ref()
            .map_or(String::new(), |id| format!("`{id}`: "))
    };
    for refusal in &report.refused {
        let _ = writeln!(
            text,
            "- {}**refused**: {}",
            place(&refusal.step),
            escape(&refusal.failure.message)
        );
    }
    for finding in &report.findings {
        let warning = if finding.warning { "**warning**: " } else { "" };
        let _ = writeln!(
            text,
            "- {}{warning}{} ({})",
            place(&finding.step),
            escape(&finding.what),
            surety(finding.surety)
        );
    }
    text.push('\n');
}

fn timeline(report: &Report, text: &mut String) {
    text.push_str("## Timeline (UTC)\n\n");
    let mut day = String::new();
    for moment in &report.timeline {
        let this = moment.at.strftime("%Y-%m-%d").to_string();
        let date = if this == day {
            String::new()
        } else {
            format!("{this} ")
        };
        day = this;
        let _ = writeln!(
            text,
            "- {date}{} {}",
            clock(moment.at),
            escape(&moment.what)
        );
    }
    text.push('\n');
}

fn origin(report: &Report, text: &mut String) {
    let _ = write!(
        text,
        "---\n\nPlan `{}`, dr-plan {}",
        cell(&report.plan),
        escape(&report.version)
    );
    if let Some(head) = &report.journal {
        let _ = write!(
            text,
            ", journal of {} records, SHA-256 of the last one `{}`",
            head.records, head.sha256
        );
    }
    text.push_str(".\n");
}

/// Text from elsewhere, in which nothing is markup but names in backticks; those only when each
/// backtick has its partner.
fn escape(text: &str) -> String {
    let text = plain(text).replace('\n', " ");
    let names = text.matches('`').count().is_multiple_of(2);
    let mut within = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        within ^= names && c == '`';
        let markup = matches!(c, '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|');
        if markup && !within || c == '`' && !names {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Within a table's cell or backticks.
fn cell(text: &str) -> String {
    plain(text)
        .replace('\n', " ")
        .replace('|', "\\|")
        .replace('<', "\\<")
}
