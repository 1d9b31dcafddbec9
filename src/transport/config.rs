//! The ssh_config of one host for one run. OpenSSH takes the first value it finds for each option (ssh_config(5)), so
//! our words about the host stand first, then the person's own file, and the defaults for everything else last.

use std::path::{Path, PathBuf};

use super::TransportError;

/// Which host keys are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// What these `known_hosts` files say. With none given, the person's own.
    Files(Vec<PathBuf>),
    /// These public keys and no other (`ssh-ed25519 AAAA...`), for a host that we created.
    Keys(Vec<String>),
}

/// How to reach one host.
#[derive(Debug, Clone)]
pub struct SshSettings {
    /// Its name in the inventory, or the role of a created server.
    pub host: String,
    /// An address, or a name that DNS or the person's ssh_config knows.
    pub address: String,
    /// `None` leaves it to the person's ssh_config (22 without one).
    pub port: Option<u16>,
    /// `None` leaves it to the person's ssh_config.
    pub user: Option<String>,
    /// The file with the private key; `None` leaves it to the agent and the person's ssh_config.
    pub key: Option<PathBuf>,
    /// The host keys to accept.
    pub known_hosts: Pin,
    /// `[user@]host[:port]` to jump through (`ProxyJump`); several are separated by commas. `key` and the files of
    /// `known_hosts` hold for them too.
    pub jump: Option<String>,
    /// The run's folder for ssh files; made with mode 0700.
    pub folder: PathBuf,
    /// The person's ssh_config (`~/.ssh/config` and the system's) holds for what is not set here.
    pub person_config: bool,
}

/// Whatever else could vouch for a host key, or lead to another host's connection, in the person's file or the system's
/// (ssh_config(5)). Only `known_hosts` files say which key is right, where we have named them.
const NOTHING_ELSE_VOUCHES: [(&str, &str); 5] = [
    ("KnownHostsCommand", "none"),
    ("VerifyHostKeyDNS", "no"),
    ("NoHostAuthenticationForLocalhost", "no"),
    ("ControlMaster", "no"),
    ("ControlPath", "none"),
];

/// The paths that belong to one host of one run.
pub(super) struct Files {
    pub config: PathBuf,
    pub pins: PathBuf,
}

impl SshSettings {
    pub(super) fn files(&self) -> Files {
        // The name is checked where inventories are read; this keeps a path a path whoever calls.
        let name: String = self
            .host
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        Files {
            config: self.folder.join(format!("{name}.conf")),
            pins: self.folder.join(format!("{name}.known_hosts")),
        }
    }

    /// The name under which a pinned host stands in its own `known_hosts`, whatever its address.
    pub(super) fn alias(&self) -> String {
        format!("dr-plan-{}", self.host)
    }

