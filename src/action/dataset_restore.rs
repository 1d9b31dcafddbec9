//! `dataset.restore`: brings a dataset back from its newest good backup under a new name, asks the data, and only
//! then swaps it in. A backup that turns out to be damaged, or data that is wrong, leads to a question: the next older one?

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::backups::{Candidate, candidates, dataset, form, places};
use super::check_backups::{dataset_named, examine};
use super::config_files::tried;
use super::data_checks::{self, DataCheck, Newest};
use super::data_kinds::{Wanted, restoration};
use super::{Action, Bind, Context, Verb, Verified, host_named, let_go_of};
use crate::codec;
use crate::dataset::{Artifact, Progress, Restore, Stand, deliver};
use crate::event::{Ask, AskKind};
use crate::inventory::{DatasetKind, Key};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Output, Reason, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `dataset.restore`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetRestore {
    /// A dataset of the inventory.
    dataset: String,
    /// The host that gets it.
    host: String,
    /// `latest`, or a time (RFC 3339): the newest backup that is not younger.
    #[serde(default = "latest")]
    point: String,
    /// `newest`, or the store that is asked first where several hold equally young backups.
    prefer: Option<String>,
    /// What is there and this run did not make is set aside and kept until `dr-plan release`.
    #[serde(default)]
    replace: bool,
    /// For a configuration: what its templates may name, over the `values` of the inventory; references are filled in. Never a secret.
    #[serde(default)]
    values: Map<String, Value>,
    #[serde(skip)]
    #[schemars(skip)]
    templates: Vec<PathBuf>,
    #[serde(skip)]
    #[schemars(skip)]
    checks: Vec<DataCheck>,
}

fn latest() -> String {
    "latest".into()
}

/// The host ends a restore after so long.
const DEADLINE: Duration = Duration::from_secs(6 * 3600);
/// A presigned URL is good for as long as a fetch may take.
const URL_VALID: Duration = Duration::from_secs(6 * 3600);

/// The backup that was chosen, as it is noted.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Chosen {
    label: String,
    store: String,
    path: String,
    bytes: u64,
    sha256: Option<String>,
    taken: Timestamp,
    /// Which entry of the dataset's `backups`.
    source: usize,
}

impl Verb for DatasetRestore {
    const NAME: &'static str = "dataset.restore";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::RestorePrevious;
    const ADOPTS: &'static [&'static str] = &["backup", "refused", "stage", "kept"];
    const SUMMARY: &'static str =
        "Restores a dataset under a new name, verifies it, and swaps it in.";
    const TIMEOUT: Duration = DEADLINE;
    const TAKES: Duration = Duration::from_secs(300);
    const TAKES_VERIFY: bool = true;

    fn sample(&self) -> Output {
        [
            ("dataset", self.dataset.as_str()),
            ("host", &self.host),
            ("database", "database"),
            ("backup", "store:path"),
            ("taken", "2026-01-01T00:00:00Z"),
            ("newest", "2026-01-01T00:00:00Z"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.into()))
        .collect()
    }

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(dataset_named(&self.dataset, args, "dataset", bind).err());
        problems.extend(host_named(&self.host, args, "host", bind).err());
        if self.point != "latest" && self.point.parse::<Timestamp>().is_err() {
            let words = format!(
                "`{}` is neither `latest` nor a time such as 2026-11-21T03:00:00Z",
                self.point
            );
            problems.push(Problem::error("bad-time", args.place_of("point"), words));
        }
        if let Some(prefer) = self.prefer.as_deref()
            && prefer != "newest"
            && !bind.inventory.stores.contains_key(prefer)
        {
            let words = format!(
                "`{prefer}` is neither `newest` nor a store (`fastest` is not carried out yet)"
            );
            problems.push(Problem::error(
                "bad-preference",
                args.place_of("prefer"),
                words,
            ));
        }
        if let Some(dataset) = bind.inventory.datasets.get(&self.dataset) {
            match data_checks::read(bind, &dataset.kind) {
                Ok(checks) => self.checks = checks,
                Err(found) => problems.extend(found),
            }
            match &dataset.kind {
                DatasetKind::Config(config) => {
                    match tried(config, &self.host, &self.values, args, bind) {
                        Ok(templates) => self.templates = templates,
                        Err(found) => problems.extend(found),
                    }
                }
                kind if !self.values.is_empty() => {
                    let words = format!(
                        "a `{}` dataset has no templates to give values to",
                        kind.word()
                    );
                    problems.push(Problem::error("bad-value", args.place_of("values"), words));
                }
                _ => {}
            }
        }
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

