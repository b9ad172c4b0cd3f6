//! Datagrams between nodes: a header that says what they are, and a MAC with the cluster's key.
//!
//! The seal proves that a node of this cluster wrote the datagram. It does not prove when: replays
//! are the reader's to tell (the pulse by incarnation and sequence, the core because its messages
//! may repeat). Nothing here allocates.

use super::fields::{Reader, Writer};
use super::key::{ClusterKey, same_mac};

/// Version of the datagrams.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const HEADER: usize = 16;
/// Bytes after it.
pub const MAC: usize = 16;
/// Bytes that a seal adds.
pub const OVERHEAD: usize = HEADER + MAC;
/// Most bytes of a payload: the largest heartbeat, of a cluster of 128 nodes, is below it.
pub const PAYLOAD_MAX: usize = 4096;

const MAGIC: [u8; 4] = *b"SFdg";

/// What a datagram is for. A datagram for one is never taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Heartbeats, acknowledgements, death notices.
    Pulse = 1,
    /// Messages of the membership core.
    Core = 2,
}

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too short, or it does not begin as one.
    NotOurs,
    /// Of another version.
    Version(u8),
    /// Of another kind, or an unknown one.
    Kind(u8),
    /// Its length is not what it says.
    Length,
    /// Of another cluster.
    Cluster,
    /// The MAC is wrong: another key, or somebody changed it.
    Key,
    /// The seal is right, and what is sealed says nothing.
    Content,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotOurs => write!(f, "a datagram that is not Steadfast's"),
            Self::Version(found) => write!(
                f,
                "a datagram of version {found}, this node speaks {VERSION}: update the older node"
            ),
            Self::Kind(kind) => {
                write!(f, "a datagram of kind {kind} on this port: check the ports")
            }
            Self::Length => write!(f, "a datagram that was cut off"),
            Self::Cluster => write!(f, "a datagram of another cluster: check the addresses"),
            Self::Key => write!(
                f,
                "a datagram with a wrong seal: compare `cluster.key` of the nodes"
            ),
            Self::Content => write!(
                f,
                "a datagram of this cluster that makes no sense: compare the nodes' versions"
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// Seals and opens the datagrams of one cluster.
#[derive(Clone)]
pub struct Seal {
    key: [u8; 32],
    cluster: u64,
}

impl Seal {
    /// For a cluster.
    #[must_use]
    pub fn new(key: &ClusterKey, cluster: u128) -> Self {
        Self {
            key: key.derive("steadfast 2026 datagrams"),
            cluster: (cluster >> 64) as u64 ^ cluster as u64,
        }
    }

    /// Seals a payload into `out`, which is at least [`OVERHEAD`] longer. Returns the datagram's
    /// length.
    pub fn seal(&self, kind: Kind, payload: &[u8], out: &mut [u8]) -> usize {
        out[HEADER..HEADER + payload.len()].copy_from_slice(payload);
        self.seal_in_place(kind, payload.len(), out)
    }

    /// As [`Seal::seal`], with the payload already at `out[HEADER..HEADER + len]`.
    pub fn seal_in_place(&self, kind: Kind, len: usize, out: &mut [u8]) -> usize {
        assert!(len <= PAYLOAD_MAX);
        let mut header = Writer::new(&mut out[..HEADER]);
        header.bytes(&MAGIC);
        header.u8(VERSION);
        header.u8(kind as u8);
        header.u16(len as u16);
        header.u64(self.cluster);
        let end = HEADER + len;
        let mac = blake3::keyed_hash(&self.key, &out[..end]);
        out[end..end + MAC].copy_from_slice(&mac.as_bytes()[..MAC]);
        end + MAC
    }

    /// The payload of a datagram of this kind, if the seal is right.
    pub fn open<'a>(&self, kind: Kind, datagram: &'a [u8]) -> Result<&'a [u8], Refused> {
        if datagram.len() < OVERHEAD {
            return Err(Refused::NotOurs);
        }
        let mut header = Reader::new(datagram);
        if header.array() != MAGIC {
            return Err(Refused::NotOurs);
        }
        match header.u8() {
            VERSION => {}
            other => return Err(Refused::Version(other)),
        }
        let found = header.u8();
        let len = usize::from(header.u16());
        if len > PAYLOAD_MAX || len + OVERHEAD != datagram.len() {
            return Err(Refused::Length);
        }
        if header.u64() != self.cluster {
            return Err(Refused::Cluster);
        }
        let (sealed, mac) = datagram.split_at(HEADER + len);
        if !same_mac(
            &blake3::keyed_hash(&self.key, sealed).as_bytes()[..MAC],
            mac,
        ) {
            return Err(Refused::Key);
        }
        // Last, so that a port in the wrong place is named only by somebody who holds the key.
        if found != kind as u8 {
            return Err(Refused::Kind(found));
        }
        Ok(&sealed[HEADER..])
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seal(..)")
    }
}
