//! The cluster log of one node: in memory, and as pages of its file.
//!
//! The file is two headers (who it belongs to, the incarnation), two areas for snapshots of the
//! agreed state, and a ring of pages. Every write of the ring is a fresh page with the term, the
//! vote, and the entries that are new; nothing that counts is ever overwritten in place. So a vote
//! or an append is one page, and a page that was torn by a crash is always one that nobody had
//! relied on.

mod header;
mod page;
mod recover;
mod refused;
mod store;
#[cfg(test)]
mod tests;

use crate::member::entry::Entry;
use crate::member::io::Page;
use crate::member::message::LogEnd;
use crate::types::{Incarnation, LogId, NodeId};

pub use recover::recover;
pub use refused::LogRefused;
pub(super) use store::Log;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Fewest pages of a ring: half of it holds what a snapshot leaves, twice.
const RING_MIN: u32 = 128;

/// How large the parts of a log file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pages of each of the two snapshot areas; at least 1.
    pub snapshot_pages: u32,
    /// Pages of the ring of entries; at least 128.
    pub ring_pages: u32,
}

impl Geometry {
    /// What a daemon uses: 4 MiB, some hundreds of volumes.
    pub const DAEMON: Self = Self {
        snapshot_pages: 256,
        ring_pages: 512,
    };
    /// For the simulator: 0.6 MiB, a handful of volumes.
    pub const SMALL: Self = Self {
        snapshot_pages: 4,
        ring_pages: RING_MIN,
    };

    /// Pages of the file.
    #[must_use]
    pub const fn pages(&self) -> u32 {
        self.ring() + self.ring_pages
    }

    /// First page of a snapshot area.
    const fn area(&self, area: u8) -> u32 {
        2 + area as u32 * self.snapshot_pages
    }

    /// First page of the ring.
    const fn ring(&self) -> u32 {
        2 + 2 * self.snapshot_pages
    }

    /// Where in the file the ring's page `sequence` lies.
    const fn slot(&self, sequence: u64) -> u32 {
        self.ring() + (sequence % self.ring_pages as u64) as u32
    }

    /// Most bytes of a snapshot.
    pub(super) const fn snapshot_max(&self) -> usize {
        self.snapshot_pages as usize * PAGE
    }

    const fn is_valid(&self) -> bool {
        self.snapshot_pages >= 1
            && self.snapshot_pages <= 1 << 16
            && self.ring_pages >= RING_MIN
            && self.ring_pages <= 1 << 16
    }
}

/// Whose file it is. Every page is bound to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    cluster: u128,
    node: NodeId,
}

/// The term of the log, and whom this node votes for in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ballot {
    /// The term.
    pub(super) term: u64,
    /// The vote, if it was given.
    pub(super) vote: Option<NodeId>,
}

/// A snapshot in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct SnapshotAt {
    /// Which of the two areas.
    area: u8,
    /// The last entry that it contains.
    last: LogEnd,
    /// Bytes; 0 for "none": the state before the first entry.
    len: u32,
    /// Their CRC.
    crc: u32,
}

/// What a node has kept of the cluster log.
#[derive(Clone, Debug)]
pub struct RecoveredLog {
    identity: Identity,
    geometry: Geometry,
    /// Which file it is.
    id: LogId,
    /// Of the last run; 0 if there was none.
    incarnation: Incarnation,
    ballot: Ballot,
    /// Number of the newest page of the ring.
    sequence: u64,
    /// Number of the oldest page that still counts.
    tail: u64,
    /// The page after the newest was torn.
    torn: bool,
    snapshot: SnapshotAt,
    /// The snapshot's bytes.
    state: Vec<u8>,
    /// What follows the snapshot.
    entries: Vec<Entry>,
}

/// What a new log begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Tells this file from every other log of the same node: drawn at random when it is made. By it
    /// the others know that a node has lost what it had promised (`core::roster`).
    pub id: LogId,
    /// The node's first incarnation will be the next one.
    pub used: Incarnation,
}

/// The pages of a new log that are not zero, for a file of `geometry.pages()` zero pages. Written in
/// this order, a file without them all is recognized as not made.
#[must_use]
pub fn format(cluster: u128, node: NodeId, geometry: Geometry, birth: Birth) -> Vec<Page> {
    assert!(geometry.is_valid(), "a geometry within its limits");
    let identity = Identity { cluster, node };
    let first = page::Body {
        sequence: 1,
        tail: 1,
        ..page::Body::default()
    };
    let header = header::Header {
        identity,
        geometry,
        incarnation: birth.used,
        id: birth.id,
    };
    vec![
        Page {
            number: geometry.slot(1),
            bytes: page::encode(&first, &identity),
        },
        header.page(1),
        header.page(0),
    ]
}
