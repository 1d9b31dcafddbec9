//! How long the sandbox takes: a bare world, and six machines in its two regions until each answers SSH.
//!
//! `cargo bench --bench world`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dr_plan::sandbox::control::{Answer, Ask};
use dr_plan::sandbox::machines::{Machine, MachineSpec};
use dr_plan::sandbox::world::{Contents, Folders, World};

const MACHINES: usize = 6;
const ROUNDS: usize = 5;

fn main() {
    // Cargo also starts benchmarks when it runs tests with `--all-targets`.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("a bare world of {MACHINES} machines, {ROUNDS} times (wanted: below 2 s):");
    let mut all: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let (laid, answered) = round();
            println!("  world up after {laid:>7.0?}, all answer SSH after {answered:>7.0?}");
            answered
        })
        .collect();
    all.sort();
    println!("  median {:.0?}", all[ROUNDS / 2]);
}

fn round() -> (Duration, Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let folders = Folders {
        state: folder.path().join("state"),
        // Made once for a machine, as people have it.
        cache: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sandbox-cache"),
    };
    let key = folder.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .expect("ssh-keygen");
    assert!(made.success());
    let authorized = fs::read_to_string(key.with_extension("pub")).expect("a public key");
    let program = Path::new(env!("CARGO_BIN_EXE_dr-plan"));

    let begun = Instant::now();
    let world = match World::up("bench", 2, Contents::Bare, &folders, program) {
        Ok(up) => up.world(),
        Err(error) => panic!("{error}"),
    };
    let laid = begun.elapsed();
    std::thread::scope(|scope| {
        for number in 0..MACHINES {
            let spec = MachineSpec {
                name: format!("host-{number}"),
                region: number % 2,
                address: None,
                mac: None,
                image: None,
                disk_bytes: 1 << 30,
                user_data: String::new(),
                authorized_keys: vec![authorized.clone()],
            };
            let (world, key) = (&world, &key);
            scope.spawn(move || {
                let machine = match world.ask(&Ask::Create { spec: spec.into() }) {
                    Ok(Answer::Machine { machine }) => machine,
                    other => panic!("{other:?}"),
                };
                let until = Instant::now() + Duration::from_secs(60);
                while !answers(world, key, &machine) {
                    assert!(Instant::now() < until, "{} stays silent", machine.name);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    let answered = begun.elapsed();
    world.down().expect("the world goes");
    (laid, answered)
}

fn answers(world: &World, key: &Path, machine: &Machine) -> bool {
    world
        .command(&["ssh", "-F", "none", "-i"])
        .arg(key)
        .args(["-o", "StrictHostKeyChecking=no"])
        .args(["-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=5"])
        .args([&format!("root@{}", machine.address), "true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("ssh")
        .success()
}
