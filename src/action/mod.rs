//! The contract of an action: look before you act, act so that it may be said twice, look again.
//!
//! `observe` comes before `apply`, always; `verify` alone makes a step succeed. Actions never see the
//! journal: what they must remember goes through [`Context`], which returns when it is on disk.

mod approve;
mod ask_dns;
mod backup_choice;
mod backups;
mod bootstrap_key;
mod check_backups;
mod check_command;
mod check_dns;
mod check_http;
mod check_redis;
mod check_sql;
mod check_tcp;
mod check_tls;
mod compose_up;
mod config_files;
mod context;
mod data_checks;
mod data_kinds;
mod dataset_restore;
mod dataset_verify;
mod dns_names;
mod dns_switch;
mod egress;
mod egress_rules;
mod firewall_apply;
mod first_contact;
mod gate;
mod host_job;
mod host_packages;
mod host_put;
mod host_reboot;
mod host_render;
mod host_run;
mod host_script;
mod host_server;
mod host_service;
mod host_wait;
mod hosts;
mod ip_assign;
mod kind_table;
mod limits;
mod new_server;
mod notify;
mod own_script;
mod placed_file;
mod rehearsal;
mod server_create;
mod server_delete;
mod server_from_snapshot;
mod server_named;
mod server_place;
mod server_power;
mod server_snapshot;
mod services;
mod snapshot_choice;
mod template_file;
mod wait;

pub use check_backups::examine as backups_of;
pub use context::{ADOPTED, ADOPTED_ATTEMPTS, Context, Given, Person, Record, StepNotes};
pub use egress::{Egress, dropped};
pub use egress_rules::Dropped;
pub use hosts::{HostFacts, Hosts, Reach};
pub use kind_table::{Bind, Kind, Verb, decode_args};
pub use limits::Planned;
pub use rehearsal::Rehearsal;
pub use services::{Secrets, Services};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::ids::RunId;
use crate::kind::{Evidence, Failure, Finding, Observation, Open, Output, Reason};

/// What a verify brings back when it agrees with the world.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// What later steps may refer to. Same shape as the kind's sample.
    pub output: Output,
    /// What was looked at.
    pub evidence: Vec<Evidence>,
    /// What it leaves for people to see to.
    pub open: Vec<Open>,
}

impl Verified {
    /// Nothing to refer to, one thing seen.
    pub fn seen(what: impl Into<String>, saw: impl std::fmt::Display) -> Self {
        Self {
            output: Output::new(),
            evidence: vec![Evidence::new(what, saw)],
            open: Vec::new(),
        }
    }

    /// Adds an output.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.output.insert(name.to_string(), value.into());
        self
    }

    /// Adds an output that quotes what a program, a page or a database answered. Secrets in it are masked; a step that refers to such a
    /// value is told so.
    #[must_use]
    pub fn answered(self, name: &str, value: impl Into<serde_json::Value>, cx: &Context) -> Self {
        let mut value = value.into();
        cx.services.mask.clean_value(&mut value);
        self.with(name, value)
    }

    /// Adds a thing that stays open, for good or until it settles by itself.
    #[must_use]
    pub fn leaves(mut self, what: impl Into<String>, until: Option<Timestamp>) -> Self {
        self.open.push(Open {
            what: what.into(),
            until,
        });
        self
    }

    /// Adds that something of before is kept, for as long as nobody lets go of it.
    #[must_use]
    pub fn keeps(self, what: &str, run: &RunId) -> Self {
        let words = format!("{what} is kept until `dr-plan release {}`", run.short());
        self.leaves(words, None)
    }

    /// Adds a thing that was seen.
    #[must_use]
    pub fn and(mut self, what: impl Into<String>, saw: impl std::fmt::Display) -> Self {
        self.evidence.push(Evidence::new(what, saw));
        self
    }
}

/// What a step does, with its arguments filled in.
#[async_trait]
pub trait Action: Send + Sync {
    /// What it acts on, in a few words without secrets: "server `dr-shop-db` at hetzner/nbg1".
    fn title(&self) -> String;

