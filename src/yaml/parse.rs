//! From text to the located tree. The only file that knows the YAML crate: its events carry exact byte places,
//! and reading them one by one lets all refused things of a file be shown at once, where a serde
//! deserializer stops at the first.

use std::collections::HashMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StructureStyle,
};

use super::key::Admission;
use super::scalar::{self, Refused};
use super::{Kind, MOST_DEPTH, MOST_NODES, Node};
use crate::problem::{Place, Problem, Source};

/// A list or map that is still open.
struct Open {
    start: usize,
    flow: bool,
    content: Content,
}

enum Content {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(Node, Node)>,
        /// The key whose value comes next; `None` inside stands for a key that was refused.
        key: Option<Option<Node>>,
        seen: HashMap<String, usize>,
    },
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    open: Vec<Open>,
    root: Option<Node>,
    problems: Vec<Problem>,
    /// Something stands in the tree for a value that could not be read: what else is wrong there cannot be told.
    hollow: bool,
    nodes: usize,
}

/// Reads one document. The tree is there when its values can be relied on, even if some keys were refused, so
/// that a caller can go on and collect more problems. Without problems there is always a tree.
pub fn parse(source: &Arc<Source>) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder {
        source,
        open: Vec::new(),
        root: None,
        problems: Vec::new(),
        hollow: false,
        nodes: 0,
    };
    let options = serde_saphyr::granit_parser::options! {
        emit_anchor_events: true,
        emit_unresolved_aliases: true,
        disallow_directives: true,
        emit_comments: false,
        flow_nesting_limit: MOST_DEPTH,
        block_nesting_limit: MOST_DEPTH,
    };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(&source.text, options) {
        match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents > 1 {
                    let place = builder.place(span.start.byte_offset().unwrap_or(0), 3);
                    builder.problems.push(
                        Problem::error("documents", &place, "a second document begins here")
                            .help("one file holds one document: take out what begins with `---`"),
                    );
                    builder.hollow = true;
                    break;
                }
            }
            Ok((event, span)) => {
                if !builder.take(event, span) {
                    builder.hollow = true;
                    break;
                }
            }
            Err(error) => {
                let problem = builder.syntax(&error);
                builder.problems.push(problem);
                builder.hollow = true;
                break;
            }
        }
    }
    if builder.root.is_none() && builder.problems.is_empty() {
        let place = builder.place(0, 0);
        builder.problems.push(Problem::error(
            "empty-file",
            &place,
            "there is nothing in this file",
        ));
    }
    let tree = builder.root.filter(|_| !builder.hollow);
    (tree, builder.problems)
}

