//! The core: keeps the agreed log and acts on it.

use super::Canaries;
use super::io::{CoreEffect, CoreEvent, CoreStatus, Timing};
use super::log::RecoveredLog;
use crate::types::{BootId, Incarnation, NodeId, NodeSet, Time};

/// What a core is made from.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// This node.
    pub me: NodeId,
    /// The nodes' names, by node: for sentences that people read.
    pub names: Vec<String>,
    /// Nodes that vote.
    pub voters: NodeSet,
    /// As the pulse has it.
    pub timing: Timing,
    /// This boot.
    pub boot: BootId,
    /// All off in a product.
    pub canaries: Canaries,
}

/// The core of one node.
#[derive(Clone, Debug)]
pub struct Core {
    incarnation: Incarnation,
}

impl Core {
    /// A core at the start of the daemon. The first effect persists this run's incarnation: nothing
    /// may be heard of it before that is durable, so the driver carries this `Persist` out and steps
    /// `Persisted` before it starts the pulse (with `incarnation()`).
    #[must_use]
    pub fn new(
        _config: CoreConfig,
        log: RecoveredLog,
        _now: Time,
        _out: &mut Vec<CoreEffect>,
    ) -> Self {
        Self {
            incarnation: Incarnation(log.incarnation.0 + 1),
        }
    }

    /// This node's incarnation.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Something has happened.
    pub fn step(&mut self, _now: Time, _event: CoreEvent, _out: &mut Vec<CoreEffect>) {}

    /// When `CoreEvent::Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Time {
        Time::MAX
    }

    /// How things are.
    #[must_use]
    pub fn status(&self, now: Time) -> CoreStatus {
        CoreStatus {
            at: now,
            ..CoreStatus::default()
        }
    }
}
