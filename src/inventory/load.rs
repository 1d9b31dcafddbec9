//! From the text of an inventory to the inventory, collecting everything that is wrong on the way.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;

use super::draft::{
    BackupText, ChannelText, DatasetText, DomainText, HostText, InventoryText, KeyText, Person,
    SshText, StoreText,
};
use super::{
    Address, BackupSource, Channel, ChannelKind, Dataset, DatasetKind, Domain, Host, Inventory,
    Key, Location, Ssh, Store, StoreKind,
};
use crate::problem::{Place, Problem, Source, nearest};
use crate::yaml::{self, Node, Schema, Templates};

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<InventoryText>);

pub(super) fn schema() -> &'static Schema {
    &SCHEMA
}

/// Reads and checks an inventory file. On failure: all its problems, in the order of the file.
pub fn load(path: &Path) -> Result<Inventory, Vec<Problem>> {
    let source = yaml::read(path, File::open(path)).map_err(|problem| vec![problem])?;
    read(&source, path.parent().unwrap_or(Path::new("")))
}

/// The same from a text; paths in it are relative to `folder`.
pub fn read(source: &Arc<Source>, folder: &Path) -> Result<Inventory, Vec<Problem>> {
    let examined = examine(source, folder);
    match examined.inventory {
        Some(inventory) if examined.problems.is_empty() => Ok(inventory),
        _ => Err(examined.problems),
    }
}

/// An inventory as far as it could be read, so that what goes with it can be looked at too.
#[derive(Debug)]
pub struct Examined {
    /// What could be read; nothing when the text is no inventory at all.
    pub inventory: Option<Inventory>,
    /// Everything that was written with a name and is not in it: hosts, datasets, stores, ...
    pub unread: Vec<String>,
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads and checks a text, and gives also what is left of one with errors.
pub fn examine(source: &Arc<Source>, folder: &Path) -> Examined {
    let (root, mut problems) = yaml::parse(source);
    let Some(root) = root else {
        return Examined {
            inventory: None,
            unread: Vec::new(),
            problems,
        };
    };
    problems.extend(schema().check(&root, Templates::Refused));
    let mut draft = Draft {
        root: &root,
        folder,
        sound: problems.is_empty(),
        problems,
        names: HashMap::new(),
        suggestions: 100,
    };
    let inventory = draft.inventory(source);
    let mut problems = draft.problems;
    problems.sort_by_key(|problem| problem.labels.first().map_or(0, |(place, _)| place.start));
    let mut unread = Vec::new();
    let mut compare = |part: &str, read: &dyn Fn(&str) -> bool| {
        let written = root.get(part).map(Node::entries).unwrap_or_default();
        let names = written.iter().filter_map(|(name, _)| name.as_str());
        unread.extend(names.filter(|name| !read(name)).map(str::to_string));
    };
    compare("hosts", &|name| inventory.hosts.contains_key(name));
    compare("stores", &|name| inventory.stores.contains_key(name));
    compare("keys", &|name| inventory.keys.contains_key(name));
    compare("datasets", &|name| inventory.datasets.contains_key(name));
    compare("domains", &|name| inventory.domains.contains_key(name));
    compare("notify", &|name| inventory.notify.contains_key(name));
    compare("people", &|name| inventory.people.contains_key(name));
    Examined {
        inventory: Some(inventory),
        unread,
        problems,
    }
}

struct Draft<'a> {
    root: &'a Node,
    folder: &'a Path,
    /// The tree has the right shape: what serde refuses then was not shown yet.
    sound: bool,
    problems: Vec<Problem>,
    /// The names in each part that was asked about.
    names: HashMap<&'static str, HashSet<&'a str>>,
    /// How many more words are compared with all names: nobody reads more.
    suggestions: usize,
}

