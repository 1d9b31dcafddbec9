//! The keys of an inventory as people write them: one source of truth for the JSON Schema, the check and the value.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretRef;
use crate::units::Span;

/// What exists, and what must come back.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // only for the schema: the parts are read one by one, so that a broken one hides no other
pub(super) struct InventoryText {
    /// The version of the format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// The estate's name; typed by hand before a real run changes anything.
    pub name: String,
    /// This estate lives in the sandbox world of that name.
    pub sandbox: Option<String>,
    /// The provider files, relative to this one.
    #[serde(default)]
    pub providers: Vec<String>,
    /// How hosts are reached when they do not say it themselves.
    #[serde(default)]
    pub ssh: SshText,
    /// The machines by name.
    #[serde(default)]
    pub hosts: BTreeMap<String, HostText>,
    /// The places that hold backups.
    #[serde(default)]
    pub stores: BTreeMap<String, StoreText>,
    /// What backups are encrypted with.
    #[serde(default)]
    pub keys: BTreeMap<String, KeyText>,
    /// What must come back.
    #[serde(default)]
    pub datasets: BTreeMap<String, DatasetText>,
    /// The zones and who serves them.
    #[serde(default)]
    pub domains: BTreeMap<String, DomainText>,
    /// Where messages go.
    #[serde(default)]
    pub notify: BTreeMap<String, ChannelText>,
    /// Groups of people.
    #[serde(default)]
    pub people: BTreeMap<String, Vec<Person>>,
}

/// How hosts are reached.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SshText {
    /// The user who logs in; by default `root`.
    pub user: Option<String>,
    /// The private login key; without it the agent serves.
    pub key: Option<SecretRef>,
    /// The public login key that new servers authorise; by default the `.pub` beside `key`.
    pub public: Option<String>,
    /// The host keys that are known, in the format of sshd(8).
    pub known_hosts: Option<String>,
    /// The host to go through.
    pub jump: Option<String>,
    /// The port; by default 22.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// A machine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HostText {
    /// Its IP address or name.
    pub address: String,
    /// Where it stands: `provider/region`.
    #[allow(dead_code)] // read from the tree, with its place
    pub at: Option<String>,
    /// Its name or id at the provider.
    pub server: Option<String>,
    /// What it does.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Never changed or destroyed without a word that names it.
    #[serde(default)]
    pub protected: bool,
    /// How it is reached, where that differs.
    #[serde(default)]
    pub ssh: SshText,
}

/// A place that holds backups.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["sftp", "rsync", "restic", "pgbackrest", "walg"]))]
pub(super) struct StoreText {
    /// A bucket of an S3-compatible service.
    pub s3: Option<S3Store>,
    /// A folder of this machine.
    pub local: Option<LocalStore>,
    /// Where it stands: `provider/region`.
    #[allow(dead_code)] // read from the tree, with its place
    pub at: Option<String>,
}

/// A bucket of an S3-compatible service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Store {
    /// The bucket.
    pub bucket: String,
    /// The service's address; without it that of AWS in the region.
    pub endpoint: Option<String>,
    /// The region; services with an endpoint of their own often take any word.
    pub region: Option<String>,
    /// The access key id.
    pub access_key: SecretRef,
    /// The secret access key.
    pub secret_key: SecretRef,
    /// `path` (default: `endpoint/bucket/key`) or `host` (`bucket.endpoint/key`).
    #[serde(default)]
    pub style: UrlStyle,
}

/// Where the bucket stands in a URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UrlStyle {
    /// `endpoint/bucket/key`.
    #[default]
    Path,
    /// `bucket.endpoint/key`.
    Host,
}

/// A folder of the machine that runs dr-plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalStore {
    /// The folder, relative to the inventory.
    pub path: String,
}

/// What a backup is encrypted with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["openssl"]))]
pub(super) struct KeyText {
    /// gpg with a passphrase (symmetric).
    pub gpg: Option<GpgText>,
    /// age with an identity.
    pub age: Option<AgeText>,
}

/// gpg, symmetric.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["secret_key"]))]
pub(super) struct GpgText {
    /// The passphrase.
    pub passphrase: SecretRef,
}

/// age with an identity file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AgeText {
    /// The identity (`AGE-SECRET-KEY-1...`).
    pub identity: SecretRef,
}

/// Something that must come back.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["mysql", "sqlite", "keep", "copies", "schedule"]))]
pub(super) struct DatasetText {
    /// A PostgreSQL database.
    pub postgres: Option<Postgres>,
    /// A Redis server with an append-only file.
    pub redis: Option<Redis>,
    /// A tree of files.
    pub files: Option<Files>,
    /// Files of configuration.
    pub config: Option<Config>,
    /// Where its backups lie; the first that has what is wanted serves.
    #[serde(default)]
    pub backups: Vec<BackupText>,
    /// The age that the newest backup must keep.
    pub max_age: Option<Span>,
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// The host that it runs on.
    pub host: String,
    /// The major version of its server.
    #[schemars(range(min = 9, max = 99))]
    pub version: Option<u32>,
    /// The database.
    pub database: String,
    /// The role that owns it.
    pub owner: Option<String>,
}

