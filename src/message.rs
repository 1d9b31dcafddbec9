//! Messages to people, by the services that reach them. At least once: a message may come twice, never not at all
//! without an error. Addresses are secrets: whoever knows a webhook may write to it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kind::{Failure, Reason, chain};
use crate::secret::Secret;

/// How long a service may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Telegram takes 4096 characters (<https://core.telegram.org/bots/api#sendmessage>), Slack some more.
const LONGEST: usize = 4000;
/// Where bots of Telegram live.
pub const TELEGRAM: &str = "https://api.telegram.org";

/// A way to people with its secrets in hand.
pub enum Way {
    /// A POST of a JSON object: `text`, `run`, `plan`, `mode`, `step`.
    Webhook(Secret),
    /// An incoming webhook of Slack.
    Slack(Secret),
    /// A bot of Telegram.
    Telegram {
        /// The address of the API, without a final `/`.
        api: String,
        /// The bot's token.
        token: Secret,
        /// The chat that it writes to: a number, or `@name`.
        chat: String,
    },
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The words.
    pub text: String,
    /// The run.
    pub run: String,
    /// Its plan.
    pub plan: String,
    /// Its mode: `failover`, `drill`.
    pub mode: String,
    /// The step that speaks, if one does.
    pub step: Option<String>,
}

/// Sends it once; the service's own word that it has it comes back.
pub async fn send(http: &reqwest::Client, way: &Way, message: &Message) -> Result<String, Failure> {
    let text = shortened(&message.text);
    let (address, body) = match way {
        Way::Webhook(address) => {
            let mut body = json!({
                "text": message.text, "run": message.run, "plan": message.plan, "mode": message.mode,
            });
            if let Some(step) = &message.step {
                body["step"] = json!(step);
            }
            (address.expose().to_string(), body)
        }
        Way::Slack(address) => (
            address.expose().to_string(),
            json!({ "text": slack_text(&text) }),
        ),
        Way::Telegram { api, token, chat } => (
            format!("{api}/bot{}/sendMessage", token.expose()),
            json!({ "chat_id": chat, "text": text }),
        ),
    };
    let sent = http
        .post(&address)
        .timeout(PATIENCE)
        .json(&body)
        .send()
        .await;
    // The address must not be quoted in an error.
    let answer =
        sent.map_err(|error| Failure::new(Reason::Unreachable, chain(&error.without_url())))?;
    let status = answer.status();
    let said = answer.text().await.unwrap_or_default();
    let taken = status.is_success()
        && match way {
            Way::Webhook(_) => true,
            Way::Slack(_) => said.trim() == "ok",
            Way::Telegram { .. } => answered(&said)["ok"] == Value::Bool(true),
        };
    if taken {
        return Ok(status.as_u16().to_string());
    }
    Err(refused(way, status.as_u16(), &said))
}

fn answered(said: &str) -> Value {
    serde_json::from_str(said).unwrap_or_default()
}

fn refused(way: &Way, status: u16, said: &str) -> Failure {
    let (service, why) = match way {
        Way::Webhook(_) => ("the webhook", String::new()),
        // One word, such as `channel_is_archived` (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
        Way::Slack(_) => ("Slack", first_words(said)),
        Way::Telegram { .. } => (
            "Telegram",
            first_words(answered(said)["description"].as_str().unwrap_or_default()),
        ),
    };
    let reason = match status {
        429 => Reason::RateLimited,
        500..=599 => Reason::Unreachable,
        _ => Reason::Refused,
    };
    let mut failure = Failure::new(reason, format!("{service} answered {status}{why}"));
    if let Some(seconds) = answered(said)["parameters"]["retry_after"].as_u64() {
        failure.retry_after = Some(Duration::from_secs(seconds.min(60)));
    }
    failure
}

fn first_words(said: &str) -> String {
    match said.trim() {
        "" => String::new(),
        said => format!(": {}", said.chars().take(200).collect::<String>()),
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_string();
    }
    let start: String = text.chars().take(LONGEST - 1).collect();
    format!("{start}…")
}

/// Slack reads three characters as its own (<https://docs.slack.dev/messaging/formatting-message-text#escaping>).
fn slack_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_becomes_a_mention_and_a_long_one_is_cut() {
        assert_eq!(slack_text("<!here> a & b"), "&lt;!here&gt; a &amp; b");
        let long = "ü".repeat(LONGEST + 7);
        assert_eq!(shortened(&long).chars().count(), LONGEST);
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn a_refusal_says_who_and_why_and_never_the_address() {
        let slack = Way::Slack(Secret::new("https://hooks.example/T0/B0/secret".into()));
        let failure = refused(&slack, 410, "channel_is_archived");
        assert_eq!(failure.message, "Slack answered 410: channel_is_archived");
        assert_eq!(failure.reason, Reason::Refused);
        let telegram = Way::Telegram {
            api: TELEGRAM.into(),
            token: Secret::new("1:secret".into()),
            chat: "7".into(),
        };
        let said = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 9","parameters":{"retry_after":9}}"#;
        let failure = refused(&telegram, 429, said);
        assert_eq!(failure.reason, Reason::RateLimited);
        assert_eq!(failure.retry_after, Some(Duration::from_secs(9)));
        assert!(
            failure.message.contains("retry after 9"),
            "{}",
            failure.message
        );
    }
}
