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

/// An answer, and the way back to who gave it: told when the answer is on disk.
type Handed = (Answer, oneshot::Sender<()>);

/// A question that lies there, and the way back to who asked.
type Open = (Ask, oneshot::Sender<Handed>);

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

    /// Hands an answer in and waits until it is on disk. `name`: which question of the step; `None` is its only or
    /// oldest one. False: nothing waits there for this person, or the answer could not be kept.
    pub async fn answer(&self, step: &StepId, name: Option<&str>, answer: Answer) -> bool {
        let taken = {
            let mut open = self.open.lock().expect("no holder panics");
            let key = open
                .iter()
                .find(|((id, ask), (whole, _))| {
                    id == step
                        && name.is_none_or(|name| name == ask)
                        && whole.may_be_answered_by(&answer.by)
                })
                .map(|(key, _)| key.clone());
            key.and_then(|key| open.remove(&key))
        };
        self.publish();
        let Some((_, sender)) = taken else {
            return false;
        };
        let (kept, is_kept) = oneshot::channel();
        sender.send((answer, kept)).is_ok() && is_kept.await.is_ok()
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
        // An answer that was given before a crash still holds: for what was asked, and not for what came to bear its name.
        let earlier = self.ledger.state(|state| {
            let step = state.step(step)?;
            step.answers
                .iter()
                .rev()
                .find(|answered| {
                    let asked = &answered.ask;
                    let same = asked.name == ask.name && asked.question == ask.question;
                    same && asked.kind == ask.kind
                })
                .filter(|answered| answered.yes)
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
        let (answer, kept) = match flag {
            Some((_, by)) => {
                let answer = Answer {
                    yes: true,
                    by: by.clone(),
                    because: None,
                    how: "--approve".into(),
                };
                (answer, None)
            }
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
        if let Some(kept) = kept {
            // Who answered may have left meanwhile.
            let _ = kept.send(());
        }
        Ok(Given {
            yes: answer.yes,
            by: answer.by,
            because: answer.because,
        })
    }
}

impl Desk {
    async fn wait(&self, step: &StepId, ask: &Ask) -> (Answer, Option<oneshot::Sender<()>>) {
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
        match answer {
            Some((answer, kept)) => (answer, Some(kept)),
            None => {
                let nobody = Answer {
                    yes: false,
                    by: "nobody".into(),
                    because: ask
                        .timeout
                        .map(|limit| format!("no answer within {}", crate::units::duration(limit))),
                    how: "timeout".into(),
                };
                (nobody, None)
            }
        }
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
