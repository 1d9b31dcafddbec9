//! Everything a transport does, told once for every way to reach a host: leashed reads, jobs that outlive us, files.
//! What happens on the host stands in the shell texts of `remote/`.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::pool::{Opener, Pool, Request};
use super::quote::{Text, shown, whole};
use super::shell::{Mode, Said};
use super::{Answer, JobId, JobState, LogPart, Script, TransportError, Upload};

const AS: &str = include_str!("remote/as.sh");
const END: &str = include_str!("remote/end.sh");
const JOB: &str = include_str!("remote/job.sh");
const KEEP: &str = include_str!("remote/keep.sh");
const LEASH: &str = include_str!("remote/leash.sh");
const LOOK: &str = include_str!("remote/look.sh");
const PUT: &str = include_str!("remote/put.sh");
const START: &str = include_str!("remote/start.sh");
const WATCH: &str = include_str!("remote/watch.sh");

/// A look, a start or a stretch of log is a matter of milliseconds; this much is for bad nights.
const SHORT: Duration = Duration::from_secs(30);

/// Five seconds for the job to end by itself, three for its keeper, and room.
const ENDING: Duration = Duration::from_secs(60);

/// `watch.sh` sends at most this many bytes of a log at once.
const LOG_STRETCH: usize = 262_144;

impl<O: Opener> Pool<O> {
    pub(super) async fn leashed(
        &self,
        script: &Script,
        deadline: Duration,
    ) -> Result<Answer, TransportError> {
        let text = Text::default()
            .set("dr_user", script.run_as.as_deref().unwrap_or(""))?
            .set("dr_ours", if script.ours { "1" } else { "" })?
            .hold("dr_script", &whole(script)?)?
            .constant(AS)
            .constant(LEASH);
        let request = Request {
            mode: if script.ours {
                Mode::Direct
            } else {
                Mode::Relayed
            },
            text,
            input: &[],
        };
        self.carry(request, deadline).await.map(Answer::from)
    }

    pub(super) async fn start(
        &self,
        job: &JobId,
        script: &Script,
        deadline: Duration,
    ) -> Result<(), TransportError> {
        let keeper = Text::default()
            .set("dr_user", script.run_as.as_deref().unwrap_or(""))?
            .hold("dr_script", &whole(script)?)?
            .constant(AS)
            .constant(JOB)
            .constant(KEEP)
            .sealed("end");
        let seconds = deadline.as_secs_f64().ceil().max(1.0);
        let text = self
            .about(job)?
            .set("DR_SECONDS", &format!("{seconds}"))?
            .hold("DR_SHOWN", &shown(script)?)?
            .hold("dr_keeper_text", &keeper)?
            .constant(JOB)
            .constant(START);
        self.short(text, "start a job").await.map(drop)
    }

    pub(super) async fn look_all(&self, jobs: &[JobId]) -> Result<Vec<JobState>, TransportError> {
        let folders: Result<Vec<String>, _> = jobs.iter().map(|job| self.folder(job)).collect();
        let text = Text::default()
            .set("DR_DIRECTORIES", &folders?.join("\n"))?
            .constant(JOB)
            .constant(LOOK);
        let said = self.short(text, "look at a job").await?;
        let text = String::from_utf8_lossy(&said.stdout);
        let states: Result<Vec<_>, _> = text.lines().map(|line| self.state(line)).collect();
        let states = states?;
        if states.len() != jobs.len() {
            return Err(TransportError::Lost {
                host: self.opener.host().to_string(),
                why: format!("a look at {} job(s) was answered with `{text}`", jobs.len()),
            });
        }
        Ok(states)
    }

    pub(super) async fn watch(
        &self,
        job: &JobId,
        from: u64,
        patience: Duration,
    ) -> Result<(JobState, LogPart), TransportError> {
        // Waiting takes a session; when many wait already, this one only looks.
        let seat = self.watchers.try_acquire();
        // Rounds of a quarter of a second, after the first short ones.
        let ticks = match &seat {
            Ok(_) if !patience.is_zero() => patience.as_millis().div_ceil(250) + 2,
            _ => 0,
        };
        let text = self
            .about(job)?
            .set("DR_FROM", &from.to_string())?
            .set("DR_TICKS", &ticks.to_string())?
            .constant(JOB)
            .constant(WATCH);
        let request = Request {
            mode: Mode::Direct,
            text,
            input: &[],
        };
        let said = self.carry(request, SHORT + patience).await?;
        let said = self.checked(said, "follow a job")?;
        let end = said
            .stdout
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(said.stdout.len());
        let state = self.state(&String::from_utf8_lossy(&said.stdout[..end]))?;
        let log = said.stdout.get(end + 1..).unwrap_or(&[]);
        let running = matches!(state, JobState::Running { .. });
        Ok((state, whole_lines(log, from, running)))
    }

