//! One file in one place of a host, for the kinds that put one there: staged, judged by its service's own checker, put in place by a rename,
//! and what stood there before kept until it is put back or let go of.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::host_job::{carry, look, running};
use super::{Action, Bind, Context, Verified, host_named, let_go_of};
use crate::dataset::VIEW;
use crate::kind::{Evidence, Failure, Finding, Observation, Reason};
use crate::problem::Problem;
use crate::transport::{JobState, Script, Upload};
use crate::yaml::Node;

/// What a file shall hold.
pub(super) trait Content: Send + Sync {
    /// The bytes. Where a host is not known yet, a placeholder stands for its address.
    fn bytes(&self, cx: &Context) -> Result<Bytes, Failure>;

    /// See [`Action::files`].
    fn files(&self) -> Vec<PathBuf>;
}

/// Where a file shall stand, as whom, and who judges it.
pub(super) struct Spot {
    pub(super) host: String,
    /// An absolute path.
    pub(super) to: String,
    /// `user` or `user:group`.
    pub(super) owner: Option<String>,
    /// Permission bits.
    pub(super) mode: u32,
    /// A script that ends with 0 where the file stands in its place and its service can work with it.
    pub(super) check: Option<String>,
}

impl Spot {
    /// What is wrong with it, seen before the run.
    pub(super) fn problems(&self, args: &Node, bind: &Bind) -> Vec<Problem> {
        let mut problems = Vec::new();
        problems.extend(host_named(&self.host, args, "host", bind).err());
        if !self.to.starts_with('/')
            || self.to.ends_with('/')
            || self.to.contains(char::is_control)
            || self.to.split('/').any(|part| part == "..")
        {
            let words = format!("`{}` is not the absolute path of a file", self.to);
            problems.push(Problem::error("bad-path", args.place_of("to"), words));
        }
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        if let Some(owner) = &self.owner
            && !owner.chars().all(name)
        {
            let words = format!("`{owner}` is not `user` or `user:group`");
            problems.push(Problem::error("bad-owner", args.place_of("owner"), words));
        }
        if let Some(check) = &self.check
            && check.trim().is_empty()
        {
            let words = "a check without a command lets everything through";
            problems.push(Problem::error("no-check", args.place_of("check"), words));
        }
        problems
    }
}

/// Permission bits as people write them.
pub(super) fn mode(text: Option<&str>, usual: u32) -> Result<u32, String> {
    let Some(text) = text else { return Ok(usual) };
    let bits = u32::from_str_radix(text, 8).ok();
    bits.filter(|bits| *bits <= 0o7777)
        .ok_or_else(|| format!("`{text}` is not a mode such as \"0644\""))
}

/// Puts a content into its spot.
pub(super) struct PlacedFile {
    pub(super) spot: Spot,
    pub(super) content: Box<dyn Content>,
}

/// Owner, group, mode and hash as the host sees them; nothing when there is no such file.
const LOOK: &str = r#"
if [ -L "$DR_TO" ] || { [ -e "$DR_TO" ] && [ ! -f "$DR_TO" ]; }; then echo other; exit 0; fi
[ -e "$DR_TO" ] || { echo absent; exit 0; }
stat -c '%U:%G %a' -- "$DR_TO"
sha256sum < "$DR_TO" | cut -d ' ' -f 1
"#;

/// Asks the checker of what is in place.
const JUDGE: &str = r#"cd /; sh -eu -c "$DR_CHECK" </dev/null 2>&1"#;

/// Keeps what stood there before, once: a second attempt must not keep our own file as the old one. A file that nobody judges is kept
/// by the very request that puts the new one there.
const KEEP: &str = r#"
umask 077
mkdir -p "$DR_KEEP"
# What another run of ours had kept here was let go of: from now on something else is kept.
if [ -e "$DR_KEEP.released" ]; then
  rm -f "$DR_KEEP/done" "$DR_KEEP/previous"
  sync -f "$DR_KEEP"
  rm -f "$DR_KEEP.released"
