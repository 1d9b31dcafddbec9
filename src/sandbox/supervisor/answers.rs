//! What PID 1 answers to `systemctl`, in systemctl's words and exit codes (systemctl(1)).

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    Active, LOGS, Service, ServiceError, Services,
    enabling::{disable, enable, is_enabled, mask},
    unit::{self, UnitError},
};
use crate::sandbox::systemctl::{Answer, Question};

/// Verbs that only look.
const READING: &[&str] = &[
    "status",
    "is-active",
    "is-enabled",
    "is-failed",
    "show",
    "cat",
    "list-units",
    "is-system-running",
    "list-unit-files",
];

pub async fn answer(services: &Services, question: &Question, is_root: bool) -> Answer {
    let verb = question.verb.as_str();
    if !is_root && !READING.contains(&verb) {
        return wrong(
            1,
            format!("Failed to {verb}: interactive authentication required.\n"),
        );
    }
    match verb {
        // Units are read at each use.
        "daemon-reload" | "daemon-reexec" | "reset-failed" => return Answer::default(),
        "is-system-running" => {
            return Answer {
                out: "running\n".to_owned(),
                ..Answer::default()
            };
        }
        "list-units" | "list-unit-files" => return list(services),
        _ => {}
    }
    if question.units.is_empty() {
        return wrong(1, format!("`systemctl {verb}` needs the name of a unit\n"));
    }
    let mut sum = Answer::default();
    for (number, name) in question.units.iter().enumerate() {
        let one = match verb {
            "start"
            | "stop"
            | "restart"
            | "reload"
            | "try-restart"
            | "reload-or-restart"
            | "try-reload-or-restart" => job(services, verb, name).await,
            "status" => status(services, name),
            "is-active" => is_active(services, name, question.quiet),
            "is-failed" => is_failed(services, name, question.quiet),
            "is-enabled" => is_enabled(name, question.quiet),
            "show" => show(services, name, question),
            "cat" => cat(name),
            "enable" | "disable" | "reenable" => {
                let mut one = if verb == "disable" {
                    disable(name)
                } else {
                    enable(name)
                };
                if question.now && one.code == 0 {
                    let then = job(
                        services,
                        if verb == "disable" { "stop" } else { "start" },
                        name,
                    )
                    .await;
                    one.code = then.code;
                    one.error.push_str(&then.error);
                }
                one
            }
            "mask" | "unmask" => mask(name, verb == "mask"),
            other => wrong(
                1,
                format!("`systemctl {other}` is not known in the sandbox\n"),
            ),
        };
        // is-active: 0 if any is; everything else: the last that went wrong.
        sum.code = match verb {
            "is-active" | "is-enabled" | "is-failed" if number > 0 => sum.code.min(one.code),
            _ if one.code != 0 => one.code,
            _ => sum.code,
        };
        sum.out.push_str(&one.out);
        sum.error.push_str(&one.error);
    }
    sum
}

pub(super) fn wrong(code: u8, error: String) -> Answer {
    Answer {
        code,
        error,
        ..Answer::default()
    }
}

/// A SysV script stands in where there is no unit.
pub(super) fn script(name: &str) -> Option<PathBuf> {
    let file = Path::new("/etc/init.d").join(name.trim_end_matches(".service"));
    file.is_file().then_some(file)
}

