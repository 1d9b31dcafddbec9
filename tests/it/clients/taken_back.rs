//! What snapshots, addresses and firewalls do to the cloud, and that it can be taken back: the kinds themselves against
//! the simulated cloud, with notes and without them, as after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dr_plan::action::{
    Action, Bind, Context, Given, HostFacts, Hosts, Person, Reach, Record, Secrets, Services,
    StepNotes, kind_of,
};
use dr_plan::clock::SystemClock;
use dr_plan::event::{Ask, What};
use dr_plan::ids::{RunId, StepId};
use dr_plan::inventory::Inventory;
use dr_plan::kind::{Failure, Mode, Observation, Reason};
use dr_plan::plan::IfSourceLost;
use dr_plan::problem::Source;
use dr_plan::provider::{Power, Provider};
use dr_plan::secret::{Mask, Secret, SecretRef};
use dr_plan::transport::Transport;
use reqwest::Method;
use serde_json::{Value, json};

use super::simulated::World;

pub(super) struct Nothing;

impl Reach for Nothing {
    fn transport(&self, _facts: &HostFacts) -> Result<Arc<dyn Transport>, Failure> {
        Err(Failure::new(Reason::NotFound, "no host is reached here"))
    }
}

#[async_trait]
impl Secrets for Nothing {
    async fn fetch(&self, _reference: &SecretRef) -> Result<Secret, Failure> {
        Err(Failure::new(Reason::NotFound, "there are no secrets here"))
    }
}

#[async_trait]
impl Record for Nothing {
    async fn durable(&self, _what: What) -> Result<(), Failure> {
        Ok(())
    }

    fn passing(&self, _what: What) {}
}

#[async_trait]
impl Person for Nothing {
    async fn ask(&self, _step: &StepId, _ask: Ask) -> Result<Given, Failure> {
        Err(Failure::new(Reason::Declined, "nobody is here"))
    }
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source {
        name: "test.yaml".into(),
        text: text.into(),
    })
}

fn inventory() -> Arc<Inventory> {
    let text = "version: 1\nname: shop\nhosts:\n  \
         web: { address: 192.0.2.1, at: hetzner/nbg1, server: web }\n  \
         old: { address: 192.0.2.2, at: hetzner/nbg1, server: old }\n";
    Arc::new(dr_plan::inventory::read(&source(text), Path::new("/")).unwrap())
}

/// A step of a kind with these arguments.
fn bound(kind: &str, args: &str) -> Box<dyn Action> {
    bound_so(kind, args, IfSourceLost::Fail, None)
}

/// The same, with what the step says beside them.
pub(super) fn bound_so(
    kind: &str,
    args: &str,
    if_source_lost: IfSourceLost,
    timeout: Option<Duration>,
) -> Box<dyn Action> {
    let account = "version: 1\nname: hetzner\nkind: hetzner\ntoken: { env: TOKEN }\n";
    let account = dr_plan::account::read(&source(account), Path::new("/")).unwrap();
    let accounts = BTreeMap::from([("hetzner".to_string(), account)]);
    let inventory = inventory();
    let hosts: BTreeSet<String> = inventory.hosts.keys().cloned().collect();
    let bind = Bind {
        inventory: &inventory,
        accounts: &accounts,
        hosts: &hosts,
        verify: &[],
        rpo: None,
        timeout,
        if_source_lost,
        folder: Path::new("/"),
        copies: &Default::default(),
    };
    let args = dr_plan::yaml::parse(&source(args)).0.unwrap();
    let (action, _) = (kind_of(kind).unwrap().bind)(&args, &bind).unwrap();
    action
}

/// A run that has noted nothing yet.
fn run(world: &World) -> Context {
    run_at(Arc::new(world.hetzner()))
}

/// The same at a provider that may be asked otherwise.
pub(super) fn run_at(provider: Arc<dyn Provider>) -> Context {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let services = Services {
        providers: BTreeMap::from([("hetzner".to_string(), provider)]),
        dns: BTreeMap::new(),
        stores: BTreeMap::new(),
        hosts: Hosts::new(Box::new(Nothing)),
        secrets: Box::new(Nothing),
        mask: Mask::default(),
        http: reqwest::Client::builder()
            .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
            .build()
            .unwrap(),
        clock: Arc::new(SystemClock::new()),
        login_keys: Vec::new(),
        login_user: "root".into(),
        inventory: inventory(),
        planned: Default::default(),
        rehearsal: Default::default(),
        folder: "/nonexistent".into(),
    };
    Context {
        run: RunId::parse("01jd5xq3w8k2m9x7q4r6t8v0zz").unwrap(),
        step: StepId::new("step").unwrap(),
        attempt: 1,
        mode: Mode::Failover,
        plan: "test".into(),
        lost_at: "2026-03-14T02:10:00Z".parse().unwrap(),
        rpo: None,
        services: Arc::new(services),
        record: Arc::new(Nothing),
        person: Arc::new(Nothing),
        story: String::new(),
        probe: false,
        notes: StepNotes::default(),
    }
}

