//! `host.put`: a file on a host, whole or not at all; what stood there before is kept.

use std::path::PathBuf;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use super::placed_file::{Content, PlacedFile, Spot, mode};
use super::{Action, Bind, Context, Verb};
use crate::kind::{Effect, Failure, Reason, Undo};
use crate::problem::Problem;
use crate::secret::Secret;
use crate::vault::{VaultError, read_secret_file};
use crate::yaml::Node;

/// Arguments of `host.put`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostPut {
    /// Where.
    host: String,
    /// A local file, relative to the plan.
    from: Option<String>,
    /// The text itself, instead of `from`; references are filled in.
    content: Option<String>,
    /// An absolute path on the host.
    to: String,
    /// `user` or `user:group`.
    owner: Option<String>,
    /// Permission bits such as `"0644"`, the default; a secret file is always `0600`.
    mode: Option<String>,
    /// The content is a secret: 0600 there, never shown, never copied into the run.
    #[serde(default)]
    secret: bool,
    /// The service's own checker, a script such as `nginx -t`; it sees the file in its place before anybody else does.
    check: Option<String>,
}

impl Verb for HostPut {
    const NAME: &'static str = "host.put";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::RestorePrevious;
    const ADOPTS: &'static [&'static str] = &["before"];
    const SUMMARY: &'static str = "Puts a file on a host, whole or not at all.";

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let usual = if self.secret { 0o600 } else { 0o644 };
        let bits = mode(self.mode.as_deref(), usual);
        let spot = Spot {
            host: self.host,
            to: self.to,
            owner: self.owner,
            mode: bits.as_ref().copied().unwrap_or(usual),
            check: self.check,
        };
        let mut problems = spot.problems(args, bind);
        match (&self.from, &self.content) {
            (Some(from), None) => {
                let path = bind.folder.join(from);
                // A secret may be made later, on the machine that runs the recovery; anything else belongs to the plan.
                if !self.secret && !bind.has_file(&path) {
                    let words = format!("there is no file `{}`", path.display());
                    problems.push(Problem::error("no-such-file", args.place_of("from"), words));
                }
            }
            (None, Some(_)) if self.secret => problems.push(
                Problem::error(
                    "secret-in-plan",
                    args.place_of("content"),
                    "a secret cannot stand in a plan",
                )
                .help("put it into a file of mode 0600 and name it with `from:`"),
            ),
            (None, Some(_)) => {}
            _ => problems.push(Problem::error(
                "from-or-content",
                &args.place,
                "write either `from` or `content`",
            )),
        }
        match bits {
            Err(why) => problems.push(Problem::error("bad-mode", args.place_of("mode"), why)),
            Ok(bits) if self.secret && bits & 0o077 != 0 => {
                let words = "a secret file may be read by its owner only: leave `mode` out or write \"0600\"";
                problems.push(Problem::error("open-secret", args.place_of("mode"), words));
            }
            Ok(_) => {}
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let content = match (self.from, self.secret) {
            (Some(from), true) => Kept::Secret(bind.folder.join(from)),
            (Some(from), false) => Kept::File(bind.folder.join(from)),
            (None, _) => Kept::Text(self.content.unwrap_or_default()),
        };
        Ok(Box::new(PlacedFile {
            spot,
            content: Box::new(content),
        }))
    }
}

/// A keystore may be large; what is larger is the wrong file.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Where the content is kept.
enum Kept {
    Text(String),
    File(PathBuf),
    Secret(PathBuf),
}

impl Content for Kept {
    fn bytes(&self, cx: &Context) -> Result<Bytes, Failure> {
        match self {
            Kept::Text(text) => Ok(Bytes::from(text.clone())),
            Kept::File(path) => Ok(Bytes::from(cx.services.read_file(path)?)),
            Kept::Secret(path) => {
                let bytes = read_secret_file(path, LONGEST).map_err(unread)?;
                learn(cx, &String::from_utf8_lossy(&bytes));
                Ok(Bytes::from(bytes))
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match self {
            Kept::File(path) => vec![path.clone()],
            Kept::Text(_) | Kept::Secret(_) => Vec::new(),
        }
    }
}

fn unread(error: VaultError) -> Failure {
    let reason = match error {
        VaultError::File { .. } => Reason::NotFound,
        _ => Reason::Refused,
    };
    Failure::new(reason, error.to_string())
}

/// The mask gets to know a secret file, and the values of an environment file: they are what would show up somewhere else. Beside
/// the password such a file names hosts, users and environments.
fn learn(cx: &Context, text: &str) {
    let mask = &cx.services.mask;
    mask.learn(&Secret::new(text.trim_end().to_string()));
    let learn = |text: &str| mask.learn_unless_open(&Secret::new(text.to_string()));
    for (_, value) in text.lines().filter_map(|line| line.split_once('=')) {
        learn(value.trim().trim_matches(['"', '\'']));
    }
}
