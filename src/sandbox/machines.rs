//! The port between a cloud's simulated API and the machines it makes appear: the API knows
//! orders and names, the other side knows namespaces, disks and init processes.

use std::net::Ipv4Addr;

use async_trait::async_trait;

/// What an API orders: one virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// Host name and key of the machine; see [`valid_name`]. Unique in the world until deleted.
    pub name: String,
    /// Number of the region, counted from 0.
    pub region: usize,
    /// Address in the region's network; `None`: the next free one is given.
    pub address: Option<Ipv4Addr>,
    /// `aa:bb:cc:dd:ee:ff`; `None`: derived from the name, so that a rebuilt machine keeps it.
    pub mac: Option<String>,
    /// A copy of a disk that the machine begins with (see [`Machines::capture`]); `None`: a fresh one.
    pub image: Option<String>,
    /// Size of the disk in bytes. A full disk is `ENOSPC` in this machine only.
    pub disk_bytes: u64,
    /// What cloud-init gets: `#!...` or `#cloud-config`; empty for none.
    pub user_data: String,
    /// Lines of root's `authorized_keys` that the provider itself installs.
    pub authorized_keys: Vec<String>,
}

/// A machine as it stands in the world.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Machine {
    pub name: String,
    pub region: usize,
    pub address: Ipv4Addr,
    /// `aa:bb:cc:dd:ee:ff`
    pub mac: String,
    pub state: MachineState,
    /// Process id of the machine's init, as the world counts; `None` when off.
    pub init_pid: Option<u32>,
}

/// What the provider would say of a machine. A machine of a lost region is `Running` here until
/// it is powered off: the provider's records outlive its hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineState {
    Absent,
    Off,
    Running,
}

/// Why a machine could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error("there is no machine `{name}`")]
    Absent { name: String },
    #[error("a machine `{name}` exists already")]
    Exists { name: String },
    #[error("`{name}` is not a host name: 1 to 63 of a-z, 0-9 and `-`, not at its ends")]
    BadName { name: String },
    #[error("there is no region {region}: this world has {count}")]
    NoRegion { region: usize, count: usize },
    #[error("region {region} is lost: nothing starts there any more")]
    RegionLost { region: usize },
    #[error("the address {address} cannot be given: {why}")]
    Address { address: Ipv4Addr, why: String },
    #[error("region {region} has no free address left")]
    NoAddress { region: usize },
    #[error("starting machine `{name}`: {why}")]
    Start { name: String, why: String },
    #[error("changing machine `{name}`: {why}")]
    Change { name: String, why: String },
}

/// Machines that appear, stop, start and vanish. Every call returns when the world is so: after
/// `create` and `power_on` the init process runs and the link is up (sshd answers a moment later,
/// as with a real server); after `power_off` and `delete` no process is left.
#[async_trait]
pub trait Machines: Send + Sync {
    /// Makes the machine and starts it. The address is in the answer.
    async fn create(&self, spec: MachineSpec) -> Result<Machine, MachineError>;
    /// `graceful`: SIGTERM to init first and a bounded wait, as an ACPI shutdown; else the plug is
    /// pulled. The disk stays. A machine that is off already is left alone.
    async fn power_off(&self, name: &str, graceful: bool) -> Result<(), MachineError>;
    /// Starts a machine that is off, with the disk it had. A running one is left alone.
    async fn power_on(&self, name: &str) -> Result<(), MachineError>;
    /// Off (`graceful` as in [`Machines::power_off`]) and on again, with a new boot id.
    async fn reboot(&self, name: &str, graceful: bool) -> Result<(), MachineError>;
    /// Takes the machine and its disk away for good.
    async fn delete(&self, name: &str) -> Result<(), MachineError>;
    /// Copies the disk as it is at this moment under the name `image`, beside the machines: it outlives the machine and its
    /// region. Of a running machine it holds about what a power cut would leave.
    async fn capture(&self, name: &str, image: &str) -> Result<(), MachineError>;
    /// Takes such a copy away.
    async fn drop_image(&self, image: &str) -> Result<(), MachineError>;
    /// Sends packets for an address that is no machine's own to a machine, or to none. The machine takes them only if it
    /// has the address on an interface.
    async fn route(&self, address: Ipv4Addr, to: Option<&str>) -> Result<(), MachineError>;
    /// Never an error: what is not there is `Absent`.
    async fn state(&self, name: &str) -> MachineState;
    /// The machine as it stands, or `None`.
    async fn find(&self, name: &str) -> Option<Machine>;
    /// All machines, by name.
    async fn list(&self) -> Vec<Machine>;
    /// Pulls the network cable of one machine, or puts it back.
    async fn set_link(&self, name: &str, up: bool) -> Result<(), MachineError>;
    /// The region burns down: its bridge goes, its processes stop at once, and nothing starts
    /// there again. The provider's records still say `Running` until each machine is powered off.
    async fn lose_region(&self, region: usize) -> Result<(), MachineError>;
}

/// A label of RFC 1123 in lower case: what a host may be called here.
pub fn valid_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_labels_are_host_names() {
        for good in ["db", "web-2", "0a", &"x".repeat(63)] {
            assert!(valid_name(good), "{good}");
        }
        for bad in ["", "-db", "db-", "Db", "a.b", "a/b", "a b", &"x".repeat(64)] {
            assert!(!valid_name(bad), "{bad}");
        }
    }
}
