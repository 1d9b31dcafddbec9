//! Draws the mask over an event before it is numbered. Every field is named here, without `..`, so that the compiler asks
//! about each new one.
//!
//! Free text is cleaned: what programs, providers and people said. What the program itself reads back stays as it is: typed
//! words, the header, notes, outputs, resources, questions and their names. A password may be a word of the plan (`postgres`, or a host's
//! name in an environment file), and a run whose notes say `[secret]` where they said `shop.example` takes its own work for
//! somebody else's. Such fields are made from files that hold no secrets and from identities; whoever puts quoted text into one
//! cleans it there ([`crate::action::Context::note_words`], [`crate::action::Verified::answered`]).

use crate::event::{Ask, Back, What};
use crate::kind::{Evidence, Failure, Finding, Observation};
use crate::secret::Mask;

/// Cleans every free text of the event.
pub(super) fn clean(mask: &Mask, what: &mut What) {
    // With no secret known there is nothing to find, and a preview knows none.
    if mask.longest() == 0 {
        return;
    }
    match what {
        What::Header(_) => {}
        What::Resumed { by, version } => all(mask, [by, version]),
        What::Prechecked { step: _, finding } => {
            let Finding {
                surety: _,
                what,
                warning: _,
            } = finding;
            text(mask, what);
        }
        What::Refused {
            step: _,
            failure: f,
        } => failure(mask, f),
        What::Observed {
            step: _,
            observation: o,
        } => observation(mask, o),
        What::Intent {
            step: _,
            attempt: _,
            on: _,
        }
        | What::Note {
            step: _,
            key: _,
            value: _,
        }
        | What::Made {
            step: _,
            resource: _,
        } => {}
        What::Gone {
            step: _,
            resource: _,
            proof,
        } => text(mask, proof),
        What::Progress {
            step: _,
            phase,
            done: _,
            total: _,
            unit,
        } => all(mask, [phase, unit]),
        What::Log { step: _, line } => text(mask, line),
        What::Retry {
            step: _,
            attempt: _,
            failure: f,
            after: _,
        } => failure(mask, f),
        What::Done {
            step: _,
            already: _,
            output: _,
            evidence: e,
            open,
        } => {
            evidence(mask, e);
            all(mask, open.iter_mut().map(|open| &mut open.what));
        }
        What::Failed {
            step: _,
            failure: f,
        } => failure(mask, f),
        What::Blocked {
            step: _,
            observation: o,
        } => observation(mask, o),
        What::Doomed { step: _, cause: _ } => {}
        What::Marked {
            step: _,
            mark: _,
            by,
            because,
        } => all(mask, [by, because]),
        What::Asked { step: _, ask } => {
            let Ask {
                name: _,
                kind: _,
                question: _,
                details,
                timeout: _,
                by,
            } = ask;
            all(mask, details);
            all(mask, by);
        }
        What::Answered {
            step: _,
            name: _,
            yes: _,
            by,
            because,
            how,
        } => {
            all(mask, [by, how]);
            all(mask, because);
        }
        What::Newest {
            step: _,
            dataset: _,
            at: _,
            backup_taken: _,
            limit: _,
            taken_as_utc,
        } => all(mask, taken_as_utc),
        What::Health {
            green: _,
            evidence: e,
        } => evidence(mask, e),
        What::Healthy { since: _ } => {}
        What::Unhealthy { why } => text(mask, why),
        What::Stopped { why, hint } => {
            text(mask, why);
            all(mask, hint);
        }
        What::Ended { result: _, because } => all(mask, because),
        What::Back(it) => back(mask, it),
    }
}

fn back(mask: &Mask, it: &mut Back) {
    match it {
        Back::Begun {
            by,
            version,
            steps: _,
        } => all(mask, [by, version]),
        Back::Intent {
            step: _,
            attempt: _,
        }
        | Back::Releasing {
            step: _,
            attempt: _,
        }
        | Back::Ended => {}
        Back::Undone {
            step: _,
            evidence: e,
        }
        | Back::Released {
            step: _,
            evidence: e,
        } => evidence(mask, e),
        Back::Left {
            step: _,
            why,
            person: _,
        } => text(mask, why),
        Back::Failed {
            step: _,
            failure: f,
        } => failure(mask, f),
        Back::Stopped { why } => text(mask, why),
        Back::HandedOver { to: _, by } => text(mask, by),
    }
}

pub(crate) fn failure(mask: &Mask, it: &mut Failure) {
    let Failure {
        reason: _,
        message,
        hint,
        retry_after: _,
    } = it;
    text(mask, message);
    all(mask, hint);
}

pub(crate) fn observation(mask: &Mask, it: &mut Observation) {
    match it {
        Observation::Absent | Observation::Done => {}
        Observation::Partial { what: words }
        | Observation::Running { what: words }
        | Observation::Unseen { why: words } => text(mask, words),
        Observation::Foreign { what: words, hint }
        | Observation::CannotTell { why: words, hint } => {
            text(mask, words);
            all(mask, hint);
        }
    }
}

fn evidence(mask: &Mask, items: &mut [Evidence]) {
    for Evidence { what, saw } in items {
        all(mask, [what, saw]);
    }
}

fn all<'a>(mask: &Mask, texts: impl IntoIterator<Item = &'a mut String>) {
    texts.into_iter().for_each(|it| text(mask, it));
}

fn text(mask: &Mask, it: &mut String) {
    mask.clean_in(it);
}
