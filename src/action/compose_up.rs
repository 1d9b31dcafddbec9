//! `compose.up`: an application as systemd units: their files are put on the host, and what changed is started anew, enabled, and
//! looked at until it stays up. What stood there before is kept.

mod sight;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::host_job::{carry, look, running};
use super::host_service::is_unit;
use super::{Action, Bind, Context, Verb, Verified, host_named, let_go_of, sha256};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Undo};
use crate::problem::Problem;
use crate::transport::{JobState, Script};
use crate::units::Span;
use crate::yaml::Node;
use sight::Sight;

/// Arguments of `compose.up`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = ["docker", "file", "project", "images"]))]
pub struct ComposeUp {
    /// Where.
    host: String,
    /// Units of systemd: a name such as `shop.service`, and the local file, relative to the plan.
    units: BTreeMap<String, String>,
    /// Files that the units read: an absolute path on the host, and the local file. When one changes, all units start anew.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Whether the units start with the host; `true` if nothing is said.
    #[serde(default = "yes")]
    enabled: bool,
    /// So long every unit must stay up without starting anew; `3s` if nothing is said.
    steady: Option<Span>,
    /// A script on the host, for `sh -eu`, that ends with 0 when the application does its work. Asked for at most a minute.
    health: Option<String>,
    #[serde(skip)]
    folder: PathBuf,
}

fn yes() -> bool {
    true
}

/// The folder of units that a person, and not a package, has put there (systemd.unit(5)).
const FOLDER: &str = "/etc/systemd/system";

/// Kinds of units that can be up.
const ENDINGS: [&str; 5] = [".service", ".socket", ".timer", ".path", ".target"];

impl Verb for ComposeUp {
    const NAME: &'static str = "compose.up";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::RestorePrevious;
    const ADOPTS: &'static [&'static str] = &["before"];
    const SUMMARY: &'static str =
        "Deploys an application as systemd units, and starts what changed anew.";
    const TIMEOUT: Duration = Duration::from_secs(600);
    const SCRIPTS: &'static [&'static str] = &["health"];
    const TAKES: Duration = Duration::from_secs(10);

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(host_named(&self.host, args, "host", bind).err());
        let mut wrong = |key: &str, words: String| {
            problems.push(Problem::error("bad-deployment", args.place_of(key), words));
        };
        if self.units.is_empty() {
            wrong("units", "an application has a unit at least".into());
        }
        for unit in self.units.keys() {
            if !is_unit(unit) || !ENDINGS.iter().any(|ending| unit.ends_with(ending)) {
                let words =
                    format!("`{unit}` is not the full name of a unit, such as `shop.service`");
                wrong("units", words);
            }
            if unit.contains("@.") {
                wrong(
                    "units",
                    format!("`{unit}` is a template: name what it makes"),
                );
            }
        }
        for path in self.files.keys() {
            let parts = path.split('/').any(|part| part == "..");
            if !path.starts_with('/') || path.ends_with('/') || parts || path.contains('\n') {
                wrong(
                    "files",
                    format!("`{path}` is not the absolute path of a file"),
                );
            }
        }
        for (key, list) in [("units", &self.units), ("files", &self.files)] {
            for from in list.values() {
                let path = bind.folder.join(from);
                if !bind.has_file(&path) {
                    wrong(key, format!("there is no file `{}`", path.display()));
                }
            }
        }
        self.folder = bind.folder.to_path_buf();
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

/// Goes through all files: `$key` names what is kept of one, `$path` says where it lies. The names are of this program and of
/// hexadecimal digits, so that `eval` reads no value.
const EACH: &str = include_str!("compose_up/each.sh");

/// `file KEY HASH`, `unit NAME ACTIVE ENABLED PENDING INVOCATION`.
const LOOK: &str = include_str!("compose_up/look.sh");

/// Keeps, writes, starts. That a unit has to start anew is on the disk before its file is changed: after a crash in between
/// nothing else would show it.
const DEPLOY: &str = include_str!("compose_up/deploy.sh");

/// All that was kept goes back; what was not there before goes. What is kept stays until all of it is in its place and on the disk: said
/// twice, it comes to the same.
const BACK: &str = include_str!("compose_up/back.sh");