    pub(super) async fn end(&self, job: &JobId) -> Result<(), TransportError> {
        let text = self.about(job)?.constant(JOB).constant(END);
        let request = Request {
            mode: Mode::Direct,
            text,
            input: &[],
        };
        let said = self.carry(request, ENDING).await?;
        self.checked(said, "end a job").map(drop)
    }

    pub(super) async fn put(&self, file: &Upload) -> Result<(), TransportError> {
        if !file.to.starts_with('/') || file.to.ends_with('/') {
            return Err(TransportError::Local(format!(
                "`{}` is not the absolute path of a file",
                file.to
            )));
        }
        let sum: String = Sha256::digest(&file.content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let text = Text::default()
            .set("DR_TO", &file.to)?
            .set("DR_NONCE", &super::frame::nonce())?
            .set("DR_LENGTH", &file.content.len().to_string())?
            .set("DR_SHA256", &sum)?
            .set("DR_OWNER", file.owner.as_deref().unwrap_or(""))?
            .set("DR_MODE", &format!("{:04o}", file.mode & 0o7777))?
            .set("DR_KEEP", file.keep.as_deref().unwrap_or(""))?
            .constant(PUT);
        let request = Request {
            mode: Mode::Input,
            text,
            input: &file.content,
        };
        // A slow line still carries 100 kB/s.
        let deadline = SHORT + Duration::from_millis(file.content.len() as u64 / 100);
        let said = self.carry(request, deadline).await?;
        self.checked(said, &format!("put `{}`", file.to)).map(drop)
    }

    /// The job's folder, for a text that works on it.
    fn about(&self, job: &JobId) -> Result<Text, TransportError> {
        Text::default().set("DR_DIRECTORY", &self.folder(job)?)
    }

    fn folder(&self, job: &JobId) -> Result<String, TransportError> {
        for part in [&job.run, &job.step] {
            let first = part.chars().next();
            let right = first.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.chars().all(|c| {
                    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-')
                });
            if !right {
                return Err(TransportError::Local(format!(
                    "`{part}` cannot name a job's folder"
                )));
            }
        }
        Ok(format!("{}/{job}", self.root))
    }

    async fn short(&self, text: Text, doing: &str) -> Result<Said, TransportError> {
        let request = Request {
            mode: Mode::Direct,
            text,
            input: &[],
        };
        let said = self.carry(request, SHORT).await?;
        self.checked(said, doing)
    }

    fn checked(&self, said: Said, doing: &str) -> Result<Said, TransportError> {
        if said.status == 0 {
            return Ok(said);
        }
        let status = said.status;
        let answer = Answer::from(said);
        let why = match answer.said() {
            said if said.is_empty() => format!("status {status}"),
            said => said,
        };
        Err(TransportError::Failed {
            host: self.opener.host().to_string(),
            doing: doing.to_string(),
            why,
        })
    }

    fn state(&self, line: &str) -> Result<JobState, TransportError> {
        let mut words = line.split_whitespace();
        let state = match (words.next(), words.next(), words.next()) {
            (Some("absent"), None, _) => Some(JobState::Absent),
            (Some("running"), Some(since), _) => {
                since.parse().ok().map(|since| JobState::Running { since })
            }
            (Some("exited"), Some(status), how) => {
                status.parse().ok().map(|status| JobState::Exited {
                    status,
                    deadline: how == Some("deadline"),
                })
            }
            (Some("died"), Some(how), _) => Some(JobState::Died {
                why: match how {
                    "boot" => "the host has been booted since".to_string(),
                    _ => "its lock is free and it has written no exit status".to_string(),
                },
            }),
            _ => None,
        };
        state.ok_or_else(|| TransportError::Lost {
            host: self.opener.host().to_string(),
            why: format!("a look at a job was answered with `{line}`"),
        })
    }
}

/// Cuts a stretch of log at its last line break; what a job left unfinished counts once it has ended.
fn whole_lines(log: &[u8], from: u64, running: bool) -> LogPart {
    let more = log.len() >= LOG_STRETCH;
    let length = if running || more {
        match log.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            // One line that fills the stretch is given in parts.
            None if more => log.len(),
            None => 0,
        }
    } else {
        log.len()
    };
    LogPart {
        text: String::from_utf8_lossy(&log[..length]).into_owned(),
        next: from + length as u64,
        more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_when_it_is_whole_or_its_job_has_ended() {
        let part = whole_lines(b"one\ntwo\nthr", 100, true);
        assert_eq!((part.text.as_str(), part.next), ("one\ntwo\n", 108));
        let part = whole_lines(b"thr", 108, true);
        assert_eq!((part.text.as_str(), part.next), ("", 108));
        let part = whole_lines(b"three", 108, false);
        assert_eq!((part.text.as_str(), part.next), ("three", 113));
        let endless = vec![b'x'; LOG_STRETCH];
        let part = whole_lines(&endless, 0, true);
        assert_eq!((part.next, part.more), (LOG_STRETCH as u64, true));
    }
}
