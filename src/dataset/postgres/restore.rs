//! Staging: one detached job from the store's bytes to a restored, analysed, marked database beside the live name.

use std::time::Duration;

use super::{MissingRoles, Restoration};
use crate::codec::{DECODE, FETCH, Form};
use crate::dataset::{Artifact, JobReport, OBTAIN, Progress, Source};
use crate::kind::{Failure, Finding, Reason};
use crate::transport::Script;

const STAGE: &str = include_str!("stage.sh");
/// What a dump needs, and whether it is whole.
const FACTS: &str = include_str!("facts.awk");
/// A plain dump on its way into psql.
const PLAIN: &str = include_str!("plain.awk");

/// What is missing on a host is said before the run starts.
const TOOLS: &str = r#"
for dr_one in psql pg_restore vacuumdb awk sed flock sha256sum od df; do
  command -v "$dr_one" >/dev/null || printf 'missing %s\n' "$dr_one"
done
if [ "$DR_NEEDS_CURL" = 1 ]; then command -v curl >/dev/null || echo 'missing curl'; fi
case "$DR_KEY" in
  gpg) command -v gpg >/dev/null || echo 'missing gpg' ;;
  age) command -v age >/dev/null || echo 'missing age' ;;
esac
dr_place=${DR_FOLDER:-$(getent passwd "$(id -u)" | cut -d: -f6)}
printf 'free %s\n' "$(df -Pk -- "$dr_place" | awk 'NR == 2 { print $4 }')"
"#;

impl Restoration {
    /// Reads whether the host has what staging needs: programs and three times the backup's bytes of disk. What is missing
    /// comes as warnings; staging itself refuses on the same grounds.
    pub async fn ready_for(&self, artifact: &Artifact) -> Result<Vec<Finding>, Failure> {
        let script = self.script(TOOLS).value("KEY", artifact.key_word()).value(
            "NEEDS_CURL",
            if matches!(artifact.source, Source::Url(_)) {
                "1"
            } else {
                "0"
            },
        );
        let answer = self
            .transport
            .leashed(&script, Duration::from_secs(30))
            .await?;
        if !answer.ok() {
            return Err(Failure::new(
                Reason::ExitCode,
                format!("looking at `{}`: {}", self.transport.host(), answer.said()),
            ));
        }
        let mut findings = Vec::new();
        for line in answer.stdout.lines() {
            if let Some(program) = line.strip_prefix("missing ") {
                findings.push(Finding::warning(format!(
                    "`{}` has no `{program}`",
                    self.transport.host()
                )));
            } else if let Some(free) = line.strip_prefix("free ") {
                let free = free.trim().parse::<u64>().unwrap_or(0).saturating_mul(1024);
                let need = artifact.bytes.saturating_mul(3);
                let what = format!(
                    "`{}` has {} free; the backup is {}",
                    self.transport.host(),
                    crate::units::bytes(free),
                    crate::units::bytes(artifact.bytes)
                );
                findings.push(if free < need {
                    Finding::warning(format!("{what}, and three times as much is needed"))
                } else {
                    Finding::verified(what)
                });
            }
        }
        Ok(findings)
    }

    /// Stages the backup: fetch, check, open, read to the end, restore, hand over, analyse, mark as ready. The live name is not
    /// touched. Refuses, before the first byte is fetched, when the live name is taken and `replace` is not set. Attaches to a job of the same attempt
    /// that still runs. What an unfinished earlier attempt of this step left is dropped first.
    ///
    /// Facts: `sha256`, `form`, `plain_bytes`, `database_bytes`, `dumped_from`, `dumped_by`, `milliseconds.PHASE`.
    pub async fn stage(
        &self,
        artifact: &Artifact,
        declared: Option<Form>,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure> {
        let script = self.stage_script(artifact, declared)?;
        self.run_part("stage", &script, deadline, progress).await
    }

    fn stage_script(&self, artifact: &Artifact, declared: Option<Form>) -> Result<Script, Failure> {
        if artifact.label != self.backup {
            return Err(Failure::new(
                Reason::Other,
                format!(
                    "the backup to stage is `{}`, this restore is marked with `{}`",
                    artifact.label, self.backup
                ),
            ));
        }
        let script = self
            .script(&format!("{FETCH}\n{DECODE}\n{OBTAIN}\n{STAGE}"))
            .value(
                "MISSING_ROLES",
                match self.spec.missing_roles {
                    MissingRoles::ToOwner => "owner",
                    MissingRoles::Refuse => "refuse",
                },
            )
            .value("FACTS", FACTS)
            .value("PLAIN", PLAIN);
        artifact.hand_to(script, declared)
    }
}
