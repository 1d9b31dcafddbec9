//! DNS questions as checks ask them: to one server, to this machine's resolver, or to whoever serves a zone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::kind::{Failure, Reason};
use crate::resolve::{self, Answer, ResolveError};

const PATIENCE: Duration = Duration::from_secs(5);

/// A question that failed: silence may pass, a wrong name does not.
fn failure(error: &ResolveError) -> Failure {
    let reason = match error {
        ResolveError::Timeout { .. } => Reason::Timeout,
        ResolveError::Network { .. } => Reason::Unreachable,
        _ => Reason::Other,
    };
    Failure::new(reason, crate::kind::chain(error))
}

/// Asks a zone's own server, or a resolver (`recurse`).
pub(super) async fn at(
    server: SocketAddr,
    name: &str,
    kind: &str,
    recurse: bool,
) -> Result<Answer, Failure> {
    resolve::ask(server, name, kind, recurse, PATIENCE)
        .await
        .map_err(|error| failure(&error))
}

/// Asks this machine's resolvers, one after the other until one answers.
pub(super) async fn by_system(name: &str, kind: &str) -> Result<Answer, Failure> {
    let mut last = Failure::new(Reason::Other, "this machine has no resolver");
    for server in resolve::system_servers().map_err(|error| failure(&error))? {
        match at(server, name, kind, true).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// The servers that a zone is delegated to.
pub(super) async fn servers_of(zone: &str) -> Result<Vec<SocketAddr>, Failure> {
    let mut servers = Vec::new();
    for name in by_system(zone, "NS").await?.values {
        let found = resolve::resolve(&name, PATIENCE)
            .await
            .map_err(|error| failure(&error))?;
        servers.extend(
            found
                .into_iter()
                .filter(IpAddr::is_ipv4)
                .map(|ip| SocketAddr::new(ip, 53)),
        );
    }
    if servers.is_empty() {
        return Err(Failure::new(
            Reason::NotFound,
            format!("no name server of {zone} can be found"),
        ));
    }
    Ok(servers)
}

/// An answer in words: its values, or the code that says why there are none.
pub(super) fn words(answer: &Answer) -> String {
    if answer.values.is_empty() {
        format!("nothing ({})", answer.code)
    } else {
        answer.values.join(", ")
    }
}

/// Its time to live in words.
pub(super) fn ttl(answer: &Answer) -> String {
    answer
        .ttl
        .map_or(String::new(), |ttl| format!(" (ttl {ttl}s)"))
}
