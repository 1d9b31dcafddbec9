//! What this cloud sells: locations, server types with prices, images. A small, true-to-shape cut
//! of the real offer, with its traps: a type on its way out, an architecture the sandbox's
//! machine cannot boot, an image name that exists once per architecture.

use serde_json::{Value, json};

/// A place of the cloud.
#[derive(Debug)]
pub struct Location {
    pub id: i64,
    pub name: &'static str,
    description: &'static str,
    country: &'static str,
    city: &'static str,
    at: (f64, f64),
    network_zone: &'static str,
}

pub const LOCATIONS: [Location; 4] = [
    Location {
        id: 1,
        name: "fsn1",
        description: "Falkenstein DC Park 1",
        country: "DE",
        city: "Falkenstein",
        at: (50.47612, 12.370071),
        network_zone: "eu-central",
    },
    Location {
        id: 2,
        name: "nbg1",
        description: "Nuremberg DC Park 1",
        country: "DE",
        city: "Nuremberg",
        at: (49.452102, 11.076665),
        network_zone: "eu-central",
    },
    Location {
        id: 3,
        name: "hel1",
        description: "Helsinki DC Park 1",
        country: "FI",
        city: "Helsinki",
        at: (60.169855, 24.938379),
        network_zone: "eu-central",
    },
    Location {
        id: 4,
        name: "ash",
        description: "Ashburn, VA",
        country: "US",
        city: "Ashburn, VA",
        at: (39.045821, -77.487073),
        network_zone: "us-east",
    },
];

impl Location {
    /// Within it addresses and networks reach each other.
    pub fn zone(&self) -> &'static str {
        self.network_zone
    }

    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "country": self.country,
            "city": self.city,
            "latitude": self.at.0,
            "longitude": self.at.1,
            "network_zone": self.network_zone,
        })
    }
}

/// A size of server.
#[derive(Debug)]
pub struct ServerType {
    pub id: i64,
    pub name: &'static str,
    pub cores: u32,
    /// GB
    pub memory: f64,
    /// GB
    pub disk: u64,
    pub cpu: &'static str,
    pub architecture: &'static str,
    /// Net euros a month, in cents.
    cents: u64,
    /// On its way out: listed, not to be ordered any more.
    pub retired: bool,
}

pub const SERVER_TYPES: [ServerType; 7] = [
    server_type(104, "cx22", (2, 4.0, 40), "shared", "x86", 379, true),
    server_type(114, "cx23", (2, 4.0, 40), "shared", "x86", 349, false),
    server_type(115, "cx33", (4, 8.0, 80), "shared", "x86", 549, false),
    server_type(116, "cx43", (8, 16.0, 160), "shared", "x86", 949, false),
    server_type(22, "cpx22", (2, 4.0, 80), "shared", "x86", 649, false),
    server_type(96, "ccx13", (2, 8.0, 80), "dedicated", "x86", 1249, false),
    server_type(45, "cax11", (2, 4.0, 40), "shared", "arm", 379, false),
];

const fn server_type(
    id: i64,
    name: &'static str,
    (cores, memory, disk): (u32, f64, u64),
    cpu: &'static str,
    architecture: &'static str,
    cents: u64,
    retired: bool,
) -> ServerType {
    ServerType {
        id,
        name,
        cores,
        memory,
        disk,
        cpu,
        architecture,
        cents,
        retired,
    }
}

impl ServerType {
    /// `available` answers for one location by name.
    pub fn json(&self, available: impl Fn(&str) -> bool) -> Value {
        let retirement = if self.retired {
            json!({ "announced": "2025-10-01T00:00:00Z", "unavailable_after": "2026-01-01T00:00:00Z" })
        } else {
            Value::Null
        };
        let prices: Vec<Value> = LOCATIONS.iter().map(|place| self.price(place)).collect();
        let locations: Vec<Value> = LOCATIONS
            .iter()
            .map(|place| {
                let available = available(place.name);
                json!({
                    "id": place.id,
                    "name": place.name,
                    "deprecation": retirement,
                    "recommended": available && !self.retired,
                    "available": available,
                })
            })
            .collect();
        json!({
            "id": self.id,
            "name": self.name,
            "description": self.name.to_uppercase(),
            "cores": self.cores,
            "memory": self.memory,
            "disk": self.disk,
            "deprecated": self.retired,
            "prices": prices,
            "storage_type": "local",
            "cpu_type": self.cpu,
            "category": if self.cpu == "shared" { "cost_optimized" } else { "general_purpose" },
            "architecture": self.architecture,
            "deprecation": retirement,
            "locations": locations,
        })
    }

    /// Prices are decimal strings, gross with 19 % on top; America costs a fifth more.
    fn price(&self, place: &Location) -> Value {
        let net = self.cents as f64 / 100.0 * if place.country == "US" { 1.2 } else { 1.0 };
        let amount = |euros: f64| json!({ "net": format!("{euros:.10}"), "gross": format!("{:.16}", euros * 1.19) });
        json!({
            "location": place.name,
            "price_hourly": amount(net / 624.0),
            "price_monthly": amount(net),
            "included_traffic": 21_990_232_555_520_u64,
            "price_per_tb_traffic": amount(1.0),
        })
    }
}

/// A system image.
#[derive(Debug)]
pub struct Image {
    pub id: i64,
    pub name: &'static str,
    description: &'static str,
    flavor: &'static str,
    version: &'static str,
    pub architecture: &'static str,
}

pub const IMAGES: [Image; 4] = [
    Image {
        id: 114_690_387,
        name: "debian-12",
        description: "Debian 12",
        flavor: "debian",
        version: "12",
        architecture: "x86",
    },
    Image {
        id: 114_690_389,
        name: "debian-12",
        description: "Debian 12",
        flavor: "debian",
        version: "12",
        architecture: "arm",
    },
    Image {
        id: 161_547_269,
        name: "ubuntu-24.04",
        description: "Ubuntu 24.04",
        flavor: "ubuntu",
        version: "24.04",
        architecture: "x86",
    },
    Image {
        id: 161_547_270,
        name: "ubuntu-24.04",
        description: "Ubuntu 24.04",
        flavor: "ubuntu",
        version: "24.04",
        architecture: "arm",
    },
];

impl Image {
    /// The sandbox's machines share one system, so only its own image is what it says.
    pub fn boots(&self) -> bool {
        self.name == "debian-12" && self.architecture == "x86"
    }

    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "type": "system",
            "status": "available",
            "name": self.name,
            "description": self.description,
            "image_size": null,
            "disk_size": 5,
            "created": "2024-04-25T13:26:27Z",
            "created_from": null,
            "bound_to": null,
            "os_flavor": self.flavor,
            "os_version": self.version,
            "rapid_deploy": true,
            "protection": { "delete": false },
            "deprecated": null,
            "deleted": null,
            "labels": {},
            "architecture": self.architecture,
        })
    }
}

/// Finds by the text of an id or by name, as most fields of this API allow.
pub fn location(key: &str) -> Option<&'static Location> {
    LOCATIONS
        .iter()
        .find(|place| place.name == key || place.id.to_string() == key)
}

/// As [`location`].
pub fn server_type_by(key: &str) -> Option<&'static ServerType> {
    SERVER_TYPES
        .iter()
        .find(|size| size.name == key || size.id.to_string() == key)
}

/// By id, or by name for one architecture, since names repeat.
pub fn image(key: &str, architecture: &str) -> Option<&'static Image> {
    IMAGES.iter().find(|image| {
        image.id.to_string() == key || (image.name == key && image.architecture == architecture)
    })
}
