//! What a run may touch that is not the real thing: only what it makes itself. Each step is judged by what it is aimed at. A
//! built-in one that is aimed elsewhere is only looked at; a person's own script there is a problem, for nobody can look
//! at what it would do; and nothing may come out green because production was asked.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::{Sources, blast_radius, left_out};
use crate::action::{Action, Asked, Kind, Move, MovedTo, Target};
use crate::ids::StepId;
use crate::kind::{Effect, Mode};
use crate::plan::Step;
use crate::problem::{Place, Problem};
use crate::resolve::overlay::plain_key;
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
    /// Their addresses, as samples have them.
    pub(super) made_at: &'a BTreeSet<IpAddr>,
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
                problems.extend(self.decides(&check.action.asked(), check.place, &moved));
            }
        }
        for (at, step) in self.all.iter().enumerate() {
            let bound = self.actions[at].iter();
            for bound in bound.filter(|_| left_out(step, self.mode).is_none()) {
                for asked in bound.action.decides() {
                    problems.extend(self.decides(&asked, &step.place, &moved));
                }
                problems.extend(self.moves_elsewhere(&bound.action.moves(), step));
            }
        }
        for check in self.health {
            problems.extend(self.script(check.own_script, &check.with, check.place));
            problems.extend(self.decides(&check.action.asked(), check.place, &moved));
        }
        self.references(&probes, problems);
        probes
    }

    /// The names and addresses that the plan moves to what the run makes, also in steps that this mode leaves out.
    fn moved(&self) -> Moved {
        let steps = (0..self.all.len()).filter(|at| self.leads_to_new(*at));
        let bound = steps.filter_map(|at| self.actions[at].as_ref());
        let moves = bound.flat_map(|bound| bound.action.moves());
        Moved(moves.map(|one| plain_key(&one.what)).collect())
    }

    /// Whether this step moves names or addresses, all of them to what the run makes.
    pub(super) fn leads_to_new(&self, at: usize) -> bool {
        let moves = self.actions[at].as_ref().map(|bound| bound.action.moves());
        let moves = moves.unwrap_or_default();
        self.all[at].enabled && !moves.is_empty() && moves.iter().all(|one| self.is_new(one))
    }

    /// An address that moves itself counts by where it moves to.
    fn is_new(&self, moving: &Move) -> bool {
        match &moving.to {
            MovedTo::Host(host) => self.made.contains(host),
            MovedTo::Address(address) => {
                self.made_at.contains(address) || self.moved_itself(address)
            }
        }
    }

    fn moved_itself(&self, address: &IpAddr) -> bool {
        let enabled = (0..self.all.len()).filter(|at| self.all[*at].enabled);
        let bound = enabled.filter_map(|at| self.actions[at].as_ref());
        let mut moves = bound.flat_map(|bound| bound.action.moves());
        moves.any(|one| {
            matches!(&one.to, MovedTo::Host(host) if self.made.contains(host))
                && one.what.parse() == Ok(*address)
        })
    }

    /// Checks that ask by such a name would ask what stands already, as health would.
    fn moves_elsewhere(&self, moves: &[Move], step: &Step) -> Option<Problem> {
        let old = moves.iter().find(|one| !self.is_new(one))?;
        let to = match &old.to {
            MovedTo::Host(host) => host.clone(),
            MovedTo::Address(address) => address.to_string(),
        };
        let words = format!(
            "`{}` would lead to `{to}`, which a {} does not make: whoever asks it would ask what stands",
            old.what, self.mode
        );
        Some(Problem::error("moves-to-what-stands", &step.place, words).help(LEAVE_OUT))
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
            if matches!(&asked, Asked::Records(_)) {
                let ours = self.stands(&asked, moved).is_some();
                return Ok(ours.then(|| format!("a {mode} changes no record")));
            }
            if let Some(problem) = self.name(&asked, &step.place, moved) {
                return Err(Box::new(problem));
            }
            let stands = self.stands(&asked, moved);
            return Ok(stands.map(|whom| {
                format!("`{whom}` stands, and what it answers says nothing of what a {mode} makes")
            }));
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
        (self.inside(name) && !moved.has(name)).then(|| self.asks_production(name, place))
    }

    /// Whether the name is one of the estate's.
    fn inside(&self, name: &str) -> bool {
        let plain = plain_key(name);
        let mut domains = self.sources.inventory.domains.keys();
        domains.any(|domain| {
            let domain = plain_key(domain);
            plain == domain || plain.ends_with(&format!(".{domain}"))
        })
    }

    /// Which part of the estate, as it stands, would answer.
    fn stands(&self, asked: &Asked, moved: &Moved) -> Option<String> {
        match asked {
            Asked::Nobody => None,
            Asked::Host(host) => (!self.made.contains(host)).then(|| host.clone()),
            Asked::Records(names) => names
                .iter()
                .find(|name| moved.has(name) || self.inside(name))
                .cloned(),
            Asked::Address(whom) | Asked::Name(whom) => {
                let plain = plain_key(whom);
                let sample = plain.parse().is_ok_and(|ip| self.made_at.contains(&ip));
                let mut hosts = self.sources.inventory.hosts.values();
                let known = hosts.any(|host| plain_key(&host.address) == plain);
                let stands = known || matches!(asked, Asked::Name(_)) && self.inside(whom);
                (stands && !sample && !moved.has(whom)).then(|| whom.clone())
            }
        }
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

    /// What the result rests on must not ask what stands: health, what a step's own `verify` says of it, a gate.
    fn decides(&self, asked: &Asked, place: &Place, moved: &Moved) -> Option<Problem> {
        let whom = self.stands(asked, moved)?;
        Some(self.asks_production(&whom, place))
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
        let name = plain_key(name);
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
