//! What must never be applied: cut, changed, closed with another key, empty, of another kind. The target stays untouched.

use std::process::Command;

use dr_plan::codec::{Form, Key};
use dr_plan::dataset::Artifact;
use dr_plan::dataset::Stand;
use dr_plan::dataset::postgres::MissingRoles;
use dr_plan::kind::{Failure, Reason};
use dr_plan::secret::Secret;

use super::cluster::{Cluster, gpg_quick as gpg, through};
use super::roundtrip::{Heard, PASSPHRASE, SOON, artifact, passphrase};
use super::server::Server;

async fn refused(target: &Cluster, artifact: &Artifact, what: &str) -> Failure {
    let restoration = target.fresh(target.spec(), &artifact.label);
    let mut heard = Heard::default();
    let failure = match restoration
        .stage(artifact, Some(Form::Custom), SOON, &mut heard)
        .await
    {
        Ok(report) => panic!("{what} was accepted: {report:?}"),
        Err(failure) => failure,
    };
    let stand = restoration.observe().await.unwrap().stand;
    assert!(
        matches!(stand, Stand::Absent | Stand::Staging),
        "{what}: {stand:?}"
    );
    assert!(!target.databases().contains(&"shop".to_string()), "{what}");
    failure
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_cut_anywhere_and_closed_correctly_is_refused() {
    let (source, target, server) = (Cluster::start(), Cluster::start(), Server::start().await);
    source.make_shop(300);
    let custom = source.dump("shop", &["-Fc", "-Z0"]);
    let plain = source.dump("shop", &[]);
    let gzip = |content: &[u8]| through(Command::new("gzip").arg("-c"), content);

    let cuts: Vec<usize> = (1..12)
        .map(|n| custom.len() * n / 12)
        .chain([custom.len() - 1, custom.len() - 5, custom.len() - 6])
        .collect();
    for cut in cuts {
        let closed = gpg(PASSPHRASE, &custom[..cut]);
        let artifact = artifact(&server, "custom", &closed, passphrase()).await;
        let failure = refused(
            &target,
            &artifact,
            &format!("custom cut at {cut} of {}", custom.len()),
        )
        .await;
        assert_eq!(failure.reason, Reason::Damaged, "{failure}");
    }
    // Statement boundaries: behind each `;` and each end of COPY data.
    let text = String::from_utf8(plain.clone()).unwrap();
    let mut at = 0;
    let mut boundaries = Vec::new();
    for line in text.split_inclusive('\n') {
        at += line.len();
        if at < text.len() && (line.ends_with(";\n") || line == "\\.\n") {
            boundaries.push(at);
        }
    }
    // Behind the last statement only comments follow: there the trailer alone is missing.
    assert!(boundaries.len() > 60, "{}", boundaries.len());
    let complete = |text: &str| {
        let facts = include_str!("../../../src/dataset/postgres/facts.awk");
        let said = through(Command::new("awk").arg(facts), text.as_bytes());
        String::from_utf8(said)
            .unwrap()
            .lines()
            .any(|line| line == "complete")
    };
    assert!(complete(&text));
    for cut in &boundaries {
        assert!(!complete(&text[..*cut]), "a cut at {cut} was not seen");
    }
    for cut in boundaries.iter().step_by(boundaries.len() / 6) {
        let closed = gpg(PASSPHRASE, &gzip(&plain[..*cut]));
        let artifact = artifact(&server, "plain", &closed, passphrase()).await;
        let failure = refused(&target, &artifact, &format!("plain cut at {cut}")).await;
        assert_eq!(failure.reason, Reason::Damaged, "{failure}");
        assert!(failure.message.contains("is missing"), "{failure}");
    }
    assert_eq!(target.databases(), Vec::<String>::new());
    let swap = target
        .fresh(target.spec(), "vault:plain")
        .swap(&mut Heard::default())
        .await;
    assert_eq!(swap.unwrap_err().reason, Reason::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_or_wrong_bytes_are_refused_before_anything_is_made() {
    let (source, target, server) = (Cluster::start(), Cluster::start(), Server::start().await);
    source.make_shop(300);
    let plain = source.dump("shop", &[]);
    let gzip = |content: &[u8]| through(Command::new("gzip").arg("-c"), content);
    let closed = gpg(PASSPHRASE, &plain);
    let without_manifest = |mut artifact: Artifact| {
        artifact.sha256 = None;
        artifact
    };

    for tenth in 0..10 {
        let mut flipped = closed.clone();
        let at = 20 + (flipped.len() - 40) * tenth / 10;
        flipped[at] ^= 0x10;
        let one = without_manifest(artifact(&server, "flipped", &flipped, passphrase()).await);
        let failure = refused(&target, &one, &format!("a flip at {at}")).await;
        assert_eq!(failure.reason, Reason::Damaged, "{failure}");
    }
    for keep in [closed.len() / 2, closed.len() - 1, closed.len() - 22] {
        let one = without_manifest(artifact(&server, "short", &closed[..keep], passphrase()).await);
        assert_eq!(
            refused(&target, &one, "a cut ciphertext").await.reason,
            Reason::Damaged
        );
    }
    let zipped = gzip(&plain);
    let mut broken = zipped.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 0x10;
    for content in [&zipped[..zipped.len() - 4], &broken] {
        let one = without_manifest(artifact(&server, "gzip", content, None).await);
        assert_eq!(
            refused(&target, &one, "a broken gzip").await.reason,
            Reason::Damaged
        );
    }

    let wrong = Some(Key::GpgPassphrase(Secret::new("another passphrase".into())));
    let one = artifact(&server, "key", &closed, wrong).await;
    let failure = refused(&target, &one, "a wrong passphrase").await;
    assert!(failure.message.contains("key does not open"), "{failure}");
    let one = artifact(&server, "nokey", &closed, None).await;
    assert_eq!(
        refused(&target, &one, "no key at all").await.reason,
        Reason::Denied
    );

    let mut one = artifact(&server, "hash", &closed, passphrase()).await;
    one.sha256 = Some("0".repeat(64));
    let failure = refused(&target, &one, "another hash").await;
    assert!(failure.message.contains("manifest says"), "{failure}");
    let mut one = artifact(&server, "size", &closed, passphrase()).await;
    one.bytes += 1;
    assert_eq!(
        refused(&target, &one, "a size that is not the listing's")
            .await
            .reason,
        Reason::Damaged
    );
    let mut one = artifact(&server, "size2", &closed, passphrase()).await;
    one.bytes -= 1;
    assert_eq!(
        refused(&target, &one, "more bytes than the listing's")
            .await
            .reason,
        Reason::Damaged
    );
    let mut one = artifact(&server, "gone", &closed, passphrase()).await;
    std::fs::remove_file(server.bucket().join("gone")).unwrap();
    one.sha256 = None;
    assert_eq!(
        refused(&target, &one, "a backup that is gone").await.reason,
        Reason::NotFound
    );

    for (name, content) in [
        ("empty inside", gpg(PASSPHRASE, b"")),
        ("a 20-byte gzip of nothing", gpg(PASSPHRASE, &gzip(b""))),
        ("a text", gpg(PASSPHRASE, b"select 1;\n")),
        (
            "a cluster dump",
            gpg(PASSPHRASE, b"--\n-- PostgreSQL database cluster dump\n--\n"),
        ),
    ] {
        let one = artifact(&server, "odd", &content, passphrase()).await;
        let failure = refused(&target, &one, name).await;
        assert!(
            matches!(failure.reason, Reason::Damaged | Reason::Refused),
            "{name}: {failure}"
        );
    }
    assert_eq!(target.databases(), Vec::<String>::new());
    let left: Vec<_> = walk(&target.staging());
    assert!(
        left.iter().all(|path| path.contains("/stored-")
            || path.ends_with("/lock")
            || path.ends_with("/said")),
        "plaintext was left: {left:?}"
    );
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            files.extend(walk(&entry.path()));
        } else {
            files.push(entry.path().display().to_string());
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dump_needs_is_said_before_anything_is_made() {
    let (source, target, server) = (Cluster::start(), Cluster::start(), Server::start().await);
    source.make_shop(20);
    let plain = String::from_utf8(source.dump("shop", &[])).unwrap();
    let cases = [
        (
            "--create",
            String::from_utf8(source.dump("shop", &["--create"])).unwrap(),
            Reason::Refused,
            "--create",
        ),
        (
            "a shell command",
            plain.replace(
                "CREATE TABLE public.orders",
                "\\! touch /tmp/dr-plan-was-here\nCREATE TABLE public.orders",
            ),
            Reason::Refused,
            "command for psql",
        ),
        (
            "an unknown extension",
            plain.replace(
                "CREATE EXTENSION IF NOT EXISTS dblink",
                "CREATE EXTENSION IF NOT EXISTS nowhere_to_be_found",
            ),
            Reason::NotFound,
            "nowhere_to_be_found",
        ),
        (
            "a newer server",
            plain.replace(
                "-- Dumped from database version 15",
                "-- Dumped from database version 99",
            ),
            Reason::Refused,
            "newer than this server",
        ),
        (
            "a newer pg_dump",
            plain.replace(
                "-- Dumped by pg_dump version 15",
                "-- Dumped by pg_dump version 99",
            ),
            Reason::Refused,
            "newer than this server",
        ),
        (
            "a statement that fails",
            plain.replace(
                "CREATE TABLE public.orders",
                "SELECT 1/0;\nCREATE TABLE public.orders",
            ),
            Reason::ExitCode,
            "division by zero",
        ),
    ];
    for (name, content, reason, words) in cases {
        assert_ne!(content, plain, "{name}");
        let one = artifact(&server, "needs", content.as_bytes(), None).await;
        let failure = refused(&target, &one, name).await;
        assert_eq!(failure.reason, reason, "{name}: {failure}");
        assert!(failure.message.contains(words), "{name}: {failure}");
    }
    assert!(!std::path::Path::new("/tmp/dr-plan-was-here").exists());

    let one = artifact(&server, "roles", plain.as_bytes(), None).await;
    let mut spec = target.spec();
    spec.missing_roles = MissingRoles::Refuse;
    let strict = target.fresh(spec, &one.label);
    let failure = strict
        .stage(&one, Some(Form::Plain), SOON, &mut Heard::default())
        .await
        .unwrap_err();
    assert_eq!(failure.reason, Reason::Refused);
    assert!(
        failure.message.contains("reader") && failure.message.contains("Odd \"Role"),
        "{failure}"
    );
}
