//! The first boot of a machine, as cloud-init does it: the stage `init` makes identity, users and
//! keys before sshd starts; the stage `final` brings packages and runs the user's commands after
//! it. What happened stands where cloud-init writes it, and `cloud-init status` tells it.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::Ipv4Addr,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde::{Deserialize, Serialize};

use super::{
    accounts::{account, group_id},
    cloud_config::{self, CloudConfig, File, ShellCommand, User},
    cloud_status::Report,
    init::chain,
    packages, places,
};

/// What a stage is told, on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub name: String,
    pub address: Ipv4Addr,
    pub user_data: String,
    pub authorized_keys: Vec<String>,
}

const INSTANCE: &str = "/var/lib/cloud/instance";
const INSTANCE_ID: &str = "/var/lib/cloud/data/instance-id";
const LOG: &str = "/var/log/cloud-init-output.log";

/// `sandbox-first-boot init|final`
pub fn main(arguments: &[String]) -> ExitCode {
    let mut text = String::new();
    let order: Order = match io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str(&text).map_err(|error| error.to_string()))
    {
        Ok(order) => order,
        Err(error) => {
            eprintln!("first boot: reading the order: {error}");
            return ExitCode::from(1);
        }
    };
    let mut report = Report::read();
    let done = match arguments.first().map(String::as_str) {
        Some("init") => init(&order, &mut report),
        Some("final") => last(&order, &mut report),
        _ => Err(io::Error::other("the stage is `init` or `final`")),
    };
    if let Err(error) = done {
        report.error(format!("{error}"));
    }
    if let Err(error) = report.write() {
        eprintln!("first boot: writing the result: {error}");
    }
    ExitCode::SUCCESS
}

/// Before sshd. On a later boot of the same machine there is nothing to do.
fn init(order: &Order, report: &mut Report) -> io::Result<()> {
    hosts(order, &order.name)?;
    let id = format!("i-{}", order.name);
    let known = fs::read_to_string(INSTANCE_ID).unwrap_or_default();
    if known.trim() == id && Path::new(INSTANCE).join("boot-finished").exists() {
        report.again();
        return report.write();
    }
    // The disk of another machine: cloud-init knows by the id that this one is new, and does everything again.
    if fs::symlink_metadata(INSTANCE).is_ok() && known.trim() != id {
        fs::remove_file(INSTANCE)?;
    }
    report.begin();
    report.write()?;
    machine_id()?;
    let instance = Path::new("/var/lib/cloud/instances").join(&id);
    fs::create_dir_all(instance.join("scripts"))?;
    if !Path::new(INSTANCE).exists() {
        symlink(&instance, INSTANCE)?;
    }
    private(&instance.join("user-data.txt"), &order.user_data)?;
    private(&instance.join("user-data.txt.i"), &order.user_data)?;
    fs::create_dir_all("/var/lib/cloud/data")?;
    fs::write(INSTANCE_ID, format!("{id}\n"))?;

    let config = config(order, report);
    for command in &config.bootcmd {
        shell(std::slice::from_ref(command), "bootcmd", report)?;
    }
    for file in config.files.iter().filter(|file| !file.defer) {
        report.note(write_file(file), || format!("write_files: {}", file.path));
    }
    let name = config.hostname.as_deref().unwrap_or(&order.name);
    rustix::system::sethostname(name.as_bytes())?;
    hosts(order, name)?;
    for (group, members) in &config.groups {
        report.note(add_group(group, members), || format!("groups: {group}"));
    }
    for user in &config.users {
        report.note(add_user(user), || format!("users: {}", user.name));
    }
    host_keys(&config)?;
    let mut keys = order.authorized_keys.clone();
    keys.extend(config.ssh_authorized_keys.iter().cloned());
    let options = if config.disable_root {
        "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command=\"echo 'Please login as another user.';exit 142\" "
    } else {
        ""
    };
    authorize(Path::new("/root"), 0, 0, &keys, options)
}

