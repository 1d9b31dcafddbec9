//! Detached jobs: they outlive us, run once, end when they must, and tell the truth.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dr_plan::secret::Secret;
use dr_plan::transport::{JobState, Local, Script, Transport, attach_job, run_job};

use super::sshd::{Sshd, children, kill, lives, pid_in, until};
use super::{Hosts, job};

const SOON: Duration = Duration::from_secs(30);
const CANARY: &str = "canary-5f3a'\"$x";

async fn end_of(host: &dyn Transport, step: &str, script: &Script) -> (JobState, String) {
    let mut log = String::new();
    let end = run_job(host, &job(step), script, SOON, &mut |text| {
        log.push_str(text)
    })
    .await;
    (end.unwrap(), log)
}

fn exited(status: i32) -> JobState {
    JobState::Exited {
        status,
        deadline: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_once_and_tells_its_true_status_and_log() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let host = host.as_ref();
        assert_eq!(host.look(&job("one")).await.unwrap(), JobState::Absent);
        let script = Script::new("echo to out $DR_A; echo to err >&2; printf unfinished; exit 255")
            .value("A", "it's");
        let (end, log) = end_of(host, "one", &script).await;
        assert_eq!(end, exited(255));
        assert_eq!(log, "to out it's\nto err\nunfinished");
        // Again: nothing runs, the same answer.
        let (end, log) = end_of(host, "one", &Script::new("echo other")).await;
        assert_eq!((end, log.lines().count()), (exited(255), 3));
        for (step, text, status) in [
            ("fails", "false; echo no", 1),
            ("killed", "kill -KILL $$", 137),
            ("asked", "kill -TERM $$", 143),
            ("interrupted", "sh -c 'kill -INT $$; exit 0'", 130),
            ("fine", "cat; test \"$(umask) $PWD\" = '0022 /'", 0),
        ] {
            let (end, _) = end_of(host, step, &Script::new(text)).await;
            assert_eq!(end, exited(status), "{step}");
        }
        let many = ["fails", "none", "one", "never", "killed"].map(job);
        let states = [
            exited(1),
            JobState::Absent,
            exited(255),
            JobState::Absent,
            exited(137),
        ];
        assert_eq!(host.look_all(&many).await.unwrap(), states);
        assert_eq!(host.look_all(&[]).await.unwrap(), []);
        host.end(&job("fine")).await.unwrap();
        host.end(&job("never")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_starters_start_one_job() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let host = host.as_ref();
        for round in 0..5 {
            let job = job(&format!("race{round}"));
            let note = hosts.sshd.path(&format!("{}{round}", host.host()));
            let script = Script::new("echo run >>\"$DR_NOTE\"; sleep 0.2")
                .value("NOTE", note.display().to_string());
            let starts = (0..4).map(|_| host.start(&job, &script, SOON));
            for start in futures::future::join_all(starts).await {
                start.unwrap();
            }
            let end = attach_job(host, &job, SOON, &mut |_| ()).await.unwrap();
            assert_eq!(end, exited(0));
            assert_eq!(std::fs::read_to_string(&note).unwrap(), "run\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_seen_and_ended_with_its_grandchildren() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let host = host.as_ref();
        let note = |name: &str| hosts.sshd.path(&format!("{}-{name}", host.host()));
        // One child in the job's session, one in a session of its own, one that will not listen.
        let script = Script::new(
            "trap '' TERM\nsh -c 'echo $$ >\"$DR_A\"; exec sleep 1000' &\n\
             setsid sh -c 'echo $$ >\"$DR_B\"; exec sleep 1000' &\necho waiting; while :; do wait; sleep 0.1; done",
        )
        .value("A", note("a").display().to_string())
        .value("B", note("b").display().to_string());
        host.start(&job("long"), &script, SOON * 10).await.unwrap();
        let (a, b) = (pid_in(&note("a")), pid_in(&note("b")));
        let state = host.look(&job("long")).await.unwrap();
        assert!(
            matches!(state, JobState::Running { since: 0..60 }),
            "{state:?}"
        );
        host.end(&job("long")).await.unwrap();
        assert!(!lives(a) && !lives(b));
        let state = host.look(&job("long")).await.unwrap();
        assert_eq!(state, exited(137));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_ends_a_job_at_its_deadline() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let host = host.as_ref();
        let note = hosts.sshd.path(&format!("{}-late", host.host()));
        let script = Script::new("setsid sh -c 'echo $$ >\"$DR_NOTE\"; exec sleep 1000' & wait")
            .value("NOTE", note.display().to_string());
        let second = Duration::from_secs(1);
        let end = run_job(host, &job("late"), &script, second, &mut |_| ())
            .await
            .unwrap();
        let right = JobState::Exited {
            status: 124,
            deadline: true,
        };
        assert_eq!(end, right);
        assert!(!lives(pid_in(&note)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_job_has_died_and_its_orphans_still_count_as_running() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let host = host.as_ref();
        let job = job("victim");
        let note = hosts.sshd.path(&format!("{}-victim", host.host()));
        let script = Script::new("echo $$ >\"$DR_NOTE\"; sleep 1000")
            .value("NOTE", note.display().to_string());
        host.start(&job, &script, SOON).await.unwrap();
        let shell = pid_in(&note);
        let pids = hosts.jobs_of(host).join("01run/victim/1/pids");
        let pids = std::fs::read_to_string(pids).unwrap();
        let keeper: i32 = pids.split(' ').next().unwrap().parse().unwrap();
        kill(keeper);
        until("the keeper to end", || !lives(keeper));
        // Among others, whose looks leave nothing behind for the next one's.
        let many = ["tiny", "victim", "none", "victim", "tiny"].map(super::job);
        end_of(host, "tiny", &Script::new("exit 3")).await;
        let states = host.look_all(&many).await.unwrap();
        let right = |state: &JobState| matches!(state, JobState::Running { .. });
        assert!(right(&states[1]) && right(&states[3]), "{states:?}");
        assert_eq!(
            [&states[0], &states[2], &states[4]],
            [&exited(3), &JobState::Absent, &exited(3)]
        );
        for child in children(shell) {
            kill(child);
        }
        kill(shell);
        until("the shell to end", || !lives(shell));
        let state = attach_job(host, &job, SOON, &mut |_| ()).await.unwrap();
        assert!(matches!(state, JobState::Died { .. }), "{state:?}");
        let states = host.look_all(&many).await.unwrap();
        assert_eq!((&states[1], &states[3]), (&state, &state));
        assert_eq!((&states[2], &states[4]), (&JobState::Absent, &exited(3)));
        // Starting it again changes nothing: that is a new attempt's matter.
        host.start(&job, &script, SOON).await.unwrap();
        let state = host.look(&job).await.unwrap();
        assert!(matches!(state, JobState::Died { .. }), "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_an_earlier_boot_has_died() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let host = host.as_ref();
        let script = Script::new("exit 0");
        end_of(host, "old", &script).await;
        let folder = hosts.jobs_of(host).join("01run/old/1");
        std::fs::remove_file(folder.join("exit")).unwrap();
        std::fs::write(folder.join("started"), "another-boot 5\n").unwrap();
        let state = host.look(&job("old")).await.unwrap();
        let JobState::Died { why } = state else {
            panic!("{state:?}");
        };
        assert!(why.contains("booted"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_a_job_leaves_keeps_running_and_does_not_keep_the_job() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let host = host.as_ref();
        let note = hosts.sshd.path(&format!("{}-daemon", host.host()));
        let script = Script::new(
            "setsid sh -c 'echo $$ >\"$DR_NOTE\"; exec sleep 1000' & while [ ! -s \"$DR_NOTE\" ]; do sleep 0.01; done",
        )
        .value("NOTE", note.display().to_string());
        let (end, _) = end_of(host, "daemon", &script).await;
        assert_eq!(end, exited(0));
        let daemon = pid_in(&note);
        assert!(lives(daemon));
        kill(daemon);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_never_looks_like_success_and_the_status_had_its_room() {
    if !rustix::process::geteuid().is_root() {
        println!("not applicable: only root can mount a small disk");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().display().to_string();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs", &disk])
        .status()
        .unwrap();
    if !mounted.success() {
        println!("not applicable: mounting is not allowed here");
        return;
    }
    let host = Local::with_root("here", &disk);
    let fill =
        Script::new("cat /dev/zero >\"$DR_DISK/fill\" || exit 28").value("DISK", disk.clone());
    let (end, _) = end_of(&host, "full", &fill).await;
    let unmounted = std::process::Command::new("umount")
        .args(["-l", &disk])
        .status();
    assert_eq!(end, exited(28));
    assert!(unmounted.unwrap().success());
}

/// Everything below `folder`, and every command line and environment of the machine, without the canary.
fn search(folder: &Path, found: &mut Vec<String>) {
    let mut look = |path: &Path| {
        if let Ok(bytes) = std::fs::read(path)
            && bytes
                .windows(11)
                .any(|part| part == &CANARY.as_bytes()[..11])
        {
            found.push(path.display().to_string());
        }
    };
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => look(&entry.path()),
                _ => {}
            }
        }
    }
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().parse::<i32>().is_ok() {
            look(&entry.path().join("cmdline"));
            look(&entry.path().join("environ"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_no_file_no_argument_and_no_environment() {
    let hosts = Hosts::start();
    let stop = AtomicBool::new(false);
    let folder = hosts.sshd.folder.path();
    std::thread::scope(|scope| {
        let seeker = scope.spawn(|| {
            let (mut found, mut rounds) = (Vec::new(), 0);
            while !stop.load(Ordering::SeqCst) {
                search(folder, &mut found);
                rounds += 1;
            }
            (found, rounds)
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for host in hosts.both() {
                    let host = host.as_ref();
                    let script = Script::new(
                        "printf %s \"$DR_SECRET_KEY\" | cksum; sleep 0.3; env | grep -c canary || :",
                    )
                    .secret("KEY", Secret::new(CANARY.into()));
                    let (end, log) = end_of(host, "secret", &script).await;
                    assert_eq!(end, exited(0));
                    let answer = host.leashed(&script, SOON).await.unwrap();
                    assert_eq!(answer.stdout, log);
                    let same = Script::new("printf %s \"$DR_X\" | cksum").value("X", "x");
                    let other = host.leashed(&same, SOON).await.unwrap();
                    assert_ne!(other.stdout.lines().next(), log.lines().next());
                    let as_nobody = script.clone().run_as(Some("nobody"));
                    if rustix::process::geteuid().is_root() {
                        let (end, same) = end_of(host, "as-nobody", &as_nobody).await;
                        assert_eq!((end, same), (exited(0), log));
                    }
                }
            });
        });
        stop.store(true, Ordering::SeqCst);
        let (found, rounds) = seeker.join().unwrap();
        assert!(rounds > 3);
        assert!(found.is_empty(), "{found:?}");
    });
    use std::os::unix::fs::PermissionsExt;
    let place = hosts.sshd.path("jobs/01run/secret/1");
    assert_eq!(
        place.metadata().unwrap().permissions().mode() & 0o777,
        0o700
    );
    let shown = std::fs::read_to_string(place.join("script")).unwrap();
    assert!(shown.contains("DR_SECRET_KEY"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_through_a_cut_connection() {
    let sshd = Sshd::start("");
    let ssh = sshd.ssh();
    let go = sshd.path("go");
    let script = Script::new(
        "echo first; while [ ! -e \"$DR_GO\" ]; do sleep 0.05; done; echo second; exit 7",
    )
    .value("GO", go.display().to_string());
    let mut log = String::new();
    let through = job("through");
    let mut on_log = |text: &str| {
        log.push_str(text);
        if text.contains("first") {
            sshd.cut();
            std::fs::write(&go, "").unwrap();
        }
    };
    let end = run_job(&ssh, &through, &script, SOON, &mut on_log).await;
    assert_eq!(end.unwrap(), exited(7));
    assert_eq!(log, "first\nsecond\n");
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_comes_over_in_stretches_without_loss() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let script = Script::new("seq 1 200000");
        let (end, log) = end_of(host.as_ref(), "talk", &script).await;
        assert_eq!(end, exited(0));
        assert_eq!(log.lines().count(), 200_000);
        assert!(log.starts_with("1\n2\n") && log.ends_with("\n200000\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_id_cannot_leave_its_folder() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        for step in ["..", "a/b", "", "-x", "A"] {
            assert!(host.look(&job(step)).await.is_err(), "{step}");
        }
    }
}