/// `file KEY HASH`, `unit NAME ACTIVE`: what was kept of before. Nothing where nothing was. `released`: it is let go of.
const KEPT: &str = include_str!("compose_up/kept.sh");

/// That it is let go of is on the disk before the first file of it goes: half of it must never be put back.
const RELEASE: &str = include_str!("compose_up/release.sh");

/// A file of the deployment.
struct Piece {
    /// Names it in scripts and in what is kept: the same for the same path, whatever else the plan says.
    key: String,
    path: String,
    from: PathBuf,
    /// The unit that it is the file of.
    unit: Option<String>,
}

impl ComposeUp {
    fn pieces(&self) -> Vec<Piece> {
        let piece = |path: String, from: &String, unit: Option<&String>| Piece {
            key: sha256(path.as_bytes())[..12].to_uppercase(),
            path,
            from: self.folder.join(from),
            unit: unit.cloned(),
        };
        let units = self
            .units
            .iter()
            .map(|(unit, from)| piece(format!("{FOLDER}/{unit}"), from, Some(unit)));
        let files = self
            .files
            .iter()
            .map(|(path, from)| piece(path.clone(), from, None));
        // A unit may read a file as soon as it starts, so the order is of no matter: all are written before.
        files.chain(units).collect()
    }

    /// Units that are started by themselves: a service that a timer, a socket or a path of the same name starts is not.
    fn started(&self) -> Vec<&str> {
        let triggered = |unit: &str| {
            let stem = unit.strip_suffix(".service");
            stem.is_some_and(|stem| {
                [".timer", ".socket", ".path"]
                    .iter()
                    .any(|ending| self.units.contains_key(&format!("{stem}{ending}")))
            })
        };
        let all = self.units.keys().map(String::as_str);
        all.filter(|unit| !triggered(unit)).collect()
    }

    fn keep(cx: &Context) -> String {
        format!("/var/lib/dr-plan/{}/{}.kept", cx.owner(), cx.step)
    }

    fn script(&self, cx: &Context, text: &str) -> Script {
        let pieces = self.pieces();
        let keys: Vec<&str> = pieces.iter().map(|piece| piece.key.as_str()).collect();
        let units: Vec<&str> = self.units.keys().map(String::as_str).collect();
        let mut script = Script::new(format!("{EACH}{text}"))
            .value("KEEP", Self::keep(cx))
            .value("KEYS", keys.join(" "))
            .value("UNITS", units.join(" "))
            .value("STARTED", self.started().join(" "))
            .value("ENABLED", if self.enabled { "yes" } else { "no" });
        for piece in &pieces {
            script = script
                .value(&format!("PATH_{}", piece.key), &piece.path)
                .value(
                    &format!("UNIT_{}", piece.key),
                    piece.unit.clone().unwrap_or_default(),
                );
        }
        script
    }

    fn text(&self, cx: &Context, piece: &Piece) -> Result<String, Failure> {
        let bytes = cx.services.read_file(&piece.from)?;
        let text = String::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'));
        text.ok_or_else(|| {
            let words = format!("`{}` is no text", piece.from.display());
            Failure::new(Reason::Refused, words).hint("`host.put` takes any file")
        })
    }

    async fn ask(&self, cx: &Context, text: &str) -> Result<Sight, Failure> {
        let script = self.script(cx, text).ours();
        let host = cx.host(&self.host)?;
        let answer = host.leashed(&script, Duration::from_secs(60)).await?;
        if !answer.ok() {
            let words = format!("looking at {}: {}", self.title(), answer.said());
            return Err(Failure::new(Reason::Other, words));
        }
        Ok(Sight::read(&answer.stdout))
    }

