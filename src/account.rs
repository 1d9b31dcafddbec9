//! Provider files: accounts at clouds and DNS services. They hold references to credentials, never credentials.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::{Place, Problem, Source};
use crate::secret::SecretRef;
use crate::yaml::{self, Node, Schema, Templates};

/// Where the API of Hetzner Cloud answers (docs.hetzner.cloud).
pub const HETZNER_ENDPOINT: &str = "https://api.hetzner.cloud/v1";
/// The server id that PowerDNS always has in its own API.
pub const POWERDNS_SERVER: &str = "localhost";

/// An account. Paths of secrets are resolved against the folder of its file.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The name that inventories and plans know it by.
    pub name: String,
    /// Where the name was written.
    pub place: Place,
    /// What it is an account of, with what only that kind has.
    pub kind: AccountKind,
    /// Opens the API.
    pub token: SecretRef,
    /// Opens the project for drills, if there is another one.
    pub drill_token: Option<SecretRef>,
    /// The API's address, without a final `/`.
    pub endpoint: String,
    /// Nothing real is behind it.
    pub sandbox: bool,
    /// Names of our own for groups of regions (`eu: [fsn1, nbg1]`).
    pub regions: BTreeMap<String, Vec<String>>,
    /// Our name for an image to the provider's.
    pub images: BTreeMap<String, String>,
    /// Our name for a type to the provider's.
    pub sizes: BTreeMap<String, String>,
    /// What is refused above.
    pub limits: Limits,
    /// The text it was made from.
    pub source: Arc<Source>,
}

/// What an account is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountKind {
    /// Hetzner Cloud: servers and zones of a project.
    Hetzner {
        /// The name servers to ask about its zones; empty: those that are assigned to the zone.
        nameservers: Vec<SocketAddr>,
    },
    /// A PowerDNS authoritative server: zones.
    Powerdns {
        /// Its id in its own API.
        server: String,
        /// The name servers to ask; empty: those of the delegation.
        nameservers: Vec<SocketAddr>,
    },
}

impl AccountKind {
    /// The word in the file.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hetzner { .. } => "hetzner",
            Self::Powerdns { .. } => "powerdns",
        }
    }

    /// Whether servers can be made there.
    pub fn has_servers(&self) -> bool {
        matches!(self, Self::Hetzner { .. })
    }

    /// Whether zones are served there.
    pub fn has_zones(&self) -> bool {
        matches!(self, Self::Hetzner { .. } | Self::Powerdns { .. })
    }

    /// The shortest lifetime of records that it takes, in seconds.
    pub fn least_ttl(&self) -> u32 {
        match self {
            Self::Hetzner { .. } => 60,
            Self::Powerdns { .. } => 0,
        }
    }
}

/// What an account may use at most.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Servers at one time, those of others in the account too.
    pub servers: Option<u32>,
    /// What all servers together may cost a month, in the account's currency.
    #[schemars(range(min = 0))]
    pub monthly_cost: Option<f64>,
}

/// An account at a cloud or a DNS service.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AccountText {
    /// The version of the format: 1.
    #[schemars(range(min = 1, max = 1))]
    #[allow(dead_code)] // the schema has checked it
    version: u32,
    /// The name that inventories and plans know it by.
    name: String,
    /// Which service it is.
    kind: Word,
    /// Opens the API: the token of Hetzner, the API key of PowerDNS.
    token: SecretRef,
    /// hetzner: opens the project in which drills make and delete their servers, if that is another one.
    drill_token: Option<SecretRef>,
    /// The API's address, where it is not the service's usual one.
    endpoint: Option<String>,
    /// Nothing real is behind this endpoint.
    #[serde(default)]
    sandbox: bool,
    /// powerdns: the server's id in its own API; by default `localhost`.
    server: Option<String>,
    /// The name servers to ask about zones (`ip:port`), where the delegation (powerdns) or the zone itself (hetzner) does
    /// not name them.
    #[serde(default)]
    #[allow(dead_code)] // read from the tree, with their places
    nameservers: Vec<String>,
    /// Names of our own for groups of regions.
    #[serde(default)]
    regions: BTreeMap<String, Vec<String>>,
    /// Our name for an image to the provider's.
    #[serde(default)]
    images: BTreeMap<String, String>,
    /// Our name for a type to the provider's.
    #[serde(default)]
    sizes: BTreeMap<String, String>,
    /// What is refused above.
    #[serde(default)]
    limits: Limits,
}

/// Which service it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = ["digitalocean", "linode", "vultr", "cloudflare", "rfc2136"]))]
enum Word {
    /// Hetzner Cloud: servers and zones.
    Hetzner,
    /// PowerDNS: zones.
    Powerdns,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<AccountText>);

/// The JSON Schema of a provider file.
pub fn schema() -> serde_json::Value {
    SCHEMA.json().clone()
}

/// Reads and checks provider files, by their names. On failure: the problems of all of them.
pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<BTreeMap<String, Account>, Vec<Problem>> {
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    let mut problems = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        let account = yaml::read(path, File::open(path))
            .map_err(|problem| vec![problem])
            .and_then(|source| read(&source, path.parent().unwrap_or(Path::new(""))));
        match account {
            Ok(account) => match accounts.get(&account.name) {
                Some(first) => problems.push(
                    Problem::error(
                        "duplicate-name",
                        &account.place,
                        format!("two provider files have the name `{}`", account.name),
                    )
                    .also(&first.place, "the other one"),
                ),
                None => {
                    accounts.insert(account.name.clone(), account);
                }
            },
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        Ok(accounts)
    } else {
        Err(problems)
    }
}

