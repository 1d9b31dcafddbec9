//! Machines that exist in a map only, to test the API without a world.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use async_trait::async_trait;
use dr_plan::sandbox::machines::{
    Machine, MachineError, MachineSpec, MachineState, Machines, valid_name,
};

#[derive(Default)]
pub struct Paper {
    standing: Mutex<BTreeMap<String, (Machine, MachineSpec)>>,
    lost: Mutex<Vec<usize>>,
}

impl Paper {
    pub fn spec(&self, name: &str) -> Option<MachineSpec> {
        let standing = self.standing.lock().unwrap();
        standing.get(name).map(|(_, spec)| spec.clone())
    }

    fn change(&self, name: &str, state: MachineState) -> Result<(), MachineError> {
        let mut standing = self.standing.lock().unwrap();
        let (machine, _) = standing.get_mut(name).ok_or_else(|| absent(name))?;
        if state == MachineState::Running && self.lost.lock().unwrap().contains(&machine.region) {
            return Err(MachineError::RegionLost {
                region: machine.region,
            });
        }
        machine.state = state;
        Ok(())
    }
}

fn absent(name: &str) -> MachineError {
    MachineError::Absent {
        name: name.to_owned(),
    }
}

#[async_trait]
impl Machines for Paper {
    async fn create(&self, spec: MachineSpec) -> Result<Machine, MachineError> {
        if !valid_name(&spec.name) {
            return Err(MachineError::BadName { name: spec.name });
        }
        if self.lost.lock().unwrap().contains(&spec.region) {
            return Err(MachineError::RegionLost {
                region: spec.region,
            });
        }
        let mut standing = self.standing.lock().unwrap();
        if standing.contains_key(&spec.name) {
            return Err(MachineError::Exists { name: spec.name });
        }
        let machine = Machine {
            name: spec.name.clone(),
            region: spec.region,
            address: spec.address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            mac: "02:00:00:00:00:01".to_owned(),
            state: MachineState::Running,
            init_pid: None,
        };
        standing.insert(spec.name.clone(), (machine.clone(), spec));
        Ok(machine)
    }

    async fn power_off(&self, name: &str, _graceful: bool) -> Result<(), MachineError> {
        self.change(name, MachineState::Off)
    }

    async fn power_on(&self, name: &str) -> Result<(), MachineError> {
        self.change(name, MachineState::Running)
    }

    async fn reboot(&self, name: &str, _graceful: bool) -> Result<(), MachineError> {
        self.change(name, MachineState::Running)
    }

    async fn delete(&self, name: &str) -> Result<(), MachineError> {
        let gone = self.standing.lock().unwrap().remove(name);
        gone.map(drop).ok_or_else(|| absent(name))
    }

    async fn capture(&self, name: &str, _image: &str) -> Result<(), MachineError> {
        let standing = self.standing.lock().unwrap();
        let (machine, _) = standing.get(name).ok_or_else(|| absent(name))?;
        let region = machine.region;
        match self.lost.lock().unwrap().contains(&region) {
            true => Err(MachineError::RegionLost { region }),
            false => Ok(()),
        }
    }

    async fn drop_image(&self, _image: &str) -> Result<(), MachineError> {
        Ok(())
    }

    async fn route(&self, _address: Ipv4Addr, to: Option<&str>) -> Result<(), MachineError> {
        match to {
            Some(name) if self.spec(name).is_none() => Err(absent(name)),
            _ => Ok(()),
        }
    }

    async fn state(&self, name: &str) -> MachineState {
        let found = self.find(name).await;
        found.map_or(MachineState::Absent, |machine| machine.state)
    }

    async fn find(&self, name: &str) -> Option<Machine> {
        let standing = self.standing.lock().unwrap();
        standing.get(name).map(|(machine, _)| machine.clone())
    }

    async fn list(&self) -> Vec<Machine> {
        let standing = self.standing.lock().unwrap();
        standing
            .values()
            .map(|(machine, _)| machine.clone())
            .collect()
    }

    async fn set_link(&self, _name: &str, _up: bool) -> Result<(), MachineError> {
        Ok(())
    }

    async fn lose_region(&self, region: usize) -> Result<(), MachineError> {
        self.lost.lock().unwrap().push(region);
        Ok(())
    }
}
