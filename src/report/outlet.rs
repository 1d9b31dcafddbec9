//! A writer that never blocks. A terminal can stand still for minutes (Ctrl-S, a dead connection
//! whose buffers are full), and a recovery must not stand still with it: what finds no place in
//! the buffer is counted and left out, and the journal has it all the same.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A busy run shows some megabytes in all; more than this waits only for a reader that is stuck.
const CAPACITY: usize = 16 << 20;
/// How long the end waits for a slow reader.
const PATIENCE: Duration = Duration::from_secs(3);

/// A writer with a thread behind it.
pub struct Outlet {
    shared: Arc<Shared>,
    capacity: usize,
}

#[derive(Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    changed: Condvar,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The thread has taken bytes and not written all of them yet.
    busy: bool,
    left_out: u64,
    closed: bool,
    broken: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    /// In front of `inner`.
    pub fn new(inner: Box<dyn Write + Send>) -> std::io::Result<Self> {
        Self::with_capacity(inner, CAPACITY)
    }

    /// With room for so many bytes.
    pub fn with_capacity(
        mut inner: Box<dyn Write + Send>,
        capacity: usize,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let behind = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("outlet".into())
            .spawn(move || pump(&behind, &mut *inner))?;
        Ok(Self { shared, capacity })
    }

    /// Waits until everything is written, but not for ever.
    fn drain(&self, patience: Duration) {
        let buffer = self.shared.lock();
        let _ = self
            .shared
            .changed
            .wait_timeout_while(buffer, patience, |b| {
                !b.broken && (b.busy || !b.bytes.is_empty() || b.left_out > 0)
            });
    }
}

fn pump(shared: &Shared, inner: &mut dyn Write) {
    loop {
        let mut buffer = shared.lock();
        buffer.busy = false;
        shared.changed.notify_all();
        while buffer.bytes.is_empty() && buffer.left_out == 0 && !buffer.closed {
            buffer = shared
                .changed
                .wait(buffer)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = std::mem::take(&mut buffer.bytes);
        let left_out = std::mem::take(&mut buffer.left_out);
        if bytes.is_empty() && left_out == 0 {
            return;
        }
        buffer.busy = true;
        drop(buffer);
        if left_out > 0 {
            let words = format!(
                "({left_out} lines are not shown here: this end was not read; the journal has them)\n"
            );
            bytes.extend_from_slice(words.as_bytes());
        }
        if inner
            .write_all(&bytes)
            .and_then(|()| inner.flush())
            .is_err()
        {
            let mut buffer = shared.lock();
            buffer.broken = true;
            buffer.busy = false;
            shared.changed.notify_all();
            return;
        }
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut buffer = self.shared.lock();
        if buffer.broken {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        if buffer.bytes.len() + bytes.len() > self.capacity {
            buffer.left_out += 1;
        } else {
            buffer.bytes.extend_from_slice(bytes);
        }
        drop(buffer);
        self.shared.changed.notify_all();
        Ok(bytes.len())
    }

    /// Does not wait: that is the point.
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        self.drain(PATIENCE);
    }
}
