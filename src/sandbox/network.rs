//! The cables of the world: one bridge per region, one veth pair per machine, and the names of
//! the addresses. All of it is made with `ip` (iproute2), told through `ip -batch` so that a
//! machine costs two processes and not ten.

use std::{
    io::Write as _,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

/// Everything that is not a machine (provider API, DNS, object store) listens on an address of
/// this /24: the world's loopback owns all of it, so any of them can be bound without asking.
pub const INFRASTRUCTURE: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 0);

/// The caching resolver that `/etc/resolv.conf` of every machine, and of the world, names.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 4);

/// More regions than there are clouds in one estate.
pub const MOST_REGIONS: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("starting `ip`")]
    Start(#[source] std::io::Error),
    #[error("`ip` could not {what}: {why}")]
    Refused { what: String, why: String },
    #[error("setting {path}")]
    Sysctl {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

/// The first two bytes of a region's /16. The first two regions share 198.18.0.0/15 (set aside for
/// benchmarks, RFC 2544, never routed); more go on from there, which is harmless only because
/// nothing in a world has a way out.
fn prefix(region: usize) -> (u8, u8) {
    (198, 18 + region.min(MOST_REGIONS) as u8)
}

/// The region's router, an address of its bridge.
pub fn gateway(region: usize) -> Ipv4Addr {
    let (a, b) = prefix(region);
    Ipv4Addr::new(a, b, 0, 1)
}

/// Whether a machine of the region may have the address.
pub fn may_have(region: usize, address: Ipv4Addr) -> bool {
    let (a, b) = prefix(region);
    let [first, second, third, last] = address.octets();
    (first, second) == (a, b) && third < 255 && (third, last) != (0, 1) && last != 0 && last != 255
}

/// The addresses of a region in the order in which machines get them, from `x.y.0.10` on.
pub fn addresses(region: usize) -> impl Iterator<Item = Ipv4Addr> {
    let (a, b) = prefix(region);
    (0..=254u8).flat_map(move |third| {
        let from = if third == 0 { 10 } else { 1 };
        (from..=254u8).map(move |last| Ipv4Addr::new(a, b, third, last))
    })
}

pub fn bridge(region: usize) -> String {
    format!("region{region}")
}

/// A locally administered MAC address (IEEE 802: second-lowest bit of the first byte) that a
/// machine keeps over reboots and rebuilds, because it comes from the name.
pub fn mac_of(name: &str) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(name.as_bytes());
    format!(
        "02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
        digest[0], digest[1], digest[2], digest[3], digest[4]
    )
}

/// Six pairs of hexadecimal digits, and not a multicast address.
pub fn valid_mac(mac: &str) -> bool {
    let bytes: Vec<_> = mac.split(':').collect();
    bytes.len() == 6
        && bytes
            .iter()
            .all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok())
        && u8::from_str_radix(bytes[0], 16).is_ok_and(|first| first & 1 == 0)
}

/// Loopback, forwarding, infrastructure addresses and the bridges, in a fresh network namespace.
pub fn lay(regions: usize) -> Result<(), NetworkError> {
    let mut lines = vec![
        "link set lo up".to_owned(),
        format!("route add local {INFRASTRUCTURE}/24 dev lo"),
    ];
    for region in 0..regions {
        let bridge = bridge(region);
        // A bridge without an address of its own takes the lowest of its ports and so changes it
        // whenever a machine comes or goes: every ARP cache would be wrong for a while.
        lines.push(format!(
            "link add {bridge} address {} type bridge",
            mac_of(&bridge)
        ));
        lines.push(format!("address add {}/16 dev {bridge}", gateway(region)));
        lines.push(format!("link set {bridge} up"));
    }
    ip("lay the world's network", &lines)?;
    sysctl("net/ipv4/ip_forward", "1")
}

