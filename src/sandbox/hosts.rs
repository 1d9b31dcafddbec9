//! All machines of a world: who has which name and address, who runs, which region is lost. This
//! is the other side of the port that the simulated APIs speak to.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use async_trait::async_trait;

use super::{
    host::{self, Running},
    init::{Boot, chain},
    machines::{Machine, MachineError, MachineSpec, MachineState, Machines, valid_name},
    network, places,
};

/// Machines made of namespaces.
pub struct Hosts {
    regions: usize,
    state: Mutex<State>,
    /// For the threads that see a machine end.
    this: Weak<Hosts>,
}

#[derive(Default)]
struct State {
    machines: BTreeMap<String, Arc<Mutex<Entry>>>,
    addresses: BTreeSet<Ipv4Addr>,
    lost: BTreeSet<usize>,
    /// Number of the next cable: an interface name has 15 letters at most, a host name 63.
    cables: u64,
}

struct Entry {
    spec: MachineSpec,
    address: Ipv4Addr,
    mac: String,
    running: Option<Running>,
    /// Burnt with its region: no process left, and `Running` for the provider's records.
    burnt: bool,
    gone: bool,
    /// Counts starts, so that the end of an older one changes nothing.
    start: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hosts {
    /// The regions' bridges must be laid already (see [`network::lay`]).
    pub fn new(regions: usize) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            regions,
            state: Mutex::default(),
            this: this.clone(),
        })
    }

    pub fn regions(&self) -> usize {
        self.regions
    }

    /// Regions that were lost.
    pub fn lost(&self) -> Vec<usize> {
        lock(&self.state).lost.iter().copied().collect()
    }

    fn entry(&self, name: &str) -> Result<Arc<Mutex<Entry>>, MachineError> {
        lock(&self.state)
            .machines
            .get(name)
            .cloned()
            .ok_or_else(|| MachineError::Absent {
                name: name.to_owned(),
            })
    }

    /// Takes name and address, so that two orders cannot get the same.
    fn reserve(&self, mut spec: MachineSpec) -> Result<Arc<Mutex<Entry>>, MachineError> {
        if !valid_name(&spec.name) {
            return Err(MachineError::BadName { name: spec.name });
        }
        if spec.region >= self.regions {
            return Err(MachineError::NoRegion {
                region: spec.region,
                count: self.regions,
            });
        }
        let mac = spec
            .mac
            .take()
            .unwrap_or_else(|| network::mac_of(&spec.name));
        if !network::valid_mac(&mac) {
            return Err(MachineError::Start {
                name: spec.name,
                why: format!("`{mac}` is no MAC address"),
            });
        }
        let mut state = lock(&self.state);
        if state.lost.contains(&spec.region) {
            return Err(MachineError::RegionLost {
                region: spec.region,
            });
        }
        if state.machines.contains_key(&spec.name) {
            return Err(MachineError::Exists { name: spec.name });
        }
        let address = match spec.address {
            Some(address) if !network::may_have(spec.region, address) => {
                return Err(MachineError::Address {
                    address,
                    why: format!("it is not one of region {}", spec.region),
                });
            }
            Some(address) if state.addresses.contains(&address) => {
                return Err(MachineError::Address {
                    address,
                    why: "another machine has it".to_owned(),
                });
            }
            Some(address) => address,
            None => network::addresses(spec.region)
                .find(|address| !state.addresses.contains(address))
                .ok_or(MachineError::NoAddress {
                    region: spec.region,
                })?,
        };
        state.addresses.insert(address);
        let entry = Arc::new(Mutex::new(Entry {
            spec: spec.clone(),
            address,
            mac,
            running: None,
            burnt: false,
            gone: false,
            start: 0,
        }));
        state.machines.insert(spec.name, entry.clone());
        Ok(entry)
    }

    fn forget(&self, name: &str, address: Ipv4Addr) {
        let mut state = lock(&self.state);
        state.machines.remove(name);
        state.addresses.remove(&address);
    }

    fn create_now(&self, spec: MachineSpec) -> Result<Machine, MachineError> {
        let entry = self.reserve(spec)?;
        let mut entry = lock(&entry);
        let (name, address) = (entry.spec.name.clone(), entry.address);
        let made = host::make_disk(&name, entry.spec.disk_bytes, entry.spec.image.as_deref())
            .and_then(|_| self.start_now(&mut entry));
        if let Err(why) = made {
            entry.gone = true;
            let log = std::fs::read_to_string(host::log_of(&name)).unwrap_or_default();
            // The disk may not have been made at all.
            let _ = host::drop_disk(&name);
            self.forget(&name, address);
            let said = if log.trim().is_empty() {
                String::new()
            } else {
                format!("; it said: {}", log.trim())
            };
            return Err(MachineError::Start {
                name,
                why: format!("{why}{said}"),
            });
        }
        Ok(tell(&entry))
    }

    fn start_now(&self, entry: &mut Entry) -> Result<(), String> {
        let cable = {
            let mut state = lock(&self.state);
            state.cables += 1;
            format!("vps{}", state.cables)
        };
        let boot = Boot {
            name: entry.spec.name.clone(),
            region: entry.spec.region,
            address: entry.address,
            disk: host::disk_of(&entry.spec.name),
            boot_id: host::init_id(),
            user_data: entry.spec.user_data.clone(),
            authorized_keys: entry.spec.authorized_keys.clone(),
            build: None,
        };
        entry.start += 1;
        let (this, name, start) = (self.this.clone(), entry.spec.name.clone(), entry.start);
        entry.running = Some(host::start(&boot, &entry.mac, &cable, move |code| {
            if let Some(this) = this.upgrade() {
                this.ended(&name, start, code);
            }
        })?);
        Ok(())
    }

    /// A machine ended by itself: it powered off, rebooted, or its init died.
    fn ended(&self, name: &str, start: u64, code: i32) {
        let Ok(entry) = self.entry(name) else { return };
        let mut entry = lock(&entry);
        if entry.start != start || entry.gone || entry.burnt {
            return;
        }
        let Some(running) = entry.running.take() else {
            return;
        };
        if let Err(why) = running.stop(false) {
            eprintln!("machine {name}: {why}");
        }
        if host::wants_reboot(code)
            && let Err(why) = self.start_now(&mut entry)
        {
            eprintln!("machine {name}: starting again: {why}");
        }
    }

    fn power_off_now(&self, name: &str, graceful: bool) -> Result<(), MachineError> {
        let entry = self.entry(name)?;
        let mut entry = lock(&entry);
        entry.burnt = false;
        self.stop_now(&mut entry, graceful)
    }

    fn stop_now(&self, entry: &mut Entry, graceful: bool) -> Result<(), MachineError> {
        // Before the stop, so that its end is nobody's news.
        entry.start += 1;
        match entry.running.take() {
            Some(running) => running.stop(graceful).map_err(|why| MachineError::Change {
                name: entry.spec.name.clone(),
                why,
            }),
            None => Ok(()),
        }
    }

    fn power_on_now(&self, name: &str) -> Result<(), MachineError> {
        let entry = self.entry(name)?;
        let mut entry = lock(&entry);
        if entry.gone {
            return Err(MachineError::Absent {
                name: name.to_owned(),
            });
        }
        if lock(&self.state).lost.contains(&entry.spec.region) {
            return Err(MachineError::RegionLost {
                region: entry.spec.region,
            });
        }
        if entry.running.is_some() {
            return Ok(());
        }
        self.start_now(&mut entry)
            .map_err(|why| MachineError::Start {
                name: name.to_owned(),
                why,
            })
    }

    fn delete_now(&self, name: &str) -> Result<(), MachineError> {
        let entry = self.entry(name)?;
        let mut entry = lock(&entry);
        self.stop_now(&mut entry, false)?;
        if !entry.gone {
            entry.gone = true;
            host::drop_disk(name).map_err(|why| MachineError::Change {
                name: name.to_owned(),
                why,
            })?;
            self.forget(name, entry.address);
        }
        Ok(())
    }

    fn capture_now(&self, name: &str, image: &str) -> Result<(), MachineError> {
        let entry = self.entry(name)?;
        // Neither starts nor stops meanwhile.
        let entry = lock(&entry);
        if lock(&self.state).lost.contains(&entry.spec.region) {
            return Err(MachineError::RegionLost {
                region: entry.spec.region,
            });
        }
        host::make_image(name, image, entry.spec.disk_bytes).map_err(|why| MachineError::Change {
            name: name.to_owned(),
            why,
        })
    }

    fn lose_now(&self, region: usize) -> Result<(), MachineError> {
        if region >= self.regions {
            return Err(MachineError::NoRegion {
                region,
                count: self.regions,
            });
        }
        let entries: Vec<_> = {
            let mut state = lock(&self.state);
            state.lost.insert(region);
            state.machines.values().cloned().collect()
        };
        // The cables first: nothing leaves a burning house.
        network::set_up(&network::bridge(region), false).map_err(|error| MachineError::Change {
            name: network::bridge(region),
            why: chain(&error),
        })?;
        for entry in entries {
            let mut entry = lock(&entry);
            if entry.spec.region == region && entry.running.is_some() {
                entry.burnt = true;
                self.stop_now(&mut entry, false)?;
            }
        }
        Ok(())
    }

    /// Prepares every package that is slow to lay down, unless the cache has it. Machines that
    /// come before it is ready lay it down themselves.
    pub fn prepare_packages(&self) {
        for package in super::packages::clusters() {
            let name = super::packages::cache_name(&package);
            let cache = std::path::Path::new(places::CACHE);
            if !cache.join(&name).exists()
                && let Err(why) = host::prepare_package(&package, cache, &name)
            {
                eprintln!("preparing {package}: {why}");
            }
        }
    }
}

