//! What a run may touch that is not the real thing: only what it makes itself. Each step is judged by what it is aimed at. A
//! built-in one that is aimed elsewhere is only looked at; a person's own script there is a problem, for nobody can look
//! at what it would do; and nothing may come out green because production was asked.

use std::collections::{BTreeSet, HashMap};

use super::{Sources, blast_radius, left_out};
use crate::action::{Action, Asked, Kind, Target};
use crate::ids::StepId;
use crate::kind::{Effect, Mode};
use crate::plan::Step;
use crate::problem::{Place, Problem};
use crate::template::Reference;
use crate::yaml::Node;

/// A check of a `verify:` or `health:` list, bound on samples.
pub(super) struct BoundCheck<'a> {
    pub(super) place: &'a Place,
    pub(super) own_script: bool,
    /// With its references filled in.
    pub(super) with: Node,
    pub(super) action: Box<dyn Action>,
}

/// A step as it was bound on samples.
pub(super) struct BoundAction<'a> {
    pub(super) kind: &'static Kind,
    /// With its references filled in.
    pub(super) args: Node,
    pub(super) action: Box<dyn Action>,
    pub(super) verify: Vec<BoundCheck<'a>>,
}

/// All that is judged.
pub(super) struct Case<'a> {
    pub(super) mode: Mode,
    pub(super) sources: &'a Sources,
    pub(super) all: &'a [&'a Step],
    pub(super) index: &'a HashMap<StepId, usize>,
    /// By step; none where binding failed.
    pub(super) actions: &'a [Option<BoundAction<'a>>],
    /// Hosts that the run makes.
    pub(super) made: &'a BTreeSet<String>,
    pub(super) health: &'a [BoundCheck<'a>],
}

/// Whether a run of this mode keeps to what it makes itself.
pub(super) fn applies(mode: Mode) -> bool {
    matches!(mode, Mode::Drill | Mode::Clone)
}

