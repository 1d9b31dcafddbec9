//! Putting a verified database in place of the live one, and the ways back. Every part is a short detached job.

use std::time::Duration;

use super::Restoration;
use crate::dataset::Progress;
use crate::kind::Failure;

const SWAP: &str = include_str!("swap.sh");
const BACK: &str = include_str!("back.sh");

/// Drops what was staged and its temporary roles and files, and nothing else.
const DROP: &str = r#"
dr_alone
dr_server
dr_drop_staged
rm -rf -- "$dr_folder"
"#;

/// Lets go of the old database.
const RELEASE: &str = r#"
dr_alone
dr_server
dr_kept=$(dr_comment "$DR_KEPT") || dr_fail unreachable 'the PostgreSQL server does not answer'
case "$dr_kept" in
  '') dr_fact released already ;;
  "present $DR_OURS "*' state=kept was='*)
    dr_do "dropping $DR_KEPT" postgres -v name="$DR_KEPT" <<'SQL'
DROP DATABASE :"name" WITH (FORCE)
SQL
    dr_fact released now ;;
  *) dr_fail refused "$DR_KEPT was not kept by this step: ${dr_kept#present }" ;;
esac
rm -rf -- "$dr_folder"
"#;

/// A swap renames; only sessions that will not go make it slow.
const SOON: Duration = Duration::from_secs(120);

impl Restoration {
    /// Puts the staged database in place. With a database of that name there and `replace` set, sessions are ended, its
    /// settings, grants and connection limit are copied, and it is kept, closed, as [`super::Names::kept`], whose name is the result. Again from any half-way state it
    /// goes on; done already, it changes nothing.
    pub async fn swap(&self, progress: &mut dyn Progress) -> Result<Option<String>, Failure> {
        let report = self
            .run_part("swap", &self.script(SWAP), SOON, progress)
            .await?;
        Ok(report.facts.get("kept").cloned())
    }

    /// Takes the swap back: the kept database is live again with its old comment; the restored one, with whatever was
    /// written into it since, has its staged name again.
    pub async fn swap_back(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        self.run_part("back", &self.script(BACK), SOON, progress)
            .await
            .map(drop)
    }

    /// Drops what this step staged. What others made, or what is live, is refused.
    pub async fn drop_staged(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        self.run_part("drop", &self.script(DROP), SOON, progress)
            .await
            .map(drop)
    }

    /// Drops the old database that the swap kept.
    pub async fn release(&self, progress: &mut dyn Progress) -> Result<(), Failure> {
        self.run_part("release", &self.script(RELEASE), SOON, progress)
            .await
            .map(drop)
    }
}
