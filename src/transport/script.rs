//! A host that exists only in a test: it answers as it was told and writes down what it was asked.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::{Answer, JobId, JobState, LogPart, Script, Transport, TransportError, Upload};

/// One thing that a scripted host was asked for. Secrets are written down by name only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A leashed script.
    Leashed {
        /// Its text.
        text: String,
        /// Its values.
        values: Vec<(String, String)>,
        /// The names of its secrets.
        secrets: Vec<String>,
        /// Its user.
        run_as: Option<String>,
    },
    /// The start of a job.
    Start {
        /// Which.
        job: JobId,
        /// Its text.
        text: String,
        /// Its values.
        values: Vec<(String, String)>,
        /// The names of its secrets.
        secrets: Vec<String>,
        /// Its user.
        run_as: Option<String>,
    },
    /// A look at a job.
    Look(JobId),
    /// The end of a job.
    End(JobId),
    /// A file.
    Put {
        /// Where to.
        to: String,
        /// The content.
        content: bytes::Bytes,
        /// The owner.
        owner: Option<String>,
        /// The permission bits.
        mode: u32,
    },
    /// Forget the connection.
    Disconnect,
}

type Reply = Result<Answer, TransportError>;

#[derive(Default)]
struct Told {
    /// Part of a script's text -> its answers, in order; the last one stays.
    answers: Vec<(String, VecDeque<Reply>)>,
    /// Part of a job's text -> how it ends and what its log says.
    ends: Vec<(String, JobState, String)>,
    jobs: HashMap<String, (JobState, String)>,
    asked: Vec<Asked>,
}

/// A scripted host. A script that nobody said anything about answers with status 0 and no output; a job with exit 0.
#[derive(Default)]
pub struct Scripted {
    host: String,
    told: Mutex<Told>,
}

impl Scripted {
    /// A host of this name.
    pub fn new(host: &str) -> Self {
        Self {
            host: host.to_string(),
            told: Mutex::default(),
        }
    }

    /// A leashed script whose text contains `part` is answered so. Told several times, it answers in that order, and
    /// with the last one from then on.
    #[must_use]
    pub fn answer(self, part: &str, status: i32, stdout: &str) -> Self {
        self.reply(
            part,
            Ok(Answer {
                status,
                stdout: stdout.to_string(),
                stderr: String::new(),
                truncated: false,
            }),
        )
    }

    /// As [`Scripted::answer`], with a whole answer or an error.
    #[must_use]
    pub fn reply(self, part: &str, reply: Result<Answer, TransportError>) -> Self {
        {
            let mut told = self.told.lock().expect("no holder panics");
            match told.answers.iter_mut().find(|(known, _)| known == part) {
                Some((_, replies)) => replies.push_back(reply),
                None => told.answers.push((part.to_string(), [reply].into())),
            }
        }
        self
    }

    /// A job whose text contains `part` stands so once it was started, with this log.
    #[must_use]
    pub fn job(self, part: &str, state: JobState, log: &str) -> Self {
        self.told.lock().expect("no holder panics").ends.push((
            part.to_string(),
            state,
            log.to_string(),
        ));
        self
    }

    /// Puts a job there as if it had been started before, or changes how it stands.
    pub fn set_job(&self, job: &JobId, state: JobState, log: &str) {
        self.told
            .lock()
            .expect("no holder panics")
            .jobs
            .insert(job.to_string(), (state, log.to_string()));
    }

    /// Everything that was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.told.lock().expect("no holder panics").asked.clone()
    }
}

fn names(script: &Script) -> Vec<String> {
    script
        .secrets
        .iter()
        .map(|(name, _)| name.clone())
        .collect()
}

#[async_trait]
impl Transport for Scripted {
    fn host(&self) -> &str {
        &self.host
    }

    async fn leashed(&self, script: &Script, _: Duration) -> Result<Answer, TransportError> {
        let mut told = self.told.lock().expect("no holder panics");
        told.asked.push(Asked::Leashed {
            text: script.text.clone(),
            values: script.values.clone(),
            secrets: names(script),
            run_as: script.run_as.clone(),
        });
        let replies = told
            .answers
            .iter_mut()
            .find(|(part, _)| script.text.contains(part.as_str()))
            .map(|(_, replies)| replies);
        match replies {
            Some(replies) if replies.len() > 1 => replies.pop_front(),
            Some(replies) => replies.front().cloned(),
            None => None,
        }
        .unwrap_or_else(|| {
            Ok(Answer {
                status: 0,
                stdout: String::new(),
                stderr: String::new(),
                truncated: false,
            })
        })
    }