    /// What is not as wanted, the worst first: `(foreign, words)`.
    fn differences(&self, cx: &Context, sight: &Sight) -> Result<Vec<(bool, String)>, Failure> {
        let mut found = Vec::new();
        for piece in self.pieces() {
            let hash = sight.files.get(&piece.key).map_or("", String::as_str);
            match hash {
                "other" => found.insert(0, (true, format!("{} is no plain file", piece.path))),
                "absent" => found.push((false, format!("{} is not there", piece.path))),
                _ if hash != sha256(self.text(cx, &piece)?.as_bytes()) => {
                    found.push((false, format!("{} differs", piece.path)));
                }
                _ => {}
            }
        }
        let started = self.started();
        for (unit, state) in &sight.units {
            if state.pending {
                found.push((
                    false,
                    format!("{unit} has not started with its new files yet"),
                ));
            }
            if started.contains(&unit.as_str()) {
                if state.active != "active" {
                    found.push((false, format!("{unit} is {}", state.active)));
                }
                if (state.enabled == "enabled") != self.enabled {
                    found.push((false, format!("{unit} is {}", state.enabled)));
                }
            }
        }
        Ok(found)
    }

    /// Asks the application itself until it agrees.
    async fn healthy(&self, cx: &Context) -> Result<Option<Evidence>, Failure> {
        let Some(health) = &self.health else {
            return Ok(None);
        };
        let until = Instant::now() + Duration::from_secs(60);
        let host = cx.host(&self.host)?;
        loop {
            let answer = host
                .leashed(&Script::new(health), Duration::from_secs(60))
                .await?;
            if answer.ok() {
                let evidence = Evidence::new(format!("health on {}", self.host), "status 0");
                return Ok(Some(evidence));
            }
            if Instant::now() > until {
                let words = format!(
                    "{}: its health ends with status {}: {}",
                    self.title(),
                    answer.status,
                    answer.said()
                );
                return Err(Failure::new(Reason::Verify, words));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn wrong(&self, cx: &Context, words: impl std::fmt::Display) -> Failure {
        let words = format!("{}: {words}", self.title());
        Failure::new(Reason::Verify, words).hint(format!(
            "dr-plan ssh {} {}, then `systemctl status` and the logs of the unit",
            cx.run.short(),
            self.host
        ))
    }

    /// What was kept of before, as it is noted: a hash or `absent` by path, a state by unit.
    fn before(&self, kept: Sight) -> serde_json::Map<String, serde_json::Value> {
        let mut before = serde_json::Map::new();
        for piece in self.pieces() {
            if let Some(hash) = kept.files.get(&piece.key) {
                before.insert(piece.path, hash.clone().into());
            }
        }
        for (unit, state) in kept.units {
            before.insert(unit, state.active.into());
        }
        before
    }
}

#[async_trait]
impl Action for ComposeUp {
    fn title(&self) -> String {
        let units: Vec<&str> = self.units.keys().map(String::as_str).collect();
        format!("{} on {}", units.join(", "), self.host)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        for piece in self.pieces() {
            let text = self.text(cx, &piece)?;
            let stanza = |name: &str| text.lines().any(|line| line.trim() == name);
            if let Some(unit) = &piece.unit
                && self.enabled
                && self.started().contains(&unit.as_str())
                && !stanza("[Install]")
            {
                let words =
                    format!("{unit} has no section [Install]: it would not start with the host");
                return Err(Failure::new(Reason::Refused, words).hint(
                    "add `[Install]` with `WantedBy=multi-user.target`, or write `enabled: false`",
                ));
            }
        }
        Ok(vec![Finding::verified(format!(
            "{} file(s) for {}",
            self.units.len() + self.files.len(),
            self.host
        ))])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        if let Some(JobState::Running { since }) = look(cx, &self.host, None).await? {
            return Ok(running(&self.host, &cx.job(None), since));
        }
        let sight = self.ask(cx, LOOK).await?;
        let differences = self.differences(cx, &sight)?;
        Ok(match differences.into_iter().next() {
            None => Observation::Done,
            Some((true, what)) => Observation::Foreign {
                what: format!("{what} on {}", self.host),
                hint: Some(format!("dr-plan ssh {} {}", cx.run.short(), self.host)),
            },
            Some((false, _)) if sight.files.values().all(|hash| hash == "absent") => {
                Observation::Absent
            }
            Some((false, what)) => Observation::Partial { what },
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let mut script = self.script(cx, DEPLOY);
        for piece in self.pieces() {
            let name = format!("TEXT_{}", piece.key);
            script = script.value(&name, self.text(cx, &piece)?);
        }
        carry(cx, &cx.host(&self.host)?, None, &script, Self::TIMEOUT).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let first = self.ask(cx, LOOK).await?;
        if let Some((_, words)) = self.differences(cx, &first)?.into_iter().next() {
            return Err(self.wrong(cx, words));
        }
        // A service that falls over is up for a moment, again and again: it must be the same start after a while.
        let steady = self.steady.map_or(Duration::from_secs(3), |span| span.0);
        tokio::time::sleep(steady).await;
        let health = self.healthy(cx).await?;
        let second = self.ask(cx, LOOK).await?;
        if let Some((_, words)) = self.differences(cx, &second)?.into_iter().next() {
            return Err(self.wrong(cx, words));
        }
        let mut verified = Verified::default();
        for unit in self.started() {
            let (before, after) = (&first.units[unit], &second.units[unit]);
            if before.start != after.start {
                let words = format!("{unit} does not stay up: it has started anew by itself");
                return Err(self.wrong(cx, words));
            }
            verified = verified.and(
                format!("{unit} on {}", self.host),
                format!(
                    "{}, {}, steady for {}",
                    after.active,
                    after.enabled,
                    crate::units::duration(steady)
                ),
            );
        }
        verified.evidence.extend(health);
        Ok(match self.kept(cx).await? {
            Some(kept) => verified.keeps(&kept, &cx.run),
            None => verified,
        })
    }

    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }

    async fn kept(&self, cx: &Context) -> Result<Option<String>, Failure> {
        let before = self.before(self.ask(cx, KEPT).await?);
        let files = self.pieces();
        let kept = files.iter().filter(|piece| {
            let hash = before.get(&piece.path).and_then(|hash| hash.as_str());
            hash.is_some_and(|hash| hash != "absent")
        });
        let paths: Vec<&str> = kept.map(|piece| piece.path.as_str()).collect();
        Ok((!paths.is_empty()).then(|| format!("what was {} on {}", paths.join(", "), self.host)))
    }

    async fn release(&self, cx: &Context) -> Result<(), Failure> {
        let script = Script::new(RELEASE).value("KEEP", Self::keep(cx));
        let host = cx.host(&self.host)?;
        carry(cx, &host, Some("release"), &script, Duration::from_secs(60)).await
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let host = cx.host(&self.host)?;
        // Noted first: after a crash all may be back in its place, and what was kept is gone.
        let kept = self.ask(cx, KEPT).await?;
        if kept.released {
            return Err(let_go_of(cx, &format!("what {} was", self.title())));
        }
        let mut before = self.before(kept);
        match cx.noted("before") {
            Some(serde_json::Value::Object(noted)) if before.is_empty() => before = noted,
            _ => cx.note("before", before.clone()).await?,
        }
        if before.is_empty() {
            // An attempt that kept nothing has put nothing.
            return Ok(Vec::new());
        }
        let back = self.script(cx, BACK);
        carry(cx, &host, Some("back"), &back, Self::TIMEOUT).await?;
        let now = self.ask(cx, LOOK).await?;
        let mut evidence = Vec::new();
        for piece in self.pieces() {
            let was = before.get(&piece.path).and_then(|hash| hash.as_str());
            let is = now.files.get(&piece.key).map(String::as_str);
            if was.is_some() && was != is {
                let words = format!(
                    "{} is {}, and was {} before",
                    piece.path,
                    is.unwrap_or("unknown"),
                    was.unwrap_or_default()
                );
                return Err(self.wrong(cx, words));
            }
            let words = match was {
                None => continue,
                Some("absent") => "gone, as before",
                Some(_) => "as it was before",
            };
            evidence.push(Evidence::new(
                format!("{} on {}", piece.path, self.host),
                words,
            ));
        }
        for (unit, state) in &now.units {
            let was = before.get(unit).and_then(|state| state.as_str());
            if (was == Some("active")) != (state.active == "active") {
                let words = format!(
                    "{unit} is {}, and was {} before",
                    state.active,
                    was.unwrap_or("unknown")
                );
                return Err(self.wrong(cx, words));
            }
        }
        Ok(evidence)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.pieces().into_iter().map(|piece| piece.from).collect()
    }
}
