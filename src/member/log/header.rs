//! The headers: pages 0 and 1 of the file, equal but for a crash between their writes.
//!
//! 8 bytes magic, version (u16), 2 zero bytes, CRC32 of what follows (u32), cluster (u128), node (u8),
//! 3 zero bytes, snapshot pages (u32), ring pages (u32), incarnation (u64), id of this file (u64); all
//! little-endian, the rest of the page is zero.

use super::{Geometry, Identity, PAGE};
use crate::member::io::Page;
use crate::types::{Incarnation, LogId, NodeId};

const MAGIC: [u8; 8] = *b"SFLOGHDR";
const VERSION: u16 = 2;
/// End of what is used.
const LEN: usize = 60;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) geometry: Geometry,
    /// The newest that was taken.
    pub(super) incarnation: Incarnation,
    /// Which file it is.
    pub(super) id: LogId,
}

/// What was found where a header should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A header.
    Header(Header),
    /// Zeroes only.
    Blank,
    /// Ours by its magic, but its CRC is wrong: torn, or damaged.
    Damaged,
    /// Of another version.
    Version(u16),
    /// Not ours.
    Foreign,
}

impl Header {
    /// The header as page 0 or 1.
    pub(super) fn page(&self, number: u32) -> Page {
        let mut bytes = Box::new([0; PAGE]);
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.identity.cluster.to_le_bytes());
        bytes[32] = self.identity.node.0;
        bytes[36..40].copy_from_slice(&self.geometry.snapshot_pages.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.geometry.ring_pages.to_le_bytes());
        bytes[44..52].copy_from_slice(&self.incarnation.0.to_le_bytes());
        bytes[52..LEN].copy_from_slice(&self.id.0.to_le_bytes());
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        Page { number, bytes }
    }
}

/// Reads a header.
pub(super) fn decode(page: &[u8]) -> Found {
    let Some((bytes, _)) = page.split_first_chunk::<PAGE>() else {
        return Found::Foreign;
    };
    if bytes.iter().all(|&byte| byte == 0) {
        return Found::Blank;
    }
    if bytes[..8] != MAGIC {
        return Found::Foreign;
    }
    let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
    if u32_at(12) != crc32fast::hash(&bytes[16..]) {
        return Found::Damaged;
    }
    let version = u16::from_le_bytes([bytes[8], bytes[9]]);
    if version != VERSION {
        return Found::Version(version);
    }
    let mut cluster = [0; 16];
    cluster.copy_from_slice(&bytes[16..32]);
    let u64_at = |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]));
    let geometry = Geometry {
        snapshot_pages: u32_at(36),
        ring_pages: u32_at(40),
    };
    if !geometry.is_valid() {
        return Found::Damaged;
    }
    Found::Header(Header {
        identity: Identity {
            cluster: u128::from_le_bytes(cluster),
            node: NodeId(bytes[32]),
        },
        geometry,
        incarnation: Incarnation(u64_at(44)),
        id: LogId(u64_at(52)),
    })
}
