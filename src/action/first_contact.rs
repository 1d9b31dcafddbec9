//! The first minutes with a new server. An API's "running" means power and nothing else: what counts is a command that
//! answers over SSH under the pinned key, a first boot that says it is done, and a host key that nobody but the host has seen.
//!
//! User data can be read by every process on the server and by every holder of a token, so the host key in it only
//! serves for the first contact: over that connection the host makes its own, we pin it, and the old one dies.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::bootstrap_key::BootstrapKey;
use super::host_job::carry;
use super::{Context, HostFacts};
use crate::kind::{Failure, Reason};
use crate::provider::{Power, Provider, Server};
use crate::transport::{Script, TransportError};

/// The user data: made by a serializer, never by a template. JSON is YAML, and cloud-init reads it as such.
pub(super) fn cloud_config(
    key: &BootstrapKey,
    user: &str,
    login_keys: &[String],
    packages: &[String],
) -> String {
    let mut config = json!({
        "ssh_deletekeys": true,
        "ssh_keys": { "ed25519_private": key.private.expose(), "ed25519_public": key.public },
        "disable_root": user != "root",
        "ssh_pwauth": false,
        "users": [{ "name": user, "ssh_authorized_keys": login_keys }],
    });
    if user != "root" {
        config["users"][0]["sudo"] = json!("ALL=(ALL) NOPASSWD:ALL");
        config["users"][0]["shell"] = json!("/bin/sh");
    }
    if !packages.is_empty() {
        config["package_update"] = json!(true);
        config["packages"] = json!(packages);
    }
    format!("#cloud-config\n{config:#}\n")
}

/// Waits until the provider has done what creation asks for, and shows power and an address.
pub(super) async fn address_of(
    cx: &Context,
    provider: &dyn Provider,
    id: &str,
) -> Result<Server, Failure> {
    let until = Instant::now() + Duration::from_secs(300);
    let mut server = provider.created(id, Duration::from_secs(300)).await?;
    while server.power != Power::On || server.ipv4.is_none() {
        if Instant::now() > until {
            let words = format!(
                "`{}` is still {} or without an address after five minutes",
                server.name, server.power
            );
            return Err(Failure::new(Reason::Timeout, words));
        }
        if server.power == Power::Off {
            cx.log(format!("`{}` is off; switching it on", server.name));
            provider.set_power(id, true).await?;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        server = provider.get(id).await?.ok_or_else(|| {
            Failure::new(
                Reason::NoCapacity,
                format!("`{}` vanished after it was accepted", server.name),
            )
        })?;
    }
    Ok(server)
}

/// Between the first two tries to reach a new server.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until a command answers over SSH under a pinned key. A wrong key ends it at once: nothing was sent.
pub(super) async fn wait_for_ssh(cx: &Context, name: &str) -> Result<(), Failure> {
    let host = cx.host(name)?;
    let begun = Instant::now();
    let until = begun + Duration::from_secs(300);
    let mut wait = FIRST_PAUSE;
    loop {
        let error = match host
            .leashed(&Script::new("true").ours(), Duration::from_secs(15))
            .await
        {
            Ok(answer) if answer.ok() => return Ok(()),
            Ok(answer) => {
                return Err(Failure::new(
                    Reason::ExitCode,
                    format!("`true` on {name}: {}", answer.said()),
                ));
            }
            Err(error) => error,
        };
        // "System is booting up" and users that cloud-init has not made yet look like a refused login.
        let passes = matches!(
            error,
            TransportError::Unreachable { .. }
                | TransportError::Timeout { .. }
                | TransportError::Lost { .. }
                | TransportError::Denied { .. }
        );
        if !passes || Instant::now() > until {
            return Err(error.into());
        }
        host.disconnect().await;
        tokio::time::sleep(wait).await;
        // As a person waits: often at first, then with the patience that a machine needs which does not come up.
        let longest = begun.elapsed() / 8;
        wait = (wait * 2).min(longest.clamp(FIRST_PAUSE, Duration::from_secs(1)));
    }
}

/// Ends with `done`, `error` or `degraded` as soon as cloud-init has; at most fifty seconds a look.
const FIRST_BOOT: &str = r#"
i=0
while [ $i -lt 500 ]; do
  if [ -e /var/lib/cloud/instance/boot-finished ]; then
    cloud-init status --format json 2>/dev/null || cloud-init status || true
    exit 0
  fi
  sleep 0.1
  i=$((i+1))
done
exit 75
"#;

/// Waits for the end of the first boot. Its exit codes are known to lie, so its own words and its marker count.
pub(super) async fn wait_for_first_boot(cx: &Context, name: &str) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_secs(900);
    let host = cx.host(name)?;
    loop {
        let answer = match host
            .leashed(&Script::new(FIRST_BOOT).ours(), Duration::from_secs(90))
            .await
        {
            Ok(answer) => answer,
            // sshd is restarted by the first boot itself.
            Err(TransportError::Lost { .. } | TransportError::Unreachable { .. })
                if Instant::now() < until =>
            {
                host.disconnect().await;
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if answer.status == 75 && Instant::now() < until {
            cx.log(format!("the first boot of {name} is still at work"));
            continue;
        }
        let text = answer.stdout.trim();
        let status = serde_json::from_str::<serde_json::Value>(text)
            .ok()
            .and_then(|value| value["status"].as_str().map(str::to_string))
            .or_else(|| {
                text.lines()
                    .find_map(|line| line.strip_prefix("status: "))
                    .map(str::to_string)
            })
            .unwrap_or_else(|| text.to_string());
        return match status.as_str() {
            "done" | "disabled" => Ok(()),
            // The marker is written by a module of the last stage, whose end is told only after it.
            "running" | "not started" | "not run" if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            _ => Err(Failure::new(
                Reason::Verify,
                format!("the first boot of {name} ended as `{status}`: {text}"),
            )
            .hint(format!(
                "dr-plan ssh {} {name}, then `cloud-init status --long`",
                cx.run.short()
            ))),
        };
    }
}

/// Makes a key that never leaves the host, beside the one in use.
const MAKE_KEY: &str = r#"
umask 077
new=/etc/ssh/dr-plan.new
[ -s "$new.pub" ] && [ -s "$new" ] || { rm -f "$new" "$new.pub"; ssh-keygen -q -t ed25519 -N '' -C '' -f "$new"; sync "$new" "$new.pub" /etc/ssh; }
"#;

/// Puts it in the place of all others, and takes every copy of the user data away that still holds the old one.
const USE_KEY: &str = r#"
umask 077
new=/etc/ssh/dr-plan.new
key=/etc/ssh/ssh_host_ed25519_key
if [ -s "$new" ]; then
  for old in /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub; do
    case "$old" in "$key"|"$key.pub") ;; *) rm -f -- "$old" ;; esac
  done
  install -m 644 "$new.pub" "$key.pub"
  mv -f "$new" "$key"
  rm -f "$new.pub"
