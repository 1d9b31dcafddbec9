//! `systemctl` and the other words of an init, inside a machine: a thin client that hands the
//! question to PID 1 and prints its answer.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

use super::places;

/// Names under which a machine finds this binary; each is dispatched on argv[0].
pub const WORDS: &[&str] = &[
    "systemctl",
    "cloud-init",
    "reboot",
    "poweroff",
    "halt",
    "shutdown",
];

/// A question to PID 1: the words after `systemctl`, options taken apart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Question {
    pub verb: String,
    #[serde(default)]
    pub units: Vec<String>,
    #[serde(default)]
    pub now: bool,
    #[serde(default)]
    pub quiet: bool,
    #[serde(default)]
    pub value: bool,
    #[serde(default)]
    pub properties: Vec<String>,
}

/// What to print and the exit status (systemctl(1), EXIT STATUS).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Answer {
    pub code: u8,
    #[serde(default)]
    pub out: String,
    #[serde(default)]
    pub error: String,
}

/// Asks PID 1 of this machine and waits for the answer, as long as the job takes.
pub fn ask(question: &Question) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(places::INIT_SOCKET)?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// `systemctl ...`
pub fn main(arguments: &[String]) -> ExitCode {
    match read(arguments) {
        Ok(question) => print(&question),
        Err(why) => {
            eprintln!("systemctl: {why}");
            ExitCode::from(1)
        }
    }
}

/// `reboot`, `poweroff`, `halt`, `shutdown [-r|-h|-P] ...`: at once, whatever time is given.
pub fn power(word: &str, arguments: &[String]) -> ExitCode {
    let verb = if word == "reboot"
        || word == "shutdown"
            && arguments
                .iter()
                .any(|word| word == "-r" || word == "--reboot")
    {
        "reboot"
    } else {
        "poweroff"
    };
    print(&Question {
        verb: verb.to_owned(),
        ..Question::default()
    })
}

fn print(question: &Question) -> ExitCode {
    match ask(question) {
        Ok(answer) => {
            print!("{}", answer.out);
            eprint!("{}", answer.error);
            ExitCode::from(answer.code)
        }
        Err(error) => {
            eprintln!("systemctl: asking init on {}: {error}", places::INIT_SOCKET);
            ExitCode::from(1)
        }
    }
}

fn read(arguments: &[String]) -> Result<Question, String> {
    let mut question = Question::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--now" => question.now = true,
            "-q" | "--quiet" => question.quiet = true,
            "--value" => question.value = true,
            "-p" | "--property" => question.properties.extend(
                words
                    .next()
                    .map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>())
                    .ok_or("-p needs a name")?,
            ),
            list if list.starts_with("--property=") => question
                .properties
                .extend(list["--property=".len()..].split(',').map(str::to_owned)),
            short if short.starts_with("-p") && short.len() > 2 => question
                .properties
                .extend(short[2..].split(',').map(str::to_owned)),
            "--no-pager" | "--no-ask-password" | "--system" | "-l" | "--full" | "--no-legend"
            | "--plain" | "--no-reload" | "-f" | "--force" | "--all" | "-a" => {}
            "-n" | "--lines" => {
                words.next();
            }
            option
                if option.starts_with("--lines=")
                    || option.starts_with("--job-mode=")
                    || option.starts_with("--no-wall") => {}
            option if option.starts_with('-') => {
                return Err(format!("the option `{option}` is not known in the sandbox"));
            }
            verb if question.verb.is_empty() => question.verb = verb.to_owned(),
            unit => question.units.push(unit.to_owned()),
        }
    }
    if question.verb.is_empty() {
        question.verb = "list-units".to_owned();
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_anywhere() {
        let words = [
            "--quiet",
            "show",
            "-p",
            "ActiveState,MainPID",
            "nginx",
            "--value",
        ]
        .map(str::to_owned);
        let question = read(&words).unwrap();
        assert!(question.quiet && question.value);
        assert_eq!(
            (question.verb.as_str(), question.units.as_slice()),
            ("show", ["nginx".to_owned()].as_slice())
        );
        assert_eq!(question.properties, ["ActiveState", "MainPID"]);
        assert!(read(&["--frobnicate".to_owned()]).is_err());
    }
}
