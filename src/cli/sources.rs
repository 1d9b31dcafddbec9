//! The texts of a run: plan, inventory and provider files, from where the person keeps them or from the run's own copies.
//! Both give the same places in messages and resolve relative paths alike; a resume reads what the run was begun with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Common;
use super::failure::{CliError, JOURNAL, USAGE};
use crate::account::{self, Account};
use crate::action::{KINDS, LATER};
use crate::event::Header;
use crate::inventory;
use crate::journal::RunFolder;
use crate::plan::{self, Kinds};
use crate::problem::{Problem, Source};
use crate::program::Sources;
use crate::yaml;

/// Reads texts and remembers them.
pub struct Reader {
    /// A run's copies.
    copies: Option<Copies>,
    read: Vec<(PathBuf, Vec<u8>)>,
}

/// What a run keeps of the texts that it was begun with.
struct Copies {
    /// By the absolute path of the original.
    by_path: BTreeMap<PathBuf, Vec<u8>>,
    named: Named,
}

/// The files that a plan goes with: those it names itself, or those of `--inventory` and `--providers`. Absolute.
#[derive(Clone)]
pub struct Named {
    /// The inventory.
    pub inventory: PathBuf,
    /// The provider files.
    pub providers: Vec<PathBuf>,
}

/// Everything that a program is bound from, and the texts it came from.
pub struct Texts {
    /// For the program.
    pub sources: Sources,
    /// Which files they were.
    pub named: Named,
    /// Warnings of the plan.
    pub warnings: Vec<Problem>,
    /// `files/...` path within the run's folder, and content.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Reader {
    /// Reads the person's own files.
    pub fn of_person() -> Self {
        Self {
            copies: None,
            read: Vec::new(),
        }
    }

    /// Reads a run's copies; each is compared with its hash in the header.
    pub fn of_run(folder: &RunFolder, header: &Header) -> Result<Self, CliError> {
        let mut by_path = BTreeMap::new();
        for file in &header.files {
            let original = Path::new("/").join(file.path.trim_start_matches("files/"));
            by_path.insert(original, folder.file(file)?);
        }
        let named = Named {
            inventory: PathBuf::from(&header.inventory_path),
            providers: header.provider_paths.iter().map(PathBuf::from).collect(),
        };
        Ok(Self {
            copies: Some(Copies { by_path, named }),
            read: Vec::new(),
        })
    }

    fn source(&mut self, path: &Path) -> Result<Arc<Source>, CliError> {
        let absolute = absolute(path)?;
        let source = match &self.copies {
            None => yaml::read(path, std::fs::File::open(path)),
            Some(copies) => match copies.by_path.get(&absolute) {
                Some(bytes) => yaml::read(path, Ok(bytes.as_slice())),
                None => {
                    return Err(CliError::new(
                        JOURNAL,
                        format!("the run has no copy of {}", path.display()),
                    ));
                }
            },
        };
        let source = source.map_err(|problem| CliError::Problems(vec![problem]))?;
        self.read.push((absolute, source.text.clone().into_bytes()));
        Ok(source)
    }

    /// Reads a plan and all that it names.
    pub fn plan(mut self, path: &Path, common: &Common) -> Result<Texts, CliError> {
        let path = absolute(path)?;
        let shown = shorter(&path);
        let source = self.source(&shown)?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let kinds = Kinds {
            known: &known,
            later: LATER,
        };
        let mut problems = Vec::new();
        let loaded = plan::read(&source, &folder, &kinds)
            .map_err(|found| problems.extend(found))
            .ok();
        let own = || loaded.as_ref()?.plan.inventory.clone();
        let named = match &self.copies {
            Some(copies) => Some(copies.named.inventory.clone()),
            None => common.inventory.clone().or_else(own),
        };
        let Some(named) = named else {
            if problems.is_empty() {
                return Err(CliError::new(
                    USAGE,
                    format!("{} names no inventory", shown.display()),
                )
                .hint("inventory: FILE in the plan, or --inventory FILE"));
            }
            return Err(problems.into());
        };
        let (inventory, accounts, providers) = match self.estate(&named, common) {
            Ok(estate) => estate,
            Err(CliError::Problems(found)) => {
                problems.extend(found);
                return Err(problems.into());
            }
            Err(error) => return Err(error),
        };
        let Some(loaded) = loaded else {
            return Err(problems.into());
        };
        let files = self
            .read
            .into_iter()
            .map(|(path, bytes)| (inside(&path), bytes))
            .collect();
        let sources = Sources {
            plan: loaded.plan,
            folder,
            inventory: Arc::new(inventory),
            accounts,
        };
        Ok(Texts {
            sources,
            named: Named {
                inventory: absolute(&named)?,
                providers,
            },
            warnings: loaded.warnings,
            files,
        })
    }

