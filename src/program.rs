//! A plan whose steps are bound to actions. Outputs are unknown before a run, so every kind gives a sample:
//! references are filled with samples here, and a wrong name or type in step 14 is found before step 1 runs.
//! In the run the same binding is done again with the true outputs; there is no second way.

mod args;
mod binding;
mod blast_radius;
mod checked;
mod inputs;
mod judge;
mod needs;
mod placeholder;
mod roles;
mod scope;
mod unproved;
mod unread;
mod unused;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use crate::account::Account;
use crate::action::{Action, Kind};
use crate::event::{BoundStep, HealthRule, Objectives};
use crate::ids::{RunId, StepId};
use crate::inventory::Inventory;
use crate::kind::{Mode, Output};
use crate::plan::{Graph, Plan, Step};
use crate::problem::{Problem, Severity};

use binding::{bind_check, bind_step, check_health, check_to_judge, to_judge};
use judge::{BoundAction, BoundCheck};
use needs::{left_out, needs_through};
pub use placeholder::Placeholder;
use scope::Scope;
pub use unread::Unread;
pub use work::{Moving, Policy, Work};

/// What a program is bound from.
pub struct Sources {
    /// The plan.
    pub plan: Plan,
    /// Where the plan's file lies.
    pub folder: PathBuf,
    /// What a run that goes on has copies of, by where the originals lay.
    pub copies: BTreeMap<PathBuf, Vec<u8>>,
    /// The estate.
    pub inventory: Arc<Inventory>,
    /// The accounts by name.
    pub accounts: BTreeMap<String, Account>,
    /// What is missing in all of these because it could not be read.
    pub unread: Unread,
}

impl Sources {
    /// The plan's problems first, then the inventory's, then those of the provider files; each in the order of its file.
    fn in_file_order(&self, problems: &mut [Problem]) {
        problems.sort_by_cached_key(|problem| {
            let Some((place, _)) = problem.labels.first() else {
                return (0, String::new(), 0);
            };
            let text = match () {
                () if place.source == self.plan.source => 0,
                () if place.source == self.inventory.source => 1,
                () => 2,
            };
            (text, place.source.name.clone(), place.start)
        });
    }
}

/// A plan, bound.
pub struct Program {
    sources: Sources,
    run: RunId,
    inputs: serde_json::Map<String, serde_json::Value>,
    steps: Vec<BoundStep>,
    index: HashMap<StepId, usize>,
    samples: HashMap<usize, Output>,
    hosts: BTreeSet<String>,
    /// Steps that would move names or addresses, in a run that does not: they lead elsewhere all the same, for this process.
    moving: Vec<usize>,
    /// The kinds, by step.
    kinds: Vec<&'static Kind>,
    /// Things a person should see before the start.
    pub warnings: Vec<Problem>,
    /// Local files that its steps read.
    pub files: BTreeSet<PathBuf>,
}

