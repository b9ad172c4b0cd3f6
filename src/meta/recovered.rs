//! What a store says when it is opened: the engine starts from this.

use super::Finding;
use crate::types::{Index, NodeId, Seq, StoreId, Term, VolumeId};

/// A set of bits, as many as were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// 64 at a time, low bit first.
    pub words: Vec<u64>,
    /// How many bits there are.
    pub len: u64,
}

/// One absent replica's dirty bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtySlot {
    /// Whose it is.
    pub replica: NodeId,
    /// The entry that took it out.
    pub since: Index,
    /// One bit per block of the volume.
    pub bits: Bits,
}

/// Everything but the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The cluster it belongs to.
    pub cluster: u128,
    /// Whose store.
    pub volume: VolumeId,
    /// Which.
    pub store: StoreId,
    /// The node whose replica it is.
    pub node: NodeId,
    /// Bytes of the volume.
    pub size: u64,
    /// Where the parts are.
    pub layout: Layout,
    /// Last durable term.
    pub term: Term,
    /// Last sequence number that the intent ring proves.
    pub seq: Seq,
    /// Superblock generation: the next one written is larger.
    pub generation: u64,
    /// Last record of the intent ring.
    pub record: u64,
    /// Slot table of the intent ring: active regions by slot.
    pub active: Vec<Option<u32>>,
    /// One bit per region: ever written (active regions included).
    pub written: Bits,
    /// Dirty bitmaps in use, by slot.
    pub dirty: Vec<Option<DirtySlot>>,
    /// The store has failed with this error number, in this run of the daemon or an earlier one: it
    /// is of no use.
    pub failed: Option<u16>,
    /// What was not as it should be, to be told.
    pub findings: Vec<Finding>,
}

/// Byte offsets in a store; all multiples of the block. Described in docs/on-disk-format.md.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The two superblocks.
    pub superblocks: [u64; 2],
    /// First page of the intent ring.
    pub ring: u64,
    /// Pages of the intent ring.
    pub ring_pages: u32,
    /// Slots of the intent ring: most regions active at once.
    pub ring_slots: u32,
    /// First page of the written-regions bitmap.
    pub written: u64,
    /// Its pages.
    pub written_pages: u32,
    /// First page of the first dirty bitmap.
    pub dirty: u64,
    /// Pages of each dirty bitmap.
    pub dirty_pages: u32,
    /// How many dirty bitmaps there is room for.
    pub dirty_slots: u32,
    /// First byte of the volume's data; a multiple of 1 MiB.
    pub data: u64,
    /// Largest size of the volume that this layout has room for.
    pub size_max: u64,
}