    /// Before the run starts: is this going to work? Reads only. Arguments may still hold samples
    /// where they come from earlier steps.
    async fn precheck(&self, _cx: &Context) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }

    /// Looks at the world without changing it. An `Err` means that the question failed in passing (and is asked again).
    async fn observe(&self, cx: &Context) -> Result<Observation, Failure>;

    /// Makes the wanted state true. May be called again after a crash anywhere inside.
    async fn apply(&self, cx: &Context) -> Result<(), Failure>;

    /// Looks again.
    async fn verify(&self, cx: &Context) -> Result<Verified, Failure>;

    /// Takes back what apply made, as the kind's `undo` word says. Looks first; safe to call again.
    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure>;

    /// Whether it took out of service what served before: that comes back before users are sent there again.
    fn fences(&self) -> bool {
        false
    }

    /// Asked before users are moved back: whether there is something for them to come back to. Looks only.
    async fn can_go_back(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        Ok(Vec::new())
    }

    /// Those whom it asks, by name, if only they may answer.
    fn asks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Local files that it reads and that belong to the plan. A run keeps copies, and a resume reads those. Never a secret.
    fn files(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }

    /// What it would say to people: a preview prints it instead. Its arguments may hold placeholders (`<db.ipv4>`).
    fn message(&self, _cx: &Context) -> Option<String> {
        None
    }

    /// What it would create, and what a month of that costs. Asked by a preview; reads only.
    async fn costs(&self, _cx: &Context) -> Result<Vec<Cost>, Failure> {
        Ok(Vec::new())
    }

    /// How long it takes, where its arguments say so.
    fn takes(&self) -> Option<std::time::Duration> {
        None
    }

    /// The one host that everything it makes lies on, if it is so: it is gone with that host.
    fn host(&self) -> Option<&str> {
        None
    }

    /// What it is aimed at. In a drill only what the run itself has made may be touched.
    fn target(&self) -> Target {
        match self.host() {
            Some(host) => Target::Hosts(vec![host.to_string()]),
            None => Target::Estate,
        }
    }

    /// Whom a look asks.
    fn asked(&self) -> Asked {
        Asked::Nobody
    }

    /// Whom its gate asks, also where it is only looked at.
    fn decides(&self) -> Vec<Asked> {
        Vec::new()
    }

    /// The names and addresses that lead elsewhere when it is done.
    fn moves(&self) -> Vec<Move> {
        Vec::new()
    }

    /// What a drill does in its place where it is aimed at something that the run did not make: looks, and changes nothing.
    async fn probe(&self, cx: &Context) -> Result<Verified, Failure> {
        let title = self.title();
        Ok(probed(&title, self.observe(cx).await?))
    }

    /// What it kept of before, so that it could be put back. Looks only.
    async fn kept(&self, _cx: &Context) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    /// Lets go of what it kept; after that there is no way back. Safe to call again.
    async fn release(&self, _cx: &Context) -> Result<(), Failure> {
        Ok(())
    }
}

/// What an action is aimed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Hosts, by the names that steps use.
    Hosts(Vec<String>),
    /// Something that was not there before, and that carries the run's mark.
    New,
    /// Something of the estate: a zone, an address, a server that stands.
    Estate,
}

/// Whom a look asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nobody whom a drill would have to mind.
    Nobody,
    /// Whoever answers at this name or address, from this machine.
    Name(String),
    /// This very address, whatever names say.
    Address(String),
    /// A host, by the name that steps use.
    Host(String),
    /// Name servers, for the records of these names.
    Records(Vec<String>),
}

/// A name (or an address that can be moved) and where it leads to afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The whole name, or the address.
    pub what: String,
    /// Where to.
    pub to: MovedTo,
}

/// Where a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MovedTo {
    /// An address.
    Address(std::net::IpAddr),
    /// A host's own address.
    Host(String),
}

/// What an observation says of a step that is only looked at.
fn probed(title: &str, seen: Observation) -> Verified {
    let stops = |why: String| {
        Verified::seen(
            title,
            format!("only looked: a failover would stop here: {why}"),
        )
        .leaves(format!("in a failover `{title}` would stop: {why}"), None)
    };
    match seen {
        Observation::Done => Verified::seen(title, "only looked: it is so already"),
        Observation::Absent => Verified::seen(title, "only looked: a failover would do it"),
        Observation::Partial { what } => Verified::seen(
            title,
            format!("only looked: a failover would do it; {what}"),
        ),
        Observation::Running { what } => stops(format!("something is at work on it: {what}")),
        Observation::Foreign { what, .. } => stops(what),
        Observation::CannotTell { why, .. } => stops(format!("nobody can tell: {why}")),
        Observation::Unseen { why } => {
            Verified::seen(title, format!("could not be looked at: {why}")).leaves(
                format!("`{title}` could not be looked at: {why}; how it stands is not known"),
                None,
            )
        }
    }
}

/// Something that would be created.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    /// The account that pays.
    pub account: String,
    /// What: its type and place.
    pub what: String,
    /// A month's price, net, in the account's currency; none if the provider names no price.
    pub monthly: Option<f64>,
}

/// An action that only looks: its verify is all it does.
#[async_trait]
pub trait Look: Send + Sync {
    /// What it looks at.
    fn title(&self) -> String;

    /// See [`Action::precheck`].
    async fn precheck(&self, _cx: &Context) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }

    /// See [`Action::asks`].
    fn asks(&self) -> Vec<String> {
        Vec::new()
    }

    /// See [`Action::asked`].
    fn asked(&self) -> Asked {
        Asked::Nobody
    }

    /// One look. A failure with reason `Verify`, `Unreachable` or `Timeout` is looked at again until the step's deadline.
    async fn look(&self, cx: &Context) -> Result<Verified, Failure>;

    /// See [`Action::takes`].
    fn takes(&self) -> Option<std::time::Duration> {
        None
    }

    /// See [`Action::files`].
    fn files(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }
}