impl Program {
    /// Binds every step. All problems at once, in file order; what was found while the texts were read among them, and
    /// nothing that only follows from it. Texts with an error give no program.
    pub fn bind(
        sources: Sources,
        mode: Mode,
        run: RunId,
        given: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut unknown = sources.unread.unknown();
        let inputs = inputs::of(&sources.plan, given, &mut problems, &mut unknown.inputs);
        let all: Vec<&Step> = sources
            .plan
            .steps
            .iter()
            .chain(&sources.plan.finally)
            .collect();
        let index: HashMap<StepId, usize> = all
            .iter()
            .enumerate()
            .map(|(at, step)| (step.id.clone(), at))
            .collect();
        let order = Graph::new(&sources.plan.steps).order();
        let mut order: Vec<usize> = order
            .into_iter()
            .chain(sources.plan.steps.len()..all.len())
            .collect();
        // What waits for itself has no order; it was shown, and each of its steps is looked at by itself.
        let placed: BTreeSet<usize> = order.iter().copied().collect();
        for at in (0..all.len()).filter(|at| !placed.contains(at)) {
            unknown.steps.insert(all[at].id.to_string());
            order.push(at);
        }

        let mut hosts: BTreeSet<String> = sources.inventory.hosts.keys().cloned().collect();
        let mut made: HashMap<String, usize> = HashMap::new();
        let mut samples: HashMap<usize, Output> = HashMap::new();
        let mut files = BTreeSet::new();
        let mut titles = vec![String::new(); all.len()];
        let mut asks = vec![Vec::new(); all.len()];
        let mut kinds: Vec<Option<&'static Kind>> = vec![None; all.len()];
        let mut judged: Vec<Option<BoundAction>> = all.iter().map(|_| None).collect();
        for at in order {
            let step = all[at];
            let Some(kind) = crate::action::kind_of(args::kind(step)) else {
                problems.push(args::unknown_kind(step));
                hosts.extend(unread::names_for(step, &mut unknown));
                continue;
            };
            kinds[at] = Some(kind);
            problems.extend(unused::keys(step, kind));
            let scope = Scope {
                run: &run,
                inputs: &inputs,
                inventory: &sources.inventory,
                index: &index,
                outputs: &samples,
                unknown: &unknown,
            };
            let bound = bind_step(step, kind, &scope, &sources, &hosts);
            let mut kept: Option<Box<dyn Action>> = None;
            match bound {
                Ok((action, sample)) => {
                    titles[at] = action.title();
                    let action: &dyn Action = if judge::applies(mode) {
                        let bound = to_judge(step, kind, action, &scope, &sources, &hosts);
                        &*judged[at].insert(bound).action
                    } else {
                        &**kept.insert(action)
                    };
                    asks[at] = action.asks();
                    files.extend(action.files());
                    if let Some(host) = sample.get("host").and_then(|host| host.as_str()) {
                        let creates = kind.effect == crate::kind::Effect::Create;
                        if creates && left_out(step, mode).is_none() {
                            problems.extend(roles::name_taken(&all, host, at, &sources, &mut made));
                        }
                        hosts.insert(host.to_string());
                    }
                    samples.insert(at, scope::distinct(sample, at));
                }
                Err(found) => {
                    problems.extend(found);
                    hosts.extend(unread::names_for(step, &mut unknown));
                }
            }
        }
        blast_radius::check(&sources, &mut problems);
        problems.extend(roles::unawaited(&all, &sources, &made, &index));
        problems.extend(unproved::restores(&all, &sources, &index, mode));
        let scope = Scope {
            run: &run,
            inputs: &inputs,
            inventory: &sources.inventory,
            index: &index,
            outputs: &samples,
            unknown: &unknown,
        };
        let health_references = check_health(&sources, &scope, &hosts, &mut problems, &mut files);
        let mut probes: Vec<Option<String>> = vec![None; all.len()];
        let mut moving = Vec::new();
        if judge::applies(mode) {
            let health = sources.plan.health.iter().flat_map(|health| &health.checks);
            let health: Vec<BoundCheck> = health
                .filter_map(|check| check_to_judge(check, &scope, &sources, &hosts))
                .collect();
            let case = judge::Case {
                mode,
                sources: &sources,
                all: &all,
                index: &index,
                actions: &judged,
                made: &made.keys().cloned().collect(),
                made_at: &roles::addresses(made.values().filter_map(|at| samples.get(at))),
                health: &health,
            };
            probes = case.judge(&mut problems);
            moving.extend((0..all.len()).filter(|at| case.leads_to_new(*at)));
        }
        drop(judged);
        unread::without_consequences(&mut problems, &all, &health_references, &unknown);
        problems.retain(|problem| !sources.unread.explains(problem));
        let broken = sources.unread.is_broken();
        problems.extend(sources.unread.problems.iter().cloned());
        sources.in_file_order(&mut problems);
        if problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
            || broken
        {
            return Err(problems);
        }
        let kinds: Vec<&'static Kind> = kinds.into_iter().flatten().collect();
        let names = scope::placeholders(&all, &samples);
        let in_plan = sources.plan.steps.len();
        let mut steps = Vec::with_capacity(all.len());
        for (at, step) in all.iter().enumerate() {
            steps.push(BoundStep {
                id: step.id.clone(),
                kind: kinds[at].name.to_string(),
                effect: kinds[at].effect,
                needs: needs_through(step, &all, &index, mode),
                critical: step.critical,
                on_failure: step.on_failure,
                finally: at >= in_plan,
                left_out: left_out(step, mode),
                probe: probes[at].take(),
                title: names(&titles[at]),
                asks: std::mem::take(&mut asks[at]),
                expect: step.expect.map(|span| span.0),
                phase: step.phase.clone(),
                owner: step.owner.clone(),
                notes: step.notes.clone(),
                runbook_url: step.runbook_url.clone(),
            });
        }
        drop(all);
        Ok(Self {
            sources,
            run,
            inputs,
            steps,
            index,
            samples,
            hosts,
            moving,
            kinds,
            warnings: problems,
            files,
        })
    }

    /// The steps as the header carries them.
    pub fn steps(&self) -> &[BoundStep] {
        &self.steps
    }

    /// The inputs with their values.
    pub fn inputs(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.inputs
    }

    /// The plan's objectives.
    pub fn objectives(&self) -> Objectives {
        Objectives {
            rto: self.sources.plan.objectives.rto.map(|span| span.0),
            rpo: self.sources.plan.objectives.rpo.map(|span| span.0),
        }
    }

    /// The plan's health rule, its checks in words.
    pub fn health_rule(&self) -> Option<HealthRule> {
        let health = self.sources.plan.health.as_ref()?;
        let scope = self.scope(&self.samples);
        let names = scope::placeholders(&self.all_steps(), &self.samples);
        let checks = health
            .checks
            .iter()
            .map(|check| {
                match bind_check(&check.kind, &check.with, &scope, &self.sources, &self.hosts) {
                    Ok(action) => names(&action.title()),
                    Err(_) => check.kind.clone(),
                }
            })
            .collect();
        Some(HealthRule {
            hold: health.hold.0,
            within: health.within.0,
            checks,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.sources.plan
    }

    /// The estate.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.sources.inventory
    }

    /// The plan as it was read.
    pub fn text(&self) -> &str {
        &self.sources.plan.source.text
    }

    /// The accounts by name.
    pub fn accounts(&self) -> &BTreeMap<String, Account> {
        &self.sources.accounts
    }

    fn all_steps(&self) -> Vec<&Step> {
        self.sources
            .plan
            .steps
            .iter()
            .chain(&self.sources.plan.finally)
            .collect()
    }

    fn plan_step(&self, at: usize) -> &Step {
        let steps = &self.sources.plan.steps;
        if at < steps.len() {
            &steps[at]
        } else {
            &self.sources.plan.finally[at - steps.len()]
        }
    }

    fn scope<'a>(&'a self, outputs: &'a HashMap<usize, Output>) -> Scope<'a> {
        Scope {
            run: &self.run,
            inputs: &self.inputs,
            inventory: &self.sources.inventory,
            index: &self.index,
            outputs,
            unknown: &scope::NONE,
        }
    }
}
