//! What a person or a monitor is told about the cluster: the JSON shapes, and how they are made.
//!
//! May not know: sockets, clocks, terminals. `build` is a function from what the core, the pulse
//! and the configuration say to a `Status`.

mod build;
mod redundancy;

use serde::{Deserialize, Serialize};

pub use build::build;
pub use redundancy::left;

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the node that says all this.
    pub node: String,
    /// Version of its daemon.
    pub version: String,
    /// Worst of everything below.
    pub health: Health,
    /// Number of the newest view that this node knows.
    pub view: u64,
    /// Names of that view's members.
    pub members: Vec<String>,
    /// Whether this node and a majority of the voters hear each other.
    pub quorum: bool,
    /// Milliseconds for which this node may still answer clients; 0 without a lease.
    pub lease_ms_left: u64,
    /// The node that leads the cluster log, if this node knows one.
    pub leader: Option<String>,
    /// Term of the cluster log.
    pub log_term: u64,
    /// Last entry of the cluster log that is agreed.
    pub log_committed: u64,
    /// Last entry of this node's log.
    pub log_last: u64,
    /// Every configured node.
    pub nodes: Vec<NodeStatus>,
    /// Every volume.
    pub volumes: Vec<VolumeStatus>,
}

/// One word on how things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Every node is up and every replica in sync: as redundant as configured.
    Healthy,
    /// Everything is served, with less redundancy than configured (or is about to be served).
    Degraded,
    /// No quorum, or a volume without a primary.
    Unavailable,
}

impl Health {
    /// Exit code of `steadfast status`.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Degraded => 1,
            Self::Unavailable => 2,
        }
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// `storage` or `witness`.
    pub role: String,
    /// Where it is.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it takes part: with quorum, a member of the view; without, heard by this node.
    pub alive: bool,
    /// Whether this node hears it.
    pub heard: bool,
    /// Its newest incarnation that this node knows.
    pub incarnation: Option<u64>,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Its name, also the NBD export's.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// Whether clients of several nodes may have it open at once.
    pub shared: bool,
    /// The node that may serve it; null without one or without quorum.
    pub primary: Option<String>,
    /// Whether the primary answers requests (it first reconciles the copies).
    pub serving: bool,
    /// Goes up with each change of primary.
    pub term: u64,
    /// One for each copy.
    pub replicas: Vec<ReplicaStatus>,
    /// How many nodes, whichever, may fail now without loss of data or service.
    pub failures_survivable: u32,
    /// The same in one plain sentence, with the reason where it is less than it could be.
    pub redundancy: String,
    /// Why it has no primary.
    pub waiting: Option<String>,
    /// Nodes through which clients have it open.
    pub gateways: Vec<String>,
    /// How often all in-sync copies lost power together.
    pub losses: u64,
}

/// A copy of a volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The node that keeps it.
    pub node: String,
    /// Its state now.
    pub state: ReplicaShown,
    /// What the cluster log says of it, also while it is offline.
    pub recorded: ReplicaShown,
    /// 100 in sync; while it is resynced, how much is done; else null.
    pub percent: Option<f64>,
    /// While it is resynced and copies flow: estimated time left.
    pub seconds_left: Option<u64>,
    /// While it is resynced: bytes a second.
    pub bytes_per_second: Option<u64>,
    /// While it is resynced: bytes that may still differ.
    pub bytes_left: Option<u64>,
    /// Its disk has failed, though its node is up. The last copy may still be read.
    #[serde(default)]
    pub store_failed: bool,
}

/// State of a copy, as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicaShown {
    /// Acknowledges every write.
    InSync,
    /// Being brought up to date.
    Resyncing,
    /// Has missed writes and is not being brought up to date.
    Behind,
    /// Holds nothing of use yet.
    New,
    /// Its node is down, or its store has failed.
    Offline,
}

impl ReplicaShown {
    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InSync => "in-sync",
            Self::Resyncing => "resyncing",
            Self::Behind => "behind",
            Self::New => "new",
            Self::Offline => "offline",
        }
    }
}