    /// The text of the ssh_config.
    pub(super) fn config(&self) -> Result<String, TransportError> {
        let address = plain("address", &self.address)?;
        let mut lines = vec![format!("Host {address}")];
        let mut set = |option: &str, value: &str| lines.push(format!("    {option} {value}"));
        if let Some(port) = self.port {
            set("Port", &port.to_string());
        }
        if let Some(user) = &self.user {
            set("User", plain("user", user)?);
        }
        if let Some(key) = &self.key {
            set("IdentityFile", &path(key)?);
            set("IdentitiesOnly", "yes");
        }
        if let Some(jump) = &self.jump {
            set("ProxyJump", plain("jump", jump)?);
        }
        match &self.known_hosts {
            Pin::Keys(_) => {
                set("HostKeyAlias", plain("host", &self.alias())?);
                set("UserKnownHostsFile", &path(&self.files().pins)?);
                set("GlobalKnownHostsFile", "/dev/null");
                // It is reached at its address, under the name that was pinned.
                set("CanonicalizeHostname", "no");
            }
            Pin::Files(files) if files.is_empty() => {}
            Pin::Files(files) => {
                let files: Result<Vec<_>, _> = files.iter().map(|file| path(file)).collect();
                set("UserKnownHostsFile", &files?.join(" "));
                set("GlobalKnownHostsFile", "/dev/null");
            }
        }
        let ours = !matches!(&self.known_hosts, Pin::Files(files) if files.is_empty());
        for (option, value) in NOTHING_ELSE_VOUCHES {
            // With no file named, the person's own word is what counts; a connection is ours all the same.
            if ours || option.starts_with("Control") {
                set(option, value);
            }
        }
        // None of these may be another way for one of our hosts, whatever the person's file says.
        for (option, value) in [
            ("StrictHostKeyChecking", "yes"),
            ("UpdateHostKeys", "no"),
            ("CheckHostIP", "no"),
            ("ForwardAgent", "no"),
            ("ForwardX11", "no"),
            ("ClearAllForwardings", "yes"),
            ("PermitLocalCommand", "no"),
            ("RemoteCommand", "none"),
            ("RequestTTY", "no"),
        ] {
            set(option, value);
        }
        if let Some(jump) = &self.jump {
            // The same key and the same files for the hosts on the way. A pinned key says nothing about them: there the
            // person's own files count.
            let files = match &self.known_hosts {
                Pin::Files(files) => files.as_slice(),
                Pin::Keys(_) => &[],
            };
            lines.push(format!("Host {}", jump_hosts(jump).join(" ")));
            let mut set = |option: &str, value: &str| lines.push(format!("    {option} {value}"));
            if let Some(key) = &self.key {
                set("IdentityFile", &path(key)?);
            }
            if !files.is_empty() {
                let files: Result<Vec<_>, _> = files.iter().map(|file| path(file)).collect();
                set("UserKnownHostsFile", &files?.join(" "));
                set("GlobalKnownHostsFile", "/dev/null");
                for (option, value) in NOTHING_ELSE_VOUCHES {
                    set(option, value);
                }
            }
            set("StrictHostKeyChecking", "yes");
            set("UpdateHostKeys", "no");
        }
        if self.person_config {
            // `Match all` ends our block: the included files hold for jump hosts too.
            lines.push("Match all".into());
            // A tilde is the home that the password file names, as for every `ssh` that the person types. A file
            // that is not there is passed over.
            lines.push("Include ~/.ssh/config /etc/ssh/ssh_config".into());
        }
        lines.push("Host *".into());
        for (option, value) in [
            ("BatchMode", "yes"),
            ("StrictHostKeyChecking", "yes"),
            ("ConnectTimeout", "10"),
            ("ServerAliveInterval", "10"),
            ("ServerAliveCountMax", "3"),
            ("LogLevel", "ERROR"),
        ] {
            lines.push(format!("    {option} {value}"));
        }
        lines.push(String::new());
        Ok(lines.join("\n"))
    }

    /// The lines of the pinned `known_hosts`.
    pub(super) fn pins(&self, keys: &[String]) -> Result<String, TransportError> {
        let mut text = String::new();
        for key in keys {
            let mut words = key.split_whitespace();
            let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
                return Err(TransportError::Local(format!(
                    "`{key}` is not a public host key: write it like `ssh-ed25519 AAAA...`"
                )));
            };
            text.push_str(&format!("{} {kind} {blob}\n", self.alias()));
        }
        Ok(text)
    }
}

/// The hosts in `[user@]host[:port],...` without users and ports. An IPv6 address stands in brackets.
fn jump_hosts(jump: &str) -> Vec<&str> {
    jump.split(',')
        .map(|hop| {
            let host = hop.rsplit_once('@').map_or(hop, |(_, host)| host);
            match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
                Some((address, _)) => address,
                None => host.split_once(':').map_or(host, |(host, _)| host),
            }
        })
        .collect()
}

