//! `host.put`: a file on a host, whole or not at all; what stood there before is kept.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::host_job::carry;
use super::{Action, Bind, Context, Verb, Verified, host_named};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Undo};
use crate::problem::Problem;
use crate::secret::Secret;
use crate::transport::{Script, Upload};
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
    #[serde(skip)]
    folder: PathBuf,
}

impl Verb for HostPut {
    const NAME: &'static str = "host.put";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::RestorePrevious;
    const ADOPTS: &'static [&'static str] = &["before"];
    const SUMMARY: &'static str = "Puts a file on a host, whole or not at all.";

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(problem) = host_named(&self.host, args, "host", bind) {
            problems.push(problem);
        }
        if !self.to.starts_with('/')
            || self.to.ends_with('/')
            || self.to.split('/').any(|part| part == "..")
        {
            let words = format!("`{}` is not the absolute path of a file", self.to);
            problems.push(Problem::error("bad-path", args.place_of("to"), words));
        }
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
        match self.bits() {
            Err(why) => problems.push(Problem::error("bad-mode", args.place_of("mode"), why)),
            Ok(bits) if self.secret && bits & 0o077 != 0 => {
                let words = "a secret file may be read by its owner only: leave `mode` out or write \"0600\"";
                problems.push(Problem::error("open-secret", args.place_of("mode"), words));
            }
            Ok(_) => {}
        }
        if let Some(owner) = &self.owner
            && !owner
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
        {
            let words = format!("`{owner}` is not `user` or `user:group`");
            problems.push(Problem::error("bad-owner", args.place_of("owner"), words));
        }
        self.folder = bind.folder.to_path_buf();
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

/// Owner, group, mode and hash as the host sees them; nothing when there is no such file.
const LOOK: &str = r#"
if [ -L "$DR_TO" ] || { [ -e "$DR_TO" ] && [ ! -f "$DR_TO" ]; }; then echo other; exit 0; fi
[ -e "$DR_TO" ] || { echo absent; exit 0; }
stat -c '%U:%G %a' -- "$DR_TO"
sha256sum < "$DR_TO" | cut -d ' ' -f 1
"#;

/// Keeps what stood there before, once: a second attempt must not keep our own file as the old one.
const KEEP: &str = r#"
umask 077
mkdir -p "$DR_KEEP"
[ -e "$DR_KEEP/done" ] && exit 0
if [ -e "$DR_TO" ]; then cp -a -- "$DR_TO" "$DR_KEEP/previous.part" && mv "$DR_KEEP/previous.part" "$DR_KEEP/previous"; fi
sync -f "$DR_KEEP"
: > "$DR_KEEP/done"
mkdir -p -m 755 -- "$(dirname -- "$DR_TO")"
"#;

/// Puts the kept file back, or takes ours away when nothing stood there. The mark goes first: with it, and without the kept
/// file, a second look would take nothing for what stood there.
const BACK: &str = r#"
[ -e "$DR_KEEP/done" ] || exit 0
if [ -e "$DR_KEEP/previous" ]; then cp -a -- "$DR_KEEP/previous" "$DR_TO.dr-back" && mv -f "$DR_TO.dr-back" "$DR_TO"; else rm -f -- "$DR_TO"; fi
sync -f "$DR_KEEP"
rm -f "$DR_KEEP/done"
rm -rf "$DR_KEEP"
"#;

/// What stood there before, as it lies in the kept folder: `unkept`, `absent`, or its hash.
const KEPT: &str = r#"
[ -e "$DR_KEEP/done" ] || { echo unkept; exit 0; }
[ -e "$DR_KEEP/previous" ] || { echo absent; exit 0; }
sha256sum < "$DR_KEEP/previous" | cut -d ' ' -f 1
"#;

/// What stands in its place now: `absent`, or its hash.
const NOW: &str = r#"
[ -e "$DR_TO" ] || { echo absent; exit 0; }
sha256sum < "$DR_TO" | cut -d ' ' -f 1
"#;

/// Lets go of it, and of the note that it was kept: without the file, taking back would take ours away and leave nothing.
const RELEASE: &str = r#"rm -f "$DR_KEEP/done"; sync -f "$DR_KEEP"; rm -rf "$DR_KEEP""#;

impl HostPut {
    /// What stood there before.
    async fn before(&self, cx: &Context) -> Result<String, Failure> {
        let script = Script::new(KEPT).value("KEEP", Self::keep(cx));
        self.asked(cx, &script).await
    }

    /// A short look on the host, in one word.
    async fn asked(&self, cx: &Context, script: &Script) -> Result<String, Failure> {
        let answer = cx
            .host(&self.host)?
            .leashed(script, Duration::from_secs(60))
            .await?;
        if answer.ok() {
            return Ok(answer.stdout.trim().to_string());
        }
        let words = format!("looking at {} on {}: {}", self.to, self.host, answer.said());
        Err(Failure::new(Reason::ExitCode, words))
    }

    fn bits(&self) -> Result<u32, String> {
        let Some(text) = &self.mode else {
            return Ok(if self.secret { 0o600 } else { 0o644 });
        };
        let bits = u32::from_str_radix(text, 8)
            .ok()
            .filter(|bits| *bits <= 0o7777);
        bits.ok_or_else(|| format!("`{text}` is not a mode such as \"0644\""))
    }

    fn keep(cx: &Context) -> String {
        format!("/var/lib/dr-plan/{}/{}.kept", cx.owner(), cx.step)
    }

