//! The backups of a dataset in all its stores, judged; and which one a restore begins with.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Context;
use crate::codec;
use crate::inventory::{BackupSource, Compression, Dataset, Form, Key, zone_named};
use crate::kind::{Failure, Reason};
use crate::store::catalog::{self, Backup, Pattern};
use crate::store::judge::{Assessment, Declared, Judged, Verdict, assess};

/// One place of a dataset's backups, judged.
pub(super) struct Place<'a> {
    pub(super) source: &'a BackupSource,
    pub(super) assessment: Assessment,
}

/// A dataset of the estate.
pub(super) fn dataset<'a>(cx: &'a Context, name: &str) -> Result<&'a Dataset, Failure> {
    let found = cx.services.inventory.datasets.get(name);
    found.ok_or_else(|| {
        Failure::new(
            Reason::NotFound,
            format!("the inventory has no dataset `{name}`"),
        )
    })
}

/// What the inventory says of a place's backups.
pub(super) fn declared(cx: &Context, dataset: &Dataset, source: &BackupSource) -> Declared {
    Declared {
        form: Some(form(source.form)),
        compressed: match source.compressed {
            Compression::None => None,
            Compression::Gzip => Some(codec::Compression::Gzip),
            Compression::Zstd => Some(codec::Compression::Zstd),
        },
        key: source
            .key
            .as_ref()
            .and_then(|name| cx.services.inventory.keys.get(name))
            .map(|key| match key {
                Key::GpgPassphrase(_) => codec::Encryption::Gpg,
                Key::AgeIdentity(_) => codec::Encryption::Age,
            }),
        checksums: source.checksums.is_some(),
        max_age: dataset.max_age.map(|span| span.0),
    }
}

/// The form in the words of the codec.
pub(super) fn form(form: Form) -> codec::Form {
    match form {
        Form::Plain => codec::Form::Plain,
        Form::Custom => codec::Form::Custom,
        Form::Rdb => codec::Form::Rdb,
        Form::Tar => codec::Form::Tar,
    }
}

/// Lists and judges every place. A store that does not answer is said and passed over while another one does.
pub(super) async fn places<'a>(
    cx: &Context,
    dataset: &'a Dataset,
    point: Option<Timestamp>,
) -> Result<(Vec<Place<'a>>, Vec<Failure>), Failure> {
    let now = cx.services.clock.now();
    let (mut places, mut silent) = (Vec::new(), Vec::new());
    for source in &dataset.backups {
        let came = async {
            let store = cx.services.store(&source.store)?;
            let wrong = |why: String| {
                Failure::new(
                    Reason::Other,
                    format!("backups of `{}`: {why}", dataset.name),
                )
            };
            let pattern = Pattern::parse(&source.path).map_err(|error| wrong(error.to_string()))?;
            let zone = match &source.zone {
                Some(name) => zone_named(name)
                    .ok_or_else(|| wrong(format!("this machine knows no time zone `{name}`")))?,
                None => TimeZone::UTC,
            };
            let mut catalog =
                catalog::read(&*store, &pattern, source.checksums.as_deref(), &zone, now).await?;
            // Younger than the wanted moment: as if they were not there.
            catalog
                .backups
                .retain(|backup| point.is_none_or(|point| backup.taken <= point));
            assess(&*store, &catalog, &declared(cx, dataset, source), 3, now).await
        };
        match came.await {
            Ok(assessment) => places.push(Place { source, assessment }),
            Err(failure) => silent.push(failure.at(format!("store `{}`", source.store))),
        }
    }
    match (places.is_empty(), silent.first()) {
        (true, Some(failure)) => Err(failure.clone()),
        _ => Ok((places, silent)),
    }
}

/// A backup and where it lies.
#[derive(Clone)]
pub(super) struct Candidate<'a> {
    pub(super) source: &'a BackupSource,
    pub(super) judged: Judged,
}

impl Candidate<'_> {
    /// `store:path`.
    pub(super) fn label(&self) -> String {
        label(&self.judged.backup)
    }

    /// It must not be used, and why.
    pub(super) fn refused(&self) -> Option<&str> {
        match &self.judged.verdict {
            Verdict::Refused(why) => Some(why),
            _ => None,
        }
    }

    /// For people: the label and how old it is.
    pub(super) fn words(&self, cx: &Context) -> String {
        let taken = self.judged.backup.taken;
        format!(
            "{} (taken {taken}, {})",
            self.label(),
            cx.beside_the_loss(taken)
        )
    }

    /// It may hold what the loss left.
    pub(super) fn after(&self, lost_at: Timestamp) -> bool {
        self.judged.backup.taken > lost_at
    }
}

/// `store:path`.
pub(super) fn label(backup: &Backup) -> String {
    format!("{}:{}", backup.store, backup.path)
}

/// All candidates for a moment, the newest first; of equally old ones the first store's.
pub(super) fn candidates<'a>(places: &[Place<'a>], prefer: Option<&str>) -> Vec<Candidate<'a>> {
    let mut all: Vec<Candidate> = places
        .iter()
        .flat_map(|place| {
            place.assessment.judged.iter().map(|judged| Candidate {
                source: place.source,
                judged: judged.clone(),
            })
        })
        .collect();
    all.sort_by_key(|candidate| {
        (
            std::cmp::Reverse(candidate.judged.backup.taken),
            prefer != Some(candidate.source.store.as_str()),
        )
    });
    all
}
