//! What the documents say must be true of the program: commands, flags, links, tables, keys, examples.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dr_plan::action::{KINDS, LATER};
use dr_plan::kind::Undo;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents, with their paths relative to the root.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(PathBuf::from)
        .to_vec();
    paths.extend(files("docs", "md"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The files of a folder with that ending, sorted, relative to the root.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root().join(folder))
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .map(|entry| Path::new(folder).join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    paths.sort();
    paths
}

fn dr_plan(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_dr-plan"))
        .args(arguments)
        .current_dir(root())
        .env_remove("DR_PLAN_STATE")
        .output()
        .unwrap()
}

/// What stands in a document as code: console lines behind `$ `, and the words between single backticks.
fn code_of(text: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut prose = String::new();
    let mut fence: Option<String> = None;
    for line in text.lines() {
        match (&fence, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => fence = Some(language.to_string()),
            (Some(_), Some(_)) => fence = None,
            (Some(language), None) if language == "console" => {
                code.extend(
                    line.strip_prefix("$ ")
                        .or(line.strip_prefix("# "))
                        .map(str::to_string),
                );
            }
            (Some(_), None) => {}
            (None, None) => {
                prose.push_str(line);
                prose.push(' ');
            }
        }
    }
    code.extend(prose.split('`').skip(1).step_by(2).map(str::to_string));
    code
}

/// The subcommands and long flags of a command line that begins with `dr-plan`. Words in capitals stand for something.
fn command_line(code: &str) -> Option<(Vec<String>, Vec<String>)> {
    let at = code
        .find("dr-plan ")
        .filter(|at| *at == 0 || !code[..*at].ends_with(|c: char| c.is_alphanumeric()))?;
    let words: Vec<&str> = code[at..]
        .split_whitespace()
        .skip(1)
        .take_while(|word| !"|&;>".contains(*word))
        .collect();
    let plain = |word: &&&str| {
        word.len() > 1
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            && !word.starts_with('-')
    };
    let first = words.iter().take(1).filter(plain).map(ToString::to_string);
    let second = words
        .iter()
        .skip(1)
        .take(usize::from(words.first() == Some(&"sandbox")))
        .filter(plain)
        .map(ToString::to_string);
    let until = words
        .iter()
        .position(|word| *word == "--")
        .unwrap_or(words.len());
    let flags = words[..until]
        .iter()
        .filter_map(|word| {
            word.trim_matches(|c| c == '[' || c == ']')
                .strip_prefix("--")
        })
        .map(|flag| format!("--{}", flag.split('=').next().unwrap_or_default()));
    Some((first.chain(second).collect(), flags.collect()))
}

/// What is wrong with the command lines of a document.
fn wrong_commands(text: &str) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for code in code_of(text) {
        let Some((commands, flags)) = command_line(&code) else {
            continue;
        };
        let mut arguments: Vec<&str> = commands.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = dr_plan(&arguments);
        if !help.status.success() {
            wrong.insert(format!("`{code}`: there is no such command"));
            continue;
        }
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let known: BTreeSet<&str> = help
            .split(|c: char| c.is_whitespace() || c == ',' || c == '=')
            .collect();
        for flag in flags.iter().filter(|flag| !known.contains(flag.as_str())) {
            wrong.insert(format!("`{code}`: the command has no {flag}"));
        }
    }
    wrong.into_iter().collect()
}

#[test]
fn commands_and_flags_in_the_documents_exist() {
    for (path, text) in documents() {
        let wrong = wrong_commands(&text);
        assert!(
            wrong.is_empty(),
            "{}:\n{}",
            path.display(),
            wrong.join("\n")
        );
    }
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let text = "Type `dr-plan runn PLAN`, or `dr-plan report RUN --fromat md`.\n```console\n$ KEEP=1 dr-plan run x.yaml --sooner\nrun dr-plan nothing\n```\n`dr-plan run PLAN --yes`";
    assert_eq!(
        wrong_commands(text),
        [
            "`KEEP=1 dr-plan run x.yaml --sooner`: the command has no --sooner",
            "`dr-plan report RUN --fromat md`: the command has no --fromat",
            "`dr-plan runn PLAN`: there is no such command",
        ]
    );
}

#[test]
fn targets_of_make_in_the_documents_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .collect();
    for (path, text) in documents() {
        for code in code_of(&text) {
            let Some(target) = code
                .strip_prefix("make ")
                .and_then(|rest| rest.split_whitespace().next())
                .filter(|word| *word != "#")
            else {
                continue;
            };
            assert!(targets.contains(target), "{}: `{code}`", path.display());
        }
    }
}

/// `[words](target)` outside of code.
fn links_of(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut links = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            let prose: String = line.split('`').step_by(2).collect();
            links.extend(
                prose
                    .split("](")
                    .skip(1)
                    .filter_map(|rest| rest.split_once(')'))
                    .map(|(link, _)| link.to_string()),
            );
        }
    }
    links
}

