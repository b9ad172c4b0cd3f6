//! Stores as files and block devices: made, locked, opened.
//!
//! The one part of `meta` that does I/O, all of it blocking; for the start of a daemon, not for its
//! hot path.

mod aligned;
mod create;
mod error;
mod open;
#[cfg(test)]
mod tests;

use crate::types::{NodeId, StoreId, VolumeId};

pub use create::create;
pub use error::{Error, Problem};
pub use open::{Opened, in_use, inspect_with, open};

/// Whose store it is, or should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u128,
    /// The volume.
    pub volume: VolumeId,
    /// The store. Of one that is to be opened only the name counts.
    pub store: StoreId,
    /// The node.
    pub node: NodeId,
    /// Bytes of the volume; a multiple of the block, at most [`crate::types::VOLUME_MAX`].
    pub size: u64,
}
