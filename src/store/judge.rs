//! Is a backup worth starting a recovery on? Judged from the listing, the manifest and the first bytes, without fetching the whole:
//! the host checks the whole while it fetches. Pure but for [`assess`], which reads the headers.

use std::time::Duration;

use jiff::Timestamp;

use super::Store;
use super::catalog::{Backup, Catalog};
use crate::codec::{self, Compression, Content, Encryption, Form};
use crate::kind::{Failure, Finding, Reason};

/// What the inventory says of a dataset's backups.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// The form inside all layers.
    pub form: Option<Form>,
    /// The compression, if declared.
    pub compressed: Option<Compression>,
    /// What the declared key opens.
    pub key: Option<Encryption>,
    /// A manifest is declared (`checksums:`).
    pub checksums: bool,
    /// The oldest that is fine.
    pub max_age: Option<Duration>,
}

/// How one backup was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing speaks against it.
    Good,
    /// It may be used; what a person should know stands in the findings (those that are warnings).
    Doubtful,
    /// It must not be used.
    Refused(String),
}

/// One backup with its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The backup.
    pub backup: Backup,
    /// How old it is: the RPO that it would give, before the data itself is asked.
    pub age: Duration,
    /// What its first bytes are; `None` when they were not read.
    pub content: Option<Content>,
    /// What was looked at.
    pub findings: Vec<Finding>,
    /// The verdict.
    pub verdict: Verdict,
}

/// All that were judged, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Assessment {
    /// In order of time, the newest first.
    pub judged: Vec<Judged>,
    /// What is odd about the store as a whole.
    pub findings: Vec<Finding>,
}

impl Assessment {
    /// The newest that may be used.
    pub fn best(&self) -> Option<&Judged> {
        self.judged
            .iter()
            .find(|judged| !matches!(judged.verdict, Verdict::Refused(_)))
    }

    /// Those newer than the best one, all refused.
    pub fn passed_over(&self) -> &[Judged] {
        let end = self
            .judged
            .iter()
            .position(|judged| !matches!(judged.verdict, Verdict::Refused(_)))
            .unwrap_or(self.judged.len());
        &self.judged[..end]
    }

    /// What could be used instead of `path` when the host finds it damaged: older ones that are not refused, the newest of them first.
    pub fn older_than(&self, path: &str) -> impl Iterator<Item = &Judged> {
        let start = self
            .judged
            .iter()
            .position(|judged| judged.backup.path == path)
            .map_or(self.judged.len(), |at| at + 1);
        self.judged[start..]
            .iter()
            .filter(|judged| !matches!(judged.verdict, Verdict::Refused(_)))
    }
}

/// How many of the earlier sizes are compared with.
const COMPARED: usize = 7;
/// Fewer earlier ones than this say nothing about a size.
const ENOUGH: usize = 3;

/// Judges one backup. `earlier` are the sizes of older backups of the same dataset, the newest first; `header` its first
/// [`codec::SNIFF_BYTES`] bytes, if they were read.
pub fn judge(
    backup: &Backup,
    earlier: &[u64],
    header: Option<&[u8]>,
    declared: &Declared,
    now: Timestamp,
) -> Judged {
    let mut findings = Vec::new();
    let mut refused: Option<String> = None;
    let mut refuse = |why: String| {
        refused.get_or_insert(why);
    };
    let age =
        Duration::from_secs(u64::try_from(now.as_second() - backup.taken.as_second()).unwrap_or(0));

    let old = format!(
        "`{}` is {} old (taken {}, by its {})",
        backup.path,
        crate::units::age(age),
        backup.taken,
        backup.taken_from
    );
    match declared.max_age {
        Some(limit) if age > limit => findings.push(Finding::warning(format!(
            "{old}, more than the {} that `max_age` allows",
            crate::units::age(limit)
        ))),
        _ => findings.push(Finding::verified(old)),
    }

    judge_size(backup.bytes, earlier, &mut findings, &mut refuse);
    judge_manifest(backup, declared, &mut findings, &mut refuse);
    let content = header.map(codec::sniff);
    if let Some(content) = content {
        judge_content(content, declared, &mut findings, &mut refuse);
    }

    let verdict = match refused {
        Some(why) => Verdict::Refused(why),
        None if findings.iter().any(|finding| finding.warning) => Verdict::Doubtful,
        None => Verdict::Good,
    };
    Judged {
        backup: backup.clone(),
        age,
        content,
        findings,
        verdict,
    }
}

fn judge_size(
    bytes: u64,
    earlier: &[u64],
    findings: &mut Vec<Finding>,
    refuse: &mut dyn FnMut(String),
) {
    let size = crate::units::bytes(bytes);
    if earlier.len() < ENOUGH {
        findings.push(Finding::assumed(format!(
            "{size}; with {} earlier backup(s) there is nothing to compare the size with",
            earlier.len()
        )));
        return;
    }
    let mut last: Vec<u64> = earlier.iter().take(COMPARED).copied().collect();
    last.sort_unstable();
    let middle = last.len() / 2;
    let median = if last.len().is_multiple_of(2) {
        last[middle - 1] / 2 + last[middle] / 2
    } else {
        last[middle]
    };
    let usual = format!(
        "{size}, where the median of the last {} is {}",
        last.len(),
        crate::units::bytes(median)
    );
    if bytes < median.div_ceil(2) {
        refuse(format!("too small: {usual}"));
        findings.push(Finding::warning(format!("less than half: {usual}")));
    } else if bytes > median.saturating_mul(2) {
        findings.push(Finding::warning(format!("more than double: {usual}")));
    } else {
        findings.push(Finding::verified(usual));
    }
}

