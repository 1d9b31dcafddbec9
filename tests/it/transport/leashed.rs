//! Short reads that end with us.

use std::time::Duration;

use dr_plan::secret::Secret;
use dr_plan::transport::{Script, Transport, TransportError};

use super::Hosts;
use super::sshd::{Sshd, lives, pid_in, until};

const SOON: Duration = Duration::from_secs(20);

/// Somebody's text, whose outputs are relayed, and one of this program's own.
fn both(script: Script) -> [Script; 2] {
    [script.clone(), script.ours()]
}

#[tokio::test(flavor = "multi_thread")]
async fn values_arrive_as_they_are_and_outputs_and_status_come_back_apart() {
    let hosts = Hosts::start();
    let mut odd: String = (1..=0x2ff).filter_map(char::from_u32).collect();
    odd.push_str("';\"$(id)`id`\\\n\r\n\u{1F600} trailing \n\n");
    for host in hosts.both() {
        let script = Script::new(
            "printf %s \"$DR_X\"; printf 'to err %s' \"$DR_SECRET_Y\" >&2; sh -c 'printf %s \"$DR_X$DR_SECRET_Y\"' | cksum; exit 255",
        )
        .value("X", odd.clone())
        .secret("Y", Secret::new("it's \"secret\"".into()));
        let answer = host.leashed(&script, SOON).await.unwrap();
        assert_eq!(answer.status, 255, "{}", answer.stderr);
        assert_eq!(answer.stderr, "to err it's \"secret\"");
        // The value was exported to the child, the secret was not: the child's sum is that of the value alone.
        let only = Script::new("printf %s \"$DR_X\" | cksum").value("X", odd.clone());
        let sum = host.leashed(&only, SOON).await.unwrap().stdout;
        assert_eq!(answer.stdout, format!("{odd}{sum}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leashed_script_stops_at_its_first_failure_and_a_signal_is_128_and_more() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        for (text, status) in [
            ("false; echo no", 1),
            ("kill -KILL $(exec sh -c 'echo $PPID')", 137),
            ("exit 97", 97),
            ("nonsense-nobody-has", 127),
            ("cat; exit 5", 5),
        ] {
            for script in both(Script::new(text)) {
                let answer = host.leashed(&script, SOON).await.unwrap();
                assert_eq!(answer.status, status, "{text}: {answer:?}");
                assert!(!answer.stdout.contains("no"), "{text}");
            }
        }
        // Shells have their own numbers for these.
        for text in ["echo $DR_NOT_SET; echo no", "if"] {
            for script in both(Script::new(text)) {
                let answer = host.leashed(&script, SOON).await.unwrap();
                assert!(!answer.ok() && answer.stdout.is_empty(), "{answer:?}");
            }
        }
        for script in both(Script::new("kill -TERM 0")) {
            let all = host.leashed(&script, SOON).await.unwrap();
            assert_eq!(all.status, 143);
            let next = host.leashed(&Script::new("echo fine"), SOON).await.unwrap();
            assert_eq!(next.stdout, "fine\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_leaves_behind_never_speaks_in_a_later_answer() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let text = "setsid sh -c 'while sleep 0.01; do echo stray; echo stray >&2; done' & echo $!";
        let answer = host.leashed(&Script::new(text), SOON).await.unwrap();
        let stray: i32 = answer.stdout.lines().find_map(|l| l.parse().ok()).unwrap();
        for _ in 0..20 {
            let answer = host
                .leashed(&Script::new("echo clean"), SOON)
                .await
                .unwrap();
            assert_eq!(
                (answer.stdout.as_str(), answer.stderr.as_str()),
                ("clean\n", "")
            );
        }
        // It has nobody to speak to any more.
        until("the stray to end", || !lives(stray));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_can_be_named() {
    if !rustix::process::geteuid().is_root() {
        println!("not applicable: only root can become somebody else");
        return;
    }
    let hosts = Hosts::start();
    for host in hosts.both() {
        let script = Script::new("id -un; echo \"$HOME $DR_SECRET_S\"; exit 3")
            .secret("S", Secret::new("for nobody's eyes".into()))
            .run_as(Some("nobody"));
        for script in both(script) {
            let answer = host.leashed(&script, SOON).await.unwrap();
            assert_eq!(answer.status, 3, "{answer:?}");
            assert_eq!(answer.stdout, "nobody\n/nonexistent for nobody's eyes\n");
        }
        // One's own user is no other one; somebody's text has a shell of its own all the same, with nothing of ours in it.
        let own = Script::new("id -un; trap 'echo caught; exit 4' TERM; kill -TERM $$; sleep 9")
            .run_as(Some("root"));
        let answer = host.leashed(&own, SOON).await.unwrap();
        assert_eq!(
            (answer.stdout.as_str(), answer.status),
            ("root\ncaught\n", 4)
        );
        let own = Script::new("id -un; exit 5").run_as(Some("root")).ours();
        let answer = host.leashed(&own, SOON).await.unwrap();
        assert_eq!((answer.stdout.as_str(), answer.status), ("root\n", 5));
        let nobody = Script::new("id").run_as(Some("no-such-user"));
        let answer = host.leashed(&nobody, SOON).await.unwrap();
        assert_eq!(answer.status, 126);
        assert!(answer.stderr.contains("no-such-user"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_is_bounded_and_its_cut_is_told() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        for script in both(Script::new(
            "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2",
        )) {
            let answer = host.leashed(&script, SOON).await.unwrap();
            assert_eq!((answer.status, answer.stdout.len()), (0, 1 << 20));
            assert!(answer.truncated);
            assert_eq!(answer.stderr, "end\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_login_shell_is_not_heard() {
    let sshd = Sshd::start("");
    std::fs::write(
        sshd.path("home/.bashrc"),
        "echo noise; echo more noise >&2; export PGPASSWORD=wrong\n",
    )
    .unwrap();
    let ssh = sshd.ssh();
    let script = Script::new("echo \"answer ${PGPASSWORD-unset} $TZ\"");
    let answer = ssh.leashed(&script, SOON).await.unwrap();
    assert_eq!(
        (answer.stdout.as_str(), answer.stderr.as_str()),
        ("answer unset UTC\n", "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leashed_script_ends_at_its_deadline_and_when_nobody_waits() {
    let hosts = Hosts::start();
    for (n, host) in hosts.both().into_iter().enumerate() {
        let note = hosts.sshd.path(&format!("deadline{n}"));
        let script = Script::new("sleep 1000 & echo $! >\"$DR_NOTE\"; wait")
            .value("NOTE", note.display().to_string());
        for script in both(script) {
            // The time to connect counts too, and the script must have begun before its end.
            assert!(host.leashed(&Script::new(":"), SOON).await.unwrap().ok());
            let error = host
                .leashed(&script, Duration::from_secs(1))
                .await
                .unwrap_err();
            assert!(matches!(error, TransportError::Timeout { .. }), "{error}");
            let pid = pid_in(&note);
            until("the script's child to end", || !lives(pid));
            std::fs::remove_file(&note).unwrap();
            assert!(host.leashed(&Script::new(":"), SOON).await.unwrap().ok());
        }
    }
}

/// Prints what one leashed call costs, for whoever wants to know: `cargo test leashed_call_costs -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_leashed_calls_share_one_session_and_here_is_what_a_leashed_call_costs() {
    let hosts = Hosts::start();
    for host in hosts.both() {
        let script = Script::new("echo hello");
        host.leashed(&script, SOON).await.unwrap();
        let before = std::time::Instant::now();
        for _ in 0..100 {
            assert_eq!(host.leashed(&script, SOON).await.unwrap().stdout, "hello\n");
        }
        println!("{}: {:?} a call", host.host(), before.elapsed() / 100);
        let before = std::time::Instant::now();
        for _ in 0..100 {
            host.look(&super::job("none")).await.unwrap();
        }
        println!("{}: {:?} a look", host.host(), before.elapsed() / 100);
        let before = std::time::Instant::now();
        for n in 0..20 {
            let job = super::job(&format!("tiny{n}"));
            let mut silent = |_: &str| ();
            dr_plan::transport::run_job(host.as_ref(), &job, &script, SOON, &mut silent)
                .await
                .unwrap();
        }
        println!("{}: {:?} a job", host.host(), before.elapsed() / 20);
    }
    let log = hosts.sshd.log();
    // The waiting one and the serving one.
    assert_eq!(log.matches("Starting session").count(), 2, "{log}");
}