/// A Redis server with an append-only file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// The host that it runs on.
    pub host: String,
    /// The unit that runs it, by default `redis-server`.
    pub service: Option<String>,
    /// Where it listens on its host, by default 127.0.0.1.
    pub address: Option<String>,
    /// The port, by default 6379.
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// A unix socket, instead of address and port.
    pub socket: Option<String>,
    /// The user of its access control list, where it is not `default`.
    pub user: Option<String>,
    /// The password (`requirepass`).
    pub password: Option<SecretRef>,
}

/// A tree of files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The host that it lies on.
    pub host: String,
    /// The folder: an absolute path.
    pub path: String,
    /// `user` or `user:group` that gets every file; by default as in the archive, by number.
    pub owner: Option<String>,
    /// The folder of the archive that becomes this one; by default its top.
    pub within: Option<String>,
}

/// Files of configuration, each in its own place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The host that they lie on.
    pub host: String,
    /// Absolute paths of what comes back. Nothing else of a backup is taken.
    pub files: Vec<String>,
    /// A folder with templates, each at the path of its file: what it makes comes in place of what is in the backup.
    pub templates: Option<PathBuf>,
    /// What templates may name, besides `host.name`, `host.address` and the `values` of the step. Never a secret.
    #[serde(default)]
    pub values: serde_json::Map<String, serde_json::Value>,
    /// The service's own checker, a script such as `nginx -t`; it sees all the files in their places before anybody else does.
    pub check: Option<String>,
}

/// Where backups of a dataset lie.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["wal"]))]
pub(super) struct BackupText {
    /// The store.
    pub store: String,
    /// The path in the store, with `{time}` or `{time:%Y%m%d}` where the time stands.
    pub path: String,
    /// How the dump was made.
    pub form: Option<Form>,
    /// How it was compressed.
    #[serde(default)]
    pub compressed: Compression,
    /// The key it was encrypted with.
    pub key: Option<String>,
    /// The manifest beside it: lines of `{artifact, bytes, sha256}`.
    pub checksums: Option<String>,
    /// The time zone of the times in its names; by default UTC.
    pub zone: Option<String>,
}

/// How a dump was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = ["directory", "basebackup"]))]
pub enum Form {
    /// postgres: `pg_dump`, SQL.
    Plain,
    /// postgres: `pg_dump -Fc`.
    Custom,
    /// redis: an RDB file.
    Rdb,
    /// files, config: a tar archive.
    Tar,
}

/// How a backup was compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = ["xz", "bzip2"]))]
pub enum Compression {
    /// Not, or inside the dump's own form.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// A zone and who serves it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DomainText {
    /// The name of a provider file.
    pub dns: String,
    /// The usual TTL of its records, in seconds.
    #[schemars(range(min = 1, max = 604_800))]
    pub ttl: Option<u32>,
}

/// Where messages go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["email", "pagerduty"]))]
pub(super) struct ChannelText {
    /// A URL that takes a JSON message by POST.
    pub webhook: Option<WebhookText>,
    /// An incoming webhook of Slack.
    pub slack: Option<SlackText>,
    /// A bot of Telegram.
    pub telegram: Option<TelegramText>,
    /// What it is told of every run without a step: that it `waits` for a person, `stops` without a result, `ends`.
    #[serde(default)]
    pub when: BTreeSet<Moment>,
}

/// What a run tells without being asked to by a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// A question waits for a person.
    Waits,
    /// It stopped without a result.
    Stops,
    /// It has a result.
    Ends,
}

/// An incoming webhook of Slack.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SlackText {
    /// Its URL, or where it is kept: whoever has it can write.
    pub webhook: Address,
}

/// A bot of Telegram.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TelegramText {
    /// The bot's token.
    pub token: SecretRef,
    /// The chat that it writes to: its number as a text, or `@name`.
    pub chat: String,
    /// The API's address, where it is not Telegram's own.
    pub api: Option<String>,
}

/// A URL that takes a JSON message by POST.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookText {
    /// The URL, or where it is kept if it is a secret.
    pub url: Address,
}

/// A text, or where it is kept if it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Not secret.
    Text(String),
    /// Secret.
    Secret(SecretRef),
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        match value {
            serde_json::Value::String(text) => Ok(Self::Text(text)),
            other => serde_json::from_value(other)
                .map(Self::Secret)
                .map_err(serde::de::Error::custom),
        }
    }
}

impl JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let secret = generator.subschema_for::<SecretRef>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, secret] })
    }
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name that answers are signed with.
    pub name: String,
    /// How to reach them, in words.
    pub reach: Option<String>,
}