impl<'a> Draft<'a> {
    fn inventory(&mut self, source: &Arc<Source>) -> Inventory {
        let text = |key: &str| {
            self.root
                .get(key)
                .and_then(Node::as_str)
                .map(str::to_string)
        };
        let (name, sandbox) = (text("name").unwrap_or_default(), text("sandbox"));
        let providers = self
            .root
            .get("providers")
            .map(Node::items)
            .unwrap_or_default();
        let providers = providers
            .iter()
            .filter_map(|item| Some((self.beside(item.as_str()?), item.place.clone())))
            .collect();
        let defaults = self
            .root
            .get("ssh")
            .and_then(|node| self.typed::<SshText>(node))
            .unwrap_or_default();
        if let Some(node) = self.root.get("ssh") {
            self.check_jump(node, None);
        }
        let ssh = self.ssh(defaults.clone(), SshText::default());
        let hosts = self.part("hosts", |draft, name, key, node, text: HostText| {
            if let Some(own) = node.get("ssh") {
                draft.check_jump(own, Some(name));
            }
            Some(Host {
                name: name.to_string(),
                place: key.place.clone(),
                address: text.address,
                at: draft.location(node),
                server: text.server,
                roles: text.roles,
                protected: text.protected,
                ssh: draft.ssh(text.ssh, defaults.clone()),
            })
        });
        self.check_jump_rings(&hosts);
        Inventory {
            name,
            sandbox,
            providers,
            ssh,
            stores: self.part("stores", Self::store),
            keys: self.part("keys", Self::key),
            datasets: self.part("datasets", Self::dataset),
            domains: self.part("domains", |_, name, key, node, text: DomainText| {
                Some(Domain {
                    name: name.trim_end_matches('.').to_ascii_lowercase(),
                    place: key.place.clone(),
                    dns: text.dns,
                    dns_place: node.get("dns").map_or(&key.place, |dns| &dns.place).clone(),
                    ttl: text.ttl,
                })
            }),
            notify: self.part("notify", Self::channel),
            people: self.part("people", |_, _, _, _, people: Vec<Person>| Some(people)),
            hosts,
            source: source.clone(),
        }
    }

    /// Reads the entries of a part one by one, so that a broken one hides no other.
    fn part<T: DeserializeOwned, U>(
        &mut self,
        part: &str,
        make: impl Fn(&mut Self, &str, &'a Node, &'a Node, T) -> Option<U>,
    ) -> BTreeMap<String, U> {
        let mut made = BTreeMap::new();
        for (key, node) in self.root.get(part).map(Node::entries).unwrap_or_default() {
            let name = key.as_str().unwrap_or_default();
            let Some(text) = self.typed::<T>(node) else {
                continue;
            };
            if let Some(one) = make(self, name, key, node, text) {
                made.insert(name.to_string(), one);
            }
        }
        made
    }

    /// Reads a value. Keys in which a problem was found are left out, so that the others are still looked at.
    fn typed<T: DeserializeOwned>(&mut self, node: &Node) -> Option<T> {
        let error = match serde_json::from_value(node.to_json()) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if self.sound {
            self.problems.push(Problem::error(
                "wrong-value",
                &node.place,
                error.to_string(),
            ));
            return None;
        }
        let sound = node.entries().iter().filter(|(key, value)| {
            let whole = Place {
                end: value.place.end.max(key.place.end),
                ..key.place.clone()
            };
            !self.refused_within(&whole)
        });
        let fields = sound.map(|(key, value)| {
            (
                key.as_str().unwrap_or_default().to_string(),
                value.to_json(),
            )
        });
        serde_json::from_value(serde_json::Map::from_iter(fields).into()).ok()
    }

    fn store(
        &mut self,
        name: &str,
        key: &'a Node,
        node: &'a Node,
        text: StoreText,
    ) -> Option<Store> {
        let kind = match (text.s3, text.local) {
            (Some(mut s3), None) => {
                s3.access_key = s3.access_key.beside(self.folder);
                s3.secret_key = s3.secret_key.beside(self.folder);
                StoreKind::S3(s3)
            }
            (None, Some(local)) => StoreKind::Local(self.beside(&local.path)),
            (Some(_), Some(_)) => return self.two_kinds(node, "s3", "local"),
            (None, None) => return self.no_kind(key, node, "s3` or `local"),
        };
        Some(Store {
            name: name.to_string(),
            place: key.place.clone(),
            kind,
            at: self.location(node),
        })
    }

