//! What a runbook does on machines, in the real sandbox: packages, scripts, units, reboots; done once, proved by a look, taken
//! up again after a death in the middle.

mod cloud;
mod packages;
mod reboots;
mod scripts;
mod single_service;
mod sweep;
mod units;
