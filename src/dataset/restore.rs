//! What every kind of data offers to a restore: stage beside what is there, ask the copy, swap it in, and all the ways back. The
//! steps of a plan know this port only.

use std::time::Duration;

use async_trait::async_trait;

use super::{Artifact, DataCopy, JobReport, Progress};
use crate::codec::Form;
use crate::kind::{Failure, Observation};

/// How far a restore is, read from the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// Nothing of this step is there, and nothing stands in the way.
    Absent,
    /// A job of this attempt is at work.
    Running {
        /// Which part: `stage`, `swap`, ...
        part: &'static str,
    },
    /// Begun by this step, not finished.
    Staging,
    /// Restored whole from this backup, not swapped in. Verify it, then swap.
    Ready,
    /// Restored whole from this backup, and the swap is half way: it goes on.
    Closing,
    /// Live, from this backup.
    Live,
    /// Something that this step did not make is in the way.
    Foreign {
        /// What it is.
        what: String,
    },
    /// The question could not be answered.
    CannotTell {
        /// Why.
        why: String,
    },
}

impl Stand {
    /// In the words of the contract. *Partial* stands for all that `apply` can go on from. `staged` is what people call the staged copy.
    pub fn observation(&self, staged: &str) -> Observation {
        match self {
            Stand::Absent => Observation::Absent,
            Stand::Running { part } => Observation::Running {
                what: format!("the {part} job of this step"),
            },
            Stand::Staging => Observation::Partial {
                what: format!("{staged} was begun by this step and is not finished"),
            },
            Stand::Ready => Observation::Partial {
                what: format!("{staged} is restored and not swapped in"),
            },
            Stand::Closing => Observation::Partial {
                what: format!(
                    "{staged} is restored and the swap is half way: what was there is closed"
                ),
            },
            Stand::Live => Observation::Done,
            Stand::Foreign { what } => Observation::Foreign {
                what: what.clone(),
                hint: Some(
                    "`replace: true` sets it aside (it is kept until `dr-plan release`); `--adopt RUN` takes over what an earlier run made".into(),
                ),
            },
            Stand::CannotTell { why } => Observation::CannotTell {
                why: why.clone(),
                hint: Some("is the server running? then `dr-plan resume`".into()),
            },
        }
    }
}

/// One restore of one dataset by one step of one run.
#[async_trait]
pub trait Restore: Send + Sync {
    /// What the application uses: a database's name, a server, a path.
    fn live(&self) -> String;

    /// What people call the staged copy.
    fn staged(&self) -> String;

    /// The user who owns what is delivered to the host, and the folder that it is delivered to (`None`: that user's home).
    fn delivery(&self) -> (Option<&str>, Option<&str>);

    /// Looks. A host that cannot be reached is a failure.
    async fn stand(&self) -> Result<Stand, Failure>;

    /// Fetch, check, open, read to the end, restore beside the live one, mark as ready. Attaches to a job of the same attempt.
    async fn stage(
        &self,
        artifact: &Artifact,
        declared: Option<Form>,
        deadline: Duration,
        progress: &mut dyn Progress,
    ) -> Result<JobReport, Failure>;

    /// The copy that can be asked: the staged one before the swap, the live one after it.
    fn copy(&self, live: bool) -> Box<dyn DataCopy + '_>;

    /// Puts the staged copy in place; what was there is kept, and its name is the result. Goes on from every half-way state.
    async fn swap(&self, progress: &mut dyn Progress) -> Result<Option<String>, Failure>;

    /// Takes the swap back.
    async fn swap_back(&self, progress: &mut dyn Progress) -> Result<(), Failure>;

    /// Drops what this step staged, and nothing else.
    async fn drop_staged(&self, progress: &mut dyn Progress) -> Result<(), Failure>;

    /// The size of what the swap kept under that name, in bytes, if it is still there. Looked at, not remembered.
    async fn kept(&self, name: &str) -> Result<Option<u64>, Failure>;

    /// Lets go of what the swap kept.
    async fn release(&self, progress: &mut dyn Progress) -> Result<(), Failure>;
}