    fn key(&mut self, _: &str, key: &'a Node, node: &'a Node, text: KeyText) -> Option<Key> {
        match (text.gpg, text.age) {
            (Some(gpg), None) => Some(Key::GpgPassphrase(gpg.passphrase.beside(self.folder))),
            (None, Some(age)) => Some(Key::AgeIdentity(age.identity.beside(self.folder))),
            (Some(_), Some(_)) => self.two_kinds(node, "gpg", "age"),
            (None, None) => self.no_kind(key, node, "gpg` or `age"),
        }
    }

    fn channel(
        &mut self,
        _: &str,
        key: &'a Node,
        node: &'a Node,
        text: ChannelText,
    ) -> Option<Channel> {
        let kind = match (text.webhook, text.slack, text.telegram) {
            (Some(webhook), None, None) => ChannelKind::Webhook(self.address(webhook.url)),
            (None, Some(slack), None) => ChannelKind::Slack(self.address(slack.webhook)),
            (None, None, Some(telegram)) => ChannelKind::Telegram {
                token: telegram.token.beside(self.folder),
                chat: telegram.chat,
                api: telegram
                    .api
                    .map(|api| api.trim_end_matches('/').to_string()),
            },
            (None, None, None) => return self.no_kind(key, node, "webhook`, `slack` or `telegram"),
            (Some(_), Some(_), _) => return self.two_kinds(node, "webhook", "slack"),
            (Some(_), _, Some(_)) => return self.two_kinds(node, "webhook", "telegram"),
            (_, Some(_), Some(_)) => return self.two_kinds(node, "slack", "telegram"),
        };
        Some(Channel {
            kind,
            when: text.when,
        })
    }

    fn address(&self, address: Address) -> Address {
        match address {
            Address::Secret(secret) => Address::Secret(secret.beside(self.folder)),
            plain => plain,
        }
    }

    fn dataset(
        &mut self,
        name: &str,
        key: &'a Node,
        node: &'a Node,
        text: DatasetText,
    ) -> Option<Dataset> {
        let mut kinds = Vec::new();
        kinds.extend(text.postgres.map(DatasetKind::Postgres));
        kinds.extend(text.redis.map(|mut redis| {
            redis.password = redis.password.map(|secret| secret.beside(self.folder));
            DatasetKind::Redis(redis)
        }));
        if let Some(files) = text.files {
            self.check_files(node.get("files").unwrap_or(node), &files);
            kinds.push(DatasetKind::Files(files));
        }
        if let Some(mut config) = text.config {
            self.check_config(node.get("config").unwrap_or(node), &config);
            config.templates = config.templates.map(|folder| self.folder.join(folder));
            kinds.push(DatasetKind::Config(config));
        }
        let kind = match kinds.len() {
            0 => return self.no_kind(key, node, "postgres`, `redis`, `files` or `config"),
            1 => kinds.remove(0),
            _ => return self.two_kinds(node, kinds[0].word(), kinds[1].word()),
        };
        if let Some(host) = node.get(kind.word()).and_then(|kind| kind.get("host")) {
            self.known(host, "hosts", "host");
        }
        let written = node.get("backups").map(Node::items).unwrap_or_default();
        if written.is_empty() {
            self.problems.push(
                Problem::error(
                    "no-backups",
                    &key.place,
                    format!("nothing says where the backups of `{name}` lie"),
                )
                .help("add `backups`: what has none cannot come back"),
            );
        }
        let backups = written
            .iter()
            .zip(text.backups)
            .map(|(node, text)| self.backup(node, text, &kind))
            .collect();
        Some(Dataset {
            name: name.to_string(),
            place: key.place.clone(),
            kind,
            backups,
            max_age: text.max_age,
        })
    }

