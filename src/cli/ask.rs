//! Questions of a run, put to the person at the terminal. Whoever answers elsewhere first is first: the question here ends.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::getpgrp;
use rustix::termios::{QueueSelector, tcflush, tcgetpgrp};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::here::person;
use crate::engine::{Answer, Desk, Standing};

/// Puts one question after the other, as long as the run lasts.
pub async fn ask_at_terminal(desk: Arc<Desk>) {
    let mut standing = desk.standing();
    let mut lines = lines_typed();
    loop {
        let question = standing.borrow_and_update().first().cloned();
        let Some(question) = question else {
            if standing.changed().await.is_err() {
                return;
            }
            continue;
        };
        // What was typed before the question was there is no answer to it.
        forget_what_was_typed();
        while lines.try_recv().is_ok() {}
        show(&question);
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(line) => {
                        let Some(Typed { yes, by, because }) = read(&line) else {
                            say("please type `yes` or `no`, with a reason after it if you like: ");
                            continue;
                        };
                        let by = by.unwrap_or_else(person);
                        if !question.ask.may_be_answered_by(&by) {
                            let names = question.ask.by.join(", ");
                            say(&format!("this is not for {by} to answer, but for {names}; if that is you: yes as NAME: "));
                            continue;
                        }
                        let answer = Answer { yes, by, because, how: "terminal".into() };
                        let asked = &question.ask.name;
                        if !desk.answer(&question.step, Some(asked), answer).await {
                            say("(it asks no longer; nothing was recorded)\n");
                        }
                        break;
                    }
                    // No terminal any more: `dr-plan approve` can still answer.
                    None => return,
                },
                changed = standing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if !standing.borrow().contains(&question) {
                        say("(it is asked no longer)\n");
                        break;
                    }
                }
            }
        }
    }
}

/// What is typed, line by line. Read by a thread that nobody waits for: a read from a terminal ends with a line and with nothing
/// else, and the end of the run must not wait until somebody presses Enter.
fn lines_typed() -> UnboundedReceiver<String> {
    let (typed, lines) = unbounded_channel();
    std::thread::spawn(move || {
        not_stopped_by_the_terminal();
        while !typed.is_closed() {
            if !in_front() {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            if !something_is_typed() {
                continue;
            }
            let mut line = String::new();
            match std::io::stdin().read_line(&mut line) {
                // The terminal is gone, or somebody pressed Ctrl-D.
                Ok(0) => return,
                Ok(_) if typed.send(line).is_err() => return,
                Ok(_) => {}
                // EIO: what is typed is for somebody else.
                Err(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
    });
    lines
}

/// Takes away what was typed and not yet read.
fn forget_what_was_typed() {
    let flush = || {
        not_stopped_by_the_terminal();
        if in_front() {
            let _ = tcflush(std::io::stdin(), QueueSelector::IFlush);
        }
    };
    let _ = std::thread::spawn(flush).join();
}

/// From here on this thread is refused (EIO) where it would be stopped: a shell that has put the run into the background (`dr-plan run
/// ... &`, Ctrl-Z and `bg`) keeps its terminal, and whoever reads it is stopped by SIGTTIN, and the recovery with it (termios(3)).
fn not_stopped_by_the_terminal() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTTIN);
    signals.add(Signal::SIGTTOU);
    let _ = signals.thread_block();
}

/// Whether the terminal listens to this process: its group is the one in the foreground. Also where nobody can tell, since the
/// terminal does not control this process, or its groups are of another PID namespace (the sandbox's worlds).
fn in_front() -> bool {
    tcgetpgrp(std::io::stdin()).map_or(true, |group| group == getpgrp())
}

/// Whether a read would not wait. Waits a moment for it.
fn something_is_typed() -> bool {
    let stdin = std::io::stdin();
    let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
    let wait = Timespec::try_from(LOOK_AGAIN).ok();
    poll(&mut asked, wait.as_ref()).is_ok_and(|ready| ready > 0)
}

const LOOK_AGAIN: Duration = Duration::from_millis(200);

fn show(question: &Standing) {
    let mut text = format!("\n? {} (step `{}`)\n", question.ask.question, question.step);
    for line in &question.ask.details {
        text.push_str(&format!("  {line}\n"));
    }
    if let Some(limit) = question.ask.timeout {
        text.push_str(&format!(
            "  no answer within {} is a no\n",
            crate::units::duration(limit)
        ));
    }
    text.push_str("  yes/no: ");
    say(&text);
}

fn say(text: &str) {
    let mut stderr = anstream::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// What was typed.
#[derive(Debug, PartialEq)]
struct Typed {
    yes: bool,
    by: Option<String>,
    because: Option<String>,
}

/// `yes`, `no`, and the reason after it; `yes as NAME` or `yes as NAME, reason` in another's name. Nothing else: a single
/// key pressed in one's sleep is not an approval.
fn read(line: &str) -> Option<Typed> {
    let some = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_string());
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let yes = match word
        .trim_end_matches([',', ':'])
        .to_ascii_lowercase()
        .as_str()
    {
        "yes" => true,
        "no" => false,
        _ => return None,
    };
    let (by, because) = match rest.trim().strip_prefix("as ") {
        Some(named) => {
            let (name, because) = named.split_once([',', ':']).unwrap_or((named, ""));
            (some(name), some(because))
        }
        None => (None, some(rest)),
    };
    Some(Typed { yes, by, because })
}

#[cfg(test)]
mod tests {
    use super::{Typed, read};

    #[test]
    fn only_whole_words_answer_and_a_name_and_a_reason_may_follow() {
        let typed = |yes, by: Option<&str>, because: Option<&str>| {
            let text = |text: Option<&str>| text.map(str::to_string);
            Some(Typed {
                yes,
                by: text(by),
                because: text(because),
            })
        };
        assert_eq!(read("yes"), typed(true, None, None));
        let no = read(" no, the old one is back ");
        assert_eq!(no, typed(false, None, Some("the old one is back")));
        assert_eq!(
            read("yes as Ada Example"),
            typed(true, Some("Ada Example"), None)
        );
        assert_eq!(read("yes as Ada, go"), typed(true, Some("Ada"), Some("go")));
        for nothing in ["", "y", "n", "ja", "yesterday"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
