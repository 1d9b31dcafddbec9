//! The last look at the servers of a drill: whether what leaves them is still closed, and what they kept from leaving. Without it
//! nobody could say that the drill stayed within itself.

use std::sync::Arc;
use std::time::Duration;

use crate::action::{Dropped, Services, dropped};
use crate::event::What;
use crate::ids::StepId;
use crate::journal::{JournalError, Ledger};
use crate::kind::Reason;
use crate::state::{RunState, StepState, is_deleted};

/// A server that does not answer within this time (it may be rebooting) is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// Asks every server that was closed and still stands. One that cannot answer any more says nothing, and that counts.
pub async fn look_at_egress(ledger: &Ledger, services: &Arc<Services>) -> Result<(), JournalError> {
    let closed = ledger.state(closed_servers);
    let asks = closed.into_iter().map(|(step, name, loaded)| async move {
        let answer = tokio::time::timeout(PATIENCE, ask(services, &name, loaded.as_deref()));
        Some((step, answer.await.ok()??))
    });
    for (step, found) in futures::future::join_all(asks).await.into_iter().flatten() {
        let what = What::Note {
            step,
            key: "dropped".into(),
            value: serde_json::to_value(found).unwrap_or_default(),
        };
        ledger.record(what).await?;
    }
    Ok(())
}

async fn ask(services: &Services, name: &str, loaded: Option<&str>) -> Option<Dropped> {
    let host = services.hosts.get(name).ok()?;
    loop {
        match dropped(&*host, loaded).await {
            Ok(found) => return Some(found),
            // It answers, and cannot say.
            Err(failure) if matches!(failure.reason, Reason::ExitCode | Reason::Verify) => {
                return None;
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The step that made each, its name, and what its rules were when they were loaded.
fn closed_servers(state: &RunState) -> Vec<(StepId, String, Option<String>)> {
    let stands = |step: &&StepState| {
        step.notes.contains_key("egress")
            && !state.back.steps.contains_key(&step.bound.id)
            && !is_deleted(state, step)
    };
    let steps = state.steps.iter().filter(stands);
    let all = steps.filter_map(|step| {
        let name = step.notes.get("host")?.get("name")?.as_str()?;
        let loaded = step
            .notes
            .get("egress_rules")
            .and_then(|text| text.as_str());
        Some((
            step.bound.id.clone(),
            name.to_string(),
            loaded.map(str::to_string),
        ))
    });
    all.collect()
}
