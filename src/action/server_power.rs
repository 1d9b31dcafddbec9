//! `server.power`: fences what was lost, or starts something. Off is asked of the provider, never of the guest, and is
//! believed when the provider says so. When nobody can be asked, only a person's word can stand for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::server_named::Named;
use super::{Action, Bind, Context, Verb, Verified};
use crate::event::{Ask, AskKind};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Undo};
use crate::plan::IfSourceLost;
use crate::problem::Problem;
use crate::provider::{Power, Provider, Server};
use crate::yaml::Node;

/// Arguments of `server.power`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerPower {
    /// A host of the inventory.
    server: String,
    /// How it must be.
    state: Wanted,
    #[serde(skip)]
    bound: Option<Bound>,
}

#[derive(Debug)]
struct Bound {
    named: Named,
    lost: IfSourceLost,
    /// For so long a provider that does not answer is asked again before it counts as lost.
    patience: Duration,
}

/// On or off. Both words are plain texts in YAML 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    On,
    Off,
}

impl Verb for ServerPower {
    const NAME: &'static str = "server.power";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::RestorePrevious;
    const ADOPTS: &'static [&'static str] = &["before"];
    const SUMMARY: &'static str = "Powers a server off (a fence) or on, through the provider.";
    const TIMEOUT: Duration = Duration::from_secs(300);
    const TAKES: Duration = Duration::from_secs(20);
    const SOURCE_MAY_BE_LOST: bool = true;

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let named =
            Named::bind(&self.server, args, "server", bind).map_err(|problem| vec![problem])?;
        self.bound = Some(Bound {
            named,
            lost: bind.if_source_lost,
            patience: bind.timeout.unwrap_or(Self::TIMEOUT) / 5,
        });
        Ok(Box::new(self))
    }
}

impl ServerPower {
    fn bound(&self) -> &Bound {
        self.bound.as_ref().expect("bind filled it in")
    }

    fn named(&self) -> &Named {
        &self.bound().named
    }

    fn lost(&self) -> IfSourceLost {
        self.bound().lost
    }

    fn as_wanted(&self, power: Power) -> bool {
        match self.state {
            Wanted::On => power == Power::On,
            Wanted::Off => power == Power::Off,
        }
    }

    fn word(&self) -> &'static str {
        match self.state {
            Wanted::On => "on",
            Wanted::Off => "off",
        }
    }

    /// The failure, with what a person can do about it.
    fn way_on(&self, cx: &Context, failure: Failure) -> Failure {
        let attest = match self.lost() {
            IfSourceLost::Attest => "",
            _ => "`if_source_lost: attest` in the plan, or ",
        };
        failure.hint(format!(
            "if a person can vouch for it: {attest}dr-plan mark {} {} --skip --because \"...\"",
            cx.run.short(),
            cx.step
        ))
    }

    /// What is done when the provider cannot be asked, or does not know the server.
    async fn without_proof(&self, cx: &Context, why: &Failure) -> Result<(), Failure> {
        match self.lost() {
            IfSourceLost::Fail => Err(self.way_on(cx, why.clone())),
            IfSourceLost::Skip => cx.note_words("skipped", &why.message).await,
            IfSourceLost::Attest => {
                let ask = Ask {
                    name: "attest".into(),
                    kind: AskKind::Attestation,
                    question: format!(
                        "Can you vouch that {} is {} and cannot come back by itself?",
                        self.server,
                        self.word()
                    ),
                    details: vec![
                        why.message.clone(),
                        "If it still takes writes, data will exist twice and differ.".into(),
                    ],
                    timeout: None,
                    by: Vec::new(),
                };
                let given = cx.ask(ask).await?;
                if given.yes {
                    cx.note_words(
                        "attested",
                        &format!(
                            "{}: {}",
                            given.by,
                            given.because.as_deref().unwrap_or("(no reason given)")
                        ),
                    )
                    .await
                } else {
                    Err(Failure::new(
                        Reason::Declined,
                        format!("nobody vouches that {} is {}", self.server, self.word()),
                    ))
                }
            }
        }
    }

    async fn server(&self, cx: &Context) -> Result<(Arc<dyn Provider>, Server), Failure> {
        self.named().find(cx).await
    }

    /// One try: looks, switches, and looks again where the answer may have been lost, and not the deed.
    async fn switch(&self, cx: &Context) -> Result<(), Failure> {
        let (provider, server) = self.server(cx).await?;
        if cx.noted("before").is_none() {
            let before = match server.power {
                Power::Off => "off",
                _ => "on",
            };
            cx.note("before", before).await?;
        }
        let on = self.state == Wanted::On;
        let Err(error) = provider.set_power(&server.id, on).await else {
            return Ok(());
        };
        let failure = Failure::from(error);
        match self.server(cx).await {
            Ok((_, server)) if self.as_wanted(server.power) => Ok(()),
            _ => Err(failure),
        }
    }
}

