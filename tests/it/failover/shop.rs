//! A shop in a world of its own, and a person at a terminal beside it. Everything goes when it is dropped, also
//! when the test fails; what the commands said stands in the panic then.

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use crate::terminal::{Door, Terminal, beside};

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// SIGKILL, as a shell tells it.
pub const KILLED: i32 = 128 + 9;

const BACKUP: &str = include_str!("backup.sh");

/// All rows of both tables as numbers that no order of rows changes.
pub const FINGERPRINT: &str = "
select 'users', count(*), sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint) from users t
union all
select 'orders', count(*), sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint) from orders t
order by 1";

pub struct Shop {
    pub world: String,
    folder: tempfile::TempDir,
}

/// What a command came to.
pub struct Ran {
    /// The exit code; 128 and the signal for a process that was ended by one, as a shell says it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code();
        Self {
            code: code.unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default()),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Panics with all that was said if the code is another one.
    #[track_caller]
    pub fn ended(self, code: i32, shop: &Shop) -> Self {
        self.ended_after("", code, shop)
    }

    /// The same, with words that say which of many it was.
    #[track_caller]
    pub fn ended_after(self, what: &str, code: i32, shop: &Shop) -> Self {
        assert_eq!(
            self.code,
            code,
            "{what}\n--- stdout\n{}\n--- stderr\n{}\n{}",
            self.out,
            self.err,
            shop.story()
        );
        self
    }

    /// Panics if one of the streams does not hold these words.
    #[track_caller]
    pub fn says(self, words: &str) -> Self {
        assert!(
            self.err.contains(words) || self.out.contains(words),
            "nobody says `{words}`\n--- stdout\n{}\n--- stderr\n{}",
            self.out,
            self.err
        );
        self
    }
}

/// A command at work, with a process group of its own as a terminal gives it one.
pub struct Working {
    child: Option<Child>,
    said: PathBuf,
    terminal: Option<Terminal>,
}

impl Working {
    /// A person types a line at its terminal.
    pub fn types(&mut self, line: &str) {
        let terminal = self.terminal.as_mut();
        terminal.expect("it has a terminal").types(line);
    }

