//! Searches folders for values that must not be there, as they are and as base64, in which
//! configuration and messages like to travel.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What must not be found: what it is called, and the value.
pub type Canaries = BTreeMap<String, String>;

/// Files below the folders that hold a canary, as `CANARY in FILE`. `command` is a `grep` in the place where
/// the folders lie, its arguments are added here. The canaries travel on standard input.
pub fn search(
    canaries: &Canaries,
    folders: &[String],
    command: impl Fn(&[&str]) -> Command,
) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in canaries {
        assert!(
            value.len() >= 15,
            "`{name}` is too short to be searched for"
        );
        let mut words = vec![
            "grep",
            "-rlaF",
            "-D",
            "skip",
            "--exclude-dir=sandbox",
            "-f",
            "-",
            "--",
        ];
        words.extend(folders.iter().map(String::as_str));
        let mut child = command(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let patterns = forms(value).join("\n") + "\n";
        child
            .stdin
            .take()
            .unwrap()
            .write_all(patterns.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        // 1: nothing was found. 2 may also mean that a file vanished while it was read.
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.lines()
                .all(|line| line.ends_with("No such file or directory")
                    || line.ends_with("No such device or address")
                    // What others keep in the machine's shared memory is theirs.
                    || (line.contains("/dev/shm/") && line.ends_with("Permission denied"))),
            "{said}"
        );
        let files = String::from_utf8_lossy(&output.stdout);
        found.extend(files.lines().map(|file| format!("{name} in {file}")));
    }
    found.sort();
    found
}

/// The value, and its base64 at each of the three places where it can begin in a longer text.
pub fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend(value.as_bytes());
        let text = base64(&bytes);
        // Letters at both ends are shared with what stands around the value.
        forms.push(text[before + 1..text.len() - 4].to_owned());
    }
    forms
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let at = |index: usize| u32::from(part.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for letter in 0..4 {
            let letter_at = (bits >> (18 - 6 * letter) & 63) as usize;
            text.push(if letter <= part.len() {
                char::from(LETTERS[letter_at])
            } else {
                '='
            });
        }
    }
    text
}

#[test]
fn base64_is_that_of_the_standard() {
    // RFC 4648, section 10.
    for (plain, encoded) in [
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(plain.as_bytes()), encoded);
    }
    let value = "correct-horse-battery";
    for before in ["", "x", "xy", "xyz"] {
        let hidden = base64(format!("{before}{value} and more").as_bytes());
        assert!(
            forms(value).iter().any(|form| hidden.contains(form)),
            "{before}"
        );
    }
}
