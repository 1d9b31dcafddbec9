//! Actions that keep the contract and act on the doubles' world, one for each way in which real kinds
//! act: create by tag, stage and swap, run a job, note and change, tell, ask, look, wait.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use dr_plan::action::{Action, Context, Verified, kind_of};
use dr_plan::event::{Ask, AskKind, BoundStep};
use dr_plan::ids::StepId;
use dr_plan::journal::Hash;
use dr_plan::kind::{Effect, Evidence, Failure, Finding, Observation, Reason, Resource, Undo};
use dr_plan::program::{Policy, Work};
use dr_plan::state::RunState;

use super::world::{Line, NOT_MINE, Reply, Request, Stage, Thing};

/// How a kind acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Look,
    Create,
    Stage,
    Job,
    Switch,
    Tell,
    Ask,
    Wait,
}

fn way(step: &BoundStep) -> Way {
    match step.kind.as_str() {
        "server.create" => Way::Create,
        "dataset.restore" => Way::Job,
        "dns.switch" => Way::Switch,
        "notify" => Way::Tell,
        "approve" => Way::Ask,
        "wait" => Way::Wait,
        _ if step.effect == Effect::Read => Way::Look,
        _ => Way::Stage,
    }
}

/// The work of a run whose steps are all doubles.
pub struct Doubles {
    steps: HashMap<StepId, BoundStep>,
    line: Line,
    /// Every apply is carried out twice.
    pub twice: bool,
    /// Instead of the ordinary rules.
    pub policies: HashMap<String, Policy>,
    pub approval_timeout: Option<Duration>,
    /// Steps that act on a host only, and on which.
    pub hosts: HashMap<String, String>,
}

impl Doubles {
    pub fn new(steps: &[BoundStep], line: Line) -> Self {
        Self {
            steps: steps
                .iter()
                .map(|step| (step.id.clone(), step.clone()))
                .collect(),
            line,
            twice: false,
            policies: HashMap::new(),
            approval_timeout: None,
            hosts: HashMap::new(),
        }
    }

    fn double(&self, step: &BoundStep, data: String) -> Box<dyn Action> {
        Box::new(Double {
            way: way(step),
            id: step.id.to_string(),
            line: self.line.clone(),
            data,
            twice: self.twice,
            approval_timeout: self.approval_timeout,
            host: self.hosts.get(step.id.as_str()).cloned(),
            undo: kind_of(&step.kind).map_or(Undo::RestorePrevious, |kind| kind.undo),
            fence: step.kind == "server.power",
        })
    }
}

/// The ordinary rules of a double: quick, three attempts.
pub fn policy(effect: Effect) -> Policy {
    Policy {
        timeout: Duration::from_secs(30),
        patience: std::time::Duration::ZERO,
        attempts: 3,
        backoff: Duration::from_millis(1),
        within: None,
        on: Vec::new(),
        effect,
        waits: false,
    }
}

impl Work for Doubles {
    /// What a step writes follows from the outputs of all that it needs, so that a wrong or lost output shows.
    fn action(&self, step: &StepId, state: &RunState) -> Result<Box<dyn Action>, Failure> {
        let step = &self.steps[step];
        let mut inputs = step.id.to_string();
        for need in &step.needs {
            let output = &state.step(&need.step).unwrap().output;
            inputs.push_str(&serde_json::to_string(output).unwrap());
        }
        let data = Hash::of(inputs.as_bytes()).to_string()[..12].to_string();
        Ok(self.double(step, data))
    }

    fn rehearse(&self, step: &StepId, _state: &RunState) -> Result<Box<dyn Action>, Failure> {
        Ok(self.double(&self.steps[step], "sample".into()))
    }

    fn policy(&self, step: &StepId) -> Policy {
        let step = &self.steps[step];
        let mut policy = match self.policies.get(step.id.as_str()) {
            Some(policy) => policy.clone(),
            None => policy(step.effect),
        };
        policy.waits = matches!(way(step), Way::Ask | Way::Wait);
        policy
    }

    fn health(&self, _state: &RunState) -> Result<Vec<Box<dyn Action>>, Failure> {
        let double = Double {
            way: Way::Look,
            id: "health".into(),
            line: self.line.clone(),
            data: String::new(),
            twice: false,
            approval_timeout: None,
            host: None,
            undo: Undo::ForwardOnly,
            fence: false,
        };
        Ok(vec![Box::new(double)])
    }
}

struct Double {
    way: Way,
    id: String,
    line: Line,
    data: String,
    twice: bool,
    approval_timeout: Option<Duration>,
    host: Option<String>,
    undo: Undo,
    fence: bool,
}

impl Double {
    async fn ask(&self, cx: &Context, verb: &str, data: &str) -> Result<Thing, Failure> {
        let reply = self.line.ask(&Request {
            pid: std::process::id().cast_signed(),
            step: self.id.clone(),
            verb: verb.into(),
            data: data.into(),
            attempt: cx.attempt,
        });
        match reply {
            Reply::Thing(thing) => Ok(thing),
            Reply::Failure(failure) => Err(failure),
            Reply::Hang => std::future::pending().await,
            Reply::Panic => panic!("`{}` panics, as the test wants", self.id),
            Reply::Foreign | Reply::CannotTell | Reply::Unseen => {
                panic!("only a look can be answered so")
            }
        }
    }

