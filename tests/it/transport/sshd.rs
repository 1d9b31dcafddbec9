//! A real sshd on the loopback, with keys and a home of its own.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dr_plan::transport::{Pin, Ssh, SshSettings};

pub struct Sshd {
    pub folder: tempfile::TempDir,
    pub port: u16,
    server: Child,
}

impl Sshd {
    /// Starts one; `more` are lines for its configuration.
    pub fn start(more: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("dr-sshd")
            .tempdir()
            .unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["host", "user", "other"] {
            make_key(&at(name));
        }
        std::fs::create_dir(at("home")).unwrap();
        std::fs::copy(at("user.pub"), at("authorized")).unwrap();
        if rustix::process::geteuid().is_root() {
            // Where sshd confines its children before the login.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = free_port();
        let conf = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\n\
             StrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\nLogLevel VERBOSE\n\
             SetEnv HOME={0}/home\n{more}\n",
            folder.path().display()
        );
        std::fs::write(at("conf"), conf).unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(at("conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let sshd = Self {
            folder,
            port,
            server,
        };
        until("sshd to listen", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        sshd
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    pub fn jobs(&self) -> String {
        self.path("jobs").display().to_string()
    }

    pub fn settings(&self) -> SshSettings {
        SshSettings {
            host: "web".into(),
            address: "127.0.0.1".into(),
            port: Some(self.port),
            user: Some(whoami()),
            key: Some(self.path("user")),
            known_hosts: Pin::Keys(vec![self.public("host")]),
            jump: None,
            folder: self.path("ssh"),
            person_config: false,
        }
    }

    pub fn ssh(&self) -> Ssh {
        Ssh::with_root(self.settings(), &self.jobs())
    }

    /// Cuts every connection, with the sessions on it. The connections first: a session that dies before its connection
    /// is still reported over it.
    pub fn cut(&self) {
        let connections = self.connections();
        let sessions: Vec<i32> = connections.iter().copied().flat_map(children).collect();
        for pid in connections.into_iter().chain(sessions) {
            kill(pid);
        }
    }

    /// The pids of the sshd processes that serve connections.
    fn connections(&self) -> Vec<i32> {
        children(self.server.id() as i32)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

pub fn make_key(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub fn whoami() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_string()
}

pub fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Runs, and is not only waiting to be reaped.
pub fn lives(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

pub fn children(parent: i32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or("");
        if after.split_whitespace().nth(1) == Some(parent.to_string().as_str()) {
            found.push(pid);
        }
    }
    found
}

/// Waits for a condition; fails after twenty seconds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A pid that a script wrote into a file, once it is there.
pub fn pid_in(path: &Path) -> i32 {
    let mut pid = 0;
    until("a pid file", || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        pid = text.trim().parse().unwrap_or(0);
        text.ends_with('\n') && pid > 0
    });
    pid
}
