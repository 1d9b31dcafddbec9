//! `dr-plan run --dry-run`: what a run would do. It takes no lock, writes no journal, and leaves nothing on hosts; what it
//! found is saved, so that `run --preview FILE` can refuse to do anything else.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::adopt::Older;
use super::failure::{CliError, JOURNAL, OK, Outcome, PROBLEMS, STOPPED, USAGE};
use super::{Common, print, runtime, say, services};
use crate::clock::Clock;
use crate::engine::{
    Basis, Foreseen, PREVIEW_FORMAT, Preview, Readiness, Would, backups_ready, differences, preview,
};
use crate::event::Header;
use crate::ids::RunId;
use crate::journal::{Hash, RunFolder};
use crate::kind::{Mode, Surety};
use crate::program::{Program, Work};
use crate::secret::Mask;
use crate::state::RunState;
use crate::units::duration;

/// So many runs of a plan are read for a prediction, the newest first.
const EARLIER: usize = 10;

/// What is looked at.
pub struct Wanted<'a> {
    /// The plan, bound.
    pub program: &'a Arc<Program>,
    /// As the run's would be.
    pub header: Header,
    /// The run whose estate would be gone on with.
    pub older: Option<Older>,
    /// Where runs are kept.
    pub state: &'a Path,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
}

/// A preview as it is kept: whoever changes it must not be able to call it the same.
#[derive(Serialize, Deserialize)]
struct Saved {
    preview: Preview,
    sha256: String,
}

/// Looks, with services of its own that are gone afterwards.
pub fn look(wanted: Wanted<'_>) -> Result<Preview, CliError> {
    look_at(wanted, false).map(|(preview, _)| preview)
}

/// The same, with how the plan's datasets stand, for the screen before a start.
pub fn look_at_start(wanted: Wanted<'_>) -> Result<(Preview, Vec<Readiness>), CliError> {
    look_at(wanted, true)
}

fn look_at(wanted: Wanted<'_>, with_backups: bool) -> Result<(Preview, Vec<Readiness>), CliError> {
    let Wanted {
        program,
        mut header,
        older,
        state,
        clock,
    } = wanted;
    header.mode = Mode::Preview;
    let earlier = earlier_runs(state, &header);
    let mask = Mask::default();
    let found = runtime()?.block_on(async {
        let folder = services::passing_folder()?;
        let mut services = services::build(services::Wanted {
            inventory: program.inventory().clone(),
            plan: program.text(),
            accounts: program.accounts(),
            folder: folder.path().to_path_buf(),
            state: None,
            mask: mask.clone(),
            clock,
            drill: header
                .drill
                .clone()
                .map(|drill| (header.run.clone(), drill)),
        })
        .await?;
        services.hosts.coming(program.made_hosts());
        services.rehearsal.nothing_is_lost = header.lost_at_is_default;
        let services = Arc::new(services);
        let known = match older {
            Some(older) => older.survey(program, &services).await?.notes(),
            None => Vec::new(),
        };
        let work: Arc<dyn Work> = program.clone();
        let datasets = if with_backups {
            program.datasets()
        } else {
            Default::default()
        };
        let (found, backups) = tokio::join!(
            preview(&work, header, known, &services, &earlier),
            backups_ready(&services, &datasets)
        );
        for host in services.hosts.all() {
            host.disconnect().await;
        }
        let found = found.map_err(|error| CliError::new(super::failure::BUG, error.to_string()))?;
        Ok::<_, CliError>((found, backups))
    })?;
    let (mut preview, mut backups) = found;
    preview.clean(&mask);
    backups.iter_mut().for_each(|found| found.clean(&mask));
    Ok((preview, backups))
}

/// The newest runs of the same plan, drills too: what they carried out took as long as it will take in earnest.
fn earlier_runs(state: &Path, header: &Header) -> Vec<RunState> {
    let Ok(found) = RunFolder::list(state) else {
        return Vec::new();
    };
    found
        .iter()
        .filter(|entry| match &entry.header {
            Ok(Some((_, known))) => {
                known.plan == header.plan
                    && known.estate == header.estate
                    && matches!(known.mode, Mode::Failover | Mode::Drill)
            }
            // A damaged journal teaches nothing.
            _ => false,
        })
        .filter_map(|entry| RunState::replay(&entry.folder.read().ok()?.events).ok())
        .take(EARLIER)
        .collect()
}

/// Shows it; nothing is held to it later.
pub fn show(found: &Preview, common: &Common) -> u8 {
    if common.json {
        print(&format!("{:#}\n", serde_json::json!({ "preview": found })));
    } else {
        print(&text_of(found));
    }
    match found.is_clear() {
        true => OK,
        false => STOPPED,
    }
}

