//! `--json`: every event as it is, one JSON object a line, for programs.

use std::io::Write;

use crate::event::Event;
use crate::state::{Reporter, RunState};

/// Writes events as NDJSON.
pub struct Json {
    out: Box<dyn Write + Send>,
    broken: bool,
}

impl Json {
    /// Onto a writer, standard output as a rule.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, broken: false }
    }
}

impl Reporter for Json {
    fn show(&mut self, event: &Event, _: &RunState) {
        if self.broken {
            return;
        }
        let written = serde_json::to_vec(event).is_ok_and(|mut line| {
            line.push(b'\n');
            self.out
                .write_all(&line)
                .and_then(|()| self.out.flush())
                .is_ok()
        });
        // The reader is gone; the run goes on.
        self.broken = !written;
    }

    fn close(&mut self) {
        let _ = self.out.flush();
    }
}
