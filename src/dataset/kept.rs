//! How much of the disk a path takes that a swap kept.

use std::time::Duration;

use crate::kind::{Failure, Reason};
use crate::transport::{Script, Transport};

/// A large tree is walked.
const PATIENCE: Duration = Duration::from_secs(600);

/// `PATH.gone` is what is half let go of: it is there as long as something of it is.
const SIZE: &str = r#"
for dr_one in "$DR_KEPT" "$DR_KEPT.gone"; do
  if [ -e "$dr_one" ] || [ -L "$dr_one" ]; then du -sb -- "$dr_one"; fi
done | awk '{ sum += $1 } END { if (NR) printf "%.0f\n", sum }'
"#;

/// Bytes below a path of the host; none when there is nothing.
pub(super) async fn kept_bytes(host: &dyn Transport, path: &str) -> Result<Option<u64>, Failure> {
    let script = Script::new(SIZE)
        .ours()
        .value("KEPT", path)
        .run_as(Some("root"));
    let answer = host.leashed(&script, PATIENCE).await?;
    if !answer.ok() {
        let words = format!("looking at {path} on `{}`: {}", host.host(), answer.said());
        return Err(Failure::new(Reason::ExitCode, words));
    }
    Ok(answer.stdout.trim().parse().ok())
}