fn tell(entry: &Entry) -> Machine {
    Machine {
        name: entry.spec.name.clone(),
        region: entry.spec.region,
        address: entry.address,
        mac: entry.mac.clone(),
        state: match (&entry.running, entry.burnt, entry.gone) {
            (_, _, true) => MachineState::Absent,
            (Some(_), ..) | (_, true, _) => MachineState::Running,
            (None, false, false) => MachineState::Off,
        },
        init_pid: entry.running.as_ref().map(|running| running.init_pid),
    }
}

/// Runs blocking work of `this` on a thread of its own.
async fn blocking<T: Send + 'static>(
    this: &Hosts,
    name: &str,
    work: impl FnOnce(&Hosts) -> Result<T, MachineError> + Send + 'static,
) -> Result<T, MachineError> {
    let name = name.to_owned();
    let this = this.this.upgrade().ok_or_else(|| MachineError::Change {
        name: name.clone(),
        why: "the world is going down".to_owned(),
    })?;
    tokio::task::spawn_blocking(move || work(&this))
        .await
        .unwrap_or_else(|error| {
            Err(MachineError::Change {
                name,
                why: error.to_string(),
            })
        })
}

#[async_trait]
impl Machines for Hosts {
    async fn create(&self, spec: MachineSpec) -> Result<Machine, MachineError> {
        let name = spec.name.clone();
        blocking(self, &name, move |this| this.create_now(spec)).await
    }

