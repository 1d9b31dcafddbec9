//! An HTTP service that does what a test says, down to the bytes: no framework would let it answer half a body or none.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Value>,
    /// Requests that came before it on the same connection.
    pub earlier: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The decoded query.
    pub fn pairs(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .into_owned()
            .collect()
    }

    pub fn param(&self, name: &str) -> Option<String> {
        self.pairs()
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

/// What the service does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    Json(u16, Value),
    Text(u16, Vec<(&'static str, String)>, String),
    /// Takes the request and says nothing.
    Hang,
    /// Takes the request and hangs up.
    Close,
    /// Hangs up in the middle of the body.
    Cut(u16, String),
    /// A body without end.
    Endless(u16),
}

pub struct Service {
    pub base: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    pub async fn start(handler: impl FnMut(&Seen) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let list = seen.clone();
        let handler = Arc::new(Mutex::new(handler));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (list, handler) = (list.clone(), handler.clone());
                connections.spawn(async move {
                    let _ = serve(stream, &list, &*handler).await;
                });
            }
        });
        Self {
            base: base.parse().unwrap(),
            seen,
            task,
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self, method: &str, path: &str) -> usize {
        let seen = self.seen();
        seen.iter()
            .filter(|seen| seen.method == method && seen.path == path)
            .count()
    }
}

async fn serve(
    mut stream: TcpStream,
    list: &Mutex<Vec<Seen>>,
    handler: &Mutex<impl FnMut(&Seen) -> Reply>,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    for earlier in 0.. {
        let Some(mut request) = read_request(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        request.earlier = earlier;
        list.lock().unwrap().push(request.clone());
        let reply = (handler.lock().unwrap())(&request);
        let (status, headers, body) = match reply {
            Reply::Hang => std::future::pending().await,
            Reply::Close => return Ok(()),
            Reply::Cut(status, body) => {
                let head = head(status, &[], body.len() + 100);
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(body.as_bytes()).await?;
                return Ok(());
            }
            Reply::Endless(status) => {
                stream
                    .write_all(head(status, &[], usize::MAX / 2).as_bytes())
                    .await?;
                loop {
                    stream.write_all(&[b' '; 8192]).await?;
                }
            }
            Reply::Json(status, value) => {
                let kind = vec![("content-type", "application/json".to_string())];
                (status, kind, value.to_string())
            }
            Reply::Text(status, headers, text) => (status, headers, text),
        };
        stream
            .write_all(head(status, &headers, body.len()).as_bytes())
            .await?;
        if request.method != "HEAD" {
            stream.write_all(body.as_bytes()).await?;
        }
    }
    Ok(())
}

fn head(status: u16, headers: &[(&'static str, String)], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {status} Status\r\n");
    // 204 has no body, and must not announce one (RFC 9110, 8.6).
    if status != 204 {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Seen>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or("").split(' ');
    let method = first.next().unwrap_or("").to_string();
    let target = first.next().unwrap_or("");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0);
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = serde_json::from_slice(&buffer[end..end + length]).ok();
    let seen = Seen {
        method,
        path: path.to_string(),
        query: query.to_string(),
        headers,
        body,
        earlier: 0,
    };
    buffer.drain(..end + length);
    Ok(Some(seen))
}
