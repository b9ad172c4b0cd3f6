//! The superblock: whose store this is, where its parts are, its term and its dirty bitmaps.
//!
//! All that is not zero lies in the first 512 bytes of the page, so a torn write leaves the old or
//! the new one, never a mixture.

use super::bytes::{is_zero, put_u16, put_u32, put_u64, put_u128, u16_at, u32_at, u64_at, u128_at};
use super::layout::{self, DIRTY_SLOTS};
use super::recovered::Layout;
use super::{PAGE, PageBytes, VERSION};
use crate::types::{BLOCK, Index, NODES_MAX, NodeId, REGION, StoreId, Term, VOLUME_MAX, VolumeId};

const MAGIC: u64 = u64::from_le_bytes(*b"SFstore\x01");
const VERSION_AT: usize = 8;
const LENGTH_AT: usize = 12;
const CRC_AT: usize = 16;
const NODE_AT: usize = 20;
const FAILED_AT: usize = 22;
const GENERATION_AT: usize = 24;
const CLUSTER_AT: usize = 32;
const VOLUME_AT: usize = 48;
const STORE_AT: usize = 64;
const SIZE_AT: usize = 80;
const TERM_AT: usize = 88;
const LAYOUT_AT: usize = 96;
const DIRTY_AT: usize = 192;
const DIRTY_BYTES: usize = 16;
const END: usize = DIRTY_AT + DIRTY_SLOTS * DIRTY_BYTES;

const _: () = assert!(END <= 512);

/// In the place of the first superblock while a store is being made: what comes after it is not
/// finished, and is nobody's.
pub const UNFINISHED: u64 = u64::from_le_bytes(*b"SFunfin\x01");

/// A superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The cluster.
    pub cluster: u128,
    /// The volume.
    pub volume: VolumeId,
    /// This store.
    pub store: StoreId,
    /// The node whose replica this is.
    pub node: NodeId,
    /// Bytes of the volume.
    pub size: u64,
    /// Where the parts are.
    pub layout: Layout,
    /// The highest term that the replica has taken part in.
    pub term: Term,
    /// Goes up by one with each superblock that is written.
    pub generation: u64,
    /// The absent replicas, with the entry that took each out, by slot of the dirty bitmaps.
    pub dirty: [Option<(NodeId, Index)>; DIRTY_SLOTS],
    /// The store has failed, with this error number (never 0), and is not used any more.
    pub failed: Option<u16>,
}

/// Why a page is no superblock of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every byte is zero.
    Blank,
    /// It does not begin as one.
    Foreign,
    /// Of a newer version; intact.
    Newer(u32),
    /// It begins as one, but cannot be trusted.
    Damaged(&'static str),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blank => write!(f, "nothing but zeroes"),
            Self::Foreign => write!(f, "no superblock"),
            Self::Newer(version) => write!(f, "of the newer version {version}"),
            Self::Damaged(what) => write!(f, "{what}"),
        }
    }
}

impl Superblock {
    /// Encodes into a page.
    pub fn encode(&self, page: &mut PageBytes) {
        page.fill(0);
        put_u64(page, 0, MAGIC);
        put_u32(page, VERSION_AT, VERSION);
        put_u32(page, LENGTH_AT, PAGE as u32);
        page[NODE_AT] = self.node.0;
        put_u16(page, FAILED_AT, self.failed.unwrap_or(0));
        put_u64(page, GENERATION_AT, self.generation);
        put_u128(page, CLUSTER_AT, self.cluster);
        put_u128(page, VOLUME_AT, self.volume.0);
        put_u128(page, STORE_AT, self.store.0);
        put_u64(page, SIZE_AT, self.size);
        put_u64(page, TERM_AT, self.term.0);
        put_layout(page, &self.layout);
        for (slot, dirty) in self.dirty.iter().enumerate() {
            if let Some((node, since)) = dirty {
                let at = DIRTY_AT + slot * DIRTY_BYTES;
                page[at] = 1;
                page[at + 1] = node.0;
                put_u64(page, at + 8, since.0);
            }
        }
        let crc = crc(page);
        put_u32(page, CRC_AT, crc);
    }

