//! The text of unit files: sections, keys, quoting, specifiers and variables (systemd.syntax(7),
//! systemd.unit(5)). Every key is either carried out, known to change nothing here, or kept as
//! one that is not applied.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::unit::{Exec, KillMode, Kind, Restart, Unit, full_name, parts};

pub fn parse(unit: &mut Unit, text: &str) {
    let mut section = String::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            unit.problems.push(format!("`{line}` is not `key=value`"));
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        let value = specifiers(&unit.name, value);
        match section.as_str() {
            "Unit" => in_unit(unit, key, &value),
            "Service" => in_service(unit, key, &value),
            "Install" => in_install(unit, key, &value),
            name if name.starts_with("X-") => {}
            name => unit.problems.push(format!("section [{name}] is not known")),
        }
    }
}

fn in_unit(unit: &mut Unit, key: &str, value: &str) {
    match key {
        "Description" => unit.description = value.to_owned(),
        "PartOf" => unit.part_of.extend(value.split_whitespace().map(full_name)),
        "Requires" | "Wants" | "BindsTo" => unit.needs.extend(
            value
                .split_whitespace()
                .filter(|name| name.ends_with(".service"))
                .map(str::to_owned),
        ),
        "ConditionPathExists" => unit.conditions.push((value.to_owned(), false)),
        "AssertPathExists" => unit.conditions.push((value.to_owned(), true)),
        // Order, documentation, and mounts: there is nothing here that they would change.
        "After"
        | "Before"
        | "Documentation"
        | "RequiresMountsFor"
        | "ReloadPropagatedFrom"
        | "DefaultDependencies"
        | "StartLimitIntervalSec"
        | "StartLimitBurst"
        | "StartLimitInterval"
        | "Conflicts" => {}
        other => unit.not_applied.push(other.to_owned()),
    }
}

fn in_install(unit: &mut Unit, key: &str, value: &str) {
    match key {
        "WantedBy" | "RequiredBy" => unit
            .wanted_by
            .extend(value.split_whitespace().map(str::to_owned)),
        "Alias" => unit
            .aliases
            .extend(value.split_whitespace().map(str::to_owned)),
        other => unit.not_applied.push(other.to_owned()),
    }
}

