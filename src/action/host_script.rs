//! `host.script`: a person's own script on a host, kept in a file beside the plan. The run keeps a copy of the file, so a
//! resume runs the same text.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::own_script::{DEADLINE, OwnScript, Variables};
use super::{Action, Bind, Context, Verb, Verified};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Undo};
use crate::problem::Problem;
use crate::secret::SecretRef;
use crate::transport::Script;
use crate::yaml::Node;

/// Arguments of `host.script`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostScript {
    /// Where.
    host: String,
    /// The local script file, relative to the plan. Its first line may name an interpreter; without one it is for `sh -eu`.
    from: String,
    /// Its arguments, `$1` and so on.
    #[serde(default)]
    args: Vec<String>,
    /// The user on the host; the login user if nothing is said.
    r#as: Option<String>,
    /// A script that ends with 0 when the work is done already.
    unless: Option<String>,
    /// Running it again does no harm, and its status is its proof.
    #[serde(default)]
    repeatable: bool,
    /// `NAME` becomes `$DR_NAME`.
    #[serde(default)]
    env: BTreeMap<String, serde_json::Value>,
    /// `NAME` becomes `$DR_SECRET_NAME`, unexported, over standard input: for a script of `sh` only.
    #[serde(default)]
    secrets: BTreeMap<String, SecretRef>,
}

impl Verb for HostScript {
    const NAME: &'static str = "host.script";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::NeedsHuman;
    const SUMMARY: &'static str =
        "Runs a local script file on a host, as a job that outlives this process.";
    const TIMEOUT: Duration = DEADLINE;
    const OWN_SCRIPT: bool = true;
    const SCRIPTS: &'static [&'static str] = &["unless"];
    const TAKES: Duration = Duration::from_secs(10);

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let given = Variables {
            env: self.env,
            secrets: self.secrets,
        };
        let done = (self.unless, self.repeatable);
        let path = bind.folder.join(&self.from);
        let mut problems = Vec::new();
        if !bind.has_file(&path) {
            let words = format!("there is no file `{}`", path.display());
            problems.push(Problem::error("no-such-file", args.place_of("from"), words));
        }
        match OwnScript::bind(self.host, self.r#as, done, given, args, bind) {
            Ok(script) if problems.is_empty() => Ok(Box::new(Kept {
                script,
                from: self.from,
                path,
                args: self.args,
            })),
            Ok(_) => Err(problems),
            Err(found) => {
                problems.extend(found);
                Err(problems)
            }
        }
    }
}

/// A script that is kept in a file.
struct Kept {
    script: OwnScript,
    from: String,
    path: PathBuf,
    args: Vec<String>,
}

/// Whoever reads it.
#[derive(Debug, PartialEq, Eq)]
enum Reader<'a> {
    /// The job's own shell, as for `run:`.
    Shell,
    /// Another program, with one argument at most, as execve(2) reads the first line.
    Program(&'a str, &'a str),
}

/// Who reads a script, by its first line.
fn reader(text: &str) -> Reader<'_> {
    let line = text.lines().next().unwrap_or_default();
    let Some(line) = line.strip_prefix("#!").map(str::trim) else {
        return Reader::Shell;
    };
    let (program, option) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let option = option.trim();
    match (program, option) {
        ("", _) | ("/bin/sh" | "/usr/bin/sh", "" | "-e" | "-eu" | "-u" | "-ue") => Reader::Shell,
        ("/usr/bin/env", "sh") => Reader::Shell,
        _ => Reader::Program(program, option),
    }
}

/// `$1` and so on; the values arrive as variables, so that no shell reads them.
const ARGUMENTS: &str = r#"
set --
dr_at=0
while [ "$dr_at" -lt "$DR_ARGUMENTS" ]; do
  dr_at=$((dr_at + 1))
  eval "set -- \"\$@\" \"\$DR_ARGUMENT_$dr_at\""
  unset "DR_ARGUMENT_$dr_at"
done
unset DR_ARGUMENTS dr_at
"#;