/// After sshd.
fn last(order: &Order, report: &mut Report) -> io::Result<()> {
    if Path::new(INSTANCE).join("boot-finished").exists() {
        report.done();
        return report.write();
    }
    let config = config(order, &mut Report::default());
    let mut log = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(LOG)?;
    for error in packages::install(&config.packages, &mut log) {
        report.error(format!("package-update-upgrade-install: {}", chain(&error)));
    }
    for file in config.files.iter().filter(|file| file.defer) {
        report.note(write_file(file), || format!("write_files: {}", file.path));
    }
    shell(&config.runcmd, "runcmd", report)?;
    if order.user_data.starts_with("#!") {
        let script = Path::new(INSTANCE).join("scripts/part-001");
        private(&script, &order.user_data)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
        run_script(&script, "part-001", report)?;
    }
    let up = fs::read_to_string("/proc/uptime").unwrap_or_default();
    fs::write(
        Path::new(INSTANCE).join("boot-finished"),
        format!(
            "{} - {} - v. sandbox\n",
            up.split(' ').next().unwrap_or("0"),
            super::cloud_status::now()
        ),
    )?;
    report.done();
    Ok(())
}

fn config(order: &Order, report: &mut Report) -> CloudConfig {
    let text = &order.user_data;
    let none = CloudConfig {
        ssh_delete_keys: true,
        ..CloudConfig::default()
    };
    if text.starts_with("#cloud-config") {
        match cloud_config::read(text) {
            Ok(config) => {
                for warning in &config.warnings {
                    report.warning(warning.clone());
                }
                return config;
            }
            Err(why) => report.error(format!("user data is no valid cloud-config: {why}")),
        }
    } else if !text.is_empty() && !text.starts_with("#!") {
        // As the real one: it warns, and does nothing with it.
        report.warning("Unhandled non-multipart (text/x-not-multipart) userdata".to_owned());
    }
    none
}

fn hosts(order: &Order, name: &str) -> io::Result<()> {
    fs::write("/etc/hostname", format!("{name}\n"))?;
    fs::write(
        "/etc/hosts",
        format!(
            "127.0.0.1 localhost\n{} {name}\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n",
            order.address
        ),
    )
}

fn machine_id() -> io::Result<()> {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?
        .trim()
        .replace('-', "");
    let _ = fs::remove_file("/etc/machine-id");
    fs::write("/etc/machine-id", format!("{id}\n"))?;
    fs::set_permissions("/etc/machine-id", fs::Permissions::from_mode(0o444))
}