fi
if [ ! -e "$DR_KEEP/done" ]; then
  if [ -e "$DR_TO" ]; then
    cp -a -- "$DR_TO" "$DR_KEEP/previous.part"
    sync "$DR_KEEP/previous.part"
    mv "$DR_KEEP/previous.part" "$DR_KEEP/previous"
  fi
  sync "$DR_KEEP"
  : > "$DR_KEEP/done"
fi
"#;

/// Lets the checker judge the staged file, and puts it in place by a rename. The last line is the one that people see first.
const SWAP: &str = r#"
exec 7>"$DR_KEEP/lock"
flock -w 60 7 || { echo "another job of this step is at work"; exit 1; }
printf '%s\t%s\n' "$DR_KEEP/staged" "$DR_TO" > "$DR_KEEP/list"
dr_judged=0
dr_view "$DR_KEEP" || dr_judged=$?
if [ "$dr_judged" != 0 ]; then
  rm -f -- "$DR_KEEP/staged"
  dr_said=$(tail -n 5 "$DR_KEEP/said" | tr '\n' ' ')
  if [ "$dr_judged" = 90 ]; then echo "the check cannot be asked on this host, and nothing was put in place: $dr_said"
  else echo "its check refuses $DR_TO (status $dr_judged), and nothing was put in place: $dr_said"; fi
  exit 1
fi
umask 022
mkdir -p -- "$(dirname -- "$DR_TO")"
cp -a -- "$DR_KEEP/staged" "$DR_NEXT"
sync "$DR_NEXT"
mv -fT -- "$DR_NEXT" "$DR_TO"
sync "$(dirname -- "$DR_TO")"
rm -f -- "$DR_KEEP/staged" "$DR_KEEP/said" "$DR_KEEP/list"
"#;

/// Puts the kept file back, or takes ours away when nothing stood there. What is kept goes when its copy is whole and on the disk, and its
/// mark goes first: with the mark, and without the kept file, a second look would take nothing for what stood there.
const BACK: &str = r#"
if [ -e "$DR_KEEP.released" ]; then echo "what stood at $DR_TO before was let go of"; exit 1; fi
[ -e "$DR_KEEP/done" ] || exit 0
rm -f -- "$DR_NEXT"
if [ -e "$DR_KEEP/previous" ]; then
  dr_not() { rm -f -- "$DR_NEXT"; echo "$1: $DR_TO stays as it is, and what stood there before stays in $DR_KEEP/previous"; exit 1; }
  cp -a -- "$DR_KEEP/previous" "$DR_NEXT" || dr_not "copying failed"
  sync "$DR_NEXT" || dr_not "writing to the disk failed"
  dr_was=$(sha256sum < "$DR_KEEP/previous")
  dr_is=$(sha256sum < "$DR_NEXT")
  [ "$dr_is" = "$dr_was" ] || dr_not "the copy is not what was kept"
  mv -fT -- "$DR_NEXT" "$DR_TO"
else
  rm -f -- "$DR_TO"
fi
dr_folder=$(dirname -- "$DR_TO")
if [ -d "$dr_folder" ]; then sync "$dr_folder"; fi
sync -f "$DR_KEEP"
rm -f "$DR_KEEP/done"
rm -rf "$DR_KEEP"
"#;

/// What stood there before, as it lies in the kept folder: `unkept`, `absent`, or its hash; `releasing` and `released` when it is half or
/// wholly let go of.
const KEPT: &str = r#"
if [ -e "$DR_KEEP.released" ]; then
  if [ -e "$DR_KEEP" ]; then echo releasing; else echo released; fi
  exit 0
fi
[ -e "$DR_KEEP/done" ] || { echo unkept; exit 0; }
[ -e "$DR_KEEP/previous" ] || { echo absent; exit 0; }
sha256sum < "$DR_KEEP/previous" | cut -d ' ' -f 1
"#;

