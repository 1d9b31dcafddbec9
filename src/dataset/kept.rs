//! How much of the disk a path takes that a swap kept.

use std::time::Duration;

use crate::kind::{Failure, Reason};
use crate::transport::{Script, Transport};

/// A large tree is walked.
const PATIENCE: Duration = Duration::from_secs(600);

/// Bytes below a path of the host; none when there is nothing.
pub(super) async fn kept_bytes(host: &dyn Transport, path: &str) -> Result<Option<u64>, Failure> {
    let script = Script::new(
        "[ -e \"$DR_KEPT\" ] || [ -L \"$DR_KEPT\" ] || exit 0\ndu -sb -- \"$DR_KEPT\" | cut -f 1",
    )
    .value("KEPT", path)
    .run_as(Some("root"));
    let answer = host.leashed(&script, PATIENCE).await?;
    if !answer.ok() {
        let words = format!("looking at {path} on `{}`: {}", host.host(), answer.said());
        return Err(Failure::new(Reason::ExitCode, words));
    }
    Ok(answer.stdout.trim().parse().ok())
}