async fn job(services: &Services, verb: &str, name: &str) -> Answer {
    let active = match services.look(name) {
        Ok(service) => service.active == Active::Active,
        Err(UnitError::NotFound { .. }) => {
            if let Some(script) = script(name) {
                return run_script(&script, verb).await;
            }
            // A unit whose file went away can still be stopped.
            if verb != "stop" {
                return wrong(
                    5,
                    format!(
                        "Failed to {verb} {}: Unit {} not found.\n",
                        unit::full_name(name),
                        unit::full_name(name)
                    ),
                );
            }
            false
        }
        Err(error) => {
            return wrong(
                1,
                format!("Failed to {verb} {}: {error}\n", unit::full_name(name)),
            );
        }
    };
    let done = match verb {
        "start" => services.start(name).await,
        "stop" => services.stop(name).await,
        "restart" => services.restart(name).await,
        "reload" => services.reload(name).await,
        "try-restart" if active => services.restart(name).await,
        "try-restart" | "try-reload-or-restart" if !active => Ok(()),
        _ if active => match services.reload(name).await {
            Err(ServiceError::NoReload { .. }) => services.restart(name).await,
            other => other,
        },
        _ => services.start(name).await,
    };
    match done {
        Ok(()) => Answer::default(),
        Err(ServiceError::Unit(error @ UnitError::NotFound { .. })) => wrong(
            5,
            format!("Failed to {verb} {}: {error}\n", unit::full_name(name)),
        ),
        Err(error) => wrong(
            1,
            format!("{error}\nhint: systemctl status {name}; the output is in {LOGS}\n"),
        ),
    }
}

async fn run_script(script: &Path, verb: &str) -> Answer {
    let path = script.to_owned();
    let verb = verb.to_owned();
    // PID 1 reaps everything, so the status of a child of ours is not ours to wait for: a
    // shell writes it down.
    let out = format!("/run/sandbox/script-{}", std::process::id());
    let line = "\"$1\" \"$2\" >\"$3\" 2>&1 </dev/null; echo $? >\"$3.code\"";
    let _ = fs::remove_file(format!("{out}.code"));
    let spawned = Command::new("setsid")
        .args(["sh", "-c", line, "sh"])
        .arg(&path)
        .args([&verb, &out])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = spawned {
        return wrong(1, format!("running {}: {error}\n", path.display()));
    }
    let code = loop {
        match fs::read_to_string(format!("{out}.code"))
            .ok()
            .and_then(|text| text.trim().parse::<u8>().ok())
        {
            Some(code) => break code,
            None => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    let text = fs::read_to_string(&out).unwrap_or_default();
    Answer {
        code,
        out: if code == 0 { String::new() } else { text },
        error: String::new(),
    }
}

fn sub_state(service: &Service) -> &'static str {
    match (service.active, service.main_pid) {
        (Active::Active, Some(_)) => "running",
        (Active::Active, None) => "exited",
        (Active::Inactive, _) => "dead",
        (Active::Failed, _) => "failed",
        (Active::Activating, _) => "start",
        (Active::Deactivating, _) => "stop-sigterm",
    }
}

fn status(services: &Services, name: &str) -> Answer {
    let service = match services.look(name) {
        Ok(service) => service,
        Err(UnitError::NotFound { name: full }) => {
            return wrong(4, format!("Unit {full} could not be found.\n"));
        }
        Err(error) => return wrong(4, format!("{error}\n")),
    };
    let unit = &service.unit;
    let mut out = String::new();
    let mark = if service.active == Active::Failed {
        '×'
    } else if service.active == Active::Active {
        '●'
    } else {
        '○'
    };
    let enabled = if is_enabled(name, false).code == 0 {
        "enabled"
    } else {
        "disabled"
    };
    let _ = writeln!(out, "{mark} {} - {}", unit.name, unit.description);
    let _ = writeln!(
        out,
        "     Loaded: loaded ({}; {enabled})",
        unit.path.display()
    );
    let _ = writeln!(
        out,
        "     Active: {} ({})",
        service.active.word(),
        sub_state(&service)
    );
    if !service.result.is_empty() {
        let _ = writeln!(out, "     Result: {}", service.result);
    }
    if let Some(pid) = service.main_pid {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let _ = writeln!(out, "   Main PID: {pid} ({})", comm.trim());
    }
    if !unit.not_applied.is_empty() {
        let mut keys = unit.not_applied.clone();
        keys.sort();
        keys.dedup();
        let _ = writeln!(
            out,
            "    Warning: the sandbox does not apply {}",
            keys.join(", ")
        );
    }
    for problem in &unit.problems {
        let _ = writeln!(out, "    Warning: {problem}");
    }
    let log = unit
        .output
        .clone()
        .unwrap_or_else(|| Path::new(LOGS).join(format!("{}.log", unit.name)));
    if let Ok(bytes) = fs::read(&log) {
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        if !lines.is_empty() {
            let _ = writeln!(out, "\n{}:", log.display());
        }
        for line in &lines[lines.len().saturating_sub(10)..] {
            let _ = writeln!(out, "{line}");
        }
    }
    let code = if service.active == Active::Active {
        0
    } else {
        3
    };
    Answer {
        code,
        out,
        error: String::new(),
    }
}

fn active_word(services: &Services, name: &str) -> &'static str {
    services
        .look(name)
        .map_or("inactive", |service| service.active.word())
}

