//! The texts of a run: plan, inventory and provider files, from where the person keeps them or from the run's own copies.
//! Both give the same places in messages and resolve relative paths alike; a resume reads what the run was begun with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Common;
use super::failure::{CliError, JOURNAL, PROBLEMS, USAGE};
use crate::account::{self, Account};
use crate::action::{KINDS, LATER};
use crate::event::Header;
use crate::ids::RunId;
use crate::inventory;
use crate::journal::RunFolder;
use crate::kind::Mode;
use crate::plan::{self, Kinds};
use crate::problem::{Place, Problem, Source};
use crate::program::{Program, Sources, Unread};
use crate::yaml::{self, Node};

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

    /// Reads a plan and all that it names. When anything is wrong: all problems of all its texts, and of the steps bound
    /// as far as they can be, with the values of the inputs that are `given`.
    pub fn plan(
        mut self,
        path: &Path,
        given: &BTreeMap<String, String>,
        common: &Common,
    ) -> Result<Texts, CliError> {
        let path = absolute(path)?;
        let shown = shorter(&path);
        let source = self.source(&shown)?;
        let root = yaml::parse(&source).0;
        if let Some(problem) = root.as_ref().and_then(no_plan) {
            return Err(vec![problem].into());
        }
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let kinds = Kinds {
            known: &known,
            later: LATER,
        };
        let examined = plan::examine(&source, &folder, &kinds);
        let mut unread = Unread {
            steps: examined.unread_steps.into_iter().collect(),
            inputs: examined.unread_inputs.into_iter().collect(),
            names: BTreeSet::new(),
            problems: examined.problems,
        };
        let Some(plan) = examined.plan else {
            return Err(unread.problems.into());
        };
        let named = match &self.copies {
            Some(copies) => Some(copies.named.inventory.clone()),
            None => common.inventory.clone().or(plan.inventory.clone()),
        };
        let Some(named) = named else {
            if !unread.is_broken() {
                return Err(CliError::new(
                    USAGE,
                    format!("{} names no inventory", shown.display()),
                )
                .hint("inventory: FILE in the plan, or --inventory FILE"));
            }
            return Err(unread.problems.into());
        };
        let estate = match self.estate(&named, common, &mut unread) {
            Ok(estate) => estate,
            Err(CliError::Problems(found)) => {
                let written = root.as_ref().and_then(|root| root.get("inventory"));
                let written = written.filter(|_| common.inventory.is_none());
                let place = written.map(|node| &node.place);
                unread
                    .problems
                    .extend(found.into_iter().map(|problem| where_named(problem, place)));
                None
            }
            Err(error) => return Err(error),
        };
        let Some((inventory, accounts, providers)) = estate else {
            return Err(unread.problems.into());
        };
        let copies = self.copies.map(|copies| copies.by_path);
        let mut sources = Sources {
            plan,
            folder,
            copies: copies.unwrap_or_default(),
            inventory: Arc::new(inventory),
            accounts,
            unread: Unread::default(),
        };
        if unread.is_broken() {
            sources.unread = unread;
            // Binding only adds what else is wrong: texts with an error give no program.
            return match Program::bind(sources, Mode::Failover, RunId::generate(), given) {
                Err(problems) => Err(problems.into()),
                Ok(_) => Err(CliError::new(PROBLEMS, "the plan has problems")),
            };
        }
        let files = self
            .read
            .into_iter()
            .map(|(path, bytes)| (inside(&path), bytes))
            .collect();
        Ok(Texts {
            sources,
            named: Named {
                inventory: absolute(&named)?,
                providers,
            },
            warnings: unread.problems,
            files,
        })
    }

    /// The accounts of a folder of provider files.
    pub fn accounts(mut self, folder: &Path) -> Result<Accounts, CliError> {
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

    /// Reads an inventory by itself, with its provider files.
    pub fn inventory(
        mut self,
        path: &Path,
        common: &Common,
    ) -> Result<(Arc<inventory::Inventory>, BTreeMap<String, Account>), CliError> {
        let mut unread = Unread::default();
        match self.estate(path, common, &mut unread)? {
            Some((inventory, accounts, _)) if !unread.is_broken() => {
                Ok((Arc::new(inventory), accounts))
            }
            _ => Err(unread.problems.into()),
        }
    }

    /// Reads an inventory and the provider files that it names. `None`: too little of them can be read to say more.
    fn estate(
        &mut self,
        path: &Path,
        common: &Common,
        unread: &mut Unread,
    ) -> Result<Option<Estate>, CliError> {
        let path = absolute(path)?;
        let source = self.source(&shorter(&path))?;
        let examined = inventory::examine(&source, path.parent().unwrap_or(Path::new("/")));
        unread.problems.extend(examined.problems);
        unread.names.extend(examined.unread);
        let Some(inventory) = examined.inventory else {
            return Ok(None);
        };
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
        let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
        let mut nameless = false;
        for file in files {
            let path = absolute(&file)?;
            let source = match self.source(&shorter(&path)) {
                Ok(source) => source,
                Err(CliError::Problems(found)) => {
                    unread.problems.extend(found);
                    nameless = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            paths.push(path.clone());
            match account::read(&source, path.parent().unwrap_or(Path::new("/"))) {
                Ok(account) => match accounts.get(&account.name) {
                    Some(first) => {
                        let words = format!("two provider files have the name `{}`", first.name);
                        let problem = Problem::error("same-name", &account.place, words);
                        let problem = problem.also(&first.place, "the other one");
                        unread.problems.push(problem);
                    }
                    None => {
                        accounts.insert(account.name.clone(), account);
                    }
                },
                Err(found) => {
                    unread.problems.extend(found);
                    match account::name_in(&source) {
                        Some(name) => _ = unread.names.insert(name),
                        None => nameless = true,
                    }
                }
            }
        }
        let names: Vec<&str> = accounts.keys().map(String::as_str).collect();
        let unknown = inventory.check_accounts(&names);
        // A file that does not say its name may be any of those that are missing.
        if nameless {
            return Ok(None);
        }
        let of_unread = |problem: &Problem| {
            let mut names = unread.names.iter();
            names.any(|name| problem.message.contains(&format!("`{name}`")))
        };
        let unknown: Vec<Problem> = unknown.into_iter().filter(|one| !of_unread(one)).collect();
        unread.problems.extend(unknown);
        Ok(Some((inventory, accounts, paths)))
    }
}

/// A file that cannot be read is shown where it is named.
fn where_named(mut problem: Problem, place: Option<&Place>) -> Problem {
    if let (Some((of_file, _)), Some(place)) = (problem.labels.first_mut(), place)
        && of_file.source.text.is_empty()
    {
        *of_file = place.clone();
    }
    problem
}

/// A text of another sort, given as a plan: of each of its keys there is nothing to be said.
fn no_plan(root: &Node) -> Option<Problem> {
    let has = |key: &&str| root.get(key).is_some();
    if ["steps", "finally", "inputs", "health"].iter().any(has) {
        return None;
    }
    let other = |keys: &[&str]| keys.iter().find_map(|key| root.entry(key));
    let estate = other(&["hosts", "datasets", "stores", "domains", "providers"]);
    let (sort, (key, _)) = match estate {
        Some(entry) => ("an inventory", entry),
        None => ("a provider file", other(&["token", "drill_token", "kind"])?),
    };
    let words = format!("this looks like {sort}, and a plan is wanted here: a plan has `steps`");
    let help = match sort {
        "an inventory" => {
            "`dr-plan validate PLAN --inventory FILE` reads it with a plan, `dr-plan check --inventory FILE` asks its estate"
        }
        _ => "it is read with every plan whose inventory names it: `dr-plan validate PLAN`",
    };
    Some(Problem::error("no-plan", &key.place, words).help(help))
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
pub fn shorter(path: &Path) -> PathBuf {
    let here = std::env::current_dir().ok();
    match here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_path_buf)) {
        Some(short) if short.components().count() > 0 => short,
        _ => path.to_path_buf(),
    }
}
