//! What a reactor is made from. Validated before: nothing here comes from outside unchecked.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::lease_cell::LeaseCell;
use super::message::Output;
use super::progress_cell::ProgressCell;
use crate::meta::recovered::Recovered;
use crate::types::{BootId, Incarnation, NodeId, VolumeId};

/// Where NBD clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NbdAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket; a stale one that nobody listens on is replaced.
    Unix(PathBuf),
}

/// A peer's data-link listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub node: NodeId,
    /// Where.
    pub data: SocketAddr,
}

/// A store, locked and read.
#[derive(Debug)]
pub struct Store {
    /// Open for reading and writing with `O_DIRECT`; holds the exclusive lock.
    pub file: OwnedFd,
    /// What it said.
    pub recovered: Recovered,
}

/// One volume of this node.
#[derive(Debug)]
pub struct VolumeSetup {
    /// Which.
    pub id: VolumeId,
    /// The NBD export's name.
    pub name: String,
    /// Bytes; a multiple of the block.
    pub size: u64,
    /// Whether clients of several nodes may have it open at once.
    pub shared: bool,
    /// This node's replica, if it has one.
    pub store: Option<Store>,
}

/// Bounds of what clients may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// NBD connections at once; further ones are closed as soon as they are accepted.
    pub clients: usize,
    /// Time for a connection to choose an export, and for a link to prove the key.
    pub handshake: Duration,
    /// Time after which unacknowledged data breaks a data link (`TCP_USER_TIMEOUT`).
    pub link_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 128,
            handshake: Duration::from_secs(10),
            link_timeout: Duration::from_secs(10),
        }
    }
}

/// Everything a reactor needs.
pub struct ReactorConfig {
    /// This node.
    pub me: NodeId,
    /// The boot of this machine.
    pub boot: BootId,
    /// This node's incarnation.
    pub incarnation: Incarnation,
    /// The cluster's id.
    pub cluster: u128,
    /// The cluster's key; data links are authenticated with it.
    pub key: [u8; 32],
    /// This node's address: links to peers come from it.
    pub address: IpAddr,
    /// Where NBD clients connect.
    pub nbd: Vec<NbdAddress>,
    /// Where peers connect.
    pub data: SocketAddr,
    /// The peers.
    pub peers: Vec<Peer>,
    /// The volumes, at least one.
    pub volumes: Vec<VolumeSetup>,
    /// D (interval x missed): how long the engine waits before it gives up on a silent replica.
    pub suspicion: Duration,
    /// Bounds of what clients may use.
    pub limits: Limits,
    /// The lease, as the pulse publishes it.
    pub lease: Arc<LeaseCell>,
    /// Whether the data path makes progress, for the pulse.
    pub progress: Arc<ProgressCell>,
    /// Takes what the reactor has to say; called on the reactor's thread, must not block.
    pub output: Box<dyn FnMut(Output) + Send>,
}
