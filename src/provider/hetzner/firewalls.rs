//! Firewalls of a project. Ours carry a label with their name, and stay from run to run.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Hetzner, map, wire};
use crate::http::Call;
use crate::http::hetzner::{check_label, passing};
use crate::kind::Reason;
use crate::provider::ProviderError;
use crate::provider::firewall::{Direction, Firewall, Firewalls, Rule};
use crate::provider::wait::Pace;

const MARK: &str = "dr-plan/firewall";

fn rules(rules: &[Rule]) -> Value {
    let one = |rule: &Rule| {
        let inward = rule.direction == Direction::In;
        let none: &[String] = &[];
        let mut shown = json!({
            "direction": if inward { "in" } else { "out" },
            "protocol": rule.protocol,
            "source_ips": if inward { &rule.networks[..] } else { none },
            "destination_ips": if inward { none } else { &rule.networks[..] },
        });
        if let Some(port) = &rule.port {
            shown["port"] = json!(port);
        }
        shown
    };
    rules.iter().map(one).collect()
}

#[async_trait]
impl Firewalls for Hetzner {
    async fn named(&self, name: &str) -> Result<Vec<Firewall>, ProviderError> {
        let doing = format!("looking for firewall `{name}`");
        check_label(name).map_err(|why| self.refused(&doing, Reason::Refused, why))?;
        let all = Call::get(&["firewalls"]);
        let marked = all
            .clone()
            .query("label_selector", format!("{MARK}={name}"));
        let mut found: Vec<wire::Firewall> = Vec::new();
        for call in [marked, all.query("name", name)] {
            let part = self
                .client
                .list::<wire::Firewall>(&doing, call, "firewalls");
            for one in part.await? {
                if found.iter().all(|other| other.id != one.id) {
                    found.push(one);
                }
            }
        }
        // A filter that a service ignores would hand us strangers.
        found.retain(|one| {
            one.name == name || one.labels.get(MARK).is_some_and(|mark| mark == name)
        });
        let read = |one: wire::Firewall| {
            let ours = one.labels.get(MARK).is_some_and(|mark| mark == name);
            map::firewall(one, ours)
        };
        Ok(found.into_iter().map(read).collect())
    }

    async fn create(&self, name: &str, wanted: &[Rule]) -> Result<Firewall, ProviderError> {
        let doing = format!("creating firewall `{name}`");
        check_label(name).map_err(|why| self.refused(&doing, Reason::Refused, why))?;
        let mut labels = self.labels.clone();
        labels.insert(MARK.to_string(), name.to_string());
        let call = Call::post(&["firewalls"]).body(json!({
            "name": name,
            "labels": labels,
            "rules": rules(wanted),
        }));
        let answer = self.client.send(&doing, &call).await?;
        let reply: wire::FirewallReply = self.client.read(&doing, &answer)?;
        let mut pace = Pace::new(self.patience);
        let begun: Vec<i64> = reply.actions.iter().map(|action| action.id).collect();
        self.client.wait_for(&doing, &begun, &mut pace).await?;
        Ok(map::firewall(reply.firewall, true))
    }

    async fn set_rules(&self, id: &str, wanted: &[Rule]) -> Result<(), ProviderError> {
        let body = json!({ "rules": rules(wanted) });
        self.change(id, "set_rules", body, |now| now.rules == wanted)
            .await
    }

    async fn apply(&self, id: &str, servers: &[String], on: bool) -> Result<(), ProviderError> {
        let doing = format!("applying firewall {id}");
        let mut resources = Vec::new();
        for server in servers {
            let server = self.client.id(&doing, server)?;
            resources.push(json!({ "type": "server", "server": { "id": server } }));
        }
        let (verb, key) = if on {
            ("apply_to_resources", "apply_to")
        } else {
            ("remove_from_resources", "remove_from")
        };
        let so = |now: &Firewall| {
            servers
                .iter()
                .all(|server| now.servers.contains(server) == on)
        };
        self.change(id, verb, json!({ key: resources }), so).await
    }

    async fn delete(&self, id: &str) -> Result<(), ProviderError> {
        let doing = format!("deleting firewall {id}");
        let number = self.client.id(&doing, id)?.to_string();
        let mut pace = Pace::new(self.patience);
        loop {
            // It is in use until the last removal has come through.
            let trouble = match self.client.delete(&doing, &["firewalls", &number]).await {
                Ok(None) => return Ok(()),
                Ok(Some(_)) => self.refused(&doing, Reason::Timeout, "it is still there"),
                Err(error) if passing(&error) => error,
                Err(error) => return Err(error),
            };
            if !pace.pause().await {
                return Err(trouble);
            }
        }
    }
}

impl Hetzner {
    /// Asks for a change, waits for its actions, and looks whether it is so. Each of them said twice is the same.
    async fn change(
        &self,
        id: &str,
        verb: &str,
        body: Value,
        so: impl Fn(&Firewall) -> bool + Send + Sync,
    ) -> Result<(), ProviderError> {
        let doing = format!("{} of firewall {id}", verb.replace('_', " "));
        let number = self.client.id(&doing, id)?.to_string();
        let mut pace = Pace::new(self.patience);
        let mut trouble = None;
        loop {
            let call = Call::get(&["firewalls", &number]);
            match self
                .client
                .look::<wire::Firewall>(&doing, &call, "firewall")
                .await
            {
                Ok(None) => {
                    return Err(self.refused(
                        &doing,
                        Reason::NotFound,
                        "there is no such firewall",
                    ));
                }
                Ok(Some(now)) => {
                    if so(&map::firewall(now, true)) {
                        return Ok(());
                    }
                    let call =
                        Call::post(&["firewalls", &number, "actions", verb]).body(body.clone());
                    match self.client.begin(&doing, &call).await {
                        Ok(begun) => {
                            self.client
                                .wait_for(&doing, &begun.ids(), &mut pace)
                                .await?;
                        }
                        Err(error) if passing(&error) => trouble = Some(error),
                        Err(error) => return Err(error),
                    }
                }
                Err(error) if passing(&error) => trouble = Some(error),
                Err(error) => return Err(error),
            }
            if !pace.pause().await {
                return Err(trouble.unwrap_or_else(|| {
                    let words = "the provider took it, and does not show it";
                    self.refused(&doing, Reason::Timeout, words)
                }));
            }
        }
    }
}
