//! `check.http`: asks a page as a user would and looks at the answer, not only at its status.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Action, Asked, Bind, Context, Look, Verb, Verified};
use crate::http::{HttpOptions, http_client};
use crate::kind::{Effect, Failure, Reason, Undo, chain};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `check.http`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckHttp {
    /// `http://` or `https://`, with the real host name.
    url: String,
    /// The address to ask instead of the one that DNS gives; host name and certificate stay the url's.
    at: Option<String>,
    /// For https: a PEM file with the certificate authorities to trust instead of the machine's; relative to the plan.
    trust: Option<String>,
    /// The expected status; 200 if nothing is said.
    status: Option<u16>,
    /// A JSON pointer (RFC 6901) into the answer, such as `/id`.
    json: Option<String>,
    /// The value expected there.
    equals: Option<Value>,
    /// A text that the body must hold.
    contains: Option<String>,
    #[serde(skip)]
    #[schemars(skip)]
    folder: PathBuf,
}

impl Verb for CheckHttp {
    const NAME: &'static str = "check.http";
    const EFFECT: Effect = Effect::Read;
    const UNDO: Undo = Undo::ForwardOnly;
    const SUMMARY: &'static str = "Asks a page and looks at status and content.";
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn sample(&self) -> crate::kind::Output {
        [(
            "status".to_string(),
            Value::from(self.status.unwrap_or(200)),
        )]
        .into_iter()
        .collect()
    }

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(why) = check_url(&self.url) {
            problems.push(Problem::error("bad-url", args.place_of("url"), why));
        }
        if let Some(at) = &self.at
            && at.parse::<IpAddr>().is_err()
        {
            problems.push(Problem::error(
                "bad-address",
                args.place_of("at"),
                format!("`{at}` is not an IP address"),
            ));
        }
        problems.extend(trust_in_vain(&self.url, self.trust.as_ref(), args));
        self.folder = bind.folder.to_path_buf();
        if self.equals.is_some() && self.json.is_none() {
            problems.push(
                Problem::error(
                    "equals-without-json",
                    args.place_of("equals"),
                    "`equals` needs `json`: where in the answer?",
                )
                .help("for example `json: /id`"),
            );
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

/// Only web addresses with a host; never one with a password in it.
pub(super) fn check_url(text: &str) -> Result<url::Url, String> {
    let url =
        url::Url::parse(text).map_err(|error| format!("`{text}` is not a web address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "`{}` addresses cannot be asked, only http and https",
            url.scheme()
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user or password in an address would be shown everywhere".into());
    }
    Ok(url)
}

/// Without TLS there is nobody to trust.
pub(super) fn trust_in_vain<T>(url: &str, trust: Option<&T>, args: &Node) -> Option<Problem> {
    if trust.is_none() || !url.starts_with("http:") {
        return None;
    }
    let words = "`trust` is for https: over http nobody shows a certificate";
    Some(Problem::error(
        "trust-in-vain",
        args.place_of("trust"),
        words,
    ))
}

/// So much of a page is read, in bytes.
const PAGE: usize = 1 << 20;

/// An answer, or its first megabyte.
pub(super) struct Page {
    /// Where it was asked instead of where the world would ask: what a drill rehearses.
    pub(super) led: Option<IpAddr>,
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks once, without following redirects, at a given address if there is one; `trust` is a file of the plan with the certificate
/// authorities to trust.
pub(super) async fn ask(
    cx: &Context,
    url: &str,
    at: Option<&str>,
    trust: Option<&Path>,
) -> Result<Page, Failure> {
    let parsed = check_url(url).map_err(|why| Failure::new(Reason::Other, why))?;
    let led = cx
        .leads(at.unwrap_or_else(|| parsed.host_str().unwrap_or_default()))
        .await?;
    let leads_to = led.map(|ip| ip.to_string());
    let at = leads_to.as_deref().or(at);
    let client = if at.is_none() && trust.is_none() {
        cx.services.http.clone()
    } else {
        let mut options = HttpOptions {
            ca_file: trust.map(|path| cx.services.copy_of(path)),
            ..HttpOptions::default()
        };
        if let Some(at) = at {
            let ip: IpAddr = at
                .parse()
                .map_err(|_| Failure::new(Reason::Other, format!("`{at}` is not an IP address")))?;
            let port = parsed.port_or_known_default().unwrap_or(80);
            let host = parsed.host_str().unwrap_or_default().to_string();
            options.pinned = vec![(host, SocketAddr::new(ip, port))];
            options.direct = true;
        }
        http_client(&options)
            .map_err(|error| Failure::from_error(Reason::Other, "preparing the request", &error))?
    };
    let place = at.map(|at| format!(" at {at}")).unwrap_or_default();
    let lost = |error: reqwest::Error| {
        let reason = if error.is_timeout() {
            Reason::Timeout
        } else {
            Reason::Unreachable
        };
        let words = chain(&error.without_url());
        let unknown = words.contains("UnknownIssuer") && trust.is_none();
        let failure = Failure::new(reason, format!("{url}{place}: {words}"));
        if unknown {
            return failure.hint("a private authority is named with `trust: FILE`");
        }
        failure
    };
    let mut answer = client
        .get(parsed)
        .header("cache-control", "no-cache")
        .timeout(Duration::from_secs(10))
        .send()
        .await
        .map_err(lost)?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    // A page of a megabyte says enough, and one without an end must not fill the memory.
    while body.len() < PAGE
        && let Some(part) = answer.chunk().await.map_err(lost)?
    {
        body.extend_from_slice(&part);
    }
    body.truncate(PAGE);
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Page { led, status, body })
}

/// The value at a JSON pointer of a page.
pub(super) fn point(url: &str, page: &Page, pointer: &str) -> Result<Value, Failure> {
    let value: Value = serde_json::from_str(&page.body).map_err(|_| {
        Failure::new(
            Reason::Verify,
            format!("{url} answered {} but no JSON", page.status),
        )
    })?;
    value.pointer(pointer).cloned().ok_or_else(|| {
        Failure::new(
            Reason::Verify,
            format!("{url} answered JSON without `{pointer}`"),
        )
    })
}

/// Equal as people see it: a number and its text are the same.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    let text = |value: &Value| {
        value
            .as_str()
            .map(str::to_string)
            .unwrap_or_else(|| value.to_string())
    };
    a == b || text(a).trim() == text(b).trim()
}

#[async_trait]
impl Look for CheckHttp {
    fn title(&self) -> String {
        match &self.at {
            Some(at) => format!("{} at {at}", self.url),
            None => self.url.clone(),
        }
    }