/// What stands in its place now: `absent`, or its hash.
const NOW: &str = r#"
[ -e "$DR_TO" ] || { echo absent; exit 0; }
sha256sum < "$DR_TO" | cut -d ' ' -f 1
"#;

/// Lets go of it. That it is so is on the disk before, and stays: without the file, taking back would take ours away and leave nothing.
const RELEASE: &str = r#"
: > "$DR_KEEP.released"
sync -f "$DR_KEEP.released"
rm -f "$DR_KEEP/done"
rm -rf "$DR_KEEP"
"#;

const SOON: Duration = Duration::from_secs(120);
/// A checker may read a large configuration.
const JUDGING: Duration = Duration::from_secs(300);
const ASKING: Duration = Duration::from_secs(60);

impl PlacedFile {
    /// What stood there before.
    async fn before(&self, cx: &Context) -> Result<String, Failure> {
        let script = Script::new(KEPT).ours().value("KEEP", Self::keep(cx));
        self.asked(cx, &script).await
    }

    /// A short look on the host, in one word.
    async fn asked(&self, cx: &Context, script: &Script) -> Result<String, Failure> {
        let answer = cx.host(&self.spot.host)?.leashed(script, ASKING).await?;
        if answer.ok() {
            return Ok(answer.stdout.trim().to_string());
        }
        let (to, host) = (&self.spot.to, &self.spot.host);
        let words = format!("looking at {to} on {host}: {}", answer.said());
        Err(Failure::new(Reason::ExitCode, words))
    }

    fn keep(cx: &Context) -> String {
        format!("/var/lib/dr-plan/{}/{}.kept", cx.owner(), cx.step)
    }

    /// Its name beside its place until the rename: hidden, and with an ending that no service reads.
    fn next(&self, cx: &Context) -> String {
        let (folder, name) = self.spot.to.rsplit_once('/').unwrap_or(("", &self.spot.to));
        format!("{folder}/.{name}.dr-{}", cx.owner().short())
    }

    fn script(&self, text: impl Into<String>, cx: &Context) -> Script {
        Script::new(text)
            .value("TO", &self.spot.to)
            .value("KEEP", Self::keep(cx))
            .value("NEXT", self.next(cx))
    }

    async fn carry(&self, cx: &Context, part: &str, script: &Script) -> Result<(), Failure> {
        let host = cx.host(&self.spot.host)?;
        let deadline = if part == "swap" { JUDGING } else { SOON };
        carry(cx, &host, Some(part), script, deadline).await
    }

    /// What differs; `None` when all is as wanted, and the look's first word.
    async fn differs(&self, cx: &Context) -> Result<(String, Option<String>), Failure> {
        let bytes = self.content.bytes(cx)?;
        let said = self.asked(cx, &self.script(LOOK, cx).ours()).await?;
        let mut lines = said.lines();
        let first = lines.next().unwrap_or_default().to_string();
        if first == "absent" || first == "other" {
            return Ok((first.clone(), Some(first)));
        }
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (owner, mode) = first.split_once(' ').unwrap_or((&first, ""));
        let wanted_owner = self.spot.owner.as_deref().unwrap_or("");
        let owned = wanted_owner.is_empty()
            || owner == wanted_owner
            || (!wanted_owner.contains(':') && owner.split(':').next() == Some(wanted_owner));
        let difference = if lines.next() != Some(hash.as_str()) {
            Some("the content differs".to_string())
        } else if !owned {
            Some(format!("it belongs to {owner}"))
        } else if u32::from_str_radix(mode, 8).ok() != Some(self.spot.mode) {
            Some(format!("its mode is {mode}"))
        } else {
            None
        };
        Ok((first, difference))
    }
}

