//! `host.render`: a file on a host made of a template of the plan; what stood there before is kept.

use std::path::PathBuf;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::placed_file::{Content, PlacedFile, Spot, mode};
use super::template_file::{SAMPLE_ADDRESS, address, failure, misused, parse, render, scope};
use super::{Action, Bind, Context, Verb};
use crate::kind::{Effect, Failure, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// Arguments of `host.render`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostRender {
    /// Where.
    host: String,
    /// A local file with `{{ }}` in it, relative to the plan.
    template: String,
    /// An absolute path on the host.
    to: String,
    /// What the template may name, besides `host.name` and `host.address`; references are filled in. Never a secret.
    #[serde(default)]
    values: Map<String, Value>,
    /// `user` or `user:group`.
    owner: Option<String>,
    /// Permission bits such as `"0644"`, the default.
    mode: Option<String>,
    /// The service's own checker, a script such as `nginx -t`; it sees the file in its place before anybody else does.
    check: Option<String>,
}

impl Verb for HostRender {
    const NAME: &'static str = "host.render";
    const EFFECT: Effect = Effect::Write;
    const UNDO: Undo = Undo::RestorePrevious;
    const ADOPTS: &'static [&'static str] = &["before"];
    const SUMMARY: &'static str = "Renders a template for a host and puts it there as a file.";

    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>> {
        let bits = mode(self.mode.as_deref(), 0o644);
        let spot = Spot {
            host: self.host,
            to: self.to,
            owner: self.owner,
            mode: bits.as_ref().copied().unwrap_or(0o644),
            check: self.check,
        };
        let mut problems = spot.problems(args, bind);
        if let Err(why) = bits {
            problems.push(Problem::error("bad-mode", args.place_of("mode"), why));
        }
        let rendered = Rendered {
            template: bind.folder.join(&self.template),
            values: self.values,
            host: spot.host.clone(),
        };
        // A name that a template does not find is found now, and not on the host.
        match bind.read(&rendered.template) {
            Err(error) => {
                let words = format!("reading `{}`: {error}", rendered.template.display());
                problems.push(Problem::error(
                    "no-such-file",
                    args.place_of("template"),
                    words,
                ));
            }
            Ok(bytes) => match parse(&rendered.template, bytes) {
                Err(problem) => problems.push(problem),
                Ok(template) => {
                    let scope = scope(&rendered.values, &rendered.host, SAMPLE_ADDRESS);
                    problems.extend(render(&template, &scope).err().into_iter().flatten());
                    let values = args.get("values").unwrap_or(args);
                    for (name, words) in misused(&rendered.values, &[template]) {
                        problems.push(Problem::error("bad-value", values.place_of(name), words));
                    }
                }
            },
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Box::new(PlacedFile {
            spot,
            content: Box::new(rendered),
        }))
    }
}

/// A template and what it is rendered with.
struct Rendered {
    template: PathBuf,
    values: Map<String, Value>,
    host: String,
}

impl Content for Rendered {
    fn bytes(&self, cx: &Context) -> Result<Bytes, Failure> {
        let bytes = cx.services.read_file(&self.template)?;
        let template = parse(&self.template, bytes).map_err(|problem| failure(&[problem]))?;
        let scope = scope(&self.values, &self.host, &address(cx, &self.host));
        let text = render(&template, &scope).map_err(|problems| failure(&problems))?;
        Ok(Bytes::from(text))
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.template.clone()]
    }
}
