//! From a dataset of the inventory to what can restore and ask it: the one place where an action meets the kinds of data.

use serde_json::{Map, Value};

use super::Context;
use super::backups::dataset;
use super::config_files::rendered;
use super::data_checks::DataCheck;
use crate::dataset::postgres::{self, Psql, Whole};
use crate::dataset::{DataCopy, Restore, config, files, redis};
use crate::inventory::{DatasetKind, Postgres, Redis};
use crate::kind::Failure;

/// The server's version when the inventory does not say: that of Debian 12.
const VERSION: u32 = 15;

/// What one restore is for.
pub(super) struct Wanted<'a> {
    /// A dataset of the inventory.
    pub(super) dataset: &'a str,
    /// Where it comes back.
    pub(super) host: &'a str,
    /// What is there and was not made by this run may be set aside.
    pub(super) replace: bool,
    /// What the step says to templates of a configuration.
    pub(super) values: &'a Map<String, Value>,
    /// What the plan asks of the data.
    pub(super) checks: &'a [DataCheck],
    /// The number of the job, counted from 1.
    pub(super) attempt: u32,
    /// The label of the backup.
    pub(super) backup: &'a str,
}

fn postgres_spec(postgres: &Postgres, replace: bool) -> postgres::Spec {
    postgres::Spec {
        database: postgres.database.clone(),
        owner: postgres
            .owner
            .clone()
            .unwrap_or_else(|| postgres.database.clone()),
        version: postgres.version.unwrap_or(VERSION),
        missing_roles: Default::default(),
        replace,
        site: postgres::Site::default(),
    }
}

async fn redis_site(cx: &Context, redis: &Redis) -> Result<redis::Site, Failure> {
    let usual = redis::Site::default();
    let or = |own: &Option<String>, usual: String| own.clone().unwrap_or(usual);
    Ok(redis::Site {
        service: or(&redis.service, usual.service),
        address: or(&redis.address, usual.address),
        port: redis.port.unwrap_or(usual.port),
        socket: redis.socket.clone(),
        user: redis.user.clone(),
        password: match &redis.password {
            Some(reference) => Some(cx.services.secrets.fetch(reference).await?),
            None => None,
        },
    })
}

/// A restore of a dataset on a host.
pub(super) async fn restoration(
    cx: &Context,
    wanted: &Wanted<'_>,
) -> Result<Box<dyn Restore>, Failure> {
    let host = cx.host(wanted.host)?;
    let (run, step) = (cx.owner(), cx.step.clone());
    Ok(match &dataset(cx, wanted.dataset)?.kind {
        DatasetKind::Postgres(postgres) => Box::new(postgres::Restoration::new(
            host,
            postgres_spec(postgres, wanted.replace),
            run,
            step,
            wanted.attempt,
            wanted.backup,
        )?),
        DatasetKind::Redis(of) => {
            let spec = redis::Spec {
                site: redis_site(cx, of).await?,
                replace: wanted.replace,
                questions: wanted
                    .checks
                    .iter()
                    .map(|check| check.question.clone())
                    .collect(),
            };
            Box::new(redis::Restoration::new(
                host,
                spec,
                run,
                step,
                wanted.attempt,
                wanted.backup,
            ))
        }
        DatasetKind::Files(of) => {
            let spec = files::Spec {
                path: of.path.clone(),
                owner: of.owner.clone(),
                within: of.within.clone(),
                folder: None,
                replace: wanted.replace,
            };
            Box::new(files::Restoration::new(
                host,
                spec,
                run,
                step,
                wanted.attempt,
                wanted.backup,
            ))
        }
        DatasetKind::Config(of) => {
            let spec = config::Spec {
                files: of.files.clone(),
                rendered: rendered(cx, of, wanted.host, wanted.values)?,
                check: of.check.clone(),
                replace: wanted.replace,
            };
            Box::new(config::Restoration::new(
                host,
                spec,
                run,
                step,
                wanted.attempt,
                wanted.backup,
            ))
        }
    })
}

/// The live copy of a dataset on a host.
pub(super) async fn live_copy(
    cx: &Context,
    name: &str,
    host: &str,
) -> Result<Box<dyn DataCopy>, Failure> {
    let host = cx.host(host)?;
    Ok(match &dataset(cx, name)?.kind {
        DatasetKind::Postgres(postgres) => {
            let spec = postgres_spec(postgres, false);
            Box::new(Whole {
                psql: Psql::new(host, spec.site, spec.version),
                database: spec.database,
            })
        }
        DatasetKind::Redis(of) => Box::new(redis::Client::new(host, redis_site(cx, of).await?)),
        DatasetKind::Files(of) => Box::new(files::Tree::live(host, &of.path)),
        DatasetKind::Config(of) => Box::new(config::InPlace::live(host, &of.files)),
    })
}
