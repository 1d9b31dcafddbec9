//! The control socket of a world: one JSON line asks, one answers. People's commands, and tests,
//! reach the machines through it; the simulated APIs live in the same process and do not need it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use super::{
    api::hetzner,
    estate::{self, Estate, EstateError},
    hosts::Hosts,
    init::chain,
    machines::{Machine, MachineError, MachineSpec, Machines as _},
    places, secrets,
    secrets::{SecretsError, WorldSecrets},
    surroundings::{MESSAGES, Part, Services, ServicesError, ZONE},
};

/// What can be asked of a world.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    Status,
    Create {
        spec: Order,
    },
    PowerOff {
        name: String,
        graceful: bool,
    },
    PowerOn {
        name: String,
    },
    Reboot {
        name: String,
        graceful: bool,
    },
    Delete {
        name: String,
    },
    SetLink {
        name: String,
        up: bool,
    },
    LoseRegion {
        region: usize,
    },
    /// The demonstration estate, with what it holds; one that is there is found and left alone.
    BuildEstate,
    TakeAway {
        part: Part,
    },
    BringBack {
        part: Part,
    },
    /// Room at a location of the cloud, for one type of server or for all.
    Capacity {
        location: String,
        server_type: Option<String>,
        available: bool,
    },
}

/// [`MachineSpec`] on the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub name: String,
    pub region: usize,
    pub address: Option<std::net::Ipv4Addr>,
    pub mac: Option<String>,
    pub disk_bytes: u64,
    pub user_data: String,
    pub authorized_keys: Vec<String>,
}

impl From<Order> for MachineSpec {
    fn from(order: Order) -> Self {
        let Order {
            name,
            region,
            address,
            mac,
            disk_bytes,
            user_data,
            authorized_keys,
        } = order;
        Self {
            name,
            region,
            address,
            mac,
            image: None,
            disk_bytes,
            user_data,
            authorized_keys,
        }
    }
}

impl From<MachineSpec> for Order {
    fn from(spec: MachineSpec) -> Self {
        let MachineSpec {
            name,
            region,
            address,
            mac,
            image: _,
            disk_bytes,
            user_data,
            authorized_keys,
        } = spec;
        Self {
            name,
            region,
            address,
            mac,
            disk_bytes,
            user_data,
            authorized_keys,
        }
    }
}

/// What a world answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    Status { status: Box<WorldStatus> },
    Machine { machine: Machine },
    Estate { estate: Estate },
    Done,
    Failed { why: String },
}

/// The world as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldStatus {
    pub name: String,
    pub regions: usize,
    /// What the cloud calls the regions, in their order; those it does not sell have no name.
    pub locations: Vec<String>,
    pub lost: Vec<usize>,
    pub machines: Vec<Machine>,
    /// `None`: a bare world.
    pub services: Option<ServicesStatus>,
    pub estate: Option<Estate>,
}

/// The services of a world: addresses inside it, and what was taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicesStatus {
    /// Endpoint of the Hetzner API.
    pub hetzner: String,
    /// Endpoint of the levers of that cloud.
    pub levers: String,
    /// Endpoint of the S3-compatible store.
    pub store: String,
    /// The authoritative name server.
    pub names: String,
    /// Endpoint of its HTTP API.
    pub names_api: String,
    /// The caching resolver.
    pub resolver: String,
    /// The package repository.
    pub packages: String,
    /// Where a runbook's messages go.
    pub messages: String,
    /// The file they are kept in.
    pub messages_file: String,
    /// The folder of the world's secrets.
    pub secrets: String,
    pub zone: String,
    pub taken_away: Vec<Part>,
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("asking the world on {path}")]
    Wire {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the world's answer makes no sense: {0}")]
    Answer(String),
    #[error("{0}")]
    Refused(String),
}

/// Asks and waits, as long as it takes. `socket` is a path of the world's `/run`, or of
/// `/proc/PID/root` from outside.
pub fn ask(socket: &Path, ask: &Ask) -> Result<Answer, ControlError> {
    let wire = |source| ControlError::Wire {
        path: socket.display().to_string(),
        source,
    };
    let mut stream = UnixStream::connect(socket).map_err(wire)?;
    let line =
        serde_json::to_string(ask).map_err(|error| ControlError::Answer(error.to_string()))?;
    stream
        .write_all(format!("{line}\n").as_bytes())
        .map_err(wire)?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).map_err(wire)?;
    match serde_json::from_str(&text) {
        Ok(Answer::Failed { why }) => Err(ControlError::Refused(why)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(ControlError::Answer(error.to_string())),
    }
}

/// What a world is made of, as its daemon keeps it.
pub struct Daemon {
    pub world: String,
    pub hosts: Arc<Hosts>,
    /// `None`: a bare world.
    pub services: Option<Mutex<Services>>,
    /// Locked while it is built: a second wish waits and finds it.
    pub estate: Mutex<Option<Estate>>,
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Services(#[from] ServicesError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Estate(#[from] EstateError),
    #[error(
        "this world is bare: it has no cloud, no names and no store (take it down and bring it up without `--bare`)"
    )]
    Bare,
}