impl Case<'_> {
    /// For each step that is only looked at: why.
    pub(super) fn judge(&self, problems: &mut Vec<Problem>) -> Vec<Option<String>> {
        let moved = self.moved();
        let mut probes: Vec<Option<String>> = vec![None; self.all.len()];
        for (at, step) in self.all.iter().enumerate() {
            let Some(bound) = &self.actions[at] else {
                continue;
            };
            if left_out(step, self.mode).is_some() {
                continue;
            }
            match self.step(step, bound, &moved) {
                Ok(probe) => probes[at] = probe,
                Err(problem) => problems.push(*problem),
            }
            if probes[at].is_some() {
                continue;
            }
            for check in &bound.verify {
                problems.extend(self.script(check.own_script, &check.with, check.place));
                problems.extend(self.name(&check.action.asked(), check.place, &moved));
            }
        }
        for check in self.health {
            problems.extend(self.script(check.own_script, &check.with, check.place));
            problems.extend(self.health(check, &moved));
        }
        self.references(&probes, problems);
        probes
    }

    /// The names and addresses that the plan moves, also in steps that this mode leaves out.
    fn moved(&self) -> Moved {
        let mut names = BTreeSet::new();
        for (at, bound) in self.actions.iter().enumerate() {
            let moves = bound.iter().filter(|_| self.all[at].enabled);
            names.extend(
                moves
                    .flat_map(|bound| bound.action.moves())
                    .map(|one| one.what),
            );
        }
        Moved(names)
    }

    fn step(
        &self,
        step: &Step,
        bound: &BoundAction,
        moved: &Moved,
    ) -> Result<Option<String>, Box<Problem>> {
        let mode = self.mode;
        let own_script = bound.kind.own_script;
        if matches!(bound.kind.effect, Effect::Read | Effect::Tell) {
            if let Some(problem) = self.script(own_script, &bound.args, &step.place) {
                return Err(Box::new(problem));
            }
            let asked = bound.action.asked();
            if let Asked::Records(names) = &asked
                && names.iter().any(|name| moved.has(name))
            {
                return Ok(Some(format!("a {mode} changes no record")));
            }
            return match self.name(&asked, &step.place, moved) {
                Some(problem) => Err(Box::new(problem)),
                None => Ok(None),
            };
        }
        if bound.kind.name == "server.from_snapshot" {
            // Nothing can be closed before the copy has booted, and by then it has begun to work.
            let words = format!(
                "what ran on the copied machine starts on the copy before a {mode} can keep it from reaching the world"
            );
            let problem = Problem::error("awake-before-closed", &step.place, words);
            return Err(Box::new(problem.help(LEAVE_OUT)));
        }
        let elsewhere = match bound.action.target() {
            Target::New => None,
            Target::Hosts(hosts) => hosts.into_iter().find(|host| !self.made.contains(host)),
            Target::Estate => Some("the estate".to_string()),
        };
        match elsewhere {
            None => Ok(None),
            Some(host) if own_script => Err(Box::new(self.script_elsewhere(&host, &step.place))),
            Some(host) if host == "the estate" => Ok(Some(format!(
                "a {mode} touches nothing that it did not make"
            ))),
            Some(host) => Ok(Some(format!(
                "a {mode} touches nothing that it did not make, and `{host}` stands"
            ))),
        }
    }

    /// A person's script must be aimed at hosts of the run: what it does elsewhere nobody can say.
    fn script(&self, own_script: bool, with: &Node, place: &Place) -> Option<Problem> {
        if !own_script {
            return None;
        }
        let hosts = blast_radius::hosts(with);
        let mut names = hosts.iter().filter_map(|host| host.as_str());
        match names.find(|host| !self.made.contains(*host)) {
            Some(host) => Some(self.script_elsewhere(host, place)),
            None if hosts.is_empty() => Some(self.script_elsewhere("this machine", place)),
            None => None,
        }
    }

    fn script_elsewhere(&self, host: &str, place: &Place) -> Problem {
        let words = format!(
            "a script of your own on `{host}`, which a {} does not make: nobody can say what it would do there",
            self.mode
        );
        Problem::error("script-elsewhere", place, words).help(LEAVE_OUT)
    }

    /// A name of the estate that the plan does not move still leads to what stands.
    fn name(&self, asked: &Asked, place: &Place, moved: &Moved) -> Option<Problem> {
        let Asked::Name(name) = asked else {
            return None;
        };
        let plain = crate::resolve::plain_name(name);
        let domains = self.sources.inventory.domains.keys();
        let ours = domains.map(|domain| crate::resolve::plain_name(domain));
        let inside = ours
            .into_iter()
            .any(|domain| plain == domain || plain.ends_with(&format!(".{domain}")));
        (inside && !moved.has(&plain)).then(|| self.asks_production(name, place))
    }

    fn asks_production(&self, whom: &str, place: &Place) -> Problem {
        let words = format!(
            "`{whom}` is what stands: a {} that asks it would be green whatever came back",
            self.mode
        );
        Problem::error("asks-production", place, words).help(
            "say whom to ask with `at:`, move the name with a `dns.switch` in this plan, or leave the step out: `modes: [failover]`",
        )
    }

    /// Health is what the result rests on, so no part of it may ask what stands.
    fn health(&self, check: &BoundCheck, moved: &Moved) -> Option<Problem> {
        let asked = check.action.asked();
        match &asked {
            Asked::Host(host) if !self.made.contains(host) => {
                Some(self.asks_production(host, check.place))
            }
            Asked::Address(address) | Asked::Name(address)
                if !moved.has(address)
                    && self
                        .sources
                        .inventory
                        .hosts
                        .values()
                        .any(|host| host.address == *address) =>
            {
                Some(self.asks_production(address, check.place))
            }
            _ => self.name(&asked, check.place, moved),
        }
    }

    /// Only what is carried out gives values.
    fn references(&self, probes: &[Option<String>], problems: &mut Vec<Problem>) {
        let mut look = |references: &[Reference]| {
            for reference in references {
                let [root, id, ..] = reference.path.as_slice() else {
                    continue;
                };
                let Some(&at) = self.index.get(id.as_str()).filter(|_| root == "steps") else {
                    continue;
                };
                let why = match (&probes[at], left_out(self.all[at], self.mode)) {
                    (Some(_), _) => "is only looked at",
                    (None, Some(_)) => "is left out",
                    (None, None) => continue,
                };
                let words = format!(
                    "`{reference}` has no value in a {}: `{id}` {why}",
                    self.mode
                );
                problems.push(Problem::error("no-value", &reference.place, words).help(LEAVE_OUT));
            }
        };
        for (at, step) in self.all.iter().enumerate() {
            if left_out(step, self.mode).is_none() && self.actions[at].is_some() {
                look(&step.references);
            }
        }
        for check in self
            .sources
            .plan
            .health
            .iter()
            .flat_map(|health| &health.checks)
        {
            look(&crate::template::references(&check.with).0);
        }
    }
}

const LEAVE_OUT: &str = "`modes: [failover]` leaves the step out of it";

/// Names that lead elsewhere afterwards.
struct Moved(BTreeSet<String>);

impl Moved {
    fn has(&self, name: &str) -> bool {
        let name = crate::resolve::plain_name(name);
        let mut rest = name.as_str();
        if self.0.contains(rest) {
            return true;
        }
        while let Some((_, above)) = rest.split_once('.') {
            if self.0.contains(&format!("*.{above}")) {
                return true;
            }
            rest = above;
        }
        false
    }
}