    /// Each path means one file, each value one text.
    fn check_config(&mut self, node: &Node, config: &super::Config) {
        let written = node.get("files").map(Node::items).unwrap_or_default();
        if written.is_empty() {
            let place = node.place_of("files");
            let words = "a configuration without a file";
            self.problems
                .push(Problem::error("wrong-value", place, words));
        }
        for (at, path) in config.files.iter().enumerate() {
            let place = written.get(at).map_or(&node.place, |one| &one.place);
            let words = if !path.strip_prefix('/').is_some_and(plain) {
                "this is no absolute path of a file, without `..`"
            } else if config.files[..at].contains(path) {
                "this file is listed twice"
            } else {
                continue;
            };
            self.problems
                .push(Problem::error("wrong-value", place, words));
        }
        let values = node.get("values").unwrap_or(node);
        for (name, value) in &config.values {
            if value.to_string().contains("{{") {
                let words = "a reference stands in the `values` of the step that restores";
                let problem = Problem::error("wrong-value", values.place_of(name), words);
                self.problems.push(problem);
            }
        }
        if config
            .check
            .as_ref()
            .is_some_and(|check| check.trim().is_empty())
        {
            let place = node.place_of("check");
            let words = "a check without a command lets everything through";
            self.problems
                .push(Problem::error("wrong-value", place, words));
        }
    }

    /// Paths that mean one place, and nothing that a shell or a program could read as something else.
    fn check_files(&mut self, node: &Node, files: &super::Files) {
        let inside = files.path.strip_prefix('/').unwrap_or_default();
        let mut wrong = |key: &str, words: &str| {
            let problem = Problem::error("wrong-value", node.place_of(key), words);
            self.problems.push(problem);
        };
        if !plain(inside) {
            wrong(
                "path",
                "this is no absolute path of a folder, without `..` and a `/` at its end",
            );
        }
        if let Some(within) = &files.within
            && !plain(within)
        {
            wrong("within", "this is no path of a folder in the archive");
        }
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        if let Some(owner) = &files.owner
            && (owner.is_empty() || owner.starts_with('-') || !owner.chars().all(name))
        {
            wrong("owner", "this is not `user` or `user:group`");
        }
    }

    fn backup(&mut self, node: &Node, text: BackupText, kind: &DatasetKind) -> BackupSource {
        for (key, part, word) in [("store", "stores", "store"), ("key", "keys", "key")] {
            if let Some(name) = node.get(key) {
                self.known(name, part, word);
            }
        }
        if let Some(path) = node.get("path")
            && !text.path.contains("{time}")
            && !text.path.contains("{time:")
        {
            self.problems.push(
                Problem::error(
                    "no-time",
                    &path.place,
                    "this path does not say where the time of a backup stands",
                )
                .help("write `{time}` or, with its format, `{time:%Y%m%d}`"),
            );
        }
        if let Some(zone) = node.get("zone")
            && let Err(problem) = super::zone(text.zone.as_deref().unwrap_or("UTC"), &zone.place)
        {
            self.problems.push(problem);
        }
        let form = text.form.unwrap_or(kind.forms()[0]);
        if let Some(node) = node.get("form")
            && !kind.forms().contains(&form)
        {
            self.problems.push(Problem::error(
                "wrong-form",
                &node.place,
                format!("this is no form of a `{}` backup", kind.word()),
            ));
        }
        BackupSource {
            place: node.place.clone(),
            store: text.store,
            path: text.path,
            form,
            compressed: text.compressed,
            key: text.key,
            checksums: text.checksums,
            zone: text.zone,
        }
    }

    /// The name must be one of a part of the inventory.
    fn known(&mut self, node: &Node, part: &'static str, word: &str) {
        let Some(name) = node.as_str() else { return };
        let root = self.root;
        let names = self.names.entry(part).or_insert_with(|| {
            let entries = root.get(part).map(Node::entries).unwrap_or_default();
            entries.iter().filter_map(|(key, _)| key.as_str()).collect()
        });
        if names.contains(name) {
            return;
        }
        let right = match self.suggestions.checked_sub(1) {
            Some(rest) => {
                self.suggestions = rest;
                nearest(name, names.iter().copied())
            }
            None => None,
        };
        let problem = Problem::error(
            "unknown-name",
            &node.place,
            format!("there is no {word} `{name}`"),
        );
        self.problems.push(match right {
            Some(right) => problem.instead(right),
            None => problem.help(format!("add it under `{part}`")),
        });
    }

