//! Hosts are spoken to over a real sshd, and as this machine; both run the same texts.

mod connection;
mod death;
mod files;
mod jobs;
mod leashed;
mod sshd;

use dr_plan::transport::{JobId, Local, Transport};

use self::sshd::Sshd;

/// The same transport twice: over SSH, and without.
struct Hosts {
    sshd: Sshd,
}

impl Hosts {
    fn start() -> Self {
        Self {
            sshd: Sshd::start(""),
        }
    }

    fn both(&self) -> Vec<Box<dyn Transport>> {
        let near = self.sshd.path("near").display().to_string();
        vec![
            Box::new(self.sshd.ssh()),
            Box::new(Local::with_root("here", &near)),
        ]
    }

    fn jobs_of(&self, host: &dyn Transport) -> std::path::PathBuf {
        self.sshd.path(if host.host() == "here" {
            "near"
        } else {
            "jobs"
        })
    }
}

fn job(step: &str) -> JobId {
    JobId {
        run: "01run".into(),
        step: step.into(),
        attempt: 1,
    }
}
