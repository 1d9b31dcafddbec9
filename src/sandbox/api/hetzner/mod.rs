//! The Hetzner Cloud API as far as a recovery uses it: servers, their power, actions, SSH keys,
//! DNS zones and the catalogue, after <https://docs.hetzner.cloud/>. Behind it stand the machines and the name servers
//! of the world.
//!
//! Known differences from the real one: `server.datacenter` is left out, as the vendor did on
//! 2026-07-01; no server has IPv6, because the world has none; what is part of the real API and
//! not of this one (networks, volumes, primary IPs, ...) answers 501 and says so; firewalls are kept, and filter nothing.

mod catalogue;
mod cloud;
mod control;
mod create;
mod firewalls;
mod floating_ips;
mod gate;
mod images;
mod labels;
mod listing;
mod offers;
mod order;
mod publish;
mod records;
mod refusal;
mod rrsets;
mod servers;
mod ssh_keys;
mod work;
mod zones;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{any, get, post};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::{Faults, Ledger};
use crate::sandbox::listen::{Listening, listen};
use crate::sandbox::machines::Machines;
use crate::sandbox::names::NameServers;
use cloud::Cloud;

/// How this cloud is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may call.
    pub tokens: Vec<Token>,
    /// Locations that have machines. The others of the catalogue are sold out.
    pub places: Vec<Place>,
    /// Most servers a project may have; the next one is refused with `resource_limit_exceeded`.
    pub server_limit: usize,
    /// Requests an hour per project; refilled evenly. Polling actions has a bucket of twice that.
    pub hourly_requests: u32,
}

/// An API token. It belongs to one project and sees nothing of another.
#[derive(Clone)]
pub struct Token {
    pub value: String,
    pub project: String,
    /// Only GET: anything else is 401 `token_readonly`.
    pub read_only: bool,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Token")
            .field("project", &self.project)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// A location that has machines: those of one region of the world.
#[derive(Clone, Debug)]
pub struct Place {
    /// `fsn1`, `nbg1`, `hel1` or `ash`
    pub location: String,
    /// The region of the world, counted from 0; its network is `198.(18 + region).0.0/16`.
    pub region: usize,
}

impl Settings {
    /// One project `default` with a read-write token; region 0 is `fsn1`, 1 `nbg1`, 2 `hel1`.
    pub fn new(token: &str, regions: usize) -> Settings {
        Settings {
            tokens: vec![Token {
                value: token.to_owned(),
                project: "default".to_owned(),
                read_only: false,
            }],
            places: catalogue::LOCATIONS
                .iter()
                .take(regions)
                .enumerate()
                .map(|(region, location)| Place {
                    location: location.name.to_owned(),
                    region,
                })
                .collect(),
            server_limit: 25,
            hourly_requests: 3600,
        }
    }
}

/// What this cloud calls the regions of a world, in their order; it has four locations.
pub fn location_names(regions: usize) -> Vec<String> {
    catalogue::LOCATIONS
        .iter()
        .take(regions)
        .map(|location| location.name.to_owned())
        .collect()
}

/// The simulated cloud. Clones are handles on the same one.
#[derive(Clone)]
pub struct Hetzner(Arc<Inner>);

struct Inner {
    settings: Settings,
    machines: Arc<dyn Machines>,
    cloud: Mutex<Cloud>,
    buckets: Mutex<HashMap<(String, bool), gate::Bucket>>,
    ledger: Ledger,
    faults: Faults,
    /// Rings whenever an action ends.
    ended: tokio::sync::Notify,
    /// Where zones are served; without it the records are all there is.
    names: OnceLock<Arc<dyn NameServers>>,
    /// Held by whoever tells them something.
    turn: tokio::sync::Mutex<()>,
}

impl Hetzner {
    /// A cloud without servers. Nothing listens yet.
    pub fn new(settings: Settings, machines: Arc<dyn Machines>) -> Hetzner {
        Hetzner(Arc::new(Inner {
            settings,
            machines,
            cloud: Mutex::default(),
            buckets: Mutex::default(),
            ledger: Ledger::default(),
            faults: Faults::default(),
            ended: tokio::sync::Notify::new(),
            names: OnceLock::new(),
            turn: tokio::sync::Mutex::new(()),
        }))
    }

    /// Serves its zones there from now on; only the first call counts.
    pub fn serve_zones(&self, names: Arc<dyn NameServers>) {
        let _ = self.0.names.set(names);
    }

    /// Serves the API until the result is dropped; its endpoint is `http://ADDRESS/v1`.
    ///
    /// # Errors
    /// What binding the address says.
    pub async fn serve(&self, address: SocketAddr) -> std::io::Result<Listening> {
        listen(address, TowerToHyperService::new(self.router())).await
    }

    /// Serves the levers (`/_sandbox/...`, see [`Hetzner::control_router`]) on an address of their
    /// own, so that no client of the API can reach them by mistake.
    ///
    /// # Errors
    /// What binding the address says.
    pub async fn serve_control(&self, address: SocketAddr) -> std::io::Result<Listening> {
        listen(address, TowerToHyperService::new(self.control_router())).await
    }

    /// Every call so far.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// The faults that are laid.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// The servers whose labels the selector picks, in all projects, as the API shows them.
    ///
    /// # Errors
    /// What is wrong with the selector.
    pub fn alive(&self, selector: &str) -> Result<Vec<Value>, String> {
        let selector = labels::Selector::parse(selector)?;
        let cloud = self.cloud();
        Ok(cloud
            .servers
            .values()
            .filter(|server| selector.picks(&server.labels))
            .map(|server| cloud.server_json(server, self))
            .collect())
    }

