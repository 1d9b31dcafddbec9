//! What servers of a drill may reach: stores, resolvers, each other, and what the plan allows. A restored shop believes that it is
//! the real one: it would send real mail and charge real cards. So before anything is restored the host itself lets nothing
//! else out, also after a reboot, and counts what was tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use super::host_job::carry;
use super::{Context, Verified};
use crate::kind::{Failure, Finding, Reason};
use crate::resolve;
use crate::transport::{Script, Transport};
use crate::units::Socket;

/// Its package; without it nothing can be closed.
pub(super) const PACKAGE: &str = "nftables";

const PATIENCE: Duration = Duration::from_secs(60);

/// The rule of one drill, shared by all its servers.
pub struct Egress {
    /// Stores, and what the plan allows.
    open: Vec<Socket>,
    /// The run's servers that are closed, by name, with their addresses. Held while one is added: every server must learn of every
    /// other, and two that are made at the same time would each miss the other.
    peers: Mutex<BTreeMap<String, Vec<IpAddr>>>,
}

/// What a server kept from leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The rules were still there when they were asked.
    pub closed: bool,
    /// Packets.
    pub packets: u64,
    /// Where to, each with its packets, the most first: `192.0.2.7 tcp 25`.
    pub tried: Vec<(String, u64)>,
}

/// Writes the rules, loads them, and sees to it that they are loaded before the network at every boot. Values are addresses and
/// ports that were read as such; resolvers are taken from the host's own configuration and are looked at here.
const CLOSE: &str = r#"
umask 077
folder=/etc/dr-plan
nft=$(command -v nft) || { echo "there is no nft on this host: egress cannot be closed"; exit 1; }
mkdir -p "$folder"
list() { [ -z "$1" ] || echo "    elements = { $1 }"; }
dns4= dns6=
for file in /run/systemd/resolve/resolv.conf /etc/resolv.conf; do
  [ -r "$file" ] || continue
  while read -r word address rest; do
    [ "$word" = nameserver ] || continue
    case "$address" in
      127.*|::1|*[!0-9a-fA-F.:]*|'') ;;
      *:*) dns6="$dns6${dns6:+, }$address" ;;
      *) dns4="$dns4${dns4:+, }$address" ;;
    esac
  done < "$file"
done
open4= open6=
for one in $DR_OPEN; do
  address=${one%/*} port=${one##*/}
  case "$address" in
    *:*) open6="$open6${open6:+, }$address . $port" ;;
    *) open4="$open4${open4:+, }$address . $port" ;;
  esac
done
cat > "$folder/drill.nft.new" <<END
table inet dr_plan_drill {}
delete table inet dr_plan_drill
table inet dr_plan_drill {
  set resolvers4 { type ipv4_addr; flags interval; auto-merge
$(list "$dns4")
  }
  set resolvers6 { type ipv6_addr; flags interval; auto-merge
$(list "$dns6")
  }
  set open4 { type ipv4_addr . inet_service
$(list "$open4")
  }
  set open6 { type ipv6_addr . inet_service
$(list "$open6")
  }
  set peers4 { type ipv4_addr; }
  set peers6 { type ipv6_addr; }
  set tried4 { type ipv4_addr . inet_proto . inet_service; size 4096; flags dynamic; counter; }
  set tried6 { type ipv6_addr . inet_proto . inet_service; size 4096; flags dynamic; counter; }
  counter dropped {}
  chain judge {
    oifname "lo" accept
    ct state established,related accept
    # Connections of before, which nobody has counted yet: ours. What begins with no SYN begins nothing.
    tcp sport $DR_SSH tcp flags & (syn | rst) == 0 accept
    meta l4proto { tcp, udp } th dport 53 ip daddr @resolvers4 accept
    meta l4proto { tcp, udp } th dport 53 ip6 daddr @resolvers6 accept
    ip daddr @peers4 accept
    ip6 daddr @peers6 accept
    ip daddr . tcp dport @open4 accept
    ip6 daddr . tcp dport @open6 accept
    # What a machine needs to keep its own address, and what a cloud tells it of itself: nobody else is there.
    udp sport 68 udp dport 67 accept
    udp sport 546 udp dport 547 accept
    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld2-listener-report } accept
    ip daddr 169.254.169.254 tcp dport 80 accept
    meta l4proto { tcp, udp } add @tried4 { ip daddr . meta l4proto . th dport }
    meta l4proto { tcp, udp } add @tried6 { ip6 daddr . meta l4proto . th dport }
    counter name dropped
    # Told at once: a program that waits for a mail server would fail for a reason that is none in the real case.
    reject with icmpx admin-prohibited
  }
  chain output {
    type filter hook output priority 0; policy drop;
    jump judge
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    jump judge
  }
}
END
cat > /etc/systemd/system/dr-plan-drill.service.new <<END
[Unit]
Description=Keeps this server of a drill from reaching the world
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$nft -f $folder/drill.nft
ExecStart=$nft -f $folder/drill-peers.nft
[Install]
WantedBy=multi-user.target
END
chmod 644 /etc/systemd/system/dr-plan-drill.service.new
mv -f "$folder/drill.nft.new" "$folder/drill.nft"
mv -f /etc/systemd/system/dr-plan-drill.service.new /etc/systemd/system/dr-plan-drill.service
"$nft" -f "$folder/drill.nft"
"#;