async fn carried_out(action: &dyn Action, cx: &Context) {
    action.precheck(cx).await.unwrap();
    let saw = action.observe(cx).await.unwrap();
    assert!(!matches!(saw, Observation::Foreign { .. }), "{saw:?}");
    action.apply(cx).await.unwrap();
    action.verify(cx).await.unwrap();
    assert_eq!(action.observe(cx).await.unwrap(), Observation::Done);
}

#[tokio::test]
async fn a_snapshot_is_taken_back_and_found_again_without_notes() {
    let world = World::new().await;
    world.server("web").await;
    let action = bound("server.snapshot", "{ server: web }");
    let cx = run(&world);
    assert_eq!(action.observe(&cx).await.unwrap(), Observation::Absent);
    carried_out(&*action, &cx).await;

    // The process died before it could note anything but the server: the tag finds the snapshot.
    let after = run(&world);
    after.note("of", cx.noted("of").unwrap()).await.unwrap();
    let saw = action.observe(&after).await.unwrap();
    assert!(matches!(saw, Observation::Partial { .. }), "{saw:?}");
    action.apply(&after).await.unwrap();
    action.verify(&after).await.unwrap();
    assert_eq!(world.sent("POST", "*/create_image"), 1);

    let proof = action.undo(&after).await.unwrap();
    assert!(proof[0].saw.ends_with("answers 404"), "{proof:?}");
    assert_eq!(action.observe(&cx).await.unwrap(), Observation::Absent);
    assert!(action.undo(&after).await.unwrap().is_empty());

    // One that the provider could not make is dropped, and the next attempt makes another.
    let error = json!({ "action_error": { "code": "action_failed", "message": "no room" } });
    world.fault(json!({ "path": "*/create_image", "kind": error }));
    let cx = run(&world);
    let failed = action.apply(&cx).await.unwrap_err();
    assert!(failed.message.contains("no room"), "{failed}");
    carried_out(&*action, &cx).await;
    let hetzner = world.hetzner();
    let all = hetzner.snapshots().unwrap().of_server("web").await.unwrap();
    assert_eq!(all.len(), 1);
}

#[tokio::test]
async fn an_address_goes_back_to_whom_it_came_from() {
    let world = World::new().await;
    let (old, web) = (world.server("old").await, world.server("web").await);
    let body = json!({ "type": "ipv4", "home_location": "nbg1", "server": old });
    let made = world.tell(Method::POST, "/floating_ips", body).await;
    let ip = made["floating_ip"]["ip"].as_str().unwrap().to_string();
    let path = format!("/floating_ips/{}", made["floating_ip"]["id"]);
    let has = async || {
        let (_, body) = world.cloud.ask("default", Method::GET, &path, None).await;
        body["floating_ip"]["server"].clone()
    };
    let args =
        format!("{{ account: hetzner, address: {ip}, host: web, gate: none, because: a test }}");
    let action = bound("ip.assign", &args);
    let cx = run(&world);
    carried_out(&*action, &cx).await;
    assert_eq!(has().await, web);
    action.undo(&cx).await.unwrap();
    assert_eq!(has().await, old);
    action.undo(&cx).await.unwrap();

    // Moved on by somebody else after this run looked first: left alone, before and after.
    let stranger = world.server("stranger").await;
    let assign = |to: Value| {
        let path = format!("{path}/actions/assign");
        let world = &world;
        async move {
            world
                .tell(Method::POST, &path, json!({ "server": to }))
                .await
        }
    };
    let cx = run(&world);
    action.precheck(&cx).await.unwrap();
    assign(stranger.into()).await;
    let saw = action.observe(&cx).await.unwrap();
    assert!(matches!(saw, Observation::Foreign { .. }), "{saw:?}");
    let refused = action.apply(&cx).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Refused, "{refused}");
    assert_eq!(has().await, stranger);
    assign(old.into()).await;
    action.apply(&cx).await.unwrap();
    assign(stranger.into()).await;
    let refused = action.undo(&cx).await.unwrap_err();
    assert!(refused.message.contains("left there"), "{refused}");
    assert_eq!(has().await, stranger);

    // Who had it is gone: it is taken away all the same, and goes to nobody.
    assign(old.into()).await;
    let cx = run(&world);
    carried_out(&*action, &cx).await;
    let gone = format!("/servers/{old}");
    world
        .cloud
        .ask("default", Method::DELETE, &gone, None)
        .await;
    world.cloud.settled().await;
    let proof = action.undo(&cx).await.unwrap();
    assert!(proof[0].saw.contains("is gone"), "{proof:?}");
    assert_eq!(has().await, Value::Null);
}

