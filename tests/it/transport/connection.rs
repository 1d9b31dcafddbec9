//! Who is spoken to: host keys, logins, jumps, sessions.

use std::time::Duration;

use dr_plan::transport::{Pin, Script, Transport, TransportError};

use super::sshd::{Sshd, until};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_host_key_sends_nothing_and_a_new_pin_opens_the_door() {
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.known_hosts = Pin::Keys(vec![sshd.public("other")]);
    let ssh = dr_plan::transport::Ssh::with_root(settings, &sshd.jobs());
    let error = ssh.leashed(&Script::new(":"), SOON).await.unwrap_err();
    assert!(matches!(error, TransportError::WrongKey { .. }), "{error}");
    until("the connection to be in the log", || {
        sshd.log().contains("Connection closed")
    });
    let log = sshd.log();
    for sign in [
        "Accepted",
        "Failed",
        "publickey",
        "authenticating",
        "Invalid user",
    ] {
        assert!(!log.contains(sign), "{log}");
    }
    ssh.set_pins(vec![sshd.public("host")]).await.unwrap();
    assert!(ssh.leashed(&Script::new(":"), SOON).await.unwrap().ok());
    // The key is rotated: the old one is refused from the next connection on.
    ssh.set_pins(vec![sshd.public("other")]).await.unwrap();
    let error = ssh.leashed(&Script::new(":"), SOON).await.unwrap_err();
    assert!(matches!(error, TransportError::WrongKey { .. }), "{error}");
    assert!(ssh.set_pins(vec!["nonsense".into()]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_denied_and_a_closed_port_is_unreachable() {
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.key = Some(sshd.path("other"));
    let stranger = dr_plan::transport::Ssh::new(settings.clone());
    let error = stranger.leashed(&Script::new(":"), SOON).await.unwrap_err();
    assert!(matches!(error, TransportError::Denied { .. }), "{error}");
    settings.port = Some(super::sshd::free_port());
    let nobody = dr_plan::transport::Ssh::new(settings);
    let error = nobody.leashed(&Script::new(":"), SOON).await.unwrap_err();
    assert!(
        matches!(error, TransportError::Unreachable { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_hosts_file_pins_too() {
    let sshd = Sshd::start("");
    let line = format!("[127.0.0.1]:{} {}", sshd.port, sshd.public("host"));
    std::fs::write(sshd.path("known"), line).unwrap();
    let mut settings = sshd.settings();
    settings.known_hosts = Pin::Files(vec![sshd.path("known")]);
    let ssh = dr_plan::transport::Ssh::new(settings.clone());
    assert!(ssh.leashed(&Script::new(":"), SOON).await.unwrap().ok());
    std::fs::write(sshd.path("known"), "").unwrap();
    let ssh = dr_plan::transport::Ssh::new(settings);
    let error = ssh.leashed(&Script::new(":"), SOON).await.unwrap_err();
    assert!(matches!(error, TransportError::WrongKey { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_behind_another_is_reached_through_it() {
    let sshd = Sshd::start("");
    let inner = Sshd::start("");
    let lines = [&sshd, &inner]
        .map(|sshd| format!("[127.0.0.1]:{} {}", sshd.port, sshd.public("host")))
        .concat();
    std::fs::write(inner.path("known"), lines).unwrap();
    // The key opens the jump host too.
    std::fs::copy(inner.path("user.pub"), sshd.path("authorized")).unwrap();
    let mut settings = inner.settings();
    // Another name for the same address, so that the block of the one is not that of the other.
    settings.address = "localhost".into();
    settings.jump = Some(format!("{}@127.0.0.1:{}", super::sshd::whoami(), sshd.port));
    settings.known_hosts = Pin::Files(vec![inner.path("known")]);
    let line = format!("[localhost]:{} {}", inner.port, inner.public("host"));
    let known = std::fs::read_to_string(inner.path("known")).unwrap() + &line;
    std::fs::write(inner.path("known"), known).unwrap();
    let ssh = dr_plan::transport::Ssh::new(settings.clone());
    let answer = ssh
        .leashed(&Script::new("echo through"), SOON)
        .await
        .unwrap();
    assert_eq!(answer.stdout, "through\n");
    assert!(sshd.log().contains("Accepted publickey"));
    // A jump host that nobody vouches for is not used, and the host behind it is not asked directly.
    std::fs::write(inner.path("known"), line).unwrap();
    let before = inner.log().matches("Connection from").count();
    let ssh = dr_plan::transport::Ssh::new(settings);
    let error = ssh.leashed(&Script::new(":"), SOON).await.unwrap_err();
    assert!(matches!(error, TransportError::WrongKey { .. }), "{error}");
    assert_eq!(inner.log().matches("Connection from").count(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_sessions_on_the_server_mean_waiting_and_not_failing() {
    let sshd = Sshd::start("MaxSessions 3");
    let ssh = sshd.ssh();
    let script = Script::new("sleep 0.2; echo $DR_N");
    let calls = (0..6).map(|n| {
        let script = script.clone().value("N", n.to_string());
        let ssh = &ssh;
        async move { ssh.leashed(&script, SOON).await.map(|answer| answer.stdout) }
    });
    for (n, said) in futures::future::join_all(calls)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(said.unwrap(), format!("{n}\n"));
    }
    let log = sshd.log();
    assert_eq!(log.matches("Accepted publickey").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_folder_with_a_long_path_is_no_obstacle() {
    let sshd = Sshd::start("");
    let mut settings = sshd.settings();
    settings.folder = sshd.path(&format!("{}/{}", "long".repeat(20), "deep".repeat(20)));
    let ssh = dr_plan::transport::Ssh::new(settings);
    assert!(ssh.leashed(&Script::new(":"), SOON).await.unwrap().ok());
}
