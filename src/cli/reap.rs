//! `dr-plan reap`: takes away what drills have made and did not live to delete. It needs nothing but the token: what it may take
//! carries a label that only drills put on things. What carries none is never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::Args;
use comfy_table::{Table, presets};

use super::enter::enter_world_of;
use super::failure::{CliError, FAILED, OK, Outcome, PROBLEMS, USAGE};
use super::here::{person, state_folder};
use super::sources::{Accounts, Reader};
use super::{Common, print, runtime, say, services};
use crate::account::AccountKind;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::event::{Back, RunResult, What};
use crate::ids::StepId;
use crate::journal::{Ledger, Parts, RunFolder};
use crate::kind::{Failure, Resource};
use crate::provider::Provider;
use crate::provider::leftover::{Leftover, read};
use crate::secret::Mask;
use crate::state::RunState;

/// Delete what drills have left, at the provider, from any machine
#[derive(Debug, Args)]
pub struct Reap {
    /// Only say what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Also what this drill made, although it is not due: its id, or the beginning or end of it
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
}

/// What is to become of something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Goes(Due),
    Stays(String),
}

/// Why something is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    /// The person named its drill.
    Named(String),
    /// Its label says until when it was wanted.
    Expired(Timestamp),
    /// Nobody works for its drill any more, and the drill was not to keep it. The journal says so, and may say otherwise a moment later.
    Died(Timestamp),
}

impl Due {
    fn words(&self) -> String {
        match self {
            Due::Named(run) => format!("of drill {run}, as you say"),
            Due::Expired(at) => format!("expired {}", moment(*at)),
            Due::Died(_) => "its drill died on this machine".into(),
        }
    }
}

/// Something that was found.
struct Found {
    /// The account that it stands in, and which of those that were asked showed it: one account may have two tokens.
    account: String,
    client: usize,
    leftover: Leftover,
    fate: Fate,
    /// After the attempt: the proof, or what went wrong.
    came: Option<Result<String, Failure>>,
}

impl Reap {
    /// Carries it out.
    pub fn run(self, common: &Common) -> Outcome {
        let state = state_folder(common.state.clone())?;
        let accounts = accounts(common, &state)?;
        let mask = Mask::default();
        let clock = SystemClock::new();
        let now = clock.now();
        runtime()?.block_on(async {
            let mut clients: Vec<Box<dyn Provider>> = Vec::new();
            let mut failed: Vec<String> = Vec::new();
            for account in accounts.values() {
                let (found, missing) = services::reaping(account, &mask).await?;
                clients.extend(found);
                failed.extend(missing.iter().map(|failure| mask.clean(&failure.message)));
            }
            let mut all: Vec<Found> = Vec::new();
            let mut recovery: Vec<(String, Leftover)> = Vec::new();
            for (at, client) in clients.iter().enumerate() {
                match ask(&**client).await {
                    Ok((drills, runs)) => {
                        all.extend(drills.into_iter().map(|leftover| Found {
                            account: client.account().to_string(),
                            client: at,
                            fate: self.fate(&leftover, &state, now),
                            leftover,
                            came: None,
                        }));
                        let account = client.account().to_string();
                        recovery.extend(runs.into_iter().map(|one| (account.clone(), one)));
                    }
                    Err(failure) => failed.push(mask.clean(&failure.message)),
                }
            }
            self.one_drill(&all)?;
            // Two tokens of one project see the same.
            let mut seen = BTreeSet::new();
            all.retain(|found| {
                seen.insert((
                    found.account.clone(),
                    found.leftover.kind,
                    found.leftover.id.clone(),
                ))
            });
            recovery.sort_by(|a, b| (&a.0, &a.1.id).cmp(&(&b.0, &b.1.id)));
            recovery.dedup();
            // Servers before the firewalls that stand before them.
            all.sort_by_key(|found| found.leftover.kind != "server");
            if !self.dry_run {
                take(&mut all, &clients, &state, &mask).await?;
            }
            let bad = !failed.is_empty() || all.iter().any(|one| matches!(one.came, Some(Err(_))));
            show(&all, &recovery, &failed, common);
            Ok(if bad { FAILED } else { OK })
        })
    }

    /// What is typed must mean one drill: half an id of two would take away more than was meant.
    fn one_drill(&self, all: &[Found]) -> Result<(), CliError> {
        let runs = all.iter().filter_map(|found| found.leftover.run.as_deref());
        let fit: BTreeSet<&str> = runs.filter(|run| self.means(run)).collect();
        if fit.len() < 2 {
            return Ok(());
        }
        let list: Vec<&str> = fit.into_iter().collect();
        let words = format!("--run can mean {}", list.join(" or "));
        Err(CliError::new(USAGE, words).hint("type more of the id"))
    }

