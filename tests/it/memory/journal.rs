//! The file of records: what a crash may do to it, and what nobody may.

use std::fs;
use std::path::{Path, PathBuf};

use dr_plan::event::{Event, What};
use dr_plan::ids::RunId;
use dr_plan::journal::folder::FolderError;
use dr_plan::journal::{Follower, Journal, JournalError, RecordError, RunFolder, read_all};
use dr_plan::secret::{Mask, Secret};
use dr_plan::state::RunState;

use super::night;

pub fn folder(state: &Path) -> RunFolder {
    RunFolder::create(state, &night::run(), Vec::new())
        .unwrap()
        .0
}

/// A written journal and its events.
fn written(state: &Path) -> (PathBuf, Vec<Event>) {
    let folder = folder(state);
    let mut journal = folder.create_journal().unwrap();
    let events = night::with_a_yes().events;
    for some in events.chunks(3) {
        journal.append(some).unwrap();
        journal.sync().unwrap();
    }
    (folder.journal_path(), events)
}

#[test]
fn a_journal_reads_back_as_it_was_written() {
    let state = tempfile::tempdir().unwrap();
    let (path, events) = written(state.path());
    let reading = read_all(&path).unwrap();
    assert_eq!(reading.events, events);
    assert_eq!(reading.good, fs::metadata(&path).unwrap().len());
    assert!(reading.torn.is_empty());
    assert_eq!(reading.head.seq, events.len() as u64);
}

#[test]
fn a_line_can_be_checked_with_sed_and_sha256sum() {
    let state = tempfile::tempdir().unwrap();
    let (path, _) = written(state.path());
    let script = r#"sed -n 2p "$1" | tr -d '\n' | sed 's/,"hash":"[0-9a-f]*"}$/}/' | sha256sum | cut -d' ' -f1"#;
    let out = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&path)
        .output()
        .unwrap();
    let hash = String::from_utf8(out.stdout).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().nth(1).unwrap().contains(hash.trim()), "{hash}");
    assert!(text.lines().nth(2).unwrap().contains(hash.trim()), "{hash}");
}

/// Short enough to try each byte: a header and four records.
fn short(state: &Path) -> (PathBuf, Vec<Event>, Vec<u8>) {
    let mut night = night::Night::default();
    let step = night::step("a", "a", dr_plan::kind::Effect::Write, &[]);
    night.says(0, What::Header(Box::new(night::header(vec![step]))));
    night.says(1, night::intent("a"));
    let note = serde_json::json!("naïve \n \" line");
    night.says(
        1,
        What::Note {
            step: night::id("a"),
            key: "old".into(),
            value: note,
        },
    );
    night.says(2, night::done("a", &[("ssh", "answers")]));
    night.ends(3);
    let folder = folder(state);
    folder
        .create_journal()
        .unwrap()
        .append(&night.events)
        .unwrap();
    let path = folder.journal_path();
    let whole = fs::read(&path).unwrap();
    (path, night.events, whole)
}

#[test]
fn a_journal_cut_at_any_byte_is_read_up_to_its_last_whole_record() {
    let state = tempfile::tempdir().unwrap();
    let (path, events, whole) = short(state.path());
    let ends: Vec<usize> = (0..whole.len())
        .filter(|at| whole[*at] == b'\n')
        .map(|at| at + 1)
        .collect();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let reading = read_all(&path).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(reading.events, events[..kept], "cut at {cut}");
        assert_eq!(reading.good as usize + reading.torn.len(), cut);
        // And whoever goes on with it goes on from there.
        if kept > 0 && cut % 53 == 0 {
            let (mut journal, reading) =
                dr_plan::journal::FileJournal::open(&path, &night::run()).unwrap();
            RunState::replay(&reading.events).unwrap();
            journal.append(&events[kept..=kept]).unwrap();
            journal.sync().unwrap();
            drop(journal);
            assert_eq!(read_all(&path).unwrap().events, events[..=kept]);
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_is_refused_with_its_line() {
    let state = tempfile::tempdir().unwrap();
    let (path, events, whole) = short(state.path());
    for at in 0..whole.len() - 1 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs::write(&path, &bytes).unwrap();
        let line = 1 + whole[..at].iter().filter(|b| **b == b'\n').count() as u64;
        match read_all(&path) {
            Err(JournalError::Bad { line: told, .. }) => assert_eq!(told, line, "flipped at {at}"),
            other => panic!("flipped at {at}: {:?}", other.map(|r| r.events.len())),
        }
    }
    // Without its line break the last record was never acknowledged.
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(read_all(&path).unwrap().events.len(), events.len() - 1);
}

#[test]
fn a_record_removed_doubled_or_moved_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let (path, _) = written(state.path());
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut removed = lines.clone();
    removed.remove(5);
    let mut doubled = lines.clone();
    doubled.insert(5, lines[5]);
    let mut moved = lines.clone();
    moved.swap(5, 6);
    let beheaded = lines[1..].to_vec();
    for wrong in [removed, doubled, moved, beheaded] {
        fs::write(&path, wrong.join("\n") + "\n").unwrap();
        assert!(matches!(
            read_all(&path),
            Err(JournalError::Bad {
                what: RecordError::Chain,
                ..
            })
        ));
    }
}

