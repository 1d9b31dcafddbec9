//! Trees of files on this machine, with the real tar: what an archive may not do, what it brings back, and every way back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use dr_plan::codec::Form;
use dr_plan::dataset::files::{Restoration, Spec};
use dr_plan::dataset::{Question, Restore, Silent, Stand};
use dr_plan::ids::StepId;
use dr_plan::kind::{Failure, Reason};
use dr_plan::transport::Local;

use super::cluster::run;
use super::doubles::this_machine;
use super::roundtrip::{SOON, artifact};
use super::server::Server;

struct Bench {
    folder: tempfile::TempDir,
    host: Arc<Local>,
    server: Server,
}

impl Bench {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            host: this_machine(folder.path()),
            server: Server::start().await,
            folder,
        }
    }

    fn live(&self) -> PathBuf {
        self.folder.path().join("srv/media")
    }

    fn restoration(&self, attempt: u32, backup: &str, replace: bool) -> Restoration {
        let spec = Spec {
            path: self.live().to_str().unwrap().into(),
            owner: None,
            within: None,
            replace,
            folder: Some(self.folder.path().join("state").to_str().unwrap().into()),
        };
        let step = StepId::new("restore-media").unwrap();
        Restoration::new(self.host.clone(), spec, run(), step, attempt, backup)
    }

    /// The bytes that a shell prints, in a folder with a tree.
    fn made(&self, script: &str) -> Vec<u8> {
        let place = self.folder.path().join("made");
        std::fs::create_dir_all(&place).unwrap();
        let output = Command::new("sh")
            .args(["-c", script])
            .current_dir(&place)
            .output()
            .unwrap();
        output.stdout
    }

    async fn stage(&self, attempt: u32, name: &str, content: &[u8]) -> Result<(), Failure> {
        let artifact = artifact(&self.server, name, content, None).await;
        let restoration = self.restoration(attempt, &artifact.label, true);
        let staged = restoration
            .stage(&artifact, Some(Form::Tar), SOON, &mut Silent)
            .await;
        staged.map(drop)
    }
}

/// Everything below a folder, but for what this test itself writes there.
fn list(folder: &Path) -> String {
    let output = Command::new("sh")
        .args([
            "-c",
            "find . -printf '%P|%y|%m|%U:%G|%s|%T@|%l|%n\\n' | sed '/^|/d' | sort",
        ])
        .current_dir(folder)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Only root gives files away, and a restore of files does.
pub(super) fn applicable() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!(
            "not applicable: files are given to their owners by root, and this is an ordinary user"
        );
    }
    root
}

