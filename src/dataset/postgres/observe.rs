//! Reads from the cluster itself how far a restore got, and whose the databases are.

use std::time::Duration;

use serde::Deserialize;

use super::Restoration;
use crate::dataset::jobs::first_running;
use crate::dataset::{Stand, mark};
use crate::kind::{Failure, Reason};

/// One database as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its comment: ours says whose it is.
    pub comment: Option<String>,
    /// New sessions are let in.
    pub open: bool,
    /// Bytes on disk.
    pub bytes: u64,
    /// Sessions in it now, ours left out.
    pub sessions: u64,
    /// The last time one of these sessions did something, ISO 8601.
    pub active: Option<String>,
}

/// All that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How far it is.
    pub stand: Stand,
    /// The database with the live name.
    pub live: Option<Database>,
    /// The staged one.
    pub staged: Option<Database>,
    /// The old one after a swap.
    pub kept: Option<Database>,
}

const DATABASES: &str = "
SELECT json_build_object(
  'version', current_setting('server_version_num')::int / 10000,
  'standby', pg_is_in_recovery(),
  'databases', coalesce((
    SELECT json_agg(json_build_object(
      'name', datname, 'owner', pg_get_userbyid(datdba), 'comment', shobj_description(d.oid, 'pg_database'),
      'open', datallowconn, 'bytes', pg_database_size(d.oid),
      'sessions', (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid AND pid <> pg_backend_pid()),
      'active', (SELECT max(state_change) FROM pg_stat_activity a WHERE a.datid = d.oid AND pid <> pg_backend_pid())))
    FROM pg_database d WHERE datname IN (%names%)), '[]'::json))";

#[derive(Deserialize)]
struct Cluster {
    version: u32,
    standby: bool,
    databases: Vec<Database>,
}

const ASK_WITHIN: Duration = Duration::from_secs(30);

/// Tables of users, and their rows as the statistics know them.
const FILLING: &str = "
SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'm', 'v', 'S')),
       (SELECT coalesce(sum(n_live_tup), 0) FROM pg_stat_user_tables)";

fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}

impl Restoration {
    /// Looks at jobs and databases. A host that cannot be reached is a failure, and so is a server that is just starting, which passes; one that
    /// does not answer is [`Stand::CannotTell`].
    pub async fn observe(&self) -> Result<Seen, Failure> {
        let nothing = |stand| Seen {
            stand,
            live: None,
            staged: None,
            kept: None,
        };
        let parts = ["stage", "swap", "back", "drop", "release"];
        let running = first_running(&*self.transport, &parts, |part| self.job(part)).await?;
        if let Some(part) = running {
            return Ok(nothing(Stand::Running { part }));
        }
        let names = [&self.names.live, &self.names.staged, &self.names.kept].map(|n| quoted(n));
        let sql = DATABASES.replace("%names%", &names.join(", "));
        let answer = match self.psql().value("postgres", &sql, ASK_WITHIN).await {
            Ok(answer) => answer.unwrap_or_default(),
            Err(failure)
                if matches!(
                    failure.reason,
                    Reason::ExitCode | Reason::Unreachable | Reason::Timeout
                ) =>
            {
                return Ok(nothing(Stand::CannotTell {
                    why: failure.message,
                }));
            }
            Err(failure) => return Err(failure),
        };
        let cluster: Cluster = serde_json::from_str(&answer).map_err(|error| {
            Failure::from_error(Reason::Other, "reading what the cluster holds", &error)
        })?;
        let find = |name: &str| {
            cluster
                .databases
                .iter()
                .find(|database| database.name == name)
                .cloned()
        };
        let mut seen = Seen {
            stand: Stand::Absent,
            live: find(&self.names.live),
            staged: find(&self.names.staged),
            kept: find(&self.names.kept),
        };
        seen.stand = self.stand(&seen, &cluster).await;
        Ok(seen)
    }

    async fn stand(&self, seen: &Seen, cluster: &Cluster) -> Stand {
        if cluster.standby {
            return Stand::Foreign {
                what: format!("the PostgreSQL {} server is a standby", cluster.version),
            };
        }
        let ours = format!("{} ", mark::of_step(&self.run, &self.step));
        let mark = self.mark();
        let says = |database: &Option<Database>, words: &str| {
            database
                .as_ref()
                .and_then(|database| database.comment.as_deref())
                .is_some_and(|comment| comment.starts_with(words))
        };
        if says(&seen.live, &format!("{mark} state=live")) {
            return Stand::Live;
        }
        let closing = says(&seen.live, &ours)
            && seen
                .live
                .as_ref()
                .and_then(|d| d.comment.as_deref())
                .is_some_and(|comment| comment.contains(" state=closing "));
        if let Some(live) = &seen.live
            && !self.spec.replace
            && !closing
        {
            return Stand::Foreign {
                what: self.describe(live).await,
            };
        }
        if let Some(kept) = &seen.kept
            && !says(&seen.kept, &ours)
        {
            return Stand::Foreign {
                what: self.describe(kept).await,
            };
        }
        if let Some(staged) = &seen.staged {
            if says(&seen.staged, &format!("{mark} state=ready")) {
                return if closing {
                    Stand::Closing
                } else {
                    Stand::Ready
                };
            }
            if says(&seen.staged, &ours) {
                return Stand::Staging;
            }
            // Without any mark and empty: made by us a moment before a crash; its name holds this run's id.
            if staged.comment.is_none()
                && self.filling(&staged.name).await.is_ok_and(|f| f.0 == "0")
            {
                return Stand::Staging;
            }
            return Stand::Foreign {
                what: self.describe(staged).await,
            };
        }
        if closing {
            return Stand::CannotTell {
                why: format!(
                    "`{}` is closed for a swap, and the staged database is gone; open it with: ALTER DATABASE \"{}\" ALLOW_CONNECTIONS true",
                    self.names.live, self.names.live
                ),
            };
        }
        Stand::Absent
    }

    async fn filling(&self, database: &str) -> Result<(String, String), Failure> {
        let rows = self.psql().rows(database, FILLING, ASK_WITHIN).await?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
        let mut next = || row.next().flatten().unwrap_or_default();
        Ok((next(), next()))
    }

    /// What a person needs to recognise a database that is in the way.
    async fn describe(&self, database: &Database) -> String {
        let mut what = format!(
            "database `{}` exists: owner `{}`, {}, {} session(s)",
            database.name,
            database.owner,
            crate::units::bytes(database.bytes),
            database.sessions
        );
        if let Some(active) = &database.active {
            what.push_str(&format!(", last active {active}"));
        }
        match self.filling(&database.name).await {
            Ok((tables, rows)) => what.push_str(&format!(
                ", {tables} table(s), view(s) and sequence(s), about {rows} row(s)"
            )),
            Err(_) if !database.open => what.push_str(", closed to sessions"),
            Err(_) => {}
        }
        match &database.comment {
            Some(comment) => what.push_str(&format!("; its comment: {comment}")),
            None => what.push_str("; no mark of this run"),
        }
        what
    }
}
