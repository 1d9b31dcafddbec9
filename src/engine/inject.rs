//! Accidents on order, so that a sandbox can show what a recovery does about them: this process dies in the middle
//! of a step, an attempt fails, an apply is said twice. They stand around the actions, and no action knows of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::action::{Action, Asked, Context, Move, Target, Verified};
use crate::ids::StepId;
use crate::kind::{Evidence, Failure, Finding, Observation, Reason};
use crate::program::{Moving, Policy, Work};
use crate::state::RunState;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accident {
    /// The process is killed (SIGKILL) when the intent is on disk and nothing is done; a step that only looks: at its first look.
    Crash,
    /// The process is killed when the effect is there and nothing was looked at again.
    CrashAfter,
    /// The first attempt fails, as if the other side could not be reached.
    Fail,
    /// What is applied is applied again at once.
    Repeat,
}

impl Accident {
    /// The words for it on a command line.
    pub const WORDS: [(&'static str, Accident); 4] = [
        ("crash", Accident::Crash),
        ("crash-after", Accident::CrashAfter),
        ("fail", Accident::Fail),
        ("repeat", Accident::Repeat),
    ];
}

/// A program with accidents. Each happens once in the life of this process.
pub struct Injected {
    work: Arc<dyn Work>,
    orders: Vec<Arc<Order>>,
}

struct Order {
    accident: Accident,
    step: StepId,
    happened: AtomicBool,
}

impl Order {
    fn is_due(&self, accident: Accident) -> bool {
        self.accident == accident && !self.happened.swap(true, Ordering::SeqCst)
    }
}

impl Injected {
    /// Puts accidents around a program's steps.
    pub fn new(
        work: Arc<dyn Work>,
        accidents: impl IntoIterator<Item = (Accident, StepId)>,
    ) -> Self {
        let orders = accidents.into_iter().map(|(accident, step)| {
            Arc::new(Order {
                accident,
                step,
                happened: AtomicBool::new(false),
            })
        });
        Self {
            work,
            orders: orders.collect(),
        }
    }
}

impl Work for Injected {
    fn action(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure> {
        let action = self.work.action(step, state)?;
        let orders: Vec<Arc<Order>> = self
            .orders
            .iter()
            .filter(|order| order.step == *step)
            .cloned()
            .collect();
        if orders.is_empty() {
            return Ok(action);
        }
        let looks_only = self.work.policy(step).effect == crate::kind::Effect::Read;
        Ok(Box::new(Unlucky {
            action,
            orders,
            looks_only,
        }))
    }

    fn rehearse(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure> {
        self.work.rehearse(step, state)
    }

    fn policy(&self, step: &StepId) -> Policy {
        self.work.policy(step)
    }

    fn health(&self, state: &RunState) -> Result<Vec<Box<dyn Action>>, Failure> {
        self.work.health(state)
    }

    fn moves(&self, state: &RunState) -> Vec<Moving> {
        self.work.moves(state)
    }
}

/// An action that an accident waits for.
struct Unlucky {
    action: Box<dyn Action>,
    orders: Vec<Arc<Order>>,
    looks_only: bool,
}

impl Unlucky {
    fn is_due(&self, accident: Accident) -> bool {
        self.orders.iter().any(|order| order.is_due(accident))
    }

    fn before(&self) -> Result<(), Failure> {
        if self.is_due(Accident::Crash) {
            die();
        }
        if self.is_due(Accident::Fail) {
            return Err(Failure::new(
                Reason::Unreachable,
                "the accident that --inject ordered",
            ));
        }
        Ok(())
    }
}

/// Nothing is flushed, closed or told: as when the power goes.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

#[async_trait]
impl Action for Unlucky {
    fn fences(&self) -> bool {
        self.action.fences()
    }

    async fn can_go_back(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        self.action.can_go_back(cx).await
    }

    fn title(&self) -> String {
        self.action.title()
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        self.action.precheck(cx).await
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        self.action.observe(cx).await
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        self.before()?;
        self.action.apply(cx).await?;
        if self.is_due(Accident::Repeat) {
            self.action.apply(cx).await?;
        }
        if self.is_due(Accident::CrashAfter) {
            die();
        }
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        if self.looks_only {
            self.before()?;
        }
        let verified = self.action.verify(cx).await?;
        if self.looks_only && self.is_due(Accident::CrashAfter) {
            die();
        }
        Ok(verified)
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        self.before()?;
        let evidence = self.action.undo(cx).await?;
        if self.is_due(Accident::CrashAfter) {
            die();
        }
        Ok(evidence)
    }

    fn host(&self) -> Option<&str> {
        self.action.host()
    }

    fn target(&self) -> Target {
        self.action.target()
    }

    fn asked(&self) -> Asked {
        self.action.asked()
    }

    fn decides(&self) -> Vec<Asked> {
        self.action.decides()
    }

    fn moves(&self) -> Vec<Move> {
        self.action.moves()
    }

    async fn probe(&self, cx: &Context) -> Result<Verified, Failure> {
        self.before()?;
        let verified = self.action.probe(cx).await?;
        if self.is_due(Accident::CrashAfter) {
            die();
        }
        Ok(verified)
    }

    async fn kept(&self, cx: &Context) -> Result<Option<String>, Failure> {
        self.action.kept(cx).await
    }

    async fn release(&self, cx: &Context) -> Result<(), Failure> {
        self.before()?;
        self.action.release(cx).await?;
        if self.is_due(Accident::CrashAfter) {
            die();
        }
        Ok(())
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        self.action.files()
    }
}