/// The cable of a machine: `cable` on the region's bridge, `eth0` inside the namespaces of `pid`.
pub fn plug(cable: &str, region: usize, mac: &str, pid: u32) -> Result<(), NetworkError> {
    ip(
        &format!("plug {cable} into {}", bridge(region)),
        &[
            format!("link add {cable} type veth peer name eth0 address {mac} netns {pid}"),
            format!("link set {cable} master {} up", bridge(region)),
        ],
    )
}

/// Takes a cable away; one that is gone already is no error.
pub fn unplug(cable: &str) -> Result<(), NetworkError> {
    match ip(&format!("unplug {cable}"), &[format!("link del {cable}")]) {
        // The kernel takes both ends away soon after the last process of the machine: before `ip` looks for the
        // cable, or between its look and its order, and it has other words for each. Whether it is there decides.
        Err(NetworkError::Refused { .. }) if matches!(plugged(cable), Ok(false)) => Ok(()),
        other => other,
    }
}

/// Whether there is an interface of this name in the network namespace of this thread.
fn plugged(interface: &str) -> std::io::Result<bool> {
    let interfaces = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    // proc_net(5): two lines of headings, then `NAME: figures` for each interface.
    Ok(interfaces
        .lines()
        .filter_map(|line| line.split_once(':'))
        .any(|(name, _)| name.trim() == interface))
}

pub fn set_up(interface: &str, up: bool) -> Result<(), NetworkError> {
    let state = if up { "up" } else { "down" };
    ip(
        &format!("set {interface} {state}"),
        &[format!("link set {interface} {state}")],
    )
}

/// Sends packets for an address to the machine that has `via`; without one, nowhere.
pub fn send_to(address: Ipv4Addr, via: Option<Ipv4Addr>) -> Result<(), NetworkError> {
    let line = match via {
        Some(via) => format!("route replace {address}/32 via {via}"),
        // Nowhere is an answer too: an address without a route would be looked for elsewhere.
        None => format!("route replace unreachable {address}/32"),
    };
    ip(&format!("route {address}"), &[line])
}

/// What a machine does with its own end of the cable.
pub fn configure_inside(region: usize, address: Ipv4Addr) -> Result<(), NetworkError> {
    // A machine that comes back tells its neighbours at once.
    sysctl("net/ipv4/conf/eth0/arp_notify", "1")?;
    ip(
        "configure eth0",
        &[
            "link set lo up".to_owned(),
            format!("address add {address}/16 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via {}", gateway(region)),
        ],
    )
}

fn sysctl(name: &str, value: &str) -> Result<(), NetworkError> {
    let path = format!("/proc/sys/{name}");
    std::fs::write(&path, value).map_err(|source| NetworkError::Sysctl { path, source })
}

fn ip(what: &str, lines: &[String]) -> Result<(), NetworkError> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(NetworkError::Start)?;
    let written = child
        .stdin
        .take()
        .map(|mut stdin| stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output().map_err(NetworkError::Start)?;
    if output.status.success() && !matches!(written, Some(Err(_))) {
        return Ok(());
    }
    Err(NetworkError::Refused {
        what: what.to_owned(),
        why: String::from_utf8_lossy(&output.stderr)
            .trim()
            .replace('\n', "; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_do_not_overlap_and_keep_off_the_infrastructure() {
        for region in 0..MOST_REGIONS {
            let given: Vec<_> = addresses(region).collect();
            assert!(given.len() > 60_000);
            assert!(
                given.iter().all(|address| may_have(region, *address)),
                "{region}"
            );
            assert!(!given.contains(&gateway(region)) && !given.contains(&RESOLVER));
            for other in (0..MOST_REGIONS).filter(|other| *other != region) {
                assert!(!may_have(other, given[0]));
            }
        }
    }

    #[test]
    fn a_mac_address_belongs_to_the_name() {
        assert_eq!(mac_of("db"), mac_of("db"));
        assert_ne!(mac_of("db"), mac_of("web"));
        assert!(valid_mac(&mac_of("db")));
        assert!(
            !valid_mac("01:00:00:00:00:00")
                && !valid_mac("02:00")
                && !valid_mac("zz:00:00:00:00:00")
        );
    }
}