    /// Decodes a page. Whatever comes back `Ok` is consistent: the layout is the one that
    /// [`layout::layout`] gives, sizes and nodes are in range.
    pub fn decode(page: &PageBytes) -> Result<Self, Fault> {
        if is_zero(page) {
            return Err(Fault::Blank);
        }
        if u64_at(page, 0) != MAGIC {
            return Err(Fault::Foreign);
        }
        // Magic, version, length and CRC keep their places in every version.
        if u32_at(page, CRC_AT) != crc(page) {
            return Err(Fault::Damaged("wrong checksum"));
        }
        match u32_at(page, VERSION_AT) {
            VERSION => {}
            0 => return Err(Fault::Damaged("version 0")),
            newer => return Err(Fault::Newer(newer)),
        }
        if u32_at(page, LENGTH_AT) != PAGE as u32 {
            return Err(Fault::Damaged("wrong length"));
        }
        let size = u64_at(page, SIZE_AT);
        let layout = layout_at(page).ok_or(Fault::Damaged("impossible layout"))?;
        if size == 0 || size > layout.size_max || !size.is_multiple_of(BLOCK) {
            return Err(Fault::Damaged("impossible volume size"));
        }
        let mut dirty = [None; DIRTY_SLOTS];
        for (slot, entry) in dirty.iter_mut().enumerate() {
            let at = DIRTY_AT + slot * DIRTY_BYTES;
            if page[at] == 1 {
                *entry = Some((NodeId(page[at + 1]), Index(u64_at(page, at + 8))));
            }
        }
        let superblock = Self {
            cluster: u128_at(page, CLUSTER_AT),
            volume: VolumeId(u128_at(page, VOLUME_AT)),
            store: StoreId(u128_at(page, STORE_AT)),
            node: NodeId(page[NODE_AT]),
            size,
            layout,
            term: Term(u64_at(page, TERM_AT)),
            generation: u64_at(page, GENERATION_AT),
            dirty,
            failed: Some(u16_at(page, FAILED_AT)).filter(|&errno| errno != 0),
        };
        let nodes = dirty.iter().flatten().map(|&(node, _)| node);
        if nodes
            .chain([superblock.node])
            .any(|node| usize::from(node.0) >= NODES_MAX)
        {
            return Err(Fault::Damaged("impossible node number"));
        }
        // What comes back encodes to the same bytes: nothing unknown is dropped unseen.
        let mut again = [0; PAGE];
        superblock.encode(&mut again);
        if again != *page {
            return Err(Fault::Damaged("unknown content"));
        }
        Ok(superblock)
    }

    /// Whether `other` is of the same store.
    #[must_use]
    pub fn same_store(&self, other: &Self) -> bool {
        self.store == other.store && self.volume == other.volume && self.cluster == other.cluster
    }
}

fn put_layout(page: &mut PageBytes, layout: &Layout) {
    let offsets = [
        layout.superblocks[0],
        layout.superblocks[1],
        layout.ring,
        layout.written,
        layout.dirty,
        layout.data,
        layout.size_max,
    ];
    let counts = [
        layout.ring_pages,
        layout.ring_slots,
        layout.written_pages,
        layout.dirty_pages,
        layout.dirty_slots,
        BLOCK as u32,
        REGION as u32,
    ];
    for (index, offset) in offsets.into_iter().enumerate() {
        put_u64(page, LAYOUT_AT + index * 8, offset);
    }
    for (index, count) in counts.into_iter().enumerate() {
        put_u32(page, LAYOUT_AT + offsets.len() * 8 + index * 4, count);
    }
}

fn layout_at(page: &PageBytes) -> Option<Layout> {
    let size_max = u64_at(page, LAYOUT_AT + 6 * 8);
    if size_max == 0 || size_max > VOLUME_MAX || !size_max.is_multiple_of(BLOCK) {
        return None;
    }
    let layout = layout::layout(size_max);
    let mut expected = [0; PAGE];
    put_layout(&mut expected, &layout);
    (expected[LAYOUT_AT..DIRTY_AT] == page[LAYOUT_AT..DIRTY_AT]).then_some(layout)
}

fn crc(page: &PageBytes) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&page[..CRC_AT]);
    hasher.update(&[0; 4]);
    hasher.update(&page[CRC_AT + 4..]);
    hasher.finalize()
}
