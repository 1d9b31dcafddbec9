//! A machine whose first process collects nobody, as a container with `sleep` as PID 1: what was entered into a world and
//! lost its parent there stays in the table of processes for good, and keeps the world's own first process in it.
//! And what a world that is not well takes from the others: nothing.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dr_plan::sandbox::enter::{Status, children};

const LIMIT: Duration = Duration::from_secs(30);

#[track_caller]
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The machine. Everything in it goes with its first process.
struct Machine {
    door: Child,
    first: u32,
    folder: tempfile::TempDir,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.door.kill();
        let _ = self.door.wait();
    }
}

impl Machine {
    fn boot() -> Self {
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user", "--map-auto"]);
        }
        let mut door = unshare
            .args(["--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--"])
            .args(["sleep", "600"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let first = wait_for("the first process", || {
            assert!(door.try_wait().unwrap().is_none(), "it did not boot");
            let child = children(door.id()).into_iter().next()?;
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim() == "sleep").then_some(child)
        });
        Self {
            door,
            first,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string()]);
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command
            .args(["--pid", "--mount", "--", env!("CARGO_BIN_EXE_dr-plan")])
            .args(words)
            .env("XDG_STATE_HOME", self.folder.path())
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn says(&self, words: &[&str], code: i32) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(words).output().unwrap();
        let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(code), "{words:?}\n{said}");
        said.into_owned()
    }
}

fn below(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        found.extend(children(found[next]));
        next += 1;
    }
    found
}

fn named(pids: &[u32], name: &str) -> Option<u32> {
    let is = |pid: &&u32| {
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"))
            .is_ok_and(|found| found.trim() == name)
    };
    pids.iter().find(is).copied()
}

#[test]
fn a_world_goes_down_where_nobody_collects_its_dead() {
    let machine = Machine::boot();
    machine.says(&["sandbox", "up", "one", "--bare"], 0);
    machine.says(&["sandbox", "up", "two", "--bare"], 0);
    let mut entered = machine
        .command(&[
            "sandbox",
            "exec",
            "--world",
            "one",
            "--",
            "tail",
            "-f",
            "/dev/null",
        ])
        .spawn()
        .unwrap();
    // The door into the machine, the door into the world, and what was called.
    let (door, inside) = wait_for("the command in the world", || {
        let all = below(entered.id());
        let inside = named(&all, "tail")?;
        Some((Status::of(inside)?.parent, inside))
    });
    assert_ne!(door, entered.id(), "the command has no door of its own");
    let pid = rustix::process::Pid::from_raw(i32::try_from(door).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let _ = entered.wait();
    wait_for("the end that nobody collects", || {
        Status::of(inside).filter(Status::is_dead)
    });

    // It ends, says why something is left of it, and takes nothing from the other.
    let said = machine.says(&["sandbox", "down", "one"], 0);
    for words in ["world `one` is down", "(tail)", "1 (sleep)", "--init"] {
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
    let status = machine.says(&["sandbox", "status"], 0);
    assert!(
        status.contains("world two") && !status.contains("one"),
        "{status}"
    );
    machine.says(&["sandbox", "up", "one", "--bare"], 0);
    machine.says(&["sandbox", "down", "--all"], 0);
}

#[test]
fn a_world_that_does_not_answer_hides_no_other() {
    let machine = Machine::boot();
    for world in ["deaf", "well"] {
        machine.says(&["sandbox", "up", world, "--bare"], 0);
    }
    let break_it = ["--world", "deaf", "--", "rm", "/run/dr-plan/world.sock"];
    machine.says(&[&["sandbox", "exec"], &break_it[..]].concat(), 0);
    let said = machine.says(&["sandbox", "status"], 4);
    for words in ["world well", "world `deaf`: ", "dr-plan sandbox down deaf"] {
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
    let said = machine.says(&["sandbox", "down", "deaf"], 0);
    assert!(!said.contains("--init"), "all were collected: {said}");
    let said = machine.says(&["sandbox", "status"], 0);
    assert!(said.contains("world well"), "{said}");
    machine.says(&["sandbox", "down", "well"], 0);
}
