//! A plan whose steps are bound to actions. Outputs are unknown before a run, so every kind gives a sample:
//! references are filled with samples here, and a wrong name or type in step 14 is found before step 1 runs.
//! In the run the same binding is done again with the true outputs; there is no second way.

mod args;
mod blast_radius;
mod checked;
mod judge;
mod placeholder;
mod scope;
mod unread;
mod work;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::action::{Action, Bind, Kind};
use crate::event::{BoundNeed, BoundStep, HealthRule, Objectives};
use crate::ids::{RunId, StepId};
use crate::inventory::Inventory;
use crate::kind::{Mode, Output};
use crate::plan::{Check, Graph, Plan, Step};
use crate::problem::{Problem, Severity, nearest};
use crate::template::Reference;
use crate::yaml::Node;

use judge::{BoundAction, BoundCheck};
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
        let inputs = inputs(&sources.plan, given, &mut problems);
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
        let mut unknown = sources.unread.unknown();
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
                            problems.extend(name_taken(&all, host, at, &sources, &mut made));
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
        problems.extend(unawaited(&all, &sources, &made, &index));
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
                made_at: &addresses(made.values().filter_map(|at| samples.get(at))),
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
        let waits: Vec<Vec<BoundNeed>> = all
            .iter()
            .map(|step| needs_through(step, &all, &index, mode))
            .collect();
        let mut waits = waits.into_iter();
        let steps: Vec<BoundStep> = all
            .iter()
            .enumerate()
            .map(|(at, step)| {
                bound_step(
                    step,
                    kinds[at],
                    mode,
                    at >= sources.plan.steps.len(),
                    Found {
                        needs: waits.next().unwrap_or_default(),
                        title: names(&titles[at]),
                        asks: std::mem::take(&mut asks[at]),
                        probe: probes[at].take(),
                    },
                )
            })
            .collect();
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