    fn means(&self, run: &str) -> bool {
        self.run.as_ref().is_some_and(|wanted| {
            let wanted = wanted.to_lowercase();
            !wanted.is_empty() && (run.starts_with(&wanted) || run.ends_with(&wanted))
        })
    }

    fn fate(&self, leftover: &Leftover, state: &Path, now: Timestamp) -> Fate {
        let run = leftover.run.as_deref().unwrap_or_default();
        if self.run.is_some() {
            return match self.means(run) {
                true if live(state, run) => Fate::Stays("its drill is at work".into()),
                true => Fate::Goes(Due::Named(run.to_string())),
                false => Fate::Stays(format!("of another drill ({run})")),
            };
        }
        if live(state, run) {
            return Fate::Stays("its drill is at work".into());
        }
        let expires = leftover.expires.as_deref().and_then(read);
        match expires {
            // A time that nobody can read must not keep something for ever; but nobody can say that it is due either.
            None => Fate::Stays(format!(
                "its label says `{}`, which is no time: `--run {run}` takes it",
                leftover.expires.as_deref().unwrap_or_default()
            )),
            Some(at) if at <= now => Fate::Goes(Due::Expired(at)),
            Some(at) => match own(state, run) {
                Some(true) => kept_until(at),
                Some(false) => Fate::Goes(Due::Died(at)),
                None => Fate::Stays(format!("until {}", moment(at))),
            },
        }
    }
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn folder_of(state: &Path, run: &str) -> Option<RunFolder> {
    let run = crate::ids::RunId::parse(run).ok()?;
    RunFolder::open(state, &run).ok()
}

fn live(state: &Path, run: &str) -> bool {
    // When in doubt it is at work: what is in use must not be taken away.
    folder_of(state, run).is_some_and(|folder| folder.is_live().unwrap_or(true))
}

/// Whether a drill of this machine was told to keep what it made; none if it is not one of this machine.
fn own(state: &Path, run: &str) -> Option<bool> {
    let folder = folder_of(state, run)?;
    let (sum, ..) = folder.sound_sum().ok()?;
    Some(keeps(&sum))
}

/// Whether a drill is over, was told to keep what it made, and nobody began to take it down.
fn keeps(drill: &RunState) -> bool {
    let told = drill.header.drill.as_ref().is_some_and(|told| told.keep);
    drill.result.is_some() && told && drill.back.begun.is_none()
}

fn kept_until(at: Timestamp) -> Fate {
    Fate::Stays(format!("kept on purpose until {}", moment(at)))
}

async fn ask(client: &dyn Provider) -> Result<(Vec<Leftover>, Vec<Leftover>), Failure> {
    let leftovers = client.leftovers()?;
    Ok((leftovers.of_drills().await?, leftovers.of_runs().await?))
}

/// Deletes what goes. The journal of a drill of this machine is held meanwhile, so that nobody takes the drill up, and is told.
async fn take(
    all: &mut [Found],
    clients: &[Box<dyn Provider>],
    state: &Path,
    mask: &Mask,
) -> Result<(), CliError> {
    let mut held: BTreeMap<String, Option<Ledger>> = BTreeMap::new();
    for found in all.iter_mut() {
        if !matches!(found.fate, Fate::Goes(_)) {
            continue;
        }
        let run = found.leftover.run.clone().unwrap_or_default();
        if !held.contains_key(&run) {
            match hold(state, &run, mask) {
                Ok(ledger) => {
                    held.insert(run.clone(), ledger);
                }
                Err(why) => {
                    found.fate = Fate::Stays(why);
                    continue;
                }
            }
        }
        let ledger = held.get(&run).and_then(Option::as_ref);
        if let Some(ledger) = ledger {
            found.fate = ledger.state(|drill| behind_the_lock(&found.fate, drill));
        }
        if matches!(found.fate, Fate::Stays(_)) {
            continue;
        }
        let client = &clients[found.client];
        let came = remove(&**client, &found.leftover).await;
        if let (Ok(proof), Some(ledger)) = (&came, ledger) {
            tell(ledger, client.account(), &found.leftover, proof).await;
        }
        found.came = Some(came);
    }
    for ledger in held.into_values().flatten() {
        end(&ledger, all).await;
        ledger.close()?;
    }
    Ok(())
}

/// The fate once more, now that nobody else can write to the drill's journal: between the first look and the lock somebody may have
/// resumed the drill to an end that keeps what it made.
fn behind_the_lock(fate: &Fate, drill: &RunState) -> Fate {
    match fate {
        Fate::Goes(Due::Died(at)) if keeps(drill) => kept_until(*at),
        _ => fate.clone(),
    }
}

/// A drill whose servers are gone is over: nobody shall take it up and look for them.
async fn end(ledger: &Ledger, all: &[Found]) {
    let run = ledger.state(|state| state.header.run.to_string());
    let of_it = |found: &&Found| found.leftover.run.as_deref() == Some(&run);
    let mut left = all.iter().filter(of_it);
    if left.any(|found| !matches!(found.came, Some(Ok(_)))) {
        return;
    }
    let over = ledger.state(|state| state.result.is_some());
    let because = "it was killed, and `dr-plan reap` took away what it had made".to_string();
    let ended = What::Ended {
        result: RunResult::Aborted,
        because: vec![because],
    };
    let begun = What::Back(Back::Begun {
        by: person(),
        version: env!("CARGO_PKG_VERSION").into(),
        steps: Vec::new(),
    });
    let words = [
        (!over).then_some(ended),
        Some(begun),
        Some(What::Back(Back::Ended)),
    ];
    for what in words.into_iter().flatten() {
        if let Err(error) = ledger.record(what).await {
            say(&format!("telling the journal of the drill: {error}\n"));
            return;
        }
    }
}

async fn remove(client: &dyn Provider, leftover: &Leftover) -> Result<String, Failure> {
    client.leftovers()?.remove(leftover).await?;
    Ok(format!("GET of {} answers 404", leftover.id))
}

/// The journal of the drill, if it is one of this machine; an error in words if somebody has taken it up meanwhile.
fn hold(state: &Path, run: &str, mask: &Mask) -> Result<Option<Ledger>, String> {
    let Some(folder) = folder_of(state, run) else {
        return Ok(None);
    };
    let (journal, sum) = match folder.open_sum() {
        Ok(opened) => opened,
        Err(crate::journal::JournalError::Busy { .. }) => {
            return Err("its drill is at work".into());
        }
        // What can no longer be written to needs not be told.
        Err(_) => return Ok(None),
    };
    let parts = Parts {
        journal: Box::new(journal),
        reporters: Vec::new(),
        mask: mask.clone(),
        clock: std::sync::Arc::new(SystemClock::new()),
        estate: None,
    };
    Ok(Ledger::go_on(parts, sum).ok())
}

async fn tell(ledger: &Ledger, account: &str, leftover: &Leftover, proof: &str) {
    // Not everything carries the step that made it; then the journal knows.
    let step = ledger.state(|state| {
        let noted = state.resources.iter().find(|(_, known, _)| {
            (known.kind.as_str(), &known.account[..], &known.id)
                == (leftover.kind, account, &leftover.id)
        });
        let label = leftover.step.as_deref();
        let step = label.and_then(|step| StepId::new(step).ok());
        let marked = step.filter(|step| state.step(step).is_some());
        noted.map(|(step, ..)| step.clone()).or(marked)
    });
    let Some(step) = step else { return };
    let gone = What::Gone {
        step,
        resource: Resource {
            kind: leftover.kind.into(),
            account: account.to_string(),
            id: leftover.id.clone(),
            name: leftover.name.clone(),
        },
        proof: format!("{proof}, after `dr-plan reap`"),
    };
    if let Err(error) = ledger.record(gone).await {
        say(&format!("telling the journal of the drill: {error}\n"));
    }
}

/// The accounts of an inventory, whose world is entered before they can be used.
fn of_inventory(reader: Reader, path: &Path, common: &Common) -> Result<Accounts, CliError> {
    let (inventory, accounts) = reader.inventory(path, common)?;
    enter_world_of(&inventory)?;
    Ok(accounts)
}

/// The accounts that are asked: of an inventory, of a folder, or of the drills that were begun on this machine.
fn accounts(common: &Common, state: &Path) -> Result<Accounts, CliError> {
    let reader = Reader::of_person();
    let accounts = match (&common.inventory, &common.providers) {
        (None, Some(folder)) => reader.accounts(folder)?,
        (Some(inventory), _) => of_inventory(reader, inventory, common)?,
        (None, None) => {
            let drills = RunFolder::list(state)?;
            let headers = drills.iter().filter_map(|found| match &found.header {
                Ok(Some((_, header))) if header.drill.is_some() => Some(&**header),
                _ => None,
            });
            let known: BTreeSet<&String> = headers.map(|header| &header.inventory_path).collect();
            let known: Vec<&String> = known.into_iter().collect();
            match known.as_slice() {
                [one] => of_inventory(reader, Path::new(one), common)?,
                [] => {
                    let words = "no drill was begun on this machine: say whose accounts to ask";
                    return Err(
                        CliError::new(USAGE, words).hint("--inventory FILE, or --providers FOLDER")
                    );
                }
                many => {
                    let list: Vec<&str> = many.iter().map(|path| path.as_str()).collect();
                    let words = format!(
                        "drills of several inventories were begun here: {}",
                        list.join(", ")
                    );
                    return Err(CliError::new(USAGE, words).hint("--inventory FILE says which"));
                }
            }
        }
    };
    let clouds: Accounts = accounts
        .into_iter()
        .filter(|(_, account)| matches!(account.kind, AccountKind::Hetzner { .. }))
        .collect();
    if clouds.is_empty() {
        let words = "none of these accounts has servers: there is nothing to ask";
        return Err(CliError::new(PROBLEMS, words));
    }
    Ok(clouds)
}

fn show(all: &[Found], recovery: &[(String, Leftover)], failed: &[String], common: &Common) {
    let of = |found: &Found| -> (&'static str, String) {
        match (&found.came, &found.fate) {
            (Some(Ok(proof)), _) => ("deleted", proof.clone()),
            (Some(Err(failure)), _) => ("failed", failure.message.clone()),
            (None, Fate::Goes(due)) => ("would be deleted", due.words()),
            (None, Fate::Stays(why)) => ("stays", why.clone()),
        }
    };
    if common.json {
        let row = |account: &str, one: &Leftover, outcome: &str, why: &str| {
            serde_json::json!({
                "account": account, "kind": one.kind, "id": one.id, "name": one.name, "run": one.run,
                "step": one.step, "expires": one.expires.as_deref().and_then(read), "outcome": outcome, "why": why,
            })
        };
        let mut rows: Vec<serde_json::Value> = Vec::new();
        for found in all {
            let (outcome, why) = of(found);
            rows.push(row(&found.account, &found.leftover, outcome, &why));
        }
        for (account, one) in recovery {
            rows.push(row(
                account,
                one,
                "recovery",
                "made by a run, not by a drill",
            ));
        }
        let whole = serde_json::json!({ "found": rows, "not_asked": failed });
        print(&format!("{whole:#}\n"));
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for found in all {
        let (outcome, why) = of(found);
        let what = format!("{} `{}`", found.leftover.kind, found.leftover.name);
        let place = format!("{} {}", found.account, found.leftover.id);
        table.add_row([outcome.to_string(), what, place, why]);
    }
    if all.is_empty() {
        say(match failed.is_empty() {
            true => "no drill has left anything\n",
            false => "no drill has left anything where it could be asked\n",
        });
    } else {
        print(&format!("{table}\n"));
    }
    for (account, one) in recovery {
        let run = one.run.as_deref().unwrap_or_default();
        let short = &run[run.len().saturating_sub(8)..];
        say(&format!(
            "server `{}` ({account} {}) is of run {short}, which was no drill: not touched\n hint: dr-plan undo {short}, where that run was begun\n",
            one.name, one.id
        ));
    }
    for why in failed {
        say(&format!("not asked: {why}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Drill, Event};
    use crate::state::sample::header;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn event(seq: u64, what: What) -> Event {
        Event {
            seq,
            at: at(0),
            ms: 0,
            what,
        }
    }

    #[test]
    fn a_drill_that_ended_as_kept_between_the_look_and_the_lock_keeps_what_it_made() {
        let mut header = header(Vec::new());
        header.drill = Some(Drill {
            expires: at(60),
            allow: Vec::new(),
            keep: true,
        });
        let mut drill = RunState::begin(&event(1, What::Header(Box::new(header)))).unwrap();
        let died = Fate::Goes(Due::Died(at(60)));
        assert_eq!(behind_the_lock(&died, &drill), died, "it was killed");
        let ended = What::Ended {
            result: RunResult::Met,
            because: Vec::new(),
        };
        drill.fold(&event(2, ended)).unwrap();
        assert_eq!(behind_the_lock(&died, &drill), kept_until(at(60)));
        // What is due for another reason goes, kept or not.
        let named = Fate::Goes(Due::Named("01jd0000000000000000000000".into()));
        assert_eq!(behind_the_lock(&named, &drill), named);
        let expired = Fate::Goes(Due::Expired(at(60)));
        assert_eq!(behind_the_lock(&expired, &drill), expired);
    }
}
