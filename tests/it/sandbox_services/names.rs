//! The sandbox's names, with the real PowerDNS and Unbound.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::net::UdpSocket;

use dr_plan::sandbox::names::{Authoritative, TTL, start_authoritative, start_resolver};

const KEY: &str = "powerdns-key-of-the-test";

/// An address of the loopback that nobody else uses: 127.A.B.N with A and B from our process id.
pub fn own_address(port: u16) -> SocketAddr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = 1 + LAST.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from((Ipv4Addr::new(127, high % 100 + 100, low, last), port))
}

#[derive(Debug, PartialEq)]
struct Answer {
    code: u8,
    addresses: Vec<Ipv4Addr>,
    /// The smallest of all records in the answer and authority sections.
    ttl: Option<u32>,
}

/// Asks for the A records of a name and reads the reply (RFC 1035, section 4.1).
async fn ask(server: SocketAddr, name: &str) -> Answer {
    let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question, server).await.unwrap();
    let mut reply = [0_u8; 1500];
    let (length, _) = tokio::time::timeout(Duration::from_secs(10), socket.recv_from(&mut reply))
        .await
        .unwrap_or_else(|_| panic!("{server} did not answer for {name}"))
        .unwrap();
    let reply = &reply[..length];
    let count = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
    let mut answer = Answer {
        code: reply[3] & 15,
        addresses: Vec::new(),
        ttl: None,
    };
    let mut at = question.len();
    for _ in 0..count(6) + count(8) {
        while reply[at] != 0 && reply[at] < 192 {
            at += 1 + usize::from(reply[at]);
        }
        at += if reply[at] == 0 { 1 } else { 2 };
        let ttl = u32::from_be_bytes([reply[at + 4], reply[at + 5], reply[at + 6], reply[at + 7]]);
        answer.ttl = Some(answer.ttl.map_or(ttl, |least| least.min(ttl)));
        let size = usize::from(count(at + 8));
        let data = &reply[at + 10..at + 10 + size];
        if count(at) == 1 {
            answer
                .addresses
                .push(Ipv4Addr::new(data[0], data[1], data[2], data[3]));
        }
        at += 10 + size;
    }
    answer
}

async fn set(names: &Authoritative, name: &str, address: &str) {
    let sets = json!({ "rrsets": [{
        "name": format!("{name}."), "type": "A", "ttl": TTL, "changetype": "REPLACE",
        "records": [{ "content": address, "disabled": false }],
    }]});
    names
        .call(
            Method::PATCH,
            "/api/v1/servers/localhost/zones/shop.example.",
            Some(sets),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn the_resolver_keeps_answers_and_their_absence_for_their_lifetime_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let names = start_authoritative(
        &folder.path().join("pdns"),
        own_address(5300),
        own_address(8081),
        KEY,
    )
    .await
    .unwrap();
    let old = Ipv4Addr::new(198, 18, 1, 1);
    let new = Ipv4Addr::new(198, 19, 1, 1);
    names
        .create_zone("shop.example", &[("@", old), ("www", old)])
        .await
        .unwrap();
    let resolver = start_resolver(
        &folder.path().join("unbound"),
        own_address(5300),
        &[("shop.example", names.address)],
    )
    .await
    .unwrap();
    for server in [names.address, resolver.address] {
        let found = ask(server, "shop.example").await;
        assert_eq!((found.code, found.addresses), (0, vec![old]));
        let missing = ask(server, "new.shop.example").await;
        assert_eq!((missing.code, missing.addresses.len()), (3, 0));
        assert!(
            missing.ttl.unwrap() <= TTL,
            "negative answers live {:?} s",
            missing.ttl
        );
    }
    set(&names, "shop.example", "198.19.1.1").await;
    set(&names, "new.shop.example", "198.19.1.1").await;
    assert_eq!(ask(names.address, "shop.example").await.addresses, [new]);
    assert_eq!(
        ask(names.address, "new.shop.example").await.addresses,
        [new]
    );
    assert_eq!(
        ask(resolver.address, "shop.example").await.addresses,
        [old],
        "still kept"
    );
    assert_eq!(
        ask(resolver.address, "new.shop.example").await.code,
        3,
        "still kept"
    );
    let deadline = Instant::now() + Duration::from_secs(u64::from(TTL) + 10);
    for name in ["shop.example", "new.shop.example"] {
        while ask(resolver.address, name).await.addresses != [new] {
            assert!(Instant::now() < deadline, "{name} never changed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn the_api_wants_its_key_and_servers_end_when_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (address, api) = (own_address(5300), own_address(8081));
    let names = start_authoritative(folder.path(), address, api, KEY)
        .await
        .unwrap();
    names.create_zone("shop.example", &[]).await.unwrap();
    let again = names.create_zone("shop.example", &[]).await.unwrap_err();
    assert!(again.to_string().contains("409"), "{again}");
    let url = format!("http://{api}/api/v1/servers/localhost/zones");
    let ask = |key: &'static str| {
        super::http::client()
            .get(&url)
            .header("x-api-key", key)
            .send()
    };
    assert_eq!(ask("wrong").await.unwrap().status(), 401);
    assert_eq!(ask(KEY).await.unwrap().status(), 200);
    let taken = start_authoritative(&folder.path().join("second"), address, api, KEY).await;
    let taken = taken.unwrap_err().to_string();
    assert!(taken.contains(&address.to_string()), "{taken}");
    drop(names);
    let gone = async {
        while tokio::net::TcpStream::connect(api).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_resolver_refuses_at_once_what_the_world_does_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = start_resolver(
        folder.path(),
        own_address(5300),
        &[("shop.example", own_address(5300))],
    )
    .await
    .unwrap();
    for name in ["elsewhere.example", "example", "1.1.18.198.in-addr.arpa"] {
        let answer = ask(resolver.address, name).await;
        assert_eq!((answer.code, answer.addresses.len()), (5, 0), "{name}");
    }
}
