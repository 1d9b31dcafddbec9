//! DNS questions: to one server, so that a change can be seen where it happens, without a cache in between; and to
//! the resolver of this machine, as its other programs ask.

pub mod overlay;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// What a server said. That a name does not exist is an answer, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The values of the type that was asked for, sorted; host names without their final dot.
    pub values: Vec<String>,
    /// Seconds: the smallest TTL on the way to the values; without values how long their absence may be
    /// remembered, if the server tells (RFC 2308).
    pub ttl: Option<u32>,
    /// The response code.
    pub code: Code,
    /// The server speaks for the zone, not from a cache.
    pub authoritative: bool,
}

/// The response code of an answer (RFC 1035, 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The question was answered, perhaps with nothing.
    NoError,
    /// The name does not exist.
    NxDomain,
    /// The server could not find out.
    ServFail,
    /// The server does not answer this question, or not to us: it does not serve the zone.
    Refused,
    /// Another one.
    Other(u16),
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Code::NoError => f.write_str("NOERROR"),
            Code::NxDomain => f.write_str("NXDOMAIN"),
            Code::ServFail => f.write_str("SERVFAIL"),
            Code::Refused => f.write_str("REFUSED"),
            Code::Other(code) => write!(f, "response code {code}"),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not a name that DNS can hold.
    #[error("`{0}` is not a DNS name")]
    Name(String),
    /// Not a type.
    #[error("`{0}` is not a DNS record type")]
    Kind(String),
    /// Silence.
    #[error("asking {server} for {question}: no answer within {}", crate::units::duration(*.within))]
    Timeout {
        /// Who was asked.
        server: String,
        /// For what.
        question: String,
        /// How long.
        within: Duration,
    },
    /// The network said no.
    #[error("asking {server} for {question}: {source}")]
    Network {
        /// Who was asked.
        server: String,
        /// For what.
        question: String,
        /// What it said.
        source: std::io::Error,
    },
    /// The system's resolver configuration cannot be read.
    #[error("reading the resolver configuration of this machine: {0}")]
    System(String),
}

/// Asks one server, over UDP and, when the answer is cut there, over TCP. `recurse` asks a resolver to find the answer out; a
/// zone's own server is asked without it.
///
/// # Errors
/// Silence until the deadline, or a network that refuses.
pub async fn ask(
    server: SocketAddr,
    name: &str,
    kind: &str,
    recurse: bool,
    within: Duration,
) -> Result<Answer, ResolveError> {
    let wire_name = absolute(name)?;
    let kind = kind.to_ascii_uppercase();
    let wire_kind: RecordType = kind.parse().map_err(|_| ResolveError::Kind(kind.clone()))?;
    let question = Question {
        name: wire_name,
        kind: wire_kind,
        recurse,
    };
    let words = format!("{kind} of `{}`", plain_name(name));
    match tokio::time::timeout(within, question.put_to(server)).await {
        Ok(Ok(message)) => Ok(read(&message, wire_kind, &kind)),
        Ok(Err(source)) => Err(ResolveError::Network {
            server: server.to_string(),
            question: words,
            source,
        }),
        Err(_) => Err(ResolveError::Timeout {
            server: server.to_string(),
            question: words,
            within,
        }),
    }
}

/// The addresses of a name as any program of this machine gets them: hosts file, caches and all.
///
/// # Errors
/// A name without addresses, or silence until the deadline.
pub async fn resolve(name: &str, within: Duration) -> Result<Vec<IpAddr>, ResolveError> {
    let question = format!("the addresses of `{}`", plain_name(name));
    let server = || "this machine's resolver".to_string();
    match tokio::time::timeout(within, tokio::net::lookup_host((plain_name(name), 0))).await {
        Ok(Ok(found)) => {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            addresses.sort();
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Err(source)) => Err(ResolveError::Network {
            server: server(),
            question,
            source,
        }),
        Err(_) => Err(ResolveError::Timeout {
            server: server(),
            question,
            within,
        }),
    }
}

