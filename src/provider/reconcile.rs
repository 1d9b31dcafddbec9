//! Exactly one server (or snapshot), whatever the API does. No cloud has an idempotency key, so creation is: look, create once, and
//! when the answer is lost look again until it shows. A second create request is never sent from here.

use std::time::Duration;

use async_trait::async_trait;

use super::firewall::{Firewall, Firewalls, Rule};
use super::snapshot::{Snapshot, SnapshotSpec, Snapshots};
use super::wait::Pace;
use super::{Provider, ProviderError, Server, ServerSpec};
use crate::kind::Reason;

/// The server that stands for the spec now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The one to use.
    pub server: Server,
    /// It was there already: made by an earlier attempt, or by the request whose answer was lost.
    pub adopted: bool,
    /// More servers with the same marks. They must be recorded and deleted, or they are paid for unseen.
    pub extras: Vec<Server>,
}

/// One thing of a step, made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made<T> {
    /// The one to use.
    pub it: T,
    /// It was there already.
    pub adopted: bool,
    /// More with the same marks.
    pub extras: Vec<T>,
}

/// Something that must exist once, though no request can be told apart from its repetition.
#[async_trait]
trait Once: Sync {
    type It: Send;

    /// The account's name.
    fn account(&self) -> &str;

    /// What stands for it now. `Refused` (`Refused`): somebody else's stands in its place.
    async fn look(&self) -> Result<Option<Made<Self::It>>, ProviderError>;

    /// Sends one request.
    async fn create(&self) -> Result<Self::It, ProviderError>;
}

/// Makes sure that one server of `spec` exists. The caller has its intent (the spec with its tags) on disk before.
///
/// `settle` is how long a server may stay invisible after a request whose answer was lost; a minute or two at
/// the big clouds.
///
/// # Errors
/// - `Refused` (`Refused`): the name is taken by a server that does not carry our marks. Nothing was created.
/// - `Refused` with anything else: the provider said no.
/// - `Unknown`: the answer was lost and no server appeared within `settle`. A later call looks again first, and may
///   then create.
pub async fn create_once(
    provider: &dyn Provider,
    spec: &ServerSpec,
    settle: Duration,
) -> Result<Created, ProviderError> {
    let made = once(&NewServer { provider, spec }, settle).await?;
    Ok(Created {
        server: made.it,
        adopted: made.adopted,
        extras: made.extras,
    })
}

/// The same for a snapshot, which has no name of its own: its tags alone tell it.
///
/// # Errors
/// As `create_once`.
pub async fn snapshot_once(
    provider: &dyn Provider,
    spec: &SnapshotSpec,
    settle: Duration,
) -> Result<Made<Snapshot>, ProviderError> {
    let account = provider.account();
    let snapshots = provider.snapshots()?;
    let new = NewSnapshot {
        account,
        snapshots,
        spec,
    };
    once(&new, settle).await
}

/// The same for a firewall of ours, which is told by its mark. One without it that has the name is somebody else's.
///
/// # Errors
/// As `create_once`.
pub async fn firewall_once(
    provider: &dyn Provider,
    name: &str,
    rules: &[Rule],
    settle: Duration,
) -> Result<Made<Firewall>, ProviderError> {
    let new = NewFirewall {
        account: provider.account(),
        firewalls: provider.firewalls()?,
        name,
        rules,
    };
    once(&new, settle).await
}

struct NewFirewall<'a> {
    account: &'a str,
    firewalls: &'a dyn Firewalls,
    name: &'a str,
    rules: &'a [Rule],
}

#[async_trait]
impl Once for NewFirewall<'_> {
    type It = Firewall;

    fn account(&self) -> &str {
        self.account
    }

    async fn look(&self) -> Result<Option<Made<Firewall>>, ProviderError> {
        let found = self.firewalls.named(self.name).await?;
        let (ours, strangers): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.ours);
        match (ours.is_empty(), strangers.first()) {
            (true, Some(stranger)) => Err(ProviderError::refused(
                self.account,
                &format!("creating firewall `{}`", self.name),
                Reason::Refused,
                format!(
                    "firewall {} has the name, and dr-plan did not make it",
                    stranger.id
                ),
            )),
            _ => Ok(oldest(ours, |firewall| &firewall.id)),
        }
    }

    async fn create(&self) -> Result<Firewall, ProviderError> {
        self.firewalls.create(self.name, self.rules).await
    }
}

struct NewServer<'a> {
    provider: &'a dyn Provider,
    spec: &'a ServerSpec,
}