/// Shows and keeps it.
pub fn show_and_keep(found: Preview, run: &RunId, state: &Path, common: &Common) -> Outcome {
    let path = state.join("previews").join(format!("{run}.json"));
    let saved = Saved {
        sha256: hash_of(&found),
        preview: found,
    };
    keep(&path, &saved)?;
    if common.json {
        let mut value = serde_json::to_value(&saved).unwrap_or_default();
        value["saved"] = path.to_string_lossy().into();
        print(&format!("{value:#}\n"));
    } else {
        print(&text_of(&saved.preview));
        say(&format!(
            "\nsaved: {0}\n hint: dr-plan run {1} --preview {0} does this and nothing else\n",
            path.display(),
            saved.preview.plan_path
        ));
    }
    Ok(match saved.preview.is_clear() {
        true => OK,
        false => STOPPED,
    })
}

fn hash_of(found: &Preview) -> String {
    Hash::of(&serde_json::to_vec(found).unwrap_or_default()).to_string()
}

fn keep(path: &Path, saved: &Saved) -> Result<(), CliError> {
    use std::io::Write;
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let failed = |error: std::io::Error| {
        CliError::new(JOURNAL, format!("writing {}: {error}", path.display()))
            .hint("--state FOLDER keeps it elsewhere")
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(folder)
        .map_err(failed)?;
    let mut file = std::fs::OpenOptions::new()
        .mode(0o600)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    let text = serde_json::to_string_pretty(saved).map_err(|error| failed(error.into()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// Reads a saved preview.
pub fn read(path: &Path) -> Result<Preview, CliError> {
    let bytes = std::fs::read(path).map_err(|error| {
        CliError::new(USAGE, format!("--preview {}: {error}", path.display()))
            .hint("`dr-plan run --dry-run PLAN` makes one and says where it is")
    })?;
    let format = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|value| value["preview"]["format"].as_u64());
    if format.is_some_and(|format| format != u64::from(PREVIEW_FORMAT)) {
        let words = "it was made by another version of dr-plan";
        return Err(
            CliError::new(USAGE, format!("--preview {}: {words}", path.display()))
                .hint("make a new one: dr-plan run --dry-run PLAN"),
        );
    }
    let saved: Saved = serde_json::from_slice(&bytes).map_err(|error| {
        CliError::new(
            USAGE,
            format!(
                "--preview {}: it is no saved preview: {error}",
                path.display()
            ),
        )
    })?;
    if hash_of(&saved.preview) != saved.sha256 {
        return Err(CliError::new(
            PROBLEMS,
            format!(
                "--preview {}: it was changed after it was saved",
                path.display()
            ),
        )
        .hint("make a new one: dr-plan run --dry-run PLAN"));
    }
    Ok(saved.preview)
}

/// Refuses a run that would do something else than was previewed.
pub fn compare(saved: &Preview, now: &Preview, path: &Path) -> Result<(), CliError> {
    let found = differences(saved, now);
    if found.is_empty() {
        say(&format!(
            "all is as it was previewed at {}\n",
            saved.made.strftime("%Y-%m-%d %H:%M:%S UTC")
        ));
        return Ok(());
    }
    let list: String = found.iter().map(|one| format!("\n  - {one}")).collect();
    Err(CliError::new(
        PROBLEMS,
        format!(
            "not started, nothing was touched: {} of {} no longer holds{list}",
            path.display(),
            saved.made.strftime("%Y-%m-%d %H:%M:%S UTC"),
        ),
    )
    .hint(format!(
        "look at it anew: dr-plan run --dry-run {}",
        saved.plan_path
    )))
}

fn surety(surety: Surety) -> &'static str {
    match surety {
        Surety::Verified => "verified",
        Surety::Assumed => "assumed",
        Surety::CannotBeChecked => "cannot be checked",
    }
}

/// The whole preview for a person.
fn text_of(found: &Preview) -> String {
    let of = match found.steps.iter().any(|step| step.would == Would::Probe) {
        true => "preview of a drill with",
        false => "preview of",
    };
    let mut text = format!(
        "{of} {} for {}, as if it were lost at {}: only looked, nothing was changed\n",
        found.plan,
        found.estate,
        found.lost_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    );
    let mut phase: Option<&str> = None;
    for step in by_phase(&found.steps) {
        let own = step.bound.phase.as_deref();
        if own.is_some() && own != phase {
            text.push_str(&format!("\n{}\n", own.unwrap_or_default()));
            phase = own;
        } else if step.bound.finally && phase != Some("finally") {
            text.push_str("\nat the end, also after a failure\n");
            phase = Some("finally");
        } else if own.is_none() && !step.bound.finally && phase.is_some_and(|name| !name.is_empty())
        {
            text.push_str("\nwithout a phase\n");
            phase = Some("");
        }
        text.push_str(&step_text(step));
    }
    text.push_str(&totals(found));
    text
}

/// In the order of the file, but each phase in one piece, where it first stands.
fn by_phase(steps: &[Foreseen]) -> Vec<&Foreseen> {
    let part = |step: &Foreseen| (step.bound.finally, step.bound.phase.clone());
    let mut parts = Vec::new();
    for step in steps {
        if !parts.contains(&part(step)) {
            parts.push(part(step));
        }
    }
    let mut all: Vec<&Foreseen> = steps.iter().collect();
    all.sort_by_key(|step| parts.iter().position(|known| *known == part(step)));
    all
}

fn line(surety: &str, words: &str) -> String {
    let mut text = String::new();
    for (at, part) in words.lines().enumerate() {
        let head = if at == 0 { surety } else { "" };
        text.push_str(&format!("      {head:<18}{part}\n"));
    }
    text
}

fn step_text(step: &Foreseen) -> String {
    let mut text = format!(
        "  {}  {}: {}\n",
        step.bound.id, step.bound.effect, step.bound.title
    );
    let word = match step.would {
        Would::Refuse => "REFUSED",
        Would::Stop => "STOPS",
        _ => surety(step.surety),
    };
    text.push_str(&line(word, &step.what));
    if let Some(hint) = &step.hint {
        text.push_str(&line("", &format!("hint: {hint}")));
    }
    for placeholder in &step.unknown {
        text.push_str(&line(
            "known later",
            &format!("{placeholder} ({})", placeholder.of),
        ));
    }
    for finding in &step.findings {
        text.push_str(&match (finding.warning, finding.surety) {
            (false, sure) => line(surety(sure), &finding.what),
            (true, Surety::CannotBeChecked) => {
                let words = format!("warning: {}", finding.what);
                line(surety(Surety::CannotBeChecked), &words)
            }
            // "verified" before a warning reads as if all were well.
            (true, _) => line("warning", &finding.what),
        });
    }
    if let Some(message) = &step.message {
        text.push_str(&line("would say", message));
    }
    for cost in &step.costs {
        let price = match cost.monthly {
            Some(price) => format!("{}: {price:.2} a month", cost.what),
            None => format!("{}: the provider names no price", cost.what),
        };
        text.push_str(&line("would create", &price));
    }
    if !matches!(step.would, Would::Nothing | Would::LeftOut) && step.predicted.seconds > 0.0 {
        let from = match step.predicted.basis {
            Basis::Runs(1) => "as in the run before".to_string(),
            Basis::Runs(runs) => format!("the middle of {runs} runs"),
            Basis::Plan => "what the plan expects".into(),
            Basis::Arguments => "as it is written".into(),
            Basis::Kind => format!(
                "what `{}` usually takes; no run here tells",
                step.bound.kind
            ),
        };
        let time = duration(step.predicted.time());
        text.push_str(&line("takes about", &format!("{time}: {from}")));
    }
    text
}

fn totals(found: &Preview) -> String {
    let mut text = String::new();
    let time = std::time::Duration::try_from_secs_f64(found.predicted_seconds).unwrap_or_default();
    let way: Vec<&str> = found.longest_way.iter().map(|id| id.as_str()).collect();
    text.push_str(&format!(
        "\ntime     about {}, without what people need; the longest way: {}\n",
        duration(time),
        way.join(" > ")
    ));
    for sum in &found.monthly {
        let without = match sum.without_price {
            0 => String::new(),
            n => format!(", and {n} without a price"),
        };
        text.push_str(&format!(
            "cost     {:.2} a month more at {}{without} (net, in the account's currency)\n",
            sum.monthly, sum.account
        ));
    }
    if found.monthly.is_empty() {
        text.push_str("cost     nothing would be created\n");
    }
    let names = |steps: Vec<&Foreseen>| -> String {
        let names: Vec<String> = steps
            .iter()
            .map(|step| format!("`{}`", step.bound.id))
            .collect();
        names.join(", ")
    };
    let against = names(found.against().collect());
    let unseen = names(found.unseen().map(|(step, _)| step).collect());
    text.push_str(&match (against.is_empty(), unseen.is_empty()) {
        (true, true) => "verdict  nothing that could be looked at speaks against it\n".to_string(),
        (true, false) => format!("verdict  nobody knows: {unseen} could not be looked at\n"),
        (false, true) => format!("verdict  it would not go through: {against}\n"),
        (false, false) => format!(
            "verdict  it would not go through: {against}; and {unseen} could not be looked at\n"
        ),
    });
    text
}

/// The files of a run as its header would name them.
pub fn hashes(files: &[(String, Vec<u8>)]) -> Vec<crate::event::FileHash> {
    let hashed = files.iter().map(|(name, bytes)| crate::event::FileHash {
        path: format!("files/{name}"),
        sha256: Hash::of(bytes).to_string(),
    });
    hashed.collect()
}
