//! A new server for a role, whatever it is made from and whatever the API does: exactly one. Its host key is made here,
//! injected, pinned, and exchanged for one that has never left the host before anything of value goes over the connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::bootstrap_key::BootstrapKey;
use super::egress;
use super::first_contact::{self, cloud_config};
use super::server_place::{Rung, rungs};
use super::snapshot_choice::Choice;
use super::{Action, Bind, Context, Cost, HostFacts, Target, Verified};
use crate::kind::{Evidence, Failure, Finding, Observation, Output, Reason, Resource};
use crate::problem::Problem;
use crate::provider::{Power, Provider, Server, ServerSpec, Tags, reconcile};
use crate::units::Size;
use crate::yaml::Node;

/// One place or a ladder of them. Untagged does no harm: the shape is checked, with places, before it is decoded.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Places {
    One(String),
    Ladder(Vec<String>),
}

impl Places {
    pub(super) fn all(&self) -> Vec<&str> {
        match self {
            Places::One(one) => vec![one],
            Places::Ladder(many) => many.iter().map(String::as_str).collect(),
        }
    }

    /// What a new server there gives to later steps, before anything ran.
    pub(super) fn sample(&self, role: &str) -> Output {
        let rung = self.all().first().copied().unwrap_or_default();
        [
            ("host", role),
            ("name", role),
            ("id", "1"),
            ("ipv4", "192.0.2.1"),
            ("ipv6", "2001:db8::1"),
            ("place", rung),
            ("type", "type"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.into()))
        .collect()
    }
}

/// What a server must at least have.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Needs {
    /// Virtual processors.
    pub(super) cpus: Option<u32>,
    /// Memory.
    pub(super) memory: Option<Size>,
    /// Disk.
    pub(super) disk: Option<Size>,
}

/// What its disk begins with.
pub(super) enum Source {
    /// The image of each rung.
    Image,
    /// A snapshot of the same account.
    Snapshot(Choice),
}

/// One server for a role.
pub(super) struct NewServer {
    role: String,
    needs: Option<Needs>,
    packages: Vec<String>,
    rungs: Vec<Rung>,
    source: Source,
}

