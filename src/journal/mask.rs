//! Draws the mask over an event before it is numbered. Every field is named here, without `..`, so
//! that the compiler asks about each new one: free text is cleaned, typed words stay as they are
//! (a password that happens to be `failed` must not change what happened).

use serde_json::Value;

use crate::event::{Ask, Back, BoundStep, Header, What};
use crate::kind::{Evidence, Failure, Finding, Observation, Resource};
use crate::secret::Mask;

/// Cleans every free text of the event.
pub(super) fn clean(mask: &Mask, what: &mut What) {
    // With no secret known there is nothing to find, and a preview knows none.
    if mask.longest() == 0 {
        return;
    }
    match what {
        What::Header(it) => header(mask, it),
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
            on,
        } => text(mask, on),
        What::Note {
            step: _,
            key,
            value,
        } => {
            text(mask, key);
            json(mask, value);
        }
        What::Made {
            step: _,
            resource: r,
        } => resource(mask, r),
        What::Gone {
            step: _,
            resource: r,
            proof,
        } => {
            resource(mask, r);
            text(mask, proof);
        }
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
            output,
            evidence: e,
            open,
        } => {
            map(mask, output);
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
                name,
                kind: _,
                question,
                details,
                timeout: _,
                by,
            } = ask;
            all(mask, [name, question]);
            all(mask, details);
            all(mask, by);
        }
        What::Answered {
            step: _,
            name,
            yes: _,
            by,
            because,
            how,
        } => {
            all(mask, [name, by, how]);
            all(mask, because);
        }
        What::Newest {
            step: _,
            dataset,
            at: _,
            backup_taken: _,
            limit: _,
            taken_as_utc,
        } => {
            text(mask, dataset);
            all(mask, taken_as_utc);
        }
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

fn header(mask: &Mask, it: &mut Header) {
    let Header {
        format: _,
        run: _,
        plan,
        description,
        mode: _,
        estate,
        by,
        version,
        lost_at: _,
        lost_at_is_default: _,
        objectives: _,
        health,
        files,
        inputs,
        steps,
        approved: _,
        adopts: _,
        drill,
        plan_path,
        inventory_path,
        provider_paths,
    } = it;
    all(
        mask,
        [
            plan,
            description,
            estate,
            by,
            version,
            plan_path,
            inventory_path,
        ],
    );
    all(mask, provider_paths);
    if let Some(drill) = drill {
        all(mask, &mut drill.allow);
    }
    if let Some(rule) = health {
        all(mask, &mut rule.checks);
    }
    for file in files {
        text(mask, &mut file.path);
    }
    map(mask, inputs);
    for step in steps {
        let BoundStep {
            id: _,
            kind,
            effect: _,
            needs: _,
            critical: _,
            on_failure: _,
            finally: _,
            left_out,
            probe,
            title,
            asks,
            expect: _,
            phase,
            owner,
            notes,
            runbook_url,
        } = step;
        all(mask, [kind, title]);
        all(mask, asks);
        for optional in [left_out, probe, phase, owner, notes, runbook_url] {
            all(mask, optional);
        }
    }
}

fn failure(mask: &Mask, it: &mut Failure) {
    let Failure {
        reason: _,
        message,
        hint,
        retry_after: _,
    } = it;
    text(mask, message);
    all(mask, hint);
}

fn observation(mask: &Mask, it: &mut Observation) {
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

fn resource(mask: &Mask, it: &mut Resource) {
    let Resource {
        kind,
        account,
        id,
        name,
    } = it;
    all(mask, [kind, account, id, name]);
}

fn evidence(mask: &Mask, items: &mut [Evidence]) {
    for Evidence { what, saw } in items {
        all(mask, [what, saw]);
    }
}

fn map(mask: &Mask, fields: &mut serde_json::Map<String, Value>) {
    fields.values_mut().for_each(|value| json(mask, value));
}

fn json(mask: &Mask, value: &mut Value) {
    mask.clean_value(value);
}

fn all<'a>(mask: &Mask, texts: impl IntoIterator<Item = &'a mut String>) {
    texts.into_iter().for_each(|it| text(mask, it));
}

fn text(mask: &Mask, it: &mut String) {
    let clean = mask.clean(it);
    if clean != *it {
        *it = clean;
    }
}
