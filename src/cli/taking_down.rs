//! The end of a drill: everything that it made is deleted, each thing proved gone. Also after a failure; also when the process before this one died on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::failure::CliError;
use super::here::person;
use super::say;
use crate::action::{Person, Services};
use crate::engine::{Stop, UndoEnding, Undoing, Wish, way_back};
use crate::event::{Back, What};
use crate::journal::Ledger;
use crate::program::Work;
use crate::report::Report;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// There was nothing, or all of it is gone.
    Gone,
    /// The drill said that it stays.
    Kept,
    /// Something is still there.
    Left,
}

/// Deletes. `stop`: Ctrl-C twice leaves it for later.
pub async fn take_down(
    work: &Arc<dyn Work>,
    ledger: &Ledger,
    services: &Arc<Services>,
    person_asked: &Arc<dyn Person>,
    stop: &Stop,
) -> Result<Down, CliError> {
    let (keep, expires, short, steps) = ledger.state(|state| {
        let drill = state.header.drill.clone();
        (
            drill.as_ref().is_some_and(|drill| drill.keep),
            drill.map(|drill| drill.expires),
            state.header.run.short().to_string(),
            way_back(&**work, state, None),
        )
    });
    if steps.is_empty() {
        return Ok(Down::Gone);
    }
    if keep {
        let until = expires.map_or(String::new(), |at| {
            at.strftime(" until %Y-%m-%d %H:%M:%S UTC").to_string()
        });
        let reached = ledger.state(|state| Report::new(state).drill.map(|drill| drill.reached()));
        for line in reached.into_iter().flatten() {
            say(&format!("egress: {line}\n"));
        }
        say(&format!(
            "\nkept{until}, as you said: dr-plan ssh {short} HOST looks around\n hint: dr-plan undo {short} takes it down; so does `dr-plan reap` after that time\n"
        ));
        return Ok(Down::Kept);
    }
    let begun = Back::Begun {
        by: person(),
        version: env!("CARGO_PKG_VERSION").into(),
        steps: steps.iter().map(|step| step.step.clone()).collect(),
    };
    ledger.record(What::Back(begun)).await?;
    // The wish to stop the drill was heard already: it is why this begins now. Only the stronger one ends this as well.
    let (handle, own) = Stop::new();
    let mut leave = stop.clone();
    let watch = tokio::spawn(async move {
        while leave.now() != Wish::Leave {
            leave.changed().await;
        }
        handle.wish(Wish::Leave);
        // The handle lives as long as somebody listens.
        std::future::pending::<()>().await;
    });
    let undoing = Undoing {
        work: work.clone(),
        ledger: ledger.clone(),
        services: services.clone(),
        person: person_asked.clone(),
        stop: own,
        leave: BTreeMap::new(),
        ungated: true,
        regardless: true,
    };
    let ending = undoing.carry_out(steps).await;
    watch.abort();
    Ok(match ending? {
        UndoEnding::Ended { .. } => Down::Gone,
        UndoEnding::Failed | UndoEnding::Stopped => {
            say(&format!(
                "\nnot everything that the drill made is gone\n hint: dr-plan resume {short}, or from any machine: dr-plan reap --run {short}\n"
            ));
            Down::Left
        }
    })
}