/// Fills the arguments in and binds them, with the step's `verify:` list.
fn bind_step(
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
fn bind_check(
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
fn to_judge<'a>(
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
fn check_to_judge<'a>(
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

/// The sample addresses of servers.
fn addresses<'a>(samples: impl Iterator<Item = &'a Output>) -> BTreeSet<IpAddr> {
    let fields = samples.flat_map(|sample| [sample.get("ipv4"), sample.get("ipv6")]);
    let texts = fields.flatten().filter_map(|value| value.as_str());
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Tries the health checks, and adds the files that they read. What they refer to.
fn check_health(
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

/// The inputs' values: given, or their defaults. A name that the plan does not know, or a value of the wrong type, is a problem.
fn inputs(
    plan: &Plan,
    given: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> serde_json::Map<String, serde_json::Value> {
    let mut values = serde_json::Map::new();
    for input in &plan.inputs {
        let value = match given.get(&input.name) {
            Some(text) => input.read(text),
            None => input
                .default
                .clone()
                .ok_or_else(|| "it has no default and was not given".to_string()),
        };
        match value {
            Ok(value) => {
                values.insert(input.name.clone(), value);
            }
            Err(why) => problems.push(
                Problem::error(
                    "bad-input",
                    &input.place,
                    format!("input `{}`: {why}", input.name),
                )
                .help(format!("--input {}=...", input.name)),
            ),
        }
    }
    let start = crate::problem::Place {
        source: plan.source.clone(),
        start: 0,
        end: 0,
    };
    for name in given
        .keys()
        .filter(|name| !plan.inputs.iter().any(|input| input.name == **name))
    {
        let problem = Problem::error(
            "unknown-input",
            &start,
            format!("`--input {name}=...`: the plan has no such input"),
        );
        problems.push(
            match nearest(name, plan.inputs.iter().map(|input| input.name.as_str())) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            },
        );
    }
    values
}

/// A step that names a new server in plain words and does not wait for it would come too early, and find nobody.
fn unawaited(
    all: &[&Step],
    sources: &Sources,
    made: &HashMap<String, usize>,
    index: &HashMap<StepId, usize>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, step) in all.iter().enumerate() {
        for value in blast_radius::hosts(&args::node(step)) {
            let name = value.as_str().unwrap_or_default();
            let Some(&maker) = made.get(name) else {
                continue;
            };
            if sources.inventory.hosts.contains_key(name) || waits_for(all, index, at, maker) {
                continue;
            }
            let id = &all[maker].id;
            let words =
                format!("`{name}` is made by the step `{id}`, and this step does not wait for it");
            let problem = Problem::error("not-awaited", &value.place, words);
            problems.push(problem.help(format!(
                "write \"{{{{steps.{id}.host}}}}\", which waits and names it"
            )));
        }
    }
    problems
}

fn waits_for(all: &[&Step], index: &HashMap<StepId, usize>, at: usize, maker: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![at];
    while let Some(at) = next.pop() {
        for need in &all[at].needs {
            match index.get(&need.step) {
                Some(&on) if on == maker => return true,
                Some(&on) if seen.insert(on) => next.push(on),
                _ => {}
            }
        }
    }
    false
}

/// Two machines of one name: steps that mean the one would act on the other.
fn name_taken(
    all: &[&Step],
    host: &str,
    at: usize,
    sources: &Sources,
    made: &mut HashMap<String, usize>,
) -> Option<Problem> {
    let place = &all[at].place;
    if let Some(known) = sources.inventory.hosts.get(host) {
        let words =
            format!("`{host}` is a host of the inventory already: a new server needs another role");
        let problem = Problem::error("role-is-a-host", place, words);
        return Some(problem.also(&known.place, "this one"));
    }
    let first = made.insert(host.to_string(), at)?;
    let words = format!("two steps create `{host}`: a role is one server");
    let problem = Problem::error("same-role", place, words);
    Some(problem.also(&all[first].place, "the other one"))
}

/// Why a step is not part of the run.
fn left_out(step: &Step, mode: Mode) -> Option<String> {
    if !step.enabled {
        return Some("it is not enabled".to_string());
    }
    // A preview shows what a failover would do.
    let mode = if mode == Mode::Preview {
        Mode::Failover
    } else {
        mode
    };
    step.modes
        .as_ref()
        .filter(|modes| !modes.contains(&mode))
        .map(|_| format!("it is not part of a {mode}"))
}

fn own_needs(step: &Step) -> Vec<BoundNeed> {
    let mut needs: Vec<BoundNeed> = Vec::new();
    for need in &step.needs {
        // What a reference implies says nothing that a written need has not said better.
        if !needs.iter().any(|known| known.step == need.step) {
            needs.push(BoundNeed {
                step: need.step.clone(),
                was: need.was,
            });
        }
    }
    needs
}

/// With those of the steps between that are left out: whoever takes the question before the traffic out does not mean that
/// the traffic shall move before there is anything to move it to.
fn needs_through(
    step: &Step,
    all: &[&Step],
    index: &HashMap<StepId, usize>,
    mode: Mode,
) -> Vec<BoundNeed> {
    let mut needs = own_needs(step);
    let mut next = 0;
    while let Some(need) = needs.get(next) {
        next += 1;
        let between = index.get(&need.step).map(|at| all[*at]);
        let Some(between) = between.filter(|between| left_out(between, mode).is_some()) else {
            continue;
        };
        for more in own_needs(between) {
            if !needs.iter().any(|known| known.step == more.step) {
                needs.push(more);
            }
        }
    }
    needs
}

/// What binding found out about a step.
struct Found {
    needs: Vec<BoundNeed>,
    title: String,
    asks: Vec<String>,
    probe: Option<String>,
}

fn bound_step(
    step: &Step,
    kind: &Kind,
    mode: Mode,
    finally: bool,
    Found {
        needs,
        title,
        asks,
        probe,
    }: Found,
) -> BoundStep {
    let left_out = left_out(step, mode);
    BoundStep {
        id: step.id.clone(),
        kind: kind.name.to_string(),
        effect: kind.effect,
        needs,
        critical: step.critical,
        on_failure: step.on_failure,
        finally,
        left_out,
        probe,
        title,
        asks,
        expect: step.expect.map(|span| span.0),
        phase: step.phase.clone(),
        owner: step.owner.clone(),
        notes: step.notes.clone(),
        runbook_url: step.runbook_url.clone(),
    }
}

/// When the plan says nothing: three attempts, a second before the second.
pub(crate) const ATTEMPTS: u32 = 3;
pub(crate) const BACKOFF: Duration = Duration::from_secs(1);
/// And ten minutes for what is only out of reach: the outage of an API or of a line is no reason to give a night up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);
