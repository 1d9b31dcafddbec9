//! A host that is only looked at. In a drill nothing may be changed on what stands; steps that would are not carried out, and
//! should one slip through all the same, its job ends here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Answer, JobId, JobState, LogPart, Script, Transport, TransportError, Upload};

/// Lets reads through, and nothing that leaves something behind.
pub struct LooksOnly(pub Arc<dyn Transport>);

impl LooksOnly {
    fn refused<T>(&self, doing: &str) -> Result<T, TransportError> {
        Err(TransportError::Failed {
            host: self.host().to_string(),
            doing: doing.to_string(),
            why: "this run only looks at hosts that it did not make; nothing was sent".into(),
        })
    }
}

#[async_trait]
impl Transport for LooksOnly {
    fn host(&self) -> &str {
        self.0.host()
    }

    async fn leashed(&self, script: &Script, deadline: Duration) -> Result<Answer, TransportError> {
        self.0.leashed(script, deadline).await
    }

    async fn start(&self, _: &JobId, _: &Script, _: Duration) -> Result<(), TransportError> {
        self.refused("start a job")
    }

    async fn look_all(&self, jobs: &[JobId]) -> Result<Vec<JobState>, TransportError> {
        self.0.look_all(jobs).await
    }

    async fn watch(
        &self,
        job: &JobId,
        from: u64,
        patience: Duration,
    ) -> Result<(JobState, LogPart), TransportError> {
        self.0.watch(job, from, patience).await
    }

    async fn read_log(&self, job: &JobId, from: u64) -> Result<LogPart, TransportError> {
        self.0.read_log(job, from).await
    }

    async fn end(&self, _: &JobId) -> Result<(), TransportError> {
        self.refused("end a job")
    }

    async fn put(&self, file: &Upload) -> Result<(), TransportError> {
        self.refused(&format!("take {}", file.to))
    }

    async fn disconnect(&self) {
        self.0.disconnect().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::script::{Asked, Scripted};

    #[tokio::test]
    async fn reads_reach_the_host_and_changes_do_not() {
        let inner = Arc::new(Scripted::new("db-1"));
        let host = LooksOnly(inner.clone());
        let soon = Duration::from_secs(1);
        assert!(host.leashed(&Script::new("true"), soon).await.unwrap().ok());
        let job = JobId {
            run: "r".into(),
            step: "s".into(),
            attempt: 1,
        };
        let file = Upload {
            content: bytes::Bytes::from_static(b"x"),
            to: "/etc/x".into(),
            owner: None,
            mode: 0o644,
            keep: None,
        };
        for refused in [
            host.start(&job, &Script::new("rm -rf /"), soon).await,
            host.end(&job).await,
            host.put(&file).await,
        ] {
            let said = refused.unwrap_err().to_string();
            assert!(
                said.contains("`db-1`") && said.contains("nothing was sent"),
                "{said}"
            );
        }
        let asked = inner.asked();
        assert!(
            matches!(asked.as_slice(), [Asked::Leashed { .. }]),
            "{asked:?}"
        );
    }
}
