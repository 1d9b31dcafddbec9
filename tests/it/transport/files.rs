//! Files that arrive whole or not at all.

use std::time::Duration;

use dr_plan::transport::{Script, Transport, TransportError, Upload};

use super::Hosts;
use super::sshd::{Sshd, until};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_file_arrives_whole_with_its_owner_and_mode() {
    let hosts = Hosts::start();
    for (n, host) in hosts.both().into_iter().enumerate() {
        let to = hosts.sshd.path(&format!("it's a file{n}"));
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
        let mut file = Upload {
            content: content.clone().into(),
            to: to.display().to_string(),
            owner: None,
            mode: 0o640,
            keep: None,
        };
        host.put(&file).await.unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), content);
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        assert_eq!(to.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        file.content = bytes::Bytes::new();
        if rustix::process::geteuid().is_root() {
            file.owner = Some("nobody:daemon".into());
        }
        host.put(&file).await.unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"");
        if file.owner.is_some() {
            assert!(to.metadata().unwrap().uid() > 1);
        }
        file.owner = Some("no-such-user".into());
        file.content = "new".into();
        let error = host.put(&file).await.unwrap_err();
        assert!(matches!(error, TransportError::Failed { .. }), "{error}");
        assert_eq!(std::fs::read(&to).unwrap(), b"");
        file.to = hosts.sshd.path("nowhere/at/all").display().to_string();
        // What looks like a request and is not read must not be taken for one.
        file.content = bytes::Bytes::from("0123 9 direct\n: >evil#0123\n".repeat(1000));
        let error = host.put(&file).await.unwrap_err();
        assert!(error.to_string().contains("no folder"), "{error}");
        assert!(host.leashed(&Script::new(":"), SOON).await.unwrap().ok());
        let left: Vec<_> = std::fs::read_dir(hosts.sshd.folder.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.contains("dr-plan-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_replaces_is_kept_once_and_never_the_file_itself() {
    let hosts = Hosts::start();
    for (n, host) in hosts.both().into_iter().enumerate() {
        let to = hosts.sshd.path(&format!("made{n}/on the way/file"));
        let keep = hosts.sshd.path(&format!("kept{n}"));
        let read = |name: &str| std::fs::read_to_string(keep.join(name)).ok();
        let file = |content: &str| Upload {
            content: content.to_string().into(),
            to: to.display().to_string(),
            owner: None,
            mode: 0o640,
            keep: Some(keep.display().to_string()),
        };
        host.put(&file("first")).await.unwrap();
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "first");
        assert_eq!(
            (read("done"), read("previous")),
            (Some(String::new()), None)
        );
        host.put(&file("second")).await.unwrap();
        assert_eq!(read("previous"), None, "our own file is no old one");

        std::fs::remove_dir_all(&keep).unwrap();
        // A sender that died between the copy and its name.
        std::fs::create_dir(&keep).unwrap();
        std::fs::write(keep.join("previous.part"), "sec").unwrap();
        // And two at once, of which the slower one must not take the faster one's file for the old one.
        let (one, two) = (file("third"), file("third"));
        let (one, two) = tokio::join!(host.put(&one), host.put(&two));
        one.and(two).unwrap();
        assert_eq!(read("previous").as_deref(), Some("second"));
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "third");
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(to.parent().unwrap()), 0o755);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_cut_half_way_leaves_the_old_one() {
    let sshd = Sshd::start("");
    let ssh = sshd.ssh();
    let to = sshd.path("config");
    std::fs::write(&to, "old").unwrap();
    let file = Upload {
        content: vec![b'n'; 200_000_000].into(),
        to: to.display().to_string(),
        owner: None,
        mode: 0o600,
        keep: None,
    };
    let half = || {
        std::fs::read_dir(sshd.folder.path())
            .unwrap()
            .flatten()
            .find(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".config.dr-plan")
            })
            .and_then(|entry| entry.metadata().ok())
            .map_or(0, |data| data.len())
    };
    let cut = async {
        while half() < 1_000_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sshd.cut();
    };
    let (result, ()) = tokio::join!(ssh.put(&file), cut);
    let error = result.unwrap_err();
    assert!(matches!(error, TransportError::Lost { .. }), "{error}");
    until("the half file to be gone", || half() == 0);
    assert_eq!(std::fs::read(&to).unwrap(), b"old");
}
