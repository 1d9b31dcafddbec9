//! `check.redis`: a question to a Redis server on a host, and what the answer must be. A server that is still loading, or keeps no
//! append-only file where one is wanted, fails whatever it answers.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::data_checks::check_reading;
use super::{Action, Asked, Bind, Context, Look, Verb, Verified, host_named};
use crate::dataset::redis::{Client, Site};
use crate::dataset::{Expectation, Question};
use crate::kind::{Effect, Failure, Finding, Output, Reason, Undo};
use crate::problem::Problem;
use crate::secret::SecretRef;
use crate::yaml::Node;

/// Arguments of `check.redis`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRedis {
    /// The host that runs Redis.
    host: String,
    /// A command that only reads, with one value: `dbsize`, `get shop:newest`, `llen jobs`.
    query: String,
    /// Such as `>= 1000`, `= 'ready'`, `!= 0`, `between 1 and 9`.
    expect: String,
    /// The number of the database.
    #[serde(default)]
    database: u32,
    /// `true`: it must keep an append-only file, or what it holds would not survive a restart.
    #[serde(default)]
    append_only: bool,
    /// Where it listens on its host, by default 127.0.0.1.
    address: Option<String>,
    /// The port, by default 6379.
    port: Option<u16>,
    /// A unix socket, instead of address and port.
    socket: Option<String>,
    /// The user of its access control list, where it is not `default`.
    user: Option<String>,
    /// The password.
    password: Option<SecretRef>,
}

impl Verb for CheckRedis {
    const NAME: &'static str = "check.redis";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Asks a Redis server one value and compares it.";
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn sample(&self) -> Output {
        [("value".to_string(), serde_json::Value::from("1"))]
            .into_iter()
            .collect()
    }

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(host_named(&self.host, args, "host", bind).err());
        problems.extend(check_reading(&self.query, args).err());
        if let Err(why) = Expectation::parse(&self.expect) {
            problems.push(Problem::error(
                "bad-expectation",
                args.place_of("expect"),
                why.to_string(),
            ));
        }
        self.password = self.password.map(|secret| secret.beside(bind.folder));
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

#[async_trait]
impl Look for CheckRedis {
    fn title(&self) -> String {
        format!("`{}` in Redis on {}", self.query.trim(), self.host)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        if let Some(password) = &self.password {
            cx.services.secrets.fetch(password).await?;
        }
        Ok(Vec::new())
    }

    fn asked(&self) -> Asked {
        Asked::Host(self.host.clone())
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let usual = Site::default();
        let site = Site {
            address: self.address.clone().unwrap_or(usual.address),
            port: self.port.unwrap_or(usual.port),
            socket: self.socket.clone(),
            user: self.user.clone(),
            password: match &self.password {
                Some(reference) => Some(cx.services.secrets.fetch(reference).await?),
                None => None,
            },
            service: usual.service,
        };
        let client = Client::new(cx.host(&self.host)?, site);
        let title = Look::title(self);
        let fail = |why: String| Failure::new(Reason::Verify, format!("{title}: {why}"));
        let health = client.health().await?;
        if !health.loaded {
            return Err(fail("the server is still loading".into()));
        }
        if self.append_only && !health.append_only {
            return Err(fail("the server keeps no append-only file".into()));
        }
        let question = Question {
            words: self.query.clone(),
            database: self.database,
        };
        let value = client.value(&question).await?;
        let expect = Expectation::parse(&self.expect)
            .map_err(|why| Failure::new(Reason::Other, why.to_string()))?;
        let words = value.clone().unwrap_or_else(|| "nothing".into());
        if expect.met_by(value.as_deref()) {
            Ok(Verified::seen(title, &words).answered("value", words, cx))
        } else {
            Err(fail(format!("{words}, expected {}", self.expect)))
        }
    }
}