fi
chmod 600 "$key"
for copy in /var/lib/cloud/instance /var/lib/cloud/instances/*; do
  [ -d "$copy" ] || continue
  rm -f "$copy"/user-data.txt "$copy"/user-data.txt.i "$copy"/cloud-config.txt "$copy"/obj.pkl
done
rm -f /run/cloud-init/combined-cloud-config.json /run/cloud-init/instance-data-sensitive.json
sync "$key" "$key.pub" /etc/ssh
sshd -t 2>/dev/null || /usr/sbin/sshd -t
systemctl reload ssh 2>/dev/null || systemctl reload sshd
"#;

const SHOW_KEY: &str = r#"
for key in /etc/ssh/dr-plan.new.pub /etc/ssh/ssh_host_ed25519_key.pub; do
  [ -s "$key" ] && { cut -d ' ' -f 1,2 "$key"; exit 0; }
done
exit 1
"#;

/// Exchanges the bootstrap key for the host's own; returns the new public key, which is noted before it is used.
pub(super) async fn rotate_host_key(cx: &Context, name: &str) -> Result<String, Failure> {
    let host = cx.host(name)?;
    let own = match cx.noted_text("host_key") {
        Some(own) => own,
        None => {
            carry(
                cx,
                &host,
                Some("make-key"),
                &Script::new(MAKE_KEY),
                Duration::from_secs(60),
            )
            .await?;
            let answer = host
                .leashed(&Script::new(SHOW_KEY).ours(), Duration::from_secs(30))
                .await?;
            let own = answer.stdout.trim().to_string();
            if !answer.ok() || !own.starts_with("ssh-ed25519 ") {
                return Err(Failure::new(
                    Reason::Verify,
                    format!("{name} shows no new host key: {}", answer.said()),
                ));
            }
            cx.note("host_key", own.clone()).await?;
            own
        }
    };
    carry(
        cx,
        &host,
        Some("use-key"),
        &Script::new(USE_KEY),
        Duration::from_secs(60),
    )
    .await?;
    host.disconnect().await;
    Ok(own)
}

/// A command answers under the pinned key; says how the machine calls itself.
pub(super) async fn greet(cx: &Context, name: &str) -> Result<String, Failure> {
    let host = cx.host(name)?;
    let answer = host
        .leashed(&Script::new("uname -nr").ours(), Duration::from_secs(30))
        .await?;
    if answer.ok() {
        Ok(format!("answers as {}", answer.stdout.trim()))
    } else {
        Err(Failure::new(
            Reason::ExitCode,
            format!("`uname` on {name}: {}", answer.said()),
        ))
    }
}

/// The bootstrap key must be dead: a connection that trusts only it must be refused by our own client.
pub(super) async fn prove_dead(
    cx: &Context,
    facts: &HostFacts,
    bootstrap: Vec<String>,
) -> Result<(), Failure> {
    let only_old = HostFacts {
        name: format!("{}-old-key", facts.name),
        pins: bootstrap,
        ..facts.clone()
    };
    let host = cx.services.hosts.apart(&only_old)?;
    let came = host
        .leashed(&Script::new("true").ours(), Duration::from_secs(15))
        .await;
    host.disconnect().await;
    match came {
        Err(TransportError::WrongKey { .. }) => Ok(()),
        Ok(_) => Err(Failure::new(
            Reason::Verify,
            format!("{} still shows its bootstrap host key", facts.name),
        )),
        Err(error) => Err(error.into()),
    }
}
