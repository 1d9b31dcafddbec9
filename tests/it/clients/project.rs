//! A Hetzner project, as small as the tests need it: servers by name and label, actions that end, and a place to put
//! faults in front of it. It is written from the API's reference and knows no type of the client.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dr_plan::http::{HttpOptions, Policy};
use dr_plan::provider::hetzner::{Hetzner, Settings};
use dr_plan::provider::{ServerSpec, Tags};
use dr_plan::secret::{Mask, Secret};
use serde_json::{Value, json};
use url::Url;

use super::service::{Reply, Seen, Service};
use crate::spec::Spec;

pub const TOKEN: &str = "canaryToken6MWq3U8cixMhwHorZd68v8ILzIZyJb4Nabcdefghijklmnopqrstu";
pub const PASSWORD: &str = "canaryRootPassword";

/// How long one request may take: long enough for a busy machine, short where silence is the fault.
const PATIENT: Duration = Duration::from_secs(20);
const HASTY: Duration = Duration::from_millis(400);

#[derive(Default)]
pub struct Project {
    pub servers: Vec<Value>,
    last_id: i64,
    /// Actions by id: what their next looks show; the last one stays.
    pub actions: Vec<(i64, Vec<Value>)>,
    /// How the actions of the next creation go on.
    pub create_ends: Vec<Value>,
}

pub fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::Json(
        status,
        json!({ "error": { "code": code, "message": message, "details": null } }),
    )
}

fn list(key: &str, items: Vec<Value>) -> Reply {
    let pagination = json!({ "page": 1, "per_page": 50, "previous_page": null, "next_page": null, "last_page": 1,
        "total_entries": items.len() });
    Reply::Json(
        200,
        json!({ key: items, "meta": { "pagination": pagination } }),
    )
}

