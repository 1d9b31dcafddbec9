//! What servers of a drill may reach: stores, resolvers, each other, and what the plan allows. A restored shop believes that it is
//! the real one: it would send real mail and charge real cards. So before anything is restored the host itself lets nothing
//! else out, also after a reboot, and counts what was tried.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;

use super::egress_rules::{Dropped, counted, fingerprint, is_closed};
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
    /// What the plan allows, to everything on them.
    open: Vec<Socket>,
    /// Where backups lie: for our own fetching only. What is restored may know how to write there, or how to prune.
    stores: Vec<Socket>,
    /// The run's servers that are closed, by name, with their addresses. Held while one is added: every server must learn of every
    /// other, and two that are made at the same time would each miss the other.
    peers: Mutex<BTreeMap<String, Vec<IpAddr>>>,
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
# pairs 4|6 PLACES: those of one family, as nft writes them.
pairs() {
  all=
  for one in $2; do
    address=${one%/*} port=${one##*/} family=4
    case "$address" in *:*) family=6 ;; esac
    [ "$family" = "$1" ] || continue
    all="$all${all:+, }$address . $port"
  done
  list "$all"
}
# Ports that no program is given by chance, whatever range the restored settings name: those of our own fetching.
mkdir -p /etc/sysctl.d
echo "net.ipv4.ip_local_reserved_ports = $DR_FETCH" > /etc/sysctl.d/99-dr-plan-drill.conf
echo "$DR_FETCH" > /proc/sys/net/ipv4/ip_local_reserved_ports || echo "the ports of our own fetching cannot be reserved here"
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
$(pairs 4 "$DR_OPEN")
  }
  set open6 { type ipv6_addr . inet_service
$(pairs 6 "$DR_OPEN")
  }
  set stores4 { type ipv4_addr . inet_service
$(pairs 4 "$DR_STORES")
  }
  set stores6 { type ipv6_addr . inet_service
$(pairs 6 "$DR_STORES")
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
    tcp sport $DR_FETCH ip daddr . tcp dport @stores4 accept
    tcp sport $DR_FETCH ip6 daddr . tcp dport @stores6 accept
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
# It begins with an empty table, ours with it.
After=nftables.service
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
# A machine that loses its power now must come back closed.
sync -f /etc/systemd/system
"#;

/// Ports of our own fetching (`codec/fetch.sh` takes them where the unit of a drill is there). Above those that Linux gives to
/// programs (32768 to 60999), and reserved besides.
const FETCH: &str = "61000-65535";

const SHOW: &str = r#"
nft -j list table inet dr_plan_drill
"#;

const ENABLED: &str = r#"
systemctl is-enabled --quiet dr-plan-drill.service
"#;

impl Egress {
    /// `peers`: servers of the run that were closed before this process.
    pub fn new(
        open: Vec<Socket>,
        stores: Vec<Socket>,
        peers: BTreeMap<String, Vec<IpAddr>>,
    ) -> Self {
        Self {
            open,
            stores,
            peers: Mutex::new(peers),
        }
    }

    fn words(&self) -> String {
        let open = self.open.iter().map(ToString::to_string);
        let stores = self
            .stores
            .iter()
            .map(|store| format!("{store} (for our own fetching)"));
        let all: Vec<String> = open.chain(stores).collect();
        match all.is_empty() {
            true => "resolvers and the drill's own servers".into(),
            false => all.join(", "),
        }
    }

    /// `address/port` of all that may be reached. A name that cannot be resolved is not reached either, and this is said.
    async fn addresses(sockets: &[Socket]) -> Result<String, Failure> {
        let mut all = BTreeSet::new();
        for socket in sockets {
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
    Egress::addresses(&egress.open).await?;
    Egress::addresses(&egress.stores).await?;
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
    let open = Egress::addresses(&egress.open).await?;
    let stores = Egress::addresses(&egress.stores).await?;
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
        .value("STORES", stores)
        .value("FETCH", FETCH)
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
    // What was loaded just now is what must hold at every look from here on.
    let loaded = show(&*host).await?.filter(is_closed);
    let loaded = loaded.ok_or_else(|| open_now(name))?;
    cx.note("egress_rules", fingerprint(&loaded)).await?;
    // Only with this note it is closed: before it, others may not know it.
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
    let loaded = cx.noted_text("egress_rules");
    let (Some(_), Some(loaded)) = (cx.noted("egress"), loaded) else {
        let words = format!("closing {name} did not come to its end");
        return Err(Failure::new(Reason::Verify, words));
    };
    let host = cx.host(name)?;
    let rules = show(&*host).await?;
    if !rules.is_some_and(|rules| counted(&rules, Some(&loaded)).closed) {
        return Err(open_now(name));
    }
    let asks = Script::new(ENABLED).ours();
    if !host.leashed(&asks, Duration::from_secs(30)).await?.ok() {
        let words = format!("{name} would be open after a reboot: its unit is not enabled");
        return Err(Failure::new(Reason::Verify, words));
    }
    Ok(verified.and(
        format!("what leaves {name}"),
        "is closed but for fetching from stores, resolvers, the drill's own servers and what the plan allows",
    ))
}

fn open_now(name: &str) -> Failure {
    let words = format!("{name} does not keep what it sends within the drill");
    Failure::new(Reason::Verify, words)
}

/// What a host has kept from leaving. `loaded`: the fingerprint of its rules when they were loaded.
pub async fn dropped(host: &dyn Transport, loaded: Option<&str>) -> Result<Dropped, Failure> {
    Ok(match show(host).await? {
        Some(rules) => counted(&rules, loaded),
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
        .leashed(&Script::new(SHOW).ours(), Duration::from_secs(30))
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
