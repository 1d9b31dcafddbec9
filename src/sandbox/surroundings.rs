//! All services of a world at once, started side by side: the cloud's API and its levers, the
//! store, the names.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::Method;
use serde_json::json;

use super::api::hetzner::{Hetzner, Settings, Token};
use super::listen::Listening;
use super::machines::Machines;
use super::messages;
use super::names::{
    Authoritative, NamesError, Publisher, Resolver, start_authoritative, start_resolver,
};
use super::repository;
use super::secrets::WorldSecrets;
use super::store::{ObjectStore, StoreError, make_bucket, serve};

/// The estate's domain.
pub const ZONE: &str = "shop.example";

/// A second domain of the estate, whose zone is kept by the simulated cloud and served by the same name server.
pub const CLOUD_ZONE: &str = "shop-eu.example";

/// The bucket of its backups.
pub const BUCKET: &str = "shop-backups";

/// The file of received messages, below the folder of the services.
pub const MESSAGES: &str = "messages.jsonl";

/// Where the services listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The Hetzner API; the endpoint is `http://ADDRESS/v1`.
    pub hetzner: SocketAddr,
    /// The levers of the simulated cloud (`/_sandbox/...`).
    pub control: SocketAddr,
    /// The S3-compatible store.
    pub store: SocketAddr,
    /// The authoritative name server.
    pub names: SocketAddr,
    /// Its HTTP API.
    pub names_api: SocketAddr,
    /// The caching resolver.
    pub resolver: SocketAddr,
    /// Where messages of a runbook arrive (see [`super::messages`]).
    pub messages: SocketAddr,
    /// The package repository (see [`super::repository`]).
    pub packages: SocketAddr,
}

impl Addresses {
    /// Those of a world: on its loopback, in a corner of the first region's network that no server
    /// gets, so that hosts of every region reach them. The levers are for the world alone.
    pub fn of_world() -> Addresses {
        let at = |last, port| SocketAddr::from((Ipv4Addr::new(198, 18, 255, last), port));
        Addresses {
            hetzner: at(1, 80),
            control: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            store: at(2, 80),
            names: at(3, 53),
            names_api: at(3, 8081),
            resolver: SocketAddr::from((super::network::RESOLVER, 53)),
            messages: at(5, 80),
            packages: at(6, 80),
        }
    }

    /// The addresses that the world's loopback has to have before [`Services::start`].
    pub fn on_loopback(&self) -> Vec<std::net::IpAddr> {
        let all = [
            self.hetzner,
            self.store,
            self.names,
            self.names_api,
            self.resolver,
            self.messages,
            self.packages,
        ];
        let mut all: Vec<_> = all.map(|address| address.ip()).to_vec();
        all.dedup();
        all
    }
}

/// A service that can be taken away from the estate and brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The cloud's API.
    Hetzner,
    /// The authoritative name server and its API: they are one process.
    Dns,
    /// The store of the backups.
    Store,
    /// The caching resolver.
    Resolver,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Hetzner, Part::Dns, Part::Store, Part::Resolver];
}

