//! Another program is at work between a command's look and its lock.

use dr_plan::clock::SystemClock;
use dr_plan::event::{Back, RunResult, What};
use dr_plan::ids::RunId;
use dr_plan::journal::{FileJournal, Ledger, Parts, RunFolder};
use dr_plan::kind::{Effect, Resource};
use dr_plan::secret::Mask;
use dr_plan::state::RunState;

use super::*;
use crate::memory::night::{done, header, id, intent, step};
use crate::terminal::{Door, Terminal, beside};

const RUN: [&str; 4] = ["run", "plan.yaml", "--inventory", "desk.yaml"];

fn parts(journal: FileJournal) -> Parts {
    Parts {
        journal: Box::new(journal),
        reporters: Vec::new(),
        mask: Mask::default(),
        clock: std::sync::Arc::new(SystemClock::new()),
        estate: None,
    }
}

fn begun(steps: &[&str]) -> What {
    What::Back(Back::Begun {
        by: "dan".into(),
        version: "0.1.0".into(),
        steps: steps.iter().map(|step| id(step)).collect(),
    })
}

fn undone(step: &str) -> What {
    What::Back(Back::Undone {
        step: id(step),
        evidence: Vec::new(),
    })
}

fn server() -> Resource {
    Resource {
        kind: "server".into(),
        account: "cloud".into(),
        id: "4711".into(),
        name: "shop-db".into(),
    }
}

impl Folder {
    fn state(&self) -> std::path::PathBuf {
        self.0.path().join("state/dr-plan")
    }

    /// Types a command and stays at the terminal.
    fn at_terminal(&self, words: &[&str]) -> (Child, Terminal) {
        let (person, input) = Terminal::new();
        let err = std::fs::File::create(self.0.path().join("err")).unwrap();
        let mut command = self.command(words);
        command.stdin(input).stdout(Stdio::null()).stderr(err);
        let child = command.spawn().unwrap();
        until("the question to start", || self.err().contains("to start"));
        (child, person)
    }

    /// A command whose way to the estate is not barred.
    fn beside(&self, words: &[&str]) -> Command {
        let home = self.0.path().join("beside");
        beside(&self.state(), &home.join("dr-plan"));
        let mut command = self.command(words);
        command.env("XDG_STATE_HOME", home);
        command
    }

    /// Another program writes into the journal of a run.
    fn tell(&self, run: &str, whats: Vec<What>) {
        let folder = RunFolder::find(&self.state(), run).unwrap();
        let (journal, reading) = folder.open_journal().unwrap();
        let state = RunState::replay(&reading.events).unwrap();
        let ledger = Ledger::go_on(parts(journal), state).unwrap();
        for what in whats {
            ledger.record_blocking(what).unwrap();
        }
        ledger.close().unwrap();
    }

    /// A failover of this estate that made a server and moved the users, and what came after.
    fn earlier(&self, result: Option<RunResult>, after: Vec<What>) -> RunId {
        let run = RunId::generate();
        let (folder, _) = RunFolder::create(&self.state(), &run, Vec::new()).unwrap();
        let steps = vec![
            step("db", "create a server", Effect::Create, &[]),
            step("dns", "move the names", Effect::Traffic, &["db"]),
        ];
        let mut header = header(steps);
        header.run = run.clone();
        header.estate = "desk".into();
        let ledger = Ledger::begin(parts(folder.create_journal().unwrap()), header).unwrap();
        let made = What::Made {
            step: id("db"),
            resource: server(),
        };
        let mut whats = vec![intent("db"), made, done("db", &[])];
        whats.extend([intent("dns"), done("dns", &[])]);
        whats.extend(result.map(|result| What::Ended {
            result,
            because: Vec::new(),
        }));
        whats.extend(after);
        for what in whats {
            ledger.record_blocking(what).unwrap();
        }
        ledger.close().unwrap();
        run
    }

    fn runs(&self) -> usize {
        std::fs::read_dir(self.state().join("runs")).map_or(0, |all| all.count())
    }

    fn journal(&self) -> String {
        let runs = self.state().join("runs");
        std::fs::read_to_string(runs.join(run_id(&runs)).join("journal.jsonl")).unwrap()
    }

