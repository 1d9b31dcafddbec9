//! Leashed questions to a Redis server on its host. Commands and the password travel on standard input, never as an argument.

use std::sync::Arc;
use std::time::Duration;

use super::PREPARE;
use crate::dataset::Question;
use crate::kind::{Failure, Reason};
use crate::secret::Secret;
use crate::transport::{Script, Transport};

/// Where and how a server is spoken to on its host.
#[derive(Clone)]
pub struct Site {
    /// The unit that runs it.
    pub service: String,
    /// Where it listens.
    pub address: String,
    /// The port.
    pub port: u16,
    /// A unix socket instead of address and port.
    pub socket: Option<String>,
    /// The user of its access control list; `None` is `default`.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            service: "redis-server".into(),
            address: "127.0.0.1".into(),
            port: 6379,
            socket: None,
            user: None,
            password: None,
        }
    }
}

/// Commands that only read. A check must not be able to change what it looks at.
pub const READING: &[&str] = &[
    "bitcount",
    "dbsize",
    "exists",
    "expiretime",
    "get",
    "getbit",
    "getrange",
    "hexists",
    "hget",
    "hlen",
    "hstrlen",
    "lindex",
    "llen",
    "lpos",
    "object",
    "pttl",
    "scard",
    "sismember",
    "strlen",
    "ttl",
    "type",
    "xlen",
    "zcard",
    "zcount",
    "zrange",
    "zrank",
    "zrevrange",
    "zscore",
];

/// Does a command only read? It is one line.
pub fn is_reading(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    !command.trim().contains(['\n', '\r']) && READING.contains(&first.to_ascii_lowercase().as_str())
}

/// Keys of all databases, as a question.
pub(super) const ALL_KEYS: &str = "keys of all databases";

const VALUE: &str = r#"
if dr_answer=$(printf 'SELECT %s\n%s\n' "$DR_DATABASE" "$DR_QUESTION" | dr_redis --no-raw); then
  printf '%s\n' "$dr_answer"
else
  printf '%s\n' "$dr_answer" >&2
  exit 7
fi
"#;

/// The first question is about the server: one that is still loading answers nothing else.
const ALL: &str = r#"
dr_server || { printf '%s\n' "$dr_why" >&2; exit 7; }
printf '%s\n' "$(dr_field loading) $(dr_field aof_enabled) $(dr_field role) $dr_keys"
"#;

const ASK_WITHIN: Duration = Duration::from_secs(60);

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// It has loaded its data.
    pub loaded: bool,
    /// It keeps an append-only file.
    pub append_only: bool,
    /// It is no replica.
    pub master: bool,
    /// Keys of all databases.
    pub keys: u64,
}

/// Asks one server.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    site: Site,
}

impl Client {
    /// A client; nothing is asked yet.
    pub fn new(transport: Arc<dyn Transport>, site: Site) -> Self {
        Self { transport, site }
    }

    pub(super) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// `127.0.0.1:6379` or the socket.
    pub fn place(&self) -> String {
        match &self.site.socket {
            Some(socket) => socket.clone(),
            None => format!("{}:{}", self.site.address, self.site.port),
        }
    }

    /// A script with everything that speaking needs. It runs as root: the service is stopped and started by it.
    pub(super) fn script(&self, text: &str) -> Script {
        let site = &self.site;
        let script = Script::new(text)
            .ours()
            .value("SERVICE", &site.service)
            .value("ADDRESS", &site.address)
            .value("PORT", site.port.to_string())
            .value("SOCKET", site.socket.clone().unwrap_or_default())
            .value("USER", site.user.clone().unwrap_or_default())
            .run_as(Some("root"));
        match &site.password {
            Some(password) => script.secret("PASSWORD", password.clone()),
            None => script,
        }
    }

    pub(super) fn question(&self, text: &str) -> Script {
        // Nothing of a run's: these only read.
        self.script(&format!("{}\n{PREPARE}\n{text}", crate::codec::PRELUDE))
            .value("RUN", "none")
            .value("SHORT", "none")
            .value("STEP", "none")
            .value("FOLDER", "/nonexistent")
    }

    async fn ask(&self, script: &Script, what: &str) -> Result<String, Failure> {
        let answer = self.transport.leashed(script, ASK_WITHIN).await?;
        if answer.ok() {
            return Ok(answer.stdout);
        }
        let (host, said) = (self.transport.host(), answer.said());
        let denied = ["NOAUTH", "WRONGPASS", "NOPERM"];
        let reason = match answer.status {
            7 if denied.iter().any(|word| said.contains(word)) => Reason::Denied,
            7 => Reason::Unreachable,
            _ => Reason::ExitCode,
        };
        let words = format!(
            "asking Redis at {} on `{host}` for {what}: {said}",
            self.place()
        );
        Err(Failure::new(reason, words))
    }

