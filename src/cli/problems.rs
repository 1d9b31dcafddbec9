//! Shows what is wrong with a text: the source line, what was expected, the mended line; all of it at
//! once, or as JSON for a machine.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Patch, Renderer, Snippet};

use crate::problem::{Place, Problem, Severity};

/// More problems than this are counted, not shown.
pub const MOST_SHOWN: usize = 100;

/// Lines kept around what is shown.
const AROUND: usize = 2;
/// Longer lines are cut around the place by the renderer.
const WIDTH: usize = 140;

/// The problems as rustc shows its own: errors first as they stand in the files. With `colour` the text holds ANSI
/// colours (anstream takes them out where they do not belong). Ends with a line that counts them.
pub fn render(problems: &[Problem], colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.term_width(WIDTH);
    let mut out = String::new();
    for problem in problems.iter().take(MOST_SHOWN) {
        out.push_str(&renderer.render(&groups(problem)));
        out.push_str("\n\n");
    }
    let hidden = problems.len().saturating_sub(MOST_SHOWN);
    if hidden > 0 {
        let _ = writeln!(out, "... and {hidden} more");
    }
    let _ = writeln!(out, "{}", count(problems));
    out
}

/// `3 errors, 1 warning`.
pub fn count(problems: &[Problem]) -> String {
    let number = |severity, word: &str| {
        let count = problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count();
        match count {
            0 => None,
            1 => Some(format!("1 {word}")),
            _ => Some(format!("{count} {word}s")),
        }
    };
    let words: Vec<String> = [
        number(Severity::Error, "error"),
        number(Severity::Warning, "warning"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if words.is_empty() {
        "no problems".into()
    } else {
        words.join(", ")
    }
}

/// The same for a machine: the first ones in `problems`, each place with file, line, column and bytes, and how many
/// there are of each severity in all.
pub fn json(problems: &[Problem]) -> serde_json::Value {
    let number = |severity| {
        problems
            .iter()
            .filter(|problem| problem.severity == severity)
            .count()
    };
    serde_json::json!({
        "errors": number(Severity::Error),
        "warnings": number(Severity::Warning),
        "problems": &problems[..problems.len().min(MOST_SHOWN)],
    })
}

fn groups(problem: &Problem) -> Vec<Group<'_>> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut main = Group::with_title(
        level
            .primary_title(printable(&problem.message))
            .id(problem.code),
    );
    if let Some((place, _)) = problem
        .labels
        .first()
        .filter(|(place, _)| place.source.text.is_empty())
    {
        main = main.element(Origin::path(place.source.name.as_str()));
    }
    // One snippet for each file, in the order of the labels.
    let mut shown: Vec<&Place> = Vec::new();
    for (place, _) in &problem.labels {
        if shown.iter().any(|first| same_file(first, place)) || place.source.text.is_empty() {
            continue;
        }
        shown.push(place);
        let here = || {
            problem
                .labels
                .iter()
                .enumerate()
                .filter(|(_, (other, _))| same_file(other, place))
        };
        let window = Window::around(place, here().map(|(_, (other, _))| other));
        let mut snippet = window.snippet();
        for (at, (place, remark)) in here() {
            let kind = if at == 0 {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let annotation = kind.span(window.span(place));
            snippet = snippet.annotation(match remark.is_empty() {
                true => annotation,
                false => annotation.label(printable(remark)),
            });
        }
        main = main.element(snippet);
    }
    let patch = problem
        .patch
        .as_ref()
        .filter(|patch| !patch.place.source.text.is_empty());
    let mut groups = Vec::new();
    match (&problem.help, patch) {
        (Some(help), Some(patch)) => {
            groups.push(main);
            let window = Window::around(&patch.place, [&patch.place]);
            let snippet = window
                .snippet()
                .patch(Patch::new(window.span(&patch.place), patch.with.as_str()));
            groups.push(
                Level::HELP
                    .secondary_title(printable(help))
                    .element(snippet),
            );
        }
        (Some(help), None) => groups.push(main.element(Level::HELP.message(printable(help)))),
        _ => groups.push(main),
    }
    groups
}

/// A message may quote what a person wrote; control signs would move the cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn same_file(one: &Place, other: &Place) -> bool {
    std::sync::Arc::ptr_eq(&one.source, &other.source) || one.source == other.source
}

/// The lines of a source that a snippet needs: the renderer's work then does not grow with the file.
struct Window<'a> {
    name: &'a str,
    text: &'a str,
    start: usize,
    first_line: usize,
}

impl<'a> Window<'a> {
    fn around<'b>(one: &'a Place, places: impl IntoIterator<Item = &'b Place>) -> Self {
        let text = one.source.text.as_str();
        let (mut from, mut to) = (text.len(), 0);
        for place in places {
            from = from.min(place.start);
            to = to.max(place.start);
        }
        let bytes = text.as_bytes();
        let mut start = from.min(text.len());
        let mut breaks = 0;
        while start > 0 {
            if bytes[start - 1] == b'\n' {
                breaks += 1;
                if breaks > AROUND {
                    break;
                }
            }
            start -= 1;
        }
        let mut end = to.min(text.len());
        let mut breaks = 0;
        while end < bytes.len() {
            if bytes[end] == b'\n' {
                breaks += 1;
                if breaks > AROUND {
                    break;
                }
            }
            end += 1;
        }
        Self {
            name: &one.source.name,
            text: &text[start..end],
            start,
            first_line: text[..start].matches('\n').count() + 1,
        }
    }

    fn snippet<T: Clone>(&self) -> Snippet<'a, T> {
        Snippet::source(self.text)
            .path(self.name)
            .line_start(self.first_line)
    }

    /// A place in the window, cut to its first line and widened to whole characters.
    fn span(&self, place: &Place) -> std::ops::Range<usize> {
        let mut start = place.start.saturating_sub(self.start).min(self.text.len());
        let mut end = place
            .end
            .saturating_sub(self.start)
            .clamp(start, self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        match self.text[start..end].find('\n') {
            Some(line) => start..start + line,
            None => start..end,
        }
    }
}

#[cfg(test)]
mod tests;
