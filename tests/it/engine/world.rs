//! What the doubles act on. It lives in the test's own process, so that it outlives every process
//! that is killed while it acts, and it counts what was done to it. It is naive on purpose: it does
//! again whatever it is told again, so that only an engine that looks first leaves it as it should be.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dr_plan::kind::{Failure, Reason};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// How far something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    #[default]
    Nothing,
    Half,
    /// A job is at work on it.
    Running,
    Done,
}

/// What stands in the world for one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thing {
    pub stage: Stage,
    /// What it holds when it is done.
    pub data: String,
    /// How many were ever brought into being: servers created, jobs started.
    pub born: u32,
    /// How often it became done.
    pub made: u32,
    /// How often something was said to people.
    pub told: u32,
    /// The attempt that started its job.
    pub job: Option<u32>,
    pub polls: u32,
    /// How often it was taken back.
    #[serde(default)]
    pub undone: u32,
}

/// What a double asks of the world.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    pub pid: i32,
    pub step: String,
    /// `look`, `create`, `stage`, `finish`, `start`, `poll`, `tell`, `undo`.
    pub verb: String,
    pub data: String,
    pub attempt: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    Thing(Thing),
    Failure(Failure),
    Foreign,
    CannotTell,
    Unseen,
    Hang,
    Panic,
}

/// What stands in a thing that is not one's own.
pub const NOT_MINE: &str = "somebody else's";

/// What happens instead of an ordinary answer.
#[derive(Debug, Clone)]
pub enum Cue {
    /// Nothing is done, and this is answered.
    Fail(Reason),
    /// Nothing is done, and whoever asks is to come back so much later.
    TurnAway(std::time::Duration),
    /// It is done, and the answer is lost.
    LoseAnswer,
    /// It is said to be done, and is not.
    Lie,
    /// Nothing is done, since nothing of it is known to be one's own.
    NotMine,
    Foreign,
    CannotTell,
    Unseen,
    Hang,
    Panic,
    /// Whoever asks is killed before it is done.
    KillBefore,
    /// Whoever asks is killed when it is done.
    KillAfter,
    /// An ordinary answer.
    Pass,
}

#[derive(Default)]
pub struct World(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    things: BTreeMap<String, Thing>,
    cues: HashMap<(String, String), VecDeque<Cue>>,
    heard: Vec<(String, String)>,
}

impl World {
    /// The next requests of this kind get these answers, then ordinary ones.
    pub fn cue(&self, step: &str, verb: &str, cues: impl IntoIterator<Item = Cue>) {
        let mut inner = self.0.lock().unwrap();
        let key = (step.to_string(), verb.to_string());
        inner.cues.entry(key).or_default().extend(cues);
    }

    /// Whether an answer waits for such a request.
    pub fn has_cue(&self, step: &str, verb: &str) -> bool {
        let inner = self.0.lock().unwrap();
        let key = (step.to_string(), verb.to_string());
        inner.cues.get(&key).is_some_and(|cues| !cues.is_empty())
    }

    /// Ordinary answers from here on.
    pub fn forget_cues(&self) {
        self.0.lock().unwrap().cues.clear();
    }

    /// Something stands there before the run.
    pub fn put(&self, step: &str, thing: Thing) {
        self.0.lock().unwrap().things.insert(step.into(), thing);
    }

    pub fn thing(&self, step: &str) -> Thing {
        let inner = self.0.lock().unwrap();
        inner.things.get(step).cloned().unwrap_or_default()
    }

    pub fn things(&self) -> BTreeMap<String, Thing> {
        self.0.lock().unwrap().things.clone()
    }

    /// All requests so far: step and verb.
    pub fn heard(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().heard.clone()
    }

