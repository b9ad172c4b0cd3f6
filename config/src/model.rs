//! What a checked configuration says.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::problem::ConfigError;

/// Most nodes of a cluster.
pub const NODES_MAX: usize = 128;
/// Most nodes that vote.
pub const VOTERS_MAX: usize = 7;
/// Largest volume, in bytes: 16 TiB.
pub const VOLUME_SIZE_MAX: u64 = 16 << 40;
/// Most stores of a volume.
pub const REPLICAS_MAX: usize = 8;

/// A configuration that has been checked whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What all nodes share.
    pub cluster: Cluster,
    /// Which of them this machine is.
    pub node: ThisNode,
    /// Every node; a node's place in this list is its id in the cluster and must never change.
    pub nodes: Vec<Node>,
    /// Every volume.
    pub volumes: Vec<Volume>,
}

/// What all nodes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// For people.
    pub name: String,
    /// Random, never 0; told to peers and written into stores and log.
    pub id: u128,
    /// Authenticates peers, heartbeats and links.
    pub key: Key,
    /// As named in the file.
    pub profile: Profile,
    /// Between heartbeats: 10 ms to 1 s. The profile's, unless the file says another.
    pub interval: Duration,
    /// Heartbeats that may be missed: silence of `interval * missed` is suspicion.
    pub missed: u32,
}

/// The cluster's secret. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// How fast a dead node is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// 10 ms x 3: bare metal with a thread of its own for heartbeats.
    Fast,
    /// 100 ms x 3: the default.
    Lan,
    /// 500 ms x 3: long or shaky paths.
    Wan,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Lan, Self::Wan];

    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// Between heartbeats.
    #[must_use]
    pub const fn interval(self) -> Duration {
        Duration::from_millis(match self {
            Self::Fast => 10,
            Self::Lan => 100,
            Self::Wan => 500,
        })
    }

    /// Heartbeats that may be missed.
    #[must_use]
    pub const fn missed(self) -> u32 {
        3
    }
}

/// This machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThisNode {
    /// Its place in `Config::nodes`.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Where it keeps its log and its sockets; absolute.
    pub dir: PathBuf,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May keep stores.
    Storage,
    /// Votes, keeps no data.
    Witness,
}

impl Role {
    /// Its name in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Witness => "witness",
        }
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Unique.
    pub name: String,
    /// Unique; listened on and sent from.
    pub address: IpAddr,
    /// What it does.
    pub role: Role,
    /// Whether it has a vote in the cluster log.
    pub voter: bool,
    /// Its ports.
    pub ports: Ports,
}

/// Ports of a node; no two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// TCP: NBD clients.
    pub nbd: u16,
    /// TCP: links between nodes.
    pub data: u16,
    /// UDP: heartbeats.
    pub pulse: u16,
    /// UDP: the cluster log.
    pub core: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            nbd: 10809,
            data: 7410,
            pulse: 7411,
            core: 7412,
        }
    }
}

impl Node {
    /// Where NBD clients connect.
    #[must_use]
    pub const fn nbd(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.ports.nbd)
    }

    /// Where peers' links connect.
    #[must_use]
    pub const fn data(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.ports.data)
    }

    /// Where heartbeats go.
    #[must_use]
    pub const fn pulse(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.ports.pulse)
    }

    /// Where messages of the cluster log go.
    #[must_use]
    pub const fn core(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.ports.core)
    }
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Unique; also the NBD export's name.
    pub name: String,
    /// Unique, never 0.
    pub id: u128,
    /// Bytes; a multiple of 4096.
    pub size: u64,
    /// Whether clients of several nodes may have it open at once.
    pub shared: bool,
    /// One for each node that keeps a copy, by node.
    pub stores: Vec<Store>,
}

impl Volume {
    /// The store on the node with this index.
    #[must_use]
    pub fn store(&self, node: usize) -> Option<&Store> {
        self.stores.iter().find(|store| store.node == node)
    }
}

/// One copy of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Index of the node that keeps it.
    pub node: usize,
    /// File or block device on that node; absolute.
    pub path: PathBuf,
    /// Unique, never 0; a store that is formatted anew gets a new one.
    pub id: u128,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to its directory.
    ///
    /// # Errors
    /// Every problem of the file, with its line.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text =
            crate::read::text(file).map_err(|error| ConfigError::unreadable(file, &error))?;
        let absolute =
            std::path::absolute(file).map_err(|error| ConfigError::unreadable(file, &error))?;
        let base = absolute.parent().unwrap_or(Path::new("/"));
        crate::check::check(file, &text, base)
    }

    /// Checks `text` as if it were the content of `file`.
    ///
    /// # Errors
    /// Every problem, with its line.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        crate::check::check(file, text, file.parent().unwrap_or(Path::new("/")))
    }

    /// This machine's entry in `nodes`.
    #[must_use]
    pub fn me(&self) -> &Node {
        &self.nodes[self.node.index]
    }

    /// The file of the cluster log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.node.dir.join("cluster-log")
    }

    /// The control interface's socket.
    #[must_use]
    pub fn api(&self) -> PathBuf {
        self.node.dir.join("api.sock")
    }

    /// The NBD server's Unix socket.
    #[must_use]
    pub fn nbd_socket(&self) -> PathBuf {
        self.node.dir.join("nbd.sock")
    }

    /// The volumes that this machine keeps a copy of, with that copy.
    pub fn my_stores(&self) -> impl Iterator<Item = (&Volume, &Store)> {
        self.volumes
            .iter()
            .filter_map(|volume| Some((volume, volume.store(self.node.index)?)))
    }

    /// L: how long a lease runs from the send time of an acknowledged heartbeat. 0.8 D, so that
    /// `L (1 + drift) <= D (1 - drift)` for clocks that drift by up to 8.3 %.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.cluster.interval * self.cluster.missed * 8 / 10
    }

    /// The configuration as a file that `parse` reads back as the same value.
    #[must_use]
    pub fn to_toml(&self) -> String {
        crate::render::render(self)
    }
}
