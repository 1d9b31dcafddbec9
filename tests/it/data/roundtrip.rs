//! A whole way back: dump, close, store, fetch, open, restore, swap; the data is equal and no secret was seen.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dr_plan::codec::{Form, Key};
use dr_plan::dataset::{
    Artifact, DataCopy, Expectation, JobReport, Progress, Question, Restore, Silent, Source, Stand,
    ZoneFrom, deliver,
};
use dr_plan::kind::{Failure, Observation};
use dr_plan::secret::Secret;
use dr_plan::store::{Fetch, LocalStore, Store};

use super::cluster::{Cluster, gpg, through};
use super::server::Server;

pub const PASSPHRASE: &str = "canary passphrase 'of' \"the\" shop $HOME \\ 0123456789";
pub const SOON: Duration = Duration::from_secs(120);

#[derive(Default)]
pub struct Heard {
    pub phases: Vec<String>,
    /// The phases that have a total to count against.
    pub counted: Vec<String>,
    pub notes: Vec<String>,
    pub log: Vec<String>,
}

impl Progress for Heard {
    fn phase(&mut self, phase: &str, done: u64, total: u64) {
        if total > 0 {
            assert!(done <= total, "{phase}: {done} of {total}");
            self.counted.push(phase.to_string());
        }
        if self.phases.last().is_none_or(|last| last != phase) {
            self.phases.push(phase.to_string());
        }
    }
    fn note(&mut self, words: &str) {
        self.notes.push(words.to_string());
    }
    fn log(&mut self, line: &str) {
        self.log.push(line.to_string());
    }
}

pub async fn artifact(server: &Server, key: &str, content: &[u8], opens: Option<Key>) -> Artifact {
    use sha2::Digest;
    server.lay(key, content);
    let Fetch::Url(url) = server
        .store()
        .fetch(key, Duration::from_secs(600))
        .await
        .unwrap()
    else {
        panic!("S3 signs")
    };
    let sha: String = sha2::Sha256::digest(content)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    Artifact {
        label: format!("vault:{key}"),
        bytes: content.len() as u64,
        sha256: Some(sha),
        source: Source::Url(url),
        key: opens,
    }
}

pub fn passphrase() -> Option<Key> {
    Some(Key::GpgPassphrase(Secret::new(PASSPHRASE.into())))
}

/// Stages and swaps into a fresh cluster.
pub async fn restore(
    target: &Cluster,
    artifact: &Artifact,
    form: Form,
) -> Result<(JobReport, Heard), Failure> {
    let mut heard = Heard::default();
    let restoration = target.restoration(target.spec(), 1, &artifact.label);
    let report = restoration
        .stage(artifact, Some(form), SOON, &mut heard)
        .await?;
    restoration.swap(&mut heard).await?;
    Ok((report, heard))
}