    /// Says whether a location (of one type, or of all) has room. A closed one is shown as not
    /// available and refuses creates with 412 `resource_unavailable`; what runs there stays.
    pub fn set_available(&self, location: &str, server_type: Option<&str>, available: bool) {
        let key = (location.to_owned(), server_type.map(str::to_owned));
        let mut cloud = self.cloud();
        if available {
            cloud.closed.remove(&key);
        } else {
            cloud.closed.insert(key);
        }
    }

    /// Calls the API from inside, as a project and past its ledger, faults, tokens and limits: this
    /// is how a world sets up what stands there before the first client comes. `path` begins
    /// behind `/v1`. Returns the status and the body.
    pub async fn ask(
        &self,
        project: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request =
            Request::new(body.map_or_else(Body::empty, |body| body.to_string().into()));
        *request.method_mut() = method;
        let Ok(uri) = format!("/v1{path}").parse() else {
            return (404, Value::Null);
        };
        *request.uri_mut() = uri;
        request.extensions_mut().insert(gate::Caller {
            project: project.to_owned(),
        });
        request.extensions_mut().insert(gate::Effects::default());
        let router = self.routes().with_state(self.clone());
        let answer = match TowerToHyperService::new(router).call(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let status = answer.status().as_u16();
        let bytes = to_bytes(answer.into_body(), usize::MAX).await;
        let body = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        (status, body.unwrap_or_default())
    }

    /// Waits until no action of any server is running: for ever, if a fault made one stick.
    pub async fn settled(&self) {
        loop {
            let ended = self.0.ended.notified();
            if !self.cloud().busy() {
                return;
            }
            ended.await;
        }
    }

    fn available(&self, location: &str, server_type: &catalogue::ServerType) -> bool {
        let closed: &BTreeSet<(String, Option<String>)> = &self.cloud().closed;
        self.region(location).is_some()
            && !server_type.retired
            && server_type.architecture == "x86"
            && !closed.contains(&(location.to_owned(), None))
            && !closed.contains(&(location.to_owned(), Some(server_type.name.to_owned())))
    }

    fn region(&self, location: &str) -> Option<usize> {
        self.0
            .settings
            .places
            .iter()
            .find(|place| place.location == location)
            .map(|place| place.region)
    }

    fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.0.cloud.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn router(&self) -> Router {
        self.routes()
            // Routed before the token is read: an unknown path is 404 even without one.
            .route_layer(from_fn_with_state(self.clone(), gate::guard))
            .fallback(offers::unknown_path)
            .layer(from_fn_with_state(self.clone(), gate::witness))
            .layer(from_fn(gate::bounded))
            .with_state(self.clone())
    }

    fn routes(&self) -> Router<Hetzner> {
        let server = get(servers::get)
            .put(servers::update)
            .delete(servers::delete);
        let key = get(ssh_keys::get)
            .put(ssh_keys::update)
            .delete(ssh_keys::delete);
        let set = get(rrsets::get).put(rrsets::update).delete(rrsets::delete);
        let mut router = Router::new()
            .route("/v1/servers", get(servers::list).post(create::create))
            .route("/v1/servers/{id}", server)
            .route("/v1/servers/{id}/actions", get(servers::actions))
            .route(
                "/v1/servers/{id}/actions/{action}",
                post(servers::act).get(servers::action),
            )
            .route("/v1/actions", get(servers::actions_by_id))
            .route("/v1/actions/{id}", get(servers::any_action))
            .route("/v1/ssh_keys", get(ssh_keys::list).post(ssh_keys::create))
            .route("/v1/ssh_keys/{id}", key)
            .route("/v1/locations", get(offers::locations))
            .route("/v1/locations/{id}", get(offers::location))
            .route("/v1/server_types", get(offers::server_types))
            .route("/v1/server_types/{id}", get(offers::server_type))
            .route("/v1/images", get(images::list))
            .route("/v1/images/{id}", get(images::get).delete(images::delete))
            .route(
                "/v1/floating_ips",
                get(floating_ips::list).post(floating_ips::create),
            )
            .route(
                "/v1/floating_ips/{id}",
                get(floating_ips::get).delete(floating_ips::delete),
            )
            .route(
                "/v1/floating_ips/{id}/actions/{action}",
                post(floating_ips::act),
            )
            .route(
                "/v1/firewalls",
                get(firewalls::list).post(firewalls::create),
            )
            .route(
                "/v1/firewalls/{id}",
                get(firewalls::get).delete(firewalls::delete),
            )
            .route("/v1/firewalls/{id}/actions/{action}", post(firewalls::act))
            .route("/v1/zones", get(zones::list).post(zones::create))
            .route("/v1/zones/{zone}", get(zones::get).delete(zones::delete))
            .route("/v1/zones/actions", get(zones::all_actions))
            .route("/v1/zones/actions/{id}", get(servers::any_action))
            .route("/v1/zones/{zone}/actions", get(zones::actions))
            .route(
                "/v1/zones/{zone}/rrsets",
                get(rrsets::list).post(rrsets::create),
            )
            .route("/v1/zones/{zone}/rrsets/{name}/{kind}", set)
            .route(
                "/v1/zones/{zone}/rrsets/{name}/{kind}/actions/{action}",
                post(rrsets::act),
            )
            .route("/v1/datacenters", any(offers::removed))
            .route("/v1/datacenters/{id}", any(offers::removed));
        for absent in offers::NOT_SIMULATED {
            router = router
                .route(&format!("/v1/{absent}"), any(offers::not_simulated))
                .route(
                    &format!("/v1/{absent}/{{*rest}}"),
                    any(offers::not_simulated),
                );
        }
        router.method_not_allowed_fallback(offers::bad_method)
    }
}
