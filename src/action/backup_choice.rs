//! Which backup a restore takes and which ones will not do, as a step notes it beyond a crash; and when the next one is a person's
//! decision. A consent is to one backup: its time is in the question's name, its label in the question.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Context;
use super::backups::Candidate;
use crate::event::{Ask, AskKind};
use crate::inventory::Dataset;

/// The backup that was chosen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Chosen {
    pub(super) label: String,
    pub(super) store: String,
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) sha256: Option<String>,
    pub(super) taken: Timestamp,
    /// Which entry of the dataset's `backups`.
    pub(super) source: usize,
}

impl Chosen {
    pub(super) fn of(candidate: &Candidate<'_>, dataset: &Dataset) -> Self {
        let backup = &candidate.judged.backup;
        let mut sources = dataset.backups.iter();
        Self {
            label: candidate.label(),
            store: backup.store.clone(),
            path: backup.path.clone(),
            bytes: backup.bytes,
            sha256: backup.manifest.as_ref().map(|entry| entry.sha256.clone()),
            taken: backup.taken,
            source: sources
                .position(|source| std::ptr::eq(source, candidate.source))
                .unwrap_or(0),
        }
    }

    pub(super) fn noted(cx: &Context) -> Option<Self> {
        cx.noted("backup")
            .and_then(|value| serde_json::from_value(value).ok())
    }
}

/// A backup that will not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) label: String,
    pub(super) why: String,
    /// Journals of earlier versions have pairs without it: such a backup counts as younger than all others.
    #[serde(default)]
    pub(super) taken: Option<Timestamp>,
    /// The store did not have it any more, which may change: it may have been a disk that was not mounted.
    #[serde(default)]
    pub(super) gone: bool,
}

impl Refused {
    /// All that this step has refused.
    pub(super) fn noted(cx: &Context) -> Vec<Self> {
        cx.noted("refused")
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default()
    }

    /// In its place an older one loses more.
    fn is_younger_than(&self, taken: Timestamp) -> bool {
        self.taken.is_none_or(|own| own > taken)
    }
}

/// Takes out what was gone and is there again. Whether there was any.
pub(super) fn came_back(refused: &mut Vec<Refused>, all: &[Candidate<'_>]) -> bool {
    let before = refused.len();
    refused.retain(|one| {
        let again =
            |candidate: &Candidate| candidate.refused().is_none() && candidate.label() == one.label;
        !(one.gone && all.iter().any(again))
    });
    refused.len() != before
}

/// The youngest candidate that nothing speaks against. Those before it that do not look right are added to the refused ones.
pub(super) fn youngest<'a, 'b>(
    all: &'b [Candidate<'a>],
    refused: &mut Vec<Refused>,
) -> Option<&'b Candidate<'a>> {
    for candidate in all {
        let label = candidate.label();
        if refused.iter().any(|one| one.label == label) {
            continue;
        }
        let Some(why) = candidate.refused() else {
            return Some(candidate);
        };
        refused.push(Refused {
            label,
            why: why.to_string(),
            taken: Some(candidate.judged.backup.taken),
            gone: false,
        });
    }
    None
}

/// The question for a candidate that is older than what was refused; `None` where nothing is lost by taking it. `words` say
/// what it is and how old.
pub(super) fn question(
    dataset: &str,
    candidate: &Candidate<'_>,
    words: &str,
    refused: &[Refused],
) -> Option<Ask> {
    let taken = candidate.judged.backup.taken;
    let mut details: Vec<String> = refused
        .iter()
        .filter(|one| one.is_younger_than(taken))
        .map(|one| format!("{} will not do: {}", one.label, one.why))
        .collect();
    if details.is_empty() {
        return None;
    }
    details.push(format!("next: {words}"));
    Some(Ask {
        name: format!("older-backup-{}", taken.strftime("%Y%m%dT%H%M%SZ")),
        kind: AskKind::OlderBackup,
        question: format!(
            "Restore `{dataset}` from the next older backup, `{}`?",
            candidate.label()
        ),
        details,
        timeout: None,
        by: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_an_earlier_version_noted_count_as_younger_than_all_others() {
        let noted = serde_json::json!([["vault:a", "cut"], { "label": "vault:b", "why": "cut", "taken": "2026-11-20T03:00:00Z" }]);
        let refused: Vec<Refused> = serde_json::from_value(noted).unwrap();
        assert_eq!(
            (refused[0].label.as_str(), refused[0].taken),
            ("vault:a", None)
        );
        let younger = "2026-11-20T03:00:01Z".parse().unwrap();
        assert!(refused[0].is_younger_than(younger));
        assert!(!refused[1].is_younger_than(younger));
        let as_old = "2026-11-20T03:00:00Z".parse().unwrap();
        assert!(
            !refused[1].is_younger_than(as_old),
            "nothing more is lost by it"
        );
    }
}
