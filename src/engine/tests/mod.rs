//! Volumes against each other, on instant disks and links that keep order.

mod failed;
mod failover;
mod full_copy;
mod io;
mod resync;
mod takeover;
mod world;

use super::io::{Content, Probe};
use crate::wire::digest::digest;

/// What a driver tells of data that was read.
pub(super) fn look(probe: Probe, bytes: &[u8]) -> Content {
    match probe {
        Probe::Zero | Probe::Digest if bytes.iter().all(|&byte| byte == 0) => Content::Zero,
        Probe::Digest => Content::Digest(digest(bytes)),
        Probe::Nothing | Probe::Zero => Content::Data,
    }
}