impl NewServer {
    /// Checks the role and finds the places.
    pub(super) fn bind(
        role: &str,
        (place, image): (&Places, &str),
        needs: Option<Needs>,
        (args, bind): (&Node, &Bind),
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if crate::ids::StepId::new(role).is_err() || role.len() > 24 {
            let words = format!(
                "`{role}` cannot be a role: lower-case letters, digits and `-`, at most 24"
            );
            problems.push(Problem::error("bad-role", args.place_of("role"), words));
        }
        match rungs(&place.all(), image, needs.as_ref(), args, bind) {
            Ok(rungs) if problems.is_empty() => Ok(Self {
                role: role.to_string(),
                needs,
                packages: Vec::new(),
                rungs,
                source: Source::Image,
            }),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.extend(more);
                Err(problems)
            }
        }
    }

    /// With packages that the first boot installs.
    #[must_use]
    pub(super) fn packages(mut self, packages: Vec<String>) -> Self {
        self.packages = packages;
        self
    }

    /// From a snapshot instead of an image.
    #[must_use]
    pub(super) fn snapshot(mut self, choice: Choice) -> Self {
        self.source = Source::Snapshot(choice);
        self
    }

    /// The accounts of its places.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &str> {
        self.rungs.iter().map(|rung| rung.account.as_str())
    }

    /// The rung with what is ordered there.
    async fn filled(
        &self,
        cx: &Context,
        provider: &dyn Provider,
        rung: &Rung,
    ) -> Result<Rung, Failure> {
        let mut rung = rung.clone();
        if let Source::Snapshot(choice) = &self.source {
            let snapshot = choice.find(cx, provider).await?;
            rung.least_disk = snapshot.disk;
            rung.image = snapshot.id;
        }
        Ok(rung)
    }

    /// Deterministic, so that a second attempt looks for the same one: `dr-<plan>-<role>-<run8>`.
    fn name(&self, cx: &Context) -> String {
        let plan: String = cx.plan.chars().take(24).collect();
        format!(
            "dr-{}-{}-{}",
            plan.trim_end_matches('-'),
            self.role,
            cx.run.short()
        )
    }

    /// The keys that went into user data, one for each create request of this step.
    fn bootstrap_pins(cx: &Context) -> Vec<String> {
        cx.noted("bootstrap_pins")
            .and_then(|value| serde_json::from_value(value).ok())
            .unwrap_or_default()
    }

    /// The rung that an earlier attempt chose, or the first.
    fn rung(&self, cx: &Context) -> usize {
        cx.noted("rung")
            .and_then(|value| value.as_u64())
            .map_or(0, |at| (at as usize).min(self.rungs.len() - 1))
    }

    /// Ours, at any account of the ladder.
    async fn find(&self, cx: &Context) -> Result<Vec<(Arc<dyn Provider>, Server)>, Failure> {
        let mut found = Vec::new();
        let mut asked: Vec<&str> = Vec::new();
        let reached = &self.rungs[..=self.rung(cx)];
        for rung in reached.iter().filter(|rung| rung.exists) {
            if asked.contains(&rung.account.as_str()) {
                continue;
            }
            asked.push(&rung.account);
            let provider = cx.services.provider(&rung.account)?;
            // Also those of older runs that this one goes on with: a server keeps the tag that it was made with.
            for run in cx.adopted().iter().chain([&cx.run]) {
                for server in provider.find(run.as_str(), Some(cx.step.as_str())).await? {
                    found.push((provider.clone(), server));
                }
            }
        }
        Ok(found)
    }

    fn resource(provider: &dyn Provider, server: &Server) -> Resource {
        Resource {
            kind: "server".into(),
            account: provider.account().to_string(),
            id: server.id.clone(),
            name: server.name.clone(),
        }
    }

    /// Creates at the noted rung, or the next ones while there is no room.
    async fn create(&self, cx: &Context) -> Result<(Arc<dyn Provider>, Server), Failure> {
        let mut at = self.rung(cx);
        loop {
            let rung = &self.rungs[at];
            let provider = cx.services.provider(&rung.account)?;
            cx.note("rung", at).await?;
            let failure = match self.create_at(cx, &*provider, rung).await {
                Ok(server) => return Ok((provider, server)),
                Err(failure) => failure,
            };
            let room = matches!(failure.reason, Reason::NoCapacity | Reason::Quota);
            if !room || at + 1 >= self.rungs.len() {
                return Err(failure);
            }
            at += 1;
            cx.log(format!(
                "{}; trying {}",
                failure.message, self.rungs[at].place
            ));
        }
    }

    async fn create_at(
        &self,
        cx: &Context,
        provider: &dyn Provider,
        rung: &Rung,
    ) -> Result<Server, Failure> {
        let rung = &self.filled(cx, provider, rung).await?;
        let size = rung.size(provider, self.needs.as_ref()).await?;
        if let Source::Snapshot(choice) = &self.source {
            choice.settle(cx, provider).await?;
        }
        // The pin must be on disk before the key can be anywhere: a server that is adopted later was given this one.
        let key = BootstrapKey::generate()?;
        // Earlier ones stay: an answer that was lost may still come true, with the key of its own attempt.
        let mut pins = Self::bootstrap_pins(cx);
        pins.push(key.public.clone());
        cx.note("bootstrap_pins", serde_json::Value::from(pins))
            .await?;
        cx.services.mask.learn(&key.private);
        let mut packages = self.packages.clone();
        if cx.services.rehearsal.egress.is_some()
            && !packages.iter().any(|name| name == egress::PACKAGE)
        {
            packages.push(egress::PACKAGE.into());
        }
        let spec = ServerSpec {
            name: self.name(cx),
            region: rung.region.clone(),
            size,
            image: rung.image.clone(),
            user_data: cloud_config(
                &key,
                &cx.services.login_user,
                &cx.services.login_keys,
                &packages,
            ),
            tags: Tags {
                run: cx.run.to_string(),
                step: cx.step.to_string(),
            },
        };
        let created = reconcile::create_once(provider, &spec, Duration::from_secs(90)).await?;
        if created.adopted {
            cx.log(format!(
                "the answer was lost, and `{}` was found by its tag",
                spec.name
            ));
        }
        if !created.extras.is_empty() {
            return Err(Failure::new(
                Reason::Unknown,
                format!(
                    "{} servers answer for `{}`",
                    created.extras.len() + 1,
                    spec.name
                ),
            ));
        }
        Ok(created.server)
    }

    /// Of several that carry this step's tag (an answer was lost and came true later) one stays: the one that was
    /// noted, else the oldest. The others hold nothing and go.
    async fn keep_one(&self, cx: &Context) -> Result<Option<(Arc<dyn Provider>, Server)>, Failure> {
        let mut found = self.find(cx).await?;
        let noted = cx.noted_text("server");
        found.sort_by_key(|(_, server)| {
            (
                noted.as_deref() != Some(&server.id),
                server.id.len(),
                server.id.clone(),
            )
        });
        let mut found = found.into_iter();
        let kept = found.next();
        for (provider, server) in found {
            cx.log(format!(
                "`{}` ({}) is a second one for this step; deleting it",
                server.name, server.id
            ));
            let resource = Self::resource(&*provider, &server);
            cx.made(resource.clone()).await?;
            provider.delete(&server.id).await?;
            cx.gone(resource, format!("GET of {} answers 404", server.id))
                .await?;
        }
        Ok(kept)
    }

    fn facts(&self, cx: &Context, server: &Server) -> Result<HostFacts, Failure> {
        let address = server.ipv4.map(|ip| ip.to_string()).ok_or_else(|| {
            Failure::new(
                Reason::Busy,
                format!("`{}` has no address yet", server.name),
            )
        })?;
        let pins = match cx.noted_text("host_key") {
            Some(own) if cx.noted("rotated").is_some() => vec![own],
            // Between the two keys either may answer.
            own => Self::bootstrap_pins(cx).into_iter().chain(own).collect(),
        };
        Ok(HostFacts {
            name: self.role.clone(),
            address,
            pins,
        })
    }
}