    /// A run that was stopped at its question.
    fn stopped(&self) {
        let mut run = self.run();
        signal(&run, Signal::INT);
        assert_eq!(ended(&mut run, self), Some(5), "{}", self.err());
    }
}

#[test]
fn what_is_taken_back_while_its_resume_waits_for_the_estate_does_not_go_forward() {
    let folder = Folder::new();
    folder.stopped();
    let door = Door::shut(&folder.state(), "desk");
    let mut resumed = folder.begin(&["resume", "last"]);
    until("the resume at the door", || door.somebody_waits());
    folder.tell("last", vec![begun(&["go"]), What::Back(Back::Ended)]);
    let journal = folder.journal();
    drop(door);
    let code = ended(&mut resumed, &folder);
    let said = folder.err();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("it does not go forward again"), "{said}");
    assert_eq!(folder.journal(), journal, "something was written");
}

#[test]
fn what_has_ended_while_its_resume_waits_for_the_estate_stays_ended() {
    let folder = Folder::new();
    folder.stopped();
    let door = Door::shut(&folder.state(), "desk");
    let mut waiting = folder.begin(&["resume", "last"]);
    until("the resume at the door", || door.somebody_waits());
    let mut other = folder.beside(&["resume", "last"]).spawn().unwrap();
    folder.wait_for_question();
    let approve = ["approve", "last", "go", "--as", "ben"];
    folder.says(&approve, 0);
    assert_eq!(ended(&mut other, &folder), Some(0));
    let journal = folder.journal();
    drop(door);
    assert_eq!(ended(&mut waiting, &folder), Some(0), "{}", folder.err());
    let said = folder.err();
    assert!(said.contains("there is nothing to resume"), "{said}");
    assert_eq!(folder.journal(), journal, "something was written");
}

#[test]
fn a_step_that_has_ended_while_its_mark_waits_for_the_estate_is_not_marked() {
    let folder = Folder::new();
    folder.stopped();
    let door = Door::shut(&folder.state(), "desk");
    let words = ["mark", "last", "go", "--skip", "--because", "x"];
    let mut mark = folder.begin(&[&words[..], &["--as", "ben"]].concat());
    until("the mark at the door", || door.somebody_waits());
    let mut other = folder.beside(&["resume", "last"]).spawn().unwrap();
    folder.wait_for_question();
    folder.says(&["approve", "last", "go", "--as", "ben"], 0);
    assert_eq!(ended(&mut other, &folder), Some(0));
    drop(door);
    assert_eq!(ended(&mut mark, &folder), Some(2), "{}", folder.err());
    let said = folder.err();
    assert!(said.contains("has ended well already"), "{said}");
}

#[test]
fn users_that_were_moved_while_a_person_read_the_screen_are_not_moved_again() {
    let folder = Folder::new();
    let (mut run, mut person) = folder.at_terminal(&RUN);
    folder.earlier(Some(RunResult::Met), Vec::new());
    person.types("desk");
    assert_eq!(ended(&mut run, &folder), Some(2), "{}", folder.err());
    let said = folder.err();
    assert!(said.contains("has moved the users of `desk`"), "{said}");
    assert_eq!(folder.runs(), 1, "a second run was begun");
}

#[test]
fn users_that_were_moved_while_a_run_waited_for_the_estate_are_not_moved_again() {
    let folder = Folder::new();
    let door = Door::shut(&folder.state(), "desk");
    let mut run = folder.begin(&[&RUN[..], &["--yes"]].concat());
    until("the run at the door", || door.somebody_waits());
    folder.earlier(None, Vec::new());
    drop(door);
    assert_eq!(ended(&mut run, &folder), Some(2), "{}", folder.err());
    let said = folder.err();
    assert!(said.contains("is not finished"), "{said}");
    assert_eq!(folder.runs(), 1, "a second run was begun");
}