fn member(name: &str, kind: char, link: &str, content: &[u8]) -> Vec<u8> {
    let mut head = [0u8; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..107].copy_from_slice(b"0000644");
    head[108..115].copy_from_slice(b"0000000");
    head[116..123].copy_from_slice(b"0000000");
    head[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    head[136..147].copy_from_slice(b"15000000000");
    head[148..156].copy_from_slice(b"        ");
    head[156] = kind as u8;
    head[157..157 + link.len()].copy_from_slice(link.as_bytes());
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut all = head.to_vec();
    all.extend(content);
    all.resize(all.len().next_multiple_of(512), 0);
    all
}

pub(super) fn file(name: &str) -> Vec<u8> {
    member(name, '0', "", b"x")
}

pub(super) fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut all = members.concat();
    all.resize(all.len() + 1024, 0);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn no_archive_leaves_its_folder_and_none_is_half() {
    if !applicable() {
        return;
    }
    let bench = Bench::start().await;
    let link = |name: &str, to: &str| member(name, '2', to, b"");
    let whole = archive(&[file("fine"), file("a/b")]);
    let cases: &[(&str, Vec<u8>, &str)] = &[
        (
            "absolute",
            archive(&[file("/etc/evil")]),
            "leads out of the folder",
        ),
        (
            "dots",
            archive(&[file("a/../../evil")]),
            "leads out of the folder",
        ),
        (
            "to-dots",
            archive(&[file("a/..")]),
            "leads out of the folder",
        ),
        (
            "absolute-link",
            archive(&[file("fine"), link("a", "/etc")]),
            "out of the folder",
        ),
        (
            "through-link",
            archive(&[file("d/x"), link("a", "d"), file("a/evil")]),
            "goes through the link",
        ),
        (
            "upwards",
            archive(&[file("fine"), link("b/up", "../../etc")]),
            "out of the folder",
        ),
        // Each of the two looks harmless by itself.
        (
            "two-links",
            archive(&[
                file("a/b/x"),
                link("a/b/up", "../.."),
                link("out", "a/b/up/.."),
            ]),
            "leads out of the folder",
        ),
        (
            "second-name",
            archive(&[file("fine"), member("passwd", '1', "/etc/passwd", b"")]),
            "second name",
        ),
        (
            "second-name-of-link",
            archive(&[file("fine"), link("l", "fine"), member("h", '1', "l", b"")]),
            "second name",
        ),
        (
            "device",
            archive(&[file("fine"), member("null", '3', "", b"")]),
            "is a device",
        ),
        (
            "pipe",
            archive(&[file("fine"), member("pipe", '6', "", b"")]),
            "pipe",
        ),
        // tar itself finds no fault in one that was cut between two members.
        ("cut", whole[..1024].to_vec(), "the mark of its end"),
        ("half", whole[..1100].to_vec(), "cut"),
        (
            "nothing",
            [file("fine"), vec![0; 512]].concat()[..512].to_vec(),
            "cut",
        ),
        (
            "two",
            [whole.clone(), whole.clone()].concat(),
            "follows the end",
        ),
        (
            "no-file",
            archive(&[member("d/", '5', "", b"")]),
            "no file in the archive",
        ),
        (
            "other",
            b"REDIS0010 and more, which is no archive".to_vec(),
            "no tar archive",
        ),
    ];
    let before = list(Path::new("/etc"));
    for (number, (name, content, words)) in cases.iter().enumerate() {
        let failure = bench
            .stage(number as u32 + 1, name, content)
            .await
            .expect_err(name);
        assert_eq!(failure.reason, Reason::Damaged, "{name}: {failure}");
        assert!(failure.message.contains(words), "{name}: {failure}");
        assert!(!bench.live().exists(), "{name}");
    }
    assert_eq!(
        before,
        list(Path::new("/etc")),
        "an archive has left its folder"
    );
    let left: Vec<_> = std::fs::read_dir(bench.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(".tmp"))
        .collect();
    assert!(
        left.iter()
            .all(|name| ["srv", "state"].contains(&name.as_str())),
        "{left:?}"
    );
    bench.stage(100, "whole", &whole).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_swapped_in_taken_back_and_let_go_of() {
    if !applicable() {
        return;
    }
    let bench = Bench::start().await;
    let packed = bench.made(
        "mkdir -p deep/er; printf a > 'a \"b\"'; printf '%s' \"$(head -c 90000 /dev/urandom | od)\" > deep/er/large; \
         ln 'a \"b\"' deep/second; ln -s '../a \"b\"' deep/link; touch 'two
lines'; truncate -s 2M deep/holes; chown 33:44 deep/er/large; chmod 2711 deep; \
         touch -d 2026-01-02T03:04:05.25Z deep/er/large; touch -d 2026-01-02T03:04:06Z deep/er deep .; \
         tar --format=posix -Scf - . | gzip",
    );
    let made = list(&bench.folder.path().join("made"));
    std::fs::create_dir_all(bench.live()).unwrap();
    std::fs::write(bench.live().join("precious"), "mine").unwrap();
    let artifact = artifact(&bench.server, "media.tar.gz", &packed, None).await;

    let careful = bench.restoration(1, &artifact.label, false);
    let Stand::Foreign { what } = careful.stand().await.unwrap() else {
        panic!("files of others were not seen")
    };
    assert!(what.contains("srv/media"), "{what}");
    let refused = careful
        .stage(&artifact, None, SOON, &mut Silent)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::Refused, "{refused}");
    assert!(
        bench
            .server
            .asked()
            .iter()
            .all(|asked| !asked.contains("media.tar.gz")),
        "it was fetched all the same"
    );

    let one = bench.restoration(2, &artifact.label, true);
    assert_eq!(one.stand().await.unwrap(), Stand::Absent);
    one.stage(&artifact, Some(Form::Tar), SOON, &mut Silent)
        .await
        .unwrap();
    assert_eq!(one.stand().await.unwrap(), Stand::Ready);
    assert_eq!(
        std::fs::read(bench.live().join("precious")).unwrap(),
        b"mine"
    );
    let staged = one.copy(false);
    let ask = async |words: &str| staged.value(&Question::new(words)).await.unwrap().unwrap();
    assert_eq!(ask("files").await, "5");
    assert_eq!(ask("present deep/second").await, "yes");
    assert_eq!(ask("present deep").await, "no");
    drop(staged);
    let kept = one.swap(&mut Silent).await.unwrap().unwrap();
    assert_eq!(one.stand().await.unwrap(), Stand::Live);
    assert_eq!(list(&bench.live()), made);
    assert_eq!(
        std::fs::read(Path::new(&kept).join("precious")).unwrap(),
        b"mine"
    );
    let way = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(bench.live().parent().unwrap())
            .unwrap()
            .permissions(),
    );
    assert_eq!(way & 0o777, 0o755, "others come to the files");
    // Said twice, done once.
    one.swap(&mut Silent).await.unwrap();

    std::fs::write(bench.live().join("since"), "written since").unwrap();
    let two = bench.restoration(3, &artifact.label, true);
    two.swap_back(&mut Silent).await.unwrap();
    assert_eq!(
        std::fs::read(bench.live().join("precious")).unwrap(),
        b"mine"
    );
    assert_eq!(two.stand().await.unwrap(), Stand::Ready);
    two.swap(&mut Silent).await.unwrap();
    assert_eq!(
        std::fs::read(bench.live().join("since")).unwrap(),
        b"written since"
    );

    // A release that is cut short, as it leaves things: half of what was there before is never put back for the whole.
    let mark = bench.folder.path().join("state/mark");
    let words = std::fs::read_to_string(&mark).unwrap();
    std::fs::write(&mark, words.replace("state=live", "state=released")).unwrap();
    let gone = format!("{kept}.gone");
    std::fs::rename(&kept, &gone).unwrap();
    std::fs::remove_file(Path::new(&gone).join("precious")).unwrap();
    let live = list(&bench.live());
    let half = bench.restoration(4, &artifact.label, true);
    assert_eq!(half.stand().await.unwrap(), Stand::Live);
    let refused = half.swap_back(&mut Silent).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Refused, "{refused}");
    assert!(refused.message.contains("let go of"), "{refused}");
    assert_eq!(list(&bench.live()), live);
    assert!(half.kept(&kept).await.unwrap().is_some());
    half.release(&mut Silent).await.unwrap();
    assert!(!Path::new(&kept).exists() && !Path::new(&gone).exists());
    assert_eq!(half.kept(&kept).await.unwrap(), None);

    let three = bench.restoration(5, &artifact.label, true);
    assert_eq!(three.stand().await.unwrap(), Stand::Live);
    three.swap(&mut Silent).await.unwrap();
    let refused = three.swap_back(&mut Silent).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Refused, "{refused}");
    assert_eq!(list(&bench.live()), live);
    // Somebody else's folder in its place is not taken for ours.
    std::fs::rename(bench.live(), bench.folder.path().join("srv/away")).unwrap();
    std::fs::create_dir(bench.live()).unwrap();
    assert!(matches!(
        three.stand().await.unwrap(),
        Stand::Foreign { .. }
    ));
}