/// A file is made of it, for programs that read nothing else, and goes with the job.
const BY_PROGRAM: &str = r#"
dr_file=$(mktemp)
trap 'rm -f "$dr_file"' EXIT
trap 'exit 143' TERM
chmod 700 "$dr_file"
printf '%s' "$DR_SCRIPT" >"$dr_file"
unset DR_SCRIPT
dr_program=$DR_PROGRAM dr_option=$DR_OPTION
unset DR_PROGRAM DR_OPTION
"$dr_program" ${dr_option:+"$dr_option"} "$dr_file" "$@"
"#;

/// The job: the file's text, its arguments, its reader.
fn job(text: &str, args: &[String]) -> Script {
    let mut script = match reader(text) {
        Reader::Shell => Script::new(format!("{ARGUMENTS}{text}")),
        Reader::Program(program, option) => Script::new(format!("{ARGUMENTS}{BY_PROGRAM}"))
            .value("SCRIPT", text)
            .value("PROGRAM", program)
            .value("OPTION", option),
    };
    script = script.value("ARGUMENTS", args.len().to_string());
    for (at, arg) in args.iter().enumerate() {
        script = script.value(&format!("ARGUMENT_{}", at + 1), arg);
    }
    script
}

impl Kept {
    fn text(&self, cx: &Context) -> Result<String, Failure> {
        let bytes = cx.services.read_file(&self.path)?;
        let text = String::from_utf8(bytes).ok();
        let text = text.filter(|text| !text.contains('\0') && !text.trim().is_empty());
        text.ok_or_else(|| {
            let words = format!("`{}` is empty or is no text", self.from);
            Failure::new(Reason::Refused, words)
                .hint("a program is put on the host by `host.put` and started by a `run:`")
        })
    }
}

#[async_trait]
impl Action for Kept {
    fn title(&self) -> String {
        let args: String = self.args.iter().map(|arg| format!(" {arg}")).collect();
        format!("script {}{args} on {}", self.from, self.script.host)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        let text = self.text(cx)?;
        if let (Reader::Program(program, _), false) =
            (reader(&text), self.script.given.secrets.is_empty())
        {
            let words = format!(
                "`{}` is read by {program}, and secrets can be given to a script of `sh` only: nothing else has unexported variables",
                self.from
            );
            return Err(Failure::new(Reason::Refused, words)
                .hint("write it for `sh`, or put the secret into a file with `host.put` and `secret: true`"));
        }
        self.script.precheck(cx).await
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        self.script.observe(cx).await
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        self.script
            .apply(cx, job(&self.text(cx)?, &self.args))
            .await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        self.script.verify(cx).await
    }

    fn host(&self) -> Option<&str> {
        Some(&self.script.host)
    }

    async fn undo(&self, _cx: &Context) -> Result<Vec<Evidence>, Failure> {
        OwnScript::undo(&self.title())
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_who_reads_a_script() {
        for shell in [
            "echo",
            "#!/bin/sh\n",
            "#! /bin/sh -eu\n",
            "#!/usr/bin/env sh\n",
            "#\n",
        ] {
            assert_eq!(reader(shell), Reader::Shell, "{shell}");
        }
        let program = |text, program, option| {
            assert_eq!(reader(text), Reader::Program(program, option), "{text}");
        };
        program("#!/bin/bash\necho", "/bin/bash", "");
        program("#!/usr/bin/env python3\n", "/usr/bin/env", "python3");
        program("#!/usr/bin/env -S bash -eu", "/usr/bin/env", "-S bash -eu");
        program("#!/bin/sh -x\n", "/bin/sh", "-x");
    }

    #[test]
    fn arguments_are_words_whatever_is_in_them() {
        for first in ["", "#!/bin/sh\n", "#!/bin/bash\n"] {
            let text = format!("{first}printf '<%s>' \"$@\"\n");
            let args = ["a b", "$(id)", "'\"", ""].map(String::from);
            let script = job(&text, &args);
            let output = std::process::Command::new("sh")
                .args(["-eu", "-c", &script.text])
                .envs(
                    script
                        .values
                        .iter()
                        .map(|(name, value)| (format!("DR_{name}"), value)),
                )
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(said, "<a b><$(id)><'\"><>", "{first}");
            assert!(output.status.success(), "{first}");
        }
    }
}