#[async_trait]
impl<T: Look> Action for T {
    fn title(&self) -> String {
        Look::title(self)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        Look::precheck(self, cx).await
    }

    fn asks(&self) -> Vec<String> {
        Look::asks(self)
    }

    async fn observe(&self, _cx: &Context) -> Result<Observation, Failure> {
        Ok(Observation::Absent)
    }

    async fn apply(&self, _cx: &Context) -> Result<(), Failure> {
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        self.look(cx).await
    }

    async fn undo(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        Ok(vec![Evidence::new("a look", "leaves nothing to take back")])
    }

    fn takes(&self) -> Option<std::time::Duration> {
        Look::takes(self)
    }

    fn asked(&self) -> Asked {
        Look::asked(self)
    }

    /// Asked once; what is not so has a reason: the drill did not make it so.
    async fn probe(&self, cx: &Context) -> Result<Verified, Failure> {
        let saw = match self.look(cx).await {
            Ok(seen) => {
                let seen = seen.evidence.into_iter();
                let words: Vec<String> = seen.map(|e| format!("{}: {}", e.what, e.saw)).collect();
                words.join("; ")
            }
            Err(failure) => failure.message,
        };
        Ok(Verified::seen(
            Look::title(self),
            format!("only looked: {saw}"),
        ))
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        Look::files(self)
    }
}

/// SHA-256 as sha256sum(1) writes it.
/// There is no way back: what stood there before was let go of, or half of it was.
fn let_go_of(cx: &Context, what: &str) -> Failure {
    let run = cx.run.short();
    let words = format!("{what} was let go of: nothing is taken back");
    Failure::new(Reason::Refused, words).hint(format!(
        "dr-plan release {run} ends what was begun; dr-plan undo {run} --leave {} takes back the rest",
        cx.step
    ))
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A host that an argument names must be in the inventory or be made by an earlier step.
fn host_named(
    name: &str,
    args: &crate::yaml::Node,
    key: &str,
    bind: &Bind,
) -> Result<(), crate::problem::Problem> {
    if bind.hosts.contains(name) {
        return Ok(());
    }
    let place = args.place_of(key);
    let problem = crate::problem::Problem::error(
        "unknown-host",
        place,
        format!("no host is called `{name}`"),
    );
    Err(
        match crate::problem::nearest(name, bind.hosts.iter().map(String::as_str)) {
            Some(near) => problem.instead(near),
            None => problem
                .help("a host is named by the inventory or is the `role` of a `server.create` or `server.from_snapshot`"),
        },
    )
}

/// All kinds, in the order of the documentation.
pub const KINDS: &[Kind] = &[
    Kind::of::<server_create::ServerCreate>(),
    Kind::of::<server_snapshot::ServerSnapshot>(),
    Kind::of::<server_from_snapshot::ServerFromSnapshot>(),
    Kind::of::<server_delete::ServerDelete>(),
    Kind::of::<server_power::ServerPower>(),
    Kind::of::<firewall_apply::FirewallApply>(),
    Kind::of::<host_run::HostRun>(),
    Kind::of::<host_script::HostScript>(),
    Kind::of::<host_put::HostPut>(),
    Kind::of::<host_render::HostRender>(),
    Kind::of::<host_packages::HostPackages>(),
    Kind::of::<host_service::HostService>(),
    Kind::of::<host_wait::HostWait>(),
    Kind::of::<host_reboot::HostReboot>(),
    Kind::of::<compose_up::ComposeUp>(),
    Kind::of::<dataset_restore::DatasetRestore>(),
    Kind::of::<dataset_verify::DatasetVerify>(),
    Kind::of::<check_backups::CheckBackups>(),
    Kind::of::<check_http::CheckHttp>(),
    Kind::of::<check_tcp::CheckTcp>(),
    Kind::of::<check_tls::CheckTls>(),
    Kind::of::<check_sql::CheckSql>(),
    Kind::of::<check_redis::CheckRedis>(),
    Kind::of::<check_command::CheckCommand>(),
    Kind::of::<check_dns::CheckDns>(),
    Kind::of::<dns_switch::DnsSwitch>(),
    Kind::of::<check_dns::DnsWait>(),
    Kind::of::<ip_assign::IpAssign>(),
    Kind::of::<approve::Approve>(),
    Kind::of::<wait::Wait>(),
    Kind::of::<notify::Notify>(),
];

/// Kinds that the language names and this version does not carry out yet.
pub const LATER: &[&str] = &[
    "dataset.backup",
    "dataset.prune",
    "dataset.replicate",
    "postgres.promote",
    "postgres.standby",
    "postgres.table",
    "dns.ttl",
];

/// A kind by name.
pub fn kind_of(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The names of all kinds.
pub fn kind_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}
