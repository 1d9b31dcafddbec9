//! The world and its machines, real: namespaces, sshd, PostgreSQL, full disks. A machine that
//! cannot hold a sandbox fails these tests with the list of what it lacks.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use dr_plan::sandbox::{
    control::{Answer, Ask},
    machines::{Machine, MachineSpec, MachineState},
    world::{Contents, Folders, Up, World},
};

/// The binary under test. The test of the ordinary user runs these tests again with a copy that this
/// user may read.
fn program() -> PathBuf {
    copied().map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_dr-plan")),
        |folder| folder.join("dr-plan"),
    )
}

fn copied() -> Option<PathBuf> {
    std::env::var_os("DR_PLAN_TEST_COPY").map(PathBuf::from)
}

/// A world for one test, with a login key; everything goes with it, also when the test fails.
struct Bench {
    world: World,
    folders: Folders,
    folder: tempfile::TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.world.down();
    }
}

impl Bench {
    fn up(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders {
            state: folder.path().join("state"),
            cache: cache(),
        };
        let world = match World::up(name, 2, Contents::Bare, &folders, &program()) {
            Ok(up) => up.world(),
            Err(error) => panic!("{}", chain(&error)),
        };
        let bench = Self {
            world,
            folders,
            folder,
        };
        let key = bench.key();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status()
            .unwrap();
        assert!(made.success());
        bench
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    fn spec(&self, name: &str, region: usize) -> MachineSpec {
        MachineSpec {
            name: name.to_owned(),
            region,
            address: None,
            mac: None,
            image: None,
            disk_bytes: 1 << 30,
            user_data: String::new(),
            authorized_keys: vec![fs::read_to_string(self.key().with_extension("pub")).unwrap()],
        }
    }

    fn create(&self, spec: MachineSpec) -> Machine {
        match self.world.ask(&Ask::Create { spec: spec.into() }) {
            Ok(Answer::Machine { machine }) => machine,
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    fn done(&self, ask: Ask) {
        match self.world.ask(&ask) {
            Ok(Answer::Done) => {}
            other => panic!("{ask:?}: {other:?}\n{}", self.log()),
        }
    }

    fn machine(&self, name: &str) -> Option<Machine> {
        self.world
            .status()
            .unwrap()
            .machines
            .into_iter()
            .find(|machine| machine.name == name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.world.log()).unwrap_or_default()
    }

    fn ssh(&self, machine: &Machine, script: &str) -> Output {
        let target = format!("root@{}", machine.address);
        self.world
            .command(&["ssh", "-F", "none", "-i"])
            .arg(self.key())
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=ERROR",
                "-o",
                "BatchMode=yes",
            ])
            .args(["-o", "ConnectTimeout=5", &target, script])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a script prints, once sshd answers.
    fn tell(&self, machine: &Machine, script: &str) -> String {
        let output = wait_for(
            &format!("{} answers `{script}`", machine.name),
            Duration::from_secs(30),
            || {
                let output = self.ssh(machine, script);
                // 255 is ssh's own failure: nobody answers yet.
                (output.status.code() != Some(255))
                    .then_some(output)
                    .ok_or_else(String::new)
            },
        );
        assert!(
            output.status.success(),
            "{}: `{script}`: {}\n{}",
            machine.name,
            text(&output),
            self.host_log(machine)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn host_log(&self, machine: &Machine) -> String {
        let output = self
            .world
            .command(&[
                "cat",
                &format!("/run/dr-plan/machines/{}/init.log", machine.name),
            ])
            .output()
            .unwrap();
        format!("init.log: {}\nworld.log: {}", text(&output), self.log())
    }
}

/// Shared by all tests, so that a cluster is initialised once.
fn cache() -> PathBuf {
    copied()
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")))
        .join("sandbox-cache")
}

fn text(output: &Output) -> String {
    format!(
        "{} {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text.push_str(&format!(": {error}"));
        below = error.source();
    }
    text
}

/// Asks until the answer is there; a deadline, not a measure.
fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match ask() {
            Ok(value) => return value,
            Err(why) if Instant::now() > deadline => panic!("not within {limit:?}: {what}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Processes outside that belong to the world: they live in another PID namespace below ours and
/// descend from its first process.
fn processes_of(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        found.extend(dr_plan::sandbox::enter::children(found[next]));
        next += 1;
    }
    found.retain(|pid| {
        dr_plan::sandbox::enter::Status::of(*pid).is_some_and(|status| !status.is_dead())
    });
    found
}

fn interfaces() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir("/sys/class/net")
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn six_machines_in_two_regions_answer_ssh_and_each_other() {
    let begun = Instant::now();
    let bench = Bench::up("six");
    let laid = begun.elapsed();
    let machines: Vec<Machine> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let bench = &bench;
                scope.spawn(move || {
                    let machine = bench.create(bench.spec(&format!("host-{number}"), number % 2));
                    assert_eq!(bench.tell(&machine, "hostname"), format!("host-{number}"));
                    machine
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    eprintln!(
        "world {laid:?}, six machines answering ssh after {:?}",
        begun.elapsed()
    );
    // Within a region and across the two, by the name of nobody: addresses only.
    for (from, to) in [(0, 2), (0, 1), (1, 0)] {
        let address = machines[to].address;
        let banner = bench.tell(
            &machines[from],
            &format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/22; head -c 4 <&3'"),
        );
        assert_eq!(banner, "SSH-");
    }
    // The addresses of the infrastructure are there, in both regions: refused by a live stack.
    for machine in &machines[..2] {
        let said = bench.tell(
            machine,
            "timeout 5 bash -c 'exec 3<>/dev/tcp/198.18.255.1/9' 2>&1; true",
        );
        assert!(said.contains("Connection refused"), "{said}");
    }
    // The side door, and the way to names.
    let output = bench
        .world
        .command_on(
            &machines[0],
            &["sh", "-c", "hostname; pwd; command -v systemctl"],
        )
        .unwrap()
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "host-0\n/root\n/usr/local/bin/systemctl\n",
        "{}",
        text(&output)
    );
    let resolver = format!("nameserver {}", dr_plan::sandbox::network::RESOLVER);
    let world_asks = bench
        .world
        .command(&["cat", "/etc/resolv.conf"])
        .output()
        .unwrap();
    assert!(
        text(&world_asks).contains(&resolver),
        "{}",
        text(&world_asks)
    );
    assert!(
        bench
            .tell(&machines[0], "cat /etc/resolv.conf")
            .contains(&resolver)
    );
    // What a machine writes to /usr stays in it, where it may write there at all.
    if rustix::process::geteuid().is_root() {
        bench.tell(&machines[0], "touch /usr/bin/only-here");
        assert!(!std::path::Path::new("/usr/bin/only-here").exists());
        assert_ne!(
            bench
                .ssh(&machines[1], "test -e /usr/bin/only-here")
                .status
                .code(),
            Some(0)
        );
    }
    // Each has a boot, a key and an identity of its own.
    for what in [
        "cat /proc/sys/kernel/random/boot_id",
        "cat /etc/machine-id",
        "cat /etc/ssh/ssh_host_ed25519_key.pub",
    ] {
        assert_ne!(
            bench.tell(&machines[0], what),
            bench.tell(&machines[1], what),
            "{what}"
        );
    }
    assert_eq!(
        World::up("six", 2, Contents::Bare, &bench.folders, &program()).unwrap(),
        Up::Already(bench.world.clone())
    );
}

#[test]
fn a_machine_with_packages_has_its_services_up_when_cloud_init_is_done() {
    let bench = Bench::up("packages");
    let mut spec = bench.spec("db", 0);
    spec.user_data = "#cloud-config\npackages: [postgresql-15, redis-server, nginx, curl]\nwrite_files:\n- {path: /etc/greeting, content: \"hello\\n\", permissions: '0640', owner: 'root:postgres'}\n\
        users:\n- {name: ann, groups: [postgres], ssh_authorized_keys: [ssh-ed25519 AAAA ann]}\nruncmd:\n- [touch, /var/tmp/ran]\n"
        .to_owned();
    let db = bench.create(spec.clone());
    spec.name = "db-2".to_owned();
    let second = bench.create(spec);
    for machine in [&db, &second] {
        let told = bench.tell(
            machine,
            "cloud-init status --wait --format json; ls /var/lib/cloud/instance/boot-finished",
        );
        assert!(
            told.contains("\"status\": \"done\"") && told.contains("\"errors\": []"),
            "{told}\n{}",
            bench.tell(machine, "cat /var/log/cloud-init-output.log")
        );
    }
    assert_eq!(
        bench.tell(
            &db,
            "stat -c '%a %U %G' /etc/greeting; id -Gn ann; ls /var/tmp/ran"
        ),
        "640 root postgres\nann postgres\n/var/tmp/ran"
    );
    let sql = "runuser -u postgres -- psql -XAtc";
    assert_eq!(
        bench.tell(
            &db,
            &format!("{sql} 'create table t as select 7 as n' && {sql} 'select n from t'")
        ),
        "SELECT 1\n7"
    );
    // A copied cluster is a cluster of its own.
    let identity = format!("{sql} 'select system_identifier from pg_control_system()'");
    assert_ne!(bench.tell(&db, &identity), bench.tell(&second, &identity));
    assert_eq!(
        bench.tell(&db, "redis-cli set a 1; redis-cli get a"),
        "OK\n1"
    );
    assert!(
        bench
            .tell(&db, "curl -sS http://127.0.0.1/")
            .contains("nginx")
    );
    assert_eq!(
        bench.tell(&db, "dpkg-query -W -f '${Status}' postgresql-15"),
        "install ok installed"
    );
    for service in ["postgresql", "redis-server", "nginx"] {
        assert_eq!(
            bench.tell(
                &db,
                &format!("systemctl is-active {service}; systemctl is-enabled {service}")
            ),
            "active\nenabled"
        );
        bench.tell(
            &db,
            &format!("systemctl restart {service} && systemctl reload-or-restart {service}"),
        );
        bench.tell(&db, &format!("systemctl stop {service}"));
        assert_eq!(
            bench.tell(&db, &format!("systemctl is-active {service}; true")),
            "inactive"
        );
    }
    // The processes are gone, not only their names.
    assert_eq!(bench.tell(&db, "pgrep -l 'postgres|redis|nginx'; true"), "");
    bench.tell(&db, "systemctl start postgresql redis-server nginx");
    assert_eq!(bench.tell(&db, &format!("{sql} 'select n from t'")), "7");
    // A reboot brings back what is enabled, with its data.
    let before = bench.tell(&db, "cat /proc/sys/kernel/random/boot_id");
    bench.done(Ask::Reboot {
        name: "db".to_owned(),
        graceful: true,
    });
    assert_ne!(
        bench.tell(&db, "cat /proc/sys/kernel/random/boot_id"),
        before
    );
    bench.tell(&db, "cloud-init status --wait");
    wait_for("PostgreSQL answers again", Duration::from_secs(20), || {
        let output = bench.ssh(&db, &format!("{sql} 'select n from t'"));
        if text(&output).contains("\n") && output.stdout == b"7\n" {
            Ok(())
        } else {
            Err(text(&output))
        }
    });
}

#[test]
fn a_package_that_is_not_there_is_an_error_of_the_first_boot() {
    let bench = Bench::up("missing");
    let mut spec = bench.spec("db", 0);
    spec.user_data =
        "#cloud-config\npackages: [no-such-thing]\nfrobnicate: 1\nruncmd:\n- false\n".to_owned();
    let db = bench.create(spec);
    let told = bench.tell(&db, "cloud-init status --wait --format json; echo $?");
    assert!(
        told.contains("\"status\": \"error\"")
            && told.contains("no-such-thing")
            && told.contains("runcmd")
            && told.contains("frobnicate"),
        "{told}"
    );
    assert!(told.ends_with("\n1"), "{told}");
}

#[test]
fn user_data_sets_the_host_key_and_a_script_runs_once() {
    let bench = Bench::up("user-data");
    let key = bench.folder.path().join("host-key");
    assert!(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status()
            .unwrap()
            .success()
    );
    let private = fs::read_to_string(&key).unwrap();
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let indented: String = private
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    let mut spec = bench.spec("a", 0);
    spec.user_data = format!(
        "#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n{indented}  ed25519_public: {public}"
    );
    let a = bench.create(spec);
    assert_eq!(
        bench.tell(&a, "ls /etc/ssh/ssh_host_*"),
        "/etc/ssh/ssh_host_ed25519_key\n/etc/ssh/ssh_host_ed25519_key.pub"
    );
    let scanned = bench
        .world
        .command(&["ssh-keyscan", "-t", "ed25519", &a.address.to_string()])
        .output()
        .unwrap();
    let body = public.split(' ').nth(1).unwrap();
    assert!(
        String::from_utf8_lossy(&scanned.stdout).contains(body),
        "{}",
        text(&scanned)
    );
    assert_eq!(
        bench.tell(&a, "stat -c %a /var/lib/cloud/instance/user-data.txt"),
        "600"
    );

    let mut spec = bench.spec("b", 0);
    spec.user_data = "#!/bin/bash\necho x >> /var/tmp/count\n".to_owned();
    let b = bench.create(spec);
    bench.tell(&b, "cloud-init status --wait");
    bench.done(Ask::Reboot {
        name: "b".to_owned(),
        graceful: false,
    });
    bench.tell(&b, "cloud-init status --wait");
    assert_eq!(bench.tell(&b, "cat /var/tmp/count"), "x");
}

#[test]
fn a_full_disk_is_full_inside_only_and_power_keeps_what_delete_forgets() {
    let bench = Bench::up("power");
    let mut spec = bench.spec("small", 0);
    spec.disk_bytes = 32 << 20;
    let small = bench.create(spec.clone());
    let other = bench.create(bench.spec("other", 0));
    let told = bench.tell(
        &small,
        "head -c 64M /dev/zero 2>&1 > /var/tmp/fill; echo $?",
    );
    assert!(told.contains("No space left on device"), "{told}");
    bench.tell(&other, "head -c 64M /dev/zero > /var/tmp/fill");
    bench.tell(&small, "rm /var/tmp/fill; echo kept > /root/kept; sync");

    bench.done(Ask::PowerOff {
        name: "small".to_owned(),
        graceful: false,
    });
    assert_eq!(bench.machine("small").unwrap().state, MachineState::Off);
    assert_eq!(bench.ssh(&small, "true").status.code(), Some(255));
    bench.done(Ask::PowerOn {
        name: "small".to_owned(),
    });
    assert_eq!(bench.tell(&small, "cat /root/kept"), "kept");

    // From inside: off is off, and a reboot comes back.
    let _ = bench.ssh(&small, "poweroff");
    wait_for("it is off", Duration::from_secs(20), || {
        if bench.machine("small").unwrap().state == MachineState::Off {
            Ok(())
        } else {
            Err("still on".to_owned())
        }
    });
    bench.done(Ask::PowerOn {
        name: "small".to_owned(),
    });
    let boot = bench.tell(&small, "cat /proc/sys/kernel/random/boot_id");
    let _ = bench.ssh(&small, "reboot");
    wait_for("it has rebooted", Duration::from_secs(20), || {
        let output = bench.ssh(&small, "cat /proc/sys/kernel/random/boot_id");
        if output.status.success() && String::from_utf8_lossy(&output.stdout).trim() != boot {
            Ok(())
        } else {
            Err(text(&output))
        }
    });

    bench.done(Ask::Delete {
        name: "small".to_owned(),
    });
    assert_eq!(bench.machine("small"), None);
    assert!(
        bench
            .world
            .ask(&Ask::PowerOn {
                name: "small".to_owned()
            })
            .is_err()
    );
    let again = bench.create(spec);
    assert_eq!(
        bench
            .tell(&again, "ls /root/kept 2>&1; true")
            .lines()
            .count(),
        1
    );
    assert_ne!(
        bench.ssh(&again, "test -e /root/kept").status.code(),
        Some(0)
    );
}

#[test]
fn a_lost_region_is_silent_while_the_provider_still_calls_it_running() {
    let bench = Bench::up("lost");
    let lost = bench.create(bench.spec("lost", 0));
    let kept = bench.create(bench.spec("kept", 1));
    bench.tell(&lost, "true");
    bench.done(Ask::LoseRegion { region: 0 });
    assert_eq!(bench.ssh(&lost, "true").status.code(), Some(255));
    bench.tell(&kept, "true");
    let record = bench.machine("lost").unwrap();
    assert_eq!(
        (record.state, record.init_pid),
        (MachineState::Running, None)
    );
    let refused = bench.world.ask(&Ask::Create {
        spec: bench.spec("new", 0).into(),
    });
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("region 0 is lost")
    );
    bench.done(Ask::PowerOff {
        name: "lost".to_owned(),
        graceful: false,
    });
    assert_eq!(bench.machine("lost").unwrap().state, MachineState::Off);
    assert!(
        bench
            .world
            .ask(&Ask::PowerOn {
                name: "lost".to_owned()
            })
            .is_err()
    );
    bench.done(Ask::Delete {
        name: "lost".to_owned(),
    });
    assert_eq!(bench.machine("lost"), None);
}

#[test]
fn a_pulled_cable_silences_one_machine_until_it_is_back() {
    let bench = Bench::up("cable");
    let a = bench.create(bench.spec("a", 0));
    bench.tell(&a, "true");
    bench.done(Ask::SetLink {
        name: "a".to_owned(),
        up: false,
    });
    assert_eq!(bench.ssh(&a, "true").status.code(), Some(255));
    bench.done(Ask::SetLink {
        name: "a".to_owned(),
        up: true,
    });
    bench.tell(&a, "true");
}

#[test]
fn a_unit_of_ones_own_runs_as_its_user_and_outlives_the_session() {
    let bench = Bench::up("unit");
    let a = bench.create(bench.spec("a", 0));
    bench.tell(
        &a,
        "mkdir -p /srv/app && cat > /etc/systemd/system/app.service <<'X'\n[Service]\nType=simple\nUser=www-data\nWorkingDirectory=/srv/app\nEnvironment=A=1 \"B=two words\"\nEnvironmentFile=/etc/app.env\n\
         RuntimeDirectory=app\nProtectSystem=strict\nExecStart=/bin/sh -c 'echo $A:$B:$C; pwd; id -un; exec sleep 1000'\nRestart=on-failure\n[Install]\nWantedBy=multi-user.target\nX\n\
         echo C=3 > /etc/app.env; chmod 600 /etc/app.env; systemctl daemon-reload; systemctl enable --now app",
    );
    let log = wait_for("the service speaks", Duration::from_secs(10), || {
        let said = bench.tell(&a, "cat /var/log/services/app.service.log");
        if said.lines().count() == 3 {
            Ok(said)
        } else {
            Err(said)
        }
    });
    assert_eq!(log, "1:two words:3\n/srv/app\nwww-data");
    assert_eq!(bench.tell(&a, "stat -c %U /run/app"), "www-data");
    let status = bench.ssh(&a, "systemctl status app");
    assert!(
        status.status.success() && text(&status).contains("does not apply ProtectSystem"),
        "{}",
        text(&status)
    );
    // Its death is seen, and it is started again.
    let pid = bench.tell(&a, "systemctl show -p MainPID --value app");
    bench.tell(&a, &format!("kill -9 {pid}"));
    wait_for("it runs again", Duration::from_secs(10), || {
        let now = bench.tell(&a, "systemctl show -p MainPID --value app");
        if now != pid && now != "0" {
            Ok(())
        } else {
            Err(now)
        }
    });
    bench.tell(&a, "systemctl stop app");
    assert_eq!(
        bench.tell(&a, "pgrep -u www-data -l . ; systemctl is-active app; true"),
        "inactive"
    );
    // What cannot start says so.
    let failed = bench.ssh(&a, "printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n' > /etc/systemd/system/bad.service; systemctl start bad");
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed).contains("exit code 1"), "{}", text(&failed));
    assert_eq!(
        bench
            .ssh(&a, "systemctl start nothing-like-it")
            .status
            .code(),
        Some(5)
    );
}

/// What `host.packages` and the swap of a folder rely on.
#[test]
fn apt_installs_what_the_machine_does_not_have_and_a_boot_keeps_it_and_the_numbers_of_files() {
    let bench = Bench::up("apt");
    let machine = bench.create(bench.spec("app-1", 0));
    let installed = bench.tell(
        &machine,
        "set -e; cd /root; mkdir -p made/DEBIAN made/opt/made
         printf '%s\\n' 'Package: made-up' 'Version: 1.0' 'Architecture: all' 'Maintainer: nobody <n@example.com>' 'Description: a test' > made/DEBIAN/control
         printf '%s\\n' '#!/bin/sh' 'touch /etc/made-up' > made/DEBIAN/postinst; chmod 755 made/DEBIAN/postinst; date > made/opt/made/file
         dpkg-deb --root-owner-group --build made > /dev/null
         apt-get install -q -y ./made.deb > log 2>&1 || { cat log; exit 1; }
         ! grep 'files list file' log; ls /etc/made-up /opt/made/file; apt-get check -q > /dev/null; dpkg --audit | grep -c 'list control' || true; dpkg-query -W | wc -l",
    );
    let lines: Vec<&str> = installed.split_whitespace().collect();
    let [one, two, audit, known] = lines.as_slice() else {
        panic!("{installed}");
    };
    assert_eq!([*one, *two], ["/etc/made-up", "/opt/made/file"]);
    assert_eq!(*audit, "0", "the database of packages is not in order");
    assert!(known.parse::<u32>().unwrap() > 50, "{known}");
    let numbers = "mkdir -p /srv/a /srv/b/c /srv/d; stat -c '%n %i %W' /srv/* /srv/b/c /opt/made";
    let before = bench.tell(&machine, numbers);
    bench.done(Ask::Reboot {
        name: "app-1".to_owned(),
        graceful: false,
    });
    let machine = bench.machine("app-1").unwrap();
    // Asked for in another order.
    let _ = bench.tell(&machine, "stat /srv/d /opt/made");
    assert_eq!(bench.tell(&machine, numbers), before);
    let state = "dpkg-query -W -f '${db:Status-Status} ${Version}' made-up";
    assert_eq!(bench.tell(&machine, state).trim(), "installed 1.0");
}

#[test]
fn nothing_is_left_after_down_and_after_a_kill() {
    let before = interfaces();
    let mounts = || {
        fs::read_to_string("/proc/self/mounts")
            .unwrap()
            .lines()
            .filter(|line| line.contains("dr-plan"))
            .count()
    };
    let mounted = mounts();
    for killed in [false, true] {
        let bench = Bench::up("gone");
        let a = bench.create(bench.spec("a", 0));
        bench.tell(&a, "true");
        let all = processes_of(bench.world.pid());
        assert!(all.len() >= 4, "{all:?}");
        if killed {
            let pid =
                rustix::process::Pid::from_raw(i32::try_from(bench.world.pid()).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            wait_for("the registry forgets it", Duration::from_secs(10), || {
                if World::find("gone", &bench.folders).unwrap().is_none() {
                    Ok(())
                } else {
                    Err("still there".to_owned())
                }
            });
        } else {
            bench.world.down().unwrap();
        }
        wait_for("every process is gone", Duration::from_secs(10), || {
            let left: Vec<_> = all
                .iter()
                .filter(|pid| {
                    dr_plan::sandbox::enter::Status::of(**pid)
                        .is_some_and(|status| !status.is_dead())
                })
                .collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
        assert_eq!(interfaces(), before);
        assert_eq!(mounts(), mounted);
        assert_eq!(World::list(&bench.folders), Vec::<String>::new());
    }
}

/// An account that goes with the test.
struct Account(String);

impl Account {
    fn make() -> Self {
        let name = format!("dr-test-{}", std::process::id());
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().unwrap();
            assert!(
                output.status.success(),
                "{program} {arguments:?}: {}",
                text(&output)
            );
        };
        run("useradd", &["--create-home", "--shell", "/bin/bash", &name]);
        let account = Self(name);
        let given = |file: &str| {
            fs::read_to_string(file)
                .unwrap_or_default()
                .lines()
                .any(|line| line.starts_with(&format!("{}:", account.0)))
        };
        if !given("/etc/subuid") || !given("/etc/subgid") {
            run(
                "usermod",
                &[
                    "--add-subuids",
                    "20000000-20065535",
                    "--add-subgids",
                    "20000000-20065535",
                    &account.0,
                ],
            );
        }
        account
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = Command::new("userdel")
            .args(["--remove", "--force", &self.0])
            .output();
    }
}

/// As root, the same tests once more as a user who is nobody special. (As such a user, they are
/// that already.)
#[test]
fn an_ordinary_user_can_have_the_same_world() {
    if !rustix::process::geteuid().is_root() || copied().is_some() {
        return;
    }
    let account = Account::make();
    let folder = PathBuf::from(format!("/home/{}", account.0));
    let own = std::env::current_exe().unwrap();
    for (from, to) in [(program(), "dr-plan"), (own, "it")] {
        fs::copy(from, folder.join(to)).unwrap();
    }
    let output = Command::new("setpriv")
        .args([
            &format!("--reuid={}", account.0),
            &format!("--regid={}", account.0),
            "--init-groups",
            "--",
        ])
        .arg(folder.join("it"))
        .args([
            "--test-threads=2",
            "sandbox_world::six_machines",
            "sandbox_world::a_machine_with_packages",
            "sandbox_world::a_full_disk",
            "sandbox_world::user_data_sets",
            "sandbox_world::a_unit_of",
            "sandbox_world::apt_installs",
            "sandbox_world::nothing_is_left",
        ])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", &folder)
        .env("DR_PLAN_TEST_COPY", &folder)
        .env("RUST_BACKTRACE", "0")
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("7 passed"),
        "{}",
        text(&output)
    );
}