/// The files of a folder that [`load`] takes: `*.yaml` and `*.yml`, sorted.
pub fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The name of an account whose file has problems, if it can be read.
pub fn name_in(source: &Arc<Source>) -> Option<String> {
    let root = yaml::parse(source).0?;
    root.get("name").and_then(Node::as_str).map(str::to_string)
}

/// One account from a text; paths in it are relative to `folder`.
pub fn read(source: &Arc<Source>, folder: &Path) -> Result<Account, Vec<Problem>> {
    let (root, mut problems) = yaml::parse(source);
    let Some(root) = root else {
        return Err(problems);
    };
    problems.extend(SCHEMA.check(&root, Templates::Refused));
    let text = match serde_json::from_value::<AccountText>(root.to_json()) {
        Ok(text) => text,
        Err(error) => {
            if problems.is_empty() {
                problems.push(Problem::error(
                    "wrong-value",
                    &root.place,
                    error.to_string(),
                ));
            }
            return Err(problems);
        }
    };
    let kind = kind(&text, &root, &mut problems);
    let endpoint = endpoint(&text, &root, &mut problems);
    problems.sort_by_key(|problem| problem.labels.first().map_or(0, |(place, _)| place.start));
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Account {
        place: root
            .get("name")
            .map_or(&root.place, |name| &name.place)
            .clone(),
        name: text.name,
        kind,
        token: text.token.beside(folder),
        drill_token: text.drill_token.map(|token| token.beside(folder)),
        endpoint,
        sandbox: text.sandbox,
        regions: text.regions,
        images: text.images,
        sizes: text.sizes,
        limits: text.limits,
        source: source.clone(),
    })
}

fn kind(text: &AccountText, root: &Node, problems: &mut Vec<Problem>) -> AccountKind {
    let (foreign, owner): (&[&str], _) = match text.kind {
        Word::Hetzner => (&["server"], "powerdns"),
        Word::Powerdns => (
            &["regions", "images", "sizes", "limits", "drill_token"],
            "hetzner",
        ),
    };
    for key in foreign {
        if let Some((written, _)) = root.entry(key) {
            problems.push(Problem::error(
                "misplaced-key",
                &written.place,
                format!("`{key}` belongs to the kind `{owner}`"),
            ));
        }
    }
    let mut nameservers = Vec::new();
    for node in root.get("nameservers").map(Node::items).unwrap_or_default() {
        match node.as_str().unwrap_or_default().parse() {
            Ok(address) => nameservers.push(address),
            Err(_) => problems.push(
                Problem::error("wrong-value", &node.place, "this is no address with a port")
                    .help("write it like `192.0.2.53:53`"),
            ),
        }
    }
    match text.kind {
        Word::Hetzner => AccountKind::Hetzner { nameservers },
        Word::Powerdns => AccountKind::Powerdns {
            server: text
                .server
                .clone()
                .unwrap_or_else(|| POWERDNS_SERVER.into()),
            nameservers,
        },
    }
}

/// The address to talk to. A cloud has one address; another one is a simulator and must say so, for behind it nothing
/// is real and approvals may be answered by a flag.
fn endpoint(text: &AccountText, root: &Node, problems: &mut Vec<Problem>) -> String {
    let place = root.key_place("endpoint");
    let Some(written) = &text.endpoint else {
        if text.kind == Word::Powerdns {
            let place = root.key_place("kind");
            problems.push(
                Problem::error(
                    "missing-key",
                    place,
                    "an account of the kind `powerdns` needs the key `endpoint`",
                )
                .help("the address of its API, such as `http://127.0.0.1:8081`"),
            );
        } else if text.sandbox {
            problems.push(
                Problem::error(
                    "real-endpoint",
                    root.key_place("sandbox"),
                    "`sandbox: true` without an `endpoint` of its own would reach the real service",
                )
                .help("add the simulator's `endpoint`, or take `sandbox` out"),
            );
        }
        return HETZNER_ENDPOINT.into();
    };
    let endpoint = written.trim_end_matches('/').to_string();
    let sound = url::Url::parse(&endpoint).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if !sound {
        problems.push(
            Problem::error(
                "wrong-value",
                place,
                format!("`{written}` is no address of an API"),
            )
            .help("write it like `https://api.example.com/v1`, without a user or password"),
        );
    }
    if text.kind == Word::Hetzner {
        let real = endpoint == HETZNER_ENDPOINT;
        if real && text.sandbox {
            problems.push(Problem::error(
                "real-endpoint",
                root.key_place("sandbox"),
                "this endpoint is the real service, not a sandbox",
            ));
        }
        if !real && !text.sandbox {
            problems.push(
                Problem::error("other-endpoint", place, "this endpoint is not that of Hetzner Cloud")
                    .help("mark the account `sandbox: true` if it is a simulator; the token would be sent there"),
            );
        }
    }
    endpoint
}

#[cfg(test)]
mod tests;
