//! What may happen to a step next: the legal transitions, as one `match`. The fold asks it, and so
//! does the writer of the journal, which must refuse an impossible event before it is kept: once
//! on disk, it would make every later replay fail.

use std::collections::HashMap;
use std::sync::Arc;

use super::StateError;
use crate::event::{Event, Mark, What};
use crate::ids::StepId;

/// As much of a step's status as decides what may happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    /// Not begun.
    Waiting,
    /// Begun.
    Running,
    /// Waits for a person.
    Blocked,
    /// Failed or doomed.
    Bad,
    /// Done or left out.
    Good,
    /// A person called it needless; they may take that back.
    Skipped,
}

impl Stand {
    fn ended(self) -> bool {
        matches!(self, Stand::Bad | Stand::Good | Stand::Skipped)
    }

    fn word(self) -> &'static str {
        match self {
            Stand::Waiting => "waiting",
            Stand::Running => "running",
            Stand::Blocked => "blocked",
            Stand::Bad => "failed or doomed",
            Stand::Good => "done or left out",
            Stand::Skipped => "skipped",
        }
    }
}

/// Where the step stands after the event, and its attempt.
pub fn next(stand: Stand, attempt: u32, event: &Event) -> Result<(Stand, u32), StateError> {
    let wrong = |word| match event.what.step() {
        Some(step) => Err(StateError::Transition {
            seq: event.seq,
            step: step.clone(),
            status: stand.word(),
            event: word,
        }),
        None => Ok((stand, attempt)),
    };
    let to = match &event.what {
        What::Observed { .. } if stand.ended() => return wrong("observed"),
        What::Observed { .. } => Stand::Running,
        What::Intent { attempt: new, .. } if stand.ended() || *new < attempt => {
            return wrong("begun");
        }
        What::Intent { attempt: new, .. } => return Ok((Stand::Running, *new)),
        What::Retry { .. } if stand.ended() => return wrong("tried again"),
        What::Done { .. } if stand.ended() => return wrong("done"),
        What::Done { .. } => Stand::Good,
        What::Failed { .. } if stand.ended() => return wrong("failed"),
        What::Failed { .. } => Stand::Bad,
        What::Blocked { .. } if stand.ended() => return wrong("blocked"),
        What::Blocked { .. } => Stand::Blocked,
        What::Doomed { .. } if stand != Stand::Waiting => return wrong("doomed"),
        What::Doomed { .. } => Stand::Bad,
        What::Asked { .. } if stand.ended() => return wrong("asked about"),
        What::Asked { .. } if stand == Stand::Waiting => Stand::Running,
        What::Marked { mark, .. } => match (mark, stand) {
            (Mark::Skip, Stand::Good | Stand::Skipped) => return wrong("skipped"),
            (Mark::Skip, _) => Stand::Skipped,
            (Mark::Done, Stand::Good) => return wrong("marked done"),
            (Mark::Done, Stand::Running) => Stand::Running,
            (Mark::Done, _) => Stand::Waiting,
        },
        _ => stand,
    };
    Ok((to, attempt))
}

/// The event is the next one, and not a second header.
pub(super) fn follows(last: u64, event: &Event) -> Result<(), StateError> {
    if event.seq != last + 1 {
        return Err(StateError::Gap {
            last,
            found: event.seq,
        });
    }
    match event.what {
        What::Header(_) => Err(StateError::Header(event.seq)),
        _ => Ok(()),
    }
}

/// The step that the event speaks of.
pub(super) fn find(
    index: &HashMap<StepId, usize>,
    event: &Event,
) -> Result<Option<usize>, StateError> {
    event
        .what
        .step()
        .map(|id| {
            index
                .get(id)
                .copied()
                .ok_or_else(|| StateError::Step(event.seq, id.clone()))
        })
        .transpose()
}

/// The legal moves of a whole run, small enough to run ahead of the sum: a writer asks it about
/// events that are not on disk yet and therefore not folded.
#[derive(Debug, Clone)]
pub struct Transitions {
    seq: u64,
    index: Arc<HashMap<StepId, usize>>,
    stands: Vec<(Stand, u32)>,
    /// Steps that told people how it ended.
    last_words: Vec<usize>,
    has_result: bool,
}

impl Transitions {
    pub(super) fn new(
        seq: u64,
        index: Arc<HashMap<StepId, usize>>,
        stands: Vec<(Stand, u32)>,
        last_words: Vec<usize>,
        has_result: bool,
    ) -> Self {
        Self {
            seq,
            index,
            stands,
            last_words,
            has_result,
        }
    }

    /// The number of the last admitted event.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Lets the event pass, or says why it cannot happen; then nothing has changed.
    pub fn admit(&mut self, event: &Event) -> Result<(), StateError> {
        follows(self.seq, event)?;
        match find(&self.index, event)? {
            Some(at) => {
                let (stand, attempt) = self.stands[at];
                self.stands[at] = next(stand, attempt, event)?;
                if let What::Marked {
                    mark: Mark::Skip, ..
                } = event.what
                {
                    self.last_words.retain(|tells| *tells != at);
                }
            }
            None if matches!(event.what, What::Resumed { .. }) => {
                for (stand, _) in &mut self.stands {
                    if !matches!(stand, Stand::Good | Stand::Skipped) {
                        *stand = Stand::Waiting;
                    }
                }
                if std::mem::take(&mut self.has_result) {
                    for at in &self.last_words {
                        self.stands[*at].0 = Stand::Waiting;
                    }
                }
            }
            None if matches!(event.what, What::Ended { .. }) => self.has_result = true,
            None => {}
        }
        self.seq = event.seq;
        Ok(())
    }
}