/// Why the services could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    #[error("starting the sandbox's store")]
    Store(#[from] StoreError),
    #[error("starting the sandbox's names")]
    Names(#[from] NamesError),
    #[error("making the zone {CLOUD_ZONE} at the simulated cloud: {0}")]
    Zone(String),
    #[error("listening on {address} for {what}")]
    Listen {
        what: &'static str,
        address: SocketAddr,
        source: std::io::Error,
    },
}

/// The running services. Dropping them ends them all; taking one of the parts out and dropping it
/// takes that one away from the estate, as `sandbox break` does.
pub struct Services {
    pub hetzner: Hetzner,
    /// Where the cloud's API answers; `None` once it was broken.
    pub api: Option<Listening>,
    pub control: Listening,
    pub store: Option<ObjectStore>,
    pub names: Option<Authoritative>,
    pub resolver: Option<Resolver>,
    _messages: Listening,
    _packages: Listening,
    addresses: Addresses,
    folder: PathBuf,
}

impl Services {
    /// Starts everything, with an empty bucket [`BUCKET`] and the zone [`ZONE`] without addresses.
    /// Files go below `folder`. The cloud has a project `default` and a project `drill`.
    ///
    /// # Errors
    /// The first part that does not start; what was started ends with the error.
    pub async fn start(
        folder: &Path,
        addresses: Addresses,
        regions: usize,
        secrets: &WorldSecrets,
        machines: Arc<dyn Machines>,
    ) -> Result<Services, ServicesError> {
        let mut settings = Settings::new(secrets.hcloud_token(), regions);
        for (value, project, read_only) in [
            (secrets.hcloud_readonly_token(), "default", true),
            (secrets.hcloud_drill_token(), "drill", false),
        ] {
            settings.tokens.push(Token {
                value: value.to_owned(),
                project: project.to_owned(),
                read_only,
            });
        }
        let hetzner = Hetzner::new(settings, machines);
        let buckets = folder.join("store");
        let publisher = Publisher::new(addresses.names_api, secrets.powerdns_key());
        hetzner.serve_zones(Arc::new(publisher));
        let names = async {
            let names = start_authoritative(
                &folder.join("powerdns"),
                addresses.names,
                addresses.names_api,
                secrets.powerdns_key(),
            )
            .await?;
            names.create_zone(ZONE, &[]).await?;
            let zone = json!({ "name": CLOUD_ZONE, "mode": "primary", "ttl": 3600 });
            let (status, said) = hetzner
                .ask("default", Method::POST, "/zones", Some(zone))
                .await;
            if status != 201 {
                return Err(ServicesError::Zone(said.to_string()));
            }
            Ok(names)
        };
        let unbound = folder.join("unbound");
        let stubs = [(ZONE, addresses.names), (CLOUD_ZONE, addresses.names)];
        let resolver = async {
            let resolver = start_resolver(&unbound, addresses.resolver, &stubs).await?;
            Ok(resolver)
        };
        let api = async {
            let listening = hetzner.serve(addresses.hetzner).await;
            listening.map_err(|source| ServicesError::Listen {
                what: "the cloud's API",
                address: addresses.hetzner,
                source,
            })
        };
        let control = async {
            let listening = hetzner.serve_control(addresses.control).await;
            listening.map_err(|source| ServicesError::Listen {
                what: "the cloud's levers",
                address: addresses.control,
                source,
            })
        };
        let messages = async {
            let listening = messages::serve(addresses.messages, &folder.join(MESSAGES)).await;
            listening.map_err(|source| ServicesError::Listen {
                what: "messages",
                address: addresses.messages,
                source,
            })
        };
        let packages = async {
            let listening = repository::serve(addresses.packages, &folder.join("repository")).await;
            listening.map_err(|source| ServicesError::Listen {
                what: "packages",
                address: addresses.packages,
                source,
            })
        };
        let store = async {
            let (access, secret) = (secrets.s3_access_key(), secrets.s3_secret_key());
            let store = serve(addresses.store, &buckets, access, secret).await?;
            make_bucket(&buckets, BUCKET)?;
            Ok(store)
        };
        let (names, resolver, api, control, store, messages, packages) =
            tokio::try_join!(names, resolver, api, control, store, messages, packages)?;
        Ok(Services {
            hetzner,
            api: Some(api),
            control,
            store: Some(store),
            names: Some(names),
            resolver: Some(resolver),
            _messages: messages,
            _packages: packages,
            addresses,
            folder: folder.to_owned(),
        })
    }

    /// Takes a part away: its connections are refused, what it keeps stays. Servers of the cloud
    /// go on without its API; the resolver goes on without the name server until its answers age.
    pub fn take_away(&mut self, part: Part) {
        match part {
            Part::Hetzner => self.api = None,
            Part::Store => self.store = None,
            Part::Dns => self.names = None,
            Part::Resolver => self.resolver = None,
        }
    }

    /// Brings it back with what it kept; a part that is there is left alone.
    ///
    /// # Errors
    /// It does not start: somebody else took the address meanwhile, or its program is gone.
    pub async fn bring_back(
        &mut self,
        part: Part,
        secrets: &WorldSecrets,
    ) -> Result<(), ServicesError> {
        let Addresses {
            hetzner,
            store,
            names,
            names_api,
            resolver,
            ..
        } = self.addresses;
        match part {
            Part::Hetzner if self.api.is_none() => {
                let listening = self.hetzner.serve(hetzner).await;
                self.api = Some(listening.map_err(|source| ServicesError::Listen {
                    what: "the cloud's API",
                    address: hetzner,
                    source,
                })?);
            }
            Part::Store if self.store.is_none() => {
                let folder = self.folder.join("store");
                let (access, secret) = (secrets.s3_access_key(), secrets.s3_secret_key());
                self.store = Some(serve(store, &folder, access, secret).await?);
            }
            Part::Dns if self.names.is_none() => {
                let folder = self.folder.join("powerdns");
                let key = secrets.powerdns_key();
                self.names = Some(start_authoritative(&folder, names, names_api, key).await?);
            }
            Part::Resolver if self.resolver.is_none() => {
                let folder = self.folder.join("unbound");
                let stubs = [(ZONE, names), (CLOUD_ZONE, names)];
                self.resolver = Some(start_resolver(&folder, resolver, &stubs).await?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a part is there.
    pub fn has(&self, part: Part) -> bool {
        match part {
            Part::Hetzner => self.api.is_some(),
            Part::Store => self.store.is_some(),
            Part::Dns => self.names.is_some(),
            Part::Resolver => self.resolver.is_some(),
        }
    }

    /// Where everything listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The folder of a bucket's objects.
    pub fn bucket(&self) -> PathBuf {
        self.folder.join("store").join(BUCKET)
    }
}