impl Project {
    fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        // Real ids do not fit 32 bits.
        604_989_101_982_000 + self.last_id
    }

    pub fn add(&mut self, name: &str, labels: Value) -> i64 {
        let id = self.next_id();
        self.servers.push(json!({
            "id": id, "name": name, "status": "initializing", "labels": labels,
            "public_net": { "ipv4": { "ip": "192.0.2.7" }, "ipv6": { "ip": "2001:db8::/64" } },
            "server_type": { "name": "cx23" }, "location": { "name": "nbg1" },
            "protection": { "delete": false, "rebuild": false }, "locked": false,
        }));
        id
    }

    pub fn server(&mut self, id: i64) -> Option<&mut Value> {
        self.servers.iter_mut().find(|server| server["id"] == id)
    }

    pub fn action(&mut self, command: &str, ends: &[Value]) -> Value {
        let id = self.next_id();
        let running = json!({ "id": id, "command": command, "status": "running", "progress": 0, "error": null });
        let mut looks = vec![running.clone()];
        for end in ends {
            let mut look = running.clone();
            look.as_object_mut()
                .unwrap()
                .extend(end.as_object().unwrap().clone());
            looks.push(look);
        }
        self.actions.push((id, looks));
        running
    }

    pub fn answer(&mut self, seen: &Seen) -> Reply {
        if seen.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return error(
                401,
                "unauthorized",
                "the token you have provided is invalid",
            );
        }
        let path: Vec<&str> = seen.path.trim_start_matches("/v1/").split('/').collect();
        let id = path.get(1).and_then(|id| id.parse::<i64>().ok());
        match (seen.method.as_str(), &path[..], id) {
            ("GET", ["servers"], _) => list("servers", self.filtered(seen)),
            ("POST", ["servers"], _) => self.create(seen.body.as_ref().unwrap()),
            ("GET", ["servers", _], Some(id)) => match self.server(id) {
                Some(server) => Reply::Json(200, json!({ "server": server })),
                None => error(
                    404,
                    "not_found",
                    &format!("server with ID '{id}' not found"),
                ),
            },
            ("DELETE", ["servers", _], Some(id)) => {
                if self.server(id).is_none() {
                    return error(
                        404,
                        "not_found",
                        &format!("server with ID '{id}' not found"),
                    );
                }
                self.servers.retain(|server| server["id"] != id);
                let action = self.action("delete_server", &[json!({ "status": "success" })]);
                Reply::Json(200, json!({ "action": action }))
            }
            ("POST", ["servers", _, "actions", verb], Some(id)) => {
                let status = if *verb == "poweroff" {
                    "off"
                } else {
                    "running"
                };
                let action = self.action(verb, &[json!({ "status": "success" })]);
                match self.server(id) {
                    Some(server) => server["status"] = json!(status),
                    None => return error(404, "not_found", "server not found"),
                }
                Reply::Json(201, json!({ "action": action }))
            }
            ("GET", ["actions"], _) => self.look_at_actions(seen),
            ("GET", ["locations"], _) => list(
                "locations",
                vec![
                    json!({ "id": 1, "name": "fsn1" }),
                    json!({ "id": 2, "name": "nbg1" }),
                ],
            ),
            ("GET", ["server_types"], _) => list(
                "server_types",
                vec![
                    json!({ "id": 1, "name": "cx23", "cores": 2, "memory": 4.0, "disk": 40, "architecture": "x86",
                    "prices": [{ "location": "nbg1", "price_monthly": { "net": "3.49", "gross": "4.15" } }],
                    "locations": [{ "name": "nbg1", "available": true }, { "name": "fsn1", "available": false }] }),
                ],
            ),
            ("GET", ["images"], _) if seen.param("name").as_deref() == Some("debian-12") => list(
                "images",
                vec![
                    json!({ "id": 1, "name": "debian-12", "architecture": "x86", "status": "available" }),
                ],
            ),
            ("GET", ["images"], _) => list("images", Vec::new()),
            ("GET", ["images", "77"], _) => Reply::Json(
                200,
                json!({ "image": { "id": 77, "name": null, "architecture": "x86", "status": "creating" } }),
            ),
            _ => error(404, "not_found", "api route not found"),
        }
    }

    fn filtered(&self, seen: &Seen) -> Vec<Value> {
        let fits = |server: &Value| {
            let named = seen.param("name").is_none_or(|name| server["name"] == name);
            let labelled = seen.param("label_selector").is_none_or(|selector| {
                selector.split(',').all(|term| {
                    let (key, value) = term.split_once('=').unwrap();
                    server["labels"][key] == value
                })
            });
            named && labelled
        };
        self.servers
            .iter()
            .filter(|server| fits(server))
            .cloned()
            .collect()
    }

    fn create(&mut self, body: &Value) -> Reply {
        let name = body["name"].as_str().unwrap();
        if self.servers.iter().any(|server| server["name"] == name) {
            return error(409, "uniqueness_error", "server name is already used");
        }
        let id = self.add(name, body["labels"].clone());
        let ends = std::mem::take(&mut self.create_ends);
        let ends = if ends.is_empty() {
            vec![json!({ "status": "success" })]
        } else {
            ends
        };
        let action = self.action("create_server", &ends);
        let next = self.action("start_server", &[json!({ "status": "success" })]);
        let server = self.server(id).unwrap().clone();
        Reply::Json(
            201,
            json!({ "server": server, "action": action, "next_actions": [next], "root_password": PASSWORD }),
        )
    }

    fn look_at_actions(&mut self, seen: &Seen) -> Reply {
        let mut shown = Vec::new();
        for (_, id) in seen.pairs().into_iter().filter(|(key, _)| key == "id") {
            let id: i64 = id.parse().unwrap();
            if let Some((_, looks)) = self.actions.iter_mut().find(|(other, _)| *other == id) {
                if looks.len() > 1 {
                    looks.remove(0);
                }
                shown.push(looks[0].clone());
                if looks[0]["command"] == "start_server" && looks[0]["status"] == "success" {
                    for server in &mut self.servers {
                        if server["status"] == "initializing" {
                            server["status"] = json!("running");
                        }
                    }
                }
            }
        }
        list("actions", shown)
    }
}

/// What the service says before the project is asked (`Err`), or after it has done its work (`Ok` with a fault).
pub enum Fault {
    None,
    Before(Reply),
    After(Reply),
}