#[test]
fn an_older_run_that_moved_on_while_a_person_read_the_screen_is_not_adopted() {
    let folder = Folder::new();
    folder.stopped();
    let adopt = [&RUN[..], &["--adopt", "last"]].concat();

    // What the person read is not what is there any more.
    let (mut run, mut person) = folder.at_terminal(&adopt);
    let mark = [
        "mark",
        "last",
        "go",
        "--skip",
        "--because",
        "x",
        "--as",
        "ben",
    ];
    folder.says(&mark, 0);
    person.types("desk");
    assert_eq!(ended(&mut run, &folder), Some(3), "{}", folder.err());
    let said = folder.err();
    assert!(said.contains("has changed since"), "{said}");
    assert_eq!(folder.runs(), 1, "a second run was begun");

    // It is another's now.
    let (mut run, mut person) = folder.at_terminal(&adopt);
    let to = RunId::generate();
    let handed = Back::HandedOver {
        to,
        by: "dan".into(),
    };
    folder.tell("last", vec![What::Back(handed)]);
    person.types("desk");
    assert_eq!(ended(&mut run, &folder), Some(2), "{}", folder.err());
    let said = folder.err();
    assert!(said.contains("handed over to run"), "{said}");
    assert_eq!(folder.runs(), 1, "a second run was begun");
}

#[test]
fn what_is_taken_back_stands_in_no_ones_way_and_what_is_not_does() {
    let gone = || What::Gone {
        step: id("db"),
        resource: server(),
        proof: "404".into(),
    };
    let back = |whats: Vec<What>| [vec![begun(&["dns", "db"])], whats].concat();
    let ended_back = || What::Back(Back::Ended);
    let met = Some(RunResult::Met);

    let free = |result, after: Vec<What>| {
        let folder = Folder::new();
        folder.earlier(result, after);
        let mut run = folder.run();
        signal(&run, Signal::INT);
        assert_eq!(ended(&mut run, &folder), Some(5), "{}", folder.err());
    };
    let all = || back(vec![undone("dns"), gone(), undone("db"), ended_back()]);
    free(met, all());
    free(None, all());

    let refused = |result, after: Vec<What>, words: &str| {
        let folder = Folder::new();
        folder.earlier(result, after);
        let said = folder.says(&[&RUN[..], &["--yes"]].concat(), 2);
        assert!(said.contains(words), "`{words}` is not in\n{said}");
        assert_eq!(folder.runs(), 1, "a second run was begun");
    };
    refused(met, Vec::new(), "has moved the users");
    let left = What::Back(Back::Left {
        step: id("dns"),
        why: "dan says that it stays as it is".into(),
        person: true,
    });
    refused(
        met,
        back(vec![left, gone(), undone("db"), ended_back()]),
        "has moved the users",
    );
    // Half of it: its servers stand.
    refused(met, back(vec![undone("dns")]), "dr-plan undo");
    refused(None, back(vec![undone("dns")]), "dr-plan undo");

    // It was handed over, and whoever had it has taken it back.
    let folder = Folder::new();
    let first = folder.earlier(Some(RunResult::Failed), Vec::new());
    let second = folder.earlier(met, all());
    let handed = Back::HandedOver {
        to: second,
        by: "dan".into(),
    };
    folder.tell(first.as_str(), vec![What::Back(handed)]);
    let mut run = folder.run();
    signal(&run, Signal::INT);
    assert_eq!(ended(&mut run, &folder), Some(5), "{}", folder.err());
}

#[test]
fn a_run_that_asks_at_a_terminal_ends_with_an_answer_from_elsewhere() {
    let folder = Folder::new();
    let (mut child, mut person) = folder.at_terminal(&RUN);
    person.types("desk");
    until("the question", || folder.err().contains("yes/no:"));
    folder.says(&["approve", "last", "go", "--as", "ben"], 0);
    // Nobody presses a key here any more.
    assert_eq!(ended(&mut child, &folder), Some(0), "{}", folder.err());

    let (mut child, mut person) =
        folder.at_terminal(&["run", "plan.yaml", "--inventory", "desk.yaml", "--anew"]);
    person.types("desk");
    until("the question", || folder.err().contains("yes/no:"));
    signal(&child, Signal::INT);
    assert_eq!(ended(&mut child, &folder), Some(5), "{}", folder.err());
    assert!(folder.err().contains("1 unfinished"), "{}", folder.err());
}
