//! The one door through which events pass. One thread owns the journal, the numbers, the sum and
//! the reporters. It takes everything that is waiting, writes it with one call, syncs once, and only
//! then folds, shows and acknowledges:
//!
//! ```text
//! mask -> stamp -> | queue | -> number -> keep (write, sync) -> fold -> show -> acknowledge
//! ```
//!
//! Folding comes after keeping, so that nobody can act on a sum that a loss of power takes back. It
//! cannot also judge whether an event is possible: that must be known before it is kept. So the
//! writer asks the transitions of `state`, which run ahead of the sum.
//!
//! When the journal cannot be written the ledger is dead: whoever waits gets the error, and so does
//! everybody after them. No journal, no action.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::lock::Held;
use super::mask::clean;
use super::{Journal, JournalError};
use crate::clock::Clock;
use crate::event::{Event, Header, What};
use crate::ids::StepId;
use crate::secret::Mask;
use crate::state::Reporter;
use crate::state::RunState;
use crate::state::transition::Transitions;

/// So many log lines and progress marks may wait; more are counted and not kept.
const WAITING_NOTES: usize = 10_000;
/// And so many bytes of log lines a step may leave in a run: a script that says too much must not fill the disk that the
/// recovery needs. All of it stands in the job's own log on its host.
const LOGGED: usize = 4 << 20;
/// What nobody waits for is written after so long, if nothing else takes it along.
const IDLE: Duration = Duration::from_millis(50);
/// Whether the estate is still ours is asked before each record that matters, and so often when there is none: a run that
/// was pushed aside while it waits must leave, for the one that took over waits for its journal.
const WATCH: Duration = Duration::from_millis(500);

/// What a ledger is made of.
pub struct Parts {
    /// Where records are kept.
    pub journal: Box<dyn Journal>,
    /// Who shows them.
    pub reporters: Vec<Box<dyn Reporter>>,
    /// What must not be seen.
    pub mask: Mask,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The right to change the estate, asked before each record that somebody waits for. None in a preview.
    pub estate: Option<Box<dyn Held>>,
}

/// The door. Clones lead to the same room.
#[derive(Clone)]
pub struct Ledger(Arc<Door>);

struct Door {
    room: Arc<Room>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Room {
    queue: Mutex<Queue>,
    wake: Condvar,
    state: RwLock<RunState>,
    folded: watch::Sender<u64>,
    syncs: AtomicU64,
    mask: Mask,
    clock: Arc<dyn Clock>,
    /// The monotonic clock when this process took the run up.
    zero: Duration,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Item>,
    /// How many of them are log lines or progress.
    light: usize,
    /// How many of them somebody waits for.
    awaited: usize,
    /// The writer sleeps until so many are awaited; 0 for anything at all. Waking it for each of
    /// sixty records would cost more than writing them.
    wake_at: usize,
    /// Light ones that found no place.
    dropped: BTreeMap<StepId, u64>,
    /// Bytes of log lines so far, by step.
    logged: BTreeMap<StepId, usize>,
    closed: bool,
    dead: Option<JournalError>,
}

type Answer = oneshot::Sender<Result<u64, JournalError>>;

struct Item {
    at: Timestamp,
    ms: u64,
    what: What,
    answer: Option<Answer>,
}

impl Ledger {
    /// Begins a run: the header is on disk when this returns.
    pub fn begin(mut parts: Parts, header: Header) -> Result<Self, JournalError> {
        let mut what = What::Header(Box::new(header));
        clean(&parts.mask, &mut what);
        let event = Event {
            seq: 1,
            at: parts.clock.now(),
            ms: 0,
            what,
        };
        let state = RunState::begin(&event).map_err(JournalError::Impossible)?;
        parts.journal.append(std::slice::from_ref(&event))?;
        parts.journal.sync()?;
        show(&mut parts.reporters, &event, &state);
        Self::start(parts, state, 1)
    }

    /// Goes on with a run whose journal was read and replayed. Nothing is recorded by that: who
    /// resumes says so with `resumed`, who only marks a step does not.
    pub fn go_on(parts: Parts, state: RunState) -> Result<Self, JournalError> {
        Self::start(parts, state, 0)
    }