/// The resolvers that this machine is configured to ask (`/etc/resolv.conf`).
///
/// # Errors
/// A configuration that cannot be read.
pub fn system_servers() -> Result<Vec<SocketAddr>, ResolveError> {
    let (config, _) = hickory_resolver::system_conf::read_system_conf()
        .map_err(|error| ResolveError::System(error.to_string()))?;
    let mut servers = Vec::new();
    for server in config.name_servers() {
        let port = server.connections.first().map_or(53, |c| c.port);
        let address = SocketAddr::new(server.ip, port);
        if !servers.contains(&address) {
            servers.push(address);
        }
    }
    Ok(servers)
}

/// A name without its final dot, in lower case.
pub fn plain_name(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// One spelling for a record's value: addresses in their shortest form, host names in lower case without the final dot.
/// Other values stay as they are.
pub fn plain_value(kind: &str, value: &str) -> String {
    match kind.to_ascii_uppercase().as_str() {
        "A" | "AAAA" => value
            .trim()
            .parse::<IpAddr>()
            .map_or_else(|_| value.trim().to_string(), |address| address.to_string()),
        "CNAME" | "NS" | "PTR" | "DNAME" | "MX" | "SRV" => plain_name(value.trim()),
        _ => value.trim().to_string(),
    }
}

struct Question {
    name: Name,
    kind: RecordType,
    recurse: bool,
}

impl Question {
    async fn put_to(&self, server: SocketAddr) -> std::io::Result<Message> {
        let answer = self.over_udp(server).await?;
        if answer.metadata.truncation {
            return self.over_tcp(server).await;
        }
        Ok(answer)
    }

    /// A fresh question with an id and a source port that nobody can guess.
    fn message(&self) -> std::io::Result<(Message, Vec<u8>)> {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Query;
        message.metadata.recursion_desired = self.recurse;
        message.add_query(Query::query(self.name.clone(), self.kind));
        let mut edns = Edns::new();
        // What passes every path unfragmented (the DNS flag day of 2020).
        edns.set_max_payload(1232);
        message.set_edns(edns);
        let bytes = message.to_vec().map_err(std::io::Error::other)?;
        Ok((message, bytes))
    }

    async fn over_udp(&self, server: SocketAddr) -> std::io::Result<Message> {
        let any: SocketAddr = if server.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(any).await?;
        // A connected socket hears nobody else, and hears of a closed port.
        socket.connect(server).await?;
        let mut buffer = vec![0; 4096];
        let mut pause = Duration::from_millis(500);
        loop {
            let (asked, bytes) = self.message()?;
            socket.send(&bytes).await?;
            let heard = async {
                loop {
                    let length = socket.recv(&mut buffer).await?;
                    if let Some(answer) = self.accept(&asked, &buffer[..length]) {
                        return std::io::Result::Ok(answer);
                    }
                }
            };
            // UDP loses packets; the caller's deadline ends the asking.
            match tokio::time::timeout(pause, heard).await {
                Ok(answer) => return answer,
                Err(_) => pause = (pause * 2).min(Duration::from_secs(2)),
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr) -> std::io::Result<Message> {
        let mut stream = TcpStream::connect(server).await?;
        let (asked, bytes) = self.message()?;
        let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&bytes).await?;
        let length = stream.read_u16().await?;
        let mut buffer = vec![0; usize::from(length)];
        stream.read_exact(&mut buffer).await?;
        self.accept(&asked, &buffer)
            .ok_or_else(|| std::io::Error::other("an answer to another question"))
    }

    /// An answer to this question, and to nothing else.
    fn accept(&self, asked: &Message, bytes: &[u8]) -> Option<Message> {
        let answer = Message::from_vec(bytes).ok()?;
        let mine = answer.metadata.id == asked.metadata.id
            && answer.metadata.message_type == MessageType::Response
            && match answer.queries.first() {
                Some(query) => query.name == self.name && query.query_type == self.kind,
                // Servers may leave the question out of an error.
                None => answer.metadata.response_code != ResponseCode::NoError,
            };
        mine.then_some(answer)
    }
}

fn read(message: &Message, wire_kind: RecordType, kind: &str) -> Answer {
    let mut values: Vec<String> = message
        .answers
        .iter()
        .filter(|record| record.record_type() == wire_kind)
        .map(|record| plain_value(kind, &words(&record.data)))
        .collect();
    values.sort();
    values.dedup();
    let absence = || {
        message
            .authorities
            .iter()
            .find_map(|record| match &record.data {
                RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
                _ => None,
            })
    };
    Answer {
        ttl: if values.is_empty() {
            absence()
        } else {
            message.answers.iter().map(|record| record.ttl).min()
        },
        values,
        code: match message.metadata.response_code {
            ResponseCode::NoError => Code::NoError,
            ResponseCode::NXDomain => Code::NxDomain,
            ResponseCode::ServFail => Code::ServFail,
            ResponseCode::Refused => Code::Refused,
            other => Code::Other(other.into()),
        },
        authoritative: message.metadata.authoritative,
    }
}

/// A value as zone files write it (RFC 1035, 5.1): texts stand in quotes.
fn words(data: &RData) -> String {
    let RData::TXT(text) = data else {
        return data.to_string();
    };
    let quoted = text.txt_data.iter().map(|part| {
        let part = String::from_utf8_lossy(part);
        format!("\"{}\"", part.replace('\\', r"\\").replace('"', "\\\""))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// With its final dot a name is never completed by a search domain.
fn absolute(name: &str) -> Result<Name, ResolveError> {
    let wrong = || ResolveError::Name(name.to_string());
    let plain = plain_name(name);
    if plain.is_empty() {
        return Err(wrong());
    }
    Name::from_ascii(format!("{plain}.")).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_names_and_addresses() {
        assert_eq!(plain_name("WWW.Shop.Example."), "www.shop.example");
        assert_eq!(plain_value("AAAA", "2001:DB8:0:0::1"), "2001:db8::1");
        assert_eq!(
            plain_value("cname", "Web.Shop.Example."),
            "web.shop.example"
        );
        assert_eq!(plain_value("TXT", "\"Keep. This.\""), "\"Keep. This.\"");
    }

    #[tokio::test]
    async fn what_is_no_name_or_type_is_said_before_anything_is_sent() {
        let nobody = "127.0.0.1:1".parse().unwrap();
        let soon = Duration::from_secs(1);
        for bad in ["", ".", &"a".repeat(70)] {
            let error = ask(nobody, bad, "A", false, soon).await.unwrap_err();
            assert!(matches!(error, ResolveError::Name(_)), "{error}");
        }
        let error = ask(nobody, "a.example", "LETTER", false, soon)
            .await
            .unwrap_err();
        assert!(matches!(error, ResolveError::Kind(_)), "{error}");
    }

    #[tokio::test]
    async fn a_closed_port_is_told_from_silence() {
        // A socket that is bound and never read: silence.
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let within = Duration::from_millis(300);
        let error = ask(
            silent.local_addr().unwrap(),
            "a.example",
            "A",
            false,
            within,
        )
        .await;
        assert!(
            matches!(error, Err(ResolveError::Timeout { .. })),
            "{error:?}"
        );
        let closed = silent.local_addr().unwrap();
        drop(silent);
        let error = ask(closed, "a.example", "A", false, Duration::from_secs(5)).await;
        assert!(
            matches!(error, Err(ResolveError::Network { .. })),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn this_machine_knows_itself() {
        let found = resolve("localhost.", Duration::from_secs(5)).await.unwrap();
        assert!(
            found.iter().all(IpAddr::is_loopback) && !found.is_empty(),
            "{found:?}"
        );
    }
}
