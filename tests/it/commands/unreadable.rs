//! Runs that nobody can go on with: never begun, damaged, written by a later version.

use super::*;

const ON: [&[&str]; 9] = [
    &["resume", "RUN"],
    &["mark", "RUN", "go", "--skip", "--because", "x"],
    &["approve", "RUN", "go"],
    &["logs", "RUN", "go"],
    &["undo", "RUN", "--yes"],
    &["release", "RUN", "--yes"],
    &["status", "RUN"],
    &["status", "RUN", "--follow"],
    &["report", "RUN"],
];

fn of<'a>(words: &[&'a str], run: &'a str) -> Vec<&'a str> {
    let named = |word: &&'a str| if *word == "RUN" { run } else { word };
    words.iter().map(named).collect()
}

#[test]
fn a_run_that_was_killed_before_its_first_record_says_that_nothing_was_begun() {
    let folder = Folder::new();
    let runs = folder.0.path().join("state/dr-plan/runs");
    let (empty, none, torn) = (
        "01jd5xq3w8k2m9x7q4r6t8v0aa",
        "01jd5xq3w8k2m9x7q4r6t8v0bb",
        "01jd5xq3w8k2m9x7q4r6t8v0cc",
    );
    for run in [empty, none, torn] {
        std::fs::create_dir_all(runs.join(run)).unwrap();
    }
    std::fs::write(runs.join(empty).join("journal.jsonl"), "").unwrap();
    std::fs::write(runs.join(torn).join("journal.jsonl"), "{\"seq\":1,").unwrap();
    let mut all: Vec<Vec<&str>> = Vec::new();
    for run in [empty, none, torn] {
        all.extend(ON.iter().map(|words| of(words, run)));
        all.push(vec!["ssh", run, "db"]);
        let plan = ["run", "plan.yaml", "--inventory", "desk.yaml", "--yes"];
        all.push([&plan[..], &["--adopt", run]].concat());
    }
    for words in all {
        let output = folder.command(&["--json"]).args(&words).output().unwrap();
        let said = said(output, &words, 6);
        for wanted in ["the run never began", "nothing was begun", "dr-plan run"] {
            assert!(said.contains(wanted), "{words:?}\n{said}");
        }
        assert!(!said.contains("resume"), "{words:?}\n{said}");
    }
}

#[test]
fn a_damaged_journal_is_named_wherever_it_is_read_and_nobody_is_told_to_resume() {
    let folder = Folder::new();
    let mut run = folder.run();
    signal(&run, Signal::INT);
    assert_eq!(ended(&mut run, &folder), Some(5), "{}", folder.err());
    folder.says(&["status"], 5);
    let runs = folder.0.path().join("state/dr-plan/runs");
    let journal = runs.join(run_id(&runs)).join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let last = text.trim_end().rfind('\n').unwrap() + 20;
    let mut bytes = text.into_bytes();
    bytes[last] ^= 1;
    std::fs::write(&journal, bytes).unwrap();

    for words in [&["status"][..], &["report"]] {
        let said = folder.says(words, 5);
        assert!(said.contains("damaged"), "{words:?}\n{said}");
        assert!(!said.contains("dr-plan resume"), "{words:?}\n{said}");
        assert!(!said.contains("can be resumed"), "{words:?}\n{said}");
    }
    for words in [&["status", "--json"][..], &["report", "--format", "json"]] {
        let output = folder.command(words).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let damaged = told["damaged"].as_str();
        assert!(damaged.is_some_and(|why| why.contains("line")), "{told:#}");
        let next = told["next"].to_string();
        assert!(!next.contains("resume"), "{next}");
    }
    for words in [&["report", "--format", "html"][..], &["report"], &["runs"]] {
        let output = folder.command(words).output().unwrap();
        let page = String::from_utf8(output.stdout).unwrap();
        assert!(page.contains("damaged"), "{words:?}\n{page}");
    }
    for words in &ON[..6] {
        if words[0] != "logs" {
            let said = folder.says(&of(words, "last"), 6);
            assert!(said.contains("changed the past"), "{words:?}\n{said}");
        }
    }
}

#[test]
fn a_run_of_a_later_version_is_not_called_damaged() {
    let folder = Folder::new();
    let run = "01jd5xq3w8k2m9x7q4r6t8v0aa";
    let runs = folder.0.path().join("state/dr-plan/runs");
    std::fs::create_dir_all(runs.join(run)).unwrap();
    let line = r#"{"seq":1,"when":"?","what":{"event":"header","format":9,"shape":"unheard of"}}"#;
    std::fs::write(runs.join(run).join("journal.jsonl"), format!("{line}\n")).unwrap();
    for words in ON {
        let said = folder.says(&of(words, run), 6);
        assert!(said.contains("format 9"), "{words:?}\n{said}");
        assert!(said.contains("use that version"), "{words:?}\n{said}");
        for wrong in ["changed the past", "damaged", "resume`", "dr-plan run"] {
            assert!(!said.contains(wrong), "{words:?}\n{said}");
        }
    }
    let said = folder.says(&["runs"], 0);
    assert!(
        said.contains("format 9") && !said.contains("damaged"),
        "{said}"
    );
}