    /// The accounts of an inventory, whose world is entered before they can be used.
    pub fn inventory(
        &mut self,
        path: &Path,
        common: &Common,
        enter: impl FnOnce(&inventory::Inventory) -> Result<(), CliError>,
    ) -> Result<Accounts, CliError> {
        let (inventory, accounts, _) = self.estate(path, common)?;
        enter(&inventory)?;
        Ok(accounts)
    }

    /// The accounts of a folder of provider files.
    pub fn accounts(&mut self, folder: &Path) -> Result<Accounts, CliError> {
        let files = account::files(folder).map_err(|error| {
            CliError::new(USAGE, format!("--providers {}: {error}", folder.display()))
        })?;
        let mut accounts = BTreeMap::new();
        for file in files {
            let path = absolute(&file)?;
            let source = self.source(&shorter(&path))?;
            let account = account::read(&source, path.parent().unwrap_or(Path::new("/")))?;
            accounts.insert(account.name.clone(), account);
        }
        Ok(accounts)
    }

    /// Reads an inventory and the provider files that it names.
    fn estate(&mut self, path: &Path, common: &Common) -> Result<Estate, CliError> {
        let path = absolute(path)?;
        let source = self.source(&shorter(&path))?;
        let inventory = inventory::read(&source, path.parent().unwrap_or(Path::new("/")))?;
        let files = match (&self.copies, &common.providers) {
            (Some(copies), _) => copies.named.providers.clone(),
            (None, Some(folder)) => account::files(folder).map_err(|error| {
                CliError::new(USAGE, format!("--providers {}: {error}", folder.display()))
            })?,
            (None, None) => inventory
                .providers
                .iter()
                .map(|(path, _)| path.clone())
                .collect(),
        };
        let mut paths = Vec::new();
        let mut accounts = BTreeMap::new();
        let mut problems = Vec::new();
        for file in files {
            let path = absolute(&file)?;
            let source = self.source(&shorter(&path))?;
            paths.push(path.clone());
            match account::read(&source, path.parent().unwrap_or(Path::new("/"))) {
                Ok(account) => {
                    if let Some(first) = accounts.insert(account.name.clone(), account) {
                        let words = format!("two provider files have the name `{}`", first.name);
                        problems.push(Problem::error("same-name", &first.place, words));
                    }
                }
                Err(found) => problems.extend(found),
            }
        }
        let names: Vec<&str> = accounts.keys().map(String::as_str).collect();
        problems.extend(inventory.check_accounts(&names));
        if problems.is_empty() {
            Ok((inventory, accounts, paths))
        } else {
            Err(problems.into())
        }
    }
}

/// Accounts by name.
pub type Accounts = BTreeMap<String, Account>;

/// An inventory, its accounts by name, and the paths of their files.
type Estate = (
    inventory::Inventory,
    BTreeMap<String, Account>,
    Vec<PathBuf>,
);

/// A path without links to where the command was typed.
pub fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    let path = std::path::absolute(path)
        .map_err(|error| CliError::new(USAGE, format!("{}: {error}", path.display())))?;
    // `..` in the middle would escape the folder of copies; links are left as they are named.
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    Ok(clean)
}

/// Where a copy lies within the run's folder of files.
pub fn inside(path: &Path) -> String {
    path.strip_prefix("/")
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// As people would name it from where they stand.
fn shorter(path: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    match here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf)) {
        Some(short) if short.components().count() > 0 => short,
        _ => path.to_path_buf(),
    }
}