/// What keeps every rung from holding, in one: the reason and the way out of the first, the words of all.
fn all_of(refused: Vec<Failure>) -> Failure {
    let words: Vec<String> = refused.iter().map(|one| one.message.clone()).collect();
    let first = refused.into_iter().next();
    let mut failure = first.unwrap_or_else(|| Failure::new(Reason::NotFound, "no place is named"));
    failure.message = words.join("; ");
    failure
}

#[async_trait]
impl Action for NewServer {
    fn title(&self) -> String {
        let places: Vec<&str> = self.rungs.iter().map(|rung| rung.place.as_str()).collect();
        format!("server for {} at {}", self.role, places.join(", else "))
    }

    async fn precheck(&self, cx: &Context) -> Result<Vec<Finding>, Failure> {
        if cx.services.login_keys.is_empty() {
            return Err(Failure::new(Reason::NotFound, "no public key is known that could log in to a new server")
                .hint("set `ssh: { key: { file: ... } }` in the inventory, or load a key into your agent (`ssh-add`)"));
        }
        let mut findings = Vec::new();
        let mut refused: Vec<Failure> = Vec::new();
        if let Source::Snapshot(choice) = &self.source {
            let provider = cx.services.provider(&self.rungs[0].account)?;
            let (found, known) = choice.check(cx, &*provider).await?;
            findings.extend(found);
            if !known {
                return Ok(findings);
            }
        }
        findings.extend(egress::check(cx).await?);
        let told = findings.len();
        for rung in &self.rungs {
            let provider = cx.services.provider(&rung.account)?;
            let checked = async {
                let rung = self.filled(cx, &*provider, rung).await?;
                rung.check(cx, &*provider, self.needs.as_ref()).await
            };
            match checked.await {
                Ok(found) => findings.extend(found),
                Err(failure) => refused.push(failure),
            }
        }
        // A ladder stands while one rung holds.
        if findings.len() == told {
            return Err(all_of(refused));
        }
        findings.extend(
            refused
                .into_iter()
                .map(|failure| Finding::warning(failure.message)),
        );
        Ok(findings)
    }

    async fn costs(&self, cx: &Context) -> Result<Vec<Cost>, Failure> {
        let mut refused = Vec::new();
        for rung in &self.rungs {
            let provider = cx.services.provider(&rung.account)?;
            let offered = async {
                let rung = self.filled(cx, &*provider, rung).await?;
                rung.offer(&*provider, self.needs.as_ref()).await
            };
            match offered.await {
                Ok(offer) => {
                    return Ok(vec![Cost {
                        account: rung.account.clone(),
                        what: format!("server {} at {}/{}", offer.name, rung.account, rung.region),
                        monthly: offer.monthly,
                    }]);
                }
                Err(failure) => refused.push(failure),
            }
        }
        Err(all_of(refused))
    }