    async fn once(&self, cx: &Context) -> Result<(), Failure> {
        match self.way {
            Way::Look | Way::Ask | Way::Wait => {}
            Way::Create => {
                // Found by its tag, adopted or created.
                let there = self.ask(cx, "look", "").await?;
                let server = match there.stage {
                    Stage::Nothing => self.ask(cx, "create", "").await?,
                    _ => there,
                };
                cx.made(Resource {
                    kind: "server".into(),
                    account: "double".into(),
                    id: server.data,
                    name: self.id.clone(),
                })
                .await?;
                if server.stage != Stage::Done {
                    self.ask(cx, "finish", "").await?;
                }
            }
            Way::Stage => {
                self.ask(cx, "stage", "").await?;
                self.ask(cx, "finish", &self.data).await?;
            }
            Way::Job => {
                let mut thing = self.ask(cx, "look", "").await?;
                if !matches!(thing.stage, Stage::Running | Stage::Done) {
                    thing = self.ask(cx, "start", &self.data).await?;
                }
                while thing.stage != Stage::Done {
                    cx.progress("restore", 1, None, "tables");
                    thing = self.ask(cx, "poll", "").await?;
                }
            }
            Way::Switch => {
                if cx.noted("old").is_none() {
                    let old = self.ask(cx, "look", "").await?.data;
                    cx.note("old", old).await?;
                }
                self.ask(cx, "stage", "").await?;
                self.ask(cx, "finish", &self.data).await?;
            }
            Way::Tell => {
                self.ask(cx, "tell", &cx.story).await?;
            }
        }
        Ok(())
    }

    async fn approval(&self, cx: &Context) -> Result<Verified, Failure> {
        let given = cx
            .ask(Ask {
                name: "approve".into(),
                kind: AskKind::Approval,
                question: "go on?".into(),
                details: Vec::new(),
                timeout: self.approval_timeout,
                by: Vec::new(),
            })
            .await?;
        match given.yes {
            true => Ok(Verified::seen("approval", format!("yes by {}", given.by))),
            false => Err(Failure::new(Reason::Declined, "it was answered no")),
        }
    }
}

#[async_trait]
impl Action for Double {
    fn title(&self) -> String {
        format!("double `{}`", self.id)
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        if let Line::Direct(world) = &self.line
            && world.has_cue(&self.id, "precheck")
        {
            self.ask(cx, "precheck", "").await?;
        }
        Ok(Vec::new())
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        if matches!(self.way, Way::Look | Way::Ask | Way::Wait | Way::Tell) {
            return Ok(Observation::Absent);
        }
        let reply = self.line.ask(&Request {
            pid: std::process::id().cast_signed(),
            step: self.id.clone(),
            verb: "look".into(),
            data: String::new(),
            attempt: cx.attempt,
        });
        let thing = match reply {
            Reply::Thing(thing) => thing,
            Reply::Failure(failure) => return Err(failure),
            Reply::Foreign => {
                return Ok(Observation::Foreign {
                    what: "somebody else's".into(),
                    hint: Some("look at it".into()),
                });
            }
            Reply::CannotTell => {
                return Ok(Observation::CannotTell {
                    why: "no answer".into(),
                    hint: None,
                });
            }
            Reply::Unseen => {
                return Ok(Observation::Unseen {
                    why: "nobody can be asked".into(),
                });
            }
            Reply::Hang => std::future::pending().await,
            Reply::Panic => panic!("`{}` panics, as the test wants", self.id),
        };
        Ok(match thing.stage {
            Stage::Nothing => Observation::Absent,
            Stage::Half => Observation::Partial {
                what: "the first half".into(),
            },
            Stage::Running => Observation::Running {
                what: format!("the job of attempt {:?}", thing.job),
            },
            Stage::Done => Observation::Done,
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        self.once(cx).await?;
        if self.twice {
            self.once(cx).await?;
        }
        Ok(())
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        match self.way {
            Way::Ask => return self.approval(cx).await,
            Way::Wait => {
                if cx.noted("since").is_none() {
                    cx.note("since", "now").await?;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                return Ok(Verified::seen("time", "passed"));
            }
            Way::Tell => return Ok(Verified::seen("message", "sent")),
            _ => {}
        }
        let thing = self.ask(cx, "look", "").await?;
        if self.way == Way::Look {
            return Ok(Verified::seen("the world", "as wanted").with("saw", "backup 42"));
        }
        match thing.stage {
            Stage::Done => {
                let seen = Verified::seen("stage", "done").with("data", thing.data);
                Ok(match self.way {
                    Way::Create => seen.with("host", self.id.clone()),
                    _ => seen,
                })
            }
            stage => Err(Failure::new(Reason::Verify, format!("it is {stage:?}"))),
        }
    }

    fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    fn fences(&self) -> bool {
        self.fence
    }

    async fn can_go_back(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        self.ask(cx, "ask the old side", "").await?;
        Ok(vec![Evidence::new("the old side", "answers")])
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        match self.undo {
            Undo::ForwardOnly => return Ok(Vec::new()),
            Undo::NeedsHuman => {
                return Err(Failure::new(Reason::Refused, "only a person knows how"));
            }
            Undo::DeleteOwn | Undo::RestorePrevious => {}
        }
        if self.ask(cx, "look", "").await?.stage == Stage::Nothing {
            return Ok(vec![Evidence::new("what it made", "is gone")]);
        }
        let old = cx.noted_text("old").unwrap_or_default();
        if self.ask(cx, "undo", &old).await?.data == NOT_MINE {
            return Ok(Vec::new());
        }
        Ok(vec![Evidence::new("what it made", "was taken back")])
    }
}