/// Passes what a job says on to the run.
struct Told<'a>(&'a Context);

impl Progress for Told<'_> {
    fn phase(&mut self, phase: &str, done: u64, total: u64) {
        self.0
            .progress(phase, done, (total > 0).then_some(total), "bytes");
    }

    fn note(&mut self, words: &str) {
        self.0.log(words);
    }

    fn log(&mut self, line: &str) {
        self.0.log(line);
    }
}

impl DatasetRestore {
    fn chosen(cx: &Context) -> Option<Chosen> {
        cx.noted("backup")
            .and_then(|value| serde_json::from_value(value).ok())
    }

    /// Labels that this step has refused, with the reason.
    fn refused(cx: &Context) -> Vec<(String, String)> {
        cx.noted("refused")
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default()
    }

    /// A second backup in the same attempt must not find the first one's job: each has a number of its own.
    fn job_number(cx: &Context) -> u32 {
        (cx.adopted_attempts() + cx.attempt.max(1)) * 100 + Self::refused(cx).len() as u32
    }

    async fn restoration(&self, cx: &Context, label: &str) -> Result<Box<dyn Restore>, Failure> {
        let wanted = Wanted {
            dataset: &self.dataset,
            host: &self.host,
            replace: self.replace,
            values: &self.values,
            checks: &self.checks,
            attempt: Self::job_number(cx),
            backup: label,
        };
        restoration(cx, &wanted).await
    }

    fn point(&self) -> Option<Timestamp> {
        self.point.parse().ok()
    }

    /// The candidate to use: the newest that nothing speaks against; with a question when newer ones were refused.
    async fn choose(&self, cx: &Context) -> Result<Chosen, Failure> {
        let dataset = dataset(cx, &self.dataset)?;
        let (places, silent) = places(cx, dataset, self.point()).await?;
        for failure in silent {
            cx.log(failure.message);
        }
        let all = candidates(&places, self.prefer.as_deref());
        let mut refused = Self::refused(cx);
        for candidate in &all {
            let label = candidate.label();
            if refused.iter().any(|(known, _)| *known == label) {
                continue;
            }
            if let Some(why) = candidate.refused() {
                cx.log(format!("{label} is refused: {why}"));
                refused.push((label, why.to_string()));
                continue;
            }
            if let Some((newest, why)) = refused.first() {
                self.ask_for_older(cx, candidate, newest, why, refused.len())
                    .await?;
            }
            let source = dataset
                .backups
                .iter()
                .position(|source| std::ptr::eq(source, candidate.source))
                .unwrap_or(0);
            let backup = &candidate.judged.backup;
            return Ok(Chosen {
                label,
                store: backup.store.clone(),
                path: backup.path.clone(),
                bytes: backup.bytes,
                sha256: backup.manifest.as_ref().map(|entry| entry.sha256.clone()),
                taken: backup.taken,
                source,
            });
        }
        let why: Vec<String> = refused
            .iter()
            .map(|(label, why)| format!("{label}: {why}"))
            .collect();
        let words = if why.is_empty() {
            "none was found".to_string()
        } else {
            why.join("; ")
        };
        // Whoever resumes has mended something: a key, a line, the store. Then all of them deserve another look.
        if cx.noted("refused").is_some() {
            cx.note("refused", serde_json::Value::Array(Vec::new()))
                .await?;
        }
        Err(Failure::new(
            Reason::Damaged,
            format!(
                "`{}` has no backup that could be used: {words}",
                self.dataset
            ),
        ))
    }

    /// An older backup loses more: that is a person's decision, in the same run.
    async fn ask_for_older(
        &self,
        cx: &Context,
        next: &Candidate<'_>,
        newest: &str,
        why: &str,
        count: usize,
    ) -> Result<(), Failure> {
        let ask = Ask {
            name: format!("older-backup-{count}"),
            kind: AskKind::OlderBackup,
            question: format!("Restore `{}` from the next older backup?", self.dataset),
            details: vec![
                format!("{newest} will not do: {why}"),
                format!("next: {}", next.words(cx)),
            ],
            timeout: None,
            by: Vec::new(),
        };
        let given = cx.ask(ask).await?;
        if given.yes {
            return Ok(());
        }
        Err(Failure::new(
            Reason::Declined,
            format!(
                "{newest} will not do ({why}), and {} declined the next older one",
                given.by
            ),
        ))
    }

