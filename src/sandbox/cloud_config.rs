//! `#cloud-config` as far as a machine of the sandbox carries it out (cloud-init's module
//! reference). What it does not know is a warning in cloud-init's own result, not silence.

use std::collections::BTreeMap;

use serde_json::Value;

/// What user data asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudConfig {
    pub hostname: Option<String>,
    /// `ed25519_private` and the like: file stems `ssh_host_ed25519_key`, private and public.
    pub ssh_keys: BTreeMap<String, String>,
    pub ssh_delete_keys: bool,
    /// Keys for the default user, which is root here.
    pub ssh_authorized_keys: Vec<String>,
    pub disable_root: bool,
    pub groups: Vec<(String, Vec<String>)>,
    pub users: Vec<User>,
    pub files: Vec<File>,
    pub packages: Vec<String>,
    pub bootcmd: Vec<ShellCommand>,
    pub runcmd: Vec<ShellCommand>,
    /// Keys and values that are not carried out.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub gecos: Option<String>,
    pub home: Option<String>,
    pub shell: Option<String>,
    pub primary_group: Option<String>,
    pub groups: Vec<String>,
    pub system: bool,
    pub no_create_home: bool,
    pub uid: Option<String>,
    pub sudo: Vec<String>,
    pub keys: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub content: String,
    /// `None`: as the text is. `b64` of `encoding: b64|base64`.
    pub base64: bool,
    pub owner: Option<String>,
    pub mode: u32,
    pub append: bool,
    /// Written in the final stage, after packages and users.
    pub defer: bool,
}

/// An item of `runcmd`: a string goes to the shell, a list is executed as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellCommand {
    Line(String),
    Words(Vec<String>),
}

/// Reads the text after its `#cloud-config` line. An error is a text that is no YAML mapping;
/// everything else becomes a warning.
pub fn read(text: &str) -> Result<CloudConfig, String> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error };
    let tree: Value =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    let map = match tree {
        Value::Object(map) => map,
        Value::Null => return Ok(CloudConfig::default()),
        _ => return Err("cloud-config is not a mapping".to_owned()),
    };
    // cloud-init's default: host keys that came with the image are deleted.
    let mut config = CloudConfig {
        ssh_delete_keys: true,
        ..CloudConfig::default()
    };
    for (key, value) in &map {
        match key.as_str() {
            "hostname" | "fqdn" => {
                let name = string(value);
                if key == "hostname" || config.hostname.is_none() {
                    config.hostname = Some(name.split('.').next().unwrap_or_default().to_owned());
                }
            }
            "ssh_keys" => {
                for (name, key) in value.as_object().into_iter().flatten() {
                    if matches!(
                        name.as_str(),
                        "ed25519_private"
                            | "ed25519_public"
                            | "ecdsa_private"
                            | "ecdsa_public"
                            | "rsa_private"
                            | "rsa_public"
                    ) {
                        config.ssh_keys.insert(name.clone(), string(key));
                    } else {
                        config
                            .warnings
                            .push(format!("ssh_keys.{name} is not known"));
                    }
                }
            }
            "ssh_deletekeys" => config.ssh_delete_keys = truth(value),
            "ssh_authorized_keys" => config.ssh_authorized_keys = strings(value),
            "disable_root" => config.disable_root = truth(value),
            "groups" => config.groups = groups(value),
            "users" => users(value, &mut config),
            "write_files" => files(value, &mut config),
            "packages" => config.packages = packages(value),
            "bootcmd" => config.bootcmd = commands(value),
            "runcmd" => config.runcmd = commands(value),
            // Nothing to do here, and nothing is lost: no network to update from, one clock, one image.
            "package_update"
            | "package_upgrade"
            | "package_reboot_if_required"
            | "manage_etc_hosts"
            | "preserve_hostname"
            | "timezone"
            | "locale"
            | "ssh_pwauth"
            | "final_message"
            | "growpart"
            | "resize_rootfs"
            | "ssh_genkeytypes"
            | "ssh_quiet_keygen" => {}
            other => config.warnings.push(format!(
                "the key `{other}` is not carried out in the sandbox"
            )),
        }
    }
    Ok(config)
}

fn string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A list, a comma-separated string, or nothing.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(string).collect(),
        Value::String(text) => text
            .split(',')
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect(),
        _ => Vec::new(),
    }
}

/// PyYAML reads YAML 1.1: `yes` and `on` are true.
fn truth(value: &Value) -> bool {
    match value {
        Value::Bool(is) => *is,
        Value::String(text) => matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "yes" | "on" | "y" | "1"
        ),
        Value::Number(number) => number.as_i64() == Some(1),
        _ => false,
    }
}

fn commands(value: &Value) -> Vec<ShellCommand> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| match item {
            Value::Array(words) => ShellCommand::Words(words.iter().map(string).collect()),
            other => ShellCommand::Line(string(other)),
        })
        .collect()
}

/// Names, `[name, version]` pairs, and `apt: [...]` groups.
fn packages(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|item| match item {
            Value::Array(pair) => pair.first().map(string).into_iter().collect(),
            Value::Object(managers) => managers.values().flat_map(packages).collect(),
            other => vec![string(other)],
        })
        .collect()
}

