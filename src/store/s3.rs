//! S3 and everything that speaks like it. Hosts get presigned URLs, never the keys.

use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::signer::Signer;
use object_store::{ClientOptions, RetryConfig};

use super::{Fetch, Object, Store};
use crate::http::{HttpOptions, http_client};
use crate::kind::{Failure, Reason};
use crate::secret::Secret;

/// Where a bucket is and what opens it. The secrets are handed in; nothing here reads a file or the environment.
#[derive(Clone)]
pub struct S3Settings {
    /// The store's name in the inventory.
    pub name: String,
    /// The bucket.
    pub bucket: String,
    /// The service's address, for instance `https://s3.eu.example`; `None` is Amazon's own for the region.
    pub endpoint: Option<String>,
    /// The region; services without regions take any, usually `us-east-1`.
    pub region: String,
    /// The access key's id.
    pub access_key: Secret,
    /// The secret access key.
    pub secret_key: Secret,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`; most services other than Amazon's want it.
    pub path_style: bool,
    /// A store of a sandbox: plain HTTP is allowed there and nowhere else.
    pub sandbox: bool,
}

/// Requests go through a client like all others of this program: its trust, its proxies, and no redirects, since a signature is
/// for one host.
#[derive(Debug)]
struct OurClient;

impl HttpConnector for OurClient {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let options = HttpOptions {
            total: Duration::from_secs(60),
            ..HttpOptions::default()
        };
        let client = http_client(&options).map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        })?;
        Ok(HttpClient::new(client))
    }
}

/// A bucket.
#[derive(Debug)]
pub struct S3Store {
    name: String,
    inner: AmazonS3,
}

impl S3Store {
    /// Prepares a client; nothing is sent yet. Fails on an endpoint that cannot be, or that would send in the clear.
    pub fn new(settings: &S3Settings) -> Result<Self, Failure> {
        let at = format!("store `{}`", settings.name);
        if let Some(endpoint) = &settings.endpoint {
            let address = url::Url::parse(endpoint).map_err(|error| {
                Failure::new(
                    Reason::Refused,
                    format!("`{endpoint}` is no address: {error}"),
                )
                .at(&at)
            })?;
            if address.scheme() != "https" && !(address.scheme() == "http" && settings.sandbox) {
                return Err(Failure::new(
                    Reason::Refused,
                    format!("the endpoint `{endpoint}` is not https: backups and requests would travel in the clear"),
                )
                .at(&at)
                .hint("use https; plain http is for sandboxes only"));
            }
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(settings.access_key.expose())
            .with_secret_access_key(settings.secret_key.expose())
            .with_virtual_hosted_style_request(!settings.path_style)
            .with_http_connector(OurClient)
            .with_retry(RetryConfig {
                max_retries: 5,
                retry_timeout: Duration::from_secs(60),
                ..RetryConfig::default()
            });
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let inner = builder
            .build()
            .map_err(|error| super::failure(&settings.name, "preparing the client", &error))?;
        Ok(Self {
            name: settings.name.clone(),
            inner,
        })
    }
}

#[async_trait]
impl Store for S3Store {
    fn name(&self) -> &str {
        &self.name
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, Failure> {
        super::list(&self.inner, &self.name, prefix).await
    }

    async fn read(&self, path: &str, from: u64, length: u64) -> Result<bytes::Bytes, Failure> {
        super::read(&self.inner, &self.name, path, from, length).await
    }

    async fn fetch(&self, path: &str, valid_for: Duration) -> Result<Fetch, Failure> {
        let place = super::key(&self.name, path)?;
        let url = self
            .inner
            .signed_url(reqwest::Method::GET, &place, valid_for)
            .await
            .map_err(|error| {
                super::failure(&self.name, &format!("signing for `{path}`"), &error)
            })?;
        Ok(Fetch::Url(Secret::new(url.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: &str, sandbox: bool) -> S3Settings {
        S3Settings {
            name: "vault".into(),
            bucket: "shop-backups".into(),
            endpoint: Some(endpoint.into()),
            region: "eu".into(),
            access_key: Secret::new("key".into()),
            secret_key: Secret::new("secret".into()),
            path_style: true,
            sandbox,
        }
    }

    #[test]
    fn plain_http_is_for_sandboxes_only() {
        let error = S3Store::new(&settings("http://s3.example", false)).unwrap_err();
        assert_eq!(error.reason, Reason::Refused);
        assert!(error.message.contains("in the clear"), "{error}");
        assert!(S3Store::new(&settings("http://s3.example", true)).is_ok());
        assert!(S3Store::new(&settings("https://s3.example", false)).is_ok());
        assert!(S3Store::new(&settings("ftp://s3.example", true)).is_err());
    }
}