/// A word that ssh_config reads as one word and expands nothing in.
fn plain<'a>(what: &str, value: &'a str) -> Result<&'a str, TransportError> {
    let right = !value.is_empty()
        && !value.starts_with('-')
        && value.chars().all(|c| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '@' | '[' | ']' | ',')
        });
    if right {
        Ok(value)
    } else {
        Err(TransportError::Local(format!(
            "`{value}` cannot be the {what} of a host"
        )))
    }
}

/// A path in double quotes, with `%` as ssh_config wants it.
fn path(path: &Path) -> Result<String, TransportError> {
    match path.to_str() {
        Some(text) if !text.contains(['"', '\n', '\\', '$']) => {
            Ok(format!("\"{}\"", text.replace('%', "%%")))
        }
        _ => Err(TransportError::Local(format!(
            "{} cannot stand in an ssh_config",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> SshSettings {
        SshSettings {
            host: "db".into(),
            address: "198.18.0.7".into(),
            port: Some(22),
            user: Some("root".into()),
            key: None,
            known_hosts: Pin::Keys(vec!["ssh-ed25519 AAAA someone@somewhere".into()]),
            jump: None,
            folder: "/runs/x/ssh".into(),
            person_config: true,
        }
    }

    #[test]
    fn our_words_stand_before_the_persons_and_the_defaults_last() {
        let text = settings().config().unwrap();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(at("Host 198.18.0.7") < at("Include ~/.ssh/config"));
        assert!(at("UserKnownHostsFile \"/runs/x/ssh/db.known_hosts\"") < at("Match all"));
        assert!(at("/etc/ssh/ssh_config") < at("Host *"));
        assert!(at("Host *") < at("BatchMode"));
    }

    #[test]
    fn without_the_persons_file_it_is_not_named() {
        let mut settings = settings();
        settings.person_config = false;
        let text = settings.config().unwrap();
        assert!(!text.contains("Include"), "{text}");
    }

    #[test]
    fn nothing_can_slip_an_option_in() {
        for bad in [
            "",
            "-oProxyCommand=x",
            "a b",
            "a\nProxyCommand x",
            "a\"b",
            "%h",
        ] {
            let mut wrong = settings();
            wrong.address = bad.into();
            assert!(wrong.config().is_err(), "{bad}");
            let mut wrong = settings();
            wrong.user = Some(bad.into());
            assert!(wrong.config().is_err(), "{bad}");
            let mut wrong = settings();
            wrong.jump = Some(bad.into());
            assert!(wrong.config().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_hosts_on_the_way_are_read_out_of_a_jump() {
        let jump = "me@bastion:2222,[2001:db8::1]:22,plain";
        assert_eq!(jump_hosts(jump), ["bastion", "2001:db8::1", "plain"]);
    }

    #[test]
    fn on_the_way_only_files_of_ours_are_guarded_and_the_persons_own_trust_stays_theirs() {
        let on_the_way = |pin: Pin| {
            let mut settings = settings();
            settings.jump = Some("bastion".into());
            settings.known_hosts = pin;
            let text = settings.config().unwrap();
            let (_, rest) = text.split_once("Host bastion").unwrap();
            rest.split_once("Match all").unwrap().0.to_string()
        };
        let ours = on_the_way(Pin::Files(vec!["/known".into()]));
        let theirs = on_the_way(Pin::Keys(vec!["ssh-ed25519 AAAA".into()]));
        for (option, _) in NOTHING_ELSE_VOUCHES {
            assert!(ours.contains(option), "{option}: {ours}");
            assert!(!theirs.contains(option), "{option}: {theirs}");
        }
    }

    #[test]
    fn a_pin_keeps_the_key_and_drops_its_comment() {
        let settings = settings();
        let keys = ["ssh-ed25519 AAAA someone@somewhere".to_string()];
        assert_eq!(
            settings.pins(&keys).unwrap(),
            "dr-plan-db ssh-ed25519 AAAA\n"
        );
        assert!(settings.pins(&["AAAA".to_string()]).is_err());
    }
}
