//! What `check` found, told: one part for each estate and plan, in words or as JSON. A part can be handed from a process
//! inside a sandbox world to the one outside that put the question.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::failure::{CliError, EXCEPTIONS, FAILED, OK, PROBLEMS, USAGE};
use super::{Common, print, problems};
use crate::engine::{Readiness, Stand};

/// One estate, or one plan.
#[derive(Serialize, Deserialize)]
pub struct Part {
    of: String,
    checks: Vec<Readiness>,
    /// Why it could not be tried at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    untried: Option<Untried>,
}

#[derive(Serialize, Deserialize)]
struct Untried {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// As `validate --json` shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problems: Option<serde_json::Value>,
    /// What the command would end with if this were all.
    code: u8,
}

/// All of them, as `--json` prints it.
#[derive(Serialize, Deserialize)]
pub struct Checked {
    stand: Stand,
    /// In the order in which they were looked at.
    pub parts: Vec<Part>,
}

impl Part {
    /// Looked at.
    pub fn of(name: String, checks: Vec<Readiness>) -> Self {
        Self {
            of: name,
            checks,
            untried: None,
        }
    }

    /// A plan that could not be tried, by its files.
    pub fn untried(plan: &Path, inventory: Option<&Path>, error: CliError) -> Self {
        let of = match inventory {
            Some(inventory) => format!(
                "plan {} (inventory {})",
                plan.display(),
                inventory.display()
            ),
            None => format!("plan {}", plan.display()),
        };
        // The command line was right: what it names is not.
        let code = match error.code() {
            USAGE => PROBLEMS,
            code => code,
        };
        let untried = match error {
            CliError::Problems(found) => Untried {
                error: problems::render(&found, false).trim_end().to_string(),
                hint: None,
                problems: Some(problems::json(&found)),
                code,
            },
            CliError::Plain { message, hint, .. } => Untried {
                error: message,
                hint,
                problems: None,
                code,
            },
        };
        Self {
            of,
            checks: Vec::new(),
            untried: Some(untried),
        }
    }

    fn code(&self) -> u8 {
        let stand = self.checks.iter().map(|one| one.stand).max();
        match (&self.untried, stand.unwrap_or(Stand::Ready)) {
            (Some(untried), _) => untried.code,
            (None, Stand::Ready) => OK,
            (None, Stand::Doubtful) => EXCEPTIONS,
            (None, Stand::Missing) => FAILED,
        }
    }

    /// For a person; empty when there is nothing to say.
    fn text(&self, common: &Common) -> String {
        if let Some(untried) = &self.untried {
            let mut text = format!("{}\n", self.of);
            for (at, line) in untried.error.lines().enumerate() {
                let head = if at == 0 { "NOT TRIED" } else { "" };
                match untried.problems {
                    Some(_) => text.push_str(&format!("  {line}\n")),
                    None => text.push_str(&format!("  {head:<9} {line}\n")),
                }
            }
            for line in untried.hint.iter().flat_map(|hint| hint.lines()) {
                text.push_str(&format!("  {:<9} hint: {line}\n", ""));
            }
            return text;
        }
        let lines: String = self
            .checks
            .iter()
            .filter(|one| !common.quiet || one.stand != Stand::Ready)
            .map(|one| lines_of(one, common))
            .collect();
        match lines.is_empty() {
            true => lines,
            false => format!("{}\n{lines}", self.of),
        }
    }
}

/// From best to worst: what a failed recovery costs is more than what a text costs that must be mended first.
fn badness(code: u8) -> u8 {
    match code {
        OK => 0,
        EXCEPTIONS => 1,
        PROBLEMS => 2,
        FAILED => 3,
        _ => 4,
    }
}

/// Says it; the exit code is that of the worst.
pub fn tell(parts: Vec<Part>, common: &Common) -> u8 {
    let stands = parts.iter().flat_map(|part| &part.checks);
    let seen = stands.map(|one| one.stand).max().unwrap_or(Stand::Ready);
    let untried = parts.iter().filter(|part| part.untried.is_some()).count();
    let codes = parts.iter().map(Part::code);
    let code = codes.max_by_key(|code| badness(*code)).unwrap_or(OK);
    let mut verdict = match seen {
        Stand::Ready => "ready",
        Stand::Doubtful => "ready, and something should be looked at",
        Stand::Missing => "NOT READY: a recovery would not go through",
    }
    .to_string();
    if untried > 0 {
        let plans = match untried {
            1 => "1 plan".to_string(),
            _ => format!("{untried} plans"),
        };
        verdict = match seen {
            Stand::Missing => format!("{verdict}, and {plans} could not be tried"),
            _ => format!("NOT READY: {plans} could not be tried"),
        };
    }
    if common.json {
        let stand = if untried > 0 { Stand::Missing } else { seen };
        print(&format!(
            "{:#}\n",
            serde_json::json!(Checked { stand, parts })
        ));
        return code;
    }
    for part in &parts {
        let text = part.text(common);
        if !text.is_empty() {
            print(&format!("{text}\n"));
        }
    }
    if !common.quiet || code != OK {
        print(&format!("{verdict}\n"));
    }
    code
}

/// What is as it should be takes one line; the rest is told with what was seen.
fn lines_of(one: &Readiness, common: &Common) -> String {
    let word = match one.stand {
        Stand::Ready => "ok",
        Stand::Doubtful => "look",
        Stand::Missing => "MISSING",
    };
    let wanted: Vec<&str> = one
        .findings
        .iter()
        .filter(|finding| common.verbose || one.stand == Stand::Ready || finding.warning)
        .map(|finding| finding.what.as_str())
        .collect();
    let shown = if one.stand == Stand::Ready && !common.verbose {
        wanted.iter().take(1).copied().collect()
    } else {
        wanted
    };
    let head = format!("  {word:<8}{:<9}{:<18}", one.area, one.name);
    let mut text = match shown.first() {
        None => format!("{}\n", head.trim_end()),
        Some(first) => format!("{head}{first}\n"),
    };
    for more in shown.iter().skip(1) {
        text.push_str(&format!("{:37}{more}\n", ""));
    }
    if let Some(hint) = &one.hint {
        text.push_str(&format!("{:37}hint: {hint}\n", ""));
    }
    text
}