fn judge_manifest(
    backup: &Backup,
    declared: &Declared,
    findings: &mut Vec<Finding>,
    refuse: &mut dyn FnMut(String),
) {
    match &backup.manifest {
        Some(entry) if entry.bytes != backup.bytes => {
            let what = format!(
                "the manifest says {} bytes, the store has {}",
                entry.bytes, backup.bytes
            );
            refuse(what.clone());
            findings.push(Finding::warning(what));
        }
        Some(entry) => findings.push(Finding::verified(format!(
            "the manifest agrees on {} bytes; sha256 {}... is compared where it is fetched",
            entry.bytes,
            &entry.sha256[..12.min(entry.sha256.len())]
        ))),
        None if declared.checksums => findings.push(Finding::warning(format!(
            "the manifest has no line for `{}`: nothing says what its bytes should be",
            backup.path
        ))),
        None => findings.push(Finding::assumed(
            "no manifest: the bytes are checked only by what is inside",
        )),
    }
}

fn judge_content(
    content: Content,
    declared: &Declared,
    findings: &mut Vec<Finding>,
    refuse: &mut dyn FnMut(String),
) {
    let mut no = |what: String| {
        refuse(what.clone());
        findings.push(Finding::warning(what));
    };
    match content {
        Content::Empty => return no("it is empty".into()),
        Content::Unknown => {
            return no("its first bytes belong to no format that is known".into());
        }
        Content::OpenSsl => {
            return no(
                "it is closed with `openssl enc`, which does not show whether it was changed, and is not opened by this version".into(),
            );
        }
        Content::GpgRecipient => {
            return no(
                "it is closed for the holder of a gpg secret key; this version opens passphrases only".into(),
            );
        }
        _ => {}
    }
    match (content.encryption(), declared.key) {
        (Some(closed), Some(key)) if closed != key => {
            return no(format!(
                "it is closed with {closed}, and the declared key is for {key}"
            ));
        }
        (Some(closed), None) => {
            return no(format!(
                "it is closed with {closed}, and its dataset names no key"
            ));
        }
        (Some(_), Some(_)) => {
            findings.push(Finding::verified(format!("it is {content}")));
            findings.push(Finding::cannot_be_checked(
                "what is inside shows when the host opens it",
            ));
            return;
        }
        (None, Some(key)) => findings.push(Finding::warning(format!(
            "it is not encrypted ({content}), although its dataset names a {key} key"
        ))),
        (None, None) => {}
    }
    match (content.compression(), declared.compressed) {
        (Some(is), Some(said)) if is != said => {
            findings.push(Finding::warning(format!(
                "it is {is}, declared is {said}; content decides"
            )));
        }
        (Some(is), None) => {
            findings.push(Finding::warning(format!(
                "it is {is}, declared is no compression; content decides"
            )));
        }
        (None, Some(said)) => findings.push(Finding::warning(format!(
            "it is {content}, declared is {said}; content decides"
        ))),
        _ => {}
    }
    if content.compression().is_some() {
        findings.push(Finding::cannot_be_checked(
            "what is inside shows when the host unpacks it",
        ));
        return;
    }
    if let Some(form) = declared.form {
        match content {
            is if is == form.content() => findings.push(Finding::verified(format!("it is {is}"))),
            Content::PostgresPlain | Content::PostgresCustom
                if matches!(form, Form::Plain | Form::Custom) =>
            {
                findings.push(Finding::warning(format!(
                    "it is {content}, declared is `form: {form}`; content decides"
                )));
            }
            other => {
                let what = format!("it is {other}, declared is `form: {form}`");
                refuse(what.clone());
                findings.push(Finding::warning(what));
            }
        }
    }
}

