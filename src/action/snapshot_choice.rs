//! Which snapshot a server is made from, the same one in every attempt of a run.

use jiff::Timestamp;

use super::{Context, Verified};
use crate::kind::{Failure, Finding, Reason};
use crate::provider::Provider;
use crate::provider::snapshot::{Snapshot, State};

/// Stands for an id that only a run knows; no provider gives it.
pub(super) const UNKNOWN: &str = "0";

/// How it was named.
#[derive(Debug, Clone)]
pub(super) enum Choice {
    /// The provider's id.
    Id(String),
    /// The newest one that was taken of a server of this name.
    NewestOf {
        /// Where it stood.
        account: String,
        /// Its name there.
        server: String,
    },
}

impl Choice {
    /// The snapshot: the one that an earlier attempt settled on, else as it was named.
    pub(super) async fn find(
        &self,
        cx: &Context,
        provider: &dyn Provider,
    ) -> Result<Snapshot, Failure> {
        let snapshots = provider.snapshots()?;
        let settled = cx.noted_text("image");
        let found = match (&settled, self) {
            (Some(id), _) | (None, Choice::Id(id)) => {
                snapshots.get(id).await?.ok_or_else(|| {
                    let words = format!("{} has no snapshot {id}", provider.account());
                    Failure::new(Reason::NotFound, words)
                })?
            }
            (None, Choice::NewestOf { server, .. }) => {
                let mut all = snapshots.of_server(server).await?;
                all.retain(|snapshot| snapshot.state == State::Ready);
                all.sort_by_key(|snapshot| snapshot.taken);
                all.pop().ok_or_else(|| {
                    let words = format!(
                        "{} has no snapshot of a server `{server}` that can be used",
                        provider.account()
                    );
                    Failure::new(Reason::NotFound, words)
                })?
            }
        };
        match found.state {
            State::Ready => Ok(found),
            State::Making => Err(Failure::new(
                Reason::Busy,
                format!("snapshot {} is still being made", found.id),
            )),
            State::Broken => Err(Failure::new(
                Reason::Damaged,
                format!("snapshot {} cannot be used", found.id),
            )),
        }
    }

    /// Remembers which one it is.
    pub(super) async fn settle(
        &self,
        cx: &Context,
        provider: &dyn Provider,
    ) -> Result<(), Failure> {
        if cx.noted("image").is_none() {
            let snapshot = self.find(cx, provider).await?;
            cx.note("taken", taken(&snapshot)).await?;
            cx.note_words("image_words", &words(&snapshot)).await?;
            cx.note("image", snapshot.id).await?;
        }
        Ok(())
    }

    /// Looked at before the run; `false`: it does not exist yet.
    pub(super) async fn check(
        &self,
        cx: &Context,
        provider: &dyn Provider,
    ) -> Result<(Vec<Finding>, bool), Failure> {
        if matches!(self, Choice::Id(id) if id == UNKNOWN) && cx.noted("image").is_none() {
            let words = "the snapshot is made by an earlier step: its disk size and architecture are not known yet";
            return Ok((vec![Finding::cannot_be_checked(words)], false));
        }
        let snapshot = self.find(cx, provider).await?;
        let age = snapshot
            .taken
            .map(|taken| format!(", {}", cx.beside_the_loss(taken)));
        let found = format!("{}{}", words(&snapshot), age.unwrap_or_default());
        let warned = "what ran on the machine that was copied starts on the copy as well, with the data and the addresses of that day";
        Ok((
            vec![Finding::verified(found), Finding::warning(warned)],
            true,
        ))
    }

    /// Adds what it was to a verify.
    pub(super) fn tell(&self, cx: &Context, verified: Verified) -> Verified {
        let noted = |key| cx.noted_text(key).unwrap_or_default();
        verified
            .and("made from", noted("image_words"))
            .with("image", noted("image"))
            .with("taken", noted("taken"))
    }
}

fn taken(snapshot: &Snapshot) -> String {
    snapshot
        .taken
        .map_or_else(String::new, |taken: Timestamp| taken.to_string())
}

fn words(snapshot: &Snapshot) -> String {
    format!(
        "snapshot {} of `{}`, taken {}",
        snapshot.id,
        snapshot
            .of_name
            .as_deref()
            .unwrap_or("a server without a name"),
        taken(snapshot)
    )
}