    /// What a terminal does when a person presses a key: the signal reaches the whole group.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = self.child.as_ref().expect("it was not waited for").id();
        let group = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process_group(group, signal).unwrap();
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap_or_default()
    }

    #[track_caller]
    pub fn wait_for_words(&self, words: &str, shop: &Shop) {
        wait_for(
            || self.said().contains(words).then_some(()),
            || format!("`{words}` in\n{}\n{}", self.said(), shop.story()),
        );
    }

    pub fn wait(mut self) -> Ran {
        let mut child = self.child.take().expect("it is waited for once");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("it does not end; it said\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let code = status.code();
        Ran {
            code: code.unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            out: String::new(),
            err: self.said(),
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Stops the `pg_restore` that writes, as soon as there is one in the world, and says its processes; after more than a minute in vain it
/// fails. It is known by its arguments, because the backup was read to its end by another one before.
pub const HOLD_PG_RESTORE: &str = "n=0
    until pids=$(pgrep -f '^[^ ]*pg_restore --exit-on-error'); do
      n=$((n + 1)); [ $n -lt 3000 ] || exit 1; sleep 0.02
    done
    kill -STOP $pids && echo $pids";

/// Judges only when there is more to judge than the last time.
pub fn as_it_grows<T>(
    length: impl Fn() -> u64,
    mut judge: impl FnMut() -> Option<T>,
) -> impl FnMut() -> Option<T> {
    let mut judged = 0;
    move || {
        let length = length();
        if length == judged {
            return None;
        }
        judged = length;
        judge()
    }
}

/// Asks until the answer is there; a deadline, not a measure.
#[track_caller]
pub fn wait_for<T>(mut ask: impl FnMut() -> Option<T>, what: impl FnOnce() -> String) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never came: {}", what());
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.dr(&["sandbox", "down", &self.world]).output();
    }
}

impl Shop {
    /// The shop of the examples, in a world `NAME-PID`.
    pub fn up(name: &str) -> Self {
        let shop = Self {
            world: format!("{name}-{}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
        };
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["plans", "inventories", "providers"] {
            copy(&source.join(part), &shop.path(part));
        }
        let inventory = shop.path("inventories/sandbox.yaml");
        let text = fs::read_to_string(&inventory).unwrap();
        let named = text.replace("sandbox: demo", &format!("sandbox: {}", shop.world));
        assert_ne!(text, named, "the inventory names its world differently now");
        fs::write(&inventory, named).unwrap();
        fs::create_dir(shop.path("backups")).unwrap();
        fs::write(shop.path("backup.sh"), BACKUP).unwrap();
        shop.do_it(&["sandbox", "up", &shop.world, "--estate", "shop"])
            .ended(0, &shop);
        shop
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    /// Changes the copy of a file that this shop has.
    pub fn edit(&self, part: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(part)).unwrap();
        assert!(text.contains(from), "{part} has no `{from}`");
        fs::write(self.path(part), text.replace(from, to)).unwrap();
    }

    /// The failover without its Redis and its pictures, for what is about something else: other tests run all of it.
    pub fn only_database_and_pages(&self) {
        const LEFT_OUT: &[&str] = &[
            "cache-settings",
            "cache-secret",
            "cache-restart",
            "restore-cache",
            "restore-media",
            "pictures",
        ];
        let path = self.path("plans/region-failover.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let mut left_out = false;
        let mut kept = String::new();
        for line in text.lines() {
            if let Some(key) = line
                .strip_prefix("  ")
                .filter(|key| key.starts_with(|c: char| c.is_alphabetic()))
            {
                left_out = LEFT_OUT.contains(&key.trim_end_matches(':'));
            } else if !line.starts_with("   ") {
                left_out = false;
            }
            if !left_out {
                kept += line;
                kept += "\n";
            }
        }
        fs::write(&path, kept).unwrap();
        let plan = "plans/region-failover.yaml";
        self.edit(
            plan,
            "needs: [restore-db, restore-cache, ",
            "needs: [restore-db, ",
        );
        self.edit(plan, "needs: [ready, pictures, ", "needs: [ready, ");
        self.edit(
            plan,
            "[shop-db, shop-cache, shop-media, shop-config]",
            "[shop-db, shop-config]",
        );
    }

    /// The program, with folders of its own for what it keeps. Prepared clusters are shared by all tests.
    fn dr(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dr-plan"));
        command
            .args(words)
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .env_remove("DR_PLAN_STATE")
            .env_remove("DR_PLAN_LOG")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Types a command and waits for its end.
    pub fn do_it(&self, words: &[&str]) -> Ran {
        Ran::of(&self.dr(words).output().unwrap())
    }

    /// Types a command in a second terminal, whose way to the estate is not barred by a door that is shut here.
    pub fn do_beside(&self, words: &[&str]) -> Ran {
        Ran::of(&self.dr_beside(words).output().unwrap())
    }

    fn dr_beside(&self, words: &[&str]) -> Command {
        let home = self.path("beside");
        beside(&self.path("state/dr-plan"), &home.join("dr-plan"));
        let mut command = self.dr(words);
        command.env("XDG_STATE_HOME", home);
        command
    }

    /// Nobody gets the estate from now on, until it is dropped.
    pub fn shut_door(&self) -> Door {
        Door::shut(&self.path("state/dr-plan"), "shop")
    }

    #[track_caller]
    pub fn wait_for_somebody_at(&self, door: &Door) {
        wait_for(
            || door.somebody_waits().then_some(()),
            || format!("somebody at the door\n{}", self.story()),
        );
    }

    /// Types a command and stays at the terminal.
    pub fn begin_at_terminal(&self, words: &[&str]) -> Working {
        self.at_terminal(self.dr(words))
    }

    /// The same in the second terminal.
    pub fn begin_at_terminal_beside(&self, words: &[&str]) -> Working {
        self.at_terminal(self.dr_beside(words))
    }

    fn at_terminal(&self, command: Command) -> Working {
        let (terminal, input) = Terminal::new();
        let mut working = self.begin_with(command, Stdio::from(input));
        working.terminal = Some(terminal);
        working
    }

    /// Types a command with `&` behind it, at a terminal of its own: its shell puts it into the background, where a read from the
    /// terminal would stop it (SIGTTIN).
    pub fn begin_in_background(&self, words: &[&str]) -> Working {
        let asked = self.dr(words);
        let quoted =
            |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', r"'\''"));
        let line: Vec<String> = std::iter::once(asked.get_program())
            .chain(asked.get_args())
            .map(quoted)
            .collect();
        let mut shell = Command::new("script");
        shell.args([
            "-qec",
            &format!("set -m; {} & wait $!", line.join(" ")),
            "/dev/null",
        ]);
        shell.env("SHELL", "/bin/bash");
        for (name, value) in asked.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(folder) = asked.get_current_dir() {
            shell.current_dir(folder);
        }
        self.at_terminal(shell)
    }

    /// Types a command and lets it work.
    pub fn begin(&self, words: &[&str]) -> Working {
        self.begin_with(self.dr(words), Stdio::null())
    }

    fn begin_with(&self, mut command: Command, input: Stdio) -> Working {
        let (file, said) = tempfile::NamedTempFile::new_in(self.folder.path())
            .unwrap()
            .keep()
            .unwrap();
        command
            .stdin(input)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0);
        Working {
            child: Some(command.spawn().unwrap()),
            said,
            terminal: None,
        }
    }

    /// Runs a shell script in the world and returns what it prints.
    #[track_caller]
    pub fn inside(&self, script: &str) -> String {
        let words = [
            "sandbox",
            "exec",
            "--world",
            &self.world,
            "--",
            "sh",
            "-c",
            script,
        ];
        let ran = self.do_it(&words).ended(0, self);
        ran.out.trim().to_owned()
    }

    /// A question to the API's or a lever's address, answered in JSON.
    #[track_caller]
    pub fn lever(&self, path: &str) -> Value {
        let text = self.inside(&format!(
            "curl -sS --fail 'http://127.0.0.1:8000/_sandbox/{path}'"
        ));
        serde_json::from_str(&text).unwrap()
    }

    /// The servers alive, as `(name, region, status)`, sorted.
    pub fn servers(&self) -> Vec<(String, String, String)> {
        let listed = self.lever("servers");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let servers = listed["servers"].as_array().unwrap().iter();
        let mut found: Vec<_> = servers
            .map(|server| {
                (
                    text(&server["name"]),
                    text(&server["location"]["name"]),
                    text(&server["status"]),
                )
            })
            .collect();
        found.sort();
        found
    }

    /// The names that servers were asked to be made with, one for each call.
    pub fn creations(&self) -> Vec<String> {
        let calls = self.lever("ledger?method=POST&path=/v1/servers");
        let calls = calls["calls"].as_array().unwrap().iter();
        let mut names: Vec<_> = calls
            .map(|call| call["body"]["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        names.sort();
        names
    }

    /// Messages that arrived outside.
    pub fn messages(&self) -> Vec<Value> {
        let text = self.inside("cat /run/dr-plan/services/messages.jsonl");
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The texts that arrived at one address.
    pub fn told(&self, path: &str) -> Vec<String> {
        let messages = self.messages().into_iter();
        messages
            .filter(|message| message["path"] == path)
            .map(|message| message["body"]["text"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Asks the old database, before the loss.
    #[track_caller]
    pub fn ask_source(&self, sql: &str) -> String {
        fs::write(self.path("question.sql"), sql).unwrap();
        self.inside(&format!(
            "ssh -q -F none -i /run/dr-plan/secrets/login -o UserKnownHostsFile=/run/dr-plan/known_hosts -o BatchMode=yes \
             root@198.18.1.1 'cd / && runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 shop' <{}",
            self.path("question.sql").display()
        ))
    }

    /// Asks the new database, by the very words that the messages tell people to type.
    #[track_caller]
    pub fn ask_restored(&self, sql: &str) -> String {
        fs::write(self.path("question.sql"), sql).unwrap();
        let words = [
            "ssh",
            "last",
            "db",
            "--",
            "cd / && runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 shop",
        ];
        let question = fs::File::open(self.path("question.sql")).unwrap();
        let ran = Ran::of(&self.dr(&words).stdin(question).output().unwrap());
        ran.ended(0, self).out.trim().to_owned()
    }

    /// Runs a script on one of the old servers, before the loss.
    #[track_caller]
    pub fn on_source(&self, address: &str, script: &str) -> String {
        fs::write(self.path("script.sh"), script).unwrap();
        self.inside(&format!(
            "ssh -q -F none -i /run/dr-plan/secrets/login -o UserKnownHostsFile=/run/dr-plan/known_hosts -o BatchMode=yes \
             root@{address} sh -eu <{}",
            self.path("script.sh").display()
        ))
    }

    /// Runs a script on one of the new servers.
    #[track_caller]
    pub fn on_restored(&self, host: &str, script: &str) -> String {
        fs::write(self.path("script.sh"), script).unwrap();
        let script = fs::File::open(self.path("script.sh")).unwrap();
        let words = ["ssh", "last", host, "--", "sh", "-eu"];
        let ran = Ran::of(&self.dr(&words).stdin(script).output().unwrap());
        ran.ended(0, self).out.trim().to_owned()
    }

    /// Something in the database whose restore takes a second, in which it can be caught: an index that waits for each of its rows. It
    /// costs the processors nothing.
    #[track_caller]
    pub fn slow_to_restore(&self) {
        self.ask_source(
            "create function public.slowly(n int) returns int language plpgsql immutable
               as 'begin perform pg_sleep(0.5); return n; end';
             create table slow (n int);
             insert into slow values (1), (2);
             create index on slow (public.slowly(n));",
        );
    }

    /// A customer orders, by name.
    #[track_caller]
    pub fn order(&self) {
        self.inside("curl -sS --fail -d '{\"cents\": 4200}' http://shop.example/orders");
    }

    /// The newest order as customers see it, by name.
    #[track_caller]
    pub fn newest(&self) -> Value {
        let text = self.inside("curl -sS --fail http://shop.example/orders/newest");
        serde_json::from_str(&text).unwrap()
    }

    /// Takes a backup now; `cut`: a damaged one that looks good from outside.
    #[track_caller]
    pub fn back_up(&self, taken: Timestamp, cut: bool) {
        self.inside(&format!(
            "sh {} {} {} {}",
            self.path("backup.sh").display(),
            taken.strftime("%Y%m%dT%H%M%SZ"),
            self.path("backups").display(),
            if cut { "cut" } else { "" }
        ));
    }

    /// The region burns down. Returns when.
    #[track_caller]
    pub fn lose_region(&self) -> Timestamp {
        let words = ["sandbox", "break", "--world", &self.world, "region", "fsn1"];
        self.do_it(&words).ended(0, self);
        Timestamp::now()
    }

    /// The words of the failover, up to flags of the test's own.
    pub fn failover<'a>(&self, lost_at: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec![
            "run",
            "plans/region-failover.yaml",
            "--lost-at",
            lost_at,
            "--yes",
        ];
        words.extend(more);
        words
    }

    /// The report of the last run, from its journal.
    #[track_caller]
    pub fn report(&self) -> Value {
        let ran = self.do_it(&["report", "last", "--format", "json"]);
        serde_json::from_str(&ran.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", ran.out, ran.err))
    }

    /// The folder of the last run.
    pub fn run_folder(&self) -> PathBuf {
        let runs = self.path("state/dr-plan/runs");
        let mut found: Vec<_> = fs::read_dir(&runs)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        found.sort();
        found.pop().expect("something was run")
    }

    /// The journal of the last run, a value for each whole line.
    pub fn journal(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.run_folder().join("journal.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Whether the last run has recorded it.
    pub fn has_event(&self, event: &str, step: &str) -> bool {
        let journal = self.journal();
        let mut events = journal.iter().map(|record| &record["what"]);
        events.any(|what| what["event"] == event && what["step"] == step)
    }

    #[track_caller]
    pub fn wait_for_event(&self, event: &str, step: &str) {
        let come = || self.has_event(event, step).then_some(());
        wait_for(as_it_grows(|| self.recorded(), come), || {
            format!("`{event}` of `{step}`\n{}", self.story())
        });
    }

    /// Waits until `status` shows all these words, and gives what it shows. It is asked again only when a run has recorded more.
    #[track_caller]
    pub fn wait_for_status(&self, words: &[&str]) -> String {
        let shown = || {
            let status = self.do_it(&["status", "last"]).out;
            let mut words = words.iter();
            words.all(|words| status.contains(words)).then_some(status)
        };
        wait_for(as_it_grows(|| self.recorded(), shown), || {
            format!("{words:?}\n{}", self.story())
        })
    }

    /// How many bytes all runs have recorded; none before the first has its folder, a moment after its process.
    fn recorded(&self) -> u64 {
        let runs = fs::read_dir(self.path("state/dr-plan/runs"));
        let journals = runs.into_iter().flatten().flatten();
        journals
            .filter_map(|run| fs::metadata(run.path().join("journal.jsonl")).ok())
            .map(|journal| journal.len())
            .sum()
    }

    /// The process of the run that is at work, as it is counted in the world.
    pub fn orchestrator(&self) -> u64 {
        let estates = self.path("state/dr-plan/estates");
        let card = fs::read_to_string(estates.join("shop.lock")).unwrap();
        let card: Value = serde_json::from_str(&card).unwrap();
        card["pid"].as_u64().unwrap()
    }

    /// Everything that helps to understand a failure.
    pub fn story(&self) -> String {
        let status = self.do_it(&["status", "last"]);
        let world = self.path("state/dr-plan/sandbox").join(&self.world);
        let log = fs::read_to_string(world.join("world.log")).unwrap_or_default();
        let journal: Vec<String> = match self.path("state/dr-plan/runs").exists() {
            true => self.journal().iter().map(Value::to_string).collect(),
            false => Vec::new(),
        };
        let tail = journal[journal.len().saturating_sub(60)..].join("\n");
        format!(
            "--- status\n{}{}\n--- journal\n{tail}\n--- world\n{log}",
            status.out, status.err
        )
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
