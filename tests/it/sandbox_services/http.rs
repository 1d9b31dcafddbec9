//! An HTTP client for the tests: it knows nothing of any API, and holds every answer of a provider
//! against the provider's own specification.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dr_plan::sandbox::api::hetzner::{Hetzner, Place, Settings, Token};
use dr_plan::sandbox::listen::Listening;
use reqwest::Method;
use serde_json::{Value, json};

use super::machines::Paper;
use super::specification::Specification;

pub const TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-rw";
pub const READER: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-ro";
pub const DRILL: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-dr";

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub fn client() -> reqwest::Client {
    static CLIENT: OnceLock<()> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

/// A cloud of its own for one test.
pub struct Cloud {
    pub api: Hetzner,
    pub machines: Arc<Paper>,
    pub listening: Listening,
    client: reqwest::Client,
    specification: Option<Specification>,
}

/// An answer, already held against the specification.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn id(&self, what: &str) -> i64 {
        self.body[what]["id"]
            .as_i64()
            .unwrap_or_else(|| panic!("no {what} in {}", self.body))
    }

    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

impl Cloud {
    pub async fn start() -> Cloud {
        Cloud::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Settings)) -> Cloud {
        let mut settings = Settings::new(TOKEN, 2);
        let token = |value: &str, project: &str, read_only| Token {
            value: value.to_owned(),
            project: project.to_owned(),
            read_only,
        };
        settings.tokens.push(token(READER, "default", true));
        settings.tokens.push(token(DRILL, "drill", false));
        assert_eq!(
            settings
                .places
                .iter()
                .map(|Place { location, .. }| location.as_str())
                .collect::<Vec<_>>(),
            ["fsn1", "nbg1"]
        );
        change(&mut settings);
        let machines = Arc::new(Paper::default());
        let api = Hetzner::new(settings, machines.clone());
        let listening = api.serve(loopback()).await.unwrap();
        Cloud {
            api,
            machines,
            listening,
            client: client(),
            specification: Specification::load("hetzner-cloud.spec.json"),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.as_token(Some(TOKEN), method, path, body).await
    }

    pub async fn as_token(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        self.try_call(token, method, path, body).await.unwrap()
    }

    pub async fn try_call(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, reqwest::Error> {
        let url = format!("http://{}/v1{path}", self.listening.address);
        let mut request = self.client.request(method.clone(), url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if let (Some(specification), true) = (&self.specification, body.is_object()) {
            let wrong = specification.check_answer(method.as_str(), path, status, &body);
            assert!(
                wrong.is_empty(),
                "{method} {path} {status}: {wrong:#?}\n{body:#}"
            );
        }
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    /// A server that is up, and its id.
    pub async fn server(&self, name: &str, labels: Value) -> i64 {
        let answer = self.post("/servers", order(name, labels)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        self.api.settled().await;
        answer.id("server")
    }
}

pub fn order(name: &str, labels: Value) -> Value {
    json!({
        "name": name, "server_type": "cx23", "image": "debian-12", "location": "nbg1",
        "labels": labels, "user_data": "#cloud-config\n",
    })
}
