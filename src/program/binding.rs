//! One step, or one check, bound: its arguments filled in, its kind asked for the action.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::judge::{BoundAction, BoundCheck};
use super::scope::Scope;
use super::{Sources, args, checked};
use crate::action::{Action, Bind, Kind};
use crate::kind::Output;
use crate::plan::{Check, Step};
use crate::problem::Problem;
use crate::template::Reference;
use crate::yaml::Node;

/// Fills the arguments in and binds them, with the step's `verify:` list.
pub(super) fn bind_step(
    step: &Step,
    kind: &Kind,
    scope: &Scope,
    sources: &Sources,
    hosts: &BTreeSet<String>,
) -> Result<(Box<dyn Action>, Output), Vec<Problem>> {
    let values = scope.for_references(&step.references);
    let written = args::node(step);
    let mut problems = checked::templates_in_scripts(kind, &written);
    for check in &step.verify {
        if let Some(kind) = checked::kind_behind(&check.kind) {
            problems.extend(checked::templates_in_scripts(kind, &check.with));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let args = crate::template::fill(&written, &values)?;
    let mut verify: Vec<(String, Node)> = Vec::new();
    let mut after = Vec::new();
    for check in &step.verify {
        match crate::template::fill(&check.with, &values) {
            // Questions to the data are the kind's own business; all else is asked when it has done its work.
            Ok(with) if kind.takes_verify && checked::is_check(&check.kind) => {
                after.push((check, with));
            }
            Ok(with) => {
                verify.push((check.kind.clone(), with.clone()));
                if !kind.takes_verify {
                    after.push((check, with));
                }
            }
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let bind = Bind {
        inventory: &sources.inventory,
        accounts: &sources.accounts,
        hosts,
        verify: &verify,
        rpo: sources.plan.objectives.rpo.map(|span| span.0),
        timeout: step.timeout.map(|span| span.0),
        if_source_lost: step
            .if_source_lost
            .unwrap_or(crate::plan::IfSourceLost::Fail),
        folder: &sources.folder,
        copies: &sources.copies,
    };
    let (action, sample) = (kind.bind)(&args, &bind)?;
    if after.is_empty() {
        return Ok((action, sample));
    }
    let mut checks = Vec::new();
    for (check, with) in &after {
        match checked::bind_one(&check.kind, with, &bind, &check.place) {
            Ok(check) => checks.push(check),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok((Box::new(checked::Checked { action, checks }), sample))
    } else {
        Err(problems)
    }
}

/// Binds a check that belongs to no step.
pub(super) fn bind_check(
    kind: &str,
    with: &Node,
    scope: &Scope,
    sources: &Sources,
    hosts: &BTreeSet<String>,
) -> Result<Box<dyn Action>, Vec<Problem>> {
    let (references, mut problems) = crate::template::references(with);
    if let Some(kind) = checked::kind_behind(kind) {
        problems.extend(checked::templates_in_scripts(kind, with));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let with = crate::template::fill(with, &scope.for_references(&references))?;
    let bind = Bind {
        inventory: &sources.inventory,
        accounts: &sources.accounts,
        hosts,
        verify: &[],
        rpo: None,
        timeout: None,
        if_source_lost: crate::plan::IfSourceLost::Fail,
        folder: &sources.folder,
        copies: &sources.copies,
    };
    checked::bind_one(kind, &with, &bind, &with.place)
}

/// A bound step with all that decides whether a drill may carry it out.
pub(super) fn to_judge<'a>(
    step: &'a Step,
    kind: &'static Kind,
    action: Box<dyn Action>,
    scope: &Scope,
    sources: &Sources,
    hosts: &BTreeSet<String>,
) -> BoundAction<'a> {
    let values = scope.for_references(&step.references);
    let args = args::node(step);
    // Questions to the data are put to the copy that the step makes; all else may be aimed anywhere.
    let own = |check: &&Check| kind.takes_verify && !checked::is_check(&check.kind);
    let verify = step.verify.iter().filter(|check| !own(check));
    BoundAction {
        kind,
        args: crate::template::fill(&args, &values).unwrap_or(args),
        action,
        verify: verify
            .filter_map(|check| check_to_judge(check, scope, sources, hosts))
            .collect(),
    }
}

/// None where binding failed, which is a problem of its own.
pub(super) fn check_to_judge<'a>(
    check: &'a Check,
    scope: &Scope,
    sources: &Sources,
    hosts: &BTreeSet<String>,
) -> Option<BoundCheck<'a>> {
    let action = bind_check(&check.kind, &check.with, scope, sources, hosts).ok()?;
    let (references, _) = crate::template::references(&check.with);
    let values = scope.for_references(&references);
    Some(BoundCheck {
        place: &check.place,
        own_script: checked::kind_behind(&check.kind).is_some_and(|kind| kind.own_script),
        with: crate::template::fill(&check.with, &values).ok()?,
        action,
    })
}

/// Tries the health checks, and adds the files that they read. What they refer to.
pub(super) fn check_health(
    sources: &Sources,
    scope: &Scope,
    hosts: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
    files: &mut BTreeSet<PathBuf>,
) -> Vec<Reference> {
    let mut references = Vec::new();
    for check in sources.plan.health.iter().flat_map(|health| &health.checks) {
        references.extend(crate::template::references(&check.with).0);
        match bind_check(&check.kind, &check.with, scope, sources, hosts) {
            Ok(check) => files.extend(check.files()),
            Err(found) => problems.extend(found),
        }
    }
    references
}
