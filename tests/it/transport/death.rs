//! What is left when a connection, the local ssh or we ourselves are killed.

use std::time::Duration;

use dr_plan::transport::{Pin, Script, Transport, TransportError};

use super::sshd::{Sshd, children, lives, pid_in, until};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_lost_and_the_next_call_makes_a_new_one() {
    let sshd = Sshd::start("");
    let ssh = sshd.ssh();
    let note = sshd.path("pid");
    let script = Script::new("echo $$ >\"$DR_NOTE\"; echo halfway; sleep 100")
        .value("NOTE", note.display().to_string());
    let cut = async {
        let pid = tokio::task::spawn_blocking({
            let note = note.clone();
            move || pid_in(&note)
        });
        let pid = pid.await.unwrap();
        sshd.cut();
        pid
    };
    let (answer, pid) = tokio::join!(ssh.leashed(&script, SOON), cut);
    let error = answer.unwrap_err();
    assert!(matches!(error, TransportError::Lost { .. }), "{error}");
    until("the script to end", || !lives(pid));
    assert!(ssh.leashed(&Script::new(":"), SOON).await.unwrap().ok());
    // An idle connection that died is no error at all.
    sshd.cut();
    assert!(ssh.leashed(&Script::new(":"), SOON).await.unwrap().ok());
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_to_be_killed() {
    let Ok(settings) = std::env::var("DR_TEST_CLIENT") else {
        println!("not applicable: only as a child of another test");
        return;
    };
    let words: Vec<&str> = settings.split(' ').collect();
    let folder = std::path::PathBuf::from(words[0]);
    let ssh = dr_plan::transport::Ssh::with_root(
        dr_plan::transport::SshSettings {
            host: "web".into(),
            address: "127.0.0.1".into(),
            port: words[1].parse().ok(),
            user: Some(super::sshd::whoami()),
            key: Some(folder.join("user")),
            known_hosts: Pin::Keys(vec![
                std::fs::read_to_string(folder.join("host.pub")).unwrap(),
            ]),
            jump: None,
            folder: folder.join("client"),
            person_config: false,
        },
        &folder.join("jobs").display().to_string(),
    );
    let note = |name: &str| folder.join(name).display().to_string();
    let detached = Script::new(
        "echo $$ >\"$DR_NOTE\"; while [ ! -e \"$DR_GO\" ]; do sleep 0.05; done; echo went on",
    )
    .value("NOTE", note("detached"))
    .value("GO", note("go"));
    ssh.start(&super::job("survivor"), &detached, SOON * 10)
        .await
        .unwrap();
    let leashed =
        Script::new("trap '' TERM; sleep 1000 & echo $! >\"$DR_NOTE\"; while :; do wait; done")
            .value("NOTE", note("leashed"));
    let _ = ssh.leashed(&leashed, SOON * 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_we_are_killed_a_leashed_script_ends_and_a_detached_job_goes_on() {
    let sshd = Sshd::start("");
    let mut client = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "transport::death::a_client_to_be_killed",
            "--nocapture",
        ])
        .env(
            "DR_TEST_CLIENT",
            format!("{} {}", sshd.folder.path().display(), sshd.port),
        )
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let leashed = pid_in(&sshd.path("leashed"));
    let detached = pid_in(&sshd.path("detached"));
    let masters = children(client.id() as i32);
    assert!(!masters.is_empty());
    client.kill().unwrap();
    client.wait().unwrap();
    let before = std::time::Instant::now();
    until("the leashed script to end", || !lives(leashed));
    println!("gone {:?} after the SIGKILL", before.elapsed());
    until("the ssh master to end", || {
        masters.iter().all(|pid| !lives(*pid))
    });
    assert!(lives(detached));
    std::fs::write(sshd.path("go"), "").unwrap();
    let ssh = sshd.ssh();
    let mut log = String::new();
    let mut on_log = |text: &str| log.push_str(text);
    let survivor = super::job("survivor");
    let end = dr_plan::transport::attach_job(&ssh, &survivor, SOON, &mut on_log).await;
    let end = end.unwrap();
    assert!(
        matches!(end, dr_plan::transport::JobState::Exited { status: 0, .. }),
        "{end:?}"
    );
    assert_eq!(log, "went on\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_local_ssh_costs_one_deadline_and_is_replaced() {
    let sshd = Sshd::start("");
    let ssh = sshd.ssh();
    assert!(ssh.leashed(&Script::new(":"), SOON).await.unwrap().ok());
    let socket = std::fs::read_dir(sshd.path("ssh"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("m"))
        .find(|path| path.exists())
        .unwrap();
    let master = children(std::process::id() as i32)
        .into_iter()
        .find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains(&socket.display().to_string()))
        })
        .unwrap();
    let stop = rustix::process::Pid::from_raw(master).unwrap();
    rustix::process::kill_process(stop, rustix::process::Signal::STOP).unwrap();
    let short = Duration::from_secs(1);
    let error = ssh.leashed(&Script::new(":"), short).await.unwrap_err();
    assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
    assert!(ssh.leashed(&Script::new(":"), SOON).await.unwrap().ok());
    assert!(!lives(master));
}