    async fn artifact(
        &self,
        cx: &Context,
        chosen: &Chosen,
        restoration: &dyn Restore,
    ) -> Result<(Artifact, Option<codec::Form>), Failure> {
        let dataset = dataset(cx, &self.dataset)?;
        let source = dataset.backups.get(chosen.source).ok_or_else(|| {
            Failure::new(Reason::Other, "the dataset has fewer backups than before")
        })?;
        let key = match source
            .key
            .as_ref()
            .and_then(|name| cx.services.inventory.keys.get(name))
        {
            None => None,
            Some(Key::GpgPassphrase(reference)) => Some(codec::Key::GpgPassphrase(
                cx.services.secrets.fetch(reference).await?,
            )),
            Some(Key::AgeIdentity(reference)) => Some(codec::Key::AgeIdentity(
                cx.services.secrets.fetch(reference).await?,
            )),
        };
        let store = cx.services.store(&chosen.store)?;
        let host = cx.host(&self.host)?;
        let (owner, folder) = restoration.delivery();
        let delivered = deliver(
            &*store,
            &chosen.path,
            chosen.bytes,
            &*host,
            owner,
            folder,
            URL_VALID,
        )
        .await?;
        if let crate::dataset::Source::Url(url) = &delivered {
            cx.services.mask.learn(url);
        }
        let artifact = Artifact {
            label: chosen.label.clone(),
            bytes: chosen.bytes,
            sha256: chosen.sha256.clone(),
            source: delivered,
            key,
        };
        Ok((artifact, Some(form(source.form))))
    }

    /// Stages and asks the data; a failure with reason `Damaged` means that this backup will not do.
    async fn stage(&self, cx: &Context, chosen: &Chosen) -> Result<Box<dyn Restore>, Failure> {
        let restoration = self.restoration(cx, &chosen.label).await?;
        match restoration.stand().await? {
            Stand::Live | Stand::Closing => return Ok(restoration),
            Stand::Ready => {}
            Stand::Foreign { what } => return Err(Failure::new(Reason::Refused, what)),
            Stand::Absent | Stand::Staging | Stand::Running { .. } | Stand::CannotTell { .. } => {
                let (artifact, declared) = self.artifact(cx, chosen, &*restoration).await?;
                let report = restoration
                    .stage(&artifact, declared, DEADLINE, &mut Told(cx))
                    .await?;
                cx.note(
                    "stage",
                    serde_json::to_value(&report.facts).unwrap_or_default(),
                )
                .await?;
            }
        }
        let asked = data_checks::ask(&self.checks, &*restoration.copy(false), cx.lost_at).await;
        match asked {
            Ok(_) => Ok(restoration),
            Err(failure) if failure.reason == Reason::Verify => {
                restoration.drop_staged(&mut Told(cx)).await?;
                Err(Failure {
                    reason: Reason::Damaged,
                    ..failure
                })
            }
            Err(failure) => Err(failure),
        }
    }
}

