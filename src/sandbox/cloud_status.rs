//! What cloud-init says of itself: `/run/cloud-init/status.json`, `result.json`, and the command
//! `cloud-init status [--wait] [--format json] [--long]`, in the words and exit codes of the real
//! one (0 done, 1 error, 2 recoverable error).

use std::{
    fs, io,
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

const FOLDER: &str = "/run/cloud-init";
const STATUS: &str = "/run/cloud-init/status.json";
const KEPT: &str = "/var/lib/cloud/data/sandbox-report.json";

/// How far the first boot is and what went wrong.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    begun: bool,
    done: bool,
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Report {
    /// As the stage before left it; empty at the start of a boot.
    pub fn read() -> Self {
        fs::read_to_string(STATUS)
            .ok()
            .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
            .and_then(|value| serde_json::from_value(value["sandbox"].clone()).ok())
            .unwrap_or_default()
    }

    /// A later boot of the same machine: the outcome of the first one is what is told.
    pub fn again(&mut self) {
        if let Some(kept) = fs::read_to_string(KEPT)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
        {
            *self = kept;
        }
        self.begun = true;
        self.done = false;
    }

    pub fn begin(&mut self) {
        self.begun = true;
    }

    pub fn done(&mut self) {
        self.done = true;
    }

    pub fn error(&mut self, text: String) {
        self.errors.push(text);
    }

    pub fn warning(&mut self, text: String) {
        self.warnings.push(text);
    }

    pub fn note(&mut self, outcome: io::Result<()>, what: impl FnOnce() -> String) {
        if let Err(error) = outcome {
            self.error(format!("{}: {error}", what()));
        }
    }

    /// Writes the files of cloud-init; each appears whole.
    pub fn write(&self) -> io::Result<()> {
        fs::create_dir_all(FOLDER)?;
        let status = json!({
            "v1": {
                "datasource": "DataSourceSandbox",
                "stage": if self.done { serde_json::Value::Null } else { "modules-final".into() },
                "init": {"errors": self.errors, "recoverable_errors": self.recoverable()},
            },
            "sandbox": self,
        });
        whole(Path::new(STATUS), &status.to_string())?;
        if self.done {
            fs::create_dir_all("/var/lib/cloud/data")?;
            whole(Path::new(KEPT), &serde_json::to_string(self)?)?;
            let result = json!({"v1": {"datasource": "DataSourceSandbox", "errors": self.errors, "recoverable_errors": self.recoverable()}});
            whole(&Path::new(FOLDER).join("result.json"), &result.to_string())?;
            whole(
                Path::new("/var/lib/cloud/data/result.json"),
                &result.to_string(),
            )?;
        }
        Ok(())
    }

    fn recoverable(&self) -> serde_json::Value {
        if self.warnings.is_empty() {
            json!({})
        } else {
            json!({"WARNING": self.warnings})
        }
    }

    fn word(&self) -> &'static str {
        match (self.begun, self.done) {
            (false, _) => "not started",
            (true, false) => "running",
            (true, true) if self.errors.is_empty() => "done",
            (true, true) => "error",
        }
    }

    fn extended(&self) -> String {
        let degraded = if self.warnings.is_empty() || !self.errors.is_empty() {
            ""
        } else {
            "degraded "
        };
        format!("{degraded}{}", self.word())
    }

    fn code(&self) -> u8 {
        match (self.errors.is_empty(), self.warnings.is_empty()) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 0,
        }
    }
}

fn whole(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

/// RFC 2822, as cloud-init writes times.
pub fn now() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let time =
        jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// `cloud-init status ...`
pub fn main(arguments: &[String]) -> ExitCode {
    if arguments.first().map(String::as_str) == Some("--version") {
        println!("/usr/bin/cloud-init sandbox");
        return ExitCode::SUCCESS;
    }
    if arguments.first().map(String::as_str) != Some("status") {
        eprintln!(
            "cloud-init: the sandbox knows `cloud-init status [--wait] [--long] [--format json]` only"
        );
        return ExitCode::from(1);
    }
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let json = has("--format=json")
        || arguments
            .windows(2)
            .any(|pair| pair == ["--format", "json"]);
    let mut report = Report::read();
    while has("--wait") && !report.done {
        // The real one polls as well, and prints dots.
        std::thread::sleep(Duration::from_millis(20));
        report = Report::read();
    }
    if json {
        let told = json!({
            "_schema_version": "1",
            "boot_status_code": "enabled-by-generator",
            "datasource": "sandbox",
            "detail": "DataSourceSandbox",
            "errors": report.errors,
            "extended_status": report.extended(),
            "last_update": now(),
            "recoverable_errors": report.recoverable(),
            "schemas": {},
            "status": report.word(),
        });
        println!("{told:#}");
    } else {
        println!("status: {}", report.word());
        if has("--long") || has("-l") {
            println!(
                "extended_status: {}\nboot_status_code: enabled-by-generator\ndetail: DataSourceSandbox\nerrors: {:?}\nrecoverable_errors: {}",
                report.extended(),
                report.errors,
                report.recoverable()
            );
        }
    }
    ExitCode::from(report.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_degrades_and_an_error_wins() {
        let mut report = Report {
            begun: true,
            ..Report::default()
        };
        assert_eq!((report.word(), report.code()), ("running", 0));
        report.done();
        assert_eq!(
            (report.word(), report.extended().as_str(), report.code()),
            ("done", "done", 0)
        );
        report.warning("w".to_owned());
        assert_eq!(
            (report.word(), report.extended().as_str(), report.code()),
            ("done", "degraded done", 2)
        );
        report.error("e".to_owned());
        assert_eq!(
            (report.word(), report.extended().as_str(), report.code()),
            ("error", "error", 1)
        );
    }
}
