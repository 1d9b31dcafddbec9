//! The last screen before anything is touched: what is there to come back from, what will happen, what it costs, how long
//! it takes, and what speaks against it. A real estate is named by hand.

use std::io::IsTerminal;

use super::failure::{CliError, FAILED, USAGE};
use super::say;
use crate::clock::Timestamp;
use crate::engine::{Foreseen, Preview, Readiness, Stand, Would};
use crate::kind::Effect;
use crate::program::Program;
use crate::units::duration;

/// Nobody looks for minutes at what nobody is there to answer.
pub fn somebody_is_there() -> Result<(), CliError> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(
        CliError::new(USAGE, "nobody is there to say that it may start")
            .hint("--yes answers this question, and only this one"),
    )
}

/// Shows the screen and waits for the word.
pub fn ask(
    program: &Program,
    found: &Preview,
    backups: &[Readiness],
    lost_at: Option<Timestamp>,
) -> Result<(), CliError> {
    say(&screen(program, found, backups, lost_at));
    let estate = &program.inventory().name;
    let sandbox = program.inventory().sandbox.is_some();
    agreed(if sandbox { "yes" } else { estate.as_str() })
}

fn screen(
    program: &Program,
    found: &Preview,
    backups: &[Readiness],
    lost_at: Option<Timestamp>,
) -> String {
    let lost_at = match lost_at {
        Some(at) => format!(
            "{}, {}",
            at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            crate::units::beside(at, found.made)
        ),
        None => "now, for nobody said when (--lost-at): RTO and RPO are counted from here".into(),
    };
    let mut screen = format!(
        "\nestate   {}\nplan     {}\nlost at  {lost_at}\n",
        found.estate, found.plan
    );
    let lost = program.plan().assumes_lost.iter();
    let lost: Vec<&str> = lost.map(|(place, _)| place.as_str()).collect();
    if !lost.is_empty() {
        screen.push_str(&format!("lost     {}\n", lost.join(", ")));
    }
    screen.push_str(&come_back_from(backups));
    for (effect, words) in [
        (Effect::Destroy, "will be destroyed"),
        (Effect::Create, "will be created"),
        (Effect::Write, "will be changed"),
        (Effect::Traffic, "will move users"),
        (Effect::Tell, "will be told"),
    ] {
        let steps = found.steps.iter();
        let steps: Vec<String> = steps
            .filter(|step| step.bound.effect == effect)
            .filter(|step| !matches!(step.would, Would::LeftOut | Would::Nothing))
            .map(|step| line(step.bound.id.as_str(), &deed(step)))
            .collect();
        if !steps.is_empty() {
            screen.push_str(&format!("{words}\n{}", steps.concat()));
        }
    }
    for sum in &found.monthly {
        screen.push_str(&format!(
            "cost     {:.2} a month more at {} (net, in the account's currency)\n",
            sum.monthly, sum.account
        ));
    }
    let time = std::time::Duration::try_from_secs_f64(found.predicted_seconds).unwrap_or_default();
    screen.push_str(&format!(
        "time     about {}, without what people need\n",
        duration(time)
    ));
    let against: Vec<String> = found
        .against()
        .map(|step| line(step.bound.id.as_str(), &step.what))
        .collect();
    if !against.is_empty() {
        screen.push_str(&format!("IT WOULD NOT GO THROUGH\n{}", against.concat()));
    }
    let unseen: Vec<String> = found
        .unseen()
        .map(|(step, why)| line(step.bound.id.as_str(), why))
        .collect();
    if !unseen.is_empty() {
        screen.push_str(&format!("COULD NOT BE LOOKED AT\n{}", unseen.concat()));
    }
    screen
}

/// What a step does; of what it creates, that and the price.
fn deed(step: &Foreseen) -> String {
    let costs: Vec<String> = step
        .costs
        .iter()
        .map(|cost| match cost.monthly {
            Some(monthly) => format!("{}, {monthly:.2} a month", cost.what),
            None => format!("{}, at a price that is not known", cost.what),
        })
        .collect();
    match costs.is_empty() {
        true => step.bound.title.clone(),
        false => costs.join("; "),
    }
}

/// Each dataset with the backup that a restore would take, or why there is none; doubts below it.
fn come_back_from(backups: &[Readiness]) -> String {
    let mut text = String::new();
    for dataset in backups {
        // The first thing that is known of it is which backup it is.
        let (named, doubts): (Vec<_>, Vec<_>) = dataset
            .findings
            .iter()
            .filter(|finding| finding.warning || finding.what.contains(" (taken "))
            .partition(|finding| !finding.warning);
        let mut words: Vec<String> = named.iter().map(|one| one.what.clone()).take(1).collect();
        words.extend(doubts.iter().map(|one| match dataset.stand {
            Stand::Missing => format!("NOTHING: {}", one.what),
            _ => format!("look at this: {}", one.what),
        }));
        for (at, words) in words.iter().enumerate() {
            text.push_str(&line(if at == 0 { &dataset.name } else { "" }, words));
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("backups\n{text}"),
    }
}

fn line(name: &str, words: &str) -> String {
    format!("    {name:<18} {words}\n")
}

/// A person at this terminal types the word that makes it start.
pub fn agreed(wanted: &str) -> Result<(), CliError> {
    somebody_is_there()?;
    // What was typed while the look took its time is no answer to the question.
    let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
    say(&format!("\ntype `{wanted}` to start: "));
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| CliError::new(USAGE, format!("reading the answer: {error}")))?;
    if line.trim() == wanted {
        Ok(())
    } else {
        Err(CliError::new(FAILED, "not started; nothing was touched"))
    }
}
