//! Which backup a restore takes when those that it took will not do: the step itself, with a real store and this machine as its host.
//! Each attempt is a process of its own, as far as the step can tell: all that it knows of earlier ones are its notes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dr_plan::action::{
    Action, Bind, Context, Given, HostFacts, Hosts, Person, Reach, Record, Secrets, Services,
    StepNotes, kind_of,
};
use dr_plan::clock::SystemClock;
use dr_plan::event::{Ask, What};
use dr_plan::ids::StepId;
use dr_plan::inventory::Inventory;
use dr_plan::kind::{Failure, Mode, Reason};
use dr_plan::problem::Source;
use dr_plan::secret::{Mask, Secret, SecretRef};
use dr_plan::store::{LocalStore, Store};
use dr_plan::transport::{
    Answer, JobId, JobState, Local, LogPart, Script, Transport, TransportError, Upload,
};

use super::cluster::run;
use super::doubles::this_machine;
use super::files::{applicable, archive, file};
use super::server::Server;

/// This machine; what a restore writes down on its host lies in the test's folder.
struct Here {
    local: Arc<Local>,
    folder: String,
}

impl Here {
    fn placed(&self, script: &Script) -> Script {
        script.clone().value("FOLDER", &self.folder)
    }
}

#[async_trait]
impl Transport for Here {
    fn host(&self) -> &str {
        "web"
    }

    async fn leashed(&self, script: &Script, limit: Duration) -> Result<Answer, TransportError> {
        self.local.leashed(&self.placed(script), limit).await
    }

    async fn start(
        &self,
        job: &JobId,
        script: &Script,
        limit: Duration,
    ) -> Result<(), TransportError> {
        self.local.start(job, &self.placed(script), limit).await
    }

    async fn look_all(&self, jobs: &[JobId]) -> Result<Vec<JobState>, TransportError> {
        self.local.look_all(jobs).await
    }

    async fn watch(
        &self,
        job: &JobId,
        from: u64,
        patience: Duration,
    ) -> Result<(JobState, LogPart), TransportError> {
        self.local.watch(job, from, patience).await
    }

    async fn read_log(&self, job: &JobId, from: u64) -> Result<LogPart, TransportError> {
        self.local.read_log(job, from).await
    }

    async fn end(&self, job: &JobId) -> Result<(), TransportError> {
        self.local.end(job).await
    }

    async fn put(&self, file: &Upload) -> Result<(), TransportError> {
        self.local.put(file).await
    }

    async fn disconnect(&self) {}
}

struct OneHost(Arc<Here>);

impl Reach for OneHost {
    fn transport(&self, _: &HostFacts) -> Result<Arc<dyn Transport>, Failure> {
        Ok(self.0.clone())
    }
}

struct NoSecrets;

#[async_trait]
impl Secrets for NoSecrets {
    async fn fetch(&self, _: &SecretRef) -> Result<Secret, Failure> {
        Err(Failure::new(Reason::NotFound, "these backups have no keys"))
    }
}

/// Takes all that is said, and answers as it was told.
#[derive(Default)]
struct Desk {
    asked: Mutex<Vec<Ask>>,
    answers: Mutex<VecDeque<bool>>,
}

#[async_trait]
impl Person for Desk {
    async fn ask(&self, _: &StepId, ask: Ask) -> Result<Given, Failure> {
        let yes = self.answers.lock().unwrap().pop_front();
        let yes = yes.unwrap_or_else(|| panic!("nobody expects this question: {ask:?}"));
        self.asked.lock().unwrap().push(ask);
        Ok(Given {
            yes,
            by: "ada".into(),
            because: None,
        })
    }
}

#[async_trait]
impl Record for Desk {
    async fn durable(&self, _: What) -> Result<(), Failure> {
        Ok(())
    }

    fn passing(&self, _: What) {}
}

const INVENTORY: &str = "
version: 1
name: shop
hosts:
  web: { address: 192.0.2.1 }
stores:
  vault: { local: { path: BUCKET }, at: other/eu }
