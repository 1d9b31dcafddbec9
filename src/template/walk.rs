//! Walks over a parsed template, admits what belongs to the small language and notes every path with its place.

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg};

use super::Reference;
use crate::problem::{Problem, nearest};
use crate::yaml::Node;

/// The helpers that give a yes or no, with the number of their arguments.
const QUESTIONS: [(&str, usize); 5] = [("eq", 2), ("ne", 2), ("and", 2), ("or", 2), ("not", 1)];
/// The helpers that open a block; each takes one argument.
const BLOCKS: [&str; 2] = ["if", "unless"];

pub(super) struct Walk<'a> {
    pub node: &'a Node,
    pub text: &'a str,
    /// Paths before this byte have been found.
    pub cursor: usize,
    pub references: Vec<Reference>,
}

impl Walk<'_> {
    pub fn template(&mut self, template: &handlebars::Template) -> Result<(), Problem> {
        for (element, mapping) in template.elements.iter().zip(&template.mapping) {
            let start = offset(self.text, mapping.0, mapping.1);
            self.cursor = self.cursor.max(start);
            match element {
                TemplateElement::RawString(_) => {}
                TemplateElement::Expression(one) => self.expression(one)?,
                TemplateElement::HelperBlock(block) => self.block(block)?,
                _ => return Err(self.problem_here("this form is not used in these templates")),
            }
        }
        Ok(())
    }

    fn problem_here(&self, message: impl Into<String>) -> Problem {
        let end = self.text[self.cursor..]
            .find("}}")
            .map_or(self.text.len(), |end| self.cursor + end + 2);
        let start = self.text[..end].rfind("{{").unwrap_or(self.cursor);
        Problem::error("template", &self.node.place_within(start, end), message)
    }

    fn expression(&mut self, one: &HelperTemplate) -> Result<(), Problem> {
        if one.params.is_empty() && one.hash.is_empty() {
            return self.parameter(&one.name, true);
        }
        self.question(one)
    }

    fn question(&mut self, one: &HelperTemplate) -> Result<(), Problem> {
        let name = one.name.as_name().unwrap_or_default();
        let Some((_, wanted)) = QUESTIONS.iter().find(|(question, _)| *question == name) else {
            let known = QUESTIONS
                .iter()
                .map(|(question, _)| *question)
                .chain(BLOCKS);
            let problem = self.problem_here(format!("`{name}` is no word of these templates"));
            return Err(match nearest(name, known) {
                Some(right) => problem.help(format!("did you mean `{right}`?")),
                None => problem
                    .help("the words are `eq`, `ne`, `and`, `or`, `not`, and `#if`, `#unless`"),
            });
        };
        if one.params.len() != *wanted || !one.hash.is_empty() {
            return Err(self.problem_here(format!(
                "`{name}` compares {wanted}, found {}",
                one.params.len()
            )));
        }
        one.params
            .iter()
            .try_for_each(|parameter| self.parameter(parameter, false))
    }

    fn block(&mut self, block: &HelperTemplate) -> Result<(), Problem> {
        let name = block.name.as_name().unwrap_or_default();
        if !BLOCKS.contains(&name) {
            let problem = self.problem_here(format!("`#{name}` is no block of these templates"));
            return Err(problem.help("the blocks are `#if` and `#unless`"));
        }
        if block.params.len() != 1 || !block.hash.is_empty() || block.block_param.is_some() {
            return Err(self.problem_here(format!("`#{name}` takes one condition")));
        }
        self.parameter(&block.params[0], false)?;
        for part in [&block.template, &block.inverse].into_iter().flatten() {
            self.template(part)?;
        }
        Ok(())
    }

    fn parameter(&mut self, parameter: &Parameter, shown: bool) -> Result<(), Problem> {
        let path = match parameter {
            Parameter::Literal(_) => return Ok(()),
            Parameter::Subexpression(inner) => {
                return match inner.as_element() {
                    TemplateElement::Expression(one) if !one.params.is_empty() => {
                        self.question(one)
                    }
                    TemplateElement::Expression(one) => self.parameter(&one.name, shown),
                    _ => Err(self.problem_here("this form is not used in these templates")),
                };
            }
            Parameter::Path(Path::Relative((parts, raw))) => {
                names(parts).map(|names| (names, raw.as_str()))
            }
            Parameter::Name(name) => Some((vec![name.clone()], name.as_str())),
            _ => None,
        };
        let Some((path, raw)) = path else {
            return Err(self.problem_here("this is no path from the top").help(
                "write it like `steps.db.host`, `inputs.point`, `hosts.db-1.address` or `run.id`",
            ));
        };
        let from = self.text[self.cursor..]
            .find(raw)
            .map_or(self.cursor, |at| self.cursor + at);
        self.cursor = (from + raw.len()).min(self.text.len());
        self.references.push(Reference {
            path,
            place: self.node.place_within(from, self.cursor),
            shown,
        });
        Ok(())
    }
}

/// The parts of a path that only goes down.
fn names(parts: &[PathSeg]) -> Option<Vec<String>> {
    let names: Option<Vec<String>> = parts
        .iter()
        .map(|part| match part {
            PathSeg::Named(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    names.filter(|names| !names.is_empty())
}

/// The byte of a line and column, both counted from 1, columns in characters.
pub(super) fn offset(text: &str, line: usize, column: usize) -> usize {
    let start = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum::<usize>()
        .min(text.len());
    text[start..]
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(at, _)| start + at)
}
