//! What the cloud holds: servers, keys and actions, and how each is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Hetzner;
use super::catalogue::{ServerType, location};
use super::labels::Labels;

/// A server of one project.
#[derive(Clone, Debug)]
pub struct Server {
    pub id: i64,
    pub project: String,
    pub name: String,
    pub status: &'static str,
    /// Counts the changes of `status`, so that a look at the machines that began before one does
    /// not undo it.
    pub changes: u64,
    pub created: Timestamp,
    pub labels: Labels,
    pub location: &'static str,
    pub region: usize,
    pub server_type: &'static ServerType,
    /// The image it was made from, as the API shows it.
    pub image: Value,
    /// The copy of a disk that its machine begins with.
    pub copy: Option<String>,
    pub address: Ipv4Addr,
    /// Name of the machine behind it.
    pub machine: String,
    /// Whether that machine was made yet.
    pub made: bool,
    pub protected: bool,
    pub user_data: String,
    pub authorized_keys: Vec<String>,
    pub disk_bytes: u64,
    /// Answered 404 until then; the flag says whether lists leave it out too.
    pub hidden: Option<(Instant, bool)>,
}

impl Server {
    /// Whether a fault hides it now, from lists or from a look at its id.
    pub fn is_hidden(&self, in_lists: bool) -> bool {
        self.hidden
            .is_some_and(|(until, lists)| (lists || !in_lists) && Instant::now() < until)
    }
}

/// A public key of one project.
#[derive(Clone, Debug)]
pub struct SshKey {
    pub id: i64,
    pub project: String,
    pub name: String,
    pub fingerprint: String,
    pub public_key: String,
    pub labels: Labels,
    pub created: Timestamp,
}

impl SshKey {
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "public_key": self.public_key,
            "labels": self.labels,
            "created": shown(self.created),
        })
    }
}

/// Something that takes its time.
#[derive(Clone, Debug)]
pub struct Action {
    pub id: i64,
    pub project: String,
    /// What it works on: `server`, `zone`, ...
    pub of: &'static str,
    /// The id of that.
    pub server: i64,
    pub command: &'static str,
    pub status: &'static str,
    pub progress: u8,
    pub started: Timestamp,
    pub finished: Option<Timestamp>,
    /// Code and message.
    pub error: Option<(String, String)>,
}

impl Action {
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "command": self.command,
            "status": self.status,
            "progress": self.progress,
            "started": shown(self.started),
            "finished": self.finished.map(shown),
            "resources": [{ "id": self.server, "type": self.of }],
            "error": self.error.as_ref().map(|(code, message)| json!({ "code": code, "message": message })),
        })
    }
}

/// All of it.
#[derive(Debug, Default)]
pub struct Cloud {
    pub servers: BTreeMap<i64, Server>,
    pub keys: BTreeMap<i64, SshKey>,
    pub floating_ips: BTreeMap<i64, super::floating_ips::FloatingIp>,
    pub firewalls: BTreeMap<i64, super::firewalls::Firewall>,
    pub snapshots: BTreeMap<i64, super::images::Snapshot>,
    pub zones: BTreeMap<i64, super::zones::Zone>,
    pub actions: BTreeMap<i64, Action>,
    /// Places without room: a location, and one type or all.
    pub closed: BTreeSet<(String, Option<String>)>,
    given: i64,
    /// Hosts handed out per region: an address is not given twice before the network is through.
    hosts: BTreeMap<usize, u16>,
}

/// The first host number given to servers: 198.18.1.0. Those below are the world's own.
const FIRST_HOST: u16 = 256;

impl Cloud {
    /// Ids grow, and are as large as the real ones: some fit no 32 bits.
    pub fn server_id(&mut self) -> i64 {
        104_000_000 + self.next()
    }

    pub fn key_id(&mut self) -> i64 {
        24_000_000 + self.next()
    }

    pub fn floating_ip_id(&mut self) -> i64 {
        47_000_000 + self.next()
    }

    pub fn firewall_id(&mut self) -> i64 {
        2_100_000 + self.next()
    }

