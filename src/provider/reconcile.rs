//! Exactly one server, whatever the API does. No cloud has an idempotency key, so creation is: look, create once, and
//! when the answer is lost look again until it shows. A second create request is never sent from here.

use std::time::Duration;

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
    if let Some(found) = look(provider, spec).await? {
        return Ok(found);
    }
    match provider.create(spec).await {
        Ok(server) => Ok(Created {
            server,
            adopted: false,
            extras: Vec::new(),
        }),
        Err(error @ ProviderError::Unknown { .. }) => {
            tracing::warn!(account = provider.account(), name = %spec.name, %error, "looking whether it was created");
            appear(provider, spec, settle, error).await
        }
        // Nothing to look at: the request was turned away at the door.
        Err(error) if matches!(error.reason(), Reason::Denied | Reason::RateLimited) => Err(error),
        // The name may be taken by our own earlier request, which became visible only now; and before a caller goes
        // on to another place, what this one says is held against what stands there.
        Err(error) => match look(provider, spec).await {
            Ok(Some(found)) => Ok(found),
            Err(taken) if taken.reason() == Reason::Refused => Err(taken),
            Ok(None) | Err(_) => Err(error),
        },
    }
}

async fn appear(
    provider: &dyn Provider,
    spec: &ServerSpec,
    settle: Duration,
    lost: ProviderError,
) -> Result<Created, ProviderError> {
    let mut pace = Pace::new(settle);
    loop {
        let blind = match look(provider, spec).await {
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
                    "no server with its name or tags appeared within {time}; \
                     the next attempt looks again before it creates"
                )),
            });
        }
    }
}

/// Ours, by tags and by name: a list by tag can lag behind.
async fn look(
    provider: &dyn Provider,
    spec: &ServerSpec,
) -> Result<Option<Created>, ProviderError> {
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
    // Ids grow: the oldest is the one that earlier attempts have seen.
    ours.sort_by_key(|server| {
        (
            server.id.parse::<u64>().unwrap_or(u64::MAX),
            server.id.clone(),
        )
    });
    let mut ours = ours.into_iter();
    let Some(server) = ours.next() else {
        return Ok(None);
    };
    let extras: Vec<Server> = ours.collect();
    if !extras.is_empty() {
        let ids: Vec<&str> = extras.iter().map(|s| s.id.as_str()).collect();
        tracing::warn!(account = provider.account(), kept = %server.id, extra = %ids.join(" "),
            "more than one server of this step");
    }
    Ok(Some(Created {
        server,
        adopted: true,
        extras,
    }))
}
