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

/// What a person may have in their own file, any of which could vouch for another key or lend another connection.
fn person_file(sshd: &Sshd, part: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let show = sshd.path("show-key");
    let line = format!("*,* {}", sshd.public("host"));
    std::fs::write(&show, format!("#!/bin/sh\ncat <<'END'\n{line}\nEND\n")).unwrap();
    std::fs::set_permissions(&show, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(sshd.path("their-known"), &line).unwrap();
    let at = |name: &str| sshd.path(name).display().to_string();
    let all = [
        ("command", format!("KnownHostsCommand {}", at("show-key"))),
        ("localhost", "NoHostAuthenticationForLocalhost yes".into()),
        (
            "control",
            format!("ControlMaster auto\nControlPath {}", at("their-master")),
        ),
        ("dns", "VerifyHostKeyDNS yes".into()),
        (
            "files",
            format!(
                "StrictHostKeyChecking no\nUserKnownHostsFile {0}\nGlobalKnownHostsFile {0}\n\
                 HostKeyAlias theirs\nUpdateHostKeys yes\nCanonicalizeHostname always",
                at("their-known")
            ),
        ),
    ];
    let lines: Vec<&str> = all
        .iter()
        .filter(|(name, _)| part == "all" || part == *name)
        .map(|(_, line)| line.as_str())
        .collect();
    assert!(!lines.is_empty(), "{part}");
    let file = sshd.path(&format!("person-{part}"));
    std::fs::write(&file, format!("Host *\n{}\n", lines.join("\n"))).unwrap();
    file
}

/// Types what `dr-plan ssh` would, with this file as the person's own. Whether it got in, and what ssh said.
async fn types(
    ssh: &dr_plan::transport::Ssh,
    person: &std::path::Path,
    without: &[&str],
) -> (bool, String) {
    let argv = ssh.login().await.unwrap();
    let config = std::path::PathBuf::from(&argv[2]);
    let theirs = "~/.ssh/config /etc/ssh/ssh_config";
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(theirs), "{text}");
    let text: String = text
        .replace(theirs, &person.display().to_string())
        .lines()
        .filter(|line| !without.iter().any(|word| line.contains(word)))
        .map(|line| format!("{line}\n"))
        .collect();
    let own = config.with_extension("typed");
    std::fs::write(&own, text).unwrap();
    let mut words: Vec<_> = argv[1..].to_vec();
    words[1] = own.into_os_string();
    let mut command = tokio::process::Command::new(&argv[0]);
    command
        .args(words)
        .arg("echo in")
        .env_remove("SSH_AUTH_SOCK")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(SOON, command.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.stdout == b"in\n", said)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_persons_own_file_stands_in_for_the_pinned_key() {
    let sshd = Sshd::start("");
    // A connection that the person has open, under a key that they trust.
    let master = sshd.path("their-master");
    let their_own = ["-M", "-N", "-T", "-F", "/dev/null", "-o", "BatchMode=yes"];
    let mut theirs = std::process::Command::new("ssh")
        .args(their_own)
        .args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ])
        .args(["-o", "IdentitiesOnly=yes", "-i"])
        .arg(sshd.path("user"))
        .arg("-S")
        .arg(&master)
        .args(["-p", &sshd.port.to_string()])
        .arg(format!("{}@127.0.0.1", super::sshd::whoami()))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the person's own connection", || master.exists());

    let wrong_line = format!("[127.0.0.1]:{} {}", sshd.port, sshd.public("other"));
    std::fs::write(sshd.path("known"), wrong_line).unwrap();
    let mut settings = sshd.settings();
    settings.person_config = true;
    for pin in [
        Pin::Keys(vec![sshd.public("other")]),
        Pin::Files(vec![sshd.path("known")]),
    ] {
        settings.known_hosts = pin;
        let wrong = dr_plan::transport::Ssh::new(settings.clone());
        for part in ["command", "localhost", "control", "dns", "files", "all"] {
            let person = person_file(&sshd, part);
            let (got_in, said) = types(&wrong, &person, &[]).await;
            assert!(!got_in, "{part}: {said}");
            assert!(
                said.contains("Host key verification failed"),
                "{part}: {said}"
            );
        }
        // Each of these would be a way in, if our own words did not stand before it.
        for (part, ours) in [
            ("command", "KnownHostsCommand"),
            ("localhost", "NoHostAuthenticationForLocalhost"),
            ("control", "ControlPath"),
        ] {
            // ssh_config(5): it holds only where no alias is set, as it is for a key of ours.
            if part == "localhost" && matches!(settings.known_hosts, Pin::Keys(_)) {
                continue;
            }
            let (got_in, said) = types(&wrong, &person_file(&sshd, part), &[ours]).await;
            assert!(
                got_in,
                "{part} is no way in, so the test shows nothing: {said}"
            );
        }
    }
    settings.known_hosts = Pin::Keys(vec![sshd.public("host")]);
    let right = dr_plan::transport::Ssh::new(settings);
    let (got_in, said) = types(&right, &person_file(&sshd, "all"), &[]).await;
    assert!(got_in, "{said}");
    let _ = theirs.kill();
    let _ = theirs.wait();
}
