//! What there is to know of an action kind before it runs: its name, effect, arguments, sample output.
//! One table makes the decoder, the JSON Schema and the documentation.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::Action;
use crate::inventory::Inventory;
use crate::kind::{Effect, Output, Undo};
use crate::problem::Problem;
use crate::yaml::Node;

/// What a kind may know while it is bound: names, not services.
pub struct Bind<'a> {
    /// The estate.
    pub inventory: &'a Inventory,
    /// The accounts by name.
    pub accounts: &'a std::collections::BTreeMap<String, crate::account::Account>,
    /// Hosts that exist or that steps before this one create.
    pub hosts: &'a std::collections::BTreeSet<String>,
    /// The step's `verify:` list, with its references filled in.
    pub verify: &'a [(String, Node)],
    /// The plan's promised data loss, for `within: rpo`.
    pub rpo: Option<std::time::Duration>,
    /// The step's own `timeout:`.
    pub timeout: Option<std::time::Duration>,
    /// What to do when the lost source cannot be reached.
    pub if_source_lost: crate::plan::IfSourceLost,
    /// Where the plan's file lies: relative paths in it are relative to this.
    pub folder: &'a std::path::Path,
    /// What a run that goes on has copies of, by where the originals lay.
    pub copies: &'a std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>,
}

impl Bind<'_> {
    /// A local file of the plan: the run's own copy before the person's.
    pub fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        match self.copies.get(&super::services::straight(path)) {
            Some(copy) => Ok(copy.clone()),
            None => std::fs::read(path),
        }
    }

    /// Whether there is such a file.
    pub fn has_file(&self, path: &std::path::Path) -> bool {
        self.copies.contains_key(&super::services::straight(path)) || path.is_file()
    }
}

/// The arguments of a kind, decoded; from the type comes everything else.
pub trait Verb: DeserializeOwned + JsonSchema + Send + 'static {
    /// `server.create`.
    const NAME: &'static str;
    /// What it may do.
    const EFFECT: Effect;
    /// What undo can do.
    const UNDO: Undo;
    /// One sentence for people.
    const SUMMARY: &'static str;
    /// Without a `timeout:` the step has so long.
    const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);
    /// Understands every entry of a `verify:` list itself (a restore runs it on the staged copy and again after the swap).
    const TAKES_VERIFY: bool = false;
    /// Waits for a person: takes no place among the steps that run side by side.
    const WAITS: bool = false;
    /// Has an answer to its target being lost with its place, and so reads the step's `if_source_lost`.
    const SOURCE_MAY_BE_LOST: bool = false;
    /// Runs text that a person wrote, also to look: nobody can say what that does, so a preview leaves it alone.
    const OWN_SCRIPT: bool = false;
    /// The arguments that are shell scripts: nothing is ever filled into them.
    const SCRIPTS: &'static [&'static str] = &[];
    /// The beginnings of the notes with which another run can go on with what this kind made; without any it begins anew.
    const ADOPTS: &'static [&'static str] = &[];
    /// How long it usually takes, for a prediction while there are no runs to learn from.
    const TAKES: std::time::Duration = std::time::Duration::from_secs(5);

    /// An output of the right shape, known before anything ran. With these arguments, so that names can be true.
    fn sample(&self) -> Output {
        Output::new()
    }

    /// Finds hosts, datasets and accounts; every problem with its place in `args`.
    fn bind(self, args: &Node, bind: &Bind) -> Result<Box<dyn Action>, Vec<Problem>>;
}

/// A bound action and its sample output.
pub type Bound = (Box<dyn Action>, Output);

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Kind {
    /// `server.create`.
    pub name: &'static str,
    /// What it may do.
    pub effect: Effect,
    /// What undo can do.
    pub undo: Undo,
    /// One sentence for people.
    pub summary: &'static str,
    /// The default time for a step.
    pub timeout: std::time::Duration,
    /// See [`Verb::TAKES_VERIFY`].
    pub takes_verify: bool,
    /// See [`Verb::WAITS`].
    pub waits: bool,
    /// See [`Verb::SOURCE_MAY_BE_LOST`].
    pub source_may_be_lost: bool,
    /// See [`Verb::OWN_SCRIPT`].
    pub own_script: bool,
    /// See [`Verb::SCRIPTS`].
    pub scripts: &'static [&'static str],
    /// See [`Verb::ADOPTS`].
    pub adopts: &'static [&'static str],
    /// See [`Verb::TAKES`].
    pub takes: std::time::Duration,
    /// The JSON Schema of its arguments.
    pub schema: fn() -> serde_json::Value,
    /// Binds arguments: the action and its sample output.
    pub bind: fn(&Node, &Bind) -> Result<Bound, Vec<Problem>>,
}

impl Kind {
    /// The row of a verb.
    pub const fn of<V: Verb>() -> Self {
        Self {
            name: V::NAME,
            effect: V::EFFECT,
            undo: V::UNDO,
            summary: V::SUMMARY,
            timeout: V::TIMEOUT,
            takes_verify: V::TAKES_VERIFY,
            waits: V::WAITS,
            source_may_be_lost: V::SOURCE_MAY_BE_LOST,
            own_script: V::OWN_SCRIPT,
            scripts: V::SCRIPTS,
            adopts: V::ADOPTS,
            takes: V::TAKES,
            schema: schema_of::<V>,
            bind: bind_verb::<V>,
        }
    }
}

fn schema_of<V: Verb>() -> serde_json::Value {
    schemars::schema_for!(V).to_value()
}

fn bind_verb<V: Verb>(args: &Node, bind: &Bind) -> Result<(Box<dyn Action>, Output), Vec<Problem>> {
    let verb: V = decode_args(args)?;
    let sample = verb.sample();
    Ok((verb.bind(args, bind)?, sample))
}

/// Decodes arguments whose references are filled in.
pub fn decode_args<T: DeserializeOwned + JsonSchema + 'static>(
    args: &Node,
) -> Result<T, Vec<Problem>> {
    crate::yaml::decode(args)
}
