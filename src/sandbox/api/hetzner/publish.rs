//! What changes of zones do: the name servers learn of them, and the action ends when they have.

use super::Hetzner;
use super::gate::Effects;
use super::records::Set;
use crate::sandbox::api::faults::When;

/// What has changed in the cloud's records.
#[derive(Clone, Debug)]
pub enum Change {
    /// A zone was made, with these sets.
    Zone,
    /// A zone of that name is gone.
    Gone(String),
    /// One set, by relative name and type, with what it was before.
    Set(String, String, Option<Set>),
    /// Nothing that is served.
    Nothing,
}

impl Hetzner {
    /// Tells the name servers, and ends the action. A change that fails is taken back.
    pub(super) fn publish(&self, action: i64, zone: i64, change: Change, effects: Effects) {
        let api = self.clone();
        tokio::spawn(async move {
            let result = async {
                api.strike(action, When::Before, &effects.0).await?;
                // One after the other: what is served last is what stands last.
                let turn = api.0.turn.lock().await;
                let told = api.tell(zone, &change).await;
                drop(turn);
                told.map_err(|why| ("server_error".to_owned(), why))?;
                api.strike(action, When::After, &effects.0).await
            };
            let result = result.await;
            if result.is_err()
                && let Change::Set(name, kind, before) = change
                && let Some(zone) = api.cloud().zones.get_mut(&zone)
            {
                match before {
                    Some(set) => zone.sets.insert((name, kind), set),
                    None => zone.sets.remove(&(name, kind)),
                };
            }
            api.end(action, result);
        });
    }

    async fn tell(&self, zone: i64, change: &Change) -> Result<(), String> {
        let Some(names) = self.0.names.get() else {
            return Ok(());
        };
        let known = self.cloud().zones.get(&zone).cloned();
        if let Change::Gone(name) = change {
            return names.drop_zone(name).await;
        }
        let Some(zone) = known.filter(|zone| !zone.secondary) else {
            return Ok(());
        };
        let keys: Vec<(String, String)> = match change {
            Change::Zone => {
                names.add_zone(&zone.name).await?;
                zone.sets.keys().cloned().collect()
            }
            Change::Set(name, kind, _) => vec![(name.clone(), kind.clone())],
            Change::Gone(_) | Change::Nothing => Vec::new(),
        };
        for (name, kind) in keys.iter().filter(|(_, kind)| kind != "SOA") {
            let set = zone.sets.get(&(name.clone(), kind.clone()));
            let whole = match name.as_str() {
                "@" => zone.name.clone(),
                name => format!("{name}.{}", zone.name),
            };
            let ttl = set.and_then(|set| set.ttl).unwrap_or(zone.ttl);
            let records = set.iter().flat_map(|set| &set.records);
            let values: Vec<String> = records.map(|(value, _)| value.clone()).collect();
            names.set(&zone.name, &whole, kind, ttl, &values).await?;
        }
        Ok(())
    }
}
