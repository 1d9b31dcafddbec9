//! Who may use whom: a module uses only lower floors, and on its own floor only itself. Every
//! `crate::` path of the sources is read, also in groups, and a break is named with its line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The floors from the ground up, as `src/lib.rs` lists them.
const FLOORS: &[&[&str]] = &[
    &["clock", "ids", "kind", "problem", "secret", "units"],
    &["yaml"],
    &["template"],
    &["account", "event", "inventory", "plan"],
    &["state"],
    &["journal", "process", "report"],
    &["codec", "http", "resolve", "transport", "vault"],
    &["dns", "message", "provider", "store"],
    &["dataset"],
    &["action"],
    &["program"],
    &["engine"],
    &["sandbox", "web"],
    &["cli"],
];

/// What a module must not use although it stands lower, and why.
const APART: &[(&str, &[&str], &str)] = &[
    (
        "sandbox",
        &["provider", "dns", "http"],
        "a mistake in a client must not be repeated by its judge",
    ),
    ("action", &["journal"], "actions see only their context"),
    ("dataset", &["journal"], "actions see only their context"),
];

/// Who may call what, besides the floors.
const CALLS: &[(&[&str], &[&str], &str)] = &[
    (
        // `process` passes single variables on to the programs that it starts; the sandbox's worlds are
        // programs of their own.
        &["std::env::var", "std::env::vars", "env::var"],
        &["cli", "process", "sandbox"],
        "only the command line reads the environment",
    ),
    (
        &["println!", "eprintln!", "print!", "eprint!"],
        &["cli", "report", "sandbox"],
        "only reporters and the command line print",
    ),
    (
        &[
            "reqwest::Client::new",
            "reqwest::get",
            "reqwest::ClientBuilder",
        ],
        &["http"],
        "HTTP clients are built in one place",
    ),
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What a source text breaks, each with its line.
fn breaks(module: &str, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let own = floor(module);
    for (at, line) in code_lines(text) {
        for (names, allowed, why) in CALLS {
            let called = names.iter().find(|name| calls(line, name));
            if let Some(name) = called.filter(|_| !allowed.contains(&module)) {
                found.push((at, format!("`{module}` calls `{name}`: {why}")));
            }
        }
    }
    for (at, used) in paths(text) {
        if used == module {
            continue;
        }
        match (own, floor(&used)) {
            (Some(own), Some(other)) if other > own => {
                found.push((
                    at,
                    format!("`{module}` uses `{used}`, which stands above it"),
                ));
            }
            (Some(own), Some(other)) if other == own => {
                found.push((at, format!("`{module}` uses `{used}` on its own floor")));
            }
            (None, _) => found.push((at, format!("`{module}` stands on no floor"))),
            _ => {}
        }
        for (of, apart, why) in APART {
            if *of == module && apart.contains(&used.as_str()) {
                found.push((at, format!("`{module}` uses `{used}`: {why}")));
            }
        }
    }
    found
}

/// A call of this name, not the end of a longer one.
fn calls(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// Lines of code with their numbers: no comments, nothing behind the tests of a file.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut of_tests = false;
    // Where the item that is left out ends, as rustfmt writes it.
    let mut end: Option<String> = None;
    let lines = text.lines().enumerate();
    lines
        .filter(move |(_, line)| {
            if let Some(last) = &end {
                if line == last {
                    end = None;
                }
                return false;
            }
            let item = std::mem::replace(&mut of_tests, line.trim() == "#[cfg(test)]");
            if item && line.trim_start().starts_with("#[") {
                of_tests = true;
            } else if item && line.ends_with('{') {
                let indent = line.len() - line.trim_start().len();
                end = Some(format!("{}}}", &line[..indent]));
            }
            !item && !of_tests
        })
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

/// The first names behind `crate::`, with their lines; those of a group `crate::{a, b::c}` one by one. A
/// `crate::` in a macro's text or behind `$` is one as well.
fn paths(text: &str) -> Vec<(usize, String)> {
    let kept: Vec<(usize, &str)> = code_lines(text).collect();
    let code: String = kept.iter().map(|(_, line)| format!("{line}\n")).collect();
    let line_of = |at: usize| kept[code[..at].matches('\n').count()].0;
    let mut found = Vec::new();
    for (at, mark) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = code[at + mark.len()..].trim_start();
        let names = match rest.strip_prefix('{') {
            Some(group) => heads(group),
            None => vec![head(rest)],
        };
        found.extend(
            names
                .into_iter()
                .filter(|name| !name.is_empty())
                .map(|name| (line_of(at), name)),
        );
    }
    found
}

fn head(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The first name of each member of a group.
fn heads(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut names = Vec::new();
    let mut fresh = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            c if depth == 1 && fresh && !c.is_whitespace() => {
                names.push(head(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_module_uses_a_higher_floor_or_a_neighbour() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.sort();
    let mut all = Vec::new();
    let mut modules = BTreeSet::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let first = relative.iter().next().unwrap().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        // Tests may look anywhere; the two roots only list modules and start them.
        let test = relative
            .file_stem()
            .is_some_and(|stem| stem == "tests" || stem == "properties");
        if test || relative == Path::new("lib.rs") || relative == Path::new("main.rs") {
            continue;
        }
        modules.insert(module.to_string());
        let text = std::fs::read_to_string(&file).unwrap();
        for (line, what) in breaks(module, &text) {
            all.push(format!("src/{}:{line}: {what}", relative.display()));
        }
    }
    assert!(modules.len() > 20, "{modules:?}");
    let strange: Vec<_> = modules
        .iter()
        .filter(|module| floor(module).is_none())
        .collect();
    assert!(strange.is_empty(), "on no floor: {strange:?}");
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

#[test]
fn the_map_lists_the_modules_in_the_order_of_their_floors() {
    let map = include_str!("../../src/lib.rs");
    let order: Vec<usize> = map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(|module| floor(module).unwrap_or_else(|| panic!("`{module}` stands on no floor")))
        .collect();
    assert!(order.len() > 20 && order.is_sorted(), "{order:?}");
}

#[test]
fn a_break_is_found_in_every_way_of_writing_it() {
    let words = |module: &str, text: &str| -> Vec<(usize, String)> { breaks(module, text) };
    let above = |line: usize| {
        vec![(
            line,
            "`state` uses `engine`, which stands above it".to_string(),
        )]
    };
    assert_eq!(words("state", "use crate::engine::Stop;\n"), above(1));
    assert_eq!(
        words(
            "state",
            "// crate::engine is not used\n\nfn f() { crate::engine::run() }\n"
        ),
        above(3)
    );
    assert_eq!(
        words(
            "state",
            "use crate::{\n    event::{Event, What},\n    engine,\n};\n"
        ),
        above(1)
    );
    assert_eq!(
        words(
            "state",
            "use crate::event::Event;\nuse crate::state::judge;\n"
        ),
        []
    );
    assert_eq!(
        words("dns", "use crate::provider::Provider;\n"),
        [(1, "`dns` uses `provider` on its own floor".to_string())]
    );
    assert_eq!(words("sandbox", "use crate::dns::Dns;\n").len(), 1);
    assert_eq!(words("action", "use crate::journal::Ledger;\n").len(), 1);
    assert_eq!(words("report", "use crate::engine::Stop;\n").len(), 1);
    assert_eq!(words("nowhere", "use crate::kind::Effect;\n").len(), 1);
    assert_eq!(
        words("vault", "let home = std::env::var(\"HOME\");\n").len(),
        1
    );
    assert_eq!(
        words("vault", "let home = std::env::var_os(\"HOME\");\n").len(),
        1
    );
    assert_eq!(words("cli", "let home = std::env::var(\"HOME\");\n"), []);
    assert_eq!(words("engine", "println!(\"hello\");\n").len(), 1);
    assert_eq!(
        words(
            "state",
            "#[cfg(test)]\nmod tests { use crate::engine::Stop; }\n"
        ),
        []
    );
    // What is for tests alone may stand anywhere, and what follows it is looked at.
    let between =
        "mod a;\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\nuse crate::engine::Stop;\n";
    assert_eq!(words("state", between), above(5));
    let first = "#[cfg(test)]\nmod tests {\n    use crate::engine::Stop;\n    fn f() {\n    }\n}\nfn g() { crate::engine::run() }\n";
    assert_eq!(words("state", first), above(7));
}