    async fn power_off(&self, name: &str, graceful: bool) -> Result<(), MachineError> {
        let key = name.to_owned();
        blocking(self, name, move |this| this.power_off_now(&key, graceful)).await
    }

    async fn power_on(&self, name: &str) -> Result<(), MachineError> {
        let key = name.to_owned();
        blocking(self, name, move |this| this.power_on_now(&key)).await
    }

    async fn reboot(&self, name: &str, graceful: bool) -> Result<(), MachineError> {
        let key = name.to_owned();
        blocking(self, name, move |this| {
            this.power_off_now(&key, graceful)?;
            this.power_on_now(&key)
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), MachineError> {
        let key = name.to_owned();
        blocking(self, name, move |this| this.delete_now(&key)).await
    }

    async fn capture(&self, name: &str, image: &str) -> Result<(), MachineError> {
        let (key, image) = (name.to_owned(), image.to_owned());
        blocking(self, name, move |this| this.capture_now(&key, &image)).await
    }

    async fn drop_image(&self, image: &str) -> Result<(), MachineError> {
        let key = image.to_owned();
        blocking(self, image, move |_| {
            host::drop_image(&key).map_err(|why| MachineError::Change { name: key, why })
        })
        .await
    }

    async fn route(&self, address: Ipv4Addr, to: Option<&str>) -> Result<(), MachineError> {
        let key = to.unwrap_or_default().to_owned();
        let some = to.is_some();
        blocking(self, &key.clone(), move |this| {
            let via = match some {
                true => Some(lock(&*this.entry(&key)?).address),
                false => None,
            };
            network::send_to(address, via).map_err(|error| MachineError::Address {
                address,
                why: chain(&error),
            })
        })
        .await
    }

    async fn state(&self, name: &str) -> MachineState {
        self.find(name)
            .await
            .map_or(MachineState::Absent, |machine| machine.state)
    }

    async fn find(&self, name: &str) -> Option<Machine> {
        let key = name.to_owned();
        // Asking waits while a machine starts or stops: the answer is of before or after, never between.
        blocking(self, name, move |this| {
            let entry = this.entry(&key)?;
            let machine = tell(&lock(&entry));
            Ok(machine)
        })
        .await
        .ok()
        .filter(|machine| machine.state != MachineState::Absent)
    }

    async fn list(&self) -> Vec<Machine> {
        blocking(self, "", |this| {
            let entries: Vec<_> = lock(&this.state).machines.values().cloned().collect();
            Ok(entries
                .iter()
                .map(|entry| tell(&lock(entry)))
                .filter(|machine| machine.state != MachineState::Absent)
                .collect())
        })
        .await
        .unwrap_or_default()
    }

    async fn set_link(&self, name: &str, up: bool) -> Result<(), MachineError> {
        let key = name.to_owned();
        blocking(self, name, move |this| {
            let entry = this.entry(&key)?;
            let entry = lock(&entry);
            let running = entry.running.as_ref().ok_or_else(|| MachineError::Change {
                name: key.clone(),
                why: "it is off".to_owned(),
            })?;
            running.set_link(up).map_err(|why| MachineError::Change {
                name: key.clone(),
                why,
            })
        })
        .await
    }

    async fn lose_region(&self, region: usize) -> Result<(), MachineError> {
        blocking(self, "", move |this| this.lose_now(region)).await
    }
}
