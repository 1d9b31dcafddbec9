//! Places as a plan names them, looked up in the provider files; and which type is ordered there.

use std::collections::BTreeMap;

use super::server_create::Needs;
use super::{Bind, Context, limits};
use crate::account::Limits;
use crate::kind::{Failure, Finding, Reason};
use crate::problem::{Problem, nearest};
use crate::provider::{Provider, SizeOffer};
use crate::units::bytes;
use crate::yaml::Node;

/// One rung of a ladder.
#[derive(Debug, Clone)]
pub(super) struct Rung {
    /// As it was written.
    pub(super) place: String,
    /// The provider file's name.
    pub(super) account: String,
    /// The provider's region.
    pub(super) region: String,
    /// The exact type, if the place names one.
    pub(super) exact: Option<String>,
    /// The provider's image.
    pub(super) image: String,
    /// Bound against a real account.
    pub(super) exists: bool,
    /// The account's.
    pub(super) limits: Limits,
}

/// Finds every place's account and resolves the aliases of its provider file.
pub(super) fn rungs(
    texts: &[&str],
    image: &str,
    size: Option<&Needs>,
    args: &Node,
    bind: &Bind,
) -> Result<Vec<Rung>, Vec<Problem>> {
    let place = args.place_of("place");
    let mut problems = Vec::new();
    let mut rungs = Vec::new();
    if texts.is_empty() {
        problems.push(Problem::error("no-place", place, "no place is named"));
    }
    for text in texts {
        let parts: Vec<&str> = text.split('/').collect();
        let (account, region, exact) = match parts.as_slice() {
            [account, region] => (*account, *region, None),
            [account, region, exact] => (*account, *region, Some(*exact)),
            _ => {
                let words = format!(
                    "`{text}` is not a place: write provider/region or provider/region/type"
                );
                problems.push(Problem::error("bad-place", place, words));
                continue;
            }
        };
        let Some(found) = bind.accounts.get(account) else {
            let problem = Problem::error(
                "unknown-account",
                place,
                format!("no provider file is called `{account}`"),
            );
            problems.push(
                match nearest(account, bind.accounts.keys().map(String::as_str)) {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => problem.help("name its file under `providers:` of the inventory"),
                },
            );
            continue;
        };
        if !found.kind.has_servers() {
            problems.push(Problem::error(
                "no-servers",
                place,
                format!("`{account}` is a DNS service and has no servers"),
            ));
            continue;
        }
        if exact.is_none() && size.is_none() {
            let words = format!("`{text}` names no type, and the step says no `size`");
            problems.push(
                Problem::error("no-size", place, words)
                    .help("write provider/region/type, or `size: { cpus, memory, disk }`"),
            );
        }
        let one = [region.to_string()];
        // A name for a group of regions stands for a ladder of them.
        for region in found.regions.get(region).map_or(&one[..], Vec::as_slice) {
            let place = match exact {
                Some(exact) => format!("{account}/{region}/{exact}"),
                None => format!("{account}/{region}"),
            };
            rungs.push(Rung {
                place,
                account: account.to_string(),
                region: region.clone(),
                exact: exact.map(|name| alias(&found.sizes, name)),
                image: alias(&found.images, image),
                exists: true,
                limits: found.limits.clone(),
            });
        }
    }
    if problems.is_empty() {
        Ok(rungs)
    } else {
        Err(problems)
    }
}

fn alias(names: &BTreeMap<String, String>, name: &str) -> String {
    names.get(name).cloned().unwrap_or_else(|| name.to_string())
}

impl Rung {
    /// The account has limits of its own.
    pub(super) fn limited(&self) -> bool {
        self.limits.servers.is_some() || self.limits.monthly_cost.is_some()
    }

    /// The type to order: the exact one, or the cheapest that fits and can be ordered. Refused if the account's own
    /// limits leave no room for it.
    pub(super) async fn size(
        &self,
        provider: &dyn Provider,
        needs: Option<&Needs>,
    ) -> Result<String, Failure> {
        let offer = self.offer(provider, needs).await?;
        limits::check_one(provider, self, &offer).await?;
        Ok(offer.name)
    }

    /// The type that would be ordered.
    pub(super) async fn offer(
        &self,
        provider: &dyn Provider,
        needs: Option<&Needs>,
    ) -> Result<SizeOffer, Failure> {
        let offers = provider.sizes(&self.region).await?;
        let no_room = |words: String| Failure::new(Reason::NoCapacity, words);
        if let Some(exact) = &self.exact {
            let offer = offers.iter().find(|offer| offer.name == *exact);
            return match offer {
                Some(offer) if offer.available => Ok(offer.clone()),
                Some(_) => Err(no_room(format!(
                    "{}: type {exact} cannot be ordered there now",
                    self.place
                ))),
                None => {
                    let failure = Failure::new(
                        Reason::NotFound,
                        format!("{}: there is no type {exact}", self.place),
                    );
                    Err(
                        match nearest(exact, offers.iter().map(|offer| offer.name.as_str())) {
                            Some(near) => failure.hint(format!("did you mean `{near}`?")),
                            None => failure,
                        },
                    )
                }
            };
        }
        let fits = |offer: &&SizeOffer| {
            needs.is_none_or(|needs| {
                needs.cpus.is_none_or(|cpus| offer.cpus >= cpus)
                    && needs.memory.is_none_or(|memory| offer.memory >= memory.0)
                    && needs.disk.is_none_or(|disk| offer.disk >= disk.0)
            })
        };
        let price = |offer: &SizeOffer| offer.monthly.unwrap_or(f64::MAX);
        offers
            .iter()
            .filter(|offer| offer.available)
            .filter(fits)
            .min_by(|a, b| price(a).total_cmp(&price(b)).then(a.memory.cmp(&b.memory)))
            .cloned()
            .ok_or_else(|| {
                no_room(format!(
                    "{}: no type that fits can be ordered there now",
                    self.place
                ))
            })
    }

    /// Credentials, type, image and limits, looked at before the run.
    pub(super) async fn check(
        &self,
        cx: &Context,
        provider: &dyn Provider,
        needs: Option<&Needs>,
    ) -> Result<Vec<Finding>, Failure> {
        provider.check_credentials().await?;
        let offer = self.offer(provider, needs).await?;
        provider
            .check_image(&self.image, &offer.architecture)
            .await?;
        let doubt = limits::check_plan(cx, provider, self, &offer).await?;
        let price = offer
            .monthly
            .map(|price| format!(", {price:.2} a month"))
            .unwrap_or_default();
        let words = format!(
            "{}: {} ({} cpus, {} memory, {} disk{price}) with {} can be ordered",
            self.place,
            offer.name,
            offer.cpus,
            bytes(offer.memory),
            bytes(offer.disk),
            self.image
        );
        Ok(std::iter::once(Finding::verified(words))
            .chain(doubt.map(Finding::warning))
            .collect())
    }
}