fn is_active(services: &Services, name: &str, quiet: bool) -> Answer {
    let word = active_word(services, name);
    Answer {
        code: if word == "active" { 0 } else { 3 },
        out: if quiet {
            String::new()
        } else {
            format!("{word}\n")
        },
        error: String::new(),
    }
}

fn is_failed(services: &Services, name: &str, quiet: bool) -> Answer {
    let word = active_word(services, name);
    Answer {
        code: u8::from(word != "failed"),
        out: if quiet {
            String::new()
        } else {
            format!("{word}\n")
        },
        error: String::new(),
    }
}

fn show(services: &Services, name: &str, question: &Question) -> Answer {
    let found = services.look(name);
    let missing = found.is_err();
    let service = found.unwrap_or_default();
    let properties = [
        (
            "Id",
            if missing {
                unit::full_name(name)
            } else {
                service.unit.name.clone()
            },
        ),
        (
            "LoadState",
            if missing { "not-found" } else { "loaded" }.to_owned(),
        ),
        ("ActiveState", service.active.word().to_owned()),
        ("SubState", sub_state(&service).to_owned()),
        ("MainPID", service.main_pid.unwrap_or(0).to_string()),
        ("Description", service.unit.description.clone()),
        ("FragmentPath", service.unit.path.display().to_string()),
        (
            "UnitFileState",
            if is_enabled(name, false).code == 0 {
                "enabled"
            } else {
                "disabled"
            }
            .to_owned(),
        ),
        (
            "Result",
            if service.active == Active::Failed {
                "exit-code"
            } else {
                "success"
            }
            .to_owned(),
        ),
        ("InvocationID", service.invocation.clone()),
    ];
    let mut answer = Answer::default();
    for asked in &question.properties {
        if !properties.iter().any(|(key, _)| key == asked) {
            let _ = writeln!(
                answer.error,
                "systemctl: the property {asked} is not known in the sandbox"
            );
        }
    }
    for (key, value) in &properties {
        if question.properties.is_empty() || question.properties.iter().any(|asked| asked == key) {
            let _ = if question.value {
                writeln!(answer.out, "{value}")
            } else {
                writeln!(answer.out, "{key}={value}")
            };
        }
    }
    answer
}

fn cat(name: &str) -> Answer {
    match unit::load(Path::new("/"), name) {
        Ok(unit) => Answer {
            out: format!(
                "# {}\n{}",
                unit.path.display(),
                fs::read_to_string(&unit.path).unwrap_or_default()
            ),
            ..Answer::default()
        },
        Err(error) => wrong(1, format!("{error}\n")),
    }
}

fn list(services: &Services) -> Answer {
    let mut out = String::new();
    for name in services.touched() {
        if let Ok(service) = services.look(&name) {
            let _ = writeln!(
                out,
                "{:<40} loaded {:<10} {:<10} {}",
                service.unit.name,
                service.active.word(),
                sub_state(&service),
                service.unit.description
            );
        }
    }
    Answer {
        out,
        ..Answer::default()
    }
}
