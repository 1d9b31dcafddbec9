//! In a drill nobody's users are moved. What the plan would move leads to the new side all the same, for every check that this
//! process makes: to the address that the last step of it would have set, or to none while that is unknown.

use std::collections::BTreeMap;

use crate::action::{Move, MovedTo, Services};
use crate::program::Work;
use crate::resolve::overlay::Leads;
use crate::state::{RunState, Status};

/// Tells the services where names lead to, as far as the run knows by now.
pub(super) fn learn(work: &dyn Work, state: &RunState, services: &Services) {
    /// The later one of two that move the same name counts; one that had its turn before one that had not; a known before an
    /// unknown.
    type Rank = (bool, Option<jiff::Timestamp>, bool, usize);
    let mut best: BTreeMap<String, (Rank, Leads)> = BTreeMap::new();
    for (at, moving) in work.moves(state).into_iter().enumerate() {
        let step = state.step(&moving.step);
        let ended = step
            .filter(|step| step.status == Status::Done)
            .and_then(|step| step.ended);
        for Move { what, to } in moving.moves {
            let address = match to {
                MovedTo::Address(address) => Some(address),
                MovedTo::Host(host) => services
                    .hosts
                    .facts(&host)
                    .and_then(|facts| facts.address.parse().ok()),
            };
            let leads = match address.filter(|_| moving.known) {
                Some(address) => Leads::To(address),
                None => Leads::NotYet(moving.step.to_string()),
            };
            let known = matches!(leads, Leads::To(_));
            let rank = (ended.is_some(), ended, known, at);
            if best.get(&what).is_none_or(|(before, _)| *before < rank) {
                best.insert(what, (rank, leads));
            }
        }
    }
    let all = best.into_iter().map(|(what, (_, leads))| (what, leads));
    services.rehearsal.names.set(all.collect());
}