fn groups(value: &Value) -> Vec<(String, Vec<String>)> {
    match value {
        Value::Array(items) => items
            .iter()
            .flat_map(|item| match item {
                Value::Object(map) => map
                    .iter()
                    .map(|(name, members)| (name.clone(), strings(members)))
                    .collect(),
                other => vec![(string(other), Vec::new())],
            })
            .collect(),
        Value::Object(map) => map
            .iter()
            .map(|(name, members)| (name.clone(), strings(members)))
            .collect(),
        other => strings(other)
            .into_iter()
            .map(|name| (name, Vec::new()))
            .collect(),
    }
}

fn users(value: &Value, config: &mut CloudConfig) {
    for item in value.as_array().into_iter().flatten() {
        let Value::Object(map) = item else {
            // `default` is the image's own user, here root, which is there.
            if item.as_str() != Some("default") {
                config.users.push(User {
                    name: string(item),
                    ..User::default()
                });
            }
            continue;
        };
        let mut user = User::default();
        for (key, value) in map {
            match key.as_str() {
                "name" => user.name = string(value),
                "gecos" => user.gecos = Some(string(value)),
                "homedir" => user.home = Some(string(value)),
                "shell" => user.shell = Some(string(value)),
                "primary_group" => user.primary_group = Some(string(value)),
                "groups" => user.groups = strings(value),
                "system" => user.system = truth(value),
                "no_create_home" => user.no_create_home = truth(value),
                "uid" => user.uid = Some(string(value)),
                "sudo" => {
                    user.sudo = match value {
                        Value::String(rule) => vec![rule.clone()],
                        Value::Array(rules) => rules.iter().map(string).collect(),
                        _ => Vec::new(),
                    }
                }
                "ssh_authorized_keys" => user.keys = strings_whole(value),
                "lock_passwd" | "no_user_group" | "no_log_init" => {}
                other => config.warnings.push(format!(
                    "users: the key `{other}` is not carried out in the sandbox"
                )),
            }
        }
        if user.name.is_empty() {
            config
                .warnings
                .push("users: an entry has no name".to_owned());
        } else {
            config.users.push(user);
        }
    }
}

/// A list or one string; keys hold commas in their options.
fn strings_whole(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        other => strings(other),
    }
}

fn files(value: &Value, config: &mut CloudConfig) {
    for item in value.as_array().into_iter().flatten() {
        let mut file = File {
            mode: 0o644,
            ..File::default()
        };
        for (key, value) in item.as_object().into_iter().flatten() {
            match key.as_str() {
                "path" => file.path = string(value),
                "content" => file.content = string(value),
                "encoding" => match string(value).as_str() {
                    "b64" | "base64" => file.base64 = true,
                    "text/plain" => {}
                    other => config.warnings.push(format!(
                        "write_files: the encoding `{other}` is not known in the sandbox"
                    )),
                },
                "owner" => file.owner = Some(string(value)),
                "permissions" => match value {
                    Value::Number(number) => {
                        file.mode = number
                            .as_u64()
                            .and_then(|bits| u32::try_from(bits).ok())
                            .unwrap_or(0o644)
                    }
                    other => match u32::from_str_radix(string(other).trim_start_matches("0o"), 8) {
                        Ok(bits) => file.mode = bits,
                        Err(_) => config.warnings.push(format!(
                            "write_files: `{}` are no permissions; 0644 is taken",
                            string(other)
                        )),
                    },
                },
                "append" => file.append = truth(value),
                "defer" => file.defer = truth(value),
                other => config.warnings.push(format!(
                    "write_files: the key `{other}` is not carried out in the sandbox"
                )),
            }
        }
        if file.path.starts_with('/') {
            config.files.push(file);
        } else {
            config
                .warnings
                .push(format!("write_files: `{}` is no absolute path", file.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_keys_files_and_commands_are_read() {
        let config = read(
            "#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n    -----BEGIN\n    x\n  ed25519_public: ssh-ed25519 AAAA\npackages: [postgresql-15, [nginx, 1.22]]\n\
             write_files:\n- path: /etc/x\n  content: |\n    a\n    b\n  permissions: '0600'\n- {path: /y, permissions: 0640}\nruncmd:\n- echo hello\n- [touch, \"/a b\"]\nfrob: 1\n",
        )
        .unwrap();
        assert_eq!(config.ssh_keys["ed25519_private"], "-----BEGIN\nx\n");
        assert_eq!(config.packages, ["postgresql-15", "nginx"]);
        assert_eq!((config.files[0].mode, config.files[1].mode), (0o600, 0o640));
        assert_eq!(config.files[0].content, "a\nb\n");
        assert_eq!(
            config.runcmd[1],
            ShellCommand::Words(vec!["touch".to_owned(), "/a b".to_owned()])
        );
        assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    }

    #[test]
    fn a_text_that_is_no_mapping_is_an_error() {
        assert!(read("- a\n").is_err());
        assert!(read("a: [\n").is_err());
        assert!(read("a: 1\na: 2\n").is_err());
        assert_eq!(read("#cloud-config\n").unwrap(), CloudConfig::default());
    }
}