#[async_trait]
impl Action for DatasetRestore {
    fn title(&self) -> String {
        format!(
            "{} to {}, {}",
            self.dataset,
            self.host,
            if self.point == "latest" {
                "latest backup".to_string()
            } else {
                format!("as of {}", self.point)
            }
        )
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let dataset = dataset(cx, &self.dataset)?;
        for source in &dataset.backups {
            match source
                .key
                .as_ref()
                .and_then(|name| cx.services.inventory.keys.get(name))
            {
                Some(Key::GpgPassphrase(reference) | Key::AgeIdentity(reference)) => {
                    cx.services.secrets.fetch(reference).await?;
                }
                None => {}
            }
        }
        Ok(examine(cx, &self.dataset, self.point()).await?.1)
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let label = Self::chosen(cx).map_or_else(|| "none".to_string(), |chosen| chosen.label);
        let restoration = self.restoration(cx, &label).await?;
        Ok(restoration
            .stand()
            .await?
            .observation(&restoration.staged()))
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let restoration = loop {
            let chosen = match Self::chosen(cx) {
                Some(chosen) => chosen,
                None => {
                    let chosen = self.choose(cx).await?;
                    cx.note("backup", serde_json::to_value(&chosen).unwrap_or_default())
                        .await?;
                    chosen
                }
            };
            cx.log(format!("restoring from {}", chosen.label));
            match self.stage(cx, &chosen).await {
                Ok(restoration) => break restoration,
                Err(failure) if failure.reason == Reason::Damaged => {
                    cx.log(format!("{} will not do: {}", chosen.label, failure.message));
                    let mut refused = Self::refused(cx);
                    refused.push((chosen.label, failure.message));
                    cx.note(
                        "refused",
                        serde_json::to_value(&refused).unwrap_or_default(),
                    )
                    .await?;
                    cx.note("backup", serde_json::Value::Null).await?;
                }
                Err(failure) => return Err(failure),
            }
        };
        if let Some(kept) = restoration.swap(&mut Told(cx)).await? {
            cx.note("kept", kept).await?;
        }
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let chosen =
            Self::chosen(cx).ok_or_else(|| Failure::new(Reason::Verify, "no backup was chosen"))?;
        let restoration = self.restoration(cx, &chosen.label).await?;
        let live = restoration.live();
        let stand = restoration.stand().await?;
        if stand != Stand::Live {
            return Err(Failure::new(
                Reason::Verify,
                format!("`{live}` is not live: {stand:?}"),
            ));
        }
        let (evidence, newest) =
            data_checks::ask(&self.checks, &*restoration.copy(true), cx.lost_at).await?;
        let mut verified = Verified::seen(
            format!("`{live}` on {}", self.host),
            format!("live, restored from {}", chosen.label),
        );
        verified.evidence.extend(evidence);
        if let Some(kept) = cx.noted_text("kept") {
            verified = verified
                .and("what was there before", format!("is kept as `{kept}`"))
                .keeps(
                    &format!("what was {live} on {} before (`{kept}`)", self.host),
                    &cx.run,
                )
                .with("kept", kept);
        }
        let newest_at = newest
            .as_ref()
            .map_or(String::new(), |newest| newest.at.to_string());
        if let Some(Newest {
            at,
            limit,
            taken_as_utc,
        }) = newest
        {
            let taken = Some(chosen.taken);
            cx.newest(&self.dataset, at, taken, limit, taken_as_utc)
                .await?;
        }
        Ok(verified
            .with("dataset", self.dataset.clone())
            .with("host", self.host.clone())
            .with("database", live)
            .with("backup", chosen.label)
            .with("taken", chosen.taken.to_string())
            .with("newest", newest_at))
    }

    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.templates.clone()
    }

    async fn kept(&self, cx: &Context) -> Result<Option<String>, Failure> {
        let (Some(kept), Some(chosen)) = (cx.noted_text("kept"), Self::chosen(cx)) else {
            return Ok(None);
        };
        let restoration = self.restoration(cx, &chosen.label).await?;
        let bytes = restoration.kept(&kept).await?;
        Ok(bytes.map(|bytes| {
            let size = crate::units::bytes(bytes);
            format!("`{kept}` on {}, {size}", self.host)
        }))
    }

    async fn release(&self, cx: &Context) -> Result<(), Failure> {
        let Some(chosen) = Self::chosen(cx) else {
            return Ok(());
        };
        let restoration = self.restoration(cx, &chosen.label).await?;
        restoration.release(&mut Told(cx)).await
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let Some(chosen) = Self::chosen(cx) else {
            return Ok(Vec::new());
        };
        let restoration = self.restoration(cx, &chosen.label).await?;
        // What this step restored is live and what it kept is gone: taken back, nothing would be left.
        if let Some(kept) = cx.noted_text("kept")
            && restoration.stand().await? == Stand::Live
            && restoration.kept(&kept).await?.is_none()
        {
            let what = format!(
                "what was {} on {} (`{kept}`)",
                restoration.live(),
                self.host
            );
            return Err(let_go_of(cx, &what));
        }
        restoration.swap_back(&mut Told(cx)).await?;
        restoration.drop_staged(&mut Told(cx)).await?;
        Ok(vec![Evidence::new(
            format!("`{}` on {}", restoration.live(), self.host),
            "as it was before",
        )])
    }
}
