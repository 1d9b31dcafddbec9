//! Where questions to people lie until somebody answers: in the terminal, by a command from another
//! one, by a flag given beforehand, or by their time-out. The answer is on disk before the step hears it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{oneshot, watch};

use crate::action::{Given, Person};
use crate::event::{Ask, AskKind, What};
use crate::ids::StepId;
use crate::journal::{JournalError, Ledger};
use crate::kind::{Failure, Reason};

/// An answer on its way to a question.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Yes or no.
    pub yes: bool,
    /// Who.
    pub by: String,
    /// Why.
    pub because: Option<String>,
    /// The door: `terminal`, `command`, `--approve`, `timeout`.
    pub how: String,
}

/// A question that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The step that waits.
    pub step: StepId,
    /// What it asks.
    pub ask: Ask,
}

/// A question that lies there, and the way back to who asked.
type Open = (Ask, oneshot::Sender<Answer>);

/// The desk.
pub struct Desk {
    ledger: Ledger,
    approved: Vec<(StepId, String)>,
    open: Mutex<HashMap<(StepId, String), Open>>,
    standing: watch::Sender<Vec<Standing>>,
}

impl Desk {
    /// `approved`: steps whose approval was given with `--approve`, and by whom.
    pub fn new(ledger: Ledger, approved: Vec<(StepId, String)>) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            approved,
            open: Mutex::default(),
            standing: watch::channel(Vec::new()).0,
        })
    }

    /// The questions that wait now, and a signal whenever that changes.
    pub fn standing(&self) -> watch::Receiver<Vec<Standing>> {
        self.standing.subscribe()
    }

    /// Hands an answer in. `name`: which question of the step; `None` is its only or oldest one. False: nothing waits there.
    pub fn answer(&self, step: &StepId, name: Option<&str>, answer: Answer) -> bool {
        let taken = {
            let mut open = self.open.lock().expect("no holder panics");
            let key = open
                .keys()
                .find(|(id, ask)| id == step && name.is_none_or(|name| name == ask))
                .cloned();
            key.and_then(|key| open.remove(&key))
        };
        self.publish();
        match taken {
            Some((_, sender)) => sender.send(answer).is_ok(),
            None => false,
        }
    }

    fn publish(&self) {
        let open = self.open.lock().expect("no holder panics");
        let mut list: Vec<Standing> = open
            .iter()
            .map(|((step, _), (ask, _))| Standing {
                step: step.clone(),
                ask: ask.clone(),
            })
            .collect();
        list.sort_by(|a, b| (&a.step, &a.ask.name).cmp(&(&b.step, &b.ask.name)));
        drop(open);
        self.standing.send_replace(list);
    }
}

fn dead(error: &JournalError) -> Failure {
    Failure::from_error(Reason::Other, "writing the journal", error)
}

#[async_trait::async_trait]
impl Person for Desk {
    async fn ask(&self, step: &StepId, ask: Ask) -> Result<Given, Failure> {
        // An answer that was given before a crash still holds.
        let earlier = self.ledger.state(|state| {
            let step = state.step(step)?;
            step.answers
                .iter()
                .rev()
                .find(|answered| answered.ask.name == ask.name && answered.yes)
                .map(|answered| Given {
                    yes: true,
                    by: answered.by.clone(),
                    because: answered.because.clone(),
                })
        });
        if let Some(given) = earlier {
            return Ok(given);
        }
        self.ledger
            .record(What::Asked {
                step: step.clone(),
                ask: ask.clone(),
            })
            .await
            .map_err(|e| dead(&e))?;
        let flag = self
            .approved
            .iter()
            .find(|(id, _)| id == step && ask.kind == AskKind::Approval);
        let answer = match flag {
            Some((_, by)) => Answer {
                yes: true,
                by: by.clone(),
                because: None,
                how: "--approve".into(),
            },
            None => self.wait(step, &ask).await,
        };
        let what = What::Answered {
            step: step.clone(),
            name: ask.name.clone(),
            yes: answer.yes,
            by: answer.by.clone(),
            because: answer.because.clone(),
            how: answer.how,
        };
        self.ledger.record(what).await.map_err(|e| dead(&e))?;
        Ok(Given {
            yes: answer.yes,
            by: answer.by,
            because: answer.because,
        })
    }
}

impl Desk {
    async fn wait(&self, step: &StepId, ask: &Ask) -> Answer {
        let (sender, receiver) = oneshot::channel();
        let key = (step.clone(), ask.name.clone());
        self.open
            .lock()
            .expect("no holder panics")
            .insert(key.clone(), (ask.clone(), sender));
        self.publish();
        // The step may be dropped while it waits; the desk must not keep its question.
        let _guard = Withdraw { desk: self, key };
        let answered = async { receiver.await.ok() };
        let answer = match ask.timeout {
            Some(limit) => tokio::time::timeout(limit, answered).await.ok().flatten(),
            None => answered.await,
        };
        answer.unwrap_or_else(|| Answer {
            yes: false,
            by: "nobody".into(),
            because: ask
                .timeout
                .map(|limit| format!("no answer within {}", crate::units::duration(limit))),
            how: "timeout".into(),
        })
    }
}

struct Withdraw<'a> {
    desk: &'a Desk,
    key: (StepId, String),
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if self
            .desk
            .open
            .lock()
            .expect("no holder panics")
            .remove(&self.key)
            .is_some()
        {
            self.desk.publish();
        }
    }
}
