//! Where things lie, inside a world and inside a machine: one list, so that the two sides of a
//! mount cannot disagree.

/// The world's own folder, on its private `/run`.
pub const WORLD: &str = "/run/dr-plan";
/// The control socket of the world (JSON lines, see [`super::control`]).
pub const WORLD_SOCKET: &str = "/run/dr-plan/world.sock";
/// This binary, pinned by a bind mount: a rebuild outside does not change a running world.
pub const WORLD_BINARY: &str = "/run/dr-plan/bin/dr-plan";
/// Lower directory of every machine's root.
pub const BASE: &str = "/run/dr-plan/base";
/// What packages lay down when they are "installed" (see [`super::packages`]).
pub const PACKAGES: &str = "/run/dr-plan/packages";
/// The cache of prepared packages, kept outside the world (see [`super::packages`]).
pub const CACHE: &str = "/run/dr-plan/cache";
/// One folder per machine with its disk (a tmpfs) and the log of its init.
pub const MACHINES: &str = "/run/dr-plan/machines";
/// Copies of their disks.
pub const IMAGES: &str = "/run/dr-plan/images";
/// An empty folder where each machine puts its root together, in its own mount namespace.
pub const NEW_ROOT: &str = "/run/dr-plan/new-root";

/// What the services of the world keep: the store's objects, the name server's zones, messages.
pub const SERVICES: &str = "/run/dr-plan/services";
/// Host keys of the servers that the estate began with, for the inventory's `known_hosts`.
pub const KNOWN_HOSTS: &str = "/run/dr-plan/known_hosts";

/// The authority that signed the certificate of the estate's shop (PEM), for whoever asks it over https.
pub const SHOP_AUTHORITY: &str = "/run/dr-plan/shop_ca.pem";

/// Inside a machine: what the sandbox brings along, on the machine's own `/run`.
pub const INSIDE: &str = "/run/sandbox";
/// Inside a machine: this binary.
pub const INSIDE_BINARY: &str = "/run/sandbox/dr-plan";
/// Inside a machine: [`PACKAGES`], read-only.
pub const INSIDE_PACKAGES: &str = "/run/sandbox/packages";
/// Inside a machine: [`CACHE`], read-only.
pub const INSIDE_CACHE: &str = "/run/sandbox/cache";
/// Inside a machine: the socket of its init.
pub const INIT_SOCKET: &str = "/run/sandbox/init.sock";

/// `PATH` of services and of first boot, as systemd and sshd of Debian set it.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
