//! `host.packages`: packages of Debian and its kin on a host. dpkg's own database says what is there, before and after; what an
//! interrupted installation left half done is finished first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::host_job::{carry, look, running};
use super::{Action, Bind, Context, Verb, Verified, host_named};
use crate::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Undo};
use crate::problem::Problem;
use crate::transport::{JobState, Script};
use crate::yaml::Node;

/// Arguments of `host.packages`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostPackages {
    /// Where.
    host: String,
    /// Names, each with its version if it must be that one: `nginx`, `postgresql-15=15.14-0+deb12u1`.
    packages: Vec<String>,
    /// `true`: the lists of packages are fetched first. `false`: never. By default they are where a package is not found.
    update: Option<bool>,
    /// A repository that the host gets besides its own.
    repository: Option<Repository>,
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    deadline: Option<Duration>,
}

/// A signed repository (sources.list(5)).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Repository {
    /// What its files on the host are called: lower-case letters, digits and `-`.
    name: String,
    /// `https://...`; signatures protect a plain `http://` as well.
    url: String,
    /// Such as `bookworm`; one that ends in `/` is a path and has no components.
    suite: String,
    /// Such as `[main]`.
    #[serde(default)]
    components: Vec<String>,
    /// The local file with the public key that signs it, relative to the plan.
    key: String,
}

/// A package, and the version that it must have.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    name: &'a str,
    version: Option<&'a str>,
}

/// Names and versions as deb-control(5) and deb-version(7) have them, with the architecture that apt-get(8) takes.
fn wanted(text: &str) -> Option<Wanted<'_>> {
    let (name, version) = match text.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let (package, architecture) = name.split_once(':').unwrap_or((name, "any"));
    let first = package.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let plain =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    let of_version =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | ':' | '~');
    let right = package.len() >= 2
        && first
        // `apt-get install nginx-` takes a package away, and `nginx+` is a word of it as well.
        && !package.ends_with(['-', '+'])
        && package.chars().all(plain)
        && !architecture.is_empty()
        && architecture.chars().all(plain)
        && version.is_none_or(|version| !version.is_empty() && version.chars().all(of_version));
    right.then_some(Wanted { name, version })
}

impl Repository {
    fn problems(&self, args: &Node, bind: &Bind) -> Vec<Problem> {
        let place = args.place_of("repository");
        let wrong = |words: String| Problem::error("bad-repository", place, words);
        let mut problems = Vec::new();
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(lower) {
            let words = format!(
                "`{}` is no name: lower-case letters, digits and `-`",
                self.name
            );
            problems.push(wrong(words));
        }
        let by_http = self.url.starts_with("https://") || self.url.starts_with("http://");
        if !by_http || !self.url.chars().all(|c| c.is_ascii_graphic()) {
            problems.push(wrong(format!("`{}` is no `https://` address", self.url)));
        }
        let word =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '+' | '~');
        for text in std::iter::once(&self.suite).chain(&self.components) {
            if text.is_empty() || !text.chars().all(word) {
                problems.push(wrong(format!("`{text}` is neither suite nor component")));
            }
        }
        if self.suite.ends_with('/') != self.components.is_empty() {
            problems.push(wrong(
                "a suite has `components`, and one that ends in `/` has none".into(),
            ));
        }
        // What belongs to the plan lies beside it; another path may be one of the machine that carries the plan out.
        let key = bind.folder.join(&self.key);
        if !self.key.starts_with('/') && !bind.has_file(&key) {
            problems.push(Problem::error(
                "no-such-file",
                place,
                format!("there is no file `{}`", key.display()),
            ));
        }
        problems
    }
}

impl Verb for HostPackages {
    const NAME: &'static str = "host.packages";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::NeedsHuman;
    const ADOPTS: &'static [&'static str] = &["before"];
    const SUMMARY: &'static str = "Installs packages of Debian or Ubuntu, proved by dpkg.";
    const TIMEOUT: Duration = Duration::from_secs(1800);
    const TAKES: Duration = Duration::from_secs(60);

    fn bind(mut self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let mut problems = Vec::new();
        problems.extend(host_named(&self.host, args, "host", bind).err());
        if self.packages.is_empty() {
            let words = "no package is named";
            problems.push(Problem::error(
                "no-package",
                args.place_of("packages"),
                words,
            ));
        }
        for text in &self.packages {
            if wanted(text).is_none() {
                let words = format!("`{text}` is neither a package nor `package=version`");
                problems.push(Problem::error(
                    "bad-package",
                    args.place_of("packages"),
                    words,
                ));
            }
        }
        if let Some(repository) = &self.repository {
            problems.extend(repository.problems(args, bind));
        }
        self.folder = bind.folder.to_path_buf();
        self.deadline = bind.timeout;
        if problems.is_empty() {
            Ok(Box::new(self))
        } else {
            Err(problems)
        }
    }
}