    fn bytes(&self, cx: &Context) -> Result<Bytes, Failure> {
        let Some(from) = &self.from else {
            return Ok(Bytes::from(self.content.clone().unwrap_or_default()));
        };
        let bytes = cx.services.read_file(&self.folder.join(from))?;
        if self.secret {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            cx.services
                .mask
                .learn(&Secret::new(text.trim_end().to_string()));
            // The values of an environment file are what would show up somewhere else.
            for (_, value) in text.lines().filter_map(|line| line.split_once('=')) {
                cx.services.mask.learn(&Secret::new(
                    value.trim().trim_matches(['"', '\'']).to_string(),
                ));
            }
        }
        Ok(Bytes::from(bytes))
    }

    /// What differs; `None` when all is as wanted, and the look's first word.
    async fn differs(&self, cx: &Context) -> Result<(String, Option<String>), Failure> {
        let bytes = self.bytes(cx)?;
        let script = Script::new(LOOK).value("TO", &self.to);
        let answer = cx
            .host(&self.host)?
            .leashed(&script, Duration::from_secs(60))
            .await?;
        if !answer.ok() {
            return Err(Failure::new(
                Reason::ExitCode,
                format!("looking at {} on {}: {}", self.to, self.host, answer.said()),
            ));
        }
        let mut lines = answer.stdout.lines();
        let first = lines.next().unwrap_or_default().to_string();
        if first == "absent" || first == "other" {
            return Ok((first.clone(), Some(first)));
        }
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (owner, mode) = first.split_once(' ').unwrap_or((&first, ""));
        let wanted_owner = self.owner.as_deref().unwrap_or("");
        let owned = wanted_owner.is_empty()
            || owner == wanted_owner
            || (!wanted_owner.contains(':') && owner.split(':').next() == Some(wanted_owner));
        let difference = if lines.next() != Some(hash.as_str()) {
            Some("the content differs".to_string())
        } else if !owned {
            Some(format!("it belongs to {owner}"))
        } else if u32::from_str_radix(mode, 8).ok() != self.bits().ok() {
            Some(format!("its mode is {mode}"))
        } else {
            None
        };
        Ok((first, difference))
    }
}

#[async_trait]
impl Action for HostPut {
    fn title(&self) -> String {
        format!("file {} on {}", self.to, self.host)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let bytes = self.bytes(cx)?;
        Ok(vec![Finding::verified(format!(
            "{} bytes for {}",
            bytes.len(),
            self.to
        ))])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        Ok(match self.differs(cx).await? {
            (_, None) => Observation::Done,
            (first, _) if first == "other" => Observation::Foreign {
                what: format!("{} on {} is no plain file", self.to, self.host),
                hint: Some(format!("dr-plan ssh {} {}", cx.run.short(), self.host)),
            },
            (first, _) if first == "absent" => Observation::Absent,
            (_, Some(difference)) => Observation::Partial { what: difference },
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let content = self.bytes(cx)?;
        let host = cx.host(&self.host)?;
        let keep = Script::new(KEEP)
            .value("TO", &self.to)
            .value("KEEP", Self::keep(cx));
        carry(cx, &host, Some("keep"), &keep, Duration::from_secs(120)).await?;
        let mode = self
            .bits()
            .map_err(|why| Failure::new(Reason::Other, why))?;
        host.put(&Upload {
            content,
            to: self.to.clone(),
            owner: self.owner.clone(),
            mode,
        })
        .await?;
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        match self.differs(cx).await? {
            (first, None) => Ok(
                Verified::seen(format!("{} on {}", self.to, self.host), first)
                    .with("path", self.to.clone()),
            ),
            (_, Some(difference)) => Err(Failure::new(
                Reason::Verify,
                format!("{} on {}: {difference}", self.to, self.host),
            )),
        }
    }

    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }

    async fn kept(&self, cx: &Context) -> Result<Option<String>, Failure> {
        Ok(match self.before(cx).await?.as_str() {
            "unkept" | "absent" => None,
            _ => Some(format!(
                "the file that was {} on {} before",
                self.to, self.host
            )),
        })
    }

    async fn release(&self, cx: &Context) -> Result<(), Failure> {
        let host = cx.host(&self.host)?;
        let script = Script::new(RELEASE).value("KEEP", Self::keep(cx));
        carry(
            cx,
            &host,
            Some("release"),
            &script,
            Duration::from_secs(120),
        )
        .await
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let host = cx.host(&self.host)?;
        // Noted first: after a crash the kept file may be back in its place already.
        let mut before = self.before(cx).await?;
        match cx.noted_text("before") {
            Some(noted) if before == "unkept" => before = noted,
            _ => cx.note("before", before.clone()).await?,
        }
        let back = Script::new(BACK)
            .value("TO", &self.to)
            .value("KEEP", Self::keep(cx));
        carry(cx, &host, Some("back"), &back, Duration::from_secs(120)).await?;
        let look = Script::new(NOW).value("TO", &self.to);
        let now = self.asked(cx, &look).await?;
        if before != "unkept" && now != before {
            let words = format!(
                "{} on {} is {now}, and was {before} before",
                self.to, self.host
            );
            return Err(Failure::new(Reason::Verify, words));
        }
        if before == "unkept" {
            // Nothing was put: an attempt that kept nothing has not come so far.
            return Ok(Vec::new());
        }
        let words = match before.as_str() {
            "absent" => "gone, as before".to_string(),
            hash => format!("as it was before, sha256 {}", &hash[..12.min(hash.len())]),
        };
        Ok(vec![Evidence::new(
            format!("{} on {}", self.to, self.host),
            words,
        )])
    }

    fn files(&self) -> Vec<PathBuf> {
        let plain = self.from.as_ref().filter(|_| !self.secret);
        plain
            .map(|from| self.folder.join(from))
            .into_iter()
            .collect()
    }
}
