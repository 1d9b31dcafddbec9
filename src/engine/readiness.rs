//! Whether an estate could be recovered tonight: everything that a run would need and that can be looked at without one.
//! Only reads; what it finds is what prechecks would find, for all datasets, accounts and names, also those that no plan uses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use serde::{Deserialize, Serialize};

use super::preview::reading;
use crate::account::Account;
use crate::action::{Services, backups_of};
use crate::dns::RecordSet;
use crate::inventory::Domain;
use crate::kind::{Failure, Finding, Reason, Surety};
use crate::secret::Mask;

/// A look that takes longer than this would not have come in the night either.
const PATIENCE: Duration = Duration::from_secs(60);

/// One thing that a recovery needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Readiness {
    /// What sort of thing: `backups`, `account`, `zone`, `key`, `channel`, `login`, `run`, `step`, `time`.
    pub area: String,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub stand: Stand,
    /// What was seen.
    pub findings: Vec<Finding>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// From best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// As it should be.
    Ready,
    /// A recovery could go through; a person should look at this before one is needed.
    Doubtful,
    /// A recovery would stop here.
    Missing,
}

impl Readiness {
    /// Cleans what providers, hosts and programs said.
    pub fn clean(&mut self, mask: &Mask) {
        let findings = self.findings.iter_mut().map(|finding| &mut finding.what);
        findings
            .chain(&mut self.hint)
            .for_each(|text| mask.clean_in(text));
    }

    /// Judges what was found.
    pub fn of(area: &str, name: impl Into<String>, findings: Vec<Finding>) -> Self {
        let doubtful = findings.iter().any(|finding| finding.warning);
        Self {
            area: area.to_string(),
            name: name.into(),
            stand: if doubtful {
                Stand::Doubtful
            } else {
                Stand::Ready
            },
            findings,
            hint: None,
        }
    }

    /// It would stop a recovery.
    pub fn missing(area: &str, name: impl Into<String>, failure: Failure) -> Self {
        let finding = Finding {
            surety: Surety::Verified,
            what: failure.message,
            warning: true,
        };
        Self {
            area: area.to_string(),
            name: name.into(),
            stand: Stand::Missing,
            findings: vec![finding],
            hint: failure.hint,
        }
    }
}

/// Looks at everything side by side; the order of what comes back is always the same.
pub async fn readiness(
    services: &Arc<Services>,
    accounts: &BTreeMap<String, Account>,
) -> Vec<Readiness> {
    let mut looks: Vec<BoxFuture<'_, Readiness>> = Vec::new();
    let inventory = &services.inventory;
    for name in inventory.datasets.keys() {
        looks.push(Box::pin(of_backups(services, name)));
    }
    for account in accounts
        .values()
        .filter(|account| account.kind.has_servers())
    {
        looks.push(Box::pin(look(
            "account",
            &account.name,
            of_account(services, account),
        )));
    }
    for domain in inventory.domains.values() {
        looks.push(Box::pin(look(
            "zone",
            &domain.name,
            of_domain(services, domain),
        )));
    }
    for (name, key) in &inventory.keys {
        looks.push(Box::pin(look("key", name, async move {
            services.secrets.fetch(key.secret()).await?;
            Ok(vec![Finding::verified("its secret can be read here")])
        })));
    }
    for name in inventory.notify.keys() {
        looks.push(Box::pin(look("channel", name, async move {
            services.channel(name).await?;
            Ok(vec![Finding::assumed(
                "its address can be read here; nothing was sent",
            )])
        })));
    }
    looks.push(Box::pin(look("login", &services.login_user, async move {
        match services.login_keys.len() {
            0 => Err(Failure::new(Reason::NotFound, "no public key is known that could log in to a new server")
                .hint("set `ssh: { key: { file: ... } }` in the inventory, or load a key into your agent (`ssh-add`)")),
            keys => Ok(vec![Finding::verified(format!("{keys} public key(s) for new servers"))]),
        }
    })));
    join_all(looks).await
}

/// How the backups of some datasets stand.
pub async fn backups_ready(
    services: &Arc<Services>,
    datasets: &BTreeSet<String>,
) -> Vec<Readiness> {
    join_all(datasets.iter().map(|name| of_backups(services, name))).await
}

async fn of_backups(services: &Arc<Services>, name: &str) -> Readiness {
    look("backups", name, async {
        let cx = reading(services);
        let (_, findings) = backups_of(&cx, name, None).await?;
        Ok(findings)
    })
    .await
}

async fn look(
    area: &str,
    name: &str,
    look: impl Future<Output = Result<Vec<Finding>, Failure>>,
) -> Readiness {
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(findings)) => Readiness::of(area, name, findings),
        Ok(Err(failure)) => Readiness::missing(area, name, failure),
        Err(_) => {
            let words = format!("no answer within {}", crate::units::duration(PATIENCE));
            Readiness::missing(area, name, Failure::new(Reason::Timeout, words))
        }
    }
}

/// The token opens the account, and there is room for a server more.
async fn of_account(services: &Services, account: &Account) -> Result<Vec<Finding>, Failure> {
    let provider = services.provider(&account.name)?;
    provider.check_credentials().await?;
    let standing = provider.servers().await?.len();
    let mut findings = vec![Finding::verified("its token is accepted")];
    findings.push(match account.limits.servers {
        Some(most) if standing >= most as usize => Finding::warning(format!(
            "{standing} servers stand there, and `limits.servers` allows {most}: no other one can be made"
        )),
        Some(most) => Finding::verified(format!("{standing} of at most {most} servers stand there")),
        None => Finding::verified(format!("{standing} servers stand there; no limit is set")),
    });
    Ok(findings)
}

/// The zone can be changed, and resolvers do not keep its addresses for longer than the inventory says.
async fn of_domain(services: &Services, domain: &Domain) -> Result<Vec<Finding>, Failure> {
    let dns = services.dns(&domain.dns)?;
    let mut findings = match dns.check_zone(&domain.name).await? {
        Some(warning) => vec![Finding::warning(warning)],
        None => vec![Finding::verified(format!(
            "it can be changed at {}",
            domain.dns
        ))],
    };
    for name in [domain.name.clone(), format!("www.{}", domain.name)] {
        for kind in ["A", "AAAA"] {
            let set = dns.get(&domain.name, &name, kind).await?;
            findings.extend(set.map(|set| of_lifetime(&set, domain.ttl)));
        }
    }
    Ok(findings)
}

/// How long users may still be sent to the old address after a change.
fn of_lifetime(set: &RecordSet, wanted: Option<u32>) -> Finding {
    let now = format!("{} {} may be kept for {}s", set.name, set.kind, set.ttl);
    match wanted {
        Some(wanted) if set.ttl > wanted => Finding::warning(format!(
            "{now} by resolvers, and the inventory wants {wanted}s: after a flip users would be sent to the old address for so long"
        )),
        _ => Finding::verified(now),
    }
}
