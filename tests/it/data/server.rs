//! An S3 server of a test's own (s3s over a folder), on the loopback, counting what is asked of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;

use dr_plan::secret::Secret;
use dr_plan::store::{S3Settings, S3Store};

pub struct Server {
    folder: tempfile::TempDir,
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

const BUCKET: &str = "shop-backups";

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let mut builder = s3s::service::S3ServiceBuilder::new(files);
        builder.set_auth(s3s::auth::SimpleAuth::from_single(
            "test-key",
            "test-secret",
        ));
        let service = builder.build();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let router = axum::Router::new().fallback(move |request: axum::extract::Request| {
            let service = service.clone();
            heard
                .lock()
                .unwrap()
                .push(format!("{} {}", request.method(), request.uri()));
            async move {
                let answer = service
                    .call(request.map(s3s::Body::http_body_unsync))
                    .await
                    .unwrap();
                answer.map(axum::body::Body::new)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            folder,
            endpoint,
            asked,
            task,
        }
    }

    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// Lays an object down as if it had been uploaded.
    pub fn lay(&self, key: &str, content: &[u8]) {
        let path = self.bucket().join(Path::new(key));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn settings(&self) -> S3Settings {
        S3Settings {
            name: "vault".into(),
            bucket: BUCKET.into(),
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".into(),
            access_key: Secret::new("test-key".into()),
            secret_key: Secret::new("test-secret".into()),
            path_style: true,
            sandbox: true,
        }
    }

    pub fn store(&self) -> S3Store {
        S3Store::new(&self.settings()).unwrap()
    }

    /// Every request so far: method and target.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