/// Judges a catalogue, the newest first, reading headers until `spare` usable older ones are known besides the best.
/// A header that cannot be read refuses its backup only when the object is gone; a store that does not answer is a failure.
pub async fn assess(
    store: &dyn Store,
    catalog: &Catalog,
    declared: &Declared,
    spare: usize,
    now: Timestamp,
) -> Result<Assessment, Failure> {
    let mut assessment = Assessment {
        judged: Vec::new(),
        findings: catalog.findings.clone(),
    };
    let sizes: Vec<u64> = catalog.backups.iter().map(|backup| backup.bytes).collect();
    let mut usable = 0;
    for (at, backup) in catalog.backups.iter().enumerate() {
        let judged = match store.read(&backup.path, 0, codec::SNIFF_BYTES).await {
            Ok(header) => judge(backup, &sizes[at + 1..], Some(&header), declared, now),
            Err(failure) if failure.reason == Reason::NotFound => {
                let mut judged = judge(backup, &sizes[at + 1..], None, declared, now);
                judged.verdict = Verdict::Refused("it is gone from the store".into());
                judged
            }
            Err(failure) => return Err(failure),
        };
        if !matches!(judged.verdict, Verdict::Refused(_)) {
            usable += 1;
        }
        assessment.judged.push(judged);
        if usable > spare {
            break;
        }
    }
    if catalog.backups.is_empty() {
        assessment.findings.push(Finding::warning(format!(
            "no backup was found in store `{}`",
            store.name()
        )));
    }
    Ok(assessment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::catalog::{ManifestEntry, TakenFrom};

    const GPG: &[u8] = b"\x8c\x0d\x04\x09\x03\x02";

    fn backup(bytes: u64, manifest: Option<u64>) -> Backup {
        Backup {
            store: "vault".into(),
            path: "shop.dump.gpg".into(),
            bytes,
            taken: "2026-11-21T03:00:00Z".parse().unwrap(),
            taken_from: TakenFrom::Name,
            manifest: manifest.map(|bytes| ManifestEntry {
                bytes,
                sha256: "a".repeat(64),
                taken: None,
            }),
        }
    }

    fn declared() -> Declared {
        Declared {
            form: Some(Form::Custom),
            compressed: None,
            key: Some(Encryption::Gpg),
            checksums: true,
            max_age: Some(Duration::from_secs(25 * 3600)),
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn verdict(bytes: u64, manifest: Option<u64>, earlier: &[u64], header: &[u8]) -> Verdict {
        judge(
            &backup(bytes, manifest),
            earlier,
            Some(header),
            &declared(),
            now(),
        )
        .verdict
    }

    #[test]
    fn a_sound_backup_is_good() {
        assert_eq!(verdict(100, Some(100), &[90, 95, 99], GPG), Verdict::Good);
    }

    #[test]
    fn a_size_far_from_the_median_of_the_last_seven_is_seen() {
        let refused = |verdict| matches!(verdict, Verdict::Refused(_));
        assert!(refused(verdict(49, Some(49), &[100, 100, 100], GPG)));
        assert!(!refused(verdict(50, Some(50), &[100, 100, 100], GPG)));
        assert_eq!(
            verdict(201, Some(201), &[100, 100, 100], GPG),
            Verdict::Doubtful
        );
        // Two earlier ones are not enough, and an eighth does not count.
        assert_eq!(verdict(1, Some(1), &[100, 100], GPG), Verdict::Good);
        assert_eq!(
            verdict(
                10,
                Some(10),
                &[
                    10, 10, 10, 10, 10, 10, 10, 900, 900, 900, 900, 900, 900, 900, 900
                ],
                GPG
            ),
            Verdict::Good
        );
    }

    #[test]
    fn the_manifest_must_agree_and_its_absence_is_doubt() {
        assert!(
            matches!(verdict(100, Some(101), &[], GPG), Verdict::Refused(why) if why.contains("101"))
        );
        assert_eq!(verdict(100, None, &[], GPG), Verdict::Doubtful);
    }

    #[test]
    fn content_decides_whatever_the_name_says() {
        let plain: &[u8] = b"PGDMP\x01\x0e";
        let judged = judge(
            &backup(100, Some(100)),
            &[],
            Some(plain),
            &declared(),
            now(),
        );
        assert_eq!(judged.verdict, Verdict::Doubtful);
        assert!(
            judged
                .findings
                .iter()
                .any(|f| f.warning && f.what.contains("not encrypted")),
            "{judged:?}"
        );
        for wrong in [
            &b""[..],
            b"\x85\x01\x8c\x03",
            b"age-encryption.org/v1",
            b"Salted__",
            b"<html>",
            b"REDIS0010",
        ] {
            assert!(
                matches!(verdict(100, Some(100), &[], wrong), Verdict::Refused(_)),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn an_old_backup_is_a_warning_and_not_a_refusal() {
        let later = "2026-11-23T12:00:00Z".parse().unwrap();
        let judged = judge(&backup(100, Some(100)), &[], Some(GPG), &declared(), later);
        assert_eq!(judged.verdict, Verdict::Doubtful);
        assert!(
            judged.findings[0].warning && judged.findings[0].what.contains("2d09h"),
            "{judged:?}"
        );
    }

    #[test]
    fn what_is_refused_names_the_next_older_one() {
        let judge_at = |path: &str, bytes: u64| {
            let mut backup = backup(bytes, Some(100));
            backup.path = path.into();
            judge(&backup, &[], Some(GPG), &declared(), now())
        };
        let assessment = Assessment {
            judged: vec![
                judge_at("a", 99),
                judge_at("b", 100),
                judge_at("c", 98),
                judge_at("d", 100),
            ],
            findings: vec![],
        };
        assert_eq!(assessment.best().unwrap().backup.path, "b");
        assert_eq!(assessment.passed_over().len(), 1);
        let older: Vec<_> = assessment
            .older_than("b")
            .map(|j| j.backup.path.as_str())
            .collect();
        assert_eq!(older, ["d"]);
    }
}
