//! The clients against the sandbox's own cloud, which knows no type of theirs. Its machines exist on paper only.

use std::sync::Arc;
use std::time::Duration;

use dr_plan::http::HttpOptions;
use dr_plan::provider::hetzner::{Hetzner, Settings};
use dr_plan::sandbox::api::hetzner as simulator;
use dr_plan::sandbox::listen::Listening;
use dr_plan::secret::{Mask, Secret};
use reqwest::Method;
use serde_json::{Value, json};

use super::project::{TOKEN, policy};
use crate::sandbox_services::machines::Paper;
use crate::spec::Spec;

pub struct World {
    pub cloud: simulator::Hetzner,
    listening: Listening,
}

impl World {
    pub async fn new() -> Self {
        let settings = simulator::Settings::new(TOKEN, 2);
        let cloud = simulator::Hetzner::new(settings, Arc::new(Paper::default()));
        let listening = cloud.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { cloud, listening }
    }

    /// Changes something past the client, the ledger and the faults, as somebody else would.
    pub async fn tell(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, said) = self.cloud.ask("default", method, path, Some(body)).await;
        assert!(status < 300, "{path}: {said}");
        self.cloud.settled().await;
        said
    }

    /// A server that stands, and its id.
    pub async fn server(&self, name: &str) -> i64 {
        let order = json!({ "name": name, "server_type": "cx23", "image": "debian-12", "location": "nbg1" });
        let said = self.tell(Method::POST, "/servers", order).await;
        said["server"]["id"].as_i64().unwrap()
    }

    pub fn hetzner(&self) -> Hetzner {
        let settings = Settings {
            account: "hetzner".into(),
            endpoint: format!("http://{}/v1", self.listening.address)
                .parse()
                .unwrap(),
            token: Secret::new(TOKEN.into()),
            mask: Mask::default(),
            http: HttpOptions {
                direct: true,
                ..HttpOptions::default()
            },
            policy: policy(),
            labels: Default::default(),
        };
        Hetzner::new(settings)
            .unwrap()
            .patience(Duration::from_secs(30))
    }

    /// A fault of a call, as `sandbox break` would lay it.
    pub fn fault(&self, rule: Value) {
        let rule = serde_json::from_value(rule).unwrap();
        self.cloud.faults().lay(rule);
    }

    pub fn sent(&self, method: &str, path: &str) -> usize {
        self.cloud.ledger().find(method, path).len()
    }

    /// Every request that was made, held against the provider's specification.
    pub fn check_requests(&self, test: &str) {
        let Some(spec) = Spec::load("hetzner-cloud.spec.json", "/v1", test) else {
            return;
        };
        let calls = self.cloud.ledger().calls();
        assert!(!calls.is_empty());
        for call in calls {
            let body = (!call.body.is_null()).then_some(&call.body);
            let problems = spec.problems(&call.method, &call.path, &call.query, body);
            let (method, path, query) = (&call.method, &call.path, &call.query);
            assert!(problems.is_empty(), "{method} {path}?{query}: {problems:?}");
        }
    }
}