/// For each package a line `name state version`; then what became of the repository's files.
const LOOK: &str = r#"
command -v dpkg-query >/dev/null || { echo "no dpkg"; exit 0; }
for name in $DR_NAMES; do
  all=$(dpkg-query -W -f='${db:Status-Status} ${Version}\n' "$name" 2>/dev/null) || true
  one=$(printf '%s\n' "$all" | grep '^installed ' | head -n 1) || one=$(printf '%s\n' "$all" | head -n 1)
  echo "$name ${one:-absent -}"
done
for file in $DR_FILES; do
  if [ -f "$file" ]; then echo "$file file $(sha256sum <"$file" | cut -d ' ' -f 1)"; else echo "$file file absent"; fi
done
"#;

/// Locks that others hold are waited for: dpkg's by apt itself, that of the lists and of `dpkg --configure` here. Answers to
/// questions are those that keep what stands on the host; nothing is removed on the way.
const INSTALL: &str = r#"
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none
command -v apt-get >/dev/null || { echo "this host has no apt-get"; exit 69; }
said=$(mktemp)
trap 'rm -f "$said"' EXIT
until_=$(($(date +%s) + DR_PATIENCE))
# Tries again while somebody else holds a lock.
patiently() {
  while :; do
    if "$@" >"$said" 2>&1 </dev/null; then cat "$said"; return 0; else status=$?; fi
    if ! grep -q -i -E 'could not get lock|locked by another process|unable to (acquire|lock)' "$said" || [ "$(date +%s)" -ge "$until_" ]; then
      cat "$said"
      return "$status"
    fi
    echo "waiting for a lock: $(grep -i lock "$said" | head -n 1)"
    sleep 1
  done
}
place() {
  mkdir -p -m 755 -- "${1%/*}"
  cat >"$1.dr-plan"
  chmod 644 "$1.dr-plan"
  sync "$1.dr-plan"
  mv -f -- "$1.dr-plan" "$1"
}

if [ "$DR_SOURCE" != - ]; then
  printf '%b' "$DR_KEY_OCTAL" | place "$DR_KEY"
  printf '%s' "$DR_SOURCE_TEXT" | place "$DR_SOURCE"
fi
# What was cut off: apt-get refuses to begin anything before it is finished.
if [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ] ||
  dpkg-query -W -f='${db:Status-Status}\n' | grep -q -E '^(half|unpacked|triggers)'; then
  echo "finishing what an interrupted installation left"
  patiently dpkg --force-confdef --force-confold --configure -a || true
fi
set -- -q -y --no-remove -o DPkg::Lock::Timeout="$DR_PATIENCE" -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 \
  -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold
case $DR_SPECS in *=*) set -- "$@" --allow-downgrades ;; esac
if [ "$DR_SOURCE" != - ] && [ "$DR_UPDATE" != never ]; then
  # This one must answer; another source of the host that is out of order is none of our business.
  patiently apt-get -q update -o Dir::Etc::sourcelist="$DR_SOURCE" -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0 -o APT::Update::Error-Mode=any
fi
if [ "$DR_UPDATE" = always ]; then
  patiently apt-get -q update
elif [ "$DR_UPDATE" = missing ] && ! apt-get "$@" --simulate install $DR_SPECS >/dev/null 2>&1; then
  patiently apt-get -q update || true
fi
apt-get "$@" install $DR_SPECS </dev/null
"#;

/// Bytes as printf(1) takes them for `%b`: a key may be no text.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\0{byte:03o}")).collect()
}

/// So long the locks of others are waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// What dpkg says of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    state: String,
    version: String,
}