/// What a failure says of the provider.
#[derive(Debug, PartialEq, Eq)]
enum Means {
    /// It is there, and asks us to come back.
    Passes,
    /// It may be back in a moment, or gone for good: time tells.
    Silent,
    /// It proves nothing, however long it is asked.
    Lost,
}

fn means(reason: Reason) -> Means {
    match reason {
        Reason::RateLimited | Reason::Busy => Means::Passes,
        Reason::Unreachable | Reason::Timeout | Reason::Unknown | Reason::Other => Means::Silent,
        _ => Means::Lost,
    }
}

#[async_trait]
impl Action for ServerPower {
    fn fences(&self) -> bool {
        self.state == Wanted::Off
    }

    fn title(&self) -> String {
        format!("power {} {}", self.word(), self.server)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let found = match self.server(cx).await {
            Ok((_, server)) => Finding::verified(format!(
                "{} is {} at {}, {} now",
                self.server,
                server.name,
                self.named().account,
                server.power
            )),
            Err(failure) if means(failure.reason) == Means::Passes => return Err(failure),
            // The step itself has an answer to that.
            Err(failure) => Finding::unseen(failure.message),
        };
        Ok(vec![found])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        if cx.noted("attested").is_some() || cx.noted("skipped").is_some() {
            return Ok(Observation::Done);
        }
        match self.server(cx).await {
            Ok((_, server)) if self.as_wanted(server.power) => Ok(Observation::Done),
            Ok(_) => Ok(Observation::Absent),
            Err(failure)
                if means(failure.reason) == Means::Passes || self.lost() == IfSourceLost::Fail =>
            {
                Err(self.way_on(cx, failure))
            }
            // Somebody's word may have to stand for it, once it is sure that nobody can be asked.
            Err(failure) => Ok(Observation::Unseen {
                why: failure.message,
            }),
        }
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let until = Instant::now() + self.bound().patience;
        let mut pause = Duration::from_secs(1);
        loop {
            let Err(failure) = self.switch(cx).await else {
                return Ok(());
            };
            let means = means(failure.reason);
            // The engine's rules say when it is asked again.
            if means == Means::Passes || self.lost() == IfSourceLost::Fail {
                return Err(self.way_on(cx, failure));
            }
            let left = until.saturating_duration_since(Instant::now());
            if means == Means::Lost || left.is_zero() {
                return self.without_proof(cx, &failure).await;
            }
            cx.log(format!("{}; asking again", failure.message));
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        if let Some(word) = cx.noted_text("attested") {
            return Ok(Verified::seen(
                format!("{} is {}", self.server, self.word()),
                format!("attested by {word}"),
            )
            .leaves(
                format!(
                    "{} was not seen to be {}: {word}. Look at it as soon as its provider answers",
                    self.server,
                    self.word()
                ),
                None,
            )
            .with("proof", "attested"));
        }
        if let Some(why) = cx.noted_text("skipped") {
            return Ok(
                Verified::seen(self.server.clone(), format!("skipped: {why}"))
                    .leaves(
                        format!(
                            "{} is not known to be {}: {why}. If it comes back it must take no writes",
                            self.server,
                            self.word()
                        ),
                        None,
                    )
                    .with("proof", "none"),
            );
        }
        let (provider, server) = self.server(cx).await?;
        if self.as_wanted(server.power) {
            let seen = Verified::seen(
                format!("{} at {}", server.name, provider.account()),
                format!("is {}", self.word()),
            );
            return Ok(seen.with("proof", "provider").with("id", server.id));
        }
        Err(Failure::new(
            Reason::Verify,
            format!("{} is {}", server.name, server.power),
        ))
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let Some(before) = cx.noted_text("before") else {
            return Ok(Vec::new());
        };
        let (provider, server) = self.server(cx).await?;
        provider.set_power(&server.id, before == "on").await?;
        Ok(vec![Evidence::new(
            server.name,
            format!("is {before} again"),
        )])
    }
}
