//! The log file: what it looks like, how it is made and read.

use super::io::Page;
use crate::types::{Incarnation, NodeId};

/// How large the parts of a log file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pages of each of the two snapshot areas.
    pub snapshot_pages: u32,
    /// Pages of the ring of entries; at least 128.
    pub ring_pages: u32,
}

impl Geometry {
    /// What a daemon uses: 2.5 MiB.
    pub const DAEMON: Self = Self {
        snapshot_pages: 64,
        ring_pages: 512,
    };
    /// The smallest, for the simulator: 0.6 MiB.
    pub const SMALL: Self = Self {
        snapshot_pages: 4,
        ring_pages: 128,
    };

    /// Pages of the file.
    #[must_use]
    pub const fn pages(&self) -> u32 {
        2 + 2 * self.snapshot_pages + self.ring_pages
    }
}

/// What a node has kept of the cluster log.
#[derive(Clone, Debug)]
pub struct RecoveredLog {
    /// Of the last run.
    pub(super) incarnation: Incarnation,
}

/// Why a log file is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRefused {
    /// No log of ours.
    Foreign,
}

impl std::fmt::Display for LogRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign => write!(f, "this is no cluster log"),
        }
    }
}

impl std::error::Error for LogRefused {}

/// The pages of a new log that are not zero, for a file of `geometry.pages()` zero pages.
#[must_use]
pub fn format(_cluster: u128, _node: NodeId, _geometry: Geometry) -> Vec<Page> {
    Vec::new()
}

/// Reads a log file.
///
/// # Errors
/// The file is not this node's log, or is damaged.
pub fn recover(_image: &[u8], _cluster: u128, _node: NodeId) -> Result<RecoveredLog, LogRefused> {
    Ok(RecoveredLog {
        incarnation: Incarnation(0),
    })
}
