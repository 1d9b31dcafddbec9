//! A configuration of the inventory on a host of a run: which of its files have templates, and what these make.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::template_file::{SAMPLE_ADDRESS, address, failure, misused, parse, render, scope};
use super::{Bind, Context};
use crate::inventory::Config;
use crate::kind::Failure;
use crate::problem::Problem;
use crate::template::Template;
use crate::yaml::Node;

/// Files with their templates.
fn templates(config: &Config, is_there: impl Fn(&Path) -> bool) -> Vec<(String, PathBuf)> {
    let Some(folder) = &config.templates else {
        return Vec::new();
    };
    let template = |path: &String| folder.join(path.trim_start_matches('/'));
    let pairs = config
        .files
        .iter()
        .map(|path| (path.clone(), template(path)));
    pairs.filter(|(_, template)| is_there(template)).collect()
}

/// The inventory's values with those of the step over them.
fn all_values(config: &Config, own: &Map<String, Value>) -> Map<String, Value> {
    let mut all = config.values.clone();
    all.extend(
        own.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    all
}

/// The template files, after trying them with the values that are known before the run.
pub(super) fn tried(
    config: &Config,
    host: &str,
    own: &Map<String, Value>,
    args: &Node,
    bind: &Bind,
) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let found = templates(config, |path| bind.has_file(path));
    let mut problems = Vec::new();
    if let (Some(folder), true) = (&config.templates, found.is_empty()) {
        let words = format!(
            "`{}` has a template for none of the files of this dataset",
            folder.display()
        );
        let problem = Problem::error("no-template", args.place_of("dataset"), words);
        problems.push(
            problem.help("a template lies there at the path of its file: etc/nginx/nginx.conf"),
        );
    }
    let values = all_values(config, own);
    let known = scope(&values, host, SAMPLE_ADDRESS);
    let mut parsed: Vec<Template> = Vec::new();
    for (_, path) in &found {
        let read = bind.read(path).map_err(|error| {
            let words = format!("reading `{}`: {error}", path.display());
            Problem::error("no-such-file", args.place_of("dataset"), words)
        });
        match read.and_then(|bytes| parse(path, bytes)) {
            Ok(template) => {
                problems.extend(render(&template, &known).err().into_iter().flatten());
                parsed.push(template);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let place = args.get("values").unwrap_or(args);
    for (name, words) in misused(&values, &parsed) {
        problems.push(Problem::error("bad-value", place.place_of(name), words));
    }
    if problems.is_empty() {
        Ok(found.into_iter().map(|(_, path)| path).collect())
    } else {
        Err(problems)
    }
}

/// What the templates make for this host: path and text.
pub(super) fn rendered(
    cx: &Context,
    config: &Config,
    host: &str,
    own: &Map<String, Value>,
) -> Result<Vec<(String, String)>, Failure> {
    let scope = scope(&all_values(config, own), host, &address(cx, host));
    let is_there = |path: &Path| cx.services.copy_of(path).is_file();
    let mut out = Vec::new();
    for (path, template) in templates(config, is_there) {
        let bytes = cx.services.read_file(&template)?;
        let template = parse(&template, bytes).map_err(|problem| failure(&[problem]))?;
        out.push((
            path,
            render(&template, &scope).map_err(|found| failure(&found))?,
        ));
    }
    Ok(out)
}
