//! What every connection needs to do its work: the ring, the buffers, the disk and the time.

use super::disk::Disk;
use super::ring::Ring;
use super::slab::Slab;
use crate::types::Time;

/// The tools of one reactor. The ring goes before the buffers when they are dropped.
pub(super) struct Kit {
    pub(super) ring: Ring,
    pub(super) slab: Slab,
    pub(super) disk: Disk,
    /// When this pass of the loop began.
    pub(super) now: Time,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// More bytes of its peer.
    Bytes,
    /// Room in the engine, or a buffer.
    Room,
    /// The peer to take what has been sent.
    Drain,
    /// What the volume wants done has to be done before anything else happens.
    Apply,
    /// Nothing: it is over, or about to be.
    Nothing,
}
