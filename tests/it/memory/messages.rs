//! The box in a run's folder: how `approve` and `mark` reach a run that another process does.

use std::fs;
use std::time::Duration;

use dr_plan::event::Mark;
use dr_plan::journal::{Message, Word};

use super::journal::folder;
use super::night::{at, id};

fn yes(by: &str) -> Message {
    Message {
        by: by.into(),
        at: at(1),
        step: id("go"),
        word: Word::Answer {
            name: None,
            yes: true,
            because: None,
        },
    }
}

#[test]
fn a_message_lies_in_the_box_until_it_is_settled() {
    let state = tempfile::tempdir().unwrap();
    let inbox = folder(state.path()).inbox();
    assert!(inbox.letters().unwrap().is_empty());
    let path = inbox.post(&yes("grace")).unwrap();
    let letters = inbox.letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message, Ok(yes("grace")));
    // A crash here repeats it.
    assert_eq!(inbox.letters().unwrap().len(), 1);
    for letter in letters {
        letter.settled().unwrap();
    }
    assert!(!path.exists());
    assert!(inbox.letters().unwrap().is_empty());
}

#[test]
fn what_cannot_be_read_is_given_out_as_such_and_half_written_files_are_not() {
    let state = tempfile::tempdir().unwrap();
    let inbox = folder(state.path()).inbox();
    fs::write(inbox.path().join("a.json"), "{\"by\":").unwrap();
    fs::write(inbox.path().join(".b.json.77.new"), "{").unwrap();
    let letters = inbox.letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].name(), "a.json");
    assert!(letters[0].message.is_err());
}

#[tokio::test]
async fn the_watch_gives_each_letter_out_once() {
    let state = tempfile::tempdir().unwrap();
    let inbox = folder(state.path()).inbox();
    let mut watch = inbox.watch(Duration::from_millis(1));
    let poster = inbox.clone();
    let post = tokio::spawn(async move {
        for n in 0..5 {
            poster.post(&yes(&format!("p{n}"))).unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let letters = tokio::time::timeout(Duration::from_secs(20), watch.next())
            .await
            .unwrap()
            .unwrap();
        seen.extend(letters.into_iter().map(|letter| letter.message.unwrap().by));
    }
    post.await.unwrap();
    seen.sort();
    assert_eq!(seen, ["p0", "p1", "p2", "p3", "p4"]);
}

#[test]
fn a_mark_reads_back() {
    let state = tempfile::tempdir().unwrap();
    let inbox = folder(state.path()).inbox();
    let mark = Message {
        word: Word::Mark {
            mark: Mark::Skip,
            because: "done by hand".into(),
        },
        ..yes("ada")
    };
    inbox.post(&mark).unwrap();
    assert_eq!(inbox.letters().unwrap()[0].message, Ok(mark));
}