datasets:
  media:
    files: { host: web, path: LIVE }
    backups:
      - { store: vault, path: \"media/{time:%Y%m%dT%H%M%SZ}.tar\" }
";

struct Estate {
    folder: tempfile::TempDir,
    server: Server,
    inventory: Arc<Inventory>,
    services: Arc<Services>,
    notes: StepNotes,
    desk: Arc<Desk>,
    attempt: u32,
}

fn source(name: &str, text: &str) -> Arc<Source> {
    Arc::new(Source {
        name: name.into(),
        text: text.into(),
    })
}

fn of(day: u32) -> String {
    format!("media/202001{day:02}T030000Z.tar")
}

impl Estate {
    /// With backups of these days. `streams`: the store is a folder of the orchestrator, which reads it for the host.
    async fn with(days: &[u32], streams: bool) -> Self {
        let (folder, server) = (tempfile::tempdir().unwrap(), Server::start().await);
        let live = folder.path().join("srv/media");
        let text = INVENTORY
            .replace("BUCKET", server.bucket().to_str().unwrap())
            .replace("LIVE", live.to_str().unwrap());
        let inventory = dr_plan::inventory::read(&source("shop.yaml", &text), Path::new("/"));
        let inventory = Arc::new(inventory.unwrap_or_else(|problems| panic!("{problems:?}")));
        let store: Arc<dyn Store> = match streams {
            true => Arc::new(LocalStore::new("vault", &server.bucket()).unwrap()),
            false => Arc::new(server.store()),
        };
        let hosts = Hosts::new(Box::new(OneHost(Arc::new(Here {
            local: this_machine(folder.path()),
            folder: folder.path().join("state").to_str().unwrap().into(),
        }))));
        let facts = HostFacts {
            name: "web".into(),
            address: "192.0.2.1".into(),
            pins: Vec::new(),
        };
        hosts.add(facts).map(drop).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let services = Arc::new(Services {
            providers: BTreeMap::new(),
            dns: BTreeMap::new(),
            stores: [("vault".to_string(), store)].into(),
            hosts,
            secrets: Box::new(NoSecrets),
            mask: Mask::default(),
            http: reqwest::Client::new(),
            clock: Arc::new(SystemClock::new()),
            login_keys: Vec::new(),
            login_user: "root".into(),
            inventory: inventory.clone(),
            planned: Default::default(),
            rehearsal: Default::default(),
            folder: "/nonexistent".into(),
        });
        let estate = Self {
            folder,
            server,
            inventory,
            services,
            notes: StepNotes::default(),
            desk: Arc::default(),
            attempt: 0,
        };
        for day in days {
            estate.back_up(*day);
        }
        estate
    }

    /// One whose restore was stopped when it had chosen its backup: somebody's file was in the way.
    async fn stopped(days: &[u32], streams: bool) -> Self {
        let mut estate = Self::with(days, streams).await;
        std::fs::create_dir_all(estate.live()).unwrap();
        std::fs::write(estate.live().join("precious"), "mine").unwrap();
        let failure = estate.apply(&[]).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Refused, "{failure}");
        std::fs::remove_dir_all(estate.live()).unwrap();
        estate
    }

    fn live(&self) -> PathBuf {
        self.folder.path().join("srv/media")
    }

    /// A backup that holds one file, named after its day.
    fn back_up(&self, day: u32) {
        let whole = archive(&[file(&format!("day-{day}"))]);
        self.server.lay(&of(day), &whole);
    }

    /// One that is cut between its members and its end.
    fn back_up_badly(&self, day: u32) {
        self.server.lay(&of(day), &archive(&[file("cut")])[..1024]);
    }

    fn prune(&self, day: u32) {
        std::fs::remove_file(self.server.bucket().join(of(day))).unwrap();
    }

    fn action(&self) -> Box<dyn Action> {
        let (args, _) = dr_plan::yaml::parse(&source("args", "{ dataset: media, host: web }"));
        let bind = Bind {
            inventory: &self.inventory,
            accounts: &BTreeMap::new(),
            hosts: &BTreeSet::from(["web".to_string()]),
            verify: &[],
            rpo: None,
            timeout: None,
            if_source_lost: dr_plan::plan::IfSourceLost::Fail,
            folder: Path::new("/"),
            copies: &BTreeMap::new(),
        };
        let bound = (kind_of("dataset.restore").unwrap().bind)(&args.unwrap(), &bind);
        bound.unwrap_or_else(|problems| panic!("{problems:?}")).0
    }

    fn context(&self) -> Context {
        Context {
            run: run(),
            step: StepId::new("restore").unwrap(),
            attempt: self.attempt,
            mode: Mode::Failover,
            plan: "failover".into(),
            lost_at: "2020-01-31T00:00:00Z".parse().unwrap(),
            rpo: None,
            services: self.services.clone(),
            record: self.desk.clone(),
            person: self.desk.clone(),
            story: String::new(),
            probe: false,
            notes: self.notes.clone(),
        }
    }

    /// The next attempt. All these answers are needed, and no other.
    async fn apply(&mut self, answers: &[bool]) -> Result<(), Failure> {
        self.attempt += 1;
        *self.desk.answers.lock().unwrap() = answers.iter().copied().collect();
        let came = self.action().apply(&self.context()).await;
        let left = self.desk.answers.lock().unwrap().len();
        assert_eq!(left, 0, "a question did not come: {came:?}");
        came
    }

    fn asked(&self) -> Vec<Ask> {
        self.desk.asked.lock().unwrap().clone()
    }

    #[track_caller]
    fn restored(&self, day: u32) {
        let entries = std::fs::read_dir(self.live()).unwrap().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        assert_eq!(names, [format!("day-{day}").as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chosen_backup_that_was_pruned_leads_to_the_question_for_the_next_older_one() {
    if !applicable() {
        return;
    }
    for streams in [false, true] {
        let mut estate = Estate::stopped(&[1, 2, 3], streams).await;
        estate.prune(3);
        estate.apply(&[true]).await.unwrap();
        estate.restored(2);
        let asked = &estate.asked()[0];
        assert_eq!(asked.name, "older-backup-20200102T030000Z");
        assert!(asked.question.contains(&of(2)), "{asked:?}");
        let words = format!(
            "vault:{} will not do: store `vault` does not have it any more",
            of(3)
        );
        assert_eq!(asked.details[0], words, "streams: {streams}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_younger_backup_than_the_one_that_was_pruned_is_taken_without_a_question() {
    if !applicable() {
        return;
    }
    let mut estate = Estate::stopped(&[1, 2, 3], false).await;
    estate.prune(3);
    estate.back_up(4);
    estate.apply(&[]).await.unwrap();
    estate.restored(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_missing_refuses_no_backup() {
    if !applicable() {
        return;
    }
    let mut estate = Estate::stopped(&[2, 3], false).await;
    let (bucket, away) = (estate.server.bucket(), estate.folder.path().join("away"));
    std::fs::rename(&bucket, &away).unwrap();
    let failure = estate.apply(&[]).await.unwrap_err();
    assert!(
        failure.message.contains("this backup alone cannot be seen"),
        "{failure}"
    );
    assert_eq!(estate.context().noted("refused"), None);
    std::fs::rename(&away, &bucket).unwrap();
    estate.apply(&[]).await.unwrap();
    estate.restored(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_backup_that_is_there_again_is_taken() {
    if !applicable() {
        return;
    }
    let mut estate = Estate::stopped(&[2, 3], true).await;
    estate.prune(3);
    let failure = estate.apply(&[false]).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Declined, "{failure}");
    estate.back_up(3);
    estate.apply(&[]).await.unwrap();
    estate.restored(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_older_backup_has_a_question_of_its_own_however_often_it_is_counted() {
    if !applicable() {
        return;
    }
    let mut estate = Estate::with(&[1], false).await;
    estate.back_up_badly(3);
    estate.back_up_badly(2);
    let failure = estate.apply(&[true, false]).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Declined, "{failure}");
    // None is left: the next attempt looks at all of them anew, and the first question is for another one.
    estate.prune(1);
    let failure = estate.apply(&[]).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Damaged, "{failure}");
    estate.back_up(1);
    estate.prune(2);
    estate.apply(&[true]).await.unwrap();
    estate.restored(1);
    let asked = estate.asked();
    let names: Vec<&str> = asked.iter().map(|ask| ask.name.as_str()).collect();
    let of = |day: u32| format!("older-backup-202001{day:02}T030000Z");
    assert_eq!(names, [of(2), of(1), of(1)]);
    assert_ne!(asked[0].question, asked[1].question);
    assert_eq!(asked[1].question, asked[2].question);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_takes_away_what_was_begun_from_a_backup_that_will_not_do() {
    if !applicable() {
        return;
    }
    let mut estate = Estate::with(&[], false).await;
    estate.back_up_badly(3);
    let failure = estate.apply(&[]).await.unwrap_err();
    assert_eq!(failure.reason, Reason::Damaged, "{failure}");
    estate.action().undo(&estate.context()).await.unwrap();
    let left = std::fs::read_dir(estate.folder.path().join("srv")).unwrap();
    let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}