fn owners(cluster: &Cluster) -> String {
    cluster.sql(
        "shop",
        "select distinct pg_get_userbyid(relowner) from pg_class c join pg_namespace n on n.oid = relnamespace
          where nspname in ('public', 'Odd.Schema') and relkind in ('r', 'v', 'm', 'S') order by 1",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_dump_closed_with_gpg_comes_back_equal_and_its_passphrase_is_never_seen() {
    let (source, target, server) = (Cluster::start(), Cluster::start(), Server::start().await);
    source.make_shop(20_000);
    let closed = gpg(PASSPHRASE, &source.dump("shop", &["-Fc"]));
    let artifact = artifact(&server, "postgres/shop.dump.gpg", &closed, passphrase()).await;
    let restoration = target.restoration(target.spec(), 1, &artifact.label);
    assert_eq!(
        restoration
            .observe()
            .await
            .unwrap()
            .stand
            .observation(&restoration.staged()),
        Observation::Absent
    );

    let stop = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let stop = stop.clone();
        move || watch_for(&["canary passphrase", "X-Amz-Signature"], &stop)
    });
    let mut heard = Heard::default();
    let report = restoration
        .stage(&artifact, Some(Form::Custom), SOON, &mut heard)
        .await
        .unwrap();
    stop.store(true, Ordering::Relaxed);
    let (looks, seen) = watcher.join().unwrap();
    assert!(looks > 20, "looked only {looks} times");
    assert_eq!(seen, Vec::<String>::new(), "a secret was seen in /proc");
    for phase in ["fetch", "decode", "restore"] {
        let counted = heard.counted.iter().any(|one| one == phase);
        assert!(counted, "{phase}: {:?}", heard.counted);
    }
    let log = heard.log.join("\n");
    assert!(!log.contains("canary") && !log.contains("X-Amz"), "{log}");

    assert_eq!(
        heard.phases,
        [
            "prepare", "fetch", "decode", "inspect", "create", "restore", "analyze"
        ]
    );
    assert_eq!(report.facts["form"], "custom");
    assert_eq!(Some(&report.facts["sha256"]), artifact.sha256.as_ref());
    assert!(
        report.facts["dumped_from"].starts_with("15."),
        "{:?}",
        report.facts
    );
    assert!(report.facts.contains_key("milliseconds.restore"));
    assert!(
        report
            .notes
            .iter()
            .any(|n| n.contains("reader") && n.contains("Odd \"Role")),
        "{:?}",
        report.notes
    );
    assert!(
        report.notes.iter().any(|n| n.contains("the owner shop")),
        "{:?}",
        report.notes
    );

    let seen = restoration.observe().await.unwrap();
    assert_eq!(seen.stand, Stand::Ready);
    assert!(
        seen.live.is_none(),
        "the live name was touched before the swap"
    );
    let staged = restoration.names().staged.clone();
    let psql = restoration.psql();
    let inventory = psql.inventory(&staged, SOON).await.unwrap();
    assert_eq!(inventory.tables, 3);
    assert_eq!(
        (inventory.invalid_indexes.len(), inventory.behind.len()),
        (0, 0),
        "{inventory:?}"
    );
    inventory.judge(&staged).unwrap();
    let rows = Expectation::parse("= 20000").unwrap();
    let copy: Box<dyn DataCopy> = restoration.copy(false);
    copy.expect(&Question::new("select count(*) from orders"), &rows)
        .await
        .unwrap();
    let lost = "2026-11-20T05:43:20Z".parse().unwrap();
    let newest = copy
        .newest(
            &Question::new("select max(created_at) from orders -- the newest"),
            None,
            lost,
        )
        .await
        .unwrap();
    assert_eq!(newest.at.to_string(), "2026-11-20T05:33:20Z");
    assert_eq!(
        (newest.age, newest.zone),
        (Duration::from_secs(600), ZoneFrom::TheValue)
    );

    assert_eq!(restoration.swap(&mut Silent).await.unwrap(), None);
    assert_eq!(restoration.observe().await.unwrap().stand, Stand::Live);
    assert_eq!(source.fingerprint("shop"), target.fingerprint("shop"));
    assert_eq!(target.databases(), ["shop"]);
    assert_eq!(owners(&target), "shop");
    assert_eq!(
        target.sql(
            "postgres",
            "select rolname from pg_roles where rolname !~ '^pg_' order by 1"
        ),
        "postgres\nshop"
    );
    assert_eq!(target.sql("shop", "select extname, pg_get_userbyid(extowner) from pg_extension where extname in ('pgcrypto', 'dblink') order by 1"), "dblink|postgres\npgcrypto|postgres");
    let left: Vec<_> = std::fs::read_dir(target.staging()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_dumps_come_back_equal_in_every_wrapping() {
    let (source, server) = (Cluster::start(), Server::start().await);
    source.make_shop(500);
    let plain = source.dump("shop", &[]);
    let bare = source.dump("shop", &["--no-owner", "--no-acl"]);
    let inserts = source.dump("shop", &["--inserts"]);
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("identity");
    assert!(
        Command::new("age-keygen")
            .arg("-o")
            .arg(&identity)
            .output()
            .unwrap()
            .status
            .success()
    );
    let identity = std::fs::read_to_string(identity).unwrap();
    let recipient = identity
        .lines()
        .find_map(|l| l.strip_prefix("# public key: "))
        .unwrap();
    let gzip = |content: &[u8]| through(Command::new("gzip").arg("-c"), content);
    let zstd = |content: &[u8]| through(Command::new("zstd").args(["-q", "-c"]), content);
    let age = |content: &[u8]| through(Command::new("age").args(["-r", recipient]), content);
    let age_key = || Some(Key::AgeIdentity(Secret::new(identity.clone())));
    let cases: Vec<(&str, Vec<u8>, Option<Key>)> = vec![
        ("none", plain.clone(), None),
        ("gzip", gzip(&plain), None),
        ("gzip.gpg", gpg(PASSPHRASE, &gzip(&plain)), passphrase()),
        ("zstd.age", age(&zstd(&bare)), age_key()),
        ("inserts.gpg", gpg(PASSPHRASE, &inserts), passphrase()),
        (
            "custom.gz.age",
            age(&gzip(&source.dump("shop", &["-Fc", "-Z0"]))),
            age_key(),
        ),
    ];
    let target = Cluster::start();
    for (name, content, key) in cases {
        let artifact = artifact(&server, &format!("{name}/shop"), &content, key).await;
        let mut heard = Heard::default();
        let restoration = target.fresh(target.spec(), &artifact.label);
        let report = restoration
            .stage(&artifact, Some(Form::Plain), SOON, &mut heard)
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure}\n{}", heard.log.join("\n")));
        restoration.swap(&mut heard).await.unwrap();
        assert_eq!(
            source.fingerprint("shop"),
            target.fingerprint("shop"),
            "{name}"
        );
        assert_eq!(owners(&target), "shop", "{name}");
        assert_eq!(
            report.notes.iter().any(|n| n.contains("content decides")),
            name.starts_with("custom")
        );
        target.sql("postgres", "drop database shop");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_folder_is_streamed_to_the_host() {
    let (source, target) = (Cluster::start(), Cluster::start());
    source.make_shop(500);
    let folder = tempfile::tempdir().unwrap();
    // More than one piece.
    source.sql("shop", "create table large as select i, ext.gen_random_bytes(1000) from generate_series(1, 20000) i");
    let closed = gpg(PASSPHRASE, &source.dump("shop", &["-Fc"]));
    assert!(closed.len() > 17 * 1024 * 1024, "{}", closed.len());
    std::fs::write(folder.path().join("shop.gpg"), &closed).unwrap();
    let store = LocalStore::new("nas", folder.path()).unwrap();
    let spec = target.spec();
    let bytes = closed.len() as u64;
    let deliver_it = || {
        deliver(
            &store,
            "shop.gpg",
            bytes,
            target.host.as_ref(),
            Some("postgres"),
            spec.site.folder.as_deref(),
            SOON,
        )
    };
    deliver_it().await.unwrap();
    // Once more, as after a broken connection: what is there is not sent again.
    let source_of_bytes = deliver_it().await.unwrap();
    let artifact = Artifact {
        label: "nas:shop.gpg".into(),
        bytes,
        sha256: None,
        source: source_of_bytes,
        key: passphrase(),
    };
    let (report, _) = restore(&target, &artifact, Form::Custom).await.unwrap();
    assert_eq!(report.facts["form"], "custom");
    assert_eq!(source.fingerprint("shop"), target.fingerprint("shop"));
}

/// Reads every process's arguments and environment until told to stop; gives back how often, and where a word was seen.
fn watch_for(words: &[&str], stop: &AtomicBool) -> (usize, Vec<String>) {
    let mut looks = 0;
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        looks += 1;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            if !entry
                .file_name()
                .to_string_lossy()
                .bytes()
                .all(|b| b.is_ascii_digit())
            {
                continue;
            }
            for file in ["cmdline", "environ"] {
                let Ok(content) = std::fs::read(entry.path().join(file)) else {
                    continue;
                };
                let text = String::from_utf8_lossy(&content);
                if let Some(word) = words.iter().find(|word| text.contains(**word)) {
                    seen.push(format!(
                        "{word} in {}/{file}: {}",
                        entry.path().display(),
                        text.replace('\0', " ")
                    ));
                }
            }
        }
    }
    (looks, seen)
}
