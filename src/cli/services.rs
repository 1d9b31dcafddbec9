//! Builds the estate's services with their secrets. Secrets are fetched here and whenever a step needs one; nothing of them
//! is ever written into a run.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::failure::{CliError, PROBLEMS};
use crate::account::{Account, AccountKind};
use crate::action::{Egress, HostFacts, Hosts, Reach, Rehearsal, Secrets, Services};
use crate::clock::Clock;
use crate::dns::hetzner::HetznerDns;
use crate::dns::powerdns::{self, PowerDns};
use crate::event::Drill;
use crate::http::{HttpOptions, Policy, http_client};
use crate::ids::RunId;
use crate::inventory::{Inventory, Ssh as SshRule, StoreKind, UrlStyle};
use crate::kind::{Failure, Reason, chain};
use crate::process::Program;
use crate::provider::Provider;
use crate::provider::hetzner::{self, Hetzner};
use crate::provider::leftover::{EXPIRES, expires};
use crate::secret::{Mask, Secret, SecretRef};
use crate::state::RunState;
use crate::store::{LocalStore, S3Settings, S3Store, Store};
use crate::transport::{LooksOnly, Pin, Ssh, SshSettings, Transport};
use crate::units::Socket;
use crate::vault::Vault;

/// The vault as actions see it. Paths in references were resolved when their file was read.
struct VaultSecrets(Vault);

#[async_trait::async_trait]
impl Secrets for VaultSecrets {
    async fn fetch(&self, reference: &SecretRef) -> Result<Secret, Failure> {
        self.0
            .fetch(reference, Path::new("/"))
            .await
            .map_err(|error| Failure::from_error(Reason::Denied, "fetching a secret", &error))
    }
}

/// SSH as the inventory describes it.
struct SshReach {
    inventory: Arc<Inventory>,
    folder: PathBuf,
    keys: BTreeMap<String, PathBuf>,
    /// Hosts of the inventory are only looked at.
    looks_only: bool,
}

impl Reach for SshReach {
    fn transport(&self, facts: &HostFacts) -> Result<Arc<dyn Transport>, Failure> {
        let host: Arc<dyn Transport> = Arc::new(Ssh::new(self.settings(facts)));
        // What the run made is known by its pinned key.
        Ok(match self.looks_only && facts.pins.is_empty() {
            true => Arc::new(LooksOnly(host)),
            false => host,
        })
    }
}

impl SshReach {
    fn of(inventory: &Arc<Inventory>, run_folder: &Path) -> Result<Self, CliError> {
        Ok(Self {
            inventory: inventory.clone(),
            folder: run_folder.join("ssh"),
            keys: key_files(inventory)?,
            looks_only: false,
        })
    }

    fn settings(&self, facts: &HostFacts) -> SshSettings {
        let known = self.inventory.hosts.get(&facts.name);
        let rule: &SshRule = known.map_or(&self.inventory.ssh, |host| &host.ssh);
        let known_hosts = if facts.pins.is_empty() {
            Pin::Files(rule.known_hosts.clone().into_iter().collect())
        } else {
            Pin::Keys(facts.pins.clone())
        };
        SshSettings {
            host: facts.name.clone(),
            address: facts.address.clone(),
            port: (rule.port != 22).then_some(rule.port),
            user: Some(rule.user.clone()),
            key: rule
                .key
                .as_ref()
                .and_then(|key| self.keys.get(&key_name(key)).cloned()),
            known_hosts,
            // A jump host leads to the old network; servers that the run made are reached directly.
            jump: if facts.pins.is_empty() {
                rule.jump.clone()
            } else {
                None
            },
            folder: self.folder.clone(),
            person_config: true,
        }
    }
}

/// The connection to one host, for a person.
pub fn ssh_of(
    inventory: &Arc<Inventory>,
    run_folder: &Path,
    facts: &HostFacts,
) -> Result<Ssh, CliError> {
    Ok(Ssh::new(
        SshReach::of(inventory, run_folder)?.settings(facts),
    ))
}

/// All hosts that a run knows: the inventory's, and those that its steps noted.
pub fn hosts_of(
    inventory: &Arc<Inventory>,
    run_folder: &Path,
    state: Option<&RunState>,
) -> Result<Hosts, CliError> {
    let reach = SshReach::of(inventory, run_folder)?;
    hosts_through(reach, inventory, state)
}