#[test]
fn a_newer_format_is_refused_before_anything_of_it_is_understood() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let line = r#"{"seq":1,"when":"?","what":{"event":"header","format":9,"shape":"unheard of"}}"#;
    fs::write(folder.journal_path(), format!("{line}\n")).unwrap();
    let error = folder.read().unwrap_err();
    assert!(matches!(
        error,
        JournalError::Bad {
            line: 1,
            what: RecordError::Newer { found: 9 },
            ..
        }
    ));
    assert!(error.to_string().contains("format 9"), "{error}");
}

#[test]
fn a_journal_has_one_writer_and_any_number_of_readers() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let mut journal = folder.create_journal().unwrap();
    journal.append(&night::with_a_yes().events[..2]).unwrap();
    assert!(folder.is_live().unwrap());
    assert!(matches!(
        folder.open_journal(),
        Err(JournalError::Busy { .. })
    ));
    assert_eq!(folder.read().unwrap().events.len(), 2);
    drop(journal);
    assert!(!folder.is_live().unwrap());
    assert!(folder.open_journal().is_ok());
}

#[test]
fn a_follower_sees_whole_records_only_and_goes_on_where_it_stood() {
    let state = tempfile::tempdir().unwrap();
    let (path, events) = written(state.path());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, b"").unwrap();
    let mut follower = Follower::open(&path, 4).unwrap();
    let mut seen = Vec::new();
    // The writer is seen after every few bytes.
    for end in (0..whole.len()).step_by(97).chain([whole.len()]) {
        fs::write(&path, &whole[..end]).unwrap();
        seen.extend(follower.poll().unwrap());
    }
    assert_eq!(seen, events[3..]);
    fs::write(&path, &whole[..100]).unwrap();
    assert!(matches!(follower.poll(), Err(JournalError::CutBack { .. })));
}

#[test]
fn the_runs_own_copies_are_private_and_a_change_is_seen() {
    use std::os::unix::fs::PermissionsExt;
    let state = tempfile::tempdir().unwrap();
    let state = state.path().join("deep/er");
    let files = vec![
        ("plans/a.yaml".to_string(), b"version: 1\n".to_vec()),
        (
            "providers/hetzner.yaml".to_string(),
            b"kind: hetzner\n".to_vec(),
        ),
    ];
    let (folder, hashes) = RunFolder::create(&state, &night::run(), files).unwrap();
    assert_eq!(hashes[0].path, "files/plans/a.yaml");
    assert_eq!(hashes[0].sha256, sha256sum(b"version: 1\n"));
    assert_eq!(folder.file(&hashes[1]).unwrap(), b"kind: hetzner\n");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700);
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&folder.path().join("files/plans/a.yaml")), 0o600);
    fs::write(folder.path().join("files/plans/a.yaml"), "version: 2\n").unwrap();
    assert!(matches!(
        folder.file(&hashes[0]),
        Err(FolderError::Changed(_))
    ));
    // The same run cannot be made twice.
    assert!(RunFolder::create(&state, &night::run(), Vec::new()).is_err());
}

fn sha256sum(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let out = child.wait_with_output().unwrap();
    String::from_utf8(out.stdout).unwrap()[..64].to_string()
}

#[test]
fn a_copy_cannot_leave_the_folder() {
    for bad in ["../x", "/etc/x", "a/../../x", "", "./x"] {
        let state = tempfile::tempdir().unwrap();
        let files = vec![(bad.to_string(), Vec::new())];
        let error = RunFolder::create(state.path(), &night::run(), files).unwrap_err();
        assert!(matches!(error, FolderError::Path(_)), "{bad}: {error}");
    }
}

