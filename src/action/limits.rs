//! `limits:` of a provider file: how many servers an account may hold and what they may cost, those of others included.
//! Before the start the new servers of the whole run are added up; at each creation the account is looked at again.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::Context;
use super::server_place::Rung;
use crate::ids::StepId;
use crate::kind::{Failure, Reason};
use crate::provider::{Provider, SizeOffer};

/// What the steps of a run are going to add to each account: a month's price by step, by account.
#[derive(Debug, Default)]
pub struct Planned(Mutex<BTreeMap<String, BTreeMap<StepId, f64>>>);

impl Planned {
    /// One more server; how many there are then, and what they cost together.
    fn add(&self, account: &str, step: &StepId, monthly: f64) -> (usize, f64) {
        let mut accounts = self.0.lock().expect("no holder panics");
        let steps = accounts.entry(account.to_string()).or_default();
        steps.insert(step.clone(), monthly);
        (steps.len(), steps.values().sum())
    }
}

/// Refuses what would be over the limits of the account, with the sum. The steps of a run ask side by side, each with
/// those that asked before it: if all of them together are over the limit, the last one is refused. What comes back is a
/// doubt, in words.
pub(super) async fn check_plan(
    cx: &Context,
    provider: &dyn Provider,
    rung: &Rung,
    offer: &SizeOffer,
) -> Result<Option<String>, Failure> {
    // A server that an earlier process of this run made stands there already.
    if !rung.limited() || cx.noted("server").is_some() {
        return Ok(None);
    }
    let monthly = offer.monthly.unwrap_or_default();
    let (added, cost) = cx.services.planned.add(&rung.account, &cx.step, monthly);
    check(provider, rung, (added, offer.monthly.map(|_| cost))).await
}

/// The same for one server that is about to be created.
pub(super) async fn check_one(
    provider: &dyn Provider,
    rung: &Rung,
    offer: &SizeOffer,
) -> Result<(), Failure> {
    if !rung.limited() {
        return Ok(());
    }
    check(provider, rung, (1, offer.monthly)).await.map(drop)
}

async fn check(
    provider: &dyn Provider,
    rung: &Rung,
    (added, added_cost): (usize, Option<f64>),
) -> Result<Option<String>, Failure> {
    let standing = provider.servers().await?;
    let over = |words: String| {
        Err(Failure::new(Reason::Quota, words).hint(format!(
            "raise `limits` in the provider file of `{}`, or delete servers there",
            rung.account
        )))
    };
    let sum = standing.len() + added;
    if let Some(most) = rung.limits.servers
        && sum > most as usize
    {
        return over(format!(
            "{}: {} servers stand there and {added} would come: {sum} are more than its limit of {most}",
            rung.account,
            standing.len()
        ));
    }
    if let Some(most) = rung.limits.monthly_cost {
        let mut cost = 0.0;
        let mut unpriced = usize::from(added_cost.is_none());
        let added_cost = added_cost.unwrap_or_default();
        let mut offers: BTreeMap<&str, Vec<SizeOffer>> = BTreeMap::new();
        for server in &standing {
            let region = server.region.as_str();
            if !offers.contains_key(region) {
                offers.insert(region, provider.sizes(region).await?);
            }
            let offer = offers[region]
                .iter()
                .find(|offer| offer.name == server.size);
            match offer.and_then(|offer| offer.monthly) {
                Some(monthly) => cost += monthly,
                // A type that is sold no more stands in no list.
                None => unpriced += 1,
            }
        }
        let sum = cost + added_cost;
        if sum > most {
            return over(format!(
                "{}: its servers cost {cost:.2} a month and {added_cost:.2} would come: {sum:.2} is more than its limit of {most:.2}",
                rung.account
            ));
        }
        if unpriced > 0 {
            return Ok(Some(format!(
                "{}: {sum:.2} a month of at most {most:.2}, without {unpriced} servers whose price is not known",
                rung.account
            )));
        }
    }
    Ok(None)
}