#[async_trait]
impl Once for NewServer<'_> {
    type It = Server;

    fn account(&self) -> &str {
        self.provider.account()
    }

    async fn look(&self) -> Result<Option<Made<Server>>, ProviderError> {
        look(self.provider, self.spec).await
    }

    async fn create(&self) -> Result<Server, ProviderError> {
        self.provider.create(self.spec).await
    }
}

struct NewSnapshot<'a> {
    account: &'a str,
    snapshots: &'a dyn Snapshots,
    spec: &'a SnapshotSpec,
}

#[async_trait]
impl Once for NewSnapshot<'_> {
    type It = Snapshot;

    fn account(&self) -> &str {
        self.account
    }

    async fn look(&self) -> Result<Option<Made<Snapshot>>, ProviderError> {
        let tags = &self.spec.tags;
        let mut ours = self.snapshots.find(&tags.run, &tags.step).await?;
        ours.retain(|snapshot| snapshot.tags.as_ref() == Some(tags));
        Ok(oldest(ours, |snapshot| &snapshot.id))
    }

    async fn create(&self) -> Result<Snapshot, ProviderError> {
        self.snapshots.create(self.spec).await
    }
}

async fn once<O: Once>(new: &O, settle: Duration) -> Result<Made<O::It>, ProviderError> {
    if let Some(found) = new.look().await? {
        return Ok(found);
    }
    match new.create().await {
        Ok(it) => Ok(Made {
            it,
            adopted: false,
            extras: Vec::new(),
        }),
        Err(error @ ProviderError::Unknown { .. }) => {
            tracing::warn!(account = new.account(), %error, "looking whether it was created");
            appear(new, settle, error).await
        }
        // Nothing to look at: the request was turned away at the door.
        Err(error) if matches!(error.reason(), Reason::Denied | Reason::RateLimited) => Err(error),
        // The name may be taken by our own earlier request, which became visible only now; and before a caller goes
        // on to another place, what this one says is held against what stands there.
        Err(error) => match new.look().await {
            Ok(Some(found)) => Ok(found),
            Err(taken) if taken.reason() == Reason::Refused => Err(taken),
            Ok(None) | Err(_) => Err(error),
        },
    }
}

async fn appear<O: Once>(
    new: &O,
    settle: Duration,
    lost: ProviderError,
) -> Result<Made<O::It>, ProviderError> {
    let mut pace = Pace::new(settle);
    loop {
        let blind = match new.look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) if error.reason() == Reason::Refused => return Err(error),
            // The API that lost an answer may lose a few more.
            Err(error) => Some(error),
        };
        if !pace.pause().await {
            let time = crate::units::duration(settle);
            return Err(match blind {
                Some(error) => lost.because(format!(
                    "and {time} later it could not be looked for: {error}"
                )),
                None => lost.because(format!(
                    "nothing with its name or tags appeared within {time}; \
                     the next attempt looks again before it creates"
                )),
            });
        }
    }
}

/// Ids grow: the oldest is the one that earlier attempts have seen.
fn oldest<T>(mut ours: Vec<T>, id: impl Fn(&T) -> &String) -> Option<Made<T>> {
    let number = |it: &T| id(it).parse::<u64>().unwrap_or(u64::MAX);
    ours.sort_by(|a, b| (number(a), id(a)).cmp(&(number(b), id(b))));
    let mut ours = ours.into_iter();
    let it = ours.next()?;
    let extras: Vec<T> = ours.collect();
    if !extras.is_empty() {
        let ids: Vec<&str> = extras.iter().map(|extra| id(extra).as_str()).collect();
        tracing::warn!(kept = %id(&it), extra = %ids.join(" "), "more than one thing of this step");
    }
    Some(Made {
        it,
        adopted: true,
        extras,
    })
}

/// Ours, by tags and by name: a list by tag can lag behind.
async fn look(
    provider: &dyn Provider,
    spec: &ServerSpec,
) -> Result<Option<Made<Server>>, ProviderError> {
    let mut ours = provider.find(&spec.tags.run, Some(&spec.tags.step)).await?;
    // A filter that a service ignores would hand us strangers.
    ours.retain(|server| server.tags.as_ref() == Some(&spec.tags));
    if let Some(named) = provider.by_name(&spec.name).await? {
        if named.tags.as_ref() == Some(&spec.tags) {
            if ours.iter().all(|server| server.id != named.id) {
                ours.push(named);
            }
        } else {
            let whose = match &named.tags {
                Some(tags) => format!("run {} step {} made it", tags.run, tags.step),
                None => "dr-plan did not make it".to_string(),
            };
            return Err(ProviderError::refused(
                provider.account(),
                &format!("creating server `{}`", spec.name),
                Reason::Refused,
                format!("the name is taken by server {}: {whose}", named.id),
            ));
        }
    }
    Ok(oldest(ours, |server| &server.id))
}