impl HostPackages {
    fn wanted(&self) -> Vec<Wanted<'_>> {
        // bind has refused all others.
        self.packages
            .iter()
            .filter_map(|text| wanted(text))
            .collect()
    }

    /// The repository's files: each path with its bytes.
    fn files_there(&self, cx: &Context) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        let Some(repository) = &self.repository else {
            return Ok(Vec::new());
        };
        let key = cx.services.read_file(&self.folder.join(&repository.key))?;
        let private = |part: &[u8]| part.windows(11).any(|words| words == b"PRIVATE KEY");
        if key.is_empty() || private(&key) {
            let words = format!("`{}` is no public key", repository.key);
            return Err(Failure::new(Reason::Refused, words)
                .hint("gpg --export --armor NAME writes the public one"));
        }
        // apt tells the two forms apart by the ending.
        let ending = if key.starts_with(b"-----BEGIN") {
            "asc"
        } else {
            "gpg"
        };
        let name = &repository.name;
        let ring = format!("/etc/apt/keyrings/dr-plan-{name}.{ending}");
        let components = match repository.components.is_empty() {
            true => String::new(),
            false => format!("Components: {}\n", repository.components.join(" ")),
        };
        let text = format!(
            "# Written by dr-plan.\nTypes: deb\nURIs: {}\nSuites: {}\n{components}Signed-By: {ring}\n",
            repository.url, repository.suite
        );
        let source = format!("/etc/apt/sources.list.d/dr-plan-{name}.sources");
        Ok(vec![(ring, key), (source, text.into_bytes())])
    }

    /// What dpkg says of each, and the files of the repository that are not there as they should be.
    async fn seen(&self, cx: &Context) -> Result<(BTreeMap<String, Seen>, Vec<String>), Failure> {
        let files = self.files_there(cx)?;
        let names: Vec<&str> = self.wanted().iter().map(|wanted| wanted.name).collect();
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        let script = Script::new(LOOK)
            .ours()
            .value("NAMES", names.join(" "))
            .value("FILES", paths.join(" "));
        let answer = cx
            .host(&self.host)?
            .leashed(&script, Duration::from_secs(60))
            .await?;
        let doing = format!("looking at the packages of {}", self.host);
        if !answer.ok() {
            let words = format!("{doing}: {}", answer.said());
            return Err(Failure::new(Reason::Other, words));
        }
        if answer.stdout.trim() == "no dpkg" {
            let words = format!("{} has no dpkg: only Debian and its kin have", self.host);
            return Err(Failure::new(Reason::Refused, words)
                .hint("a `run:` with `unless:` can call the package manager of another system"));
        }
        let (mut packages, mut differ) = (BTreeMap::new(), Vec::new());
        for line in answer.stdout.lines() {
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                [path, "file", hash] => {
                    let right = files
                        .iter()
                        .any(|(wanted, bytes)| wanted == path && super::sha256(bytes) == *hash);
                    if !right {
                        differ.push((*path).to_string());
                    }
                }
                [name, state, version] => {
                    let seen = Seen {
                        state: (*state).to_string(),
                        version: (*version).to_string(),
                    };
                    packages.insert((*name).to_string(), seen);
                }
                // Known once, and without a version since.
                [name, state] => {
                    let seen = Seen {
                        state: (*state).to_string(),
                        version: "-".to_string(),
                    };
                    packages.insert((*name).to_string(), seen);
                }
                _ => {
                    let words = format!("{doing}: `{line}` makes no sense");
                    return Err(Failure::new(Reason::Other, words));
                }
            }
        }
        Ok((packages, differ))
    }

    /// What is not as wanted, in words.
    fn missing(&self, seen: &BTreeMap<String, Seen>) -> Vec<String> {
        let mut missing = Vec::new();
        for wanted in self.wanted() {
            let name = wanted.name;
            match (seen.get(name), wanted.version) {
                (Some(seen), Some(version))
                    if seen.state == "installed" && seen.version != version =>
                {
                    missing.push(format!("{name} is {}, wanted {version}", seen.version));
                }
                (Some(seen), _) if seen.state == "installed" => {}
                (Some(seen), _) if seen.state != "absent" && seen.state != "not-installed" => {
                    missing.push(format!("{name} is {}", seen.state));
                }
                _ => missing.push(format!("{name} is not installed")),
            }
        }
        missing
    }
}