/// Serves until the world ends.
pub async fn serve(listener: tokio::net::UnixListener, daemon: Arc<Daemon>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, daemon.clone()));
            }
            Err(error) => eprintln!("control: accepting: {error}"),
        }
    }
}

async fn converse(stream: tokio::net::UnixStream, daemon: Arc<Daemon>) {
    let (read, mut write) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match serde_json::from_str(&line) {
            Ok(ask) => daemon
                .carry_out(ask)
                .await
                .unwrap_or_else(|error| Answer::Failed { why: chain(&error) }),
            Err(error) => Answer::Failed {
                why: format!("reading the question: {error}"),
            },
        };
        let Ok(text) = serde_json::to_string(&answer) else {
            return;
        };
        if write
            .write_all(format!("{text}\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

impl Daemon {
    async fn carry_out(&self, ask: Ask) -> Result<Answer, Refusal> {
        let hosts = &self.hosts;
        match ask {
            Ask::Status => {
                let status = Box::new(self.status().await);
                return Ok(Answer::Status { status });
            }
            Ask::Create { spec } => {
                return Ok(Answer::Machine {
                    machine: hosts.create(spec.into()).await?,
                });
            }
            Ask::PowerOff { name, graceful } => hosts.power_off(&name, graceful).await?,
            Ask::PowerOn { name } => hosts.power_on(&name).await?,
            Ask::Reboot { name, graceful } => hosts.reboot(&name, graceful).await?,
            Ask::Delete { name } => hosts.delete(&name).await?,
            Ask::SetLink { name, up } => hosts.set_link(&name, up).await?,
            Ask::LoseRegion { region } => {
                hosts.lose_region(region).await?;
                // The cloud sells nothing more there; its records of what it sold stay.
                if let Some(services) = &self.services
                    && let Some(location) = hetzner::location_names(hosts.regions()).get(region)
                {
                    let services = services.lock().await;
                    services.hetzner.set_available(location, None, false);
                }
            }
            Ask::BuildEstate => {
                let mut estate = self.estate.lock().await;
                if let Some(estate) = &*estate {
                    let estate = estate.clone();
                    return Ok(Answer::Estate { estate });
                }
                let services = self.services.as_ref().ok_or(Refusal::Bare)?;
                let built = estate::build(&self.hosts, services, &load_secrets()?).await?;
                *estate = Some(built.clone());
                return Ok(Answer::Estate { estate: built });
            }
            Ask::TakeAway { part } => {
                let services = self.services.as_ref().ok_or(Refusal::Bare)?;
                services.lock().await.take_away(part);
            }
            Ask::BringBack { part } => {
                let services = self.services.as_ref().ok_or(Refusal::Bare)?;
                let secrets = load_secrets()?;
                services.lock().await.bring_back(part, &secrets).await?;
            }
            Ask::Capacity {
                location,
                server_type,
                available,
            } => {
                let services = self.services.as_ref().ok_or(Refusal::Bare)?;
                let services = services.lock().await;
                let cloud = &services.hetzner;
                cloud.set_available(&location, server_type.as_deref(), available);
            }
        }
        Ok(Answer::Done)
    }

    async fn status(&self) -> WorldStatus {
        let services = match &self.services {
            Some(services) => Some(told(&*services.lock().await)),
            None => None,
        };
        WorldStatus {
            name: self.world.clone(),
            regions: self.hosts.regions(),
            locations: hetzner::location_names(self.hosts.regions()),
            lost: self.hosts.lost(),
            machines: self.hosts.list().await,
            services,
            // Somebody is building it: it is not there yet.
            estate: self
                .estate
                .try_lock()
                .ok()
                .and_then(|estate| estate.clone()),
        }
    }
}

fn load_secrets() -> Result<WorldSecrets, SecretsError> {
    WorldSecrets::load(Path::new(secrets::FOLDER))
}

fn told(services: &Services) -> ServicesStatus {
    let at = services.addresses();
    let messages = Path::new(places::SERVICES).join(MESSAGES);
    ServicesStatus {
        hetzner: format!("http://{}/v1", shown(at.hetzner)),
        levers: format!("http://{}/_sandbox", shown(at.control)),
        store: format!("http://{}", shown(at.store)),
        names: at.names.to_string(),
        names_api: format!("http://{}", shown(at.names_api)),
        resolver: at.resolver.to_string(),
        packages: format!("http://{}/", shown(at.packages)),
        messages: format!("http://{}/", shown(at.messages)),
        messages_file: messages.display().to_string(),
        secrets: secrets::FOLDER.to_owned(),
        zone: ZONE.to_owned(),
        taken_away: Part::ALL
            .into_iter()
            .filter(|part| !services.has(*part))
            .collect(),
    }
}

/// As it stands in a URL, without the port that a URL means anyway.
fn shown(address: std::net::SocketAddr) -> String {
    match address.port() {
        80 => address.ip().to_string(),
        _ => address.to_string(),
    }
}