/// Tells a server who the others are. Its counts stay.
const PEERS: &str = r#"
umask 077
folder=/etc/dr-plan
all4= all6=
for address in $DR_PEERS; do
  case "$address" in
    *:*) all6="$all6${all6:+, }$address" ;;
    *) all4="$all4${all4:+, }$address" ;;
  esac
done
{
  echo "flush set inet dr_plan_drill peers4"
  echo "flush set inet dr_plan_drill peers6"
  [ -z "$all4" ] || echo "add element inet dr_plan_drill peers4 { $all4 }"
  [ -z "$all6" ] || echo "add element inet dr_plan_drill peers6 { $all6 }"
} > "$folder/drill-peers.nft.new"
nft -f "$folder/drill-peers.nft.new"
mv -f "$folder/drill-peers.nft.new" "$folder/drill-peers.nft"
sync -f "$folder"
"#;

/// So that a reboot does not open it.
const ENABLE: &str = r#"
systemctl daemon-reload
systemctl enable dr-plan-drill.service
"#;

const SHOW: &str = r#"
nft -j list table inet dr_plan_drill
"#;

impl Egress {
    /// `peers`: servers of the run that were closed before this process.
    pub fn new(open: Vec<Socket>, peers: BTreeMap<String, Vec<IpAddr>>) -> Self {
        Self {
            open,
            peers: Mutex::new(peers),
        }
    }

    fn words(&self) -> String {
        let all: Vec<String> = self.open.iter().map(ToString::to_string).collect();
        match all.is_empty() {
            true => "resolvers and the drill's own servers".into(),
            false => all.join(", "),
        }
    }

    /// `address/port` of all that may be reached. A name that cannot be resolved is not reached either, and this is said.
    async fn addresses(&self) -> Result<String, Failure> {
        let mut all = BTreeSet::new();
        for socket in &self.open {
            let found = match socket.host.parse::<IpAddr>() {
                Ok(address) => vec![address],
                Err(_) => resolve::resolve(&socket.host, Duration::from_secs(10))
                    .await
                    .map_err(|error| {
                        let words = format!("what {socket} is, which the drill may reach");
                        Failure::from_error(Reason::Unreachable, &words, &error)
                    })?,
            };
            all.extend(found.into_iter().map(|ip| format!("{ip}/{}", socket.port)));
        }
        Ok(all.into_iter().collect::<Vec<_>>().join(" "))
    }
}

/// Before the start: whether all that may be reached can be found.
pub(super) async fn check(cx: &Context) -> Result<Option<Finding>, Failure> {
    let Some(egress) = &cx.services.rehearsal.egress else {
        return Ok(None);
    };
    egress.addresses().await?;
    Ok(Some(Finding::verified(format!(
        "what leaves it will be closed but for {}",
        egress.words()
    ))))
}

/// Closes a server that was just made, and makes it and those before it known to each other. Nothing outside a drill.
pub(super) async fn close(cx: &Context, name: &str, addresses: Vec<IpAddr>) -> Result<(), Failure> {
    let Some(egress) = &cx.services.rehearsal.egress else {
        return Ok(());
    };
    let open = egress.addresses().await?;
    cx.log(format!("open for this server: {}", egress.words()));
    let mut peers = egress.peers.lock().await;
    let mut all = peers.clone();
    all.insert(name.to_string(), addresses.clone());
    let known: Vec<String> = all.values().flatten().map(ToString::to_string).collect();
    let known = known.join(" ");
    let host = cx.host(name)?;
    let script = format!("{CLOSE}{PEERS}{ENABLE}");
    let script = Script::new(script)
        .value("OPEN", open)
        .value("SSH", cx.services.inventory.ssh.port.to_string())
        .value("PEERS", known.clone());
    carry(cx, &host, Some("egress"), &script, PATIENCE)
        .await
        .map_err(|failure| failure.at("closing what leaves it"))?;
    for other in all.keys().filter(|other| *other != name) {
        let script = Script::new(PEERS).value("PEERS", known.clone());
        carry(cx, &cx.host(other)?, Some("peers"), &script, PATIENCE)
            .await
            .map_err(|failure| failure.at(format!("making {name} known to {other}")))?;
    }
    let told: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    cx.note("egress", told).await?;
    *peers = all;
    Ok(())
}

/// Looks at the rules that hold on the host now.
pub(super) async fn verify(
    cx: &Context,
    name: &str,
    verified: Verified,
) -> Result<Verified, Failure> {
    if cx.services.rehearsal.egress.is_none() {
        return Ok(verified);
    }
    let rules = show(&*cx.host(name)?).await?;
    match rules {
        Some(rules) if is_closed(&rules) => Ok(verified.and(
            format!("what leaves {name}"),
            "is closed but for stores, resolvers, the drill's own servers and what the plan allows",
        )),
        _ => Err(Failure::new(
            Reason::Verify,
            format!("{name} does not keep what it sends within the drill"),
        )),
    }
}