    pub fn ask(&self, request: &Request) -> Reply {
        let mut inner = self.0.lock().unwrap();
        let key = (request.step.clone(), request.verb.clone());
        inner.heard.push(key.clone());
        let cue = inner.cues.get_mut(&key).and_then(VecDeque::pop_front);
        match cue.unwrap_or(Cue::Pass) {
            Cue::Pass => Reply::Thing(inner.act(request)),
            Cue::Fail(reason) => Reply::Failure(Failure::new(reason, "the test wants it so")),
            Cue::TurnAway(wait) => {
                let mut failure = Failure::new(Reason::RateLimited, "the test wants it so");
                failure.retry_after = Some(wait);
                Reply::Failure(failure)
            }
            Cue::LoseAnswer => {
                inner.act(request);
                Reply::Failure(Failure::new(Reason::Unknown, "the answer was lost"))
            }
            Cue::Lie => {
                let thing = inner.things.get(&request.step).cloned();
                Reply::Thing(thing.unwrap_or_default())
            }
            Cue::NotMine => Reply::Thing(Thing {
                data: NOT_MINE.into(),
                ..Thing::default()
            }),
            Cue::Foreign => Reply::Foreign,
            Cue::CannotTell => Reply::CannotTell,
            Cue::Unseen => Reply::Unseen,
            Cue::Hang => Reply::Hang,
            Cue::Panic => Reply::Panic,
            Cue::KillBefore => {
                kill(request.pid);
                Reply::Hang
            }
            Cue::KillAfter => {
                inner.act(request);
                kill(request.pid);
                Reply::Hang
            }
        }
    }

    /// The same through a socket, for other processes.
    pub fn serve(self: &Arc<Self>, folder: &Path) -> Served {
        let path = folder.join("world.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let world = Arc::clone(self);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                // A process that was killed while it wrote asked nothing; an empty line ends the service.
                let read = BufReader::new(&stream).read_line(&mut line);
                if line == "\n" {
                    return;
                }
                let Some(request) = read.ok().and_then(|_| serde_json::from_str(&line).ok()) else {
                    continue;
                };
                let mut answer = serde_json::to_vec(&world.ask(&request)).unwrap();
                answer.push(b'\n');
                let _ = stream.write_all(&answer);
            }
        });
        Served {
            path,
            thread: Some(thread),
        }
    }
}

impl Inner {
    fn act(&mut self, request: &Request) -> Thing {
        let thing = self.things.entry(request.step.clone()).or_default();
        match request.verb.as_str() {
            "look" | "ask the old side" => {}
            "create" => {
                thing.born += 1;
                thing.stage = Stage::Half;
                // Where it answers: a second one for the same role would answer elsewhere.
                thing.data = format!("{} number {}", request.step, thing.born);
            }
            "stage" => thing.stage = Stage::Half,
            "finish" => {
                thing.made += 1;
                thing.stage = Stage::Done;
                if !request.data.is_empty() {
                    thing.data.clone_from(&request.data);
                }
            }
            "start" => {
                thing.born += 1;
                thing.stage = Stage::Running;
                thing.job = Some(request.attempt);
                thing.data.clone_from(&request.data);
            }
            "poll" => {
                thing.polls += 1;
                if thing.polls == 3 {
                    thing.made += 1;
                    thing.stage = Stage::Done;
                }
            }
            "tell" => {
                thing.told += 1;
                thing.data.clone_from(&request.data);
            }
            "undo" => {
                thing.undone += 1;
                thing.stage = Stage::Nothing;
                thing.data.clone_from(&request.data);
            }
            other => panic!("the world knows no `{other}`"),
        }
        thing.clone()
    }
}

fn kill(pid: i32) {
    assert_ne!(
        pid,
        std::process::id().cast_signed(),
        "a test would kill itself"
    );
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// A world that answers on a socket until this is dropped.
pub struct Served {
    pub path: PathBuf,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Ok(mut stream) = UnixStream::connect(&self.path) {
            let _ = stream.write_all(b"\n");
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How a double reaches the world.
#[derive(Clone)]
pub enum Line {
    Direct(Arc<World>),
    Socket(PathBuf),
}

impl Line {
    pub fn ask(&self, request: &Request) -> Reply {
        let path = match self {
            Line::Direct(world) => return world.ask(request),
            Line::Socket(path) => path,
        };
        let mut stream = UnixStream::connect(path).unwrap();
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        stream.write_all(&line).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}