    async fn observe(&self, cx: &Context) -> Result<Observation, Failure> {
        let found = self.find(cx).await?;
        match found.as_slice() {
            [] => {}
            [(_, server)] => {
                let ready = cx.noted("rotated").is_some() && server.power == Power::On;
                return Ok(if ready && self.verify(cx).await.is_ok() {
                    Observation::Done
                } else {
                    Observation::Partial {
                        what: format!("`{}` exists and is not ready", server.name),
                    }
                });
            }
            many => {
                return Ok(Observation::Partial {
                    what: format!("{} servers carry the tag of this step", many.len()),
                });
            }
        }
        let rung = &self.rungs[self.rung(cx)];
        let provider = cx.services.provider(&rung.account)?;
        let name = self.name(cx);
        Ok(match provider.by_name(&name).await? {
            Some(server)
                if server
                    .tags
                    .as_ref()
                    .is_some_and(|tags| tags.run == cx.run.as_str()) =>
            {
                let step = server.tags.as_ref().map_or("", |tags| &tags.step);
                Observation::Foreign {
                    what: format!("`{name}` was made by the step `{step}` of this run"),
                    hint: Some("give the two steps different roles and begin anew".into()),
                }
            }
            Some(server) => Observation::Foreign {
                what: format!(
                    "`{name}` exists at {} ({}) and was not made by this run",
                    rung.account, server.id
                ),
                hint: Some(format!("rename or delete it at {}", rung.account)),
            },
            None => Observation::Absent,
        })
    }

    async fn apply(&self, cx: &Context) -> Result<(), Failure> {
        let (provider, server) = match self.keep_one(cx).await? {
            Some(ours) => ours,
            None => self.create(cx).await?,
        };
        cx.made(Self::resource(&*provider, &server)).await?;
        cx.note("server", server.id.clone()).await?;
        let server = first_contact::address_of(cx, &*provider, &server.id).await?;
        let facts = self.facts(cx, &server)?;
        cx.note("host", serde_json::to_value(&facts).unwrap_or_default())
            .await?;
        cx.services.hosts.add(facts)?;
        first_contact::wait_for_ssh(cx, &self.role).await?;
        first_contact::wait_for_first_boot(cx, &self.role).await?;
        if cx.noted("rotated").is_none() {
            let own = first_contact::rotate_host_key(cx, &self.role).await?;
            cx.note("rotated", own).await?;
            let facts = self.facts(cx, &server)?;
            cx.note("host", serde_json::to_value(&facts).unwrap_or_default())
                .await?;
            cx.services.hosts.add(facts)?;
        }
        let mut addresses: Vec<IpAddr> = server.ipv4.map(IpAddr::from).into_iter().collect();
        addresses.extend(server.ipv6.map(IpAddr::from));
        egress::close(cx, &self.role, addresses).await
    }

    async fn verify(&self, cx: &Context) -> Result<Verified, Failure> {
        let rung = &self.rungs[self.rung(cx)];
        let provider = cx.services.provider(&rung.account)?;
        let id = cx
            .noted_text("server")
            .ok_or_else(|| Failure::new(Reason::Verify, "no server was noted"))?;
        let Some(server) = provider.get(&id).await? else {
            return Err(Failure::new(
                Reason::Verify,
                format!("server {id} does not exist at {}", rung.account),
            ));
        };
        if server.power != Power::On {
            return Err(Failure::new(
                Reason::Verify,
                format!("`{}` is {}", server.name, server.power),
            ));
        }
        let facts = self.facts(cx, &server)?;
        cx.services.hosts.add(facts.clone())?;
        let (said, ()) = tokio::try_join!(
            first_contact::greet(cx, &self.role),
            first_contact::prove_dead(cx, &facts, Self::bootstrap_pins(cx)),
        )?;
        let verified = Verified::seen(format!("{} at {}", server.name, rung.account), "running")
            .and(format!("ssh to {}", facts.address), said)
            .and("the bootstrap host key", "is refused after its rotation")
            .leaves(
                format!(
                    "{} ({}) stands in no inventory yet: nothing backs it up, nothing watches it",
                    self.role, server.name
                ),
                None,
            )
            .with("host", self.role.clone())
            .with("name", server.name.clone())
            .with("id", server.id.clone())
            .with("ipv4", facts.address)
            .with(
                "ipv6",
                server.ipv6.map(|ip| ip.to_string()).unwrap_or_default(),
            )
            .with("place", format!("{}/{}", rung.account, server.region))
            .with("type", server.size);
        let verified = egress::verify(cx, &self.role, verified).await?;
        Ok(match &self.source {
            Source::Image => verified,
            Source::Snapshot(choice) => choice.tell(cx, verified),
        })
    }

    fn target(&self) -> Target {
        Target::New
    }

    async fn undo(&self, cx: &Context) -> Result<Vec<Evidence>, Failure> {
        let mut evidence = Vec::new();
        for (provider, server) in self.find(cx).await? {
            provider.delete(&server.id).await?;
            let proof = format!("GET of {} answers 404", server.id);
            cx.gone(Self::resource(&*provider, &server), &proof).await?;
            evidence.push(Evidence::new(format!("`{}`", server.name), proof));
        }
        Ok(evidence)
    }
}