#[async_trait]
impl Action for PlacedFile {
    fn title(&self) -> String {
        format!("file {} on {}", self.spot.to, self.spot.host)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let bytes = self.content.bytes(cx)?;
        let words = format!("{} bytes for {}", bytes.len(), self.spot.to);
        Ok(vec![Finding::verified(words)])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        if self.spot.check.is_some()
            && let Some(JobState::Running { since }) =
                look(cx, &self.spot.host, Some("swap")).await?
        {
            return Ok(running(&self.spot.host, &cx.job(Some("swap")), since));
        }
        Ok(match self.differs(cx).await? {
            (_, None) => Observation::Done,
            (first, _) if first == "other" => Observation::Foreign {
                what: format!("{} on {} is no plain file", self.spot.to, self.spot.host),
                hint: Some(format!("dr-plan ssh {} {}", cx.run.short(), self.spot.host)),
            },
            (first, _) if first == "absent" => Observation::Absent,
            (_, Some(difference)) => Observation::Partial { what: difference },
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let host = cx.host(&self.spot.host)?;
        let content = self.content.bytes(cx)?;
        let upload = Upload {
            content,
            to: self.spot.to.clone(),
            owner: self.spot.owner.clone(),
            mode: self.spot.mode,
            keep: Some(Self::keep(cx)),
        };
        let Some(check) = &self.spot.check else {
            host.put(&upload).await?;
            return Ok(());
        };
        // What its checker refuses must not stand in its place for a moment: it is kept and staged first.
        self.carry(cx, "keep", &self.script(KEEP, cx)).await?;
        host.put(&Upload {
            to: format!("{}/staged", Self::keep(cx)),
            keep: None,
            ..upload
        })
        .await?;
        let swap = self
            .script(format!("{VIEW}\n{SWAP}"), cx)
            .value("CHECK", check);
        self.carry(cx, "swap", &swap).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let (to, host) = (&self.spot.to, &self.spot.host);
        let first = match self.differs(cx).await? {
            (first, None) => first,
            (_, Some(difference)) => {
                let words = format!("{to} on {host}: {difference}");
                return Err(Failure::new(Reason::Verify, words));
            }
        };
        let mut seen = Verified::seen(format!("{to} on {host}"), first).with("path", to.clone());
        if let Some(check) = &self.spot.check {
            let script = Script::new(JUDGE).value("CHECK", check);
            let answer = cx.host(host)?.leashed(&script, JUDGING).await?;
            if !answer.ok() {
                let words = format!("its check refuses {to} on {host}: {}", answer.said());
                return Err(Failure::new(Reason::Verify, words));
            }
            seen = seen.and(format!("`{}`", check.trim()), "lets it through");
        }
        Ok(match self.kept(cx).await? {
            Some(kept) => seen.keeps(&kept, &cx.run),
            None => seen,
        })
    }

    fn host(&self) -> Option<&str> {
        Some(&self.spot.host)
    }

    async fn kept(&self, cx: &Context) -> Result<Option<String>, Failure> {
        let (to, host) = (&self.spot.to, &self.spot.host);
        Ok(match self.before(cx).await?.as_str() {
            "unkept" | "absent" | "released" => None,
            _ => Some(format!("the file that was {to} on {host} before")),
        })
    }

    async fn release(&self, cx: &Context) -> Result<(), Failure> {
        self.carry(cx, "release", &self.script(RELEASE, cx)).await
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        // Noted first: after a crash the kept file may be back in its place already.
        let mut before = self.before(cx).await?;
        if matches!(before.as_str(), "releasing" | "released") {
            let (to, host) = (&self.spot.to, &self.spot.host);
            return Err(let_go_of(cx, &format!("what stood at {to} on {host}")));
        }
        match cx.noted_text("before") {
            Some(noted) if before == "unkept" => before = noted,
            _ => cx.note("before", before.clone()).await?,
        }
        self.carry(cx, "back", &self.script(BACK, cx)).await?;
        let now = self.asked(cx, &self.script(NOW, cx)).await?;
        let (to, host) = (&self.spot.to, &self.spot.host);
        if before != "unkept" && now != before {
            let words = format!("{to} on {host} is {now}, and was {before} before");
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
        Ok(vec![Evidence::new(format!("{to} on {host}"), words)])
    }

    fn files(&self) -> Vec<PathBuf> {
        self.content.files()
    }
}