impl Builder<'_> {
    fn place(&self, start: usize, length: usize) -> Place {
        let start = start.min(self.source.text.len());
        Place {
            source: self.source.clone(),
            start,
            end: (start + length).min(self.source.text.len()),
        }
    }

    fn span(&self, span: Span) -> Place {
        let range = span.byte_range().unwrap_or(0..0);
        self.place(range.start, range.end.saturating_sub(range.start))
    }

    /// Takes one event in. `false`: a limit was reached, stop.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        if event.is_node() {
            self.nodes += 1;
            if self.nodes > MOST_NODES {
                let place = self.span(span);
                self.problems.push(Problem::error(
                    "large-file",
                    &place,
                    format!("more than {MOST_NODES} values in one file"),
                ));
                return false;
            }
            if let Some(tag) = span.tag_span().filter(|_| event.tag().is_some()) {
                let place = self.span(tag);
                self.problems.push(
                    Problem::error("tag", &place, "tags are not used in these files").help(
                        "take the tag out; a text that looks like something else goes into quotes",
                    ),
                );
                self.hollow = true;
            }
        }
        match event {
            Event::Scalar(text, style, _, tag) => {
                let node = self.scalar(&text, style, span, tag.is_some());
                self.add(node);
            }
            Event::SequenceStart(style, ..) => {
                return self.open(span, style, Content::Seq(Vec::new()));
            }
            Event::MappingStart(style, ..) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    key: None,
                    seen: HashMap::new(),
                };
                return self.open(span, style, content);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Anchor(_, name) => {
                let place = self.span(span);
                self.problems.push(
                    Problem::error("anchor", &place, format!("anchors are not used in these files: `&{name}`"))
                        .help("write the value where it is needed: what a step does should stand in that step"),
                );
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let place = self.span(span);
                let name = self.source.text.get(place.start..place.end).unwrap_or("*");
                let problem = Problem::error(
                    "alias",
                    &place,
                    format!("aliases are not used in these files: `{name}`"),
                )
                .help("write the value itself here: what a step does should stand in that step");
                self.problems.push(problem);
                self.hollow = true;
                self.add(Node {
                    kind: Kind::Null,
                    place,
                });
            }
            _ => {}
        }
        true
    }

    fn open(&mut self, span: Span, style: StructureStyle, content: Content) -> bool {
        let place = self.span(span);
        if self.open.len() >= MOST_DEPTH {
            self.problems.push(Problem::error(
                "deep-nest",
                &place,
                format!("nested more than {MOST_DEPTH} deep"),
            ));
            return false;
        }
        self.open.push(Open {
            start: place.start,
            flow: style == StructureStyle::Flow,
            content,
        });
        true
    }

    fn close(&mut self, span: Span) {
        let Some(Open {
            start,
            flow,
            content,
        }) = self.open.pop()
        else {
            return;
        };
        let closing = self.span(span);
        let (kind, last) = match content {
            Content::Seq(items) => {
                let last = items.last().map(|item| item.place.end);
                (Kind::Seq(items), last)
            }
            Content::Map { entries, .. } => {
                let last = entries
                    .last()
                    .map(|(key, value)| value.place.end.max(key.place.end));
                (Kind::Map(entries), last)
            }
        };
        // A block ends with its last value; its closing event stands wherever the next thing begins.
        let end = if flow {
            closing.end
        } else {
            last.unwrap_or(start)
        };
        let place = self.place(start, end.saturating_sub(start));
        self.add(Node { kind, place });
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span, tagged: bool) -> Node {
        let mut place = self.span(span);
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            place = self.block_content(place);
        }
        let kind = if style == ScalarStyle::Plain && !tagged {
            match scalar::resolve(text) {
                Ok(kind) => kind,
                Err(refused) => {
                    let message = match refused {
                        Refused::Large => {
                            format!("`{text}` is larger than any number that can be kept exactly")
                        }
                        Refused::NotFinite => format!("`{text}` is not a finite number"),
                    };
                    self.problems.push(
                        Problem::error("number", &place, message)
                            .help(format!("if it is a text, quote it: \"{text}\"")),
                    );
                    Kind::String(text.to_string())
                }
            }
        } else {
            Kind::String(text.to_string())
        };
        Node { kind, place }
    }

    /// Where the lines of a `|` or `>` text begin: below the header. The parser's place begins with the first line
    /// that is not blank; blank ones above it are lines of the text too.
    fn block_content(&self, place: Place) -> Place {
        let text = &self.source.text;
        let line = |end: usize| text[..end].rfind('\n').map_or(0, |at| at + 1);
        let mut start = place.start;
        let mut first = line(start);
        while first > 0 {
            let above = line(first - 1);
            if !text[above..first].trim().is_empty() {
                break;
            }
            (start, first) = (above, above);
        }
        Place { start, ..place }
    }

    /// Puts a finished value where it belongs.
    fn add(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match &mut open.content {
            Content::Seq(items) => items.push(node),
            Content::Map { entries, key, seen } => match key.take() {
                Some(Some(name)) => entries.push((name, node)),
                Some(None) => {}
                None => {
                    let mut admission = Admission {
                        source: self.source,
                        problems: &mut self.problems,
                        hollow: &mut self.hollow,
                    };
                    *key = Some(admission.key(entries, seen, node));
                }
            },
        }
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let at = error
            .marker()
            .byte_offset()
            .unwrap_or(self.source.text.len());
        let text = &self.source.text[..at.min(self.source.text.len())];
        let tabs = text.len() - text.trim_end_matches('\t').len();
        let length = self.source.text[text.len()..]
            .chars()
            .next()
            .filter(|c| *c != '\n' && tabs == 0)
            .map_or(tabs, char::len_utf8);
        let at = at - tabs.min(at);
        let place = self.place(at, length);
        let problem = |message: &str| Problem::error("syntax", &place, message.to_string());
        match error.kind() {
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation => {
                problem("a tab stands where the line is indented").help("indent with spaces")
            }
            ErrorKind::RecursionLimitExceeded => Problem::error(
                "deep-nest",
                &place,
                format!("nested more than {MOST_DEPTH} deep"),
            ),
            ErrorKind::MappingValueNotAllowed => problem("this `:` cannot stand here").help(
                "is a line above indented differently, or does a text with `: ` in it need quotes?",
            ),
            ErrorKind::DirectiveDisallowed => {
                problem("directives (`%`) are not used in these files")
            }
            _ if unquoted_template(&self.source.text[..at.min(self.source.text.len())]) => {
                problem("a text that begins with a template needs quotes")
                    .help("write \"{{...}}...\"")
            }
            _ => problem(&format!("this is not YAML: {}", error.info())),
        }
    }
}

/// Whether the last line has a value that begins with `{{` outside quotes: YAML takes it for two open maps.
fn unquoted_template(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.contains(": {{") || line.contains("- {{") || line.contains("[{{") || line.contains(", {{")
}
