//! Questions of a run, put to the person at the terminal. Whoever answers elsewhere first is first: the question here ends.

use std::io::Write;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::here::person;
use crate::engine::{Answer, Desk, Standing};

/// Puts one question after the other, as long as the run lasts.
pub async fn ask_at_terminal(desk: Arc<Desk>) {
    let mut standing = desk.standing();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let question = standing.borrow_and_update().first().cloned();
        let Some(question) = question else {
            if standing.changed().await.is_err() {
                return;
            }
            continue;
        };
        show(&question);
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => {
                        let Some((yes, because)) = read(&line) else {
                            say("please type `yes` or `no`, with a reason after it if you like: ");
                            continue;
                        };
                        let answer = Answer { yes, by: person(), because, how: "terminal".into() };
                        desk.answer(&question.step, Some(&question.ask.name), answer);
                        break;
                    }
                    // No terminal any more: `dr-plan approve` can still answer.
                    _ => return,
                },
                changed = standing.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if !standing.borrow().contains(&question) {
                        say("(answered elsewhere)\n");
                        break;
                    }
                }
            }
        }
    }
}

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

/// `yes`, `no`, and the reason after it. Nothing else: a single key pressed in one's sleep is not an approval.
fn read(line: &str) -> Option<(bool, Option<String>)> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let because = (!rest.trim().is_empty()).then(|| rest.trim().to_string());
    match word
        .trim_end_matches([',', ':'])
        .to_ascii_lowercase()
        .as_str()
    {
        "yes" => Some((true, because)),
        "no" => Some((false, because)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn only_whole_words_answer_and_a_reason_may_follow() {
        assert_eq!(read("yes"), Some((true, None)));
        assert_eq!(
            read(" no, the old one is back "),
            Some((false, Some("the old one is back".into())))
        );
        for nothing in ["", "y", "n", "ja", "yesterday"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