fn hosts_through(
    reach: SshReach,
    inventory: &Arc<Inventory>,
    state: Option<&RunState>,
) -> Result<Hosts, CliError> {
    let hosts = Hosts::new(Box::new(reach));
    for host in inventory.hosts.values() {
        hosts.add(HostFacts {
            name: host.name.clone(),
            address: host.address.clone(),
            pins: Vec::new(),
        })?;
    }
    for step in state.iter().flat_map(|state| &state.steps) {
        if let Some(facts) = step
            .notes
            .get("host")
            .and_then(|value| serde_json::from_value::<HostFacts>(value.clone()).ok())
        {
            hosts.add(facts)?;
        }
    }
    Ok(hosts)
}

fn key_name(reference: &SecretRef) -> String {
    crate::vault::describe(reference)
}

/// What to build.
pub struct Wanted<'a> {
    /// The estate.
    pub inventory: Arc<Inventory>,
    /// The plan's text; empty where there is no plan.
    pub plan: &'a str,
    /// The accounts.
    pub accounts: &'a BTreeMap<String, Account>,
    /// The run's folder.
    pub folder: PathBuf,
    /// What the run has noted so far.
    pub state: Option<&'a RunState>,
    /// Learns every secret.
    pub mask: Mask,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The run and the rules of a drill.
    pub drill: Option<(RunId, Drill)>,
}

/// Fetches tokens and keys and builds clients; nothing is sent to anybody yet.
pub async fn build(wanted: Wanted<'_>) -> Result<Services, CliError> {
    let environment: crate::vault::Environment = Box::new(|name: &str| std::env::var(name).ok());
    let vault = Vault::new(environment, wanted.mask.clone());
    let secrets = VaultSecrets(vault);
    for text in [wanted.plan, &wanted.inventory.source.text] {
        wanted.mask.open(text);
    }
    let reach = SshReach {
        looks_only: wanted.drill.is_some(),
        ..SshReach::of(&wanted.inventory, &wanted.folder)?
    };
    let mut services = Services {
        providers: BTreeMap::new(),
        dns: BTreeMap::new(),
        stores: BTreeMap::new(),
        hosts: hosts_through(reach, &wanted.inventory, wanted.state)?,
        secrets: Box::new(secrets),
        mask: wanted.mask.clone(),
        http: http_client(&HttpOptions::default())
            .map_err(|error| plain("preparing HTTP", &error))?,
        clock: wanted.clock,
        login_keys: login_keys(&wanted.inventory).await?,
        login_user: wanted.inventory.ssh.user.clone(),
        inventory: wanted.inventory.clone(),
        planned: Default::default(),
        rehearsal: Rehearsal::default(),
        folder: wanted.folder,
    };
    if let Some((_, drill)) = &wanted.drill {
        let (open, stores) = (allowed(drill), stores_of(&wanted.inventory));
        let egress = Egress::new(open, stores, peers_of(wanted.state));
        services.rehearsal.egress = Some(egress);
    }
    for account in wanted.accounts.values() {
        add_account(&mut services, account, wanted.drill.as_ref()).await?;
    }
    let sandbox = wanted.inventory.sandbox.is_some();
    for (name, store) in &wanted.inventory.stores {
        let store = build_store(&services, name, &store.kind, sandbox).await?;
        services.stores.insert(name.clone(), store);
    }
    Ok(services)
}

/// A folder for the connections of those who only look, gone with them.
pub fn passing_folder() -> Result<tempfile::TempDir, CliError> {
    tempfile::Builder::new()
        .prefix("dr-plan-look-")
        .tempdir()
        .map_err(|error| plain("making a folder", &error))
}

