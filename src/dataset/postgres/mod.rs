//! How a PostgreSQL database comes back from `pg_dump`: into a new database beside the live name, read and verified there, then
//! swapped in by rename. What stands where is written on the databases themselves (a comment), so that a crash at any
//! point can be read from the cluster.

mod copy;
mod observe;
mod psql;
mod restore;
mod swap;
mod verify;

use std::sync::Arc;
use std::time::Duration;

pub use copy::Whole;
pub use observe::{Database, Seen};
pub use psql::Psql;
pub use verify::Inventory;

use crate::dataset::{JobReport, Progress, follow, mark};
use crate::ids::{RunId, StepId};
use crate::kind::{Failure, Reason};
use crate::transport::{JobId, Script, Transport};

/// What to do with roles that a dump names and the cluster does not have (no dump holds roles: `pg_dumpall -g` does).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingRoles {
    /// Their objects go to the owner, what was granted to them is dropped; each is said in a note.
    #[default]
    ToOwner,
    /// Refuse before anything is made.
    Refuse,
}

/// Where and how a cluster is spoken to on its host: always over the local socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The user whose peer login is a superuser; `None` is the login user.
    pub run_as: Option<String>,
    /// The folder of the socket; `None` is the client's own default.
    pub socket: Option<String>,
    /// The port, which names the socket.
    pub port: u16,
    /// Where a dump is staged, owned by `run_as`; `None` is `dr-plan` in that user's home.
    pub folder: Option<String>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            run_as: Some("postgres".into()),
            socket: None,
            port: 5432,
            folder: None,
        }
    }
}

/// What must come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The live name.
    pub database: String,
    /// Its owner; made without login when the cluster does not have it.
    pub owner: String,
    /// The server's major version: whose programs are used.
    pub version: u32,
    /// Roles that are not there.
    pub missing_roles: MissingRoles,
    /// A database of that name that this run did not make may be set aside (it is kept under another name).
    pub replace: bool,
    /// Where.
    pub site: Site,
}

impl Spec {
    /// Refuses names that clients would read as something else than a name (`dbname=...`, `postgres://...`).
    pub fn check(&self) -> Result<(), Failure> {
        for (what, name) in [("database", &self.database), ("owner", &self.owner)] {
            let good = !name.is_empty()
                && name.len() <= 63
                && !name.starts_with('-')
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.$-".contains(&b));
            if !good {
                return Err(Failure::new(
                    Reason::Refused,
                    format!(
                        "`{name}` cannot be the {what}: use letters, digits and `_.$-`, at most 63"
                    ),
                ));
            }
        }
        if ["postgres", "template0", "template1"].contains(&self.database.as_str()) {
            return Err(Failure::new(
                Reason::Refused,
                format!(
                    "`{}` belongs to the server itself and is not restored over",
                    self.database
                ),
            ));
        }
        Ok(())
    }
}

/// The three names of one restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// What the application uses.
    pub live: String,
    /// Where the dump is restored and verified.
    pub staged: String,
    /// What was there before, after the swap.
    pub kept: String,
}

impl Names {
    /// Cut so that the whole fits in PostgreSQL's 63 bytes: it would cut silently, at the end, where the run stands.
    pub fn of(database: &str, run: &RunId) -> Self {
        let named = |middle: &str| {
            let end = format!("_{middle}_{}", run.short());
            let room = 63usize.saturating_sub(end.len());
            let head: String = database.chars().take(room).collect();
            format!("{head}{end}")
        };
        Self {
            live: database.to_string(),
            staged: named("dr"),
            kept: named("pre"),
        }
    }
}

/// One restore of one database by one step of one run.
#[derive(Clone)]
pub struct Restoration {
    transport: Arc<dyn Transport>,
    spec: Spec,
    run: RunId,
    step: StepId,
    attempt: u32,
    backup: String,
    names: Names,
}

impl Restoration {
    /// `backup` is the label of the chosen backup (`store:path`), `attempt` counts the step's tries from 1.
    pub fn new(
        transport: Arc<dyn Transport>,
        spec: Spec,
        run: RunId,
        step: StepId,
        attempt: u32,
        backup: &str,
    ) -> Result<Self, Failure> {
        spec.check()?;
        Ok(Self {
            names: Names::of(&spec.database, &run),
            transport,
            spec,
            run,
            step,
            attempt,
            backup: backup.to_string(),
        })
    }

    /// The names it works with; they follow from the run, so they can be noted before anything is changed.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The job of a part (`stage`, `swap`, `back`, `drop`, `release`) of this attempt.
    pub fn job(&self, part: &str) -> JobId {
        JobId {
            run: self.run.to_string(),
            step: format!("{}.{part}", self.step),
            attempt: self.attempt,
        }
    }

    /// Leashed questions to the cluster.
    pub fn psql(&self) -> Psql {
        Psql::new(
            self.transport.clone(),
            self.spec.site.clone(),
            self.spec.version,
        )
    }

    fn mark(&self) -> String {
        mark::of_backup(&self.run, &self.step, &self.backup)
    }

    /// A script with everything that all parts need.
    fn script(&self, text: &str) -> Script {
        let site = &self.spec.site;
        Script::new(format!("{}\n{PREPARE}\n{text}", crate::codec::PRELUDE))
            .ours()
            .value("DATABASE", &self.names.live)
            .value("STAGED", &self.names.staged)
            .value("KEPT", &self.names.kept)
            .value("OWNER", &self.spec.owner)
            .value("OURS", mark::of_step(&self.run, &self.step))
            .value("MARK", self.mark())
            .value("RUN", self.run.as_str())
            .value("STEP", self.step.to_string())
            .value("REPLACE", if self.spec.replace { "1" } else { "0" })
            .value("VERSION", self.spec.version.to_string())
            .value("SOCKET", site.socket.clone().unwrap_or_default())
            .value("PORT", site.port.to_string())
            .value("FOLDER", site.folder.clone().unwrap_or_default())
            .run_as(site.run_as.as_deref())
    }

    async fn run_part(
        &self,
        part: &str,
        script: &Script,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure> {
        follow(
            self.transport.as_ref(),
            &self.job(part),
            script,
            deadline,
            progress,
        )
        .await
    }
}

/// The clients of the right version, none of the host's settings, and a few questions.
const PREPARE: &str = include_str!("prepare.sh");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_keep_the_run() {
        let run = RunId::parse("01k8x0000000000000abcdefgh").unwrap();
        let names = Names::of("shop", &run);
        assert_eq!(names.staged, "shop_dr_abcdefgh");
        assert_eq!(names.kept, "shop_pre_abcdefgh");
        let long = Names::of(&"x".repeat(63), &run);
        assert_eq!(long.staged.len(), 63);
        assert!(long.kept.ends_with("_pre_abcdefgh") && long.kept.len() == 63);
    }

    #[test]
    fn a_name_that_a_client_would_read_as_a_connection_is_refused() {
        let spec = |database: &str| Spec {
            database: database.into(),
            owner: "shop".into(),
            version: 15,
            missing_roles: MissingRoles::default(),
            replace: false,
            site: Site::default(),
        };
        for bad in [
            "",
            "host=x",
            "postgres://x",
            "-d",
            "a b",
            "postgres",
            "template1",
            "a'b",
        ] {
            assert!(spec(bad).check().is_err(), "{bad}");
        }
        assert!(spec("shop-1.x").check().is_ok());
    }
}
