//! What a run tells people without being asked to by a step: that it waits for them, has stopped, has ended. Channels of
//! the inventory say with `when:` what they want to hear. A message that is not taken is a word on the terminal and
//! stops nothing.

use std::io::Write;
use std::sync::Arc;

use tokio::sync::watch;

use crate::action::Services;
use crate::engine::Standing;
use crate::event::RunResult;
use crate::inventory::Moment;
use crate::journal::Ledger;
use crate::message::{self, Message};
use crate::state::RunState;

/// Tells of each question once, when it comes to wait. Ends with the run.
pub async fn questions(
    services: Arc<Services>,
    ledger: Ledger,
    mut standing: watch::Receiver<Vec<Standing>>,
) {
    let mut told: Vec<Standing> = Vec::new();
    loop {
        let now = standing.borrow_and_update().clone();
        for question in now.iter().filter(|question| !told.contains(question)) {
            let text = ledger.state(|state| question_text(state, question));
            all(&services, &ledger, Moment::Waits, &text).await;
        }
        told = now;
        if standing.changed().await.is_err() {
            return;
        }
    }
}

/// Tells how it ended, or why it stopped.
pub async fn the_end(services: &Services, ledger: &Ledger) {
    let (moment, text) = ledger.state(|state| match (&state.result, &state.stopped) {
        (Some((result, because)), _) => (Moment::Ends, end_text(state, *result, because)),
        (None, Some((why, hint))) => (Moment::Stops, stop_text(state, why, hint.as_deref())),
        // The journal is dead: what the terminal says is all that can be said.
        (None, None) => (Moment::Stops, format!("{}: stopped", head(state))),
    });
    all(services, ledger, moment, &text).await;
}

fn head(state: &RunState) -> String {
    let header = &state.header;
    // A rehearsal must never read like the real thing.
    let drill = match header.drill {
        Some(_) => "DRILL: ",
        None => "",
    };
    format!(
        "{drill}dr-plan: {} of {}, run {}",
        header.plan,
        header.estate,
        header.run.short()
    )
}

fn question_text(state: &RunState, question: &Standing) -> String {
    let mut lines = vec![
        format!("{} waits for a person", head(state)),
        question.ask.question.clone(),
    ];
    lines.extend(question.ask.details.iter().cloned());
    lines.push(format!(
        "dr-plan approve {} {} --as NAME [--no] [--because TEXT]",
        state.header.run.short(),
        question.step
    ));
    lines.join("\n")
}

fn stop_text(state: &RunState, why: &str, hint: Option<&str>) -> String {
    let mut lines = vec![format!("{} has stopped without a result", head(state))];
    lines.push(why.to_string());
    lines.extend(hint.map(str::to_string));
    lines.join("\n")
}

fn end_text(state: &RunState, result: RunResult, because: &[String]) -> String {
    let mut lines = vec![format!("{} has ended: {result}", head(state))];
    lines.extend(because.iter().cloned());
    lines.push(format!(
        "dr-plan report {} on {}",
        state.header.run.short(),
        state.header.by.split_once('@').map_or("", |(_, host)| host)
    ));
    lines.join("\n")
}

/// All channels side by side: one that does not answer keeps none of the others waiting.
async fn all(services: &Services, ledger: &Ledger, moment: Moment, text: &str) {
    let channels = services.inventory.notify.iter();
    let channels = channels.filter(|(_, channel)| channel.when.contains(&moment));
    futures::future::join_all(channels.map(|(name, _)| one(services, ledger, name, text))).await;
}

async fn one(services: &Services, ledger: &Ledger, name: &str, text: &str) {
    let message = ledger.state(|state| Message {
        text: services.mask.clean(text),
        run: state.header.run.to_string(),
        plan: state.header.plan.clone(),
        mode: state.header.mode.to_string(),
        step: None,
    });
    let sent = match services.channel(name).await {
        Ok(way) => message::send(&services.http, &way, &message).await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = sent {
        let words = services.mask.clean(&failure.message);
        let _ = writeln!(anstream::stderr(), "telling {name}: {words}");
    }
}
