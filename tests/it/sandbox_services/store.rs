//! The sandbox's object store, asked by a client library that knows S3 and by curl.

use std::process::Command;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{MultipartUpload as _, ObjectStore as _, ObjectStoreExt as _};

use dr_plan::sandbox::store::{make_bucket, serve};

use super::http::{client, loopback};

const ACCESS: &str = "SANDBOXACCESSKEY0001";
const SECRET: &str = "sandbox-secret-key-of-forty-characters-1";

fn shop_backups(endpoint: String, secret: &str) -> AmazonS3 {
    // The client library's own transport needs the process-wide TLS provider too.
    drop(client());
    AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("eu")
        .with_bucket_name("shop-backups")
        .with_access_key_id(ACCESS)
        .with_secret_access_key(secret)
        .with_retry(object_store::RetryConfig {
            max_retries: 0,
            ..object_store::RetryConfig::default()
        })
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_put_listed_looked_at_and_read_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let store = serve(loopback(), folder.path(), ACCESS, SECRET)
        .await
        .unwrap();
    make_bucket(folder.path(), "shop-backups").unwrap();
    let bucket = shop_backups(store.endpoint(), SECRET);
    for name in [
        "postgres/shop-1.dump.gpg",
        "postgres/shop-2.dump.gpg",
        "redis/dump.rdb",
    ] {
        bucket
            .put(&Path::from(name), format!("bytes of {name}").into())
            .await
            .unwrap();
    }
    let mut listed: Vec<_> = bucket
        .list(Some(&Path::from("postgres")))
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    listed.sort_by(|left, right| left.location.cmp(&right.location));
    let names: Vec<_> = listed.iter().map(|found| found.location.as_ref()).collect();
    assert_eq!(
        names,
        ["postgres/shop-1.dump.gpg", "postgres/shop-2.dump.gpg"]
    );
    let head = bucket.head(&Path::from("redis/dump.rdb")).await.unwrap();
    assert_eq!(head.size, "bytes of redis/dump.rdb".len() as u64);
    let age = jiff::Timestamp::now().as_second() - head.last_modified.timestamp();
    assert!((-2..60).contains(&age), "{age}");
    let range = bucket
        .get_range(&Path::from("redis/dump.rdb"), 9..14)
        .await
        .unwrap();
    assert_eq!(&range[..], b"redis");
    let missing = bucket.head(&Path::from("nothing")).await.unwrap_err();
    assert!(
        matches!(missing, object_store::Error::NotFound { .. }),
        "{missing:?}"
    );
    bucket.delete(&Path::from("redis/dump.rdb")).await.unwrap();
    assert!(bucket.get(&Path::from("redis/dump.rdb")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_arrives_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let store = serve(loopback(), folder.path(), ACCESS, SECRET)
        .await
        .unwrap();
    make_bucket(folder.path(), "shop-backups").unwrap();
    let bucket = shop_backups(store.endpoint(), SECRET);
    let path = Path::from("base/large");
    let mut upload = bucket.put_multipart(&path).await.unwrap();
    let part = |letter: u8| vec![letter; 5 * 1024 * 1024];
    upload.put_part(part(b'a').into()).await.unwrap();
    upload.put_part(part(b'b').into()).await.unwrap();
    upload.put_part(b"end".to_vec().into()).await.unwrap();
    upload.complete().await.unwrap();
    let size = 2 * 5 * 1024 * 1024 + 3;
    assert_eq!(bucket.head(&path).await.unwrap().size, size);
    assert_eq!(
        &bucket.get_range(&path, size - 5..size).await.unwrap()[..],
        b"bbend"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_url_works_for_curl_in_ranges_and_a_changed_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = serve(loopback(), folder.path(), ACCESS, SECRET)
        .await
        .unwrap();
    make_bucket(folder.path(), "shop-backups").unwrap();
    let bucket = shop_backups(store.endpoint(), SECRET);
    let path = Path::from("postgres/shop 2026-11-21T10:00.dump.gpg");
    bucket.put(&path, "0123456789".into()).await.unwrap();
    let url = bucket
        .signed_url(reqwest::Method::GET, &path, Duration::from_secs(60))
        .await
        .unwrap();
    let curl = |arguments: &[&str], url: &str| {
        let output = Command::new("curl")
            .args([
                "--noproxy",
                "*",
                "--silent",
                "--show-error",
                "--write-out",
                "\n%{http_code}",
            ])
            .args(arguments)
            .arg(url)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, code) = text.rsplit_once('\n').unwrap();
        (code.to_owned(), body.to_owned())
    };
    assert_eq!(
        curl(&[], url.as_str()),
        ("200".to_owned(), "0123456789".to_owned())
    );
    assert_eq!(
        curl(&["--range", "2-4"], url.as_str()),
        ("206".to_owned(), "234".to_owned())
    );
    assert_eq!(
        curl(&["--range", "7-"], url.as_str()),
        ("206".to_owned(), "789".to_owned())
    );
    let other = url.as_str().replace("shop%202026", "shop%202025");
    assert_ne!(other, url.as_str());
    assert_eq!(curl(&[], &other).0, "403", "the signature covers the name");
    let bare = url.as_str().split('?').next().unwrap();
    assert_eq!(curl(&[], bare).0, "403", "no signature");
    assert_eq!(
        curl(&["--request", "DELETE"], url.as_str()).0,
        "403",
        "signed for GET only"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_key_opens_nothing_and_a_dropped_store_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = serve(loopback(), folder.path(), ACCESS, SECRET)
        .await
        .unwrap();
    make_bucket(folder.path(), "shop-backups").unwrap();
    assert!(make_bucket(folder.path(), "../shop").is_err());
    let wrong = shop_backups(store.endpoint(), "another-secret");
    let refused = wrong.put(&Path::from("x"), "y".into()).await.unwrap_err();
    assert!(
        refused.to_string().contains("SignatureDoesNotMatch"),
        "{refused}"
    );
    let address = store.address();
    drop(store);
    let gone = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .unwrap();
}