fn in_service(unit: &mut Unit, key: &str, value: &str) {
    match key {
        "Type" => match value {
            "simple" => unit.kind = Kind::Simple,
            "exec" => unit.kind = Kind::Exec,
            "forking" => unit.kind = Kind::Forking,
            "oneshot" => unit.kind = Kind::Oneshot,
            "notify" | "notify-reload" => unit.kind = Kind::Notify,
            other => unit
                .problems
                .push(format!("Type={other} is treated as simple")),
        },
        "ExecStart" => exec(&mut unit.start, value),
        "ExecStartPre" | "ExecCondition" => exec(&mut unit.start_pre, value),
        "ExecStartPost" => exec(&mut unit.start_post, value),
        "ExecReload" => exec(&mut unit.reload, value),
        "ExecStop" => exec(&mut unit.stop, value),
        "ExecStopPost" => exec(&mut unit.stop_post, value),
        "User" => unit.user = some(value),
        "Group" => unit.group = some(value),
        "WorkingDirectory" => unit.working_directory = some(value),
        "Environment" if value.is_empty() => unit.environment.clear(),
        "Environment" => match split(value) {
            Ok(words) => unit.environment.extend(
                words
                    .iter()
                    .filter_map(|word| word.split_once('='))
                    .map(|(k, v)| (k.to_owned(), v.to_owned())),
            ),
            Err(why) => unit.problems.push(format!("Environment={value}: {why}")),
        },
        "EnvironmentFile" if value.is_empty() => unit.environment_files.clear(),
        "EnvironmentFile" => {
            let optional = value.starts_with('-');
            unit.environment_files
                .push((PathBuf::from(value.trim_start_matches('-')), optional));
        }
        "RuntimeDirectory" => folders(unit, "/run", value),
        "StateDirectory" => folders(unit, "/var/lib", value),
        "LogsDirectory" => folders(unit, "/var/log", value),
        "CacheDirectory" => folders(unit, "/var/cache", value),
        "RuntimeDirectoryMode" => mode(unit, "/run", value),
        "StateDirectoryMode" => mode(unit, "/var/lib", value),
        "LogsDirectoryMode" => mode(unit, "/var/log", value),
        "CacheDirectoryMode" => mode(unit, "/var/cache", value),
        "UMask" => unit.umask = u32::from_str_radix(value, 8).ok(),
        "PIDFile" => {
            let path = Path::new(value);
            unit.pid_file = Some(if path.is_absolute() {
                path.to_owned()
            } else {
                Path::new("/run").join(path)
            });
        }
        "RemainAfterExit" => unit.remain_after_exit = truth(value),
        "Restart" => {
            unit.restart = match value {
                "no" => Restart::No,
                "always" | "on-success" => Restart::Always,
                _ => Restart::OnFailure,
            }
        }
        "RestartSec" => set(&mut unit.restart_delay, seconds(value)),
        "TimeoutStartSec" => unit.start_timeout = seconds(value).filter(|time| !time.is_zero()),
        "TimeoutStopSec" => set(
            &mut unit.stop_timeout,
            seconds(value).map(|time| {
                if time.is_zero() {
                    Duration::from_secs(3600)
                } else {
                    time
                }
            }),
        ),
        "TimeoutSec" => {
            unit.start_timeout = seconds(value).filter(|time| !time.is_zero());
            set(&mut unit.stop_timeout, seconds(value));
        }
        "KillMode" => {
            unit.kill_mode = match value {
                "mixed" => KillMode::Mixed,
                "process" => KillMode::Process,
                "none" => KillMode::None,
                _ => KillMode::ControlGroup,
            }
        }
        "KillSignal" => unit.kill_signal = Some(value.trim_start_matches("SIG").to_owned()),
        "StandardOutput" | "StandardError" => {
            if let Some((how, file)) = value
                .split_once(':')
                .filter(|(how, _)| matches!(*how, "append" | "file" | "truncate"))
            {
                let _ = how;
                unit.output = Some(PathBuf::from(file));
            } else if !matches!(
                value,
                "journal" | "inherit" | "null" | "journal+console" | "syslog"
            ) {
                unit.problems
                    .push(format!("{key}={value} is treated as journal"));
            }
        }
        "SyslogIdentifier"
        | "NotifyAccess"
        | "RestartPreventExitStatus"
        | "GuessMainPID"
        | "OOMScoreAdjust"
        | "Nice" => {}
        other => unit.not_applied.push(other.to_owned()),
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn some(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn truth(value: &str) -> bool {
    matches!(value, "yes" | "true" | "on" | "1")
}

fn folders(unit: &mut Unit, below: &str, value: &str) {
    unit.folders.extend(
        value
            .split_whitespace()
            .map(|name| (Path::new(below).join(name), 0o755)),
    );
}

/// The mode of the folders below `below`; the key may stand before or after them.
fn mode(unit: &mut Unit, below: &str, value: &str) {
    if let Ok(bits) = u32::from_str_radix(value, 8) {
        for (_, mode) in unit
            .folders
            .iter_mut()
            .filter(|(path, _)| path.starts_with(below))
        {
            *mode = bits;
        }
    }
}

/// Time spans of systemd.time(7) as unit files use them: `5`, `5s`, `100ms`, `1min 30s`, `1h`.
/// `infinity` is zero, which means no limit.
fn seconds(text: &str) -> Option<Duration> {
    if text == "infinity" {
        return Some(Duration::ZERO);
    }
    let mut sum = Duration::ZERO;
    for word in text.split_whitespace() {
        let digits = word
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(word.len());
        let number: u64 = word[..digits].parse().ok()?;
        sum += match &word[digits..] {
            "" | "s" | "sec" | "second" | "seconds" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            "m" | "min" | "minute" | "minutes" => Duration::from_secs(60 * number),
            "h" | "hr" | "hour" | "hours" => Duration::from_secs(3600 * number),
            _ => return None,
        };
    }
    Some(sum)
}

fn exec(list: &mut Vec<Exec>, value: &str) {
    if value.is_empty() {
        list.clear();
        return;
    }
    let command = value.trim_start_matches(['-', '@', ':', '+', '!']);
    let prefix = &value[..value.len() - command.len()];
    // A line with bad quoting still becomes a command, which then fails by name.
    let words = split(command).unwrap_or_else(|_| vec![command.to_owned()]);
    list.push(Exec {
        words,
        may_fail: prefix.contains('-'),
        as_root: prefix.contains(['+', '!']),
    });
}

/// Words with the quoting of systemd.syntax(7): single and double quotes, backslash escapes.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', _) => {
                let next = letters.next().ok_or("it ends in a backslash")?;
                let meant = match next {
                    'n' => '\n',
                    't' => '\t',
                    's' => ' ',
                    other => other,
                };
                word.get_or_insert_default().push(meant);
            }
            (end, Some(open)) if end == open => quote = None,
            (inside, Some(_)) => word.get_or_insert_default().push(inside),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (space, None) if space.is_whitespace() => words.extend(word.take()),
            (other, None) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

/// `%i`, `%I`, `%n`, `%N`, `%p`, `%t`, `%S`, `%L`, `%%` (systemd.unit(5), SPECIFIERS).
fn specifiers(name: &str, value: &str) -> String {
    let (prefix, instance) = parts(name);
    let instance = instance.unwrap_or_default();
    let mut out = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('i') => out.push_str(instance),
            Some('I') => out.push_str(&instance.replace('-', "/")),
            Some('n') => out.push_str(name),
            Some('N') => out.push_str(name.rsplit_once('.').map_or(name, |(stem, _)| stem)),
            Some('p') => out.push_str(prefix),
            Some('t') => out.push_str("/run"),
            Some('S') => out.push_str("/var/lib"),
            Some('L') => out.push_str("/var/log"),
            Some('h') => out.push_str("/root"),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

/// Puts variables into a command: `${NAME}` anywhere, `$NAME` alone as a word is split at spaces
/// (systemd.service(5), COMMAND LINES).
pub fn with_variables(exec: &Exec, look: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut words = Vec::new();
    for (number, word) in exec.words.iter().enumerate() {
        if number > 0
            && let Some(name) = word.strip_prefix('$').filter(|name| {
                name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.is_empty()
            })
        {
            words.extend(
                look(name)
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned),
            );
            continue;
        }
        let mut out = String::new();
        let mut rest = word.as_str();
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else {
                break;
            };
            out.push_str(&rest[..start]);
            out.push_str(&look(&rest[start + 2..start + length]).unwrap_or_default());
            rest = &rest[start + length + 1..];
        }
        out.push_str(rest);
        words.push(out.replace("$$", "$"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, text: &str) -> Unit {
        let mut unit = Unit {
            name: name.to_owned(),
            ..Unit::default()
        };
        parse(&mut unit, text);
        unit
    }

    #[test]
    fn nginx_of_debian_is_understood() {
        let unit = unit(
            "nginx.service",
            "[Unit]\nDescription=web\n[Service]\nType=forking\nPIDFile=/run/nginx.pid\nExecStartPre=/usr/sbin/nginx -t -q -g 'daemon on; master_process on;'\n\
             ExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'\nExecStop=-/sbin/start-stop-daemon --quiet\nTimeoutStopSec=5\nKillMode=mixed\n[Install]\nWantedBy=multi-user.target\n",
        );
        assert_eq!(unit.kind, Kind::Forking);
        assert_eq!(
            unit.start[0].words,
            ["/usr/sbin/nginx", "-g", "daemon on; master_process on;"]
        );
        assert!(unit.stop[0].may_fail && !unit.start[0].may_fail);
        assert_eq!(unit.stop_timeout, Duration::from_secs(5));
        assert!(unit.not_applied.is_empty() && unit.problems.is_empty());
    }

    #[test]
    fn an_instance_fills_its_template() {
        let unit = unit(
            "postgresql@15-main.service",
            "[Service]\nPIDFile=/run/postgresql/%i.pid\nExecStart=-/usr/bin/pg_ctlcluster %i start\n[Unit]\nAssertPathExists=/etc/postgresql/%I/postgresql.conf\n",
        );
        assert_eq!(
            unit.pid_file.unwrap(),
            Path::new("/run/postgresql/15-main.pid")
        );
        assert_eq!(
            unit.conditions[0].0,
            "/etc/postgresql/15/main/postgresql.conf"
        );
        assert_eq!(unit.start[0].words[1], "15-main");
    }

    #[test]
    fn a_key_that_is_not_carried_out_is_remembered() {
        let unit = unit(
            "a.service",
            "[Service]\nExecStart=/bin/true\nProtectSystem=strict\nFrobnicate=1\n",
        );
        assert_eq!(unit.not_applied, ["ProtectSystem", "Frobnicate"]);
    }

    #[test]
    fn variables_are_put_in_whole_or_split() {
        let exec = Exec {
            words: ["/bin/x", "$OPTS", "a${B}c", "$"]
                .map(str::to_owned)
                .to_vec(),
            may_fail: false,
            as_root: false,
        };
        let words = with_variables(&exec, &|name| match name {
            "OPTS" => Some("-a -b".to_owned()),
            "B" => Some("1 2".to_owned()),
            _ => None,
        });
        assert_eq!(words, ["/bin/x", "-a", "-b", "a1 2c", "$"]);
    }

    #[test]
    fn an_empty_assignment_starts_the_list_anew() {
        let unit = unit(
            "a.service",
            "[Service]\nExecStart=/bin/a\nExecStart=\nExecStart=/bin/b\n",
        );
        assert_eq!(unit.start.len(), 1);
        assert_eq!(unit.start[0].words, ["/bin/b"]);
    }

    #[test]
    fn time_spans_are_read_as_systemd_does() {
        assert_eq!(seconds("1min 30s"), Some(Duration::from_secs(90)));
        assert_eq!(seconds("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(seconds("infinity"), Some(Duration::ZERO));
        assert_eq!(seconds("soon"), None);
    }
}