    async fn start(&self, job: &JobId, script: &Script, _: Duration) -> Result<(), TransportError> {
        let mut told = self.told.lock().expect("no holder panics");
        told.asked.push(Asked::Start {
            job: job.clone(),
            text: script.text.clone(),
            values: script.values.clone(),
            secrets: names(script),
            run_as: script.run_as.clone(),
        });
        let end = told
            .ends
            .iter()
            .find(|(part, _, _)| script.text.contains(part.as_str()))
            .map(|(_, state, log)| (state.clone(), log.clone()))
            .unwrap_or((
                JobState::Exited {
                    status: 0,
                    deadline: false,
                },
                String::new(),
            ));
        // As on a real host: what was started once is not started again.
        told.jobs.entry(job.to_string()).or_insert(end);
        Ok(())
    }

    async fn look_all(&self, jobs: &[JobId]) -> Result<Vec<JobState>, TransportError> {
        let mut told = self.told.lock().expect("no holder panics");
        told.asked.extend(jobs.iter().cloned().map(Asked::Look));
        let state = |job: &JobId| match told.jobs.get(&job.to_string()) {
            Some((state, _)) => state.clone(),
            None => JobState::Absent,
        };
        Ok(jobs.iter().map(state).collect())
    }

    async fn watch(
        &self,
        job: &JobId,
        from: u64,
        _: Duration,
    ) -> Result<(JobState, LogPart), TransportError> {
        let state = self.look(job).await?;
        Ok((state, self.read_log(job, from).await?))
    }

    async fn read_log(&self, job: &JobId, from: u64) -> Result<LogPart, TransportError> {
        let told = self.told.lock().expect("no holder panics");
        let log = told.jobs.get(&job.to_string()).map_or("", |(_, log)| log);
        let text = usize::try_from(from)
            .ok()
            .and_then(|from| log.get(from..))
            .unwrap_or("");
        Ok(LogPart {
            text: text.to_string(),
            next: from + text.len() as u64,
            more: false,
        })
    }

    async fn end(&self, job: &JobId) -> Result<(), TransportError> {
        let mut told = self.told.lock().expect("no holder panics");
        told.asked.push(Asked::End(job.clone()));
        if let Some((state @ JobState::Running { .. }, _)) = told.jobs.get_mut(&job.to_string()) {
            *state = JobState::Exited {
                status: 143,
                deadline: false,
            };
        }
        Ok(())
    }

    async fn put(&self, file: &Upload) -> Result<(), TransportError> {
        self.told
            .lock()
            .expect("no holder panics")
            .asked
            .push(Asked::Put {
                to: file.to.clone(),
                content: file.content.clone(),
                owner: file.owner.clone(),
                mode: file.mode,
            });
        Ok(())
    }

    async fn disconnect(&self) {
        self.told
            .lock()
            .expect("no holder panics")
            .asked
            .push(Asked::Disconnect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_answers_as_told_in_order_and_remembers_what_it_was_asked() {
        let host = Scripted::new("db")
            .answer("pg_isready", 2, "")
            .answer("pg_isready", 0, "ready")
            .job(
                "false",
                JobState::Exited {
                    status: 1,
                    deadline: false,
                },
                "no\n",
            );
        let probe = Script::new("pg_isready");
        let second = Duration::from_secs(1);
        assert_eq!(host.leashed(&probe, second).await.unwrap().status, 2);
        for _ in 0..2 {
            assert_eq!(host.leashed(&probe, second).await.unwrap().stdout, "ready");
        }
        let job = JobId {
            run: "r".into(),
            step: "s".into(),
            attempt: 1,
        };
        let mut log = String::new();
        let script = Script::new("false");
        let mut on_log = |text: &str| log.push_str(text);
        let end = super::super::run_job(&host, &job, &script, second, &mut on_log).await;
        assert!(matches!(end.unwrap(), JobState::Exited { status: 1, .. }));
        assert_eq!(log, "no\n");
        assert!(
            matches!(host.asked().first(), Some(Asked::Leashed { text, .. }) if text == "pg_isready")
        );
    }
}