    fn start(parts: Parts, state: RunState, syncs: u64) -> Result<Self, JournalError> {
        let room = Arc::new(Room {
            queue: Mutex::default(),
            wake: Condvar::new(),
            folded: watch::Sender::new(state.seq),
            syncs: AtomicU64::new(syncs),
            mask: parts.mask,
            zero: parts.clock.monotonic(),
            clock: parts.clock,
            state: RwLock::new(state),
        });
        let writer = Writer {
            transitions: room.read(RunState::transitions),
            room: Arc::clone(&room),
            journal: parts.journal,
            reporters: parts.reporters,
            estate: parts.estate,
            last_sync: Duration::ZERO,
            last_answered: 0,
        };
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(|e| JournalError::io("starting the writer of", "the journal".as_ref(), e))?;
        Ok(Self(Arc::new(Door {
            room,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Records an event and returns its number: when it is on disk if nobody may go on before that
    /// (`What::durable`), else when it is written. Errors: the journal cannot be written (then nothing
    /// can be recorded any more); the event is impossible (then only it was refused).
    pub async fn record(&self, what: What) -> Result<u64, JournalError> {
        let (answer, answered) = oneshot::channel();
        self.0.room.enter(what, Some(answer));
        answered.await.unwrap_or(Err(JournalError::Closed))
    }

    /// As [`Ledger::record`], for callers outside an asynchronous runtime.
    pub fn record_blocking(&self, what: What) -> Result<u64, JournalError> {
        let (answer, answered) = oneshot::channel();
        self.0.room.enter(what, Some(answer));
        answered
            .blocking_recv()
            .unwrap_or(Err(JournalError::Closed))
    }

    /// Hands over an event without waiting for it. It keeps its place among the others. When more log
    /// lines or progress marks are waiting than the disk can take, they are counted and not kept.
    pub fn note_it(&self, what: What) {
        self.0.room.enter(what, None);
    }

    /// Reads the sum of what is kept so far. The writer waits meanwhile: be short.
    pub fn state<T>(&self, look: impl FnOnce(&RunState) -> T) -> T {
        self.0.room.read(look)
    }

    /// Fires when something was folded, and when the ledger died; its value is the last number.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.room.folded.subscribe()
    }

    /// How often this process waited for the disk.
    pub fn syncs(&self) -> u64 {
        self.0.room.syncs.load(Ordering::Relaxed)
    }

    /// Why nothing can be recorded any more.
    pub fn dead(&self) -> Option<JournalError> {
        self.0.room.lock().dead.clone()
    }

    /// Writes what is waiting, syncs, lets the reporters finish, and ends. Who records after that
    /// gets an error. It blocks shortly; a second call does nothing.
    pub fn close(&self) -> Result<(), JournalError> {
        self.0.close();
        match self.dead() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Door {
    fn close(&self) {
        self.room.lock().closed = true;
        self.room.wake.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic of the writer was told to those who waited, by their closed channels.
            let _ = thread.join();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.close();
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, look: impl FnOnce(&RunState) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn enter(&self, mut what: What, answer: Option<Answer>) {
        clean(&self.mask, &mut what);
        let mut queue = self.lock();
        let refused = queue
            .dead
            .clone()
            .or(queue.closed.then_some(JournalError::Closed));
        if let Some(error) = refused {
            if let Some(answer) = answer {
                let _ = answer.send(Err(error));
            }
            return;
        }
        if let What::Log { step, line } = &mut what {
            let so_far = queue.logged.entry(step.clone()).or_default();
            if *so_far > LOGGED {
                return;
            }
            *so_far += line.len();
            if *so_far > LOGGED {
                *line = "(it says more than is kept here; the rest stands in its log on the host)"
                    .into();
            }
        }
        if answer.is_none()
            && let What::Log { step, .. } | What::Progress { step, .. } = &what
        {
            if queue.light >= WAITING_NOTES {
                *queue.dropped.entry(step.clone()).or_default() += 1;
                return;
            }
            queue.light += 1;
        }
        queue.awaited += usize::from(answer.is_some());
        // Stamped under the queue's lock, so that times stand in the order of the numbers.
        let now = self.clock.monotonic().saturating_sub(self.zero);
        queue.waiting.push_back(Item {
            at: self.clock.now(),
            ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            what,
            answer,
        });
        if queue.awaited >= queue.wake_at {
            self.wake.notify_one();
        }
    }
}

struct Writer {
    room: Arc<Room>,
    journal: Box<dyn Journal>,
    transitions: Transitions,
    reporters: Vec<Box<dyn Reporter>>,
    estate: Option<Box<dyn Held>>,
    /// How long the disk took last time, and how many were told then.
    last_sync: Duration,
    last_answered: usize,
}

impl Writer {
    fn run(mut self) {
        // Whatever happens in here, nobody is left waiting for a writer that is gone.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            while let Some(batch) = self.gather() {
                self.keep(batch);
            }
        }));
        if ended.is_err() {
            self.die(JournalError::Closed);
        }
        for reporter in &mut self.reporters {
            let _ = catch_unwind(AssertUnwindSafe(|| reporter.close()));
        }
    }

    /// Waits for something to do; none when the ledger is closed and everything is written.
    fn gather(&mut self) -> Option<Vec<Item>> {
        let room = Arc::clone(&self.room);
        let mut queue = room.lock();
        loop {
            let idle = queue.waiting.is_empty();
            if queue.awaited > 0 || queue.closed && !idle {
                break;
            }
            if queue.closed {
                drop(queue);
                self.sync_rest();
                return None;
            }
            let wake = &room.wake;
            queue.wake_at = usize::from(!idle);
            if idle {
                let (back, waited) = wake
                    .wait_timeout(queue, WATCH)
                    .unwrap_or_else(PoisonError::into_inner);
                queue = back;
                if waited.timed_out() {
                    drop(queue);
                    self.leave_if_pushed_aside();
                    queue = room.lock();
                }
            } else {
                let (back, waited) = wake
                    .wait_timeout_while(queue, IDLE, |q| q.awaited == 0 && !q.closed)
                    .unwrap_or_else(PoisonError::into_inner);
                queue = back;
                if waited.timed_out() {
                    break;
                }
            }
        }
        // Those who were told a moment ago are about to come back with their next record. An eighth of
        // what a sync costs is worth waiting for them, else each round makes two batches of them.
        if queue.awaited < self.last_answered && !queue.closed {
            let all = self.last_answered;
            queue.wake_at = all;
            (queue, _) = self
                .room
                .wake
                .wait_timeout_while(queue, self.last_sync / 8, |q| q.awaited < all && !q.closed)
                .unwrap_or_else(PoisonError::into_inner);
        }
        queue.light = 0;
        queue.awaited = 0;
        let mut batch: Vec<Item> = std::mem::take(&mut queue.waiting).into();
        let dropped = std::mem::take(&mut queue.dropped);
        drop(queue);
        if let Some((at, ms)) = batch.last().map(|last| (last.at, last.ms)) {
            batch.extend(dropped.into_iter().map(|(step, count)| Item {
                at,
                ms,
                what: What::Log {
                    step,
                    line: format!(
                        "({count} lines or progress marks came too fast and were not kept)"
                    ),
                },
                answer: None,
            }));
        }
        Some(batch)
    }

    fn leave_if_pushed_aside(&mut self) {
        let lost = self.estate.as_ref().and_then(|held| held.check().err());
        if let Some(error) = lost
            && self.room.lock().dead.is_none()
        {
            self.die(JournalError::TakenOver(Arc::new(error)));
        }
    }

    /// What nobody waited for is on disk too when the run's process ends in peace.
    fn sync_rest(&mut self) {
        if self.room.lock().dead.is_some() {
            return;
        }
        match self.journal.sync() {
            Ok(()) => {
                self.room.syncs.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.die(error),
        }
    }

    fn keep(&mut self, batch: Vec<Item>) {
        let mut events = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        let mut durable = false;
        for item in batch {
            let event = Event {
                seq: self.transitions.seq() + 1,
                at: item.at,
                ms: item.ms,
                what: item.what,
            };
            match self.transitions.admit(&event) {
                Ok(()) => {
                    durable |= event.what.durable();
                    events.push(event);
                    answers.push(item.answer);
                }
                Err(error) => {
                    tracing::debug!(%error, "an event was refused");
                    if let Some(answer) = item.answer {
                        let _ = answer.send(Err(JournalError::Impossible(error)));
                    }
                }
            }
        }
        if events.is_empty() {
            return;
        }
        if let Err(error) = self.write(&events, durable) {
            self.die(error.clone());
            for answer in answers.into_iter().flatten() {
                let _ = answer.send(Err(error.clone()));
            }
            return;
        }
        self.last_answered = answers.iter().flatten().count();
        let last = self.fold(&events);
        self.room.folded.send_replace(last);
        for (event, answer) in events.iter().zip(answers) {
            if let Some(answer) = answer {
                let _ = answer.send(Ok(event.seq));
            }
        }
    }

    fn write(&mut self, events: &[Event], durable: bool) -> Result<(), JournalError> {
        if let Some(dead) = self.room.lock().dead.clone() {
            return Err(dead);
        }
        if durable && let Some(estate) = &self.estate {
            estate
                .check()
                .map_err(|e| JournalError::TakenOver(Arc::new(e)))?;
        }
        self.journal.append(events)?;
        if durable {
            let before = Instant::now();
            self.journal.sync()?;
            self.last_sync = before.elapsed();
            self.room.syncs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn fold(&mut self, events: &[Event]) -> u64 {
        let room = Arc::clone(&self.room);
        for event in events {
            let mut state = room.state.write().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = state.fold(event) {
                // The transitions admitted it: the two disagree, which is a fault of this program.
                tracing::error!(%error, "a kept event could not be folded");
            }
            drop(state);
            room.read(|state| show(&mut self.reporters, event, state));
        }
        events.last().map_or(0, |event| event.seq)
    }

    fn die(&mut self, error: JournalError) {
        let left = {
            let mut queue = self.room.lock();
            queue.dead.get_or_insert(error.clone());
            queue.light = 0;
            queue.awaited = 0;
            std::mem::take(&mut queue.waiting)
        };
        for answer in left.into_iter().filter_map(|item| item.answer) {
            let _ = answer.send(Err(error.clone()));
        }
        // Whoever waits for a change must wake up and see.
        self.room.folded.send_modify(|_| {});
    }
}

/// A reporter that panics is let go; the run has no less of a journal for it.
fn show(reporters: &mut Vec<Box<dyn Reporter>>, event: &Event, state: &RunState) {
    reporters.retain_mut(|reporter| {
        catch_unwind(AssertUnwindSafe(|| reporter.show(event, state))).is_ok()
    });
}
