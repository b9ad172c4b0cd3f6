//! Identifiers, time and sets that every layer speaks of. No behaviour beyond arithmetic.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most nodes a cluster may have (design: 2 to 128).
pub const NODES_MAX: usize = 128;
/// Most nodes that vote in the cluster log; the others learn.
pub const VOTERS_MAX: usize = 7;
/// Most replicas a volume may have, the primary's included.
pub const REPLICAS_MAX: usize = 8;
/// The last incarnation that there may be: session numbers have room for it.
pub const INCARNATION_MAX: Incarnation = Incarnation((1 << 40) - 1);
/// Bytes of a block: the unit of the dirty bitmaps and of every disk transfer.
pub const BLOCK: u64 = 4096;
/// Bytes of a region: the unit of the write-intent log, and the largest piece of one request.
/// A piece never crosses a region boundary.
pub const REGION: u64 = 1 << 20;
/// Bytes of the largest volume: 16 TiB.
pub const VOLUME_MAX: u64 = 16 << 40;
/// Blocks of a region.
pub const REGION_BLOCKS: u64 = REGION / BLOCK;

const _: () = assert!(REGION.is_multiple_of(BLOCK) && BLOCK.is_power_of_two());

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        $(#[$doc])*
        pub struct $name(pub $int);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A node: its place in the cluster configuration, `0..NODES_MAX`.
    #[serde(try_from = "u8")]
    NodeId(u8)
);
id!(
    /// A node's right to take part, numbered. A new one with each run of the daemon and each
    /// re-admission; 0 is never used by a node that runs.
    Incarnation(u64)
);

impl Incarnation {
    /// Whether a node can have it: one that leaves no larger one is not true.
    #[must_use]
    pub fn is_possible(self) -> bool {
        self < INCARNATION_MAX
    }
}

id!(
    /// One boot of a machine (derived from `/proc/sys/kernel/random/boot_id`).
    BootId(u128)
);
id!(
    /// One file of a node's cluster log: one that is made anew is another one.
    LogId(u64)
);
id!(
    /// A volume.
    VolumeId(u128)
);
id!(
    /// One formatted store: a replica whose store was formatted anew is another replica. The high
    /// half is its name, from the configuration; the low half is drawn when it is made.
    StoreId(u128)
);

impl StoreId {
    /// The store of this name that is made now; `drawn` was never drawn before.
    #[must_use]
    pub const fn made(self, drawn: u64) -> Self {
        Self(self.0 >> 64 << 64 | drawn as u128)
    }

    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> u64 {
        (self.0 >> 64) as u64
    }
}

id!(
    /// A volume's term: goes up with every change of primary.
    Term(u64)
);
id!(
    /// Position in the cluster log; the first entry has index 1, 0 is "none".
    Index(u64)
);
id!(
    /// Order of a volume's writes. Never reused, also not across terms; 0 is "none".
    Seq(u64)
);
id!(
    /// One gateway's session with one volume; 0 is "none".
    SessionId(u64)
);

impl TryFrom<u8> for NodeId {
    type Error = &'static str;

    fn try_from(node: u8) -> Result<Self, Self::Error> {
        if usize::from(node) < NODES_MAX {
            Ok(Self(node))
        } else {
            Err("a node beyond the largest cluster")
        }
    }
}

impl Seq {
    /// The sequence number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME` (or of the simulator's clock of one node).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// Before every other time.
    pub const ZERO: Self = Self(0);
    /// After every other time: "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The time `span` later, saturating.
    #[must_use]
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_nanos() as u64))
    }

    /// How long before `self` the time `earlier` was; zero if it was not before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A set of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeSet(pub u128);

impl NodeSet {
    /// No node.
    pub const EMPTY: Self = Self(0);

    /// Adds `node`.
    pub const fn insert(&mut self, node: NodeId) {
        self.0 |= 1 << node.0;
    }

    /// Takes `node` out.
    pub const fn remove(&mut self, node: NodeId) {
        self.0 &= !(1 << node.0);
    }

    /// Whether `node` is in the set.
    #[must_use]
    pub const fn contains(self, node: NodeId) -> bool {
        self.0 & (1 << node.0) != 0
    }

    /// Number of nodes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Nodes in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// How many make a majority of this set.
    #[must_use]
    pub const fn majority(self) -> usize {
        self.len() / 2 + 1
    }

    /// The nodes, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = NodeId> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            (bits != 0).then(|| {
                let node = bits.trailing_zeros() as u8;
                bits &= bits - 1;
                NodeId(node)
            })
        })
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut set = Self::EMPTY;
        for node in nodes {
            set.insert(node);
        }
        set
    }
}

/// A range of bytes of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u32,
}

impl Extent {
    /// First byte after the range.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.offset + self.len as u64
    }

    /// The smallest range of whole blocks around this one.
    #[must_use]
    pub const fn blocks(self) -> Self {
        let start = self.offset / BLOCK * BLOCK;
        let end = self.end().div_ceil(BLOCK) * BLOCK;
        Self {
            offset: start,
            len: (end - start) as u32,
        }
    }

    /// Whether both ends are at block boundaries.
    #[must_use]
    pub const fn is_aligned(self) -> bool {
        self.offset.is_multiple_of(BLOCK) && (self.len as u64).is_multiple_of(BLOCK)
    }

    /// Whether the two ranges share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.offset < other.end() && other.offset < self.end()
    }

    /// The region the range begins in.
    #[must_use]
    pub const fn region(self) -> u32 {
        (self.offset / REGION) as u32
    }
}

/// A node's lease as the pulse last published it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// The incarnation that holds it.
    pub incarnation: Incarnation,
    /// Good while `now < until`.
    pub until: Time,
}

impl Lease {
    /// Whether `incarnation` may answer at `now`.
    #[must_use]
    pub fn covers(self, incarnation: Incarnation, now: Time) -> bool {
        self.incarnation == incarnation && now < self.until
    }
}