/// What a host has kept from leaving.
pub async fn dropped(host: &dyn Transport) -> Result<Dropped, Failure> {
    Ok(match show(host).await? {
        Some(rules) => counted(&rules),
        None => Dropped {
            closed: false,
            packets: 0,
            tried: Vec::new(),
        },
    })
}

/// The table as nft shows it; none if there is none.
async fn show(host: &dyn Transport) -> Result<Option<Value>, Failure> {
    let answer = host
        .leashed(&Script::new(SHOW), Duration::from_secs(30))
        .await?;
    if !answer.ok() {
        return match answer.stderr.contains("No such file or directory") {
            true => Ok(None),
            false => Err(Failure::new(
                Reason::ExitCode,
                format!("nft on {}: {}", host.host(), answer.said()),
            )),
        };
    }
    serde_json::from_str(&answer.stdout)
        .map(Some)
        .map_err(|error| Failure::from_error(Reason::Verify, "reading what nft shows", &error))
}

fn objects<'a>(rules: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = rules["nftables"].as_array().into_iter().flatten();
    all.filter_map(move |one| one.get(kind))
}

/// Both ways out end in a drop, and are judged by our rules.
fn is_closed(rules: &Value) -> bool {
    let both = ["output", "forward"].iter().all(|name| {
        objects(rules, "chain").any(|chain| {
            chain["name"] == *name && chain["hook"] == *name && chain["policy"] == "drop"
        })
    });
    // The last word of the rules is no: nobody has put an accept of everything before it.
    let open = objects(rules, "rule").any(|rule| {
        let said = rule["expr"].as_array();
        said.is_some_and(|said| said.len() == 1 && said[0].get("accept").is_some())
    });
    both && !open
}

fn counted(rules: &Value) -> Dropped {
    let mut tried: Vec<(String, u64)> = Vec::new();
    for set in objects(rules, "set") {
        let name = set["name"].as_str().unwrap_or_default();
        if !name.starts_with("tried") {
            continue;
        }
        for one in set["elem"].as_array().into_iter().flatten() {
            let mut place = String::new();
            for part in one["elem"]["val"]["concat"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let between = if place.is_empty() { "" } else { " " };
                let _ = match part.as_str() {
                    Some(text) => write!(place, "{between}{text}"),
                    None => write!(place, "{between}{part}"),
                };
            }
            let packets = one["elem"]["counter"]["packets"].as_u64();
            tried.push((place, packets.unwrap_or_default()));
        }
    }
    tried.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    let counter = objects(rules, "counter").find(|counter| counter["name"] == "dropped");
    Dropped {
        closed: is_closed(rules),
        packets: counter
            .and_then(|counter| counter["packets"].as_u64())
            .unwrap_or_default(),
        tried,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"counter": {"name": "dropped", "packets": 6, "bytes": 400}},
        {"set": {"name": "tried4", "elem": [
            {"elem": {"val": {"concat": ["198.18.1.9", "udp", 53]}, "counter": {"packets": 1, "bytes": 60}}},
            {"elem": {"val": {"concat": ["198.18.1.9", "tcp", 25]}, "counter": {"packets": 4, "bytes": 240}}}]}},
        {"set": {"name": "tried6"}},
        {"chain": {"name": "judge"}},
        {"chain": {"name": "output", "hook": "output", "policy": "drop"}},
        {"chain": {"name": "forward", "hook": "forward", "policy": "drop"}},
        {"rule": {"chain": "judge", "expr": [{"match": {}}, {"accept": null}]}},
        {"rule": {"chain": "output", "expr": [{"jump": {"target": "judge"}}]}}]}"#;

    #[test]
    fn what_was_tried_is_counted_for_each_place() {
        let found = counted(&serde_json::from_str(SHOWN).unwrap());
        assert_eq!(
            found,
            Dropped {
                closed: true,
                packets: 6,
                tried: vec![
                    ("198.18.1.9 tcp 25".into(), 4),
                    ("198.18.1.9 udp 53".into(), 1)
                ],
            }
        );
    }

    #[test]
    fn rules_that_let_everything_through_are_not_closed() {
        for (from, to) in [
            (
                r#""hook": "output", "policy": "drop""#,
                r#""hook": "output", "policy": "accept""#,
            ),
            (r#""name": "forward", "hook""#, r#""name": "else", "hook""#),
            (
                r#"[{"match": {}}, {"accept": null}]"#,
                r#"[{"accept": null}]"#,
            ),
        ] {
            let text = SHOWN.replacen(from, to, 1);
            assert_ne!(text, SHOWN);
            assert!(
                !counted(&serde_json::from_str(&text).unwrap()).closed,
                "{to}"
            );
        }
    }
}
