//! What lies in a store: objects that match a path pattern, each with the time it was taken at. The newest is told from
//! these times, never from the order of a listing or of names.

mod manifest;
mod pattern;

pub use manifest::{Manifest, ManifestEntry};
pub use pattern::{Pattern, PatternError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Object, Store};
use crate::kind::{Failure, Finding, Reason};

/// Where a time was read from, the most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenFrom {
    /// The maker's manifest.
    Manifest,
    /// The object's name.
    Name,
    /// The store's time of writing: the pattern has no `{time}`.
    Modified,
}

impl std::fmt::Display for TakenFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TakenFrom::Manifest => "manifest",
            TakenFrom::Name => "name",
            TakenFrom::Modified => "mtime",
        })
    }
}

/// One restorable point of a dataset, as far as the listing and the manifest tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The store's name.
    pub store: String,
    /// The object.
    pub path: String,
    /// Stored bytes, by the listing.
    pub bytes: u64,
    /// When it was taken.
    pub taken: Timestamp,
    /// How that is known.
    pub taken_from: TakenFrom,
    /// What the manifest says of it, if there is one.
    pub manifest: Option<ManifestEntry>,
}

/// The backups of one dataset in one store, and what is odd about them.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The newest first; those with the same time by path.
    pub backups: Vec<Backup>,
    /// Unfinished or empty objects, times in the future, unreadable manifests: not used, but said.
    pub findings: Vec<Finding>,
    /// A manifest was read.
    pub has_manifest: bool,
}

/// Endings of files that somebody was still writing.
const UNFINISHED: [&str; 3] = [".tmp", ".partial", ".part"];
/// A little more than clocks differ by.
const CLOCK_SLACK_SECONDS: i64 = 300;
const LARGEST_MANIFEST: u64 = 64 * 1024 * 1024;

/// Sorts a listing. Pure: `now` only serves to recognise times in the future.
pub fn sort(
    store: &str,
    objects: &[Object],
    pattern: &Pattern,
    zone: &TimeZone,
    now: Timestamp,
) -> Catalog {
    let mut catalog = Catalog::default();
    let mut unreadable = Vec::new();
    for object in objects {
        let Some(time) = pattern.matches(&object.path, zone) else {
            let unfinished = UNFINISHED.iter().any(|ending| {
                object
                    .path
                    .strip_suffix(ending)
                    .is_some_and(|path| pattern.matches(path, zone).is_some())
            });
            if unfinished {
                catalog.findings.push(Finding::warning(format!(
                    "`{}` looks unfinished ({}), ignored",
                    object.path,
                    crate::units::bytes(object.bytes)
                )));
            } else if pattern.matches_but_for_time(&object.path) {
                unreadable.push(object.path.as_str());
            }
            continue;
        };
        if object.bytes == 0 {
            catalog.findings.push(Finding::warning(format!(
                "`{}` is empty, ignored",
                object.path
            )));
            continue;
        }
        let (taken, taken_from) = match time {
            Some(time) => (time, TakenFrom::Name),
            None => (object.modified, TakenFrom::Modified),
        };
        catalog.backups.push(Backup {
            store: store.to_string(),
            path: object.path.clone(),
            bytes: object.bytes,
            taken,
            taken_from,
            manifest: None,
        });
    }
    if let Some(first) = unreadable.first() {
        catalog.findings.push(Finding::warning(format!(
            "{} name(s) fit `{pattern}` but for their time, ignored: the first is `{first}`",
            unreadable.len()
        )));
    }
    catalog.set_aside_the_future(now);
    catalog.order();
    catalog
}

impl Catalog {
    fn order(&mut self) {
        self.backups
            .sort_by(|a, b| b.taken.cmp(&a.taken).then_with(|| a.path.cmp(&b.path)));
    }

    /// A backup from the future cannot be placed among the others: chosen as "newest" it would hide them all.
    fn set_aside_the_future(&mut self, now: Timestamp) {
        let limit = now.as_second().saturating_add(CLOCK_SLACK_SECONDS);
        let findings = &mut self.findings;
        self.backups.retain(|backup| {
            let ahead = backup.taken.as_second() > limit;
            if ahead {
                findings.push(Finding::warning(format!(
                    "`{}` was taken in the future ({}, by its {}), ignored: a clock or a time zone is wrong",
                    backup.path, backup.taken, backup.taken_from
                )));
            }
            !ahead
        });
    }

    /// Adds what the manifest knows: sizes, hashes, and times, which go before those of names.
    pub fn apply(&mut self, manifest: &Manifest, now: Timestamp) {
        self.has_manifest = true;
        for backup in &mut self.backups {
            let Some(entry) = manifest.find(&backup.path) else {
                continue;
            };
            if let Some(taken) = entry.taken {
                let apart = (taken.as_second() - backup.taken.as_second()).abs();
                if backup.taken_from == TakenFrom::Name && apart > CLOCK_SLACK_SECONDS {
                    self.findings.push(Finding::warning(format!(
                        "`{}`: the manifest says it was taken {taken}, its name says {}; the manifest is believed",
                        backup.path, backup.taken
                    )));
                }
                backup.taken = taken;
                backup.taken_from = TakenFrom::Manifest;
            }
            backup.manifest = Some(entry.clone());
        }
        self.set_aside_the_future(now);
        self.order();
    }
}

