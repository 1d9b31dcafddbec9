//! `dataset.restore`: brings a dataset back from its newest good backup under a new name, asks the data, and only
//! then swaps it in. A backup that turns out to be damaged, or data that is wrong, leads to a question: the next older one?

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::backup_choice::{Chosen, Refused, came_back, question, youngest};
use super::backups::{candidates, dataset, form, places};
use super::check_backups::{dataset_named, examine};
use super::config_files::tried;
use super::data_checks::{self, DataCheck, Newest};
use super::data_kinds::{Wanted, restoration};
use super::{Action, Bind, Context, Verb, Verified, host_named, let_go_of};
use crate::codec;
use crate::dataset::{Artifact, Progress, Restore, Stand, deliver};
use crate::event::Ask;
use crate::inventory::{DatasetKind, Key};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Output, Reason, Undo};
use crate::problem::Problem;
use crate::store;
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

/// Why a backup is not staged.
enum Unstaged {
    /// It will not do; another one may.
    Unfit { why: String, gone: bool },
    /// That says nothing about the backup.
    Failed(Failure),
}

impl From<Failure> for Unstaged {
    fn from(failure: Failure) -> Self {
        match failure.reason {
            Reason::Damaged => Unstaged::Unfit {
                why: failure.message,
                gone: false,
            },
            _ => Unstaged::Failed(failure),
        }
    }
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
    /// A second backup in the same attempt must not find the first one's job: each has a number of its own.
    fn job_number(cx: &Context) -> u32 {
        (cx.adopted_attempts() + cx.attempt.max(1)) * 100 + Refused::noted(cx).len() as u32
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
        let mut refused = Refused::noted(cx);
        if came_back(&mut refused, &all) {
            cx.note("refused", as_value(&refused)).await?;
        }
        let known = refused.len();
        let next = youngest(&all, &mut refused);
        for one in &refused[known..] {
            cx.log(format!("{} is refused: {}", one.label, one.why));
        }
        if let Some(candidate) = next {
            if let Some(ask) = question(&self.dataset, candidate, &candidate.words(cx), &refused) {
                consent(cx, ask).await?;
            }
            return Ok(Chosen::of(candidate, dataset));
        }
        let why: Vec<String> = refused
            .iter()
            .map(|one| format!("{}: {}", one.label, one.why))
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

    /// Stages and asks the data.
    async fn stage(&self, cx: &Context, chosen: &Chosen) -> Result<Box<dyn Restore>, Unstaged> {
        let restoration = self.restoration(cx, &chosen.label).await?;
        match restoration.stand().await? {
            Stand::Live | Stand::Closing => return Ok(restoration),
            Stand::Ready => {}
            Stand::Foreign { what } => return Err(Failure::new(Reason::Refused, what).into()),
            stand @ (Stand::Absent
            | Stand::Staging
            | Stand::Running { .. }
            | Stand::CannotTell { .. }) => {
                // The store is not asked before: a host that has the bytes already does not need them there.
                let at_work = matches!(stand, Stand::Running { .. });
                let (artifact, declared) = match self.artifact(cx, chosen, &*restoration).await {
                    Err(failure) if failure.reason == Reason::NotFound && !at_work => {
                        return Err(not_found(cx, chosen, failure).await);
                    }
                    came => came?,
                };
                let staged = restoration
                    .stage(&artifact, declared, DEADLINE, &mut Told(cx))
                    .await;
                let report = match staged {
                    Err(failure) if failure.reason == Reason::NotFound => {
                        return Err(not_found(cx, chosen, failure).await);
                    }
                    came => came?,
                };
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
                Err(Unstaged::Unfit {
                    why: failure.message,
                    gone: false,
                })
            }
            Err(failure) => Err(failure.into()),
        }
    }
}

fn as_value(refused: &[Refused]) -> serde_json::Value {
    serde_json::to_value(refused).unwrap_or_default()
}

/// An older backup loses more: that is a person's decision, in the same run.
async fn consent(cx: &Context, ask: Ask) -> Result<(), Failure> {
    let why = ask.details.first().cloned().unwrap_or_default();
    let asked = ask.question.clone();
    let given = cx.ask(ask).await?;
    if given.yes {
        return Ok(());
    }
    let words = format!("{why}; \"{asked}\" was answered no by {}", given.by);
    let hint = format!("dr-plan resume {} asks again", cx.run.short());
    Err(Failure::new(Reason::Declined, words).hint(hint))
}

/// Something was not found on the way: the backup itself, or what has nothing to do with it (a program of the host, the store).
async fn not_found(cx: &Context, chosen: &Chosen, failure: Failure) -> Unstaged {
    let lacks = match cx.services.store(&chosen.store) {
        Ok(store) => store::lacks(&*store, &chosen.path).await,
        Err(failure) => Err(failure),
    };
    match lacks {
        Ok(true) => {
            cx.log(failure.message);
            Unstaged::Unfit {
                why: format!("store `{}` does not have it any more", chosen.store),
                gone: true,
            }
        }
        Ok(false) => Unstaged::Failed(failure),
        // Its other backups would be missing just as well: none is refused for that.
        Err(looked) => Unstaged::Failed(Failure {
            message: format!(
                "{}; and whether the store lacks this backup alone cannot be seen: {}",
                failure.message, looked.message
            ),
            ..looked
        }),
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
        let label = Chosen::noted(cx).map_or_else(|| "none".to_string(), |chosen| chosen.label);
        let restoration = self.restoration(cx, &label).await?;
        Ok(restoration
            .stand()
            .await?
            .observation(&restoration.staged()))
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let restoration = loop {
            let refused = Refused::noted(cx);
            // A process may have died between the two notes of a refusal.
            let standing = Chosen::noted(cx)
                .filter(|chosen| refused.iter().all(|one| one.label != chosen.label));
            let chosen = match standing {
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
                Err(Unstaged::Unfit { why, gone }) => {
                    cx.log(format!("{} will not do: {why}", chosen.label));
                    // Choosing may have taken some out.
                    let mut refused = Refused::noted(cx);
                    refused.push(Refused {
                        label: chosen.label,
                        why: cx.services.mask.clean(&why),
                        taken: Some(chosen.taken),
                        gone,
                    });
                    cx.note("refused", as_value(&refused)).await?;
                    cx.note("backup", serde_json::Value::Null).await?;
                }
                Err(Unstaged::Failed(failure)) => return Err(failure),
            }
        };
        if let Some(kept) = restoration.swap(&mut Told(cx)).await? {
            cx.note("kept", kept).await?;
        }
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let chosen = Chosen::noted(cx)
            .ok_or_else(|| Failure::new(Reason::Verify, "no backup was chosen"))?;
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
        let (Some(kept), Some(chosen)) = (cx.noted_text("kept"), Chosen::noted(cx)) else {
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
        let Some(chosen) = Chosen::noted(cx) else {
            return Ok(());
        };
        let restoration = self.restoration(cx, &chosen.label).await?;
        restoration.release(&mut Told(cx)).await
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let Some(chosen) = Chosen::noted(cx) else {
            // What was begun from a backup that will not do is dropped, too; nothing of it was ever live.
            if cx.noted("refused").is_some() {
                let restoration = self.restoration(cx, "none").await?;
                restoration.drop_staged(&mut Told(cx)).await?;
            }
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