    pub fn image_id(&mut self) -> i64 {
        310_000_000 + self.next()
    }

    pub fn zone_id(&mut self) -> i64 {
        53_000 + self.next()
    }

    pub fn action_id(&mut self) -> i64 {
        604_989_101_000_000 + self.next()
    }

    fn next(&mut self) -> i64 {
        self.given += 1;
        self.given
    }

    /// The next address of a region that no server has, or `None` when all are taken.
    pub fn address(&mut self, region: usize) -> Option<Ipv4Addr> {
        let network = 18 + u8::try_from(region).ok()?;
        for _ in 0..=u16::MAX {
            let last = self.hosts.entry(region).or_insert(FIRST_HOST);
            *last = last.checked_add(1).unwrap_or(FIRST_HOST + 1);
            let [high, low] = last.to_be_bytes();
            let address = Ipv4Addr::new(198, network, high, low);
            let edge = low == 0 || low == 255;
            if !edge
                && self
                    .servers
                    .values()
                    .all(|server| server.address != address)
            {
                return Some(address);
            }
        }
        None
    }

    /// Whether an action is running on the server, or on what else has that id: ids are given once.
    pub fn locked(&self, server: i64) -> bool {
        self.actions
            .values()
            .any(|action| action.server == server && action.status == "running")
    }

    pub fn busy(&self) -> bool {
        self.actions
            .values()
            .any(|action| action.status == "running")
    }

    /// Enters a new running action of a server.
    pub fn begin(&mut self, project: &str, server: i64, command: &'static str) -> Action {
        self.begin_on(project, "server", server, command)
    }

    /// Enters a new running action.
    pub fn begin_on(
        &mut self,
        project: &str,
        of: &'static str,
        server: i64,
        command: &'static str,
    ) -> Action {
        let action = Action {
            id: self.action_id(),
            project: project.to_owned(),
            of,
            server,
            command,
            status: "running",
            progress: 0,
            started: Timestamp::now(),
            finished: None,
            error: None,
        };
        self.actions.insert(action.id, action.clone());
        action
    }

    pub fn server_json(&self, server: &Server, api: &Hetzner) -> Value {
        let [a, b, c, d] = server.address.octets();
        // `available` takes the lock that the caller holds: here the type is shown as it is sold
        // to this server, whose own place had room.
        let sold = |place: &str| api.region(place).is_some() && !server.server_type.retired;
        json!({
            "id": server.id,
            "name": server.name,
            "status": server.status,
            "created": shown(server.created),
            "public_net": {
                "ipv4": {
                    "id": server.id + 1_000_000,
                    "ip": server.address.to_string(),
                    "blocked": false,
                    "dns_ptr": format!("static.{d}.{c}.{b}.{a}.clients.your-server.de"),
                },
                "ipv6": null,
                "floating_ips": self
                    .floating_ips
                    .values()
                    .filter(|one| one.server == Some(server.id))
                    .map(|one| one.id)
                    .collect::<Vec<_>>(),
                "firewalls": self
                    .firewalls
                    .values()
                    .filter(|one| one.servers.contains(&server.id))
                    .map(|one| json!({ "id": one.id, "status": "applied" }))
                    .collect::<Vec<_>>(),
            },
            "private_net": [],
            "server_type": server.server_type.json(sold),
            "location": location(server.location).map(super::catalogue::Location::json),
            "image": server.image,
            "iso": null,
            "rescue_enabled": false,
            "locked": self.locked(server.id),
            "backup_window": null,
            "outgoing_traffic": 0,
            "ingoing_traffic": 0,
            "included_traffic": 21_990_232_555_520_u64,
            "protection": { "delete": server.protected, "rebuild": server.protected },
            "labels": server.labels,
            "volumes": [],
            "load_balancers": [],
            "primary_disk_size": server.server_type.disk,
            "placement_group": null,
        })
    }
}

/// Times as this API writes them: UTC, whole seconds.
pub fn shown(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .map_or_else(|_| time.to_string(), |time| time.to_string())
}