fn private(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

/// Injected keys, or fresh ones. RSA is left out of the fresh ones: it costs more than the whole boot.
fn host_keys(config: &CloudConfig) -> io::Result<()> {
    let folder = Path::new("/etc/ssh");
    if config.ssh_delete_keys {
        for entry in fs::read_dir(folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("ssh_host_") {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for (name, text) in &config.ssh_keys {
        let (kind, half) = name.rsplit_once('_').unwrap_or((name, ""));
        let file = folder.join(format!(
            "ssh_host_{kind}_key{}",
            if half == "public" { ".pub" } else { "" }
        ));
        let text = if text.ends_with('\n') {
            text.clone()
        } else {
            format!("{text}\n")
        };
        if half == "public" {
            fs::write(&file, text)?
        } else {
            private(&file, &text)?
        }
        // A private key without its public half works; the half is there for people.
        if half == "private" && !config.ssh_keys.contains_key(&format!("{kind}_public")) {
            let public = Command::new("ssh-keygen")
                .args(["-y", "-f"])
                .arg(&file)
                .stdin(Stdio::null())
                .output()?;
            if public.status.success() {
                fs::write(
                    folder.join(format!("ssh_host_{kind}_key.pub")),
                    public.stdout,
                )?;
            }
        }
    }
    if config.ssh_keys.is_empty() {
        for kind in ["ed25519", "ecdsa"] {
            let file = folder.join(format!("ssh_host_{kind}_key"));
            if !file.exists() {
                let made = Command::new("ssh-keygen")
                    .args(["-q", "-t", kind, "-N", "", "-C", "root@sandbox", "-f"])
                    .arg(&file)
                    .stdin(Stdio::null())
                    .output()?;
                if !made.status.success() {
                    return Err(io::Error::other(format!(
                        "ssh-keygen: {}",
                        String::from_utf8_lossy(&made.stderr).trim()
                    )));
                }
            }
        }
    }
    Ok(())
}

fn authorize(home: &Path, user: u32, group: u32, keys: &[String], options: &str) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let folder = home.join(".ssh");
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    let file = folder.join("authorized_keys");
    let text: String = keys
        .iter()
        .map(|key| format!("{options}{}\n", key.trim()))
        .collect();
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&file)?
        .write_all(text.as_bytes())?;
    chown(&folder, Some(user), Some(group))?;
    chown(&file, Some(user), Some(group))
}

fn ids(owner: &str) -> io::Result<(u32, u32)> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
    let (uid, gid, _) =
        account(user).ok_or_else(|| io::Error::other(format!("there is no user `{user}`")))?;
    let gid = if group.is_empty() {
        gid
    } else {
        group_id(group).ok_or_else(|| io::Error::other(format!("there is no group `{group}`")))?
    };
    Ok((uid, gid))
}

fn write_file(file: &File) -> io::Result<()> {
    let path = PathBuf::from(&file.path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let content = if file.base64 {
        decode(&file.content)?
    } else {
        file.content.clone().into_bytes()
    };
    let mut open = fs::OpenOptions::new();
    if file.append {
        open.append(true)
    } else {
        open.write(true).truncate(true)
    };
    open.create(true)
        .mode(file.mode)
        .open(&path)?
        .write_all(&content)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    if let Some(owner) = &file.owner {
        let (user, group) = ids(owner)?;
        chown(&path, Some(user), Some(group))?;
    }
    Ok(())
}

fn decode(text: &str) -> io::Result<Vec<u8>> {
    let mut child = Command::new("base64")
        .args(["--decode", "--ignore-garbage"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdin = child
        .stdin
        .take()
        .ok_or_else(|| io::Error::other("base64 has no stdin"))?;
    let text = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    let written = writer
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the writer died")));
    written?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(io::Error::other("it is not base64"))
    }
}

fn tool(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    ))
}

fn add_group(name: &str, members: &[String]) -> io::Result<()> {
    if group_id(name).is_none() {
        tool(Command::new("groupadd").arg("--").arg(name))?;
    }
    members.iter().try_for_each(|member| {
        tool(
            Command::new("usermod")
                .args(["--append", "--groups", name, "--"])
                .arg(member),
        )
    })
}

fn add_user(user: &User) -> io::Result<()> {
    if account(&user.name).is_none() {
        let mut command = Command::new("useradd");
        let mut option = |name: &str, value: &Option<String>| {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        };
        option("--comment", &user.gecos);
        option("--home-dir", &user.home);
        option(
            "--shell",
            &Some(user.shell.clone().unwrap_or_else(|| "/bin/bash".to_owned())),
        );
        option("--gid", &user.primary_group);
        option("--uid", &user.uid);
        if user.system {
            command.arg("--system");
        }
        command.arg(if user.no_create_home || user.system {
            "--no-create-home"
        } else {
            "--create-home"
        });
        tool(command.arg("--").arg(&user.name))?;
    }
    for group in &user.groups {
        add_group(group, std::slice::from_ref(&user.name))?;
    }
    let denied = matches!(user.sudo.as_slice(), [] | [_] if user.sudo.first().is_none_or(|rule| matches!(rule.as_str(), "false" | "False")));
    if !denied {
        fs::create_dir_all("/etc/sudoers.d")?;
        let rules: String = user
            .sudo
            .iter()
            .map(|rule| format!("{} {rule}\n", user.name))
            .collect();
        fs::write("/etc/sudoers.d/90-cloud-init-users", rules)?;
        fs::set_permissions(
            "/etc/sudoers.d/90-cloud-init-users",
            fs::Permissions::from_mode(0o440),
        )?;
    }
    let (uid, gid, home) =
        account(&user.name).ok_or_else(|| io::Error::other("useradd left no account"))?;
    authorize(&home, uid, gid, &user.keys, "")
}

/// cloud-init turns `runcmd` into one script of `sh`; a list item is quoted word by word.
fn shell(commands: &[ShellCommand], name: &str, report: &mut Report) -> io::Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    let mut text = "#!/bin/sh\n".to_owned();
    for command in commands {
        match command {
            ShellCommand::Line(line) => text.push_str(line),
            ShellCommand::Words(words) => {
                let quoted: Vec<String> = words
                    .iter()
                    .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
                    .collect();
                text.push_str(&quoted.join(" "));
            }
        }
        text.push('\n');
    }
    let script = Path::new(INSTANCE).join("scripts").join(name);
    private(&script, &text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
    run_script(&script, name, report)
}

fn run_script(script: &Path, name: &str, report: &mut Report) -> io::Result<()> {
    let log = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(LOG)?;
    let status = Command::new(script)
        .env_clear()
        .env("PATH", places::PATH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .env("INSTANCE_ID", "i-sandbox")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => report.error(format!("scripts_user: {name}: {status} (see {LOG})")),
        // A script without an interpreter, or one that does not exist here.
        Err(error) => report.error(format!("scripts_user: {name}: {error}")),
    }
    Ok(())
}
