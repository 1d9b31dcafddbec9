//! Looks over the shoulder of every process, of every machine, for as long as a run goes: arguments and
//! environments, as everybody with an account on a server could.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Keeps every different text that was seen; what was in it is asked afterwards, when all secrets of the
/// run are known.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    sweeps: Arc<AtomicU64>,
    thread: JoinHandle<Seen>,
}

/// Arguments and environments, each once.
pub struct Seen {
    pub texts: HashSet<Vec<u8>>,
    pub sweeps: u64,
}

impl Sampler {
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let sweeps = Arc::new(AtomicU64::new(0));
        let counted = sweeps.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Seen {
                texts: HashSet::new(),
                sweeps: 0,
            };
            while !asked.load(Ordering::Relaxed) {
                seen.sweep();
                counted.fetch_add(1, Ordering::Relaxed);
            }
            seen
        });
        Self {
            stop,
            sweeps,
            thread,
        }
    }

    /// Returns when everything that runs now was looked at: the sweep that is under way may have passed it already.
    pub fn look_again(&self) {
        let wanted = self.sweeps.load(Ordering::Relaxed) + 2;
        super::shop::wait_for("two looks at all processes", || {
            (self.sweeps.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Seen {
    /// Every process that this `/proc` shows: the worlds below are in it.
    fn sweep(&mut self) {
        self.sweeps += 1;
        let all = fs::read_dir("/proc").unwrap().flatten();
        let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        for process in all.filter(|entry| entry.file_name().to_str().is_some_and(is_process)) {
            for file in ["cmdline", "environ"] {
                // It may have ended meanwhile.
                let text = fs::read(process.path().join(file)).unwrap_or_default();
                if !text.is_empty() && !self.texts.contains(&text) {
                    self.texts.insert(text);
                }
            }
        }
    }

    /// Texts that hold this.
    pub fn with(&self, wanted: &str) -> Vec<String> {
        let wanted = wanted.as_bytes();
        let holds = |text: &&Vec<u8>| text.windows(wanted.len()).any(|part| part == wanted);
        let shown = |text: &Vec<u8>| String::from_utf8_lossy(text).replace('\0', " ");
        self.texts.iter().filter(holds).map(shown).collect()
    }
}