#[async_trait]
impl Action for HostPackages {
    fn title(&self) -> String {
        let list = self.packages.join(", ");
        match &self.repository {
            Some(repository) => format!("packages {list} on {} from {}", self.host, repository.url),
            None => format!("packages {list} on {}", self.host),
        }
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        self.files_there(cx)?;
        Ok(vec![Finding::cannot_be_checked(format!(
            "whether {} finds the packages is known when it asks for them",
            self.host
        ))])
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        if let Some(JobState::Running { since }) = look(cx, &self.host, None).await? {
            return Ok(running(&self.host, &cx.job(None), since));
        }
        let (seen, differ) = self.seen(cx).await?;
        let missing = self.missing(&seen);
        let half = missing
            .iter()
            .find(|words| !words.ends_with("not installed"));
        Ok(match (missing.is_empty(), half, differ.first()) {
            (true, _, None) => Observation::Done,
            (true, _, Some(path)) => Observation::Partial {
                what: format!("{path} is not as wanted"),
            },
            (false, Some(words), _) => Observation::Partial {
                what: words.clone(),
            },
            (false, None, _) => Observation::Absent,
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        // For the person who wants to take it back.
        if cx.noted("before").is_none() {
            let (seen, _) = self.seen(cx).await?;
            let before: serde_json::Map<String, serde_json::Value> = seen
                .into_iter()
                .map(|(name, seen)| {
                    let version = (seen.state == "installed").then_some(seen.version);
                    (name, version.into())
                })
                .collect();
            cx.note("before", before).await?;
        }
        let files = self.files_there(cx)?;
        let mut script = Script::new(INSTALL)
            .value("SPECS", self.packages.join(" "))
            .value("PATIENCE", PATIENCE.as_secs().to_string())
            .value(
                "UPDATE",
                match self.update {
                    Some(true) => "always",
                    Some(false) => "never",
                    None => "missing",
                },
            );
        script = match files.as_slice() {
            [(ring, key), (source, text)] => script
                .value("KEY", ring)
                .value("KEY_OCTAL", octal(key))
                .value("SOURCE", source)
                .value("SOURCE_TEXT", String::from_utf8_lossy(text)),
            _ => script.value("SOURCE", "-"),
        };
        let deadline = self.deadline.unwrap_or(Self::TIMEOUT);
        carry(cx, &cx.host(&self.host)?, None, &script, deadline).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let (seen, differ) = self.seen(cx).await?;
        let mut wrong = self.missing(&seen);
        wrong.extend(differ.iter().map(|path| format!("{path} is not as wanted")));
        if !wrong.is_empty() {
            let words = format!("{}: {}", self.host, wrong.join(", "));
            return Err(Failure::new(Reason::Verify, words));
        }
        let mut verified = Verified::default();
        for (name, seen) in seen {
            verified = verified.and(
                format!("{name} on {}", self.host),
                format!("{}, {}", seen.version, seen.state),
            );
        }
        Ok(verified)
    }

    fn host(&self) -> Option<&str> {
        Some(&self.host)
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let before = cx.noted("before");
        let before: Vec<String> = before
            .as_ref()
            .and_then(|noted| noted.as_object())
            .into_iter()
            .flatten()
            .map(|(name, version)| match version.as_str() {
                Some(version) => format!("{name} was {version}"),
                None => format!("{name} was not installed"),
            })
            .collect();
        let words = format!(
            "packages may hold data and others may build on them, so {} keeps them: before, {}",
            self.host,
            before.join(", ")
        );
        Err(Failure::new(Reason::Refused, words)
            .hint("dr-plan ssh RUN HOST, then `apt-get remove` what is not needed"))
    }

    fn files(&self) -> Vec<PathBuf> {
        let key = self.repository.as_ref().map(|repository| &repository.key);
        key.map(|key| self.folder.join(key)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_package_reaches_apt() {
        let named = |text| wanted(text).map(|wanted| (wanted.name, wanted.version));
        assert_eq!(named("nginx"), Some(("nginx", None)));
        assert_eq!(named("libc6:amd64"), Some(("libc6:amd64", None)));
        let exact = named("postgresql-15=1:15.14-0+deb12u1~x");
        assert_eq!(exact, Some(("postgresql-15", Some("1:15.14-0+deb12u1~x"))));
        for bad in [
            "",
            "n",
            "-y",
            "nginx-",
            "nginx+",
            "a b",
            "nginx=",
            "nginx=a b",
            "Nginx",
            "n/stable",
            "nginx:",
            "$(id)",
            "./a.deb",
        ] {
            assert_eq!(wanted(bad), None, "{bad}");
        }
    }
}