#[tokio::test]
async fn a_firewall_has_its_old_rules_again_or_is_gone() {
    let world = World::new().await;
    let (web, old) = (world.server("web").await, world.server("old").await);
    let rules = |text: &str, hosts: &str| {
        format!("{{ account: hetzner, name: web, hosts: {hosts}, rules: {text} }}")
    };
    let first = bound(
        "firewall.apply",
        &rules("[{ port: 22, from: [192.0.2.0/24] }]", "[web]"),
    );
    let second = bound(
        "firewall.apply",
        &rules(
            "[{ port: 22, from: [\"::/0\", 0.0.0.0/0] }, { port: 443, from: [0.0.0.0/0] }]",
            "[old, web]",
        ),
    );
    let shown = async || {
        let (_, body) = world
            .cloud
            .ask("default", Method::GET, "/firewalls", None)
            .await;
        let all = body["firewalls"].as_array().unwrap().clone();
        all.into_iter().next().unwrap_or_default()
    };
    let servers = |shown: &Value| -> Vec<i64> {
        let applied = shown["applied_to"].as_array().unwrap().iter();
        applied
            .map(|one| one["server"]["id"].as_i64().unwrap())
            .collect()
    };
    let (cx, later) = (run(&world), run(&world));
    assert_eq!(first.observe(&cx).await.unwrap(), Observation::Absent);
    carried_out(&*first, &cx).await;
    let before = shown().await;
    carried_out(&*second, &later).await;
    assert_eq!(shown().await["rules"].as_array().unwrap().len(), 2);
    assert_eq!(servers(&shown().await).len(), 2);
    assert_eq!(world.sent("POST", "/v1/firewalls"), 1);

    second.undo(&later).await.unwrap();
    assert_eq!(shown().await["rules"], before["rules"]);
    assert_eq!(servers(&shown().await), [web]);

    // Changed by somebody else after a run looked first: left alone.
    let cx2 = run(&world);
    second.precheck(&cx2).await.unwrap();
    let path = format!("/firewalls/{}/actions", before["id"]);
    world
        .tell(
            Method::POST,
            &format!("{path}/set_rules"),
            json!({ "rules": [] }),
        )
        .await;
    let saw = second.observe(&cx2).await.unwrap();
    assert!(matches!(saw, Observation::Foreign { .. }), "{saw:?}");
    let refused = first.undo(&cx).await.unwrap_err();
    assert!(refused.message.contains("left alone"), "{refused}");
    let rules = json!({ "rules": before["rules"] });
    let rules: Value =
        serde_json::from_str(&rules.to_string().replace("\"description\":null,", "")).unwrap();
    world
        .tell(Method::POST, &format!("{path}/set_rules"), rules)
        .await;

    // Another server relies on it by now.
    let one = json!({ "apply_to": [{ "type": "server", "server": { "id": old } }] });
    world
        .tell(Method::POST, &format!("{path}/apply_to_resources"), one)
        .await;
    let refused = first.undo(&cx).await.unwrap_err();
    assert!(refused.message.contains("did not name"), "{refused}");
    let one = json!({ "remove_from": [{ "type": "server", "server": { "id": old } }] });
    world
        .tell(Method::POST, &format!("{path}/remove_from_resources"), one)
        .await;
    let proof = first.undo(&cx).await.unwrap();
    assert!(proof[0].saw.ends_with("answers 404"), "{proof:?}");
    assert_eq!(shown().await, Value::Null);
    let hetzner = world.hetzner();
    let server = hetzner.by_name("web").await.unwrap().unwrap();
    assert_eq!(server.power, Power::On);
}
