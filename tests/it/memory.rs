//! What a run remembers: journal, ledger, locks, and the reports that are made from them.

pub mod disks;
mod journal;
mod ledger;
mod locks;
mod messages;
pub mod night;
mod reports;
mod verdict;