/// The anchors that a forge makes of headings: lower case, blanks to `-`, other signs away.
fn anchors_of(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>()
            .replace(' ', "-")
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(heading)
        .collect()
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let mut seen = 0;
    for (path, text) in documents() {
        for link in links_of(&text).iter().filter(|link| !link.contains("://")) {
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap().join(file)
            };
            assert!(
                root().join(&target).exists(),
                "{}: nothing lies at {link}",
                path.display()
            );
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(root().join(&target)).unwrap();
                assert!(
                    anchors_of(&target).contains(anchor),
                    "{}: no heading for {link}",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 5, "links are found at all");
}

/// The table of kinds as docs/plans.md holds it.
fn table_of_kinds() -> String {
    let mut table = String::from(
        "| kind | effect | what it does | arguments | time | undo |\n|---|---|---|---|---|---|\n",
    );
    for kind in KINDS {
        let schema = (kind.schema)();
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let arguments = schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| match required.contains(&name.as_str()) {
                true => format!("**`{name}`**"),
                false => format!("`{name}`"),
            });
        let undo = match kind.undo {
            Undo::DeleteOwn => "deletes what it made",
            Undo::RestorePrevious => "puts back what was there",
            Undo::ForwardOnly => "nothing to take back",
            Undo::NeedsHuman => "a person",
        };
        let arguments = arguments.collect::<Vec<_>>().join(", ");
        let time = short(kind.timeout);
        writeln!(
            table,
            "| `{}` | {} | {} | {arguments} | {time} | {undo} |",
            kind.name, kind.effect, kind.summary
        )
        .unwrap();
    }
    table
}

/// `15m`, not `15m00s`.
fn short(time: std::time::Duration) -> String {
    match time.as_secs() {
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[test]
fn the_page_of_the_language_holds_the_kinds_of_the_code() {
    let text = std::fs::read_to_string(root().join("docs/plans.md")).unwrap();
    let later = LATER
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let wanted = [
        ("<!-- kinds", "-->\n", "<!-- /kinds -->", table_of_kinds()),
        ("- Action kinds", ": <!-- later -->", "\n", later),
    ]
    .iter()
    .fold(text.clone(), |text, (from, begin, end, part)| {
        let from = text
            .find(from)
            .unwrap_or_else(|| panic!("the mark {from} is gone"));
        let begin = from + text[from..].find(begin).unwrap() + begin.len();
        let end = begin + text[begin..].find(end).unwrap();
        format!("{}{part}{}", &text[..begin], &text[end..])
    });
    hold("docs/plans.md", &wanted);
}

/// The file has this text; with `UPDATE_DOCS` set it gets it.
fn hold(file: &str, wanted: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == wanted,
        "{file} is behind the code: UPDATE_DOCS=1 cargo test --test it docs::"
    );
}

#[test]
fn the_schemas_for_editors_are_those_of_the_code() {
    for name in ["plan", "inventory", "provider"] {
        let came = dr_plan(&["schema", name]);
        assert!(came.status.success());
        hold(
            &format!("docs/schema/{name}.json"),
            &String::from_utf8(came.stdout).unwrap(),
        );
    }
}

/// The words that a schema knows: keys, and those that come later.
fn words_of(schema: &Value, keys: &mut BTreeSet<String>, later: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            keys.extend(
                fields
                    .get("properties")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                    .map(|(key, _)| key.clone()),
            );
            later.extend(
                fields
                    .get("x-later")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_string),
            );
            fields
                .values()
                .for_each(|inner| words_of(inner, keys, later));
        }
        Value::Array(items) => items.iter().for_each(|inner| words_of(inner, keys, later)),
        _ => {}
    }
}

#[test]
fn the_page_of_the_language_names_every_key() {
    let text = std::fs::read_to_string(root().join("docs/plans.md")).unwrap();
    let (now, not_yet) = text.split_once("## Not yet").unwrap();
    let words = |text: &str| -> BTreeSet<String> {
        let code = text.split('`').skip(1).step_by(2);
        code.flat_map(|code| code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
            .map(str::to_string)
            .collect()
    };
    let (now, not_yet) = (words(now), words(not_yet));
    for (name, schema) in [
        ("plan", dr_plan::plan::schema()),
        ("inventory", dr_plan::inventory::schema()),
        ("provider", dr_plan::account::schema()),
    ] {
        let (mut keys, mut later) = (BTreeSet::new(), BTreeSet::new());
        words_of(&schema, &mut keys, &mut later);
        assert!(keys.len() > 10, "{name}: keys are found at all");
        let missing: Vec<_> = keys.difference(&now).collect();
        assert!(
            missing.is_empty(),
            "docs/plans.md does not name these keys of the {name}: {missing:?}"
        );
        let missing: Vec<_> = later.difference(&not_yet).collect();
        assert!(
            missing.is_empty(),
            "docs/plans.md does not say that these words of the {name} come later: {missing:?}"
        );
    }
}

#[test]
fn the_example_plans_are_valid() {
    let plans = files("plans", "yaml");
    assert!(!plans.is_empty());
    for plan in plans {
        let came = dr_plan(&["validate", plan.to_str().unwrap()]);
        assert!(
            came.status.success(),
            "{}:\n{}",
            plan.display(),
            String::from_utf8_lossy(&came.stderr)
        );
    }
}

#[test]
fn the_example_inventories_load_with_their_accounts() {
    let inventories = files("inventories", "yaml");
    assert!(!inventories.is_empty());
    for path in inventories {
        let shown = |problems: &[dr_plan::problem::Problem]| {
            problems
                .iter()
                .map(|problem| problem.message.clone())
                .collect::<Vec<_>>()
                .join("\n")
        };
        let inventory = dr_plan::inventory::load(&root().join(&path))
            .unwrap_or_else(|p| panic!("{}: {}", path.display(), shown(&p)));
        let accounts: Vec<&PathBuf> = inventory
            .providers
            .iter()
            .map(|(account, _)| account)
            .collect();
        dr_plan::account::load(&accounts)
            .unwrap_or_else(|p| panic!("{}: {}", path.display(), shown(&p)));
    }
}

#[test]
fn the_example_accounts_load() {
    let accounts = files("providers", "yaml");
    assert!(!accounts.is_empty());
    for path in accounts {
        if let Err(problems) = dr_plan::account::load(&[root().join(&path)]) {
            panic!("{}: {}", path.display(), problems[0].message);
        }
    }
}
