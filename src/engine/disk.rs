//! Disk operations in flight: what each was for.

use super::io::DiskId;
use super::slab::Slab;

/// What a disk operation was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskUse {
    /// A change that is being applied.
    Apply(u32),
    /// A flush.
    Flush(u32),
    /// A superblock.
    Superblock,
    /// The superblock that says that the store has failed.
    FailedMark,
    /// A record of the intent ring.
    Record,
    /// A page of a bitmap, by page buffer.
    Page(u32),
    /// Data for an operation of the primary of this epoch.
    Read {
        /// Which primary.
        epoch: u32,
        /// Which operation.
        op: u32,
    },
    /// Data that a primary wants to have compared.
    Compare(u32),
    /// A block at the edge of an unaligned change of the primary of this epoch.
    Edge {
        /// Which primary.
        epoch: u32,
        /// Which operation.
        op: u32,
        /// The block at the end, not the one at the beginning.
        end: bool,
    },
}

impl DiskUse {
    const fn is_read(self) -> bool {
        matches!(
            self,
            Self::Read { .. } | Self::Edge { .. } | Self::Compare(_)
        )
    }
}

/// Operations in flight.
#[derive(Clone, Debug)]
pub(super) struct DiskTable {
    uses: Slab<DiskUse>,
    reads: usize,
}

impl DiskTable {
    pub fn new() -> Self {
        Self {
            uses: Slab::new(256),
            reads: 0,
        }
    }

    /// Reads in flight.
    pub fn reads(&self) -> usize {
        self.reads
    }

    /// Names a new operation.
    pub fn begin(&mut self, what: DiskUse) -> DiskId {
        self.reads += usize::from(what.is_read());
        DiskId(self.uses.insert(what))
    }

    /// An operation has ended.
    pub fn end(&mut self, id: DiskId) -> DiskUse {
        let what = self.uses.remove(id.0);
        self.reads -= usize::from(what.is_read());
        what
    }

    /// How many are in flight.
    pub fn len(&self) -> usize {
        self.uses.len()
    }
}
