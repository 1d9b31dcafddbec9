//! Unbound, the caching resolver that clients of the estate ask.

use std::net::SocketAddr;
use std::path::Path;

use tokio::process::{Child, Command};

use super::program::{ask, make_folder, ready, spawn, usable, write_private};
use super::{NamesError, TTL};

/// A running Unbound. Dropping it kills the server.
#[derive(Debug)]
pub struct Resolver {
    /// Where it answers questions, over UDP and TCP.
    pub address: SocketAddr,
    _child: Child,
}

/// Starts Unbound, which finds each zone of `stubs` at the server beside it and refuses everything
/// else at once: the world has no root servers. Waits until it answers.
///
/// # Errors
/// The program is missing, the address is taken, or nothing answers in time.
pub async fn start_resolver(
    folder: &Path,
    address: SocketAddr,
    stubs: &[(&str, SocketAddr)],
) -> Result<Resolver, NamesError> {
    usable(address, "unbound")?;
    make_folder(folder)?;
    // unbound.conf(5). Lifetimes are kept as they come: a cap here would hide a TTL left too long.
    let mut config = format!(
        "server:\n\
         \x20 directory: \"{folder}\"\n\
         \x20 chroot: \"\"\n\
         \x20 username: \"\"\n\
         \x20 pidfile: \"\"\n\
         \x20 use-syslog: no\n\
         \x20 logfile: \"\"\n\
         \x20 interface: {ip}\n\
         \x20 port: {port}\n\
         \x20 do-ip6: no\n\
         \x20 num-threads: 1\n\
         \x20 access-control: 127.0.0.0/8 allow\n\
         \x20 access-control: 198.16.0.0/12 allow\n\
         \x20 do-not-query-localhost: no\n\
         \x20 module-config: \"iterator\"\n\
         \x20 infra-host-ttl: {TTL}\n\
         \x20 local-zone: \".\" refuse\n\
         ",
        folder = folder.display(),
        ip = address.ip(),
        port = address.port(),
    );
    for (zone, _) in stubs {
        let zone = zone.trim_end_matches('.');
        config.push_str(&format!("  local-zone: \"{zone}.\" transparent\n"));
    }
    config.push_str("remote-control:\n  control-enable: no\n");
    for (zone, server) in stubs {
        let zone = zone.trim_end_matches('.');
        config.push_str(&format!(
            "stub-zone:\n  name: \"{zone}.\"\n  stub-addr: {}@{}\n  stub-prime: no\n",
            server.ip(),
            server.port()
        ));
    }
    let path = folder.join("unbound.conf");
    write_private(&path, &config)?;
    let mut command = Command::new("unbound");
    command.arg("-d").arg("-p").arg("-c").arg(&path);
    let mut child = spawn(command, "unbound", "unbound", folder)?;
    ready(&mut child, "unbound", address, folder, || async {
        ask(address, "localhost").await.is_ok()
    })
    .await?;
    Ok(Resolver {
        address,
        _child: child,
    })
}