pub struct World {
    pub service: Service,
    pub project: Arc<Mutex<Project>>,
    pub hetzner: Hetzner,
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_, _| Fault::None).await
    }

    /// `fault` sees each request and how many of its method and path came before.
    pub async fn with(fault: impl FnMut(&Seen, usize) -> Fault + Send + 'static) -> Self {
        Self::start(PATIENT, fault).await
    }

    /// For a fault that answers with `loss`: silence is not waited for long.
    pub async fn losing(
        loss: &Reply,
        fault: impl FnMut(&Seen, usize) -> Fault + Send + 'static,
    ) -> Self {
        let one_try = if matches!(loss, Reply::Hang) {
            HASTY
        } else {
            PATIENT
        };
        Self::start(one_try, fault).await
    }

    async fn start(
        one_try: Duration,
        mut fault: impl FnMut(&Seen, usize) -> Fault + Send + 'static,
    ) -> Self {
        let project: Arc<Mutex<Project>> = Arc::default();
        let inner = project.clone();
        let mut before: Vec<(String, String)> = Vec::new();
        let service = Service::start(move |seen| {
            let key = (seen.method.clone(), seen.path.clone());
            let count = before.iter().filter(|other| **other == key).count();
            before.push(key);
            match fault(seen, count) {
                Fault::Before(reply) => reply,
                Fault::None => inner.lock().unwrap().answer(seen),
                Fault::After(reply) => {
                    inner.lock().unwrap().answer(seen);
                    reply
                }
            }
        })
        .await;
        let hetzner = patient(&service.base, TOKEN, one_try);
        Self {
            service,
            project,
            hetzner,
        }
    }

    pub fn posts(&self) -> usize {
        self.service.count("POST", "/v1/servers")
    }

    pub fn servers(&self) -> usize {
        self.project.lock().unwrap().servers.len()
    }

    /// Every request that was made, held against the provider's specification.
    pub fn check_requests(&self, test: &str) {
        let Some(spec) = Spec::load("hetzner-cloud.spec.json", "/v1", test) else {
            return;
        };
        for seen in self.service.seen() {
            let problems = spec.problems(&seen.method, &seen.path, &seen.query, seen.body.as_ref());
            assert!(
                problems.is_empty(),
                "{} {}?{}: {problems:?}",
                seen.method,
                seen.path,
                seen.query
            );
        }
    }
}

/// Quick between the tries, patient in each.
pub fn policy() -> Policy {
    Policy {
        one_try: PATIENT,
        overall: Duration::from_secs(60),
        tries: 4,
        first_wait: Duration::from_millis(5),
        longest_wait: Duration::from_millis(20),
        ..Policy::default()
    }
}

/// Quick in each try, too.
pub fn hasty() -> Policy {
    Policy {
        one_try: HASTY,
        ..policy()
    }
}

pub fn client(base: &Url, token: &str) -> Hetzner {
    patient(base, token, PATIENT)
}

fn patient(base: &Url, token: &str, one_try: Duration) -> Hetzner {
    Hetzner::new(Settings {
        account: "hetzner".into(),
        endpoint: base.clone(),
        token: Secret::new(token.into()),
        mask: Mask::default(),
        http: HttpOptions {
            direct: true,
            ..HttpOptions::default()
        },
        policy: Policy {
            one_try,
            ..policy()
        },
        labels: Default::default(),
    })
    .unwrap()
    .patience(Duration::from_secs(30))
}

pub fn spec() -> ServerSpec {
    ServerSpec {
        name: "dr-shop-db-0abcdefg".into(),
        region: "nbg1".into(),
        size: "cx23".into(),
        image: "debian-12".into(),
        user_data: "#cloud-config\nhostname: db\n".into(),
        tags: Tags {
            run: "01jd0000000000000abcdefgh".into(),
            step: "db".into(),
        },
    }
}

pub fn our_labels() -> Value {
    json!({ "dr-plan/run": spec().tags.run, "dr-plan/step": spec().tags.step })
}