/// Lists a store and reads the manifests that lie there: `checksums` (a name beside the artefacts, or a path when it holds a `/`), else
/// `manifest.ndjson` beside them. A manifest that was declared and is missing is a finding here and counts when a backup is judged.
pub async fn read(
    store: &dyn Store,
    pattern: &Pattern,
    checksums: Option<&str>,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Catalog, Failure> {
    let objects = store.list(pattern.prefix()).await?;
    let mut catalog = sort(store.name(), &objects, pattern, zone, now);
    let mut places: Vec<String> = Vec::new();
    match checksums {
        Some(path) if path.contains('/') => places.push(path.to_string()),
        name => {
            let name = name.unwrap_or("manifest.ndjson");
            for backup in &catalog.backups {
                let place = match backup.path.rfind('/') {
                    Some(slash) => format!("{}/{name}", &backup.path[..slash]),
                    None => name.to_string(),
                };
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
    }
    let mut manifest = Manifest::default();
    let mut found = false;
    for place in &places {
        match super::read_all(store, place, LARGEST_MANIFEST).await {
            Ok(content) => {
                found = true;
                for why in manifest.add(place, &content) {
                    catalog.findings.push(Finding::warning(why));
                }
            }
            Err(failure) if failure.reason == Reason::NotFound => {
                if checksums.is_some() {
                    catalog.findings.push(Finding::warning(format!(
                        "the manifest `{place}` is not there"
                    )));
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    if found {
        catalog.apply(&manifest, now);
    }
    Ok(catalog)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(path: &str, bytes: u64) -> Object {
        Object {
            path: path.into(),
            bytes,
            modified: "2026-11-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_newest_is_told_by_time_and_oddities_are_said() {
        let pattern = Pattern::parse("postgres/shop-{time:%Y%m%dT%H%M%SZ}.dump.gpg").unwrap();
        let objects = [
            object("postgres/shop-20261119T030000Z.dump.gpg", 100),
            object("postgres/shop-20261121T030000Z.dump.gpg", 100),
            object("postgres/shop-20261120T030000Z.dump.gpg", 100),
            object("postgres/shop-20261121T090000Z.dump.gpg.partial", 50),
            object("postgres/shop-20261121T100000Z.dump.gpg", 0),
            object("postgres/shop-20271121T030000Z.dump.gpg", 100),
            object("postgres/shop-20261341T030000Z.dump.gpg", 100),
            object("postgres/other-20261121T110000Z.dump.gpg", 100),
            object("postgres/manifest.ndjson", 100),
        ];
        let catalog = sort("vault", &objects, &pattern, &TimeZone::UTC, now());
        let times: Vec<_> = catalog
            .backups
            .iter()
            .map(|backup| backup.taken.to_string())
            .collect();
        assert_eq!(
            times,
            [
                "2026-11-21T03:00:00Z",
                "2026-11-20T03:00:00Z",
                "2026-11-19T03:00:00Z"
            ]
        );
        let said: Vec<_> = catalog
            .findings
            .iter()
            .map(|finding| finding.what.as_str())
            .collect();
        assert_eq!(said.len(), 4, "{said:#?}");
        for word in [
            "unfinished",
            "is empty",
            "in the future",
            "but for their time",
        ] {
            assert!(
                said.iter().any(|what| what.contains(word)),
                "{word}: {said:#?}"
            );
        }
    }

    #[test]
    fn a_manifest_goes_before_a_lying_name() {
        let pattern = Pattern::parse("shop-{time}.dump").unwrap();
        let objects = [
            object("shop-20261121T030000Z.dump", 100),
            object("shop-20261121T040000Z.dump", 100),
        ];
        let mut catalog = sort("vault", &objects, &pattern, &TimeZone::UTC, now());
        let mut manifest = Manifest::default();
        let sha = "a".repeat(64);
        let line = format!(
            r#"{{"artifact":"shop-20261121T030000Z.dump","bytes":100,"sha256":"{sha}","taken":"2026-11-21T05:00:00Z"}}"#
        );
        assert!(manifest.add("manifest.ndjson", line.as_bytes()).is_empty());
        catalog.apply(&manifest, now());
        assert_eq!(catalog.backups[0].path, "shop-20261121T030000Z.dump");
        assert_eq!(catalog.backups[0].taken_from, TakenFrom::Manifest);
        assert!(
            catalog.findings[0]
                .what
                .contains("the manifest is believed"),
            "{:?}",
            catalog.findings
        );
    }
}