    fn asked(&self) -> Asked {
        match (&self.at, check_url(&self.url)) {
            (Some(at), _) => Asked::Address(at.clone()),
            (None, Ok(url)) => Asked::Name(url.host_str().unwrap_or_default().to_string()),
            (None, Err(_)) => Asked::Nobody,
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let trust = self.trust.as_ref().map(|trust| self.folder.join(trust));
        trust.into_iter().collect()
    }

    async fn look(&self, cx: &Context) -> Result<Verified, Failure> {
        let trust = Look::files(self);
        let trust = trust.first().map(PathBuf::as_path);
        let page = ask(cx, &self.url, self.at.as_deref(), trust).await?;
        let wanted = self.status.unwrap_or(200);
        if page.status != wanted {
            let words = format!(
                "{} answered {} instead of {wanted}",
                Look::title(self),
                page.status
            );
            return Err(Failure::new(Reason::Verify, words));
        }
        let asked = match page.led {
            Some(ip) => format!("{} (asked at {ip}, where it would lead)", Look::title(self)),
            None => Look::title(self),
        };
        let mut seen = Verified::seen(asked, page.status).with("status", page.status);
        if let Some(pointer) = &self.json {
            let value = point(&self.url, &page, pointer)?;
            if let Some(equals) = &self.equals
                && !same(&value, equals)
            {
                let words = format!(
                    "{}: `{pointer}` is {value}, expected {equals}",
                    Look::title(self)
                );
                return Err(Failure::new(Reason::Verify, words));
            }
            seen = seen
                .and(format!("`{pointer}` of the answer"), &value)
                .answered("json", value, cx);
        }
        if let Some(text) = &self.contains {
            if !page.body.contains(text.as_str()) {
                return Err(Failure::new(
                    Reason::Verify,
                    format!("{} does not hold \"{text}\"", Look::title(self)),
                ));
            }
            seen = seen.and("the body", format!("holds \"{text}\""));
        }
        Ok(seen)
    }
}