/// What is missing before a run can begin is a problem of what people wrote or keep, not a failed recovery.
fn unready(failure: Failure) -> CliError {
    let error = CliError::new(PROBLEMS, failure.message);
    match failure.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn plain(doing: &str, error: &dyn std::error::Error) -> CliError {
    CliError::new(PROBLEMS, format!("{doing}: {}", chain(error)))
}

/// What everything on servers of a drill may reach: what the plan allows.
fn allowed(drill: &Drill) -> Vec<Socket> {
    let allowed = drill.allow.iter();
    allowed
        .filter_map(|text| Socket::parse(text).ok())
        .collect()
}

/// Where backups come from.
fn stores_of(inventory: &Inventory) -> Vec<Socket> {
    let stores = inventory.stores.values().filter_map(|store| {
        let StoreKind::S3(s3) = &store.kind else {
            return None;
        };
        let region = s3.region.as_deref().unwrap_or("us-east-1");
        let amazon = format!("https://s3.{region}.amazonaws.com");
        let url = Url::parse(s3.endpoint.as_deref().unwrap_or(&amazon)).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_string();
        Some(Socket {
            host: match s3.style {
                UrlStyle::Path => host,
                _ => format!("{}.{host}", s3.bucket),
            },
            port: url.port_or_known_default()?,
        })
    });
    let mut all: Vec<Socket> = stores.collect();
    all.sort();
    all.dedup();
    all
}

/// The run's servers that keep what they send to themselves already.
fn peers_of(state: Option<&RunState>) -> BTreeMap<String, Vec<IpAddr>> {
    let steps = state.into_iter().flat_map(|state| &state.steps);
    let closed = steps.filter_map(|step| {
        let addresses = serde_json::from_value(step.notes.get("egress")?.clone()).ok()?;
        let name = step.notes.get("host")?.get("name")?.as_str()?;
        Some((name.to_string(), addresses))
    });
    closed.collect()
}

async fn add_account(
    services: &mut Services,
    account: &Account,
    drill: Option<&(RunId, Drill)>,
) -> Result<(), CliError> {
    let own = account.drill_token.as_ref().filter(|_| drill.is_some());
    let token = services
        .secrets
        .fetch(&account.token)
        .await
        .map_err(|failure| unready(failure.at(format!("token of `{}`", account.name))))?;
    let endpoint = Url::parse(&account.endpoint)
        .map_err(|error| plain(&format!("endpoint of `{}`", account.name), &error))?;
    // Nothing real is behind a sandbox, and a proxy of this machine does not lead there.
    let http = HttpOptions {
        direct: account.sandbox,
        ..HttpOptions::default()
    };
    let (mask, policy) = (services.mask.clone(), Policy::default());
    // A drill moves no names, and where its servers have a project of their own it makes nothing in the estate's.
    let looking = Policy {
        looks_only: drill.is_some(),
        ..Policy::default()
    };
    let name = account.name.clone();
    match &account.kind {
        AccountKind::Hetzner { nameservers } => {
            let settings = hetzner::Settings {
                account: name.clone(),
                endpoint,
                token,
                mask,
                http,
                policy,
                labels: drill.map(labels).unwrap_or_default(),
            };
            let failed = |error| plain(&format!("account `{name}`"), &error);
            // One project holds both; each side has a client of its own.
            let only_looks = hetzner::Settings {
                policy: looking,
                ..settings.clone()
            };
            let zones = HetznerDns::new(only_looks.clone(), nameservers.clone());
            let zones = zones.map_err(failed)?;
            services.dns.insert(name.clone(), Arc::new(zones));
            match own {
                None => {
                    let client = Hetzner::new(settings).map_err(failed)?;
                    services.providers.insert(name, Arc::new(client))
                }
                // What stands is looked at where it stands; what the drill makes, it makes in the project for drills.
                Some(token) => {
                    let token = services.secrets.fetch(token).await.map_err(|failure| {
                        unready(failure.at(format!("drill_token of `{name}`")))
                    })?;
                    let apart = hetzner::Settings { token, ..settings };
                    let apart = Hetzner::new(apart).map_err(failed)?;
                    let client = Hetzner::new(only_looks).map_err(failed)?;
                    let standing = &mut services.rehearsal.standing;
                    standing.insert(name.clone(), Arc::new(client));
                    services.providers.insert(name, Arc::new(apart))
                }
            };
        }
        AccountKind::Powerdns {
            server,
            nameservers,
        } => {
            let settings = powerdns::Settings {
                account: name.clone(),
                endpoint,
                key: token,
                server: server.clone(),
                nameservers: nameservers.clone(),
                mask,
                http,
                policy: looking,
            };
            let client = PowerDns::new(settings)
                .map_err(|error| plain(&format!("account `{name}`"), &error))?;
            services.dns.insert(name, Arc::new(client));
        }
    }
    Ok(())
}

/// What a drill puts on everything that it makes.
fn labels((run, drill): &(RunId, Drill)) -> BTreeMap<String, String> {
    [
        ("dr-plan/run".to_string(), run.to_string()),
        (EXPIRES.to_string(), expires(drill.expires)),
    ]
    .into()
}

/// Clients of the projects in which an account's drills may have left something: its own for drills, and the ordinary one. And why
/// one cannot be asked: a token that cannot be had is no reason not to look with the others.
pub async fn reaping(
    account: &Account,
    mask: &Mask,
) -> Result<(Vec<Box<dyn Provider>>, Vec<Failure>), CliError> {
    let environment: crate::vault::Environment = Box::new(|name: &str| std::env::var(name).ok());
    let secrets = VaultSecrets(Vault::new(environment, mask.clone()));
    let endpoint = Url::parse(&account.endpoint)
        .map_err(|error| plain(&format!("endpoint of `{}`", account.name), &error))?;
    let mut clients: Vec<Box<dyn Provider>> = Vec::new();
    let mut missing = Vec::new();
    for (key, reference) in [
        ("drill_token", account.drill_token.as_ref()),
        ("token", Some(&account.token)),
    ] {
        let Some(reference) = reference else { continue };
        let token = match secrets.fetch(reference).await {
            Ok(token) => token,
            Err(failure) => {
                missing.push(failure.at(format!("{key} of `{}`", account.name)));
                continue;
            }
        };
        let settings = hetzner::Settings {
            account: account.name.clone(),
            endpoint: endpoint.clone(),
            token,
            mask: mask.clone(),
            http: HttpOptions {
                direct: account.sandbox,
                ..HttpOptions::default()
            },
            policy: Policy::default(),
            labels: BTreeMap::new(),
        };
        let client = Hetzner::new(settings)
            .map_err(|error| plain(&format!("account `{}`", account.name), &error))?;
        clients.push(Box::new(client));
    }
    Ok((clients, missing))
}

async fn build_store(
    services: &Services,
    name: &str,
    kind: &StoreKind,
    sandbox: bool,
) -> Result<Arc<dyn Store>, CliError> {
    Ok(match kind {
        StoreKind::Local(folder) => Arc::new(LocalStore::new(name, folder)?),
        StoreKind::S3(s3) => {
            let fetch = async |reference: &SecretRef| {
                services
                    .secrets
                    .fetch(reference)
                    .await
                    .map_err(|failure| unready(failure.at(format!("store `{name}`"))))
            };
            let settings = S3Settings {
                name: name.to_string(),
                bucket: s3.bucket.clone(),
                endpoint: s3.endpoint.clone(),
                region: s3.region.clone().unwrap_or_else(|| "us-east-1".into()),
                access_key: fetch(&s3.access_key).await?,
                secret_key: fetch(&s3.secret_key).await?,
                path_style: s3.style == UrlStyle::Path,
                sandbox,
            };
            Arc::new(S3Store::new(&settings)?)
        }
    })
}

/// Login keys that are files. OpenSSH reads them itself: the key never passes through this process.
fn key_files(inventory: &Inventory) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let mut files = BTreeMap::new();
    let rules =
        std::iter::once(&inventory.ssh).chain(inventory.hosts.values().map(|host| &host.ssh));
    for key in rules.filter_map(|rule| rule.key.as_ref()) {
        let SecretRef::File(path) = key else {
            return Err(CliError::new(PROBLEMS, format!("the login key is {}, and only a file can be one", crate::vault::describe(key)))
                .hint("ssh: { key: { file: ~/.ssh/id_ed25519 } }, or leave `key` out and load it into your agent"));
        };
        files.insert(key_name(key), home(path));
    }
    Ok(files)
}

fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Public keys for new servers: `ssh.public`, else the `.pub` beside the key, else what the agent holds.
async fn login_keys(inventory: &Inventory) -> Result<Vec<String>, CliError> {
    let beside = match &inventory.ssh.key {
        Some(SecretRef::File(path)) => Some(PathBuf::from(format!("{path}.pub"))),
        _ => None,
    };
    let file = inventory.ssh.public.as_ref().or(beside.as_ref());
    let text = match file.map(|file| home(&file.to_string_lossy())) {
        Some(file) => std::fs::read_to_string(&file).map_err(|error| {
            let key = match beside.is_some() && inventory.ssh.public.as_ref().is_none_or(|public| Some(public) == beside.as_ref()) {
                true => "ssh: { key }",
                false => "ssh: { public }",
            };
            CliError::new(
                PROBLEMS,
                format!(
                    "`{key}` in {}: reading the public login key {}: {error}",
                    inventory.source.name,
                    file.display()
                ),
            )
            .hint("`ssh: { key: { file: FILE } }` names the key, with FILE.pub beside it; `ssh: { public: FILE }` the public one where it lies elsewhere")
        })?,
        None => match std::env::var_os("SSH_AUTH_SOCK") {
            None => return Ok(Vec::new()),
            Some(socket) => {
                let listed = Program::new("ssh-add")
                    .arg("-L")
                    .env("SSH_AUTH_SOCK", socket)
                    .run()
                    .await;
                let listed =
                    listed.map_err(|error| plain("asking the ssh agent for its keys", &error))?;
                if listed.ok() {
                    String::from_utf8_lossy(&listed.stdout).into_owned()
                } else {
                    String::new()
                }
            }
        },
    };
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_string)
        .collect())
}