#[test]
fn runs_are_listed_newest_first_and_found_by_either_end_of_their_names() {
    let state = tempfile::tempdir().unwrap();
    let ids: Vec<RunId> = [
        "01aaaa00000000000000000abc",
        "01bbbb00000000000000000abd",
        "01bbbb00000000000000000xyz",
    ]
    .iter()
    .map(|text| RunId::parse(text).unwrap())
    .collect();
    assert!(RunFolder::list(state.path()).unwrap().is_empty());
    for run in &ids {
        RunFolder::create(state.path(), run, Vec::new()).unwrap();
    }
    // One began, one is damaged, one never got so far.
    let open = |at: usize| RunFolder::open(state.path(), &ids[at]).unwrap();
    open(0)
        .create_journal()
        .unwrap()
        .append(&night::with_a_yes().events[..1])
        .unwrap();
    fs::write(open(1).journal_path(), "{\"seq\":7}\n").unwrap();
    let list = RunFolder::list(state.path()).unwrap();
    let names: Vec<&str> = list
        .iter()
        .map(|found| found.folder.run().as_str())
        .collect();
    assert_eq!(names, [ids[2].as_str(), ids[1].as_str(), ids[0].as_str()]);
    assert!(matches!(list[0].header, Ok(None)));
    assert!(list[1].header.is_err());
    assert_eq!(
        list[2].header.as_ref().unwrap().as_ref().unwrap().1.plan,
        "region-failover"
    );

    let find = |name: &str| RunFolder::find(state.path(), name).map(|f| f.run().to_string());
    // The newest never got so far as to be a run.
    assert_eq!(find("last").unwrap(), ids[1].as_str());
    assert_eq!(find("01a").unwrap(), ids[0].as_str());
    assert_eq!(find("abd").unwrap(), ids[1].as_str());
    assert_eq!(
        find(&ids[0].short().to_uppercase()).unwrap(),
        ids[0].as_str()
    );
    assert!(matches!(find("01bb"), Err(FolderError::Several { .. })));
    assert!(matches!(find(""), Err(FolderError::NoSuchRun { .. })));
    assert!(matches!(find("nope"), Err(FolderError::NoSuchRun { .. })));
}

#[test]
fn a_journal_never_begun_is_told_apart_from_a_damaged_one() {
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    drop(folder.create_journal().unwrap());
    assert!(folder.read().unwrap().events.is_empty());
    assert!(RunState::replay(&[]).is_err());
}

#[test]
fn captured_output_is_masked_even_where_a_write_cuts_the_secret() {
    use std::io::Write;
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    let mask = Mask::default();
    mask.learn(&Secret::new("canary-0123456789".into()));
    let step = night::id("restore-db");
    let mut output = folder.capture(&step, mask.clone()).unwrap();
    output.write_all(b"password canary-01").unwrap();
    output.write_all(b"23456789 was refused\nlast ").unwrap();
    output.write_all(b"canary-0123456789").unwrap();
    output.finish().unwrap();
    // A line without end, many times longer than what is held back, cut at every alignment.
    for _ in 0..20_000 {
        output.write_all(b"canary-0123456789 ").unwrap();
    }
    drop(output);
    let text = fs::read_to_string(folder.output_path(&step)).unwrap();
    assert!(text.starts_with("password [secret] was refused\nlast [secret]"));
    assert!(!text.contains("canary-"));
    assert_eq!(text.matches("[secret]").count(), 20_002);
}

#[test]
fn an_event_of_every_kind_reads_back() {
    // The night speaks most words; these are the rest.
    let mut night = night::until_the_question();
    night.says(
        150,
        What::Note {
            step: night::id("dns"),
            key: "old".into(),
            value: serde_json::json!({"a": [1, null, "x\ny\u{2028}"]}),
        },
    );
    night.says(
        151,
        night::failed("dns", dr_plan::kind::Reason::Verify, "no\nlines"),
    );
    night.says(
        152,
        What::Resumed {
            by: "ada".into(),
            version: "0.1.0".into(),
        },
    );
    night.says(153, night::skip("dns"));
    night.says(154, What::Unhealthy { why: "red".into() });
    night.says(
        155,
        What::Stopped {
            why: "signal".into(),
            hint: None,
        },
    );
    let state = tempfile::tempdir().unwrap();
    let folder = folder(state.path());
    folder
        .create_journal()
        .unwrap()
        .append(&night.events)
        .unwrap();
    assert_eq!(folder.read().unwrap().events, night.events);
}
