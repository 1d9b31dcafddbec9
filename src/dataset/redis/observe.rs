//! Reads from the server and from its folder how far a restore got, and whose the data is.

use std::collections::HashMap;
use std::time::Duration;

use super::Restoration;
use crate::dataset::Stand;
use crate::kind::{Failure, Reason};

const OBSERVE: &str = include_str!("observe.sh");
const ASK_WITHIN: Duration = Duration::from_secs(60);

impl Restoration {
    /// Looks at jobs, at the server and at its folder.
    pub async fn observe(&self) -> Result<Stand, Failure> {
        let parts = ["stage", "ask", "swap", "back", "drop", "release"];
        if let Some(part) = self.jobs.running(&parts).await? {
            return Ok(Stand::Running { part });
        }
        let answer = self
            .transport()
            .leashed(&self.script(OBSERVE), ASK_WITHIN)
            .await?;
        if !answer.ok() {
            return Err(Failure::new(
                Reason::ExitCode,
                format!(
                    "looking at Redis on `{}`: {}",
                    self.transport().host(),
                    answer.said()
                ),
            ));
        }
        let lines = answer.stdout.lines().map(|line| {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            (name.to_string(), value.to_string())
        });
        Ok(self.read(&lines.collect()))
    }

    fn read(&self, seen: &HashMap<String, String>) -> Stand {
        let value = |name: &str| seen.get(name).map_or("", String::as_str);
        let host = self.transport().host();
        let (ours, mark) = (self.jobs.ours(), self.jobs.mark());
        let down = value("server").strip_prefix("down");
        let (work, live) = (value("work"), value("live"));
        if work == format!("{mark} state=closing") {
            return Stand::Closing;
        }
        if live == format!("{mark} state=live") {
            return match down {
                None => Stand::Live,
                Some(why) => Stand::CannotTell {
                    why: format!(
                        "the Redis server on `{host}` was restored and does not answer:{why}"
                    ),
                },
            };
        }
        if let Some(why) = down {
            return Stand::CannotTell {
                why: format!("the Redis server on `{host}` does not answer:{why}"),
            };
        }
        if value("role") != "master" {
            return Stand::Foreign {
                what: format!("the Redis server on `{host}` is a replica"),
            };
        }
        if value("keys") != "0" && !self.spec.replace {
            let whose = match live {
                "" => "no mark of this run".to_string(),
                mark => format!("its mark: {mark}"),
            };
            return Stand::Foreign {
                what: format!(
                    "the Redis server on `{host}` ({}) holds {} key(s) in {}, {} client(s) are connected; {whose}",
                    self.client.place(),
                    value("keys"),
                    value("dir"),
                    value("clients"),
                ),
            };
        }
        match (seen.contains_key("work"), work) {
            (false, _) => Stand::Absent,
            (true, work) if work == format!("{mark} state=ready") => Stand::Ready,
            // Without a mark: made a moment before a crash; its name holds this run's id.
            (true, work) if work.is_empty() || work.starts_with(&ours) => Stand::Staging,
            (true, work) => Stand::Foreign {
                what: format!("what is staged on `{host}` was not made by this step: {work}"),
            },
        }
    }
}
