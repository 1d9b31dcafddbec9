//! One job from its start to its end, through lost connections.

use std::time::{Duration, Instant};

use super::{JobId, JobState, Script, Transport, TransportError};

/// How long one question may wait on the host for news.
const PATIENCE: Duration = Duration::from_secs(5);

/// After the host's own deadline the job needs a moment to end, and a lost connection to come back.
const GRACE: Duration = Duration::from_secs(60);

/// Runs a job to its end and hands over its log as it grows. `start` looks before it starts: a job that runs is followed, one that
/// has ended only tells its end, so this may be called again after a crash with the same id.
///
/// Once the job was started, a lost connection is made anew until `deadline` (which the host enforces) and a
/// minute have passed; then the last error, or a timeout, comes back, and the job may still be running. Before that an
/// unreachable host is told at once. Returns [`JobState::Exited`] or [`JobState::Died`].
pub async fn run_job(
    transport: &dyn Transport,
    job: &JobId,
    script: &Script,
    deadline: Duration,
    on_log: &mut (dyn FnMut(&str) + Send),
) -> Result<JobState, TransportError> {
    let patience = deadline + GRACE;
    let until = Instant::now() + patience;
    let mut pause = Pause::new();
    // A start whose answer was lost may have started: asking again starts nothing twice.
    loop {
        match transport.start(job, script, deadline).await {
            Ok(()) => break,
            Err(error @ (TransportError::Lost { .. } | TransportError::Timeout { .. }))
                if Instant::now() < until =>
            {
                tracing::debug!(%job, %error, "the start was not answered");
                pause.wait().await;
            }
            Err(error) => return Err(error),
        }
    }
    follow_job(transport, job, until, patience, on_log).await
}

/// Follows a job that was started before, from the beginning of its log. [`JobState::Absent`] is an answer too.
pub async fn attach_job(
    transport: &dyn Transport,
    job: &JobId,
    patience: Duration,
    on_log: &mut (dyn FnMut(&str) + Send),
) -> Result<JobState, TransportError> {
    follow_job(transport, job, Instant::now() + patience, patience, on_log).await
}

async fn follow_job(
    transport: &dyn Transport,
    job: &JobId,
    until: Instant,
    patience: Duration,
    on_log: &mut (dyn FnMut(&str) + Send),
) -> Result<JobState, TransportError> {
    let mut from = 0;
    let mut pause = Pause::new();
    loop {
        match transport.watch(job, from, PATIENCE).await {
            Ok((state, log)) => {
                from = log.next;
                if !log.text.is_empty() {
                    on_log(&log.text);
                    pause = Pause::new();
                }
                let running = matches!(state, JobState::Running { .. });
                if !running && !log.more {
                    return Ok(state);
                }
                if !log.text.is_empty() {
                    continue;
                }
                if Instant::now() >= until {
                    return Err(TransportError::Timeout {
                        host: transport.host().to_string(),
                        after: patience,
                    });
                }
            }
            Err(
                error @ (TransportError::Lost { .. }
                | TransportError::Timeout { .. }
                | TransportError::Unreachable { .. }),
            ) => {
                if Instant::now() >= until {
                    return Err(error);
                }
                tracing::debug!(%job, %error, "contact lost, trying again");
            }
            Err(error) => return Err(error),
        }
        pause.wait().await;
    }
}

/// 50 ms, doubling to a second.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(Duration::from_millis(50))
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}