    fn check_jump(&mut self, ssh: &Node, own: Option<&str>) {
        let Some(jump) = ssh.get("jump") else { return };
        if jump.as_str().is_some() && jump.as_str() == own {
            self.problems.push(Problem::error(
                "ring",
                &jump.place,
                "a host cannot be reached through itself",
            ));
        } else {
            self.known(jump, "hosts", "host");
        }
    }

    /// A chain of jumps must end somewhere. The way host that all others go through does not go through itself.
    fn check_jump_rings(&mut self, hosts: &BTreeMap<String, Host>) {
        for host in hosts.values() {
            let own = |name: &str| {
                let node = self.root.get("hosts")?.get(name)?.get("ssh")?.get("jump")?;
                Some((node.as_str()?, node))
            };
            let Some((mut next, node)) = own(&host.name) else {
                continue;
            };
            let mut seen = vec![host.name.as_str()];
            while let Some((further, _)) = own(next).filter(|_| !seen.contains(&next)) {
                seen.push(next);
                next = further;
            }
            if next == host.name && seen.len() > 1 {
                seen.push(next);
                self.problems.push(Problem::error(
                    "ring",
                    &node.place,
                    format!(
                        "these hosts are only reached through each other: `{}`",
                        seen.join("` through `")
                    ),
                ));
            }
        }
    }

    fn location(&mut self, node: &Node) -> Option<Location> {
        let at = node.get("at")?;
        let text = at.as_str()?;
        let location = Location::parse(text);
        if location.is_none() {
            self.problems.push(
                Problem::error("wrong-value", &at.place, format!("`{text}` is no place"))
                    .help("a place is written `provider/region`"),
            );
        }
        location
    }

    fn ssh(&self, own: SshText, estate: SshText) -> Ssh {
        let key = own.key.or(estate.key).map(|key| key.beside(self.folder));
        let beside_key = match &key {
            Some(crate::secret::SecretRef::File(path)) => {
                Some(PathBuf::from(format!("{path}.pub")))
            }
            _ => None,
        };
        Ssh {
            user: own.user.or(estate.user).unwrap_or_else(|| "root".into()),
            public: own
                .public
                .or(estate.public)
                .map(|path| self.beside(&path))
                .or(beside_key),
            known_hosts: own
                .known_hosts
                .or(estate.known_hosts)
                .map(|path| self.beside(&path)),
            jump: own.jump.or(estate.jump),
            port: own.port.or(estate.port).unwrap_or(22),
            key,
        }
    }

    fn beside(&self, path: &str) -> PathBuf {
        if path.starts_with("~/") {
            return PathBuf::from(path);
        }
        self.folder.join(path)
    }

    /// Nothing says what it is. Silent if a key was refused there already: it may be the kind.
    fn no_kind<T>(&mut self, key: &Node, node: &Node, kinds: &str) -> Option<T> {
        if !self.refused_within(&node.place) {
            let name = key.as_str().unwrap_or_default();
            self.problems.push(
                Problem::error(
                    "no-kind",
                    &key.place,
                    format!("`{name}` does not say what it is"),
                )
                .help(format!("it needs the key `{kinds}`")),
            );
        }
        None
    }

    fn refused_within(&self, place: &Place) -> bool {
        self.problems
            .iter()
            .filter_map(|problem| problem.labels.first())
            .any(|(refused, _)| refused.start >= place.start && refused.end <= place.end)
    }

    fn two_kinds<T>(&mut self, node: &Node, first: &str, second: &str) -> Option<T> {
        self.problems.push(
            Problem::error(
                "two-kinds",
                node.key_place(second),
                format!("it is `{first}` or `{second}`, not both"),
            )
            .also(node.key_place(first), "one of the two"),
        );
        None
    }
}

/// A path below something: every part is a name.
fn plain(path: &str) -> bool {
    !path.chars().any(char::is_control)
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}
