//! Why a store is not used. Nothing in it has been changed.

use super::VERSION;
use crate::types::{NodeId, StoreId, VolumeId};

/// The reasons, each with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Neither superblock is there: somebody else's data, or none at all.
    Foreign {
        /// What the content looks like.
        looks_like: String,
    },
    /// Written by a newer program.
    NewerVersion {
        /// Its version.
        found: u32,
    },
    /// The file or device is smaller than what its superblock says.
    TooSmall {
        /// Bytes it has.
        bytes: u64,
        /// Bytes it needs.
        needed: u64,
    },
    /// One superblock cannot be read, and it may have been the newer one.
    SuperblockDamaged {
        /// Where it is.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Neither superblock can be read.
    SuperblocksDamaged {
        /// What is wrong with each.
        what: [String; 2],
    },
    /// Both superblocks are intact, but not of one store.
    SuperblocksDisagree,
    /// The intent ring does not tell any more which regions were active.
    RingDamaged {
        /// What is wrong with it.
        what: String,
    },
    /// Of another cluster.
    OtherCluster {
        /// The store's.
        found: u128,
        /// The configuration's.
        expected: u128,
    },
    /// Of another volume.
    OtherVolume {
        /// The store's.
        found: VolumeId,
        /// The configuration's.
        expected: VolumeId,
    },
    /// Another node's replica.
    OtherNode {
        /// The store's.
        found: NodeId,
        /// The configuration's.
        expected: NodeId,
    },
    /// Another store of the same volume and node.
    OtherStore {
        /// The store's.
        found: StoreId,
        /// The configuration's.
        expected: StoreId,
    },
    /// For a volume of another size.
    OtherSize {
        /// The store's.
        found: u64,
        /// The configuration's.
        expected: u64,
    },
}

const REPLACE: &str = "Do not repair it by hand. If another replica is in sync: move this store \
                       away and run `steadfast node init`, which makes an empty one; it is filled \
                       by a full copy";

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign { looks_like } => write!(
                f,
                "this is not a Steadfast store ({looks_like}). Name another file or device, or, if \
                 nothing in it is needed, erase it first (blkdiscard -z for a device, rm for a file)"
            ),
            Self::NewerVersion { found } => write!(
                f,
                "the store has format version {found}; this program knows versions up to \
                 {VERSION}. Run a newer steadfast on this node"
            ),
            Self::TooSmall { bytes, needed } => write!(
                f,
                "the store has {bytes} bytes and needs {needed}. If the file or device was \
                 shortened, what was cut off is lost. {REPLACE}"
            ),
            Self::SuperblockDamaged { offset, what } => write!(
                f,
                "the superblock at byte {offset} is damaged ({what}), and the other one may be \
                 older: what it says of the last term cannot be trusted. {REPLACE}"
            ),
            Self::SuperblocksDamaged { what: [a, b] } => write!(
                f,
                "both superblocks are damaged (first: {a}; second: {b}). {REPLACE}"
            ),
            Self::SuperblocksDisagree => write!(
                f,
                "the two superblocks are of different stores: part of another store was copied \
                 over this one. {REPLACE}"
            ),
            Self::RingDamaged { what } => write!(
                f,
                "the intent ring is damaged ({what}), so nothing tells which regions may differ \
                 from the other replicas. {REPLACE}"
            ),
            Self::OtherCluster { found, expected } => write!(
                f,
                "the store belongs to cluster {found:032x}, this node to {expected:032x}. Name the \
                 right store, or join the right cluster"
            ),
            Self::OtherVolume { found, expected } => write!(
                f,
                "the store belongs to volume {:032x}, the configuration names it for {:032x}. \
                 Check the volumes' store paths",
                found.0, expected.0
            ),
            Self::OtherNode { found, expected } => write!(
                f,
                "the store is the replica of node {found}, this is node {expected}. Check the \
                 volumes' store paths"
            ),
            Self::OtherStore { found, expected } => write!(
                f,
                "this is store {:016x}, the configuration names store {:016x}. Check the volumes' \
                 store paths and ids",
                found.name(),
                expected.name()
            ),
            Self::OtherSize { found, expected } => write!(
                f,
                "the store holds a volume of {found} bytes, the configuration says {expected}. \
                 Correct the volume's size in the configuration"
            ),
        }
    }
}

impl std::error::Error for Refused {}