    /// What the server says of itself.
    pub async fn health(&self) -> Result<Health, Failure> {
        let said = self.ask(&self.question(ALL), "its state").await?;
        let words: Vec<&str> = said.split_whitespace().collect();
        let [loading, append_only, role, keys] = words[..] else {
            return Err(Failure::new(
                Reason::Other,
                format!("`{said}` is not what Redis says of itself"),
            ));
        };
        Ok(Health {
            loaded: loading == "0",
            append_only: append_only == "1",
            master: role == "master",
            keys: keys.parse().unwrap_or(0),
        })
    }

    /// The value that a reading command gives.
    pub async fn value(&self, question: &Question) -> Result<Option<String>, Failure> {
        if question.words == ALL_KEYS {
            return Ok(Some(self.health().await?.keys.to_string()));
        }
        if !is_reading(&question.words) {
            return Err(not_reading(&question.words));
        }
        let script = self
            .question(VALUE)
            .value("DATABASE", question.database.to_string())
            .value("QUESTION", question.words.trim());
        let said = self
            .ask(&script, &format!("`{}`", question.words.trim()))
            .await?;
        // The answer to SELECT comes first.
        let (first, rest) = said.split_once('\n').unwrap_or((&said, ""));
        if first.trim() != "OK" {
            return Err(wrong(&question.words, first));
        }
        read_answer(rest).map_err(|why| wrong(&question.words, &why))
    }
}

pub(super) fn not_reading(command: &str) -> Failure {
    Failure::new(
        Reason::Refused,
        format!("`{command}` is none of the commands that only read"),
    )
}

pub(super) fn wrong(command: &str, why: &str) -> Failure {
    Failure::new(
        Reason::Verify,
        format!("Redis answers `{}` with: {why}", command.trim()),
    )
}

/// One value as redis-cli writes it for people (`--no-raw`): the only form that tells an empty text from none.
pub(super) fn read_answer(text: &str) -> Result<Option<String>, String> {
    let text = text.trim_end_matches('\n');
    if let Some(error) = text.strip_prefix("(error) ") {
        return Err(error.to_string());
    }
    if text == "(nil)" || text == "(empty array)" {
        return Ok(None);
    }
    if let Some(number) = text.strip_prefix("(integer) ") {
        return Ok(Some(number.to_string()));
    }
    if let Some(number) = text.strip_prefix("(double) ") {
        return Ok(Some(number.to_string()));
    }
    if let Some(first) = text.strip_prefix("1) ") {
        if text.contains('\n') {
            return Err("several values, where one was expected".into());
        }
        return read_answer(first);
    }
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(quoted) => Ok(Some(unescaped(quoted))),
        None => Ok(Some(text.to_string())),
    }
}

/// The escapes of redis-cli (`sdscatrepr`); bytes that are no UTF-8 become the replacement character.
fn unescaped(text: &str) -> String {
    let mut out: Vec<u8> = Vec::new();
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'a') => out.push(7),
            Some(b'b') => out.push(8),
            Some(b'x') => {
                let mut digit = || bytes.next().and_then(|d| char::from(d).to_digit(16));
                if let (Some(high), Some(low)) = (digit(), digit()) {
                    out.push((high * 16 + low) as u8);
                }
            }
            Some(other) => out.push(other),
            None => out.push(b'\\'),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_redis_cli_writes_it() {
        let cases: &[(&str, Result<Option<&str>, ()>)] = &[
            (
                "\"a \\\"b\\\" \\\\ \\xc3\\xbc\\n\"",
                Ok(Some("a \"b\" \\ ü\n")),
            ),
            ("\"\"", Ok(Some(""))),
            ("(nil)", Ok(None)),
            ("(integer) 12\n", Ok(Some("12"))),
            ("1) \"one\"\n", Ok(Some("one"))),
            ("1) \"one\"\n2) \"two\"", Err(())),
            ("(empty array)", Ok(None)),
            ("(error) WRONGTYPE Operation", Err(())),
            ("string", Ok(Some("string"))),
        ];
        for (text, wanted) in cases {
            let seen = read_answer(text).map_err(|_| ());
            assert_eq!(
                seen.as_ref().map(|v| v.as_deref()),
                wanted.as_ref().map(|v| *v),
                "{text}"
            );
        }
    }

    #[test]
    fn only_commands_that_read_are_asked() {
        for good in ["GET a", "  zrange z -1 -1 ", "dbsize"] {
            assert!(is_reading(good), "{good}");
        }
        for bad in [
            "set a 1",
            "get a\nflushall",
            "",
            "eval x",
            "config get dir",
            "keys *",
        ] {
            assert!(!is_reading(bad), "{bad}");
        }
    }
}
